"""What makes a map of predictions: steps that look around each pixel, exact across tiles.

Each step has a reach: how far around a pixel it looks. What it makes of a window is that of the
whole map wherever the window holds so many pixels around.
"""

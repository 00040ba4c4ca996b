"""The demonstration of `lulc demo`: an invented landscape, and an archive of its scenes.

It imports `geo`, the legend and errors; only the command line imports it.
"""

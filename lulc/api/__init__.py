"""What `import lulc` offers to code: runs, models, areas of maps, and samples for accuracy.

It may import every room but `lulc.cli`, which alone may import it.
"""

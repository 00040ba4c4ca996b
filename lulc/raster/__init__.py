"""Raster files: the one way in which pixels are read from and written to them.

Imports `lulc.geo`, `lulc.tables.files` and what lies below them. `lulc.sources` and every room
above it may import it; they open no raster file by themselves.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

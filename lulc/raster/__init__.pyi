from .access import ARCHIVE_MARK, OpenRaster, ReadError, gdal_message, gdal_settings, open_raster
from .cog import majority, pyramid, read_tags, write_bands, write_cog
from .hdf4 import Hdf4Layer, list_layers
from .reader import grid_of, is_real, read_band, read_bands, read_swath, read_whole
from .show import Picture, encode_png, picture_html
from .signing import sign
from .vector import rasterize
from .views import (
    PixelWindow,
    align,
    average_onto,
    open_north_up,
    pixel_centres,
    read_masked,
    read_mode,
    read_window,
)
from .writer import RasterWriter, create_cog, create_geotiff

__all__ = [
    "ARCHIVE_MARK",
    "Hdf4Layer",
    "OpenRaster",
    "Picture",
    "PixelWindow",
    "RasterWriter",
    "ReadError",
    "align",
    "average_onto",
    "create_cog",
    "create_geotiff",
    "encode_png",
    "gdal_message",
    "gdal_settings",
    "grid_of",
    "is_real",
    "list_layers",
    "majority",
    "open_north_up",
    "open_raster",
    "picture_html",
    "pixel_centres",
    "pyramid",
    "rasterize",
    "read_band",
    "read_bands",
    "read_masked",
    "read_mode",
    "read_swath",
    "read_tags",
    "read_whole",
    "read_window",
    "sign",
    "write_bands",
    "write_cog",
]

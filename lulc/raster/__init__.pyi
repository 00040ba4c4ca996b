from .access import OpenRaster, ReadError, gdal_message, gdal_settings, open_raster
from .address import ARCHIVE_MARK, path_of, split_archive
from .classes import (
    ClassRaster,
    ids_at,
    read_ids,
    read_ids_onto,
    read_mean_onto,
    read_mode_onto,
    scan_raster,
)
from .cog import majority, pyramid, read_tags, write_bands, write_cog
from .hdf4 import Hdf4Layer, list_layers
from .pixels import is_real, read_pixels
from .reader import find_grid, grid_of, read_band, read_bands, read_swath, read_whole
from .show import Picture, encode_palette_png, encode_png, picture_html
from .signing import sign
from .vector import rasterize
from .views import (
    PixelWindow,
    average_onto,
    pixel_centres,
    read_masked,
)
from .writer import RasterWriter, create_cog, create_geotiff

__all__ = [
    "ARCHIVE_MARK",
    "ClassRaster",
    "Hdf4Layer",
    "OpenRaster",
    "Picture",
    "PixelWindow",
    "RasterWriter",
    "ReadError",
    "average_onto",
    "create_cog",
    "create_geotiff",
    "encode_palette_png",
    "encode_png",
    "find_grid",
    "gdal_message",
    "gdal_settings",
    "grid_of",
    "ids_at",
    "is_real",
    "list_layers",
    "majority",
    "open_raster",
    "path_of",
    "picture_html",
    "pixel_centres",
    "pyramid",
    "rasterize",
    "read_band",
    "read_bands",
    "read_ids",
    "read_ids_onto",
    "read_masked",
    "read_mean_onto",
    "read_mode_onto",
    "read_pixels",
    "read_swath",
    "read_tags",
    "read_whole",
    "scan_raster",
    "sign",
    "split_archive",
    "write_bands",
    "write_cog",
]

from .access import ARCHIVE_MARK, ReadError, gdal_message, gdal_settings, open_raster
from .cog import majority, pyramid, write_cog
from .hdf4 import Hdf4Layer, list_layers
from .reader import grid_of, is_real, read_band, read_bands, read_swath, read_whole
from .signing import sign

__all__ = [
    "ARCHIVE_MARK",
    "Hdf4Layer",
    "ReadError",
    "gdal_message",
    "gdal_settings",
    "grid_of",
    "is_real",
    "list_layers",
    "majority",
    "open_raster",
    "pyramid",
    "read_band",
    "read_bands",
    "read_swath",
    "read_whole",
    "sign",
    "write_cog",
]

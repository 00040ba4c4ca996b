"""Formats of raster files as far as they set the time of reading: codec, blocks, bytes a pixel."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import rasterio

from lulc.errors import LulcError
from lulc.geo.grid import Grid
from lulc.location import parse_location
from lulc.raster.access import gdal_settings, open_raster
from lulc.raster.address import path_of, split_archive
from lulc.raster.views import georeference

JP2 = "jp2"
_OPTIONS = {
    "tif deflate": {"driver": "COG", "compress": "deflate", "blocksize": 512},
    "tif lzw": {"driver": "COG", "compress": "lzw", "blocksize": 512},
    "tif zstd": {"driver": "COG", "compress": "zstd", "blocksize": 512},
    "tif": {"driver": "COG", "compress": "none", "blocksize": 512},
    # As Sentinel-2 products have it.
    JP2: {"driver": "JP2OpenJPEG", "quality": 100, "reversible": "yes", "blockxsize": 1024},
}
FORMATS = tuple(_OPTIONS)
"""Names of the formats whose reading is measured."""
_OTHERS = {"adobe_deflate": "deflate", "packbits": "", "none": ""}


@dataclass(frozen=True)
class FileFacts:
    """What a raster file is, from its header."""

    format: str
    """One of FORMATS, the nearest one of others."""
    height: int
    width: int
    bands: int
    block_rows: int
    """Rows of pixels that are decoded at once."""
    bytes: int | None
    """Size of the file; None where it is not told."""

    @property
    def bytes_a_pixel(self) -> float | None:
        """Bytes of a pixel of one band as the file stores it, overviews counted to it."""
        return None if self.bytes is None else self.bytes / (self.height * self.width * self.bands)


def read_facts(href: str) -> FileFacts:
    """Return what a raster file is; its header alone is read.

    Raises:
        ReadError: it cannot be opened.
    """
    with open_raster(href) as dataset:
        compression = dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "none").lower()
        name = JP2 if dataset.driver.startswith("JP2") else _name_of(compression)
        rows = max(shape[0] for shape in dataset.block_shapes)
        return FileFacts(name, dataset.height, dataset.width, dataset.count, rows, _size_of(href))


def guess_format(href: str) -> str:
    """Return the format that a file's name stands for, where the file itself is not asked."""
    suffix = PurePosixPath(path_of(href)).suffix.lower()
    return JP2 if suffix in (".jp2", ".j2k") else "tif deflate"


def write_sample(path: Path, form: str, pixels: np.ndarray, grid: Grid) -> None:
    """Write bands of unsigned integers in a format, as archives have it, to measure its reading.

    Args:
        path: the file, with a suffix of the format.
        form: one of FORMATS.
        pixels: (C, H, W).
        grid: of the bands.
    """
    options = dict(_OPTIONS[form])
    if form != JP2:
        options["overviews"] = "none"
    shape = {"count": len(pixels), "dtype": pixels.dtype.name}
    with (
        gdal_settings(),
        rasterio.open(path, "w", **options, **shape, **georeference(grid)) as dataset,
    ):
        dataset.write(pixels)


def _name_of(compression: str) -> str:
    codec = _OTHERS.get(compression, compression)
    name = f"tif {codec}".strip()
    return name if name in _OPTIONS else "tif deflate"


def _size_of(href: str) -> int | None:
    if split_archive(href)[1]:
        return None
    with contextlib.suppress(LulcError, OSError):
        return parse_location(href).stat().st_size
    return None

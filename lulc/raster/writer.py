"""Rasters of one band that are written window by window, so that memory is bounded.

`lulc.raster.cog` writes rasters that are held whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from lulc.geo.grid import Grid
from lulc.legend import Legend
from lulc.raster.access import OpenRaster
from lulc.raster.views import PixelWindow, georeference


@dataclass(frozen=True, eq=False)
class RasterWriter:
    """A raster that is being written."""

    dataset: DatasetWriter

    def describe(self, tags: Mapping[str, str], legend: Legend) -> None:
        """Add GDAL metadata items and the legend's colours, before the first window is written."""
        self.dataset.write_colormap(1, legend.palette())
        self.dataset.update_tags(**tags)

    def write(self, pixels: np.ndarray, window: PixelWindow) -> None:
        """Write the pixels (H, W) of a window."""
        self.dataset.write(pixels, 1, window=Window.from_slices(*window))


@contextlib.contextmanager
def create_geotiff(
    path: Path, target: OpenRaster | Grid, dtype: str, nodata: int, **options: str
) -> Iterator[RasterWriter]:
    """Write a tiled GeoTIFF of one band; it is complete after the context.

    Args:
        path: The file.
        target: Its grid, or an open raster on the same pixels, which may have no CRS.
        dtype: Name of the pixels' type.
        nodata: Value of pixels without data.
        **options: GDAL's creation options.

    Yields:
        The writer.
    """
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    profile = {"driver": "GTiff", "dtype": dtype, "count": 1, "nodata": nodata}
    with rasterio.open(
        path, "w", **profile, **layout, **georeference(target), **options
    ) as dataset:
        yield RasterWriter(dataset)


@contextlib.contextmanager
def create_cog(
    path: Path, target: OpenRaster | Grid, dtype: str, nodata: int
) -> Iterator[RasterWriter]:
    """Write a cloud-optimised GeoTIFF of one band, with overviews by the nearest pixel.

    A plain GeoTIFF lies beside it until the context ends.

    Args:
        path: The file.
        target: Its grid, or an open raster on the same pixels.
        dtype: Name of the pixels' type.
        nodata: Value of pixels without data.

    Yields:
        The writer.
    """
    plain = path.with_suffix(".plain")
    try:
        with create_geotiff(plain, target, dtype, nodata, compress="zstd") as writer:
            yield writer
        copy_raster(plain, path, driver="COG", COMPRESS="ZSTD", OVERVIEW_RESAMPLING="NEAREST")
    finally:
        plain.unlink(missing_ok=True)


def write_vectors(path: Path, grid: Grid, vectors: np.ndarray) -> None:
    """Write vectors as a GeoTIFF in AlphaEarth's form.

    Args:
        path: The file.
        grid: Its grid.
        vectors: (D, H, W) int8, -128 where there is none; the bands become A00, A01, ….
    """
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "pixel"}
    profile = {"driver": "GTiff", "dtype": "int8", "count": len(vectors), "nodata": -128}
    with rasterio.open(
        path, "w", **profile, **layout, **georeference(grid), compress="zstd"
    ) as dataset:
        for number in range(len(vectors)):
            dataset.set_band_description(number + 1, f"A{number:02d}")
        dataset.write(vectors)


def copy_raster(source: Path | str, target: Path, **options: Any) -> None:
    """Copy a raster to another file.

    Args:
        source: The raster.
        target: The file to make.
        **options: The driver and its creation options.

    Raises:
        RasterioIOError: the file cannot be written.
    """
    try:
        rasterio.shutil.copy(source, target, **options)
    except CPLE_BaseError as error:
        # What rasterio makes of GDAL's errors everywhere else.
        raise RasterioIOError(str(error)) from error

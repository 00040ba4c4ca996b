"""Views of open rasters: windows of their pixels, and arrays on another grid.

`lulc.raster.reader` reads bands of a file on any grid and checks that none of it is missing; these
functions are for rasters that a caller has opened itself with `lulc.raster.access.open_raster`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rasterio.enums import Resampling
from rasterio.transform import xy
from rasterio.warp import reproject
from rasterio.windows import Window

from lulc.geo.grid import Grid
from lulc.raster.access import OpenRaster
from lulc.raster.pixels import read_pixels
from lulc.raster.side_files import read_place

type PixelWindow = tuple[slice, slice]
"""Rows and columns of a raster, from a first one to one after the last."""


def read_masked(
    raster: OpenRaster, indexes: Sequence[int], window: PixelWindow
) -> tuple[np.ndarray, np.ndarray]:
    """Read bands of one type in a window, and where they are valid.

    Args:
        raster: The open raster.
        indexes: The bands, from 1; one may be read several times.
        window: Rows and columns.

    Returns:
        (C, H, W) pixels; (C, H, W) bool: see `lulc.raster.pixels.read_pixels`.

    Raises:
        ReadError: the file is damaged there, or the bands differ in type; names the window.
    """
    return read_pixels(raster, indexes, Window.from_slices(*window))


def pixel_centres(grid: Grid, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (N,) of the centres of pixels at rows and columns (N,) of a grid."""
    x, y = xy(grid.affine, rows, cols)
    return x, y


def average_onto(pixels: np.ndarray, grid: Grid, target: Grid) -> np.ndarray:
    """Average an array on another grid.

    Args:
        pixels: (C, H, W) numbers on `grid`.
        grid: Grid of the array.
        target: Grid of the result.

    Returns:
        (C, H, W) float32, NaN outside of the array.
    """
    averaged = np.full((len(pixels), *target.shape), np.nan, np.float32)
    reproject(
        pixels,
        averaged,
        src_transform=grid.affine,
        src_crs=grid.crs,
        dst_transform=target.affine,
        dst_crs=target.crs,
        dst_nodata=np.nan,
        resampling=Resampling.average,
    )
    return averaged


def georeference(raster: OpenRaster | Grid) -> dict[str, Any]:
    """Return rasterio's crs, transform, height and width of a raster or grid.

    Of an image without CRS none.
    """
    crs: Any
    if isinstance(raster, Grid):
        crs, transform = raster.crs, raster.affine
    else:
        crs, transform = read_place(raster, without_crs=True)
    shape = {"transform": transform, "height": raster.height, "width": raster.width}
    return {"crs": crs, **shape} if crs else shape

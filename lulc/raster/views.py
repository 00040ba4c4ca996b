"""Views of open rasters: windows of their pixels, and rasters and arrays on another grid.

`lulc.raster.reader` reads bands of a file on any grid and checks that none of it is missing; these
functions are for rasters that a caller has opened itself with `lulc.raster.access.open_raster`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import xy
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject
from rasterio.windows import Window, from_bounds

from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.raster.access import OpenRaster, open_raster
from lulc.raster.pixels import read_pixels
from lulc.raster.side_files import read_place

type PixelWindow = tuple[slice, slice]
"""Rows and columns of a raster, from a first one to one after the last."""


def read_window(raster: OpenRaster, window: PixelWindow) -> np.ndarray:
    """Return the first band's pixels (H, W) in a window."""
    pixels: np.ndarray = raster.read(1, window=Window.from_slices(*window))
    return pixels


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


def read_mode(raster: OpenRaster, bounds: tuple[float, ...], shape: tuple[int, int]) -> np.ndarray:
    """Read the first band decimated, each pixel the most frequent value.

    Args:
        raster: The open raster, north up.
        bounds: left, bottom, right and top in its CRS.
        shape: (H, W) of the result.

    Returns:
        (H, W) pixels of the raster's dtype; overviews are used where the raster has them.
    """
    window = from_bounds(*bounds, raster.transform)
    pixels: np.ndarray = raster.read(1, window=window, out_shape=shape, resampling=Resampling.mode)
    return pixels


def pixel_centres(grid: Grid, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (N,) of the centres of pixels at rows and columns (N,) of a grid."""
    x, y = xy(grid.affine, rows, cols)
    return x, y


@contextlib.contextmanager
def open_north_up(href: str, crs: CRS) -> Iterator[OpenRaster]:
    """Open a class raster in a CRS and north up, warped where it lies otherwise.

    Args:
        href: See `open_raster`.
        crs: The `crs` of an open raster.

    Yields:
        The raster; outside of one without nodata there is `lulc.legend.NODATA`.

    Raises:
        ReadError: the file cannot be opened.
    """
    with open_raster(href) as raster:
        step = raster.transform
        if raster.crs == crs and (step.b, step.d) == (0, 0) and step.a > 0 > step.e:
            yield raster
            return
        # Outside of a raster without nodata there is no class, and not class 0.
        fill = NODATA if raster.nodata is None else raster.nodata
        with WarpedVRT(raster, crs=crs, src_nodata=fill, nodata=fill) as warped:
            yield warped


@contextlib.contextmanager
def align(raster: OpenRaster, target: OpenRaster | Grid, nodata: int) -> Iterator[OpenRaster]:
    """View an open raster on another grid, sampled at the centres of its pixels.

    Args:
        raster: The open raster, in any CRS.
        target: The grid, or an open raster that has it.
        nodata: Value that means no data in the raster, and outside of it.

    Yields:
        The raster on the grid.
    """
    nearest = {"resampling": Resampling.nearest, "src_nodata": nodata, "nodata": nodata}
    with WarpedVRT(raster, **nearest, **georeference(target)) as aligned:
        yield aligned


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
    if isinstance(raster, Grid):
        crs, transform = raster.crs, raster.affine
    else:
        crs, transform = read_place(raster)
    shape = {"transform": transform, "height": raster.height, "width": raster.width}
    return {"crs": crs, **shape} if crs else shape

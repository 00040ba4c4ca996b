"""The class rasters of a period read as one ClassMap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.inference.class_map import ClassMap
from lulc.legend import NODATA, Legend
from lulc.raster import reader
from lulc.tables import files, layout
from lulc.tables.files import Location

_MAX_PIXELS = 1 << 30


def read_class_map(out: Location, period: str, legend: Legend) -> ClassMap:
    """Read the map of a period.

    Args:
        out: the output location.
        period: the period's name.
        legend: the classes of the map.

    Returns:
        The map on the smallest grid that holds all rasters of the period.

    Raises:
        InputError: there is no raster of the period, or the map has more than 2³⁰ pixels.
    """
    folder = out / layout.RASTERS / period
    rasters = sorted(folder.glob("*.tif"))
    if not rasters:
        raise InputError(f"{folder} holds no class raster: run `lulc rasters`")
    grids = [reader.grid_of(str(raster)) for raster in rasters]
    grid = _union(grids)
    if grid.height * grid.width > _MAX_PIXELS:
        raise InputError(
            f"the map of {period} has {grid.width} × {grid.height} pixels, too many for one array: "
            f"open {folder / 'mosaic.vrt'}, or one of its {len(rasters)} rasters"
        )
    classes = np.full(grid.shape, NODATA, np.uint8)
    confidence = np.full(grid.shape, NODATA, np.uint8)
    for raster, of_raster in zip(rasters, grids, strict=True):
        place = raster.relative_to(out).as_posix()
        window = _window(grid, of_raster)
        classes[window] = _read(out / place)
        confidence_file = out / layout.confidence_raster(place)
        if files.exists(confidence_file):
            confidence[window] = _read(confidence_file)
    return ClassMap(grid, classes, confidence, (), f"{legend.name}, {period}", legend=legend)


def _read(raster: Location) -> np.ndarray:
    pixels, valid, _ = reader.read_whole(str(raster), with_grid=False)
    return np.where(valid, pixels[0], NODATA)


def _union(grids: Sequence[Grid]) -> Grid:
    first = grids[0]
    windows = [_window(first, grid) for grid in grids]
    top, left = (min(window[axis].start for window in windows) for axis in (0, 1))
    bottom, right = (max(window[axis].stop for window in windows) for axis in (0, 1))
    return first.window(top, left, bottom - top, right - left)


def _window(grid: Grid, part: Grid) -> tuple[slice, slice]:
    # Rows and columns of `grid` that `part`, of the same lattice of pixels, takes.
    offset = ~grid.affine @ part.affine
    row, col = round(offset.f), round(offset.c)
    return slice(row, row + part.height), slice(col, col + part.width)

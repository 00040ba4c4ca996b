"""Class rasters as one ClassMap: those of a period of a run, or one from anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.legend import NODATA, Legend, join_names, legend_from_table
from lulc.location import Location, relative_name
from lulc.maps.class_map import ClassMap
from lulc.raster import reader
from lulc.raster.access import open_raster
from lulc.raster.classes import find_class_band, names_of, to_ids
from lulc.tables import files, layout

_MAX_PIXELS = 1 << 30
_MODEL_TAGS = ("lulc_model", "model")  # of rasters of a run, and of those of a folder of images


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
    rasters: list[Location] = sorted(folder.rglob("*.tif"))
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
    for raster, raster_grid in zip(rasters, grids, strict=True):
        path = relative_name(raster, out)
        window = _window(grid, raster_grid)
        classes[window] = _read(out / path)
        confidence_file = out / layout.confidence_raster(path)
        if files.exists(confidence_file):
            confidence[window] = _read(confidence_file)
    model = _read_tags(rasters[0], 1)[0]
    return ClassMap(grid, classes, confidence, (), model, legend=legend)


def read_class_raster(path: Location) -> ClassMap:
    """Read a class raster that a run, a folder of images or any other program has made.

    Returns:
        The map; its legend has the names and colours of the file, `class <id>` for ids without a
        name, and distinct colours where the file has none. Its confidence is not known.

    Raises:
        InputError: the file is no class raster, or its ids and names are not one to one.
    """
    with open_raster(str(path)) as raster:
        band = find_class_band(raster)
    model, names, table = _read_tags(path, band)
    pixels, valid, grid = reader.read_whole(str(path), (band,))
    classes = to_ids(pixels[0], valid & (pixels[0] != NODATA), str(path))
    ids = {i: f"class {i}" for i in np.unique(classes).tolist() if i != NODATA}
    names = join_names([(str(path), ids | names)])
    legend = legend_from_table(path.stem, names, table)
    return ClassMap(grid, classes, np.full_like(classes, NODATA), (), model, legend=legend)


def _read_tags(path: Location, band: int) -> tuple[str, dict[int, str], dict[int, tuple[int, ...]]]:
    # The model, the class names and the colours of a band that a class raster has.
    with open_raster(str(path)) as raster:
        tags, names, table = raster.tags(), names_of(raster, str(path), band), {}
        with contextlib.suppress(ValueError):
            table = raster.colormap(band)
    model = next((tags[name] for name in _MODEL_TAGS if name in tags), "")
    return model, names, table


def _read(raster: Location) -> np.ndarray:
    pixels, valid, _ = reader.read_whole(str(raster), with_grid=False)
    return np.where(valid, pixels[0], NODATA)


def _union(grids: Sequence[Grid]) -> Grid:
    first = grids[0]
    windows = [_window(first, grid) for grid in grids]
    top, left = (min(window[axis].start for window in windows) for axis in (0, 1))
    bottom, right = (max(window[axis].stop for window in windows) for axis in (0, 1))
    return first.window(top, left, bottom - top, right - left)


def _window(grid: Grid, part_grid: Grid) -> tuple[slice, slice]:
    # Rows and columns of `grid` that another grid of the same lattice of pixels takes.
    offset = ~grid.affine @ part_grid.affine
    row, col = round(offset.f), round(offset.c)
    return slice(row, row + part_grid.height), slice(col, col + part_grid.width)

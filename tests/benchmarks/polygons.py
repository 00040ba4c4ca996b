"""How fast a map becomes polygons, against rasterio on the whole array in memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio.features
import shapely

from lulc.legend import NODATA
from lulc.stats.class_rasters import SIDE
from lulc.stats.polygons import find_parts, list_blocks
from tests.maps.test_refine import random_map
from tests.stats import test_polygons as polygons


def measure(quick: bool) -> dict[str, float]:
    """Figures by name.

    polygons: CPU seconds of `rasterio.features.shapes` and shapely ÷ ours on one core. Ours read
    the file block by block, join what blocks share and tell true areas; rasterio is given the
    array. polygons.ns: ours a pixel; polygons.each: ours a polygon, in ns; polygons.apart: the
    largest difference of a polygon's area, in pixels, from the number of its pixels.
    """
    side = SIDE if quick else 2 * SIDE
    classes = random_map(0, side, side, 4.0)
    with tempfile.TemporaryDirectory() as name:
        polygons.write_raster(Path(name) / "map.tif", classes, tiled=True)
        lattices = polygons.lattices_of(Path(name))
        find_parts(list_blocks(lattices, 64)[0], lattices, 64)  # compiles
        found: list[pa.Table] = []
        ours = _cpu_seconds(lambda: found.append(polygons.polygons_of(lattices, SIDE)))
    expected: list[list[shapely.Polygon]] = []
    theirs = _cpu_seconds(lambda: expected.append(_shapes_of(classes)))
    shapes = shapely.from_wkb(found[0]["geometry"].to_numpy())
    if len(shapes) != len(expected[0]):
        raise AssertionError(f"{len(shapes)} polygons, and {len(expected[0])} of rasterio")
    apart = shapely.area(shapes) / polygons.PIXEL**2 - found[0]["pixels"].to_numpy()
    return {
        "polygons": theirs / ours,
        "polygons.ns": 1e9 * ours / side**2,
        "polygons.each": 1e9 * ours / len(shapes),
        "polygons.apart": float(np.abs(apart).max()),
    }


def _shapes_of(classes: np.ndarray) -> list[shapely.Polygon]:
    traced = rasterio.features.shapes(classes, classes != NODATA, connectivity=4)
    return [shapely.geometry.shape(shape) for shape, _ in traced]


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start

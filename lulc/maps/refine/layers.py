"""Layers that rules compare: rasters and polygons on the grid of a block."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np
import shapely

from lulc.errors import InputError
from lulc.geo.grid import Grid, map_coordinates
from lulc.geo.reproject import reproject_polygons
from lulc.guard import read_guard
from lulc.location import parse_location
from lulc.raster import reader
from lulc.raster.vector import rasterize
from lulc.tables.files import file_identity
from lulc.tables.vector_files import (
    Layer,
    find_layer,
    first_types,
    polygons_of,
    read_features,
)
from lulc.tables.vector_identity import vector_identity
from lulc.tables.vector_windows import windows_on

_VECTORS = (
    ".gpkg", ".shp", ".geojson", ".json", ".fgb", ".gdb", ".kml", ".gml", ".parquet", ".geoparquet",
    ".zip", ".geojsonl", ".geojsons", ".ndjson", ".topojson", ".kmz", ".tab", ".mif", ".sqlite",
)  # fmt: skip


def layer_identity(path: str) -> list[object]:
    """Return what changes when a layer's file is replaced; no content is read."""
    return vector_identity(path) if _is_vector(path) else file_identity(parse_location(path))


def check_layer(path: str, key: str, grids: Sequence[Grid] | None = None) -> None:
    """Refuse a vector file without effect: that has no polygon, or lies beside all grids.

    Args:
        path: as of `read_layer`; nothing is read of a raster.
        key: of the run file, for messages.
        grids: of the map that it is for. Default: it may lie anywhere.

    Raises:
        InputError: it has no effect, or cannot be read.
    """
    if not _is_vector(path):
        return
    with read_guard(f"{key} {path}"):
        layer = find_layer(path, key)
        types = first_types(layer)
        # Polygons may come after a thousand points.
        if (
            not _are_areal(types)
            and shapely.is_missing(polygons_of(read_features(layer).geometries)).all()
        ):
            found = f"its features are {', '.join(sorted(types))}" if types else "it has no feature"
            raise InputError(f"{key} {path} has no polygon ({found}): give a file of polygons")
        if grids is not None and not any(_meets(layer, grid) for grid in grids):
            raise InputError(
                f"{key} {path} covers no part of its map: give polygons where the map is, and the "
                "true CRS in their file"
            )


def _are_areal(types: Collection[str]) -> bool:
    return any("Polygon" in name for name in types)


def _meets(layer: Layer, grid: Grid) -> bool:
    if layer.bounds is None:
        return False
    box = shapely.box(*layer.bounds)
    return any(box.intersects(shapely.box(*bounds)) for bounds, _ in windows_on(grid, layer))


@lru_cache(maxsize=8)
def read_layer(path: str, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Read a layer on a grid.

    Args:
        path: a raster, whose first band's nearest pixels are taken, or a vector file of polygons.
        grid: of the result.

    Returns:
        The values (H, W), of polygons 1 where they cover a pixel's centre and 0 elsewhere; and
        (H, W) bool, where there is a value.

    Raises:
        InputError: the file cannot be read or is not georeferenced.
    """
    with read_guard(f"layer {path}"):
        if not _is_vector(path):
            return reader.read_band(path, 1, grid, "nearest", None)
        layer = find_layer(path, "layer")
        canvas = np.zeros(grid.shape, np.uint8)
        for bounds, shift in windows_on(grid.pad(2), layer):
            polygons = polygons_of(read_features(layer, bounds=bounds).geometries)
            polygons = shapely.make_valid(polygons[~shapely.is_missing(polygons)])
            parts = polygons_of(shapely.clip_by_rect(polygons, *bounds))
            parts = parts[~shapely.is_missing(parts)]
            if len(parts):
                shifted = map_coordinates(parts, lambda x, y, shift=shift: (x + shift, y))
                rasterize(reproject_polygons(shifted, layer.crs, grid.crs), canvas, grid)
        return canvas, np.ones(grid.shape, bool)


def _is_vector(path: str) -> bool:
    return path.lower().endswith(_VECTORS)

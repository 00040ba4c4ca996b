"""Layers that rules compare: rasters and polygons on the grid of a block."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import shapely

from lulc.geo.grid import Grid, map_coordinates
from lulc.geo.reproject import reproject_polygons
from lulc.guard import read_guard
from lulc.location import parse_location
from lulc.raster import reader
from lulc.raster.vector import rasterize
from lulc.tables.files import file_identity
from lulc.tables.vector_files import find_layer, polygons_of, read_features
from lulc.tables.vector_identity import vector_identity
from lulc.tables.vector_windows import windows_on

_VECTORS = (
    ".gpkg", ".shp", ".geojson", ".json", ".fgb", ".gdb", ".kml", ".gml", ".parquet", ".geoparquet",
)  # fmt: skip


def layer_identity(path: str) -> list[object]:
    """Return what changes when a layer's file is replaced; no content is read."""
    return vector_identity(path) if _is_vector(path) else file_identity(parse_location(path))


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
        layer = find_layer(path, "refine.layers")
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

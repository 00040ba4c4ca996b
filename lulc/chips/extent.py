"""Where a run maps: the area it is given, and the blocks of tiles that footprints reach in it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo import grid
from lulc.geo.tiling import Tiling

Cell = tuple[int, int]  # (col, row) of a block's top left tile


def find_cells(
    footprints: Iterable[BaseGeometry], tiling: Tiling, span: int, area: BaseGeometry | None
) -> list[Cell]:
    """(col, row) of the blocks that footprints (in degrees) may reach and whose cores touch the area, by rows."""
    found: set[Cell] = set()
    for outline in footprints:
        for part in getattr(outline, "geoms", [outline]):
            bounds = _bounds(part, tiling.crs)
            found.update(() if bounds is None else tiling.cells(bounds, span))
    if area is not None:
        shapely.prepare(area)
    return sorted(
        (c for c in found if area is None or _touches(c, tiling, span, area)), key=lambda c: c[::-1]
    )


def _bounds(outline: BaseGeometry, crs: str) -> tuple[float, float, float, float] | None:
    # Points that the CRS cannot place are left out: a footprint may reach beyond what the tiling's CRS covers.
    places = shapely.get_coordinates(grid.project(outline, grid.WGS84, crs))
    places = places[np.isfinite(places).all(1)]
    if not len(places):
        return None
    (xmin, ymin), (xmax, ymax) = places.min(0), places.max(0)
    return float(xmin), float(ymin), float(xmax), float(ymax)


def _touches(cell: Cell, tiling: Tiling, span: int, area: BaseGeometry) -> bool:
    try:
        return bool(area.intersects(grid.footprint(tiling.grid(*cell, span=span))))
    except InputError:
        return False


def block_of_tile(tile_id: str, tiling: Tiling, span: int) -> Cell:
    """The block that holds a tile; UsageError when the tile is of another tiling."""
    col, row = tiling.parse(tile_id)
    return col // span * span, row // span * span

"""Which blocks of tiles footprints reach in the area of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo import grid
from lulc.geo.tiling import Tiling

Cell = tuple[int, int]
"""(col, row) of a block's top left tile."""
Bounds = tuple[float, float, float, float]
"""xmin, ymin, xmax and ymax in the tiling's CRS."""


def find_cells(
    footprints: Iterable[BaseGeometry], tiling: Tiling, span: int, area: BaseGeometry | None
) -> list[Cell]:
    """Return the blocks that footprints may reach and whose cores touch the area.

    Args:
        footprints: in degrees (EPSG:4326).
        tiling: the run's tiling.
        span: a block is `span` x `span` tiles.
        area: in degrees; None for no limit.

    Returns:
        (col, row) of each block's top left tile, by rows.
    """
    cells: set[Cell] = set()
    for footprint in footprints:
        for polygon in getattr(footprint, "geoms", [footprint]):
            bounds = _bounds(polygon, tiling.crs)
            if bounds is not None:
                for moved in _turns(bounds, tiling):
                    cells.update(tiling.cells(moved, span))
    if area is not None:
        shapely.prepare(area)
    touching = (cell for cell in cells if area is None or _touches(cell, tiling, span, area))
    return sorted(touching, key=lambda cell: cell[::-1])


def _bounds(outline: BaseGeometry, crs: str) -> Bounds | None:
    # A footprint may reach beyond what the tiling's CRS covers: points without coordinates in it
    # are left out.
    points = shapely.get_coordinates(grid.project(outline, grid.WGS84, crs))
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return None
    (xmin, ymin), (xmax, ymax) = points.min(0), points.max(0)
    return float(xmin), float(ymin), float(xmax), float(ymax)


def _turns(bounds: Bounds, tiling: Tiling) -> Iterator[Bounds]:
    # A tiling of the pixels of one raster may lie any number of turns beyond 180.
    turn = grid.turn_of(tiling.crs)
    if turn is None or tiling.extent is None:
        yield bounds
        return
    west, south, east, north = bounds
    end = tiling.x0 + tiling.extent[1] * tiling.resolution
    for k in range(math.ceil((tiling.x0 - east) / turn), math.floor((end - west) / turn) + 1):
        yield west + k * turn, south, east + k * turn, north


def _touches(cell: Cell, tiling: Tiling, span: int, area: BaseGeometry) -> bool:
    try:
        return bool(area.intersects(grid.footprint(tiling.grid(*cell, span=span))))
    except InputError:
        return False


def block_of_tile(tile_id: str, tiling: Tiling, span: int) -> Cell:
    """Return the block that holds a tile.

    Args:
        tile_id: `<tiling>/<col>_<row>`.
        tiling: the run's tiling.
        span: a block is `span` x `span` tiles.

    Raises:
        UsageError: the tile is of another tiling.
    """
    col, row = tiling.parse(tile_id)
    return col // span * span, row // span * span

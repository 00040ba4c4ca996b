"""Which blocks of tiles footprints reach in the area of a run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.geo.batches import footprints as footprints_of
from lulc.geo.batches import projected_bounds
from lulc.geo.grid import WGS84, turn_of
from lulc.geo.tiling import Tiling

Cell = tuple[int, int]
"""(col, row) of a block's top left tile."""
Bounds = tuple[float, float, float, float]
"""xmin, ymin, xmax and ymax in the tiling's CRS."""
_AT_ONCE = 4096  # cells whose outlines are in memory


def find_cells(
    footprints: Iterable[BaseGeometry], tiling: Tiling, span: int, area: BaseGeometry | None
) -> list[Cell]:
    """Return the blocks that footprints may reach and whose cores touch the area.

    Args:
        footprints: in degrees (EPSG:4326); each distinct one once is enough.
        tiling: the run's tiling.
        span: a block is `span` x `span` tiles.
        area: in degrees; None for no limit.

    Returns:
        (col, row) of each block's top left tile, by rows.
    """
    polygons = shapely.get_parts(np.array(list(footprints), dtype=object))
    bounds = projected_bounds(polygons, WGS84, tiling.crs)
    cells: set[Cell] = set()
    # A footprint may reach beyond what the tiling's CRS covers.
    for xmin, ymin, xmax, ymax in bounds[np.isfinite(bounds).all(1)].tolist():
        for moved in _turns((xmin, ymin, xmax, ymax), tiling):
            cells.update(tiling.cells(moved, span))
    by_rows = sorted(cells, key=lambda cell: cell[::-1])
    return by_rows if area is None else list(_touching(by_rows, tiling, span, area))


def _touching(
    cells: Sequence[Cell], tiling: Tiling, span: int, area: BaseGeometry
) -> Iterator[Cell]:
    shapely.prepare(area)
    for some in itertools.batched(cells, _AT_ONCE):
        outlines = footprints_of([tiling.grid(*cell, span=span) for cell in some])
        yield from itertools.compress(some, shapely.intersects(area, outlines))


def _turns(bounds: Bounds, tiling: Tiling) -> Iterator[Bounds]:
    # A tiling of the pixels of one raster may lie any number of turns beyond 180.
    turn = turn_of(tiling.crs)
    if turn is None or tiling.extent is None:
        yield bounds
        return
    west, south, east, north = bounds
    end = tiling.x0 + tiling.extent[1] * tiling.resolution
    for k in range(math.ceil((tiling.x0 - east) / turn), math.floor((end - west) / turn) + 1):
        yield west + k * turn, south, east + k * turn, north


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

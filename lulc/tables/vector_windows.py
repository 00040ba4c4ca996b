"""Which part of a vector file lies on a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lulc.geo.grid import Grid, turn_of
from lulc.geo.reproject import bounds_in
from lulc.tables.vector_files import Bounds, Layer


def windows_on(grid: Grid, layer: Layer) -> Iterator[tuple[Bounds, float]]:
    """Yield bounds in a layer's CRS that hold a grid.

    Once for every whole turn at which the layer may tell its longitudes; and what is added to those
    to give the grid's.
    """
    bounds = bounds_in(grid, layer.crs)
    if bounds is None or layer.bounds is None:
        return
    left, bottom, right, top = bounds
    xmin, _, xmax, _ = layer.bounds
    turn = turn_of(layer.crs)
    if turn is None:
        yield bounds, 0.0
        return
    for k in range(math.ceil((xmin - right) / turn), math.floor((xmax - left) / turn) + 1):
        yield (left + k * turn, bottom, right + k * turn, top), -k * turn

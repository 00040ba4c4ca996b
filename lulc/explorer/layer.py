"""Layers of the web's map: tiles of 512 × 512 pixels in Web Mercator, of parts that lie anywhere.

A layer is made of parts, such as rasters, each on a grid of its own. Its last tiles are those whose
pixels are not larger than theirs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import shapely

from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid
from lulc.geo.reproject import bounds_in

SIDE = 512
"""Pixels along a side of a tile."""
WEB_MERCATOR = "EPSG:3857"
_HALF = math.pi * 6378137.0  # of the map's side, in its metres
_MAX_LATITUDE = 85.0511
_MAX_ZOOM = 20

type Box = tuple[float, float, float, float]
"""West, south, east and north in degrees; beyond the antimeridian east is over 180."""


class Layer(ABC):
    """What one period looks like, as tiles."""

    suffix: ClassVar[str] = "png"
    """Format of the tiles, as files of it are named."""
    kind: str
    """What is shown."""
    period: str

    @abstractmethod
    def tile(self, zoom: int, col: int, row: int) -> bytes | None:
        """Return a tile as a picture, None where the layer has no pixel in it.

        Args:
            zoom: 0 for the tile of the whole Earth.
            col: counted from the west.
            row: counted from the north.

        Raises:
            InputError: a part cannot be read.
        """

    @property
    @abstractmethod
    def grids(self) -> Sequence[Grid]:
        """The grids of the parts."""

    @property
    @abstractmethod
    def min_zoom(self) -> int:
        """The first zoom that has tiles."""

    @property
    def name(self) -> str:
        """`<kind>-<period>`, which names the layer's files."""
        return f"{self.kind}-{self.period}"

    @cached_property
    def bounds(self) -> Box:
        """The box that holds all parts."""
        boxes = np.array(self._boxes)
        west, south = boxes[:, :2].min(0).tolist()
        east, north = boxes[:, 2:].max(0).tolist()
        return west, max(south, -_MAX_LATITUDE), east, min(north, _MAX_LATITUDE)

    @cached_property
    def max_zoom(self) -> int:
        """The first zoom whose pixels are not larger than those of the parts."""
        # One part of each size of pixels: they may differ in maps made elsewhere.
        sizes = {(grid.crs, grid.resolution): grid for grid in reversed(self.grids)}
        return min(max(map(zoom_of, sizes.values())), _MAX_ZOOM)

    def has_tile(self, zoom: int, col: int, row: int) -> bool:
        """Return whether there is such a tile, with pixels or without."""
        return self.min_zoom <= zoom <= self.max_zoom and max(col, row) < 2**zoom

    def tiles(self, zoom: int) -> Iterator[tuple[int, int]]:
        """Yield column and row of every tile of a zoom that may have pixels, in order."""
        yield from sorted({cell for box in self._boxes for cell in _cells(box, zoom)})

    def parts_in(self, zoom: int, col: int, row: int) -> list[int]:
        """Return the numbers of the parts that may have pixels in a tile, in order."""
        west, south, east, north = tile_box(zoom, col, row)
        turns = [shapely.box(west + turn, south, east + turn, north) for turn in (0, 360)]
        numbers: list[int] = np.unique(self._tree.query(turns)[1]).tolist()
        return numbers

    def count_parts(self, zoom: int) -> int:
        """Return how many parts may have pixels in the tile of a zoom that meets the most."""
        counts: dict[tuple[int, int], int] = {}
        for box in self._boxes:
            for cell in _cells(box, zoom):
                counts[cell] = counts.get(cell, 0) + 1
        return max(counts.values())

    @cached_property
    def _boxes(self) -> list[Box]:
        boxes = [_degrees(grid) for grid in self.grids]
        # Parts on both sides of the antimeridian lie side by side.
        if max(box[2] for box in boxes) - min(box[0] for box in boxes) > 350:
            boxes = [(w + 360, s, e + 360, n) if e < 0 else (w, s, e, n) for w, s, e, n in boxes]
        return boxes

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([shapely.box(*box) for box in self._boxes])


def tile_grid(zoom: int, col: int, row: int) -> Grid:
    """Return the grid of a tile's pixels."""
    side = 2 * _HALF / 2**zoom
    pixel = side / SIDE
    transform = (pixel, 0.0, col * side - _HALF, 0.0, -pixel, _HALF - row * side)
    return Grid(WEB_MERCATOR, transform, SIDE, SIDE)


def tile_box(zoom: int, col: int, row: int) -> Box:
    """Return the box of a tile."""
    south, north = (
        math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * edge / 2**zoom))))
        for edge in (row + 1, row)
    )
    return col / 2**zoom * 360 - 180, south, (col + 1) / 2**zoom * 360 - 180, north


def zoom_of(grid: Grid) -> int:
    """Return the first zoom whose pixels are not larger than a grid's, in the grid's middle."""
    _, south, _, north = _degrees(grid)
    latitude = min(abs(south + north) / 2, _MAX_LATITUDE)
    whole = 2 * _HALF / SIDE * math.cos(math.radians(latitude))
    return max(0, math.ceil(math.log2(whole / min(grid.resolution_m)) - 1e-3))


def _cells(box: Box, zoom: int) -> Iterator[tuple[int, int]]:
    # The tiles that a box meets.
    west, south, east, north = box
    count = 2**zoom
    rows = [
        (1 - math.asinh(math.tan(math.radians(latitude))) / math.pi) / 2 * count
        for latitude in (min(north, _MAX_LATITUDE), max(south, -_MAX_LATITUDE))
    ]
    first_row, last_row = (min(max(math.floor(edge), 0), count - 1) for edge in rows)
    first_col, last_col = (math.floor((edge + 180) / 360 * count) for edge in (west, east))
    for row in range(first_row, last_row + 1):
        for col in range(first_col, min(last_col, first_col + count - 1) + 1):
            yield col % count, row


def _degrees(grid: Grid) -> Box:
    box = bounds_in(grid, WGS84)
    if box is None:
        raise InputError(f"what lies in {grid.crs[:40]} has no place in degrees: it is not shown")
    west, south, east, north = box
    turn = 360 * math.floor((west + 180) / 360)
    return west - turn, south, east - turn, north

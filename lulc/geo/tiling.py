"""Tiling: a CRS cut into equal square tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lulc.errors import UsageError
from lulc.geo.grid import Grid


@dataclass(frozen=True)
class Tiling:
    """A CRS cut in equal squares of `size` pixels of `resolution` units, counted right and down from (x0, y0).

    `extent` (rows, cols in pixels), when set, is the whole area: tiles start at 0, 0 and the last ones reach over it.
    """

    name: str
    crs: str
    resolution: float
    size: int
    x0: float = 0.0
    y0: float = 0.0
    resolution_y: float | None = None
    extent: tuple[int, int] | None = None

    @property
    def step_y(self) -> float:
        """Height of a pixel, positive."""
        return self.resolution if self.resolution_y is None else self.resolution_y

    def grid(self, col: int, row: int, halo: int = 0, span: int = 1) -> Grid:
        """The grid of `span` x `span` tiles whose top left one is (col, row), grown by a halo in pixels."""
        x = self.x0 + col * self.size * self.resolution
        y = self.y0 - row * self.size * self.step_y
        side = span * self.size
        return Grid(self.crs, (self.resolution, 0.0, x, 0.0, -self.step_y, y), side, side).pad(halo)

    def coarsen(self, times: int) -> Tiling:
        """The same tiles, of pixels so many times as wide and high; a pixel that reaches over the extent is kept."""
        step_y = None if self.resolution_y is None else self.resolution_y * times
        extent = (
            None
            if self.extent is None
            else (-(-self.extent[0] // times), -(-self.extent[1] // times))
        )
        return replace(
            self,
            resolution=self.resolution * times,
            resolution_y=step_y,
            size=self.size // times,
            extent=extent,
        )

    def tile_id(self, col: int, row: int) -> str:
        """The tile's id, `<tiling>/<col>_<row>`."""
        return f"{self.name}/{col}_{row}"

    def parse(self, tile_id: str) -> tuple[int, int]:
        """(col, row) of a tile id; UsageError when it belongs to another tiling."""
        name, _, place = tile_id.rpartition("/")
        col, _, row = place.partition("_")
        try:
            if name != self.name:
                raise ValueError(name)
            return int(col), int(row)
        except ValueError as error:
            raise UsageError(
                f"tile {tile_id!r} is not of tiling {self.name!r}: ids are {self.name}/<col>_<row>"
            ) from error

    def cells(
        self, bounds: tuple[float, float, float, float], span: int = 1
    ) -> Iterator[tuple[int, int]]:
        """(col, row) of every tile (every `span`-th, for blocks) that touches bounds in the tiling's CRS, by rows."""
        step_x, step_y = self.resolution * self.size * span, self.step_y * self.size * span
        xmin, ymin, xmax, ymax = bounds
        # A hair inside, so that an edge shared by two cells does not bring in the neighbour.
        tiny = 1e-9
        cols = range(
            math.floor((xmin - self.x0) / step_x + tiny),
            math.ceil((xmax - self.x0) / step_x - tiny),
        )
        rows = range(
            math.floor((self.y0 - ymax) / step_y + tiny),
            math.ceil((self.y0 - ymin) / step_y - tiny),
        )
        last_row, last_col = (math.inf, math.inf)
        if self.extent is not None:
            last_row, last_col = (math.ceil(n / (self.size * span)) - 1 for n in self.extent)
        for row in rows:
            for col in cols:
                if self.extent is None or (0 <= row <= last_row and 0 <= col <= last_col):
                    yield col * span, row * span

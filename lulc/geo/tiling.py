"""Tiling: a CRS cut into equal square tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lulc.errors import UsageError
from lulc.geo.grid import Grid

_MAX_CELLS = 20_000_000
"""More blocks than that of one scene take memory that no machine of today has."""


@dataclass(frozen=True)
class Tiling:
    """A CRS cut into equal squares, numbered (col, row) to the right and down from (x0, y0)."""

    name: str
    """First part of the tile ids."""
    crs: str
    resolution: float
    """Width of a pixel in the CRS's unit; also its height unless `resolution_y` is set."""
    size: int
    """Pixels along the side of a tile."""
    x0: float = 0.0
    """Left edge of tile (0, 0) in the CRS's unit."""
    y0: float = 0.0
    """Top edge of tile (0, 0) in the CRS's unit."""
    resolution_y: float | None = None
    """Height of a pixel, positive, where it differs from the width."""
    extent: tuple[int, int] | None = None
    """(rows, cols) in pixels of the whole area, where it is bounded: tiles start at (0, 0) and the
    last ones reach beyond it."""

    @property
    def pixel_height(self) -> float:
        """Height of a pixel in the CRS's unit, positive."""
        return self.resolution if self.resolution_y is None else self.resolution_y

    def grid(self, col: int, row: int, halo: int = 0, span: int = 1) -> Grid:
        """Return the grid of a tile, or of a block of tiles.

        Args:
            col: Column of the tile; of a block, that of its upper left tile.
            row: Row of the tile; of a block, that of its upper left tile.
            halo: Pixels added on every side.
            span: Tiles along the side of the block.
        """
        x = self.x0 + col * self.size * self.resolution
        y = self.y0 - row * self.size * self.pixel_height
        side = span * self.size
        transform = (self.resolution, 0.0, x, 0.0, -self.pixel_height, y)
        return Grid(self.crs, transform, side, side).pad(halo)

    def coarsen(self, factor: int) -> Tiling:
        """Return the same tiles of pixels `factor` times as wide and high.

        A pixel that reaches beyond the extent is kept.
        """
        resolution_y = None if self.resolution_y is None else self.resolution_y * factor
        extent = None
        if self.extent is not None:
            rows, cols = self.extent
            extent = -(-rows // factor), -(-cols // factor)
        return replace(
            self,
            resolution=self.resolution * factor,
            resolution_y=resolution_y,
            size=self.size // factor,
            extent=extent,
        )

    def tile_id(self, col: int, row: int) -> str:
        """Return the tile's id, `<tiling>/<col>_<row>`."""
        return f"{self.name}/{col}_{row}"

    def parse(self, tile_id: str) -> tuple[int, int]:
        """Return (col, row) of a tile id; UsageError when it belongs to another tiling."""
        name, _, cell = tile_id.rpartition("/")
        col, _, row = cell.partition("_")
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
        """Yield (col, row) of every tile that touches bounds, row by row.

        Args:
            bounds: (xmin, ymin, xmax, ymax) in the tiling's CRS.
            span: Tiles along the side of a block: the upper left tile of every block is given.

        Raises:
            UsageError: There are so many that the tiling's pixels must be meant to be larger.
        """
        step_x = self.resolution * self.size * span
        step_y = self.pixel_height * self.size * span
        xmin, ymin, xmax, ymax = bounds
        # Shrunk by a hair, so that an edge shared by two cells does not bring in the neighbour.
        hair = 1e-9
        cols = range(
            math.floor((xmin - self.x0) / step_x + hair),
            math.ceil((xmax - self.x0) / step_x - hair),
        )
        rows = range(
            math.floor((self.y0 - ymax) / step_y + hair),
            math.ceil((self.y0 - ymin) / step_y - hair),
        )
        if self.extent is not None:
            tile_side = self.size * span
            row_count, col_count = (math.ceil(pixels / tile_side) for pixels in self.extent)
            rows = range(max(rows.start, 0), min(rows.stop, row_count))
            cols = range(max(cols.start, 0), min(cols.stop, col_count))
        if len(rows) * len(cols) > _MAX_CELLS:
            raise UsageError(
                f"tiling {self.name!r} has {len(rows) * len(cols):,} blocks of "
                f"{self.size * span} pixels in bounds {bounds}: tiling.resolution "
                f"{self.resolution:g} is in units of tiling.crs {self.crs[:40]}, metres or degrees"
            )
        for row in rows:
            for col in cols:
                yield col * span, row * span

"""Where a Grid lies on another raster's pixels: exact coordinates at knots, close enough together to interpolate between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lulc.geo.grid import WGS84, Grid, parse_crs, same_crs, transformer
from lulc.geo.swath import Swath

# Between knots a source coordinate may be off by this many source pixels; at a steep edge of 300 DN a pixel that is 0.6 DN.
TOLERANCE = 0.002
_STEPS = (32, 8, 2, 1)


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Where a grid lies on a source: source columns `x` and rows `y` (pixel corners at whole numbers) of the knots at rows `v`
    and columns `u` of the grid. `usable` tells of each cell between knots whether the projection is continuous there."""

    u: np.ndarray
    v: np.ndarray
    x: np.ndarray
    y: np.ndarray
    usable: np.ndarray

    @property
    def scale(self) -> float:
        """Source pixels along the side of a grid pixel, the longer of its two sides; 0 where nothing is usable."""
        along = np.hypot(np.diff(self.x, axis=1), np.diff(self.y, axis=1))[:-1] / np.diff(self.u)
        down = (
            np.hypot(np.diff(self.x, axis=0), np.diff(self.y, axis=0))[:, :-1]
            / np.diff(self.v)[:, None]
        )
        sides = np.maximum(along, down)[self.usable]
        return float(np.median(sides)) if sides.size else 0.0

    @property
    def span(self) -> tuple[float, float, float, float] | None:
        """(first row, first column, last row, last column) of the source that the grid reaches; None where nothing is usable."""
        near = np.zeros(self.x.shape, bool)
        for rows in (slice(None, -1), slice(1, None)):
            for cols in (slice(None, -1), slice(1, None)):
                near[rows, cols] |= self.usable
        if not near.any():
            return None
        x, y = self.x[near], self.y[near]
        return float(y.min()), float(x.min()), float(y.max()), float(x.max())


@lru_cache(maxsize=8)
def locate(source: Grid | Swath, grid: Grid) -> PixelMap:
    """The grid's Placement on a source: knots every 32 pixels, or closer where the projection bends more than TOLERANCE."""
    for step in _STEPS:
        u, v = (np.append(np.arange(0, n, step), n) for n in (grid.width, grid.height))
        x, y = _source_coordinates(source, grid, u, v)
        found = PixelMap(u, v, x, y, _cells(np.isfinite(x) & np.isfinite(y)))
        bend = _bend(found)
        # The bend is measured over two steps; over one it is a quarter of that.
        if bend.max(initial=0) <= 4 * TOLERANCE * max(1.0, found.scale):
            return found
    # At single pixels what still bends is a seam of the projection, such as the antimeridian.
    return PixelMap(u, v, x, y, found.usable & (bend <= max(1.0, found.scale)))


def pixel_offset(source: Grid, grid: Grid) -> tuple[int, int] | None:
    """(row, column) of the source pixel that is the grid's first, where both have one lattice; else None."""
    if not same_crs(source.crs, grid.crs):
        return None
    move = ~source.affine @ grid.affine
    row, col = round(move.f), round(move.c)
    ends = ((0, 0), (grid.width, 0), (0, grid.height))
    off = (
        max(abs(x - c - col), abs(y - r - row)) for (c, r), (x, y) in ((p, move @ p) for p in ends)
    )
    return (row, col) if max(off) < 1e-3 else None


def _source_coordinates(
    source: Grid | Swath, grid: Grid, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    x, y = grid.affine @ np.meshgrid(u.astype(float), v.astype(float))
    if isinstance(source, Swath):
        return source.locate(*transformer(grid.crs, WGS84).transform(x, y))
    if not same_crs(grid.crs, source.crs):
        x, y = transformer(grid.crs, source.crs).transform(x, y)
        crs = parse_crs(source.crs)
        if crs.is_geographic:
            # A source may count longitudes beyond 180: take the turn that lies nearest to it.
            xmin, _, xmax, _ = source.bounds
            turn = 2 * np.pi / crs.axis_info[0].unit_conversion_factor
            x = x - turn * np.round((x - (xmin + xmax) / 2) / turn)
    with np.errstate(invalid="ignore"):
        col, row = ~source.affine @ (x, y)
    return np.ascontiguousarray(col), np.ascontiguousarray(row)


def _cells(knots: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    # Cells whose four corners are all set.
    return knots[:-1, :-1] & knots[1:, :-1] & knots[:-1, 1:] & knots[1:, 1:]


def _bend(found: PixelMap) -> np.ndarray:
    # Distance of each middle knot from the straight line between its neighbours, given to the cells that touch it.
    worst = np.zeros(found.x.shape)
    with np.errstate(invalid="ignore"):
        for array in (found.x, found.y):
            for steps, lines, out in ((found.u, array, worst), (found.v, array.T, worst.T)):
                a, b = np.diff(steps[:-1]), np.diff(steps[1:])
                straight = (lines[:, :-2] * b + lines[:, 2:] * a) / (a + b)
                miss = np.abs(lines[:, 1:-1] - straight)
                out[:, 1:-1] = np.maximum(out[:, 1:-1], np.where(np.isfinite(miss), miss, np.inf))
    known = np.isfinite(found.x)
    if not known.any():
        return np.zeros(found.usable.shape)
    return np.maximum(
        np.maximum(worst[:-1, :-1], worst[1:, :-1]), np.maximum(worst[:-1, 1:], worst[1:, 1:])
    )

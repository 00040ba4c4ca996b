"""Where a grid's pixels lie in the pixel coordinates of another raster.

Coordinates are exact at knots, which are close enough together to interpolate between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lulc.geo.grid import WGS84, Grid, same_crs, transformer, turn_of
from lulc.geo.swath import Swath

# Between knots a source coordinate may be off by this many source pixels; at a steep edge of 300 DN
# per pixel that is 0.6 DN.
TOLERANCE = 0.002
# Pixels of the grid between knots, tried in this order.
_KNOT_STEPS = (32, 8, 2, 1)


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Where a grid lies on a source: R x C knots of the grid and their source coordinates."""

    knot_rows: np.ndarray
    """(R,) int rows of the grid at which knots lie, pixel corners at whole numbers."""
    knot_cols: np.ndarray
    """(C,) int columns of the grid at which knots lie."""
    source_rows: np.ndarray
    """(R, C) float64 rows of the source at the knots, pixel corners at whole numbers."""
    source_cols: np.ndarray
    """(R, C) float64 columns of the source at the knots."""
    valid_cells: np.ndarray
    """(R - 1, C - 1) bool: whether the projection is continuous in the cell between four knots."""

    @property
    def scale(self) -> float:
        """Source pixels along a grid pixel's longer side; 0 where no cell is valid."""
        rows, cols = self.source_rows, self.source_cols
        along = np.hypot(np.diff(cols, axis=1), np.diff(rows, axis=1))[:-1]
        along /= np.diff(self.knot_cols)
        down = np.hypot(np.diff(cols, axis=0), np.diff(rows, axis=0))[:, :-1]
        down /= np.diff(self.knot_rows)[:, None]
        sides = np.maximum(along, down)[self.valid_cells]
        return float(np.median(sides)) if sides.size else 0.0

    @property
    def source_bounds(self) -> tuple[float, float, float, float] | None:
        """First row, first column, last row and last column of the source that the grid reaches.

        None where no cell is valid.
        """
        # The four corners of every valid cell.
        valid_knots = np.zeros(self.source_rows.shape, bool)
        for vertical in (slice(None, -1), slice(1, None)):
            for horizontal in (slice(None, -1), slice(1, None)):
                valid_knots[vertical, horizontal] |= self.valid_cells
        if not valid_knots.any():
            return None
        rows, cols = self.source_rows[valid_knots], self.source_cols[valid_knots]
        return float(rows.min()), float(cols.min()), float(rows.max()), float(cols.max())


@lru_cache(maxsize=64)
def turned(source: Grid, grid: Grid) -> tuple[Grid, ...]:
    """Return a source moved by the whole turns round the Earth by which it meets a grid.

    Longitudes of one place differ by whole turns: a source may count them to 360, and a grid that
    lies across the end of a source of the whole Earth meets it twice. So in projections that go
    round, such as Mercator's.

    Args:
        source: Grid of a raster, in any CRS.
        grid: The grid to be read.

    Returns:
        The source itself where its CRS does not go round, or it meets the grid at no turn.
    """
    turn = turn_of(source.crs)
    if turn is None:
        return (source,)
    cols, rows = np.meshgrid(*(np.linspace(0, n, 17) for n in reversed(grid.shape)))
    a, b, c, d, e, f = grid.transform
    x, _ = _in_source_crs(source.crs, grid, a * cols + b * rows + c, d * cols + e * rows + f)
    x = x[np.isfinite(x)]
    if not x.size:
        return (source,)
    xmin, _, xmax, _ = source.bounds
    margin = 2 * max(source.resolution)
    first, last = np.ceil((x.min() - xmax - margin) / turn), (x.max() - xmin + margin) // turn
    a, b, c, d, e, f = source.transform
    shifts = [k * turn for k in range(int(first), int(last) + 1)]
    moved = (Grid(source.crs, (a, b, c + s, d, e, f), *source.shape) for s in shifts)
    return tuple(moved) or (source,)


@lru_cache(maxsize=8)
def locate(source: Grid | Swath, grid: Grid) -> PixelMap:
    """Return where a grid lies on a source; of one in degrees see `turned`.

    Knots lie every 32 pixels of the grid, or closer where the projection bends by more than
    TOLERANCE between them.
    """
    for step in _KNOT_STEPS:
        knot_rows, knot_cols = (np.append(np.arange(0, n, step), n) for n in grid.shape)
        rows, cols = _source_coordinates(source, grid, knot_rows, knot_cols)
        finite_cells = _cells_between(np.isfinite(cols) & np.isfinite(rows))
        pixel_map = PixelMap(knot_rows, knot_cols, rows, cols, finite_cells)
        bends = _bends(pixel_map)
        # The bend is measured over two steps; over one it is a quarter of that.
        if bends.max(initial=0) <= 4 * TOLERANCE * max(1.0, pixel_map.scale):
            return pixel_map
    # At single pixels what still bends is a seam of the projection, such as the antimeridian.
    valid_cells = finite_cells & (bends <= max(1.0, pixel_map.scale))
    return PixelMap(knot_rows, knot_cols, rows, cols, valid_cells)


def pixel_offset(source: Grid, grid: Grid) -> tuple[int, int] | None:
    """Return (row, column) in the source of the grid's first pixel, where both have one lattice.

    None where their CRSs, pixel sizes or orientations differ, or pixels do not coincide.
    """
    if not same_crs(source.crs, grid.crs):
        return None
    to_source = ~source.affine @ grid.affine
    row, col = round(to_source.f), round(to_source.c)
    offsets = []
    for grid_col, grid_row in ((0, 0), (grid.width, 0), (0, grid.height)):
        source_col, source_row = to_source @ (grid_col, grid_row)
        offsets.append(max(abs(source_col - grid_col - col), abs(source_row - grid_row - row)))
    return (row, col) if max(offsets) < 1e-3 else None


def _source_coordinates(
    source: Grid | Swath, grid: Grid, knot_rows: np.ndarray, knot_cols: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # (R, C) rows and columns of the source; not finite where there are none.
    grid_cols, grid_rows = np.meshgrid(knot_cols.astype(float), knot_rows.astype(float))
    a, b, c, d, e, f = grid.transform
    x = a * grid_cols + b * grid_rows + c
    y = d * grid_cols + e * grid_rows + f
    if isinstance(source, Swath):
        cols, rows = source.locate(*transformer(grid.crs, WGS84).transform(x, y))
        return rows, cols
    x, y = _in_source_crs(source.crs, grid, x, y)
    with np.errstate(invalid="ignore"):
        cols, rows = ~source.affine @ (x, y)
    return np.ascontiguousarray(rows), np.ascontiguousarray(cols)


def _in_source_crs(
    crs: str, grid: Grid, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # Points of a grid in another CRS; of one that goes round, within half a turn of the grid's
    # middle.
    if same_crs(grid.crs, crs):
        return x, y
    to_crs = transformer(grid.crs, crs)
    x, y = to_crs.transform(x, y)
    turn = turn_of(crs)
    if turn is not None:
        middle, _ = to_crs.transform(*(grid.affine @ (grid.width / 2, grid.height / 2)))
        x = x - turn * np.round((x - (middle if np.isfinite(middle) else 0.0)) / turn)
    return x, y


def _cells_between(knots: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    # Cells whose four corners are all set.
    return knots[:-1, :-1] & knots[1:, :-1] & knots[:-1, 1:] & knots[1:, 1:]


def _bends(pixel_map: PixelMap) -> np.ndarray:
    # For each cell the largest distance, in source pixels, of one of its knots from the straight
    # line between that knot's neighbours.
    rows, cols = pixel_map.source_rows, pixel_map.source_cols
    knot_bends = np.zeros(cols.shape)
    with np.errstate(invalid="ignore"):
        for coordinates in (cols, rows):
            _raise_to_bends(knot_bends, coordinates, pixel_map.knot_cols)
            _raise_to_bends(knot_bends.T, coordinates.T, pixel_map.knot_rows)
    if not np.isfinite(cols).any():
        return np.zeros(pixel_map.valid_cells.shape)
    return np.maximum(
        np.maximum(knot_bends[:-1, :-1], knot_bends[1:, :-1]),
        np.maximum(knot_bends[:-1, 1:], knot_bends[1:, 1:]),
    )


def _raise_to_bends(knot_bends: np.ndarray, coordinates: np.ndarray, knots: np.ndarray) -> None:
    # Raises the inner knots' bends to those of the lines (the rows) of one coordinate, at least.
    before, after = np.diff(knots[:-1]), np.diff(knots[1:])
    straight = (coordinates[:, :-2] * after + coordinates[:, 2:] * before) / (before + after)
    distance = np.abs(coordinates[:, 1:-1] - straight)
    bends = np.where(np.isfinite(distance), distance, np.inf)
    knot_bends[:, 1:-1] = np.maximum(knot_bends[:, 1:-1], bends)

"""Lakes and rivers of a relief: basins flooded to their outlets, rivers where runoff gathers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
import shapely

from lulc.raster.vector import rasterize

_COARSE = 8  # side in fine pixels of a cell that water runs over
_RIVER_RUNOFF = 500  # cells that drain through a cell with a river, at least


def make_water(relief: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put lakes and rivers on a relief.

    Args:
        relief: (H, W) height in metres, pixels of 10 m, both sides multiples of 8.

    Returns:
        (H, W) the relief with its hollows filled; where there is water; the share of water around
        each pixel (0–1).
    """
    height, width = (n // _COARSE for n in relief.shape)
    coarse = relief.reshape(height, _COARSE, width, _COARSE).mean((1, 3))
    level, down, order = flood(coarse)
    runoff = np.ones(height * width)
    for cell in reversed(order):
        if down[cell] >= 0:
            runoff[down[cell]] += runoff[cell]
    shapes = [
        course.buffer(half_width / 10, cap_style="flat")
        for course, half_width in _rivers(runoff, down, width)
    ]
    rivers = rasterize(shapes, np.zeros(relief.shape, np.uint8))
    level = enlarge(level, relief.shape)
    # Only the deepest part of a hollow is still a lake; the higher it lies, the more rubble has
    # filled it.
    lakes = level - relief > 16 + 0.22 * np.maximum(level - 430, 0)
    water = (rivers > 0) | lakes
    shore = blur(water.reshape(height, _COARSE, width, _COARSE).mean((1, 3)), 4)
    return np.maximum(relief, level), water, enlarge(shore, relief.shape)


def flood(height: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Fill every basin to its outlet, and find where each cell drains to.

    Priority-flood (Barnes, Lehman & Mulla 2014, doi:10.1016/j.cageo.2013.04.024).

    Args:
        height: (H, W).

    Returns:
        Water level (H, W); the cell that each of the H * W cells drains to, -1 out of the area; the
        cells in order from the outlets up.
    """
    rows, cols = height.shape
    ground = height.ravel().tolist()
    level, down, order = [0.0] * len(ground), [-2] * len(ground), []
    border = [
        r * cols + c
        for r in range(rows)
        for c in range(cols)
        if r in (0, rows - 1) or c in (0, cols - 1)
    ]
    heap = [(ground[cell], cell) for cell in border]
    heapq.heapify(heap)
    for cell in border:
        down[cell] = -1
    while heap:
        water, cell = heapq.heappop(heap)
        level[cell] = water
        order.append(cell)
        row, col = divmod(cell, cols)
        for r in range(max(row - 1, 0), min(row + 2, rows)):
            for c in range(max(col - 1, 0), min(col + 2, cols)):
                neighbour = r * cols + c
                if down[neighbour] == -2:
                    down[neighbour] = cell
                    heapq.heappush(heap, (max(ground[neighbour], water), neighbour))
    return np.reshape(level, height.shape), np.array(down), order


def _rivers(
    runoff: np.ndarray, down: np.ndarray, cols: int
) -> Iterator[tuple[shapely.LineString, float]]:
    # Pieces of smoothed courses in fine pixels, each with half its width in metres. A tributary
    # ends a little below its mouth.
    has_river = runoff >= _RIVER_RUNOFF
    springs = np.setdiff1d(np.flatnonzero(has_river), down[has_river])
    visited: set[int] = set()
    for spring in springs[np.argsort(-runoff[springs], kind="stable")]:
        course = _follow(int(spring), down, visited)
        if len(course) < 8:
            continue
        row, col = np.divmod(course, cols)
        xy = (np.column_stack([col, row]) + 0.5) * _COARSE
        padded = np.pad(xy, ((3, 3), (0, 0)), "edge")
        smooth = np.column_stack(
            [np.convolve(padded[:, i], np.ones(7) / 7, "valid") for i in (0, 1)]
        )
        for start in range(0, len(course) - 1, 6):
            piece = smooth[start : start + 8]
            if len(piece) > 1:
                half_width = np.clip(8 + 0.42 * np.sqrt(runoff[course[start]]), 28, 60)
                yield shapely.LineString(piece), float(half_width)


def _follow(spring: int, down: np.ndarray, visited: set[int]) -> list[int]:
    # The cells from a spring down, to four cells of a course that is in `visited` already.
    course, cell, shared_cells = [], spring, 0
    while cell >= 0 and shared_cells < 4:
        shared_cells += cell in visited
        visited.add(cell)
        course.append(cell)
        cell = int(down[cell])
    return course


def enlarge(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a smaller array stretched to a shape, linear between pixel centres.

    Returns:
        float32 of that shape.
    """
    for axis, size in enumerate(shape):
        length = array.shape[axis]
        position = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        low = np.minimum(position.astype(int), length - 2)
        share = (position - low).astype(np.float32)
        if axis == 0:
            share = share[:, None]
        array = np.take(array, low, axis) * (1 - share) + np.take(array, low + 1, axis) * share
    return array.astype(np.float32)


def blur(array: np.ndarray, reach: int) -> np.ndarray:
    """Return the (H, W) mean of the (2 * reach + 1)² pixels around each one.

    It is computed from a summed-area table; border pixels are repeated outwards.
    """
    total = np.pad(array, reach, "edge").cumsum(0).cumsum(1)
    total = np.pad(total, ((1, 0), (1, 0)))
    side = 2 * reach + 1
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return np.asarray(sums / side**2)

"""Where water stands and runs on a relief: basins flooded to their outlets, rivers where enough land drains through a cell."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.transform import IDENTITY

_COARSE = 8  # fine pixels a side of a cell that water runs over


def make_water(relief: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, W) relief with its hollows silted up; where there is water; how much of it lies around a place (0–1).

    relief: metres, pixels of 10 m, both sides multiples of 8.
    """
    height, width = (n // _COARSE for n in relief.shape)
    coarse = relief.reshape(height, _COARSE, width, _COARSE).mean((1, 3))
    level, down, order = flood(coarse)
    runoff = np.ones(height * width)
    for cell in reversed(order):
        if down[cell] >= 0:
            runoff[down[cell]] += runoff[cell]
    shapes = [
        line.buffer(w / 10, cap_style="flat") for line, w in _rivers(runoff, down, width, least=500)
    ]
    rivers = np.zeros(relief.shape, np.uint8)
    if shapes:
        rasterize(shapes, out=rivers, transform=IDENTITY)
    level = enlarge(level, relief.shape)
    # Only the deepest part of a hollow is still a lake; the higher it lies, the more rubble has filled it.
    water = (rivers > 0) | (level - relief > 16 + 0.22 * np.maximum(level - 430, 0))
    around = blur(water.reshape(height, _COARSE, width, _COARSE).mean((1, 3)), 4)
    return np.maximum(relief, level), water, enlarge(around, relief.shape)


def flood(height: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Water level, the cell each cell drains to (-1: out of the area), and the cells in order from the outlets up.

    Priority-flood (Barnes, Lehman & Mulla 2014, doi:10.1016/j.cageo.2013.04.024).
    """
    rows, cols = height.shape
    ground = height.ravel().tolist()
    level, down, order = [0.0] * len(ground), [-2] * len(ground), []
    edge = [
        r * cols + c
        for r in range(rows)
        for c in range(cols)
        if r in (0, rows - 1) or c in (0, cols - 1)
    ]
    heap = [(ground[cell], cell) for cell in edge]
    heapq.heapify(heap)
    for cell in edge:
        down[cell] = -1
    while heap:
        water, cell = heapq.heappop(heap)
        level[cell] = water
        order.append(cell)
        row, col = divmod(cell, cols)
        for r in range(max(row - 1, 0), min(row + 2, rows)):
            for c in range(max(col - 1, 0), min(col + 2, cols)):
                other = r * cols + c
                if down[other] == -2:
                    down[other] = cell
                    heapq.heappush(heap, (max(ground[other], water), other))
    return np.reshape(level, height.shape), np.array(down), order


def _rivers(
    runoff: np.ndarray, down: np.ndarray, cols: int, least: float
) -> Iterator[tuple[shapely.LineString, float]]:
    # Smoothed courses in fine pixels, with half their width in metres; a tributary ends a little below the mouth.
    big = runoff >= least
    springs = np.setdiff1d(np.flatnonzero(big), down[big])
    seen: set[int] = set()
    for spring in springs[np.argsort(-runoff[springs], kind="stable")]:
        course, cell, beyond = [], int(spring), 0
        while cell >= 0 and beyond < 4:
            beyond += cell in seen
            seen.add(cell)
            course.append(cell)
            cell = int(down[cell])
        if len(course) < 8:
            continue
        row, col = np.divmod(course, cols)
        xy = (np.column_stack([col, row]) + 0.5) * _COARSE
        ends = np.pad(xy, ((3, 3), (0, 0)), "edge")
        smooth = np.column_stack([np.convolve(ends[:, i], np.ones(7) / 7, "valid") for i in (0, 1)])
        for start in range(0, len(course) - 1, 6):
            piece = smooth[start : start + 8]
            if len(piece) > 1:
                yield (
                    shapely.LineString(piece),
                    float(np.clip(8 + 0.42 * np.sqrt(runoff[course[start]]), 28, 60)),
                )


def enlarge(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32: a smaller array stretched to a shape by linear interpolation between pixel centres."""
    for axis, size in enumerate(shape):
        at = np.clip(
            (np.arange(size) + 0.5) * array.shape[axis] / size - 0.5, 0, array.shape[axis] - 1
        )
        low = np.minimum(at.astype(int), array.shape[axis] - 2)
        part = (
            (at - low).astype(np.float32)[:, None] if axis == 0 else (at - low).astype(np.float32)
        )
        array = np.take(array, low, axis) * (1 - part) + np.take(array, low + 1, axis) * part
    return array.astype(np.float32)


def blur(array: np.ndarray, reach: int) -> np.ndarray:
    """(H, W) mean of the (2 * reach + 1)² pixels around each, from a summed-area table."""
    total = np.pad(array, reach, "edge").cumsum(0).cumsum(1)
    total = np.pad(total, ((1, 0), (1, 0)))
    side = 2 * reach + 1
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return np.asarray(sums / side**2)

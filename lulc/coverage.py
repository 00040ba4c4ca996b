"""How much of every pixel a polygon covers, exactly: signed-area accumulation, a row at a time, runs taken as runs.

Each edge adds the area it bounds to a row buffer, with its direction as the sign; one running sum along the row is then the
covered fraction of every pixel (the scan conversion of font renderers, e.g. Levien 2016, font-rs): one row of memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numba import njit
from shapely.geometry.base import BaseGeometry

from lulc.geo import Grid

# A fraction this near to 0 or 1 is 0 or 1: what is left of it is rounding.
_TINY = 1e-11


def fractions(geometry: BaseGeometry, grid: Grid) -> np.ndarray:
    """(H, W) float64 share of every pixel that lies in a polygon given in the grid's CRS; parts outside the grid are left out."""
    out = np.zeros(grid.shape)
    _fill(_edges(geometry, grid), out)
    return out


def covered_share(geometry: BaseGeometry, grid: Grid) -> float:
    """Share of the grid that lies in a polygon given in the grid's CRS: exactly 1.0 when it covers every pixel, 0.0 when none."""
    whole = Grid(grid.crs, tuple((grid.affine * grid.affine.scale(grid.width, grid.height))[:6]), 1, 1)
    return float(fractions(geometry, whole)[0, 0])


def histogram(classes: np.ndarray, geometry: BaseGeometry, grid: Grid, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (fractions counted) and area of every class within a polygon, each (256,) float64 with the class id as index.

    classes: (H, W) uint8 on the grid. areas: area of a pixel, broadcastable to (H, W); the result's area is in its unit.
    """
    edges, pixels, area = _edges(geometry, grid), np.zeros(256), np.zeros(256)
    if areas.shape[1] == 1:
        rows = np.ascontiguousarray(np.broadcast_to(areas, (grid.height, 1))[:, 0], np.float64)
        _count_by_row(edges, classes, rows, pixels, area)
    else:
        _count_by_pixel(edges, classes, np.broadcast_to(areas, grid.shape), pixels, area)
    return pixels, area


def _edges(geometry: BaseGeometry, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Shells turn one way, holes the other: the sign of an edge says on which side the inside is. A mirrored grid turns both.
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry)))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    affine = grid.affine
    a, b, c, d, e, f = (~affine)[:6]
    col, row = a * xy[:, 0] + b * xy[:, 1] + c, d * xy[:, 0] + e * xy[:, 1] + f
    sign = 1.0 if affine.determinant < 0 else -1.0
    found: tuple[np.ndarray, np.ndarray, np.ndarray] = _sort_edges(col, row, ring, sign, grid.shape)
    return found


@njit(cache=True, nogil=True)
def _sort_edges(col: Any, row: Any, ring: Any, sign: float, shape: Any) -> Any:
    # (E, 5): x, y of the upper end, x, y of the lower end, sign; and, for every row, a linked list of the edges that begin in it.
    height, width = shape
    edges = np.empty((max(len(col) - 1, 0), 5))
    heads, following = np.full(height, -1, np.int64), np.empty(len(edges), np.int64)
    count = 0
    for i in range(len(edges)):
        j = i + 1
        if ring[i] != ring[j] or row[i] == row[j]:
            continue
        up, down = (i, j) if row[i] < row[j] else (j, i)
        # What lies to the right of the grid bounds nothing in it.
        if row[down] <= 0 or row[up] >= height or (col[i] >= width and col[j] >= width):
            continue
        edges[count, 0], edges[count, 1], edges[count, 2], edges[count, 3] = col[up], row[up], col[down], row[down]
        edges[count, 4] = sign if row[i] < row[j] else -sign
        first = max(int(row[up]), 0)
        following[count] = heads[first]
        heads[first] = count
        count += 1
    return edges[:count], heads, following[:count]


@njit(cache=True, nogil=True)
def _add_edge(edge: Any, top: int, buffer: Any) -> Any:
    # Adds the part of one edge inside one row to the row's buffer; gives the first and last cell touched.
    x0, y0, x1, y1, sign = edge[0], edge[1], edge[2], edge[3], edge[4]
    width = len(buffer) - 2
    slope = (x1 - x0) / (y1 - y0)
    ya, yb = max(y0, top), min(y1, top + 1.0)
    xa = x0 if ya == y0 else x0 + (ya - y0) * slope
    xb = x1 if yb == y1 else x0 + (yb - y0) * slope
    left, right, drop = min(xa, xb), max(xa, xb), sign * (yb - ya)
    if left >= width:
        return width, -1
    if right <= 0:
        buffer[0] += drop
        return 0, 0
    first = max(int(np.floor(left)), 0)
    if right <= first + 1:
        middle = max(0.5 * (left + right) - first, 0.0) if left >= 0 else 0.5 * right * right / (right - left)
        buffer[first] += drop * (1 - middle)
        buffer[first + 1] += drop * middle
        return first, first + 1
    per_x = drop / (right - left)
    if left < 0:
        buffer[0] -= per_x * left
        left = 0.0
    cell, right = first, min(right, float(width))
    while cell < right:
        begin, end = max(left, cell), min(right, cell + 1.0)
        part = per_x * (end - begin)
        middle = 0.5 * (begin + end) - cell
        buffer[cell] += part * (1 - middle)
        buffer[cell + 1] += part * middle
        cell += 1
    return first, cell


@njit(cache=True, nogil=True)
def _add_row(sorted_edges: Any, active: Any, count: int, top: int, buffer: Any) -> Any:
    # Takes up the edges that begin in this row, adds all that cross it, drops those that end in it.
    edges, heads, following = sorted_edges
    edge = heads[top]
    while edge >= 0:
        active[count] = edge
        count += 1
        edge = following[edge]
    low, high, kept = len(buffer) - 2, -1, 0
    for i in range(count):
        e = active[i]
        first, last = _add_edge(edges[e], top, buffer)
        low, high = min(low, first), max(high, last)
        if edges[e, 3] > top + 1:
            active[kept] = e
            kept += 1
    return kept, low, high


@njit(cache=True, nogil=True)
def _next_run(buffer: Any, start: int, high: int, total: float) -> Any:
    # The run of pixels from `start` that share one fraction: its end and that fraction. The buffer is left clean behind it.
    total += buffer[start]
    buffer[start] = 0.0
    end = start + 1
    while end <= high and buffer[end] == 0.0:
        end += 1
    if end > high:
        end = len(buffer) - 2
    return end, total, (0.0 if abs(total) < _TINY else 1.0 if abs(total - 1) < _TINY else total)


@njit(cache=True, nogil=True)
def _fill(edges: Any, out: Any) -> None:
    height, width = out.shape
    buffer, active, count = np.zeros(width + 2), np.empty(len(edges[0]), np.int64), 0
    for row in range(height):
        count, start, high = _add_row(edges, active, count, row, buffer)
        total = 0.0
        while start < width:
            end, total, share = _next_run(buffer, start, high, total)
            out[row, start:end] = share
            start = end
        buffer[width:] = 0.0


@njit(cache=True, nogil=True)
def _count_by_row(edges: Any, classes: Any, row_areas: Any, pixels: Any, area: Any) -> None:
    height, width = classes.shape
    buffer, active, count = np.zeros(width + 2), np.empty(len(edges[0]), np.int64), 0
    # Four whole counts side by side: a run of one class need not wait for its last addition.
    whole, partial = np.zeros((4, 256), np.int64), np.zeros(256)
    for row in range(height):
        if row and row_areas[row] != row_areas[row - 1]:
            _settle(whole, partial, row_areas[row - 1], pixels, area)
        count, start, high = _add_row(edges, active, count, row, buffer)
        total = 0.0
        while start < width:
            end, total, share = _next_run(buffer, start, high, total)
            if share == 1.0:
                quad = start + (end - start) // 4 * 4
                for col in range(start, quad, 4):
                    whole[0, classes[row, col]] += 1
                    whole[1, classes[row, col + 1]] += 1
                    whole[2, classes[row, col + 2]] += 1
                    whole[3, classes[row, col + 3]] += 1
                for col in range(quad, end):
                    whole[0, classes[row, col]] += 1
            elif share != 0.0:
                for col in range(start, end):
                    partial[classes[row, col]] += share
            start = end
        buffer[width:] = 0.0
    _settle(whole, partial, row_areas[height - 1], pixels, area)


@njit(cache=True, nogil=True)
def _settle(whole: Any, partial: Any, pixel_area: float, pixels: Any, area: Any) -> None:
    for value in range(256):
        found = partial[value] + (whole[0, value] + whole[1, value] + whole[2, value] + whole[3, value])
        if found != 0.0:
            pixels[value] += found
            area[value] += found * pixel_area
            partial[value] = 0.0
            whole[:, value] = 0


@njit(cache=True, nogil=True)
def _count_by_pixel(edges: Any, classes: Any, areas: Any, pixels: Any, area: Any) -> None:
    height, width = classes.shape
    buffer, active, count = np.zeros(width + 2), np.empty(len(edges[0]), np.int64), 0
    for row in range(height):
        count, start, high = _add_row(edges, active, count, row, buffer)
        total = 0.0
        while start < width:
            end, total, share = _next_run(buffer, start, high, total)
            if share != 0.0:
                for col in range(start, end):
                    pixels[classes[row, col]] += share
                    area[classes[row, col]] += share * areas[row, col]
            start = end
        buffer[width:] = 0.0

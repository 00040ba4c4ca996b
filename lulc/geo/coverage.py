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

from lulc.geo.grid import Grid

# A fraction this near to 0 or 1 is 0 or 1: what is left of it is rounding.
_TINY = 1e-11

Runs = tuple[np.ndarray, np.ndarray]


def fractions(geometry: BaseGeometry, grid: Grid) -> np.ndarray:
    """(H, W) float64 share of every pixel that lies in a polygon given in the grid's CRS; parts outside the grid are left out."""
    out = np.zeros(grid.shape)
    _fill(*find_runs(geometry, grid), out)
    return out


def covered_share(geometry: BaseGeometry, grid: Grid) -> float:
    """Share of the grid that lies in a polygon given in the grid's CRS: exactly 1.0 when it covers every pixel, 0.0 when none."""
    whole = Grid(
        grid.crs, tuple((grid.affine @ grid.affine.scale(grid.width, grid.height))[:6]), 1, 1
    )
    return float(fractions(geometry, whole)[0, 0])


def count_runs(runs: Runs, classes: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (fractions counted) and area of every class within a polygon, each (256,) float64 with the class id as index.

    runs: what `find_runs` gave of the polygon; several maps on one grid share them. classes: (H, W) uint8 on the grid.
    areas: area of a pixel, broadcastable to (H, W); the result's area is in its unit.
    """
    pixels, area = np.zeros(256), np.zeros(256)
    if areas.shape[1] == 1:
        _count_by_row(*runs, classes, areas, pixels, area)
    else:
        _count_by_pixel(*runs, classes, np.broadcast_to(areas, classes.shape), pixels, area)
    return pixels, area


def find_runs(geometry: BaseGeometry, grid: Grid) -> Runs:
    """Runs of pixels that a polygon in the grid's CRS covers alike: (N, 3) row, first column, end column; and (N,) its share."""
    found: Runs = _find(*_split_rings(geometry), grid.transform, grid.height, grid.width)
    return found


def _split_rings(geometry: BaseGeometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # (N, 2) points, the ring that each is of, and the polygon that each ring is of.
    if geometry.geom_type == "Polygon" and not shapely.get_num_interior_rings(geometry):
        # One ring need not be asked for: of many small regions that is a third of the time.
        xy = shapely.get_coordinates(geometry)
        return xy, np.zeros(len(xy), np.intp), np.zeros(1, np.intp)
    rings, polygon = shapely.get_rings(shapely.get_parts(geometry), return_index=True)
    return *shapely.get_coordinates(rings, return_index=True), polygon


@njit(cache=True, nogil=True)
def _find(xy: Any, ring: Any, polygon: Any, transform: Any, height: int, width: int) -> Any:
    return _sweep(_sort_edges(_place(xy, transform), ring, polygon, (height, width)), width)


@njit(cache=True, nogil=True)
def _place(xy: Any, transform: Any) -> Any:
    # (N, 2) column and row of points given in the grid's CRS.
    out = np.empty_like(xy)
    a, b, c, d, e, f = transform
    determinant = a * e - b * d
    for i in range(len(xy)):
        x, y = xy[i, 0] - c, xy[i, 1] - f
        out[i, 0], out[i, 1] = (e * x - b * y) / determinant, (a * y - d * x) / determinant
    return out


@njit(cache=True, nogil=True)
def _find_signs(at: Any, ring: Any, polygon: Any) -> Any:
    # Of the sides of each ring that go down: + where a polygon's shell has its inside to the right of them, turned for its holes.
    turns, x, y = np.zeros(len(polygon)), at[:, 0], at[:, 1]
    for i in range(len(at) - 1):
        if ring[i] == ring[i + 1]:
            turns[ring[i]] += (x[i] - x[0]) * (y[i + 1] - y[0]) - (x[i + 1] - x[0]) * (y[i] - y[0])
    signs = np.where(turns > 0, -1.0, 1.0)
    for i in range(1, len(polygon)):
        if polygon[i] == polygon[i - 1]:
            signs[i] = -signs[i]
    return signs


@njit(cache=True, nogil=True)
def _sort_edges(at: Any, ring: Any, polygon: Any, shape: Any) -> Any:
    # (E, 5): x, y of the upper end, of the lower end, sign; for every row a linked list of the edges that begin in it; and more
    # cells than they can touch.
    height, width = shape
    signs = _find_signs(at, ring, polygon)
    edges = np.empty((max(len(at) - 1, 0), 5))
    heads, following = np.full(height, -1, np.int64), np.empty(len(edges), np.int64)
    count, cells = 0, float(height)
    for i in range(len(edges)):
        if ring[i] != ring[i + 1] or at[i, 1] == at[i + 1, 1]:
            continue
        down = at[i, 1] < at[i + 1, 1]
        x0, y0 = at[i if down else i + 1]
        x1, y1 = at[i + 1 if down else i]
        # What lies to the right of the grid bounds nothing in it.
        if y1 <= 0 or y0 >= height or (x0 >= width and x1 >= width):
            continue
        edges[count, 0], edges[count, 1], edges[count, 2], edges[count, 3] = x0, y0, x1, y1
        edges[count, 4] = signs[ring[i]] if down else -signs[ring[i]]
        cells += min(abs(x1 - x0), width) + 2 * min(y1 - y0, height) + 4
        first = max(int(y0), 0)
        following[count] = heads[first]
        heads[first] = count
        count += 1
    return edges[:count], heads, following[:count], int(cells)


@njit(cache=True, nogil=True)
def _sweep(sorted_edges: Any, width: int) -> Any:
    # Runs of pixels that are covered alike, by rows: (N, 3) row, first column, column after the last; and (N,) their share.
    edges, heads, following, cells = sorted_edges
    buffer, active, count = np.zeros(width + 1), np.empty(len(edges), np.int64), 0
    runs, shares, found = np.empty((cells, 3), np.int32), np.empty(cells), 0
    for row in range(len(heads)):
        edge = heads[row]
        while edge >= 0:
            active[count] = edge
            count += 1
            edge = following[edge]
        if count == 0:
            continue
        count, start, high = _add_row(edges, active, count, row, buffer)
        total = 0.0
        while start < width:
            total += buffer[start]
            buffer[start] = 0.0
            end = start + 1
            while end <= high and buffer[end] == 0.0:
                end += 1
            if end > high:
                end = width
            if abs(total) > _TINY:
                runs[found, 0], runs[found, 1], runs[found, 2] = row, start, end
                shares[found] = 1.0 if abs(total - 1) < _TINY else total
                found += 1
            start = end
        buffer[width] = 0.0
    return runs[:found], shares[:found]


@njit(cache=True, nogil=True)
def _add_row(edges: Any, active: Any, count: int, top: int, buffer: Any) -> Any:
    # Adds what the active edges bound in one row, and drops those that end in it: how many are left, first and last cell touched.
    width, kept = len(buffer) - 1, 0
    low, high = width, -1
    for i in range(count):
        e = active[i]
        x0, y0, x1, y1 = edges[e, 0], edges[e, 1], edges[e, 2], edges[e, 3]
        if y1 > top + 1:
            active[kept] = e
            kept += 1
        slope = (x1 - x0) / (y1 - y0)
        ya, yb = max(y0, top), min(y1, top + 1.0)
        xa = x0 if ya == y0 else x0 + (ya - y0) * slope
        xb = x1 if yb == y1 else x0 + (yb - y0) * slope
        left, right = min(xa, xb), max(xa, xb)
        if left < width:
            low = min(low, max(int(left), 0))
            high = max(high, _add_side(left, right, edges[e, 4] * (yb - ya), buffer))
    return kept, low, high


@njit(cache=True, nogil=True)
def _add_side(left: float, right: float, drop: float, buffer: Any) -> int:
    # Adds what lies to the right of a side that goes down by `drop` between two columns; gives the last cell touched.
    if right <= 0:
        buffer[0] += drop
        return 0
    per_x = drop / (right - left) if right > left else 0.0
    if left < 0:
        buffer[0] -= per_x * left
        drop += per_x * left
        left = 0.0
    cell = int(left)
    if right <= cell + 1:
        middle = 0.5 * (left + right) - cell
        buffer[cell] += drop * (1 - middle)
        buffer[cell + 1] += drop * middle
        return cell + 1
    right = min(right, len(buffer) - 1.0)
    while cell < right:
        begin, end = max(left, cell), min(right, cell + 1.0)
        part = per_x * (end - begin)
        middle = 0.5 * (begin + end) - cell
        buffer[cell] += part * (1 - middle)
        buffer[cell + 1] += part * middle
        cell += 1
    return cell


@njit(cache=True, nogil=True)
def _fill(runs: Any, shares: Any, out: Any) -> None:
    for i in range(len(shares)):
        out[runs[i, 0], runs[i, 1] : runs[i, 2]] = shares[i]


@njit(cache=True, nogil=True)
def _count_by_row(runs: Any, shares: Any, classes: Any, areas: Any, *sums: Any) -> None:
    # Four whole counts side by side: a run of one class need not wait for its last addition. Not a power of two apart, or the
    # processor takes their addresses for each other.
    whole, partial = np.zeros((4, 264), np.int64), np.zeros(256)
    pixel_area, alike = 0.0, len(areas) == 1
    for i in range(len(shares)):
        row, start, end, share = runs[i, 0], runs[i, 1], runs[i, 2], shares[i]
        row_area = areas[0 if alike else row, 0]
        if row_area != pixel_area:
            _settle(whole, partial, pixel_area, sums)
            pixel_area = row_area
        if share == 1.0:
            quad = start + (end - start) // 4 * 4
            for col in range(start, quad, 4):
                whole[0, classes[row, col]] += 1
                whole[1, classes[row, col + 1]] += 1
                whole[2, classes[row, col + 2]] += 1
                whole[3, classes[row, col + 3]] += 1
            start = quad
        for col in range(start, end):
            partial[classes[row, col]] += share
    _settle(whole, partial, pixel_area, sums)


@njit(cache=True, nogil=True)
def _settle(whole: Any, partial: Any, pixel_area: float, sums: Any) -> None:
    pixels, area = sums
    for value in range(256):
        found = partial[value] + (
            whole[0, value] + whole[1, value] + whole[2, value] + whole[3, value]
        )
        pixels[value] += found
        area[value] += found * pixel_area
    whole[:] = 0
    partial[:] = 0.0


@njit(cache=True, nogil=True)
def _count_by_pixel(runs: Any, shares: Any, classes: Any, areas: Any, *sums: Any) -> None:
    pixels, area = sums
    for i in range(len(shares)):
        row, share = runs[i, 0], shares[i]
        for col in range(runs[i, 1], runs[i, 2]):
            pixels[classes[row, col]] += share
            area[classes[row, col]] += share * areas[row, col]

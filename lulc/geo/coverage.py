"""How much of every pixel a polygon covers, exactly: signed-area accumulation, a row at a time.

Each edge adds the area it bounds to a row buffer, with its direction as the sign; one running sum
along the row is then the covered fraction of every pixel (the scan conversion of font renderers,
e.g. Levien 2016, font-rs). Memory is one row. Pixels of a row that are covered alike are one run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numba import njit
from shapely.geometry.base import BaseGeometry

from lulc.geo.grid import Grid

# A fraction this close to 0 or 1 is 0 or 1: the difference is rounding.
_ROUNDING = 1e-11

Runs = tuple[np.ndarray, np.ndarray]
"""Runs of pixels: (N, 3) int32 row, first column, column after the last; (N,) float64 share of each
of the run's pixels that is covered."""


def fractions(geometry: BaseGeometry, grid: Grid) -> np.ndarray:
    """Return the share of every pixel that lies in a polygon.

    Args:
        geometry: Polygon or MultiPolygon in the grid's CRS; what lies outside the grid is ignored.
        grid: The pixels.

    Returns:
        (H, W) float64 in 0…1.
    """
    pixel_shares = np.zeros(grid.shape)
    _fill(*find_runs(geometry, grid), pixel_shares)
    return pixel_shares


def covered_share(geometry: BaseGeometry, grid: Grid) -> float:
    """Return the share of the grid that lies in a polygon given in the grid's CRS.

    It is exactly 1.0 when the polygon covers every pixel and 0.0 when it covers none.
    """
    transform = tuple((grid.affine @ grid.affine.scale(grid.width, grid.height))[:6])
    single_pixel = Grid(grid.crs, transform, 1, 1)
    return float(fractions(geometry, single_pixel)[0, 0])


def count_runs(runs: Runs, classes: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the pixels and the area of every class within a polygon.

    Args:
        runs: The polygon's runs by `find_runs`; several maps on one grid share them.
        classes: (H, W) uint8 class ids on the grid.
        areas: Area of a pixel, broadcastable to (H, W).

    Returns:
        Pixels, fractions counted, and area in the unit of `areas`: each (256,) float64 indexed by
        class id.
    """
    pixels, area = np.zeros(256), np.zeros(256)
    if areas.shape[1] == 1:
        _count_by_row(*runs, classes, areas, pixels, area)
    else:
        _count_by_pixel(*runs, classes, np.broadcast_to(areas, classes.shape), pixels, area)
    return pixels, area


def find_runs(geometry: BaseGeometry, grid: Grid) -> Runs:
    """Return the runs of pixels that a polygon in the grid's CRS covers alike."""
    runs: Runs = _find(*_split_rings(geometry), grid.transform, grid.height, grid.width)
    return runs


def _split_rings(geometry: BaseGeometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # (N, 2) points, the number of each point's ring, and the number of each ring's polygon.
    if geometry.geom_type == "Polygon" and not shapely.get_num_interior_rings(geometry):
        # Skipping shapely's ring functions for a plain polygon saves a third of the time of many
        # small regions.
        xy = shapely.get_coordinates(geometry)
        return xy, np.zeros(len(xy), np.intp), np.zeros(1, np.intp)
    rings, polygon = shapely.get_rings(shapely.get_parts(geometry), return_index=True)
    return *shapely.get_coordinates(rings, return_index=True), polygon


@njit(cache=True, nogil=True)
def _find(xy: Any, ring: Any, polygon: Any, transform: Any, height: int, width: int) -> Any:
    return _sweep(_sort_edges(_to_pixels(xy, transform), ring, polygon, (height, width)), width)


@njit(cache=True, nogil=True)
def _to_pixels(xy: Any, transform: Any) -> Any:
    # (N, 2) column and row of points given in the grid's CRS.
    points = np.empty_like(xy)
    a, b, c, d, e, f = transform
    determinant = a * e - b * d
    for i in range(len(xy)):
        x, y = xy[i, 0] - c, xy[i, 1] - f
        points[i, 0] = (e * x - b * y) / determinant
        points[i, 1] = (a * y - d * x) / determinant
    return points


@njit(cache=True, nogil=True)
def _find_signs(points: Any, ring: Any, polygon: Any) -> Any:
    # Sign of each ring's sides that go down: + where the inside of a polygon's shell lies to the
    # right of them; the opposite for its holes. The first ring of a polygon is its shell.
    double_areas, x, y = np.zeros(len(polygon)), points[:, 0], points[:, 1]
    for i in range(len(points) - 1):
        if ring[i] == ring[i + 1]:
            double_areas[ring[i]] += (x[i] - x[0]) * (y[i + 1] - y[0]) - (x[i + 1] - x[0]) * (
                y[i] - y[0]
            )
    signs = np.where(double_areas > 0, -1.0, 1.0)
    for i in range(1, len(polygon)):
        if polygon[i] == polygon[i - 1]:
            signs[i] = -signs[i]
    return signs


@njit(cache=True, nogil=True)
def _sort_edges(points: Any, ring: Any, polygon: Any, shape: Any) -> Any:
    # Edges (E, 5): x, y of the upper end, x, y of the lower end, sign; for every row a linked list
    # (heads, following) of the edges that begin in it; and an upper bound of the cells they touch.
    height, width = shape
    signs = _find_signs(points, ring, polygon)
    edges = np.empty((max(len(points) - 1, 0), 5))
    heads, following = np.full(height, -1, np.int64), np.empty(len(edges), np.int64)
    count, cells = 0, float(height)
    for i in range(len(edges)):
        if ring[i] != ring[i + 1] or points[i, 1] == points[i + 1, 1]:
            continue
        down = points[i, 1] < points[i + 1, 1]
        x0, y0 = points[i if down else i + 1]
        x1, y1 = points[i + 1 if down else i]
        # An edge to the right of the grid bounds no area in it.
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
    # Runs (see Runs), row by row.
    edges, heads, following, cells = sorted_edges
    buffer, active, active_count = np.zeros(width + 1), np.empty(len(edges), np.int64), 0
    runs, shares, run_count = np.empty((cells, 3), np.int32), np.empty(cells), 0
    for row in range(len(heads)):
        edge = heads[row]
        while edge >= 0:
            active[active_count] = edge
            active_count += 1
            edge = following[edge]
        if active_count == 0:
            continue
        active_count, start, last = _add_row(edges, active, active_count, row, buffer)
        total = 0.0
        while start < width:
            total += buffer[start]
            buffer[start] = 0.0
            end = start + 1
            while end <= last and buffer[end] == 0.0:
                end += 1
            if end > last:
                end = width
            if abs(total) > _ROUNDING:
                runs[run_count, 0], runs[run_count, 1], runs[run_count, 2] = row, start, end
                shares[run_count] = 1.0 if abs(total - 1) < _ROUNDING else total
                run_count += 1
            start = end
        buffer[width] = 0.0
    return runs[:run_count], shares[:run_count]


@njit(cache=True, nogil=True)
def _add_row(edges: Any, active: Any, count: int, top: int, buffer: Any) -> Any:
    # Adds the areas that the active edges bound in one row to the buffer, and drops the edges that
    # end in it. Gives the number of edges that remain, and the first and last cell touched.
    width, remaining = len(buffer) - 1, 0
    first, last = width, -1
    for i in range(count):
        e = active[i]
        x0, y0, x1, y1 = edges[e, 0], edges[e, 1], edges[e, 2], edges[e, 3]
        if y1 > top + 1:
            active[remaining] = e
            remaining += 1
        slope = (x1 - x0) / (y1 - y0)
        ya, yb = max(y0, top), min(y1, top + 1.0)
        xa = x0 if ya == y0 else x0 + (ya - y0) * slope
        xb = x1 if yb == y1 else x0 + (yb - y0) * slope
        left, right = min(xa, xb), max(xa, xb)
        if left < width:
            first = min(first, max(int(left), 0))
            last = max(last, _add_side(left, right, edges[e, 4] * (yb - ya), buffer))
    return remaining, first, last


@njit(cache=True, nogil=True)
def _add_side(left: float, right: float, drop: float, buffer: Any) -> int:
    # Adds the area to the right of a side that goes down by `drop` between two columns; gives the
    # last cell touched.
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
        cell_drop = per_x * (end - begin)
        middle = 0.5 * (begin + end) - cell
        buffer[cell] += cell_drop * (1 - middle)
        buffer[cell + 1] += cell_drop * middle
        cell += 1
    return cell


@njit(cache=True, nogil=True)
def _fill(runs: Any, shares: Any, pixel_shares: Any) -> None:
    for i in range(len(shares)):
        pixel_shares[runs[i, 0], runs[i, 1] : runs[i, 2]] = shares[i]


@njit(cache=True, nogil=True)
def _count_by_row(runs: Any, shares: Any, classes: Any, areas: Any, *sums: Any) -> None:
    # Four rows of counts of fully covered pixels, used in turn: the additions of a run of one class
    # do not wait for each other. Rows are not a power of two apart, or the processor takes their
    # addresses for each other.
    full, partial = np.zeros((4, 264), np.int64), np.zeros(256)
    pixel_area, one_area = 0.0, len(areas) == 1
    for i in range(len(shares)):
        row, start, end, share = runs[i, 0], runs[i, 1], runs[i, 2], shares[i]
        row_area = areas[0 if one_area else row, 0]
        if row_area != pixel_area:
            _add_counts(full, partial, pixel_area, sums)
            pixel_area = row_area
        if share == 1.0:
            quad = start + (end - start) // 4 * 4
            for col in range(start, quad, 4):
                full[0, classes[row, col]] += 1
                full[1, classes[row, col + 1]] += 1
                full[2, classes[row, col + 2]] += 1
                full[3, classes[row, col + 3]] += 1
            start = quad
        for col in range(start, end):
            partial[classes[row, col]] += share
    _add_counts(full, partial, pixel_area, sums)


@njit(cache=True, nogil=True)
def _add_counts(full: Any, partial: Any, pixel_area: float, sums: Any) -> None:
    # Adds the counts, of pixels of one area, to the sums, and sets them to zero.
    pixels, area = sums
    for class_id in range(256):
        full_count = full[0, class_id] + full[1, class_id] + full[2, class_id] + full[3, class_id]
        count = partial[class_id] + full_count
        pixels[class_id] += count
        area[class_id] += count * pixel_area
    full[:] = 0
    partial[:] = 0.0


@njit(cache=True, nogil=True)
def _count_by_pixel(runs: Any, shares: Any, classes: Any, areas: Any, *sums: Any) -> None:
    pixels, area = sums
    for i in range(len(shares)):
        row, share = runs[i, 0], shares[i]
        for col in range(runs[i, 1], runs[i, 2]):
            pixels[classes[row, col]] += share
            area[classes[row, col]] += share * areas[row, col]

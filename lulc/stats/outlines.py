"""Outlines of patches: the sides of pixels between two classes, joined to polygons across blocks.

A patch is the pixels of one class that touch by a side; its outline is one polygon, with a hole for
every place in it that is of other classes. Where it meets itself at a corner, its rings touch there
and do not cross. A point of an outline is a corner of a pixel at which the outline turns, or at
which three patches or more meet: the polygons of a map share all points of their borders, and are a
valid coverage. Nothing but whole numbers is reckoned with, and whether a corner is a point is told
by the four pixels around it: outlines do not depend on how a map is cut into blocks.

Outlines run so that their patch is on the left, rows being counted downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numba import njit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lulc.legend import NODATA
from lulc.stats.landscape import label_patches

POINTS = np.dtype([("row", "<i4"), ("col", "<i4"), ("marks", "u1")])
"""Points of outlines, line after line. A line is a ring, or ends where the outline goes on in
another block."""

LINKS = np.dtype([("row", "<i4"), ("col", "<i4"), ("length", "<i4"), ("side", "u1")])
"""Where a patch goes on in the block beyond a side: the first corner and the number of pixels."""

_IS_POINT, _IS_PINCH, _IS_FIRST, _IS_END = 1, 2, 4, 8
"""Marks: a point of the polygon; a corner at which two pixels of the class touch, and no more; the
first of a line; the end of a line, which is the first point of another."""

# The sides of a pixel: top, left, bottom, right, each run along with the pixel on the left.
_TOP, _LEFT, _BOTTOM, _RIGHT = range(4)
_START = np.array([(0, 1), (0, 0), (1, 0), (1, 1)])  # corner of the pixel at which a side starts
_AHEAD = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])  # the pixel ahead
_BEYOND = np.array([(-1, 0), (0, -1), (1, 0), (0, 1)])  # the pixel beyond the side


@dataclass(frozen=True, eq=False)
class BlockOutlines:
    """The patches of a block."""

    patches: np.ndarray
    """(H, W) int32 number of each pixel's patch, -1 where there is no class."""
    class_ids: np.ndarray
    """(N,) uint8 class of each patch."""
    points: np.ndarray
    """(P,) POINTS of all outlines, counted in pixels of the block."""
    patch_of: np.ndarray
    """(P,) int32 patch of each point."""
    links: np.ndarray
    """(L,) LINKS of all patches that reach into other blocks."""
    patch_of_link: np.ndarray
    """(L,) int32 patch of each link."""


@dataclass(frozen=True, eq=False)
class Polygons:
    """The polygons of some patches, in the order of the patches' numbers."""

    patches: np.ndarray
    """(N,) numbers of the patches."""
    firsts: np.ndarray
    """(N, 2) row and column of each patch's first pixel, row by row."""
    shapes: np.ndarray
    """(N,) shapely polygons."""


def trace_block(ids: np.ndarray) -> BlockOutlines:
    """Find the patches of a block and their outlines.

    Args:
        ids: (H + 2, W + 2) uint8 class ids of the block and the pixels around it, NODATA where
            there is none.
    """
    core = np.ascontiguousarray(ids[1:-1, 1:-1])
    patches, class_ids = label_patches(core, False)
    rows, cols, marks, patch_of = _trace(np.ascontiguousarray(ids), patches)
    points = np.empty(len(rows), POINTS)
    points["row"], points["col"], points["marks"] = rows, cols, marks
    return BlockOutlines(patches, class_ids, points, patch_of, *_find_links(ids, patches))


def _find_links(ids: np.ndarray, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = patches.shape
    links, owners = [], []
    for side, own, other, numbers in (
        (_TOP, ids[1, 1:-1], ids[0, 1:-1], patches[0]),
        (_LEFT, ids[1:-1, 1], ids[1:-1, 0], patches[:, 0]),
        (_BOTTOM, ids[-2, 1:-1], ids[-1, 1:-1], patches[-1]),
        (_RIGHT, ids[1:-1, -2], ids[1:-1, -1], patches[:, -1]),
    ):
        # Runs of pixels that go on beyond the side; seen from there they are the same runs.
        goes_on = np.concatenate([[False], (own == other) & (own != NODATA), [False]])
        changes = np.concatenate([[True], own[1:] != own[:-1], [True]])
        firsts = np.flatnonzero(goes_on[1:] & (changes | ~goes_on[:-1]))
        ends = np.flatnonzero(goes_on[:-1] & (changes | ~goes_on[1:]))
        of_side = np.zeros(len(firsts), LINKS)
        along, across = ("col", "row") if side in (_TOP, _BOTTOM) else ("row", "col")
        of_side[along], of_side["length"], of_side["side"] = firsts, ends - firsts, side
        of_side[across] = {_BOTTOM: height, _RIGHT: width}.get(side, 0)
        links.append(of_side)
        owners.append(numbers[firsts])
    return np.concatenate(links), np.concatenate(owners)


def move(records: np.ndarray, row: int, col: int) -> np.ndarray:
    """Return POINTS or LINKS counted from a pixel `row` rows above and `col` columns before."""
    moved = records.copy()
    moved["row"] += row
    moved["col"] += col
    return moved


def join_links(links: np.ndarray, owners: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """Join the parts of patches that blocks hold.

    Args:
        links: (L,) LINKS of all blocks of a map.
        owners: (L,) the part of each, from 0.
        count: how many parts there are.

    Returns:
        The number of patches, and (count,) the patch of each part.

    Raises:
        ValueError: a block knows of a link that its neighbour does not.
    """
    is_level = links["side"] % 2 == 0
    order = np.lexsort((links["col"], links["row"], is_level))
    one, other = order[::2], order[1::2]
    is_same = len(one) == len(other) and all(
        (column[one] == column[other]).all()
        for column in (is_level, *(links[name] for name in ("row", "col", "length")))
    )
    if not is_same:
        raise ValueError("blocks differ in where their patches go on")
    pairs = owners[one], owners[other]
    graph = coo_array((np.ones(len(one), np.int8), pairs), (count, count))
    patch_count, patches = connected_components(graph, directed=False)
    return int(patch_count), patches


def seal(points: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Return the outline of a patch's part in one block as if the patch ended at its sides.

    Args:
        points: POINTS of the part.
        links: LINKS of it.
    """
    is_far = np.isin(links["side"], (_TOP, _RIGHT))  # run along backwards
    is_level = links["side"] % 2 == 0
    ends = np.stack([links[["row", "col"]]] * 2, 1)
    for column, along in (("row", ~is_level), ("col", is_level)):
        ends[column][np.arange(len(links)), np.where(is_far, 0, 1)] += np.where(
            along, links["length"], 0
        )
    sealed = np.zeros((len(links), 2), POINTS)
    sealed["row"], sealed["col"] = ends["row"], ends["col"]
    sealed["marks"] = (_IS_FIRST, _IS_END)
    joined = np.concatenate([points, sealed.reshape(-1)])
    # Here the part and its neighbours across the side meet.
    joined["marks"] |= np.where(joined["marks"] & _IS_FIRST, _IS_POINT, 0).astype("u1")
    return joined


def make_polygons(
    points: np.ndarray, patch_of: np.ndarray, transform: tuple[float, ...]
) -> Polygons:
    """Return the polygons of patches of which all points are given.

    Args:
        points: (P,) POINTS; each line whole, in any order.
        patch_of: (P,) patch of each.
        transform: a, b, c, d, e, f: column and row to x and y.
    """
    row, col, marks = points["row"], points["col"], points["marks"]
    is_end = (marks & _IS_END) != 0
    following = _follow_lines(points, patch_of)
    _part_at_pinches(points, patch_of, following)
    order, offsets, doubled = _rings(row, col, following, is_end, (marks & _IS_POINT) != 0)
    lengths, firsts = np.diff(offsets), order[offsets[:-1]]
    sequence = np.lexsort((col[firsts], row[firsts], doubled < 0, patch_of[firsts]))
    shells = firsts[doubled > 0]
    shells = shells[np.argsort(patch_of[shells])]
    lengths, starts = lengths[sequence], offsets[:-1][sequence]
    # The first point of each ring is its last, too.
    ring_offsets = np.concatenate([[0], np.cumsum(lengths + 1)])
    places = np.arange(ring_offsets[-1]) - np.repeat(ring_offsets[:-1], lengths + 1)
    places[ring_offsets[1:] - 1] = 0
    taken = order[places + np.repeat(starts, lengths + 1)]
    a, b, c, d, e, f = transform
    x, y = a * col[taken] + b * row[taken] + c, d * col[taken] + e * row[taken] + f
    polygon_offsets = np.append(np.flatnonzero(doubled[sequence] > 0), len(lengths))
    shapes = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, np.stack([x, y], 1), (ring_offsets, polygon_offsets)
    )
    return Polygons(patch_of[shells], np.stack([row[shells], col[shells]], 1), shapes)


def _follow_lines(points: np.ndarray, patch_of: np.ndarray) -> np.ndarray:
    # (P,) the point that follows each, whichever line it is of.
    row, col, marks = points["row"], points["col"], points["marks"]
    following = np.arange(1, len(points) + 1)
    firsts = np.flatnonzero(marks & _IS_FIRST)
    lasts = np.append(firsts[1:], len(points)) - 1
    is_ring = (marks[lasts] & _IS_END) == 0
    following[lasts[is_ring]] = firsts[is_ring]
    starts, ends = firsts[~is_ring], lasts[~is_ring]
    starts, ends = (
        some[np.lexsort((col[some], row[some], patch_of[some]))] for some in (starts, ends)
    )
    assert (points[["row", "col"]][starts] == points[["row", "col"]][ends]).all()
    following[ends - 1] = starts
    return following


def _part_at_pinches(points: np.ndarray, patch_of: np.ndarray, following: np.ndarray) -> None:
    # Lines turn at a pinch as if the two pixels were of two patches. Where both are of one, one
    # ring goes through it twice: it becomes two.
    pinches = np.flatnonzero((points["marks"] & (_IS_PINCH | _IS_END)) == _IS_PINCH)
    keys = points["col"][pinches], points["row"][pinches], patch_of[pinches]
    order = np.lexsort(keys)
    sorted_keys = np.stack([key[order] for key in keys])
    is_pair = (sorted_keys[:, 1:] == sorted_keys[:, :-1]).all(0)
    one, other = pinches[order[:-1][is_pair]], pinches[order[1:][is_pair]]
    following[one], following[other] = following[other], following[one]


@njit(cache=True, nogil=True)
def _rings(row: Any, col: Any, following: Any, is_end: Any, is_point: Any) -> Any:
    # The points of every ring, from its first by row and column; the offset of each ring; and twice
    # its area in pixels, below 0 of holes.
    count, rings = 0, 0
    order = np.empty(len(row), np.int64)
    offsets, doubled = np.zeros(len(row) // 4 + 1, np.int64), np.empty(len(row) // 4, np.int64)
    seen = is_end.copy()
    for start in range(len(row)):
        if seen[start]:
            continue
        first, area, point = -1, 0, start
        while True:
            seen[point] = True
            follower = following[point]
            area += np.int64(col[follower]) * row[point] - np.int64(col[point]) * row[follower]
            if is_point[point] and (
                first < 0
                or row[point] < row[first]
                or (row[point] == row[first] and col[point] < col[first])
            ):
                first = point
            point = follower
            if point == start:
                break
        point = first
        while True:
            if is_point[point]:
                order[count] = point
                count += 1
            point = following[point]
            if point == first:
                break
        doubled[rings] = area
        rings += 1
        offsets[rings] = count
    return order[:count], offsets[: rings + 1], doubled[:rings]


@njit(cache=True, nogil=True)
def _count_sides(ids: Any) -> int:
    # Sides between pixels of two classes, those at the rim twice: there lines may end.
    height, width = ids.shape
    count = 0
    for row in range(1, height - 1):
        for col in range(1, width - 1):
            if ids[row, col] == NODATA:
                continue
            at_rim = row == 1 or col == 1 or row == height - 2 or col == width - 2
            for side in range(4):
                if ids[row + _BEYOND[side, 0], col + _BEYOND[side, 1]] != ids[row, col]:
                    count += 2 if at_rim else 1
    return count


@njit(cache=True, nogil=True)
def _comes_from_around(ids: Any, row: int, col: int, side: int) -> bool:
    # Whether the outline came to a side of a pixel along a pixel around the block.
    class_id = ids[row, col]
    y, x = row - _AHEAD[side, 0], col - _AHEAD[side, 1]
    if ids[y, x] != class_id:
        return False
    if ids[y + _BEYOND[side, 0], x + _BEYOND[side, 1]] == class_id:
        y, x = y + _BEYOND[side, 0], x + _BEYOND[side, 1]
    return bool(y == 0 or x == 0 or y == ids.shape[0] - 1 or x == ids.shape[1] - 1)


@njit(cache=True, nogil=True)
def _mark(ids: Any, row: int, col: int, class_id: int) -> int:
    # The marks of the upper left corner of a pixel, in the outline of a class.
    a, b, c, d = ids[row - 1, col - 1], ids[row - 1, col], ids[row, col - 1], ids[row, col]
    if (a == b and c == d) or (a == c and b == d):
        return 0
    falling = a == d == class_id and b != class_id != c
    rising = b == c == class_id and a != class_id != d
    return _IS_POINT | _IS_PINCH if falling or rising else _IS_POINT


@njit(cache=True, nogil=True)
def _trace(ids: Any, patches: Any) -> Any:
    # Row, column, marks and patch of the points of all outlines.
    height, width = patches.shape
    size = _count_sides(ids)
    rows, cols = np.empty(size, np.int32), np.empty(size, np.int32)
    marks, patch_of = np.empty(size, np.uint8), np.empty(size, np.int32)
    passed = np.zeros((height, width), np.uint8)  # a bit a side
    count = 0
    # Lines that come from other blocks; what is then left are rings.
    for is_ring in (False, True):
        for first_row in range(1, height + 1):
            inside = not is_ring and 1 < first_row < height
            for first_col in range(1, width + 1, max(1, width - 1) if inside else 1):
                class_id = ids[first_row, first_col]
                if class_id == NODATA:
                    continue
                for first_side in range(4):
                    beyond = (
                        first_row + _BEYOND[first_side, 0],
                        first_col + _BEYOND[first_side, 1],
                    )
                    if (
                        ids[beyond] == class_id
                        or passed[first_row - 1, first_col - 1] & (1 << first_side)
                        or not (
                            is_ring or _comes_from_around(ids, first_row, first_col, first_side)
                        )
                    ):
                        continue
                    row, col, side = first_row, first_col, first_side
                    first, patch = count, patches[first_row - 1, first_col - 1]
                    while True:
                        passed[row - 1, col - 1] |= 1 << side
                        y, x = row + _START[side, 0], col + _START[side, 1]
                        mark = _mark(ids, y, x, class_id)
                        if mark or (count == first and not is_ring):
                            rows[count], cols[count] = y - 1, x - 1
                            marks[count], patch_of[count] = mark, patch
                            count += 1
                        y, x = row + _AHEAD[side, 0], col + _AHEAD[side, 1]
                        if ids[y, x] != class_id:
                            side = (side + 1) % 4
                        else:
                            row, col = y, x
                            y, x = y + _BEYOND[side, 0], x + _BEYOND[side, 1]
                            if ids[y, x] == class_id:
                                row, col, side = y, x, (side + 3) % 4
                        if row == 0 or col == 0 or row > height or col > width:
                            rows[count] = row + _START[side, 0] - 1
                            cols[count] = col + _START[side, 1] - 1
                            marks[count], patch_of[count] = _IS_END, patch
                            count += 1
                            break
                        if row == first_row and col == first_col and side == first_side:
                            break
                    marks[first] |= _IS_FIRST
    return rows[:count], cols[:count], marks[:count], patch_of[:count]

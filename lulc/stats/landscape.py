"""Patches of a class map within regions, block by block: number, size and length of edges.

A pixel belongs to a region if half of it or more is covered by the region. Pixels of one class that
touch by a side or a corner are one patch; an edge is a side between two pixels of a region that are
of different classes (McGarigal and Marks 1995, FRAGSTATS: the rule of eight neighbours, the
region's own border not counted).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from affine import Affine
from numba import njit
from pyproj import Geod
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lulc.geo.areas import pixel_areas
from lulc.geo.coverage import Runs
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.legend import NODATA
from lulc.tables import schemas

SUMS = np.dtype([("patches", "<i8"), ("area_m2", "<f8"), ("largest_m2", "<f8"), ("edge_m", "<f8")])
"""What is summed of each class."""

OPEN = np.dtype([("class_id", "u1"), ("area_m2", "<f8")])
"""A patch that reaches the rim of a block."""

RIM = np.dtype(
    [
        ("row", "<i8"),
        ("col", "<i8"),
        ("patch", "<i4"),
        ("class_id", "u1"),
        ("across", "<f4"),
        ("down", "<f4"),
    ]
)
"""A pixel at the rim of a block."""

PARTS = pa.schema(
    [
        pa.field("position", pa.int64()),  # of the region in the regions table
        pa.field("period", pa.string()),
        pa.field("lattice", pa.string()),
        *(pa.field(name, pa.binary()) for name in ("closed", "open", "rim")),
    ]
)
"""Schema of the patches of one block, region and period."""

PATCH_TOTALS = pa.schema(
    [
        pa.field("position", pa.int64()),
        pa.field("period", pa.string()),
        pa.field("class_id", pa.int32()),
        pa.field("patches", pa.int64()),
        *(pa.field(name, pa.float64()) for name in ("area_m2", "largest_m2", "edge_m")),
    ]
)
"""Schema of the patches of one region, period and class, over all blocks."""


@dataclass(frozen=True, eq=False)
class RegionPart:
    """The patches of a region in one block.

    Attributes:
        closed: (256,) SUMS by class, of patches that end in the block and all edges in it.
        open: (N,) OPEN, the patches that reach the block's rim.
        rim: (M,) RIM, the rim's pixels: row and column in the lattice of all blocks, position of
            their patch in `open`, and length in m of their lower and right side.
    """

    closed: np.ndarray
    open: np.ndarray
    rim: np.ndarray

    def to_columns(self) -> dict[str, bytes]:
        """Return the three arrays as columns of PARTS."""
        return {
            "closed": self.closed.tobytes(),
            "open": self.open.tobytes(),
            "rim": self.rim.tobytes(),
        }

    @classmethod
    def from_columns(cls, row: Mapping[str, Any]) -> RegionPart:
        """Return the three arrays kept in a row of PARTS."""
        return cls(
            np.frombuffer(row["closed"], SUMS),
            np.frombuffer(row["open"], OPEN),
            np.frombuffer(row["rim"], RIM),
        )


def find_lattice(grid: Grid) -> tuple[str, int, int]:
    """Find the lattice that a grid's pixels belong to; neighbouring blocks share it.

    Returns:
        Name of the lattice, and row and column in it of the grid's first pixel.
    """
    a, b, x, d, e, y = grid.transform
    col, row = ~Affine(a, b, 0.0, d, e, 0.0) @ (x, y)
    # The offset of the lattice within a pixel; what rounding leaves does not count.
    offsets = [round(position % 1, 3) % 1 for position in (row, col)]
    name = f"{grid.crs} {a} {b} {d} {e} {offsets}"
    return name, round(row - offsets[0]), round(col - offsets[1])


def scan_patches(
    classes: np.ndarray, runs: Runs, grid: Grid, origin: tuple[int, int]
) -> RegionPart | None:
    """Find the patches of a block within a region.

    Args:
        classes: (H, W) uint8 class ids of the block, NODATA where there is none.
        runs: the block's pixels that the region covers, from `lulc.geo.coverage.find_runs`.
        grid: the block's grid.
        origin: row and column of the block's first pixel in the lattice.

    Returns:
        The patches; None where the region has no class in the block.
    """
    spans = runs[0][runs[1] >= 0.5]
    if not len(spans):
        return None
    top, left, bottom, right = (
        spans[:, 0].min(),
        spans[:, 1].min(),
        spans[:, 0].max() + 1,
        spans[:, 2].max(),
    )
    window = slice(top, bottom), slice(left, right)
    region_classes = np.full((bottom - top, right - left), NODATA, np.uint8)
    _copy_spans(spans, classes, top, left, region_classes)
    labels, ids = label_patches(region_classes, True)
    if not len(ids):
        return None
    across, down = _sides(grid)
    closed = np.zeros(256, SUMS)
    closed["edge_m"] = _edges(region_classes, across[top:bottom], down[top:bottom])
    at_rim = np.zeros(grid.shape, bool)
    at_rim[[0, -1]], at_rim[:, [0, -1]] = True, True
    y, x = np.nonzero(at_rim[window] & (region_classes != NODATA))
    open_patches, patch = np.unique(labels[y, x], return_inverse=True)
    area = _patch_areas(labels, len(ids), grid, window)
    is_closed = np.ones(len(ids), bool)
    is_closed[open_patches] = False
    _add_patches(closed, ids[is_closed], area[is_closed])
    rim = np.zeros(len(y), RIM)
    rim["row"], rim["col"] = y + top + origin[0], x + left + origin[1]
    rim["patch"], rim["class_id"] = patch, region_classes[y, x]
    rim["across"], rim["down"] = across[y + top], down[y + top]
    opened = np.zeros(len(open_patches), OPEN)
    opened["class_id"], opened["area_m2"] = ids[open_patches], area[open_patches]
    return RegionPart(closed, opened, rim)


def join_parts(blocks: Sequence[RegionPart]) -> np.ndarray:
    """Join the patches of a region's blocks; patches that continue in another block are one.

    Args:
        blocks: the patches of the region in every block, all of one lattice.

    Returns:
        (256,) SUMS by class.
    """
    sums = np.zeros(256, SUMS)
    for name in ("patches", "area_m2", "edge_m"):
        sums[name] = np.sum([block.closed[name] for block in blocks], 0)
    sums["largest_m2"] = np.max([block.closed["largest_m2"] for block in blocks], 0)
    opened = np.concatenate([block.open for block in blocks])
    if not len(opened):
        return sums
    rim = np.concatenate([block.rim for block in blocks])
    block_number = np.repeat(np.arange(len(blocks)), [len(block.rim) for block in blocks])
    first_patch = np.cumsum([0, *(len(block.open) for block in blocks)])
    patch = rim["patch"] + first_patch[block_number]
    pairs = _link_blocks(rim, block_number, patch, sums["edge_m"])
    graph = coo_array(
        (np.ones(pairs.shape[1], np.int8), (pairs[0], pairs[1])), (len(opened), len(opened))
    )
    count, joined = connected_components(graph, directed=False)
    ids = np.zeros(count, np.uint8)
    ids[joined] = opened["class_id"]
    _add_patches(sums, ids, np.bincount(joined, opened["area_m2"], count))
    return sums


def _link_blocks(
    rim: np.ndarray, block_number: np.ndarray, patch: np.ndarray, edge_m: np.ndarray
) -> np.ndarray:
    # (2, N) open patches of two blocks that touch and are of one class. Sides between pixels of two
    # blocks that are of different classes are added to edge_m (256,).
    width = int(np.ptp(rim["col"])) + 3
    index = (rim["row"] - rim["row"].min()) * width + rim["col"] - rim["col"].min() + 1
    order = np.argsort(index)
    links = []
    for step, side in ((1, "down"), (width, "across"), (width + 1, None), (width - 1, None)):
        rank = np.searchsorted(index, index + step, sorter=order)
        neighbour = order[np.minimum(rank, len(order) - 1)]
        touches = (index[neighbour] == index + step) & (block_number[neighbour] != block_number)
        pixel = np.flatnonzero(touches)
        neighbour = neighbour[pixel]
        alike = rim["class_id"][pixel] == rim["class_id"][neighbour]
        links.append(np.stack([patch[pixel[alike]], patch[neighbour[alike]]]))
        if side:
            lengths = rim[side][pixel[~alike]].astype(np.float64)
            for end in (pixel, neighbour):
                np.add.at(edge_m, rim["class_id"][end[~alike]], lengths)
    return np.concatenate(links, 1)


def join_part_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join all rows of PARTS of one region and period.

    Patches are joined within a lattice; those of different lattices are added up.

    Returns:
        Rows of PATCH_TOTALS, without position and period.
    """
    lattices: dict[str, list[RegionPart]] = {}
    for row in rows:
        lattices.setdefault(row["lattice"], []).append(RegionPart.from_columns(row))
    lattice_sums = np.stack([join_parts(blocks) for _, blocks in sorted(lattices.items())])
    sums = {
        name: lattice_sums[name].max(0) if name == "largest_m2" else lattice_sums[name].sum(0)
        for name in SUMS.names or ()
    }
    return [
        {"class_id": class_id, **{name: column[class_id].item() for name, column in sums.items()}}
        for class_id in np.flatnonzero(sums["patches"]).tolist()
    ]


def landscape_table(totals: pa.Table, regions: pa.Table, names: Mapping[int, str]) -> pa.Table:
    """Return the landscape table.

    Args:
        totals: rows of PATCH_TOTALS.
        regions: the regions table.
        names: class names by id.

    Returns:
        A row for every region, period and class (`schemas.LANDSCAPE`).
    """
    region = regions.select(["region_id", "level", "name"]).to_pylist()
    rows = sorted(
        totals.to_pylist(), key=lambda row: (row["position"], row["period"], row["class_id"])
    )
    mapped_m2: dict[tuple[int, str], float] = {}
    for row in rows:
        key = (row["position"], row["period"])
        mapped_m2[key] = mapped_m2.get(key, 0.0) + row["area_m2"]
    columns = [
        region[row["position"]]
        | {
            "period": row["period"],
            "class_id": row["class_id"],
            "class_name": names.get(row["class_id"], f"class {row['class_id']}"),
            "patches": row["patches"],
            "mean_patch_m2": row["area_m2"] / row["patches"],
            "largest_patch_m2": row["largest_m2"],
            "edge_m": row["edge_m"],
            "edge_m_per_ha": 1e4 * row["edge_m"] / mapped_m2[row["position"], row["period"]],
        }
        for row in rows
    ]
    return pa.Table.from_pylist(columns, schemas.LANDSCAPE)


def _add_patches(sums: np.ndarray, ids: np.ndarray, area: np.ndarray) -> None:
    sums["patches"] += np.bincount(ids, minlength=256)
    sums["area_m2"] += np.bincount(ids, area, 256)
    np.maximum.at(sums["largest_m2"], ids, area)


def _patch_areas(
    labels: np.ndarray, count: int, grid: Grid, window: tuple[slice, slice]
) -> np.ndarray:
    # (N,) m² of every patch of a window of a block.
    areas = pixel_areas(grid)
    areas = np.broadcast_to(areas, (grid.height, areas.shape[1]))[window[0]]
    return np.asarray(_sum(labels, areas if areas.shape[1] == 1 else areas[:, window[1]], count))


def _sides(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    # (H,) metres on the ground of the lower and the right side of a row's pixels, taken in the
    # middle of the row.
    rows, middle = np.arange(grid.height + 1.0), grid.width // 2
    a, b, c, d, e, f = grid.transform
    to_lonlat, geod = transformer(grid.crs, WGS84), Geod(ellps="WGS84")
    left, right = (
        to_lonlat.transform(a * col + b * rows + c, d * col + e * rows + f)
        for col in (middle, middle + 1)
    )
    across = geod.inv(*left, *right)[2]
    down = geod.inv(left[0][:-1], left[1][:-1], left[0][1:], left[1][1:])[2]
    return np.asarray(across)[1:], np.asarray(down)


@njit(cache=True, nogil=True)
def _copy_spans(spans: Any, classes: Any, top: int, left: int, out: Any) -> None:
    for i in range(len(spans)):
        row, start, end = spans[i]
        out[row - top, start - left : end - left] = classes[row, start:end]


@njit(cache=True, nogil=True)
def _find(parents: Any, label: int) -> int:
    while parents[label] != label:
        parents[label] = parents[parents[label]]
        label = parents[label]
    return label


@njit(cache=True, nogil=True)
def label_patches(classes: Any, corners: bool) -> Any:
    """Number the patches of a map.

    Args:
        classes: (H, W) uint8 class ids, NODATA where there is none.
        corners: whether pixels that touch by a corner are of one patch; else by a side alone.

    Returns:
        (H, W) int32 number of each pixel's patch, -1 where there is no class; and (N,) uint8 class
        of each patch.
    """
    height, width = classes.shape
    labels, parents, count = (
        np.full((height, width), -1, np.int32),
        np.empty(classes.size, np.int32),
        0,
    )
    for row in range(height):
        for col in range(width):
            class_id = classes[row, col]
            if class_id == NODATA:
                continue
            patch = -1
            for up, aside in ((0, -1), (1, -1), (1, 0), (1, 1)):
                if up and aside and not corners:
                    continue
                y, x = row - up, col + aside
                if y < 0 or x < 0 or x >= width or classes[y, x] != class_id:
                    continue
                other = _find(parents, labels[y, x])
                if patch < 0:
                    patch = other
                elif other != patch:
                    low, high = min(patch, other), max(patch, other)
                    parents[high], patch = low, low
            if patch < 0:
                patch = count
                parents[count] = count
                count += 1
            labels[row, col] = patch
    # The smallest label of a patch comes before all its others, so that its number is known by the
    # time they come up.
    numbers, ids, patches = np.empty(count, np.int32), np.empty(count, np.uint8), 0
    for label in range(count):
        root = _find(parents, label)
        if root == label:
            numbers[label] = patches
            patches += 1
        else:
            numbers[label] = numbers[root]
    for row in range(height):
        for col in range(width):
            if labels[row, col] >= 0:
                labels[row, col] = numbers[labels[row, col]]
                ids[labels[row, col]] = classes[row, col]
    return labels, ids[:patches]


@njit(cache=True, nogil=True)
def _sum(labels: Any, areas: Any, count: int) -> Any:
    # (N,) m² of each patch; areas (H, 1) or (H, W).
    out, by_pixel = np.zeros(count), areas.shape[1] > 1
    for row in range(labels.shape[0]):
        for col in range(labels.shape[1]):
            if labels[row, col] >= 0:
                out[labels[row, col]] += areas[row, col if by_pixel else 0]
    return out


@njit(cache=True, nogil=True)
def _edges(classes: Any, across: Any, down: Any) -> Any:
    # (256,) metres of sides between pixels of different classes, by class of either.
    out, nodata = np.zeros(256), np.uint8(NODATA)
    height, width = classes.shape
    for row in range(height):
        for col in range(width):
            class_id = classes[row, col]
            if class_id == NODATA:
                continue
            right = classes[row, col + 1] if col + 1 < width else class_id
            if right not in (class_id, nodata):
                out[class_id] += down[row]
                out[right] += down[row]
            below = classes[row + 1, col] if row + 1 < height else class_id
            if below not in (class_id, nodata):
                out[class_id] += across[row]
                out[below] += across[row]
    return out

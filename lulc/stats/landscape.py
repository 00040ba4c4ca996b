"""Patches of a class map within regions, block by block: how many, how large, how long their edges.

A pixel belongs to a region of which it is covered by half or more. Pixels of one class that touch by a side or a corner are one
patch; an edge is a side between two pixels of a region that are of different classes (McGarigal and Marks 1995, FRAGSTATS: the
rule of eight neighbours, the region's own border not counted).
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
OPEN = np.dtype([("class_id", "u1"), ("area_m2", "<f8")])
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


PARTS = pa.schema(
    [
        pa.field("position", pa.int64()),  # of the region in the regions table
        pa.field("period", pa.string()),
        pa.field("lattice", pa.string()),
        *(pa.field(name, pa.binary()) for name in ("closed", "open", "rim")),
    ]
)
FOUND = pa.schema(
    [
        pa.field("position", pa.int64()),
        pa.field("period", pa.string()),
        pa.field("class_id", pa.int32()),
        pa.field("patches", pa.int64()),
        *(pa.field(name, pa.float64()) for name in ("area_m2", "largest_m2", "edge_m")),
    ]
)


@dataclass(frozen=True, eq=False)
class RegionPart:
    """What one block holds of a region.

    closed: (256,) SUMS by class, of patches that end in the block and all edges in it; open: (N,) OPEN patches that reach its
    rim; rim: the RIM's pixels, with row and column in the lattice of all blocks, their open patch, and metres of lower and right
    side.
    """

    closed: np.ndarray
    open: np.ndarray
    rim: np.ndarray

    def to_columns(self) -> dict[str, bytes]:
        """The three as columns of PARTS."""
        return {
            "closed": self.closed.tobytes(),
            "open": self.open.tobytes(),
            "rim": self.rim.tobytes(),
        }


def find_lattice(grid: Grid) -> tuple[str, int, int]:
    """The name of the lattice that a grid's pixels belong to, and row and column in it of the first; neighbours share it."""
    a, b, x, d, e, y = grid.transform
    col, row = ~Affine(a, b, 0.0, d, e, 0.0) @ (x, y)
    # Where along a pixel the lattice begins; what is left of rounding does not count.
    begins = [round(v % 1, 3) % 1 for v in (row, col)]
    return f"{grid.crs} {a} {b} {d} {e} {begins}", round(row - begins[0]), round(col - begins[1])


def scan_patches(
    classes: np.ndarray, runs: Runs, grid: Grid, origin: tuple[int, int]
) -> RegionPart | None:
    """The Part of a block (H, W) within the region that covers these runs of it; None where that has no class.

    origin: row and column of the block's first pixel in the lattice.
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
    own = np.full((bottom - top, right - left), NODATA, np.uint8)
    _keep(spans, classes, top, left, own)
    labels, ids = _label(own)
    if not len(ids):
        return None
    part = slice(top, bottom), slice(left, right)
    across, down = _sides(grid)
    areas = pixel_areas(grid)
    areas = np.broadcast_to(areas, (grid.height, areas.shape[1]))[top:bottom]
    area = _sum(labels, areas if areas.shape[1] == 1 else areas[:, part[1]], len(ids))
    closed = np.zeros(256, SUMS)
    closed["edge_m"] = _edges(own, across[top:bottom], down[top:bottom])
    at_rim = np.zeros(grid.shape, bool)
    at_rim[[0, -1]], at_rim[:, [0, -1]] = True, True
    y, x = np.nonzero(at_rim[part] & (own != NODATA))
    reaching, patch = np.unique(labels[y, x], return_inverse=True)
    ends = np.ones(len(ids), bool)
    ends[reaching] = False
    _add_patches(closed, ids[ends], area[ends])
    rows = (
        y + top + origin[0],
        x + left + origin[1],
        patch,
        own[y, x],
        across[y + top],
        down[y + top],
    )
    rim = np.zeros(len(y), RIM)
    for name, values in zip(RIM.names or (), rows, strict=True):
        rim[name] = values
    opened = np.zeros(len(reaching), OPEN)
    opened["class_id"], opened["area_m2"] = ids[reaching], area[reaching]
    return RegionPart(closed, opened, rim)


def join_parts(parts: Sequence[RegionPart]) -> np.ndarray:
    """(256,) SUMS by class of a region from its parts, all of one lattice: patches that go on in another block are one."""
    sums = np.zeros(256, SUMS)
    for name in ("patches", "area_m2", "edge_m"):
        sums[name] = np.sum([part.closed[name] for part in parts], 0)
    sums["largest_m2"] = np.max([part.closed["largest_m2"] for part in parts], 0)
    opened = np.concatenate([part.open for part in parts])
    if not len(opened):
        return sums
    rim = np.concatenate([part.rim for part in parts])
    block = np.repeat(np.arange(len(parts)), [len(part.rim) for part in parts])
    before = np.cumsum([0, *(len(part.open) for part in parts)])
    patch = rim["patch"] + before[block]
    width = int(np.ptp(rim["col"])) + 3
    place = (rim["row"] - rim["row"].min()) * width + rim["col"] - rim["col"].min() + 1
    order = np.argsort(place)
    links = []
    for step, side in ((1, "down"), (width, "across"), (width + 1, None), (width - 1, None)):
        at = np.searchsorted(place, place + step, sorter=order)
        there = order[np.minimum(at, len(order) - 1)]
        meets = np.flatnonzero((place[there] == place + step) & (block[there] != block))
        there = there[meets]
        alike = rim["class_id"][meets] == rim["class_id"][there]
        links.append(np.stack([patch[meets[alike]], patch[there[alike]]]))
        if side:
            for end in (meets, there):
                np.add.at(
                    sums["edge_m"],
                    rim["class_id"][end[~alike]],
                    rim[side][meets[~alike]].astype(np.float64),
                )
    pairs = np.concatenate(links, 1)
    graph = coo_array(
        (np.ones(pairs.shape[1], np.int8), (pairs[0], pairs[1])), (len(opened), len(opened))
    )
    count, whole = connected_components(graph, directed=False)
    ids = np.zeros(count, np.uint8)
    ids[whole] = opened["class_id"]
    _add_patches(sums, ids, np.bincount(whole, opened["area_m2"], count))
    return sums


def join_part_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """FOUND rows, without position and period, of all PARTS rows of one region and period; lattices stand each for itself."""
    lattices: dict[str, list[RegionPart]] = {}
    for row in rows:
        kinds = {"closed": SUMS, "open": OPEN, "rim": RIM}
        part = RegionPart(**{name: np.frombuffer(row[name], kind) for name, kind in kinds.items()})
        lattices.setdefault(row["lattice"], []).append(part)
    each = np.stack([join_parts(parts) for _, parts in sorted(lattices.items())])
    sums = {
        name: each[name].max(0) if name == "largest_m2" else each[name].sum(0)
        for name in SUMS.names or ()
    }
    return [
        {"class_id": value, **{name: values[value].item() for name, values in sums.items()}}
        for value in np.flatnonzero(sums["patches"]).tolist()
    ]


def landscape_table(found: pa.Table, regions: pa.Table, names: Mapping[int, str]) -> pa.Table:
    """The landscape table of FOUND rows."""
    region = regions.select(["region_id", "level", "name"]).to_pylist()
    rows = sorted(found.to_pylist(), key=lambda r: (r["position"], r["period"], r["class_id"]))
    whole: dict[tuple[int, str], float] = {}
    for row in rows:
        whole[row["position"], row["period"]] = (
            whole.get((row["position"], row["period"]), 0.0) + row["area_m2"]
        )
    made = [
        row
        | region[row["position"]]
        | {
            "class_name": names.get(row["class_id"], f"class {row['class_id']}"),
            "mean_patch_m2": row["area_m2"] / row["patches"],
        }
        | {
            "largest_patch_m2": row["largest_m2"],
            "edge_m_per_ha": 1e4 * row["edge_m"] / whole[row["position"], row["period"]],
        }
        for row in rows
    ]
    return pa.Table.from_pylist(
        [{name: row[name] for name in schemas.LANDSCAPE.names} for row in made], schemas.LANDSCAPE
    )


def _add_patches(sums: np.ndarray, ids: np.ndarray, area: np.ndarray) -> None:
    sums["patches"] += np.bincount(ids, minlength=256)
    sums["area_m2"] += np.bincount(ids, area, 256)
    np.maximum.at(sums["largest_m2"], ids, area)


def _sides(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    # (H,) metres on the ground of the lower and the right side of a row's pixels, taken in the middle of the row.
    rows, middle = np.arange(grid.height + 1.0), grid.width // 2
    a, b, c, d, e, f = grid.transform
    carry, geod = transformer(grid.crs, WGS84), Geod(ellps="WGS84")
    here, right = (
        carry.transform(a * col + b * rows + c, d * col + e * rows + f)
        for col in (middle, middle + 1)
    )
    across = geod.inv(*here, *right)[2]
    down = geod.inv(here[0][:-1], here[1][:-1], here[0][1:], here[1][1:])[2]
    return np.asarray(across)[1:], np.asarray(down)


@njit(cache=True, nogil=True)
def _keep(spans: Any, classes: Any, top: int, left: int, out: Any) -> None:
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
def _label(classes: Any) -> Any:
    # (H, W) int32 number of each pixel's patch, -1 where there is no class; and (N,) uint8 class of each patch.
    height, width = classes.shape
    labels, parents, count = (
        np.full((height, width), -1, np.int32),
        np.empty(classes.size, np.int32),
        0,
    )
    for row in range(height):
        for col in range(width):
            own = classes[row, col]
            if own == NODATA:
                continue
            mine = -1
            for up, aside in ((0, -1), (1, -1), (1, 0), (1, 1)):
                y, x = row - up, col + aside
                if y < 0 or x < 0 or x >= width or classes[y, x] != own:
                    continue
                other = _find(parents, labels[y, x])
                if mine < 0:
                    mine = other
                elif other != mine:
                    low, high = min(mine, other), max(mine, other)
                    parents[high], mine = low, low
            if mine < 0:
                mine = count
                parents[count] = count
                count += 1
            labels[row, col] = mine
    # The least label of each patch comes before all others of it: its number is known when they are met.
    numbers, ids, found = np.empty(count, np.int32), np.empty(count, np.uint8), 0
    for label in range(count):
        root = _find(parents, label)
        if root == label:
            numbers[label] = found
            found += 1
        else:
            numbers[label] = numbers[root]
    for row in range(height):
        for col in range(width):
            if labels[row, col] >= 0:
                labels[row, col] = numbers[labels[row, col]]
                ids[labels[row, col]] = classes[row, col]
    return labels, ids[:found]


@njit(cache=True, nogil=True)
def _sum(labels: Any, areas: Any, count: int) -> Any:
    out, wide = np.zeros(count), areas.shape[1] > 1
    for row in range(labels.shape[0]):
        for col in range(labels.shape[1]):
            if labels[row, col] >= 0:
                out[labels[row, col]] += areas[row, col if wide else 0]
    return out


@njit(cache=True, nogil=True)
def _edges(classes: Any, across: Any, down: Any) -> Any:
    # (256,) metres of sides between pixels of different classes, by class of either.
    out, nodata = np.zeros(256), np.uint8(NODATA)
    height, width = classes.shape
    for row in range(height):
        for col in range(width):
            own = classes[row, col]
            if own == NODATA:
                continue
            right = classes[row, col + 1] if col + 1 < width else own
            if right not in (own, nodata):
                out[own] += down[row]
                out[right] += down[row]
            below = classes[row + 1, col] if row + 1 < height else own
            if below not in (own, nodata):
                out[own] += across[row]
                out[below] += across[row]
    return out

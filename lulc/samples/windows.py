"""What tasks do for the plan of samples: labels counted, windows chosen and audited.

Windows stay with the tasks, in files that live until the samples are written:

    points.parquet           the labels' points, where they are points
    scan/<task>.parquet      LABEL_SCAN rows of the windows with a label
    blocks.parquet           the split of every spatial block, BLOCKS rows, near ones together
    windows/<task>.parquet   WINDOWS rows of those that become samples, by split and chip

The driver is told sums, by spatial block and class, and by chip and split.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.location import Location
from lulc.samples import leakage, splits
from lulc.samples.from_chips import (
    LABEL_SCAN,
    SampleSpec,
    scan_labels,
    window_key,
    write_samples,
)
from lulc.samples.leakage import AuditedSample
from lulc.samples.splits import SPLITS, Fence, SplitCell
from lulc.samples.table import sample_id
from lulc.tables import layout
from lulc.tables.files import for_arrow, write_atomic
from lulc.tables.ledger import LedgerRow
from lulc.tables.store import table_guard

type Row = dict[str, Any]

# Arrays are sent as their bytes: of millions of blocks a Python object each would be too much.
COUNTED = pa.schema(
    [
        pa.field("number", pa.int32()),
        # (M, 3) int32: column and row of the tile of each chip, and which of the run's periods.
        pa.field("tiles", pa.binary()),
        # All windows, and those with a label.
        pa.field("windows", pa.int64()),
        pa.field("labelled", pa.int64()),
        # Labelled pixels without imagery; pixels of contradicting polygons or points.
        pa.field("unobserved", pa.int64()),
        pa.field("conflicts", pa.int64()),
        # (C, 2) int32: spatial blocks with a label; (C, K) uint32: their labelled pixels by class.
        pa.field("cells", pa.binary()),
        pa.field("counts", pa.binary()),
        # (K,) int64: windows that hold the class.
        pa.field("holding", pa.binary()),
    ]
)
"""What `count_labels` tells the driver."""

CHOSEN = pa.schema(
    [
        pa.field("number", pa.int32()),
        # Of each chip and split, in the order of WINDOWS rows: position in SPLITS (int8), rank of
        # the chip (uint64), windows (int32), and bytes of a sample (int64).
        pa.field("splits", pa.binary()),
        pa.field("ranks", pa.binary()),
        pa.field("sizes", pa.binary()),
        pa.field("bytes", pa.binary()),
        # Windows with too few labels, and those beyond `samples.per_class`.
        pa.field("poor", pa.int64()),
        pa.field("beyond", pa.int64()),
        # Labelled pixels that the buffer left in all windows.
        pa.field("pixels", pa.int64()),
        # (3, K) int64: labelled pixels of the chosen windows of each split, by class.
        pa.field("classes", pa.binary()),
        # (K,) int64: sum over training windows of the class's share, in units of SHARE.
        pa.field("shares", pa.binary()),
        # (C, 2) int32 and (C,) int32: spatial blocks, and how many training windows each has.
        pa.field("cells", pa.binary()),
        pa.field("training", pa.binary()),
        # Left, top, right and bottom of the windows in the lattice; null without windows.
        pa.field("bounds", pa.list_(pa.int32())),
    ]
)
"""What `choose_windows` tells the driver."""

BLOCKS = pa.schema(
    [
        pa.field("col", pa.int32()),
        pa.field("row", pa.int32()),
        pa.field("split", pa.int8()),
        # Training samples of the block; null before windows are chosen.
        pa.field("training", pa.int32()),
    ]
)
"""The spatial blocks; `split` is a position in SPLITS."""

WINDOWS = pa.schema(
    [
        *(LABEL_SCAN.field(name) for name in LABEL_SCAN.names),
        pa.field("split", pa.int8()),
        pa.field("fences", pa.list_(pa.list_(pa.float64()))),
    ]
)
"""A window that becomes a sample."""

SHARE = 2**-40
"""Shares are summed as whole multiples of it, so that the order of summing does not matter."""
NOTHING = pa.schema([pa.field("number", pa.int32())])

_BLOCKS_A_SQUARE = 64
_BLOCKS_A_GROUP = 1 << 14


@dataclass(frozen=True)
class Weighing:
    """How training samples are weighted (see `splits.balance_weights`)."""

    by_class: tuple[float, ...] = ()
    """Weight of a sample of one class alone; empty unless classes are balanced."""
    samples_a_block: float | None = None
    """Mean number of samples of a spatial block; None unless ground is balanced."""


@dataclass(frozen=True)
class Quotas:
    """The shares of the windows that become samples; all do where a share is 1 or more."""

    by_class: tuple[float, ...]
    """Of training windows that hold a class, one a class; of several classes the largest counts."""
    even: float
    """Of the windows of validation and test. Choosing these by their class would make an accuracy
    that is not the map's."""


def count_labels(key: Mapping[str, Any], spec: SampleSpec, kept_folder: Location) -> list[Row]:
    """Count the labels of some chips files, and keep the windows that have any.

    Args:
        key: `number` of the task, and `paths` of the files.
        spec: labels, and size of a sample.
        kept_folder: the folder of what tasks keep.

    Returns:
        A COUNTED row.
    """
    scanned = [row for path in key["paths"] for row in scan_labels(_all_of(path), spec)]
    labelled = [row for row in scanned if sum(row["counts"])]
    _write(kept_folder / f"scan/{key['number']}.parquet", labelled, LABEL_SCAN)
    pixels: dict[SplitCell, np.ndarray] = defaultdict(partial(np.zeros, len(spec.legend.classes)))
    for row in labelled:
        pixels[_cell(row, spec)] += row["counts"]
    chips = {(row["path"], row["row_group"]): row for row in scanned}
    counts = _counts(labelled, spec)
    periods = {period.name: number for number, period in enumerate(spec.periods)}
    tiles = [
        (*spec.tiling.parse(row["tile_id"]), periods.get(row["period"], 0))
        for row in chips.values()
    ]
    return [
        {
            "number": key["number"],
            "tiles": _bytes(tiles, "i4"),
            "windows": len(scanned),
            "labelled": len(labelled),
            "unobserved": sum(row["unobserved"] for row in scanned),
            "conflicts": sum(row["conflicts"] for row in chips.values()),
            "cells": _bytes(list(pixels), "i4"),
            "counts": _bytes(list(pixels.values()), "u4"),
            "holding": _bytes((counts > 0).sum(0), "i8"),
        }
    ]


def _all_of(path: str) -> dict[str, Any]:
    return {"path": path, "windows": []}


def choose_windows(
    key: Mapping[str, Any], spec: SampleSpec, kept_folder: Location, quotas: Quotas | None
) -> list[Row]:
    """Choose the windows of some chips files that become samples, and keep them.

    Labels within the buffer of a split that has precedence are dropped.

    Args:
        key: `number` of the task, whose labels `count_labels` counted.
        spec: labels, and size of a sample.
        kept_folder: the folder of what tasks keep.
        quotas: the shares of the windows to take. None: all windows.

    Returns:
        A CHOSEN row.
    """
    labelled = _read(kept_folder / f"scan/{key['number']}.parquet")
    cells = sorted({_cell(row, spec) for row in labelled})
    split_of = _read_splits(kept_folder, cells, spec)
    metres = splits.pixel_metres(spec.tiling, split_of, spec.samples)
    fences_of = splits.find_fences(split_of, metres, spec.samples, cells)
    final = _scan_fenced(labelled, fences_of, spec)
    min_pixels = max(1, spec.samples.min_labelled * spec.samples.size**2)
    rich = [row for row in final if sum(row["counts"]) >= min_pixels]
    for row in rich:
        row["split"] = SPLITS.index(split_of[_cell(row, spec)])
    chosen = [row for row in rich if quotas is None or _is_within(row, quotas, spec)]
    for row in chosen:
        row["fences"] = window_key(row, fences_of.get(_cell(row, spec), []))["fences"]
    chosen.sort(key=partial(_order, seed=spec.samples.seed))
    _write(kept_folder / f"windows/{key['number']}.parquet", chosen, WINDOWS)
    counts = {"poor": len(final) - len(rich), "beyond": len(rich) - len(chosen)}
    counts["pixels"] = sum(sum(row["counts"]) for row in final)
    return [{"number": key["number"], **counts, **_describe_chosen(chosen, spec)}]


def audit_windows(key: Mapping[str, Any], spec: SampleSpec, kept_folder: Location) -> list[Row]:
    """Check that the chosen windows of a task are apart from all others.

    Args:
        key: `number` of the task, and `near`, the numbers of those that may have windows within
            the buffer of its own.
        spec: size of a sample, and the buffer.
        kept_folder: the folder of what tasks keep.

    Returns:
        No rows.

    Raises:
        InputError: names two samples that leak.
    """
    columns = ["tile_id", "period", "col", "row", "split", "extent"]
    rows = _read(kept_folder / f"windows/{key['number']}.parquet", columns)
    lattice = np.array([(row["col"], row["row"]) for row in rows])
    metres = splits.pixel_metres(spec.tiling, {_cell(row, spec) for row in rows}, spec.samples)
    # A block more than the buffer reaches, as pixels of the others may be a little shorter.
    step = (np.array(splits.reach(metres.values(), spec.samples)) + 1) * spec.samples.block
    (left, top), (right, bottom) = lattice.min(0) - step, lattice.max(0) + step
    in_reach = [
        ("col", ">=", left),
        ("col", "<=", right),
        ("row", ">=", top),
        ("row", "<=", bottom),
    ]
    for number in key["near"]:
        rows += _read(kept_folder / f"windows/{number}.parquet", columns, in_reach)
    metres = splits.pixel_metres(spec.tiling, {_cell(row, spec) for row in rows}, spec.samples)
    leakage.audit([_audited(row, spec.samples.size) for row in rows], metres, spec.samples)
    return []


def write_planned(key: Mapping[str, Any], spec: SampleSpec) -> list[LedgerRow]:
    """Write one samples file of chosen windows, unless it is there already.

    Args:
        key: `split`, `name` and `fingerprint` of the file; `tasks`, `starts` and `stops` of runs of
            WINDOWS rows; and `weighing`, a Weighing as JSON.
        spec: what samples are made from.

    Returns:
        The file's ledger row.
    """
    kept_folder = spec.out / layout.kept_folder("samples", key["fingerprint"])
    spec = with_points(spec, kept_folder)
    weighing = Weighing(**json.loads(key["weighing"]))
    columns = ["path", "row_group", "tile_id", "period", "col", "row", "counts", "fences"]
    rows: list[Row] = []
    pieces = sorted(zip(key["tasks"], key["starts"], key["stops"], strict=True))
    for task, of_task in itertools.groupby(pieces, key=lambda piece: piece[0]):
        table = _read_table(kept_folder / f"windows/{task}.parquet", columns)
        for _, start, stop in of_task:
            rows += table.slice(start, stop - start).to_pylist()
    rows.sort(key=lambda row: splits.rank(sample_id(row), spec.samples.seed))
    if key["split"] == "train":
        _weigh(rows, weighing, spec, kept_folder)
    fences = ([_fence(numbers) for numbers in row["fences"]] for row in rows)
    windows = [window_key(row, of_row) for row, of_row in zip(rows, fences, strict=True)]
    return write_samples({**key, "windows": windows}, spec)


def with_points(spec: SampleSpec, kept_folder: Location) -> SampleSpec:
    """Return a spec that says where its labels' points are kept, if they are points."""
    return replace(spec, points=kept_folder / "points.parquet" if spec.labels.points else None)


def write_blocks(
    kept_folder: Location, cells: np.ndarray, split: np.ndarray, training: np.ndarray | None = None
) -> None:
    """Write the spatial blocks for the tasks; near ones lie together.

    Args:
        kept_folder: the folder of what tasks keep.
        cells: (N, 2) column and row of each block.
        split: (N,) positions in SPLITS.
        training: (N,) training samples of each.
    """
    col, row = cells.T
    order = np.lexsort((col, row, col // _BLOCKS_A_SQUARE, row // _BLOCKS_A_SQUARE))
    columns = [col[order], row[order], split[order]]
    counts = pa.nulls(len(cells), pa.int32()) if training is None else training[order]
    table = pa.table([*columns, counts], names=BLOCKS.names).cast(BLOCKS)
    write_atomic(
        kept_folder / "blocks.parquet",
        lambda path: pq.write_table(table, path, row_group_size=_BLOCKS_A_GROUP),
    )


def _read_blocks(kept_folder: Location, west: int, north: int, east: int, south: int) -> pa.Table:
    # Those from west to east and from north to south, all included.
    in_box = [("col", ">=", west), ("col", "<=", east), ("row", ">=", north), ("row", "<=", south)]
    return _read_table(kept_folder / "blocks.parquet", filters=in_box)


def _read_splits(
    kept_folder: Location, cells: Sequence[SplitCell], spec: SampleSpec
) -> dict[SplitCell, str]:
    # The splits of some blocks, and of all within the buffer of one.
    if not cells:
        return {}
    (west, north), (east, south) = np.min(cells, 0).tolist(), np.max(cells, 0).tolist()
    metres = splits.pixel_metres(spec.tiling, cells, spec.samples)
    reach_x, reach_y = splits.reach(metres.values(), spec.samples)
    box = west - reach_x, north - reach_y, east + reach_x, south + reach_y
    columns = (column.to_pylist() for column in _read_blocks(kept_folder, *box).columns[:3])
    return {(col, row): SPLITS[split] for col, row, split in zip(*columns, strict=True)}


def _scan_fenced(
    labelled: Sequence[Row], fences_of: Mapping[SplitCell, list[Fence]], spec: SampleSpec
) -> list[Row]:
    # The windows, with what those near another split hold once their labels keep off its blocks.
    windows_of = defaultdict(list)
    for row in labelled:
        if fences := fences_of.get(_cell(row, spec)):
            windows_of[row["path"]].append(window_key(row, fences))
    scanned = {
        _window_id(row): row
        for path, windows in windows_of.items()
        for row in scan_labels({"path": path, "windows": windows}, spec)
    }
    return [scanned.get(_window_id(row), row) for row in labelled]


def _is_within(row: Mapping[str, Any], quotas: Quotas, spec: SampleSpec) -> bool:
    drawn = splits.rank(f"quota/{sample_id(row)}", spec.samples.seed)
    if SPLITS[row["split"]] == "train":
        share = max(of for of, count in zip(quotas.by_class, row["counts"], strict=True) if count)
    else:
        share = quotas.even
    return int.from_bytes(drawn) < share * 2**64


def _order(row: Mapping[str, Any], seed: int) -> tuple[int, bytes, str]:
    return row["split"], _rank(row, seed), sample_id(row)


def _rank(row: Mapping[str, Any], seed: int) -> bytes:
    return splits.rank(f"{row['tile_id']}/{row['period']}", seed)


def _describe_chosen(chosen: Sequence[Row], spec: SampleSpec) -> Row:
    seed, size = spec.samples.seed, len(spec.legend.classes)
    chips = [
        (split, int.from_bytes(rank), list(rows))
        for (split, rank), rows in itertools.groupby(
            chosen, key=lambda row: (row["split"], _rank(row, seed))
        )
    ]
    by_split = [[row for row in chosen if row["split"] == n] for n in range(len(SPLITS))]
    training = _counts(by_split[SPLITS.index("train")], spec)
    shares = np.rint(training / training.sum(1, keepdims=True) / SHARE).astype(np.int64)
    samples_of: dict[SplitCell, int] = defaultdict(int)
    if spec.samples.balance == "area":
        for row in by_split[SPLITS.index("train")]:
            samples_of[_cell(row, spec)] += 1
    lattice = np.array([(row["col"], row["row"]) for row in chosen]).reshape(-1, 2)
    return {
        "splits": _bytes([split for split, _, _ in chips], "i1"),
        "ranks": _bytes([rank for _, rank, _ in chips], "u8"),
        "sizes": _bytes([len(rows) for _, _, rows in chips], "i4"),
        "bytes": _bytes([rows[0]["bytes"] for _, _, rows in chips], "i8"),
        "classes": _bytes([_counts(rows, spec).sum(0) for rows in by_split], "i8"),
        "shares": _bytes(shares.sum(0) if len(shares) else [0] * size, "i8"),
        "cells": _bytes(list(samples_of), "i4"),
        "training": _bytes(list(samples_of.values()), "i4"),
        "bounds": [*lattice.min(0).tolist(), *lattice.max(0).tolist()] if chosen else None,
    }


def _weigh(
    rows: Sequence[Row], weighing: Weighing, spec: SampleSpec, kept_folder: Location
) -> None:
    # Adds the weight of training samples.
    if weighing.by_class:
        counts = _counts(rows, spec)
        weights = counts / counts.sum(1, keepdims=True) @ np.array(weighing.by_class)
        for row, weight in zip(rows, weights.tolist(), strict=True):
            row["weight"] = weight
    elif weighing.samples_a_block is not None:
        cells = [_cell(row, spec) for row in rows]
        (west, north), (east, south) = np.min(cells, 0).tolist(), np.max(cells, 0).tolist()
        blocks = _read_blocks(kept_folder, west, north, east, south).to_pylist()
        samples_of = {(block["col"], block["row"]): block["training"] for block in blocks}
        for row, cell in zip(rows, cells, strict=True):
            row["weight"] = weighing.samples_a_block / samples_of[cell]


def _counts(rows: Sequence[Mapping[str, Any]], spec: SampleSpec) -> np.ndarray:
    counts = [row["counts"] for row in rows]
    return np.array(counts, np.int64).reshape(-1, len(spec.legend.classes))


def _cell(row: Mapping[str, Any], spec: SampleSpec) -> SplitCell:
    return splits.split_cell(row["col"], row["row"], spec.samples)


def _window_id(row: Mapping[str, Any]) -> tuple[str, int, int, int]:
    return row["path"], row["row_group"], row["col"], row["row"]


def _fence(numbers: Sequence[float]) -> Fence:
    left, top, right, bottom = (int(n) for n in numbers[:4])
    return Fence(left, top, right, bottom, (numbers[4], numbers[5]))


def _audited(row: Mapping[str, Any], size: int) -> AuditedSample:
    extent = None
    if row["extent"] is not None:
        extent = np.frombuffer(row["extent"], np.int16).reshape(2, size)
    return AuditedSample(sample_id(row), SPLITS[row["split"]], row["col"], row["row"], extent)


def _bytes(values: Any, dtype: str) -> bytes:
    return np.asarray(values, dtype).tobytes()


def _write(location: Location, rows: Iterable[Row], schema: pa.Schema) -> None:
    table = pa.Table.from_pylist(list(rows), schema)
    write_atomic(location, lambda path: pq.write_table(table, path, compression="zstd"))


def _read_table(
    location: Location, columns: list[str] | None = None, filters: list[Any] | None = None
) -> pa.Table:
    with table_guard(location):
        source = for_arrow(location)
        return pq.read_table(source, columns=columns, filters=filters, partitioning=None)


def _read(
    location: Location, columns: list[str] | None = None, filters: list[Any] | None = None
) -> list[Row]:
    rows: list[Row] = _read_table(location, columns, filters).to_pylist()
    return rows

"""Samples table → batches: every sample once an epoch, the same number of steps on every rank, in an order fixed by the seed."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.tables import schemas
from lulc.tables.arrays import array_from, decode
from lulc.training._petastorm import read_row_groups, refuse_pickle

_COLUMNS = (
    *("sample_id", "task", "datetimes", "bands", "scales", "offsets", "valid", "weight"),
    *(name + part for name in ("pixels", "label") for part in ("", "_shape", "_dtype", "_codec")),
)


_LANES = 4
"""Parts in which an epoch is read: 1, 2 and 4 ranks take the same samples in the same steps."""


@dataclass(frozen=True)
class Stored:
    """How an array of one sample is stored (ARRAY columns)."""

    shape: tuple[int, ...]
    dtype: str
    codec: str

    @property
    def bytes(self) -> int:
        """Length of the stored value."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Layout:
    """What all samples of a table share; scales and offsets (physical value = DN * scale + offset) are parallel to bands.

    label: where samples have boxes, as many as the one with most has.
    """

    task: str
    bands: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    pixels: Stored
    label: Stored


@dataclass(frozen=True)
class RowGroup:
    """One row group of one file, and how many rows it holds."""

    path: str
    index: int
    rows: int


@dataclass(frozen=True)
class EpochPlan:
    """How a table is read: `steps` batches an epoch on each of `ranks` ranks, about `batch` samples a step over all ranks."""

    groups: tuple[RowGroup, ...]
    layout: Layout
    ranks: int
    batch: int

    @property
    def rows(self) -> int:
        """Samples an epoch, over all ranks."""
        return sum(g.rows for g in self.groups)

    @property
    def lanes(self) -> int:
        """Parts in which the rows are read side by side, as many on every rank."""
        usual = min(_LANES, self.batch, self.rows)
        return self.ranks if usual % self.ranks else usual

    @property
    def steps(self) -> int:
        """Batches an epoch, the same on every rank and lane; none is empty."""
        most = math.ceil(self.rows / self.lanes)
        return min(math.ceil(most * self.lanes / self.batch), self.rows // self.lanes)


@dataclass(frozen=True)
class SampleBatch:
    """Samples of one step of one rank: DN pixels (N, T, C, H, W), valid (N, T, H, W) bool, label (N, …), weight (N,) and ids.

    days: (N, T) of the year from 1, 0 where it is not known. Boxes are filled up with some of class 255.
    """

    pixels: np.ndarray
    valid: np.ndarray
    days: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    sample_ids: tuple[str, ...]


class Kept:
    """Row groups that stay in memory, decoded, from one epoch to the next: the first that are read, up to so many bytes.

    None makes way for another: an epoch comes back to all of them, and what was dropped for one would be read again for the next.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._found: dict[RowGroup, SampleBatch] = {}

    def find(self, group: RowGroup) -> SampleBatch | None:
        """Its samples, where they stayed."""
        return self._found.get(group)

    def keep(self, group: RowGroup, samples: SampleBatch) -> None:
        """Holds on to the samples where there is room for them."""
        size = sum(
            value.nbytes for value in vars(samples).values() if isinstance(value, np.ndarray)
        )
        if group not in self._found and size <= self._left:
            self._left -= size
            self._found[group] = samples


def plan_epoch(source: Path | Sequence[Path], ranks: int, batch: int) -> EpochPlan:
    """How the samples of a folder (or of some files) are read, from Parquet footers and one row.

    InputError, before anything is launched: no sample, more ranks than samples in a batch or than row groups, a pickled schema.
    """
    files = sorted(source.rglob("[!.]*.parquet")) if isinstance(source, Path) else list(source)
    groups = [group for file in files for group in _row_groups(file)]
    if not groups:
        raise InputError(
            f"no sample in {source}: `lulc samples` writes them; look at its count of samples a split"
        )
    if ranks > min(batch, len(groups)):
        count = sum(g.rows for g in groups)
        raise InputError(
            f"{ranks} ranks cannot share the {count} samples in {len(groups)} row groups of {source} in batches of {batch}: "
            f"set train.ranks to {min(batch, len(groups))} or less"
        )
    first = pq.ParquetFile(groups[0].path).read_row_group(groups[0].index, list(_COLUMNS))
    most = _most_boxes(files) if first["task"][0].as_py() == "detect" else None
    return EpochPlan(tuple(groups), _layout(first, groups[0].path, most), ranks, batch)


def _most_boxes(files: Sequence[Path]) -> int:
    shapes = (
        shape
        for file in files
        for shape in pq.ParquetFile(file).read(["label_shape"])["label_shape"].to_pylist()
    )
    return max(int(shape[0]) for shape in shapes)


def keep_mask(
    plan: EpochPlan, rank: int, epoch: int, seed: int, kept: Kept | None = None
) -> Generator[tuple[tuple[int, SampleBatch], ...]]:
    """The `plan.steps` steps of one rank in one epoch, each as (lane, its batch) of the lanes that the rank reads.

    What a lane gives does not depend on the ranks: as long as they divide the lanes, a step has the same samples over all.
    """
    wide, mine = replace(plan, ranks=plan.lanes), plan.lanes // plan.ranks
    numbers = range(rank * mine, (rank + 1) * mine)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(batches(wide, lane, epoch, seed, kept=kept)))
            for lane in numbers
        ]
        for parts in zip(*streams, strict=True):
            yield tuple(zip(numbers, parts, strict=True))


def batches(
    plan: EpochPlan,
    rank: int,
    epoch: int,
    seed: int,
    shuffle: bool = True,
    kept: Kept | None = None,
) -> Generator[SampleBatch]:
    """The `plan.steps` batches of one rank in one epoch: the same for the same plan, rank, epoch and seed.

    Row groups come in an order drawn from (seed, epoch). A rank takes its equal share of their rows, one after another, and mixes
    those of neighbouring row groups. petastorm's thread reads and decodes ahead what is not kept from an epoch before; three or
    four row groups are held at a time beside the kept ones.
    """
    groups, slots, rows = arrange(plan, rank, epoch, seed, shuffle)
    ends = np.zeros(len(groups), np.int64)
    ends[slots] = np.arange(
        len(slots)
    )  # the last row of each row group: a later one overwrites an earlier one
    held: dict[int, SampleBatch] = {}
    read = 0
    kept = kept or Kept(0)
    found = [kept.find(group) for group in groups]
    places = [
        (group.path, group.index)
        for group, samples in zip(groups, found, strict=True)
        if samples is None
    ]
    reader = read_row_groups(places, _COLUMNS, partial(_decode, layout=plan.layout))
    with closing(reader):
        for part in np.array_split(np.arange(len(slots)), plan.steps):
            while read <= slots[part].max():
                samples = found[read]
                held[read] = next(reader) if samples is None else samples
                kept.keep(groups[read], held[read])
                read += 1
            yield _gather(held, slots[part], rows[part])
            held = {slot: rest for slot, rest in held.items() if ends[slot] > part[-1]}


def arrange(
    plan: EpochPlan, rank: int, epoch: int, seed: int, shuffle: bool
) -> tuple[list[RowGroup], np.ndarray, np.ndarray]:
    """The row groups a rank reads, in order; and for each of its samples, in order, which of them (slot) and which row of it."""
    order = (
        np.random.default_rng([seed, epoch]).permutation(len(plan.groups))
        if shuffle
        else np.arange(len(plan.groups))
    )
    ends = np.cumsum([plan.groups[i].rows for i in order])
    starts = np.concatenate([[0], ends[:-1]])
    low, high = rank * plan.rows // plan.ranks, (rank + 1) * plan.rows // plan.ranks
    mine = np.flatnonzero((ends > low) & (starts < high))
    spans = [np.arange(max(low - starts[i], 0), min(high, ends[i]) - starts[i]) for i in mine]
    slots, rows = np.repeat(np.arange(len(mine)), [len(s) for s in spans]), np.concatenate(spans)
    if shuffle:
        # Row group k spreads over places k to k + 2, so that at any place just two neighbours mix.
        places = slots + 2 * np.random.default_rng([seed, epoch, rank, plan.ranks]).random(
            len(slots)
        )
        by = np.argsort(places, kind="stable")
        slots, rows = slots[by], rows[by]
    return [plan.groups[order[i]] for i in mine], slots, rows


def _row_groups(file: Path) -> list[RowGroup]:
    footer = pq.read_metadata(file)
    refuse_pickle(footer.metadata, str(file))
    schemas.check_schema(footer.schema.to_arrow_schema(), schemas.SAMPLES, str(file))
    counts = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    return [RowGroup(str(file), i, rows) for i, rows in enumerate(counts) if rows]


def _layout(table: pa.Table, where: str, most_boxes: int | None = None) -> Layout:
    def only(name: str) -> Any:
        column = _whole(table[name])
        if not column.equals(column.take(pa.array(np.zeros(len(column), np.int64)))):
            raise InputError(
                f"{where} has samples that differ in {name}: a table holds one layout; rebuild it with `lulc samples`"
            )
        value = column[0].as_py()
        return tuple(value) if isinstance(value, list) else value

    def stored(name: str, shape: tuple[int, ...]) -> Stored:
        return Stored(shape, only(f"{name}_dtype"), only(f"{name}_codec"))

    label = only("label_shape") if most_boxes is None else (most_boxes, 5)
    places = stored("pixels", only("pixels_shape")), stored("label", label)
    return Layout(
        only("task") or "segment", only("bands"), only("scales"), only("offsets"), *places
    )


def _decode(table: pa.Table, where: str, layout: Layout) -> SampleBatch:
    """All samples of a row group, no object a sample: every array is a view of its column's buffer or one pass over it."""
    boxes = layout.task == "detect"
    found, count = _layout(table, where, layout.label.shape[0] if boxes else None), table.num_rows
    if found != layout:
        raise InputError(
            f"{where} holds {found}, the table's first file {layout}: rebuild the table with `lulc samples`"
        )

    def array(name: str, stored: Stored) -> np.ndarray:
        values = _stack(table, name, stored.bytes, where)
        return decode(values, (count, *stored.shape), stored.dtype, stored.codec)

    mask = (layout.pixels.shape[0], *layout.pixels.shape[2:])
    bits = _stack(table, "valid", -(-math.prod(mask) // 8), where)
    valid = np.unpackbits(bits, axis=1, count=math.prod(mask)).view(bool).reshape(count, *mask)
    ids = tuple(table["sample_id"].to_pylist())
    label = _boxes(table, layout.label) if boxes else array("label", layout.label)
    days = _days(table["datetimes"].to_pylist(), layout.pixels.shape[0])
    return SampleBatch(
        array("pixels", layout.pixels), valid, days, label, table["weight"].to_numpy(), ids
    )


def _boxes(table: pa.Table, stored: Stored) -> np.ndarray:
    """(N, M, 5): the boxes of every sample, then some of class 255."""
    out = np.zeros((table.num_rows, *stored.shape), stored.dtype)
    out[:, :, 0] = NODATA
    for filled, row in zip(
        out,
        table.select([f"label{part}" for part in ("", "_shape", "_dtype", "_codec")]).to_pylist(),
        strict=True,
    ):
        found = array_from(row, "label")
        filled[: len(found)] = found
    return out


def _days(datetimes: Sequence[Sequence[datetime] | None], dates: int) -> np.ndarray:
    out = np.zeros((len(datetimes), dates), np.int64)
    for row, found in zip(out, datetimes, strict=True):
        known = [time.timetuple().tm_yday for time in found or ()]
        row[: len(known)] = known[:dates]
    return out


def _whole(column: pa.ChunkedArray) -> pa.Array:
    # combine_chunks copies even a single chunk.
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _stack(table: pa.Table, name: str, size: int, where: str) -> np.ndarray:
    """(rows, size) uint8 view of a binary column; InputError unless every value has `size` bytes."""
    column = _whole(table[name])
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    if column.null_count or (np.diff(places) != size).any():
        raise InputError(
            f"{where}: a value of {name} has not the {size} bytes its shape asks for; rebuild it with `lulc samples`"
        )
    stacked: np.ndarray = np.frombuffer(data, np.uint8)[places[0] : places[-1]].reshape(
        len(column), size
    )
    return stacked


def _gather(held: dict[int, SampleBatch], slots: np.ndarray, rows: np.ndarray) -> SampleBatch:
    def gather(name: str) -> np.ndarray:
        arrays = {slot: getattr(block, name) for slot, block in held.items()}
        like = arrays[int(slots[0])]
        out = np.empty((len(rows), *like.shape[1:]), like.dtype)
        for i, (slot, row) in enumerate(zip(slots.tolist(), rows.tolist(), strict=True)):
            out[i] = arrays[slot][row]
        return out

    ids = tuple(
        held[slot].sample_ids[row] for slot, row in zip(slots.tolist(), rows.tolist(), strict=True)
    )
    return SampleBatch(
        gather("pixels"), gather("valid"), gather("days"), gather("label"), gather("weight"), ids
    )

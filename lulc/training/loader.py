"""The samples table as batches: every sample once an epoch, equal steps on all ranks.

The order is fixed by the seed. A *lane* is one of the equal shares of an epoch's rows. Lanes are
read side by side, each rank reads as many of them as any other, and a step takes one batch from
every lane: so 1, 2 and 4 ranks learn from the same samples in the same steps.
"""

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

from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.location import Location, StorePath
from lulc.tables import schemas
from lulc.tables.arrays import array_from, decode
from lulc.tables.encoding import known_units
from lulc.tables.files import list_tables, open_parquet
from lulc.training._petastorm import read_row_groups, refuse_pickle

_ARRAY_SUFFIXES = ("", "_shape", "_dtype", "_codec")
_COLUMNS = (
    *("sample_id", "task", "datetimes", "bands", "scales", "offsets", "units", "valid", "weight"),
    *(name + suffix for name in ("pixels", "label") for suffix in _ARRAY_SUFFIXES),
)

_LANES = 4
"""Lanes of an epoch, unless the ranks do not divide them: 1, 2 and 4 ranks do."""


@dataclass(frozen=True)
class StoredArray:
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
    """What all samples of a table share."""

    task: str
    bands: tuple[str, ...]
    scales: tuple[float, ...]
    """Parallel to bands: physical value = DN * scale + offset."""
    offsets: tuple[float, ...]
    pixels: StoredArray
    label: StoredArray
    """Of boxes: (M, 5), where M is the largest number of boxes in a sample."""
    units: tuple[str, ...] = ()
    """Parallel to bands, empty where one is not known; none at all where none is."""


@dataclass(frozen=True)
class RowGroup:
    """One row group of one file, and how many rows it holds."""

    path: str
    index: int
    rows: int


@dataclass(frozen=True)
class EpochPlan:
    """How a table is read in an epoch: by how many ranks and in how many steps."""

    groups: tuple[RowGroup, ...]
    layout: Layout
    ranks: int
    batch: int
    """Samples a step over all ranks, about."""

    @property
    def rows(self) -> int:
        """Samples of an epoch, over all ranks."""
        return sum(group.rows for group in self.groups)

    @property
    def lanes(self) -> int:
        """Lanes of an epoch, a multiple of the ranks."""
        usual = min(_LANES, self.batch, self.rows)
        return self.ranks if usual % self.ranks else usual

    @property
    def steps(self) -> int:
        """Batches of an epoch, the same on every rank and lane; none is empty."""
        longest = math.ceil(self.rows / self.lanes)
        return min(math.ceil(longest * self.lanes / self.batch), self.rows // self.lanes)


@dataclass(frozen=True)
class SampleBatch:
    """Samples of one step, as arrays over N samples."""

    pixels: np.ndarray
    """(N, T, C, H, W) DN."""
    valid: np.ndarray
    """(N, T, H, W) bool."""
    days: np.ndarray
    """(N, T) int64: day of the year from 1, 0 where it is not known."""
    label: np.ndarray
    """(N, …) by the task; boxes (N, M, 5) are padded with boxes of class 255."""
    weight: np.ndarray
    """(N,) float64."""
    sample_ids: tuple[str, ...]


class SampleCache:
    """Decoded row groups kept in memory from epoch to epoch: the first ones read, up to a limit.

    No row group is dropped for another: every epoch reads all of them, so what was dropped for one
    would be read again for the next.
    """

    def __init__(self, limit: int) -> None:
        self._free_bytes = limit
        self._samples: dict[RowGroup, SampleBatch] = {}

    def find(self, group: RowGroup) -> SampleBatch | None:
        """Return the samples of a row group, None where it is not cached."""
        return self._samples.get(group)

    def keep(self, group: RowGroup, samples: SampleBatch) -> None:
        """Keep the samples of a row group if they fit in what is free of the limit."""
        arrays = (value for value in vars(samples).values() if isinstance(value, np.ndarray))
        size = sum(array.nbytes for array in arrays)
        if group not in self._samples and size <= self._free_bytes:
            self._free_bytes -= size
            self._samples[group] = samples


def plan_epoch(source: Location | Sequence[Location], ranks: int, batch: int) -> EpochPlan:
    """Plan how samples are read, from Parquet footers and one row group.

    Args:
        source: a folder of Parquet files, or some files.
        ranks: how many ranks read them.
        batch: samples a step over all ranks.

    Returns:
        The plan.

    Raises:
        InputError: there is no sample, there are more ranks than samples in a batch or than row
            groups, or a file has a pickled schema.
    """
    files = list_tables(source) if isinstance(source, Path | StorePath) else list(source)
    groups = [group for file in files for group in _row_groups(file)]
    if not groups:
        raise InputError(
            f"{source} holds no sample: `lulc samples` writes them; look at its number of samples "
            "of each split"
        )
    if ranks > min(batch, len(groups)):
        count = sum(group.rows for group in groups)
        raise InputError(
            f"{ranks} ranks cannot share the {count} samples in {len(groups)} row groups of "
            f"{source} in batches of {batch}: set train.ranks to {min(batch, len(groups))} or less"
        )
    first = open_parquet(groups[0].path).read_row_group(groups[0].index, list(_COLUMNS))
    max_boxes = _max_boxes(files) if first["task"][0].as_py() == "detect" else None
    return EpochPlan(tuple(groups), _read_layout(first, groups[0].path, max_boxes), ranks, batch)


def _max_boxes(files: Sequence[Location]) -> int:
    shapes = (
        shape
        for file in files
        for shape in open_parquet(file).read(["label_shape"])["label_shape"].to_pylist()
    )
    return max(int(shape[0]) for shape in shapes)


def rank_steps(
    plan: EpochPlan, rank: int, epoch: int, seed: int, cache: SampleCache | None = None
) -> Generator[tuple[tuple[int, SampleBatch], ...]]:
    """Yield the `plan.steps` steps of one rank in one epoch.

    The batches of a lane do not depend on the ranks: as long as the ranks divide the lanes, a step
    has the same samples over all ranks.

    Args:
        plan: how the table is read.
        rank: of the reading process.
        epoch: its number; the order of the samples is drawn from it and the seed.
        seed: of the order.
        cache: decoded samples of earlier epochs.

    Yields:
        (lane, its batch) for each of the lanes that the rank reads.
    """
    lane_plan, lanes_a_rank = replace(plan, ranks=plan.lanes), plan.lanes // plan.ranks
    lanes = range(rank * lanes_a_rank, (rank + 1) * lanes_a_rank)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(batches(lane_plan, lane, epoch, seed, cache=cache)))
            for lane in lanes
        ]
        for lane_batches in zip(*streams, strict=True):
            yield tuple(zip(lanes, lane_batches, strict=True))


def batches(
    plan: EpochPlan,
    rank: int,
    epoch: int,
    seed: int,
    shuffle: bool = True,
    cache: SampleCache | None = None,
) -> Generator[SampleBatch]:
    """Yield the `plan.steps` batches of one rank in one epoch.

    They are the same for the same plan, rank, epoch and seed. Row groups come in an order drawn
    from (seed, epoch). A rank takes its equal share of their rows, one after another, and mixes
    those of neighbouring row groups. petastorm's thread reads and decodes ahead what is not cached;
    besides the cache, three or four row groups are in memory at a time.

    Args:
        plan: how the table is read.
        rank: of the reading process, or a lane where `plan.ranks` are lanes.
        epoch: its number.
        seed: of the order.
        shuffle: False yields the samples in the order of the files.
        cache: decoded samples of earlier epochs.

    Yields:
        The samples of a step.

    Raises:
        InputError: a file is damaged, or its samples have another layout.
    """
    groups, slots, rows = arrange(plan, rank, epoch, seed, shuffle)
    ends = np.zeros(len(groups), np.int64)
    # The last position of each row group: a later one overwrites an earlier one.
    ends[slots] = np.arange(len(slots))
    loaded: dict[int, SampleBatch] = {}
    next_slot = 0
    cache = cache or SampleCache(0)
    cached = [cache.find(group) for group in groups]
    uncached = [
        (group.path, group.index)
        for group, samples in zip(groups, cached, strict=True)
        if samples is None
    ]
    reader = read_row_groups(uncached, _COLUMNS, partial(_decode, layout=plan.layout))
    with closing(reader):
        for positions in np.array_split(np.arange(len(slots)), plan.steps):
            while next_slot <= slots[positions].max():
                samples = cached[next_slot]
                loaded[next_slot] = next(reader) if samples is None else samples
                cache.keep(groups[next_slot], loaded[next_slot])
                next_slot += 1
            yield _gather(loaded, slots[positions], rows[positions])
            last = positions[-1]
            loaded = {slot: samples for slot, samples in loaded.items() if ends[slot] > last}


def arrange(
    plan: EpochPlan, rank: int, epoch: int, seed: int, shuffle: bool
) -> tuple[list[RowGroup], np.ndarray, np.ndarray]:
    """Order the samples of one rank in one epoch.

    Args:
        plan: how the table is read.
        rank: of the reading process.
        epoch: its number.
        seed: of the order.
        shuffle: False keeps the order of the files.

    Returns:
        The row groups that the rank reads, in order; and of each of its samples, in order, the
        position of its row group among them (the slot) and its row there, both (N,) int.
    """
    order = (
        np.random.default_rng([seed, epoch]).permutation(len(plan.groups))
        if shuffle
        else np.arange(len(plan.groups))
    )
    ends = np.cumsum([plan.groups[i].rows for i in order])
    starts = np.concatenate([[0], ends[:-1]])
    low, high = rank * plan.rows // plan.ranks, (rank + 1) * plan.rows // plan.ranks
    touched = np.flatnonzero((ends > low) & (starts < high))
    spans = [np.arange(max(low - starts[i], 0), min(high, ends[i]) - starts[i]) for i in touched]
    slots = np.repeat(np.arange(len(touched)), [len(span) for span in spans])
    rows = np.concatenate(spans)
    if shuffle:
        # Slot k spreads over sort keys k to k + 2, so that only two neighbours mix at any position.
        rng = np.random.default_rng([seed, epoch, rank, plan.ranks])
        shuffled = np.argsort(slots + 2 * rng.random(len(slots)), kind="stable")
        slots, rows = slots[shuffled], rows[shuffled]
    return [plan.groups[order[i]] for i in touched], slots, rows


def _row_groups(file: Location) -> list[RowGroup]:
    footer = open_parquet(file).metadata
    refuse_pickle(footer.metadata, str(file))
    schemas.check_schema(footer.schema.to_arrow_schema(), schemas.SAMPLES, str(file))
    counts = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    return [RowGroup(str(file), i, rows) for i, rows in enumerate(counts) if rows]


def _read_layout(table: pa.Table, path: str, max_boxes: int | None = None) -> Layout:
    """Return the layout of a file's samples; InputError where they differ.

    Args:
        table: a row group.
        path: of its file.
        max_boxes: of a sample of the whole table, None where labels are no boxes.
    """

    def shared_value(name: str) -> Any:
        column = _one_chunk(table[name])
        if not column.equals(column.take(pa.array(np.zeros(len(column), np.int64)))):
            raise InputError(
                f"{path} has samples that differ in {name}, and a table has one layout: rebuild it "
                "with `lulc samples`"
            )
        value = column[0].as_py()
        return tuple(value) if isinstance(value, list) else value

    def stored_array(name: str, shape: tuple[int, ...]) -> StoredArray:
        return StoredArray(shape, shared_value(f"{name}_dtype"), shared_value(f"{name}_codec"))

    label_shape = shared_value("label_shape") if max_boxes is None else (max_boxes, 5)
    pixels = stored_array("pixels", shared_value("pixels_shape"))
    label = stored_array("label", label_shape)
    return Layout(
        shared_value("task") or "segment",
        shared_value("bands"),
        shared_value("scales"),
        shared_value("offsets"),
        pixels,
        label,
        # Not in samples of earlier releases.
        known_units({"units": shared_value("units")} if "units" in table.column_names else {}),
    )


def _decode(table: pa.Table, path: str, layout: Layout) -> SampleBatch:
    """Return all samples of a row group.

    No object is made for a sample: every array is a view of its column's buffer, or one pass over
    that buffer.
    """
    has_boxes = layout.task == "detect"
    count = table.num_rows
    file_layout = _read_layout(table, path, layout.label.shape[0] if has_boxes else None)
    if file_layout != layout:
        raise InputError(
            f"{path} holds {file_layout}, the table's first file {layout}: rebuild the table with "
            "`lulc samples`"
        )

    def array(name: str, stored: StoredArray) -> np.ndarray:
        values = _stack(table, name, stored.bytes, path)
        return decode(values, (count, *stored.shape), stored.dtype, stored.codec)

    mask_shape = (layout.pixels.shape[0], *layout.pixels.shape[2:])
    mask_size = math.prod(mask_shape)
    bits = _stack(table, "valid", -(-mask_size // 8), path)
    valid = np.unpackbits(bits, axis=1, count=mask_size).view(bool).reshape(count, *mask_shape)
    return SampleBatch(
        array("pixels", layout.pixels),
        valid,
        _days(table["datetimes"].to_pylist(), layout.pixels.shape[0]),
        _boxes(table, layout.label) if has_boxes else array("label", layout.label),
        table["weight"].to_numpy(),
        tuple(table["sample_id"].to_pylist()),
    )


def _boxes(table: pa.Table, stored: StoredArray) -> np.ndarray:
    """Return (N, M, 5): the boxes of every sample, padded with boxes of class 255."""
    padded = np.zeros((table.num_rows, *stored.shape), stored.dtype)
    padded[:, :, 0] = NODATA
    rows = table.select([f"label{suffix}" for suffix in _ARRAY_SUFFIXES]).to_pylist()
    for sample_boxes, row in zip(padded, rows, strict=True):
        boxes = array_from(row, "label")
        sample_boxes[: len(boxes)] = boxes
    return padded


def _days(datetimes: Sequence[Sequence[datetime] | None], dates: int) -> np.ndarray:
    days = np.zeros((len(datetimes), dates), np.int64)
    for sample_days, sample_datetimes in zip(days, datetimes, strict=True):
        known_days = [time.timetuple().tm_yday for time in sample_datetimes or ()]
        sample_days[: len(known_days)] = known_days[:dates]
    return days


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    # combine_chunks copies even a single chunk.
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _stack(table: pa.Table, name: str, size: int, path: str) -> np.ndarray:
    """Return a (rows, size) uint8 view of a binary column.

    Raises:
        InputError: a value has not `size` bytes.
    """
    column = _one_chunk(table[name])
    _, offset_buffer, data = column.buffers()
    all_offsets = np.frombuffer(offset_buffer, np.int32)
    offsets = all_offsets[column.offset : column.offset + len(column) + 1]
    if column.null_count or (np.diff(offsets) != size).any():
        raise InputError(
            f"{path}: a value of {name} has not the {size} bytes of its shape; rebuild it with "
            "`lulc samples`"
        )
    values = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    stacked: np.ndarray = values.reshape(len(column), size)
    return stacked


def _gather(loaded: dict[int, SampleBatch], slots: np.ndarray, rows: np.ndarray) -> SampleBatch:
    pairs = list(zip(slots.tolist(), rows.tolist(), strict=True))

    def gather(name: str) -> np.ndarray:
        arrays = {slot: getattr(samples, name) for slot, samples in loaded.items()}
        like = arrays[int(slots[0])]
        gathered = np.empty((len(rows), *like.shape[1:]), like.dtype)
        for i, (slot, row) in enumerate(pairs):
            gathered[i] = arrays[slot][row]
        return gathered

    return SampleBatch(
        gather("pixels"),
        gather("valid"),
        gather("days"),
        gather("label"),
        gather("weight"),
        tuple(loaded[slot].sample_ids[row] for slot, row in pairs),
    )

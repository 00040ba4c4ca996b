"""The blocks of a run, planned column by column: no object of the size of scenes x blocks is made.

Scenes of one place lie together in the scenes table, in order of time. A block's scenes are so a
few runs of its rows, whatever their number, and their digest is a difference of running sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lulc.chips.blocks import fingerprint_block, fingerprint_recipe
from lulc.chips.extent import Cell
from lulc.chips.mosaic import ChipSpec
from lulc.config import Config, Period
from lulc.errors import InputError
from lulc.geo.batches import centre_longitudes
from lulc.sources.scenes_table import NO_MOMENT, SceneColumns
from lulc.tables.layout import BlockKey, block_file

BLOCKS = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("fingerprint", pa.string()),
        # Of its chips, relative to the output location.
        pa.field("path", pa.string()),
        pa.field("period", pa.string()),
        pa.field("col", pa.int32()),
        pa.field("row", pa.int32()),
        # Its scenes: runs of rows of the scenes table, the ends excluded.
        pa.field("starts", pa.list_(pa.int32())),
        pa.field("stops", pa.list_(pa.int32())),
    ]
)
"""What a worker is told of a block, and where its chips are to lie."""
_MICROSECOND, _HALF_DAY = timedelta(microseconds=1), timedelta(hours=12)
_DAY = timedelta(days=1) // _MICROSECOND
_DAY_OF_1970 = date(1970, 1, 1).toordinal()
_FIRST, _LAST = NO_MOMENT + 1, int(np.iinfo(np.int64).max)


@dataclass(frozen=True, eq=False)
class Reach:
    """Which footprints reach which blocks."""

    cells: Sequence[Cell]
    """The blocks, by rows."""
    places: np.ndarray
    """(P,) position in the scenes' `outlines`."""
    numbers: np.ndarray
    """(P,) position in `cells` of a block that the footprint reaches."""


@dataclass(frozen=True, eq=False)
class BlockPlan:
    """The blocks of a run."""

    blocks: pa.Table
    """BLOCKS rows, in order of period, row and column."""
    used: np.ndarray
    """(N,) bool: the scenes that some block has."""


class _Slices(NamedTuple):
    """Parts [first, end) of a sequence of scenes, each of a block."""

    numbers: np.ndarray
    first: np.ndarray
    end: np.ndarray


def plan_blocks(
    config: Config,
    spec: ChipSpec,
    scenes: SceneColumns,
    reach: Reach,
    among: np.ndarray,
    unreadable: Mapping[str, str],
) -> BlockPlan:
    """Return the blocks of a run that have at least one readable scene other than a layer.

    Args:
        config: the run.
        spec: what the chips are.
        scenes: of the scenes table, in any order.
        reach: which footprints reach which blocks, in any order.
        among: (N,) bool, the scenes that take part.
        unreadable: scene id → error, of the scenes to leave out.

    Raises:
        InputError: a layer cannot be read, or no block is left.
    """
    is_bad = scenes.are_named(unreadable)
    _check_layers(scenes, reach, among & is_bad, unreadable)
    order = _by_place_and_time(scenes, among & ~is_bad)
    by_cell = np.lexsort((reach.places, reach.numbers))
    ordered = Reach(reach.cells, reach.places[by_cell], reach.numbers[by_cell])
    longitudes = centre_longitudes(
        [spec.tiling.grid(*cell, spec.halo, spec.span) for cell in reach.cells]
    )
    tables, used = [], np.zeros(len(among), bool)
    for period in sorted(config.periods, key=attrgetter("name")):
        slices = _slices_of(scenes, order, ordered, period_limits(period, longitudes))
        slices = _of_acquisitions(slices, ~scenes.is_layer[order])
        used[order] |= _covered(slices, len(order))
        tables.append(_block_rows(spec, period, reach.cells, scenes.digests, order, slices))
    blocks = pa.concat_tables([BLOCKS.empty_table(), *tables])
    if not blocks.num_rows:
        errors = "".join(f"\n  {scene}: {error}" for scene, error in list(unreadable.items())[:5])
        raise InputError(
            f"no scene is left for periods {', '.join(p.name for p in config.periods)}; "
            f"{len(unreadable)} cannot be read{errors}"
        )
    return BlockPlan(blocks, used)


def period_limits(period: Period, longitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the moments (see `scenes_table.moment_of`) of scenes whose solar day is in a period.

    Args:
        period: both its ends are included.
        longitudes: (N,) of places, degrees.

    Returns:
        (N,) the first moment and (N,) the one after the last, microseconds since 1970, UTC.
    """
    # Solar time is ahead of UTC by less than half a day, so that no noon leaves its day.
    ahead = np.array(
        [
            min(timedelta(hours=longitude / 15), _HALF_DAY - _MICROSECOND) // _MICROSECOND
            for longitude in longitudes.tolist()
        ],
        np.int64,
    )
    first, end = np.full(len(ahead), _FIRST), np.full(len(ahead), _LAST)
    if period.start is not None:
        first = _midnight(period.start) - ahead
    if period.end is not None:
        end = _midnight(period.end) + _DAY - ahead
    return first, end


def _midnight(day: date) -> int:
    # In microseconds since 1970.
    return (day.toordinal() - _DAY_OF_1970) * _DAY


def _check_layers(
    scenes: SceneColumns, reach: Reach, is_bad: np.ndarray, errors: Mapping[str, str]
) -> None:
    is_reached = np.isin(scenes.places, reach.places)
    for row in np.flatnonzero(is_bad & is_reached & scenes.is_layer).tolist():
        layer = scenes.scene_ids[row].as_py()
        raise InputError(f"{layer} cannot be read, and every chip needs it: {errors[layer]}")


def _by_place_and_time(scenes: SceneColumns, takes_part: np.ndarray) -> np.ndarray:
    # Rows in order of place, those without a date first, then of time; of one time in the table's.
    rows = np.flatnonzero(takes_part)
    return rows[np.lexsort((rows, scenes.moments[rows], scenes.places[rows]))]


def _slices_of(
    scenes: SceneColumns,
    order: np.ndarray,
    reach: Reach,
    limits: tuple[np.ndarray, np.ndarray],
) -> _Slices:
    # The part of `order` that each pair of a footprint and a block has in a period, and the part
    # without a date, which it always has; by block.
    outline_numbers, moments = scenes.places[order], scenes.moments[order]
    moments_there = np.unique(moments)
    per_place = len(moments_there) + 1
    # One number that grows with place and time: its order is that of `order`.
    rank = outline_numbers * per_place + np.searchsorted(moments_there, moments)
    base = reach.places * per_place

    def find(limit: np.ndarray | int) -> np.ndarray:
        return np.searchsorted(rank, base + np.searchsorted(moments_there, limit))

    undated = find(NO_MOMENT), find(_FIRST)
    dated = tuple(find(limit[reach.numbers]) for limit in limits)
    first, end = (np.stack(pair, 1).ravel() for pair in zip(undated, dated, strict=True))
    is_there = end > first
    return _Slices(np.repeat(reach.numbers, 2)[is_there], first[is_there], end[is_there])


def _of_acquisitions(slices: _Slices, is_acquisition: np.ndarray) -> _Slices:
    # Those of blocks that have an acquisition, not layers alone.
    sums = _running_sums(is_acquisition.astype(np.int64))
    counts = np.bincount(slices.numbers, sums[slices.end] - sums[slices.first])
    has_one = counts[slices.numbers] > 0 if len(counts) else np.zeros(0, bool)
    return _Slices(*(column[has_one] for column in slices))


def _covered(slices: _Slices, count: int) -> np.ndarray:
    steps = np.zeros(count + 1, np.int64)
    np.add.at(steps, slices.first, 1)
    np.add.at(steps, slices.end, -1)
    return np.cumsum(steps)[:-1] > 0


def _block_rows(
    spec: ChipSpec,
    period: Period,
    cells: Sequence[Cell],
    digests: np.ndarray,
    order: np.ndarray,
    slices: _Slices,
) -> pa.Table:
    numbers, first_slice = np.unique(slices.numbers, return_index=True)
    if not len(numbers):
        return BLOCKS.empty_table()
    sums = _running_sums(digests[order])
    of_slices = sums[slices.end] - sums[slices.first]
    of_blocks = np.add.reduceat(of_slices, first_slice).tolist()
    recipe = fingerprint_recipe(spec, period)
    planned = [cells[number] for number in numbers.tolist()]
    fingerprints = [
        fingerprint_block(recipe, cell, digest)
        for cell, digest in zip(planned, of_blocks, strict=True)
    ]
    keys = [BlockKey(period.name, spec.tiling.name, *cell) for cell in planned]
    identities = zip(keys, fingerprints, strict=True)
    offsets, starts, stops = _runs_of(order, slices, first_slice)
    cols, rows = np.array(planned, np.int32).T
    columns = {
        "key": [str(key) for key in keys],
        "fingerprint": fingerprints,
        "path": [block_file("chips", key, fingerprint) for key, fingerprint in identities],
        "period": pa.repeat(pa.scalar(period.name), len(keys)),
        "col": cols,
        "row": rows,
        "starts": pa.ListArray.from_arrays(offsets, starts),
        "stops": pa.ListArray.from_arrays(offsets, stops),
    }
    return pa.table(columns).cast(BLOCKS)


def _runs_of(
    order: np.ndarray, slices: _Slices, first_slice: np.ndarray
) -> tuple[pa.Array, pa.Array, pa.Array]:
    # Runs of rows of the table that the slices of `order` are: where each block's begin among
    # them, their starts and their stops.
    begins = np.diff(order, prepend=-2) != 1
    run_of = np.cumsum(begins) - 1
    run_first = np.flatnonzero(begins)
    run_end = np.append(run_first[1:], len(order))
    first_run, last_run = run_of[slices.first], run_of[slices.end - 1]
    counts = last_run - first_run + 1
    slice_of = np.repeat(np.arange(len(counts)), counts)
    before = _running_sums(counts)
    runs = first_run[slice_of] + np.arange(len(slice_of)) - before[slice_of]
    starts = order[np.maximum(run_first[runs], slices.first[slice_of])]
    stops = order[np.minimum(run_end[runs], slices.end[slice_of]) - 1] + 1
    # A block's run that another follows at once goes on with it.
    is_first = np.append(True, starts[1:] != stops[:-1])
    is_first[before[first_slice]] = True
    joined = _running_sums(is_first.astype(np.int64))
    offsets = joined[np.append(before[first_slice], before[-1])]
    starts, stops = starts[is_first], stops[np.append(is_first[1:], True)]
    as_int = (pa.array(column.astype(np.int32)) for column in (offsets, starts, stops))
    return tuple(as_int)


def _running_sums(values: np.ndarray) -> np.ndarray:
    # (N + 1, ...): the sum of all before each; of whole numbers modulo their type's range.
    return np.concatenate([np.zeros((1, *values.shape[1:]), values.dtype), np.cumsum(values, 0)])

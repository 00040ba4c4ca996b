"""Blocks of tiles, the unit of work of the tile stage.

A block is planned from the scenes that reach it, tiled by one task, and current as long as nothing
that its chips depend on has changed.
"""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from lulc.chips.chip import choose_encoding, write_chips
from lulc.chips.composites import Interval, make_intervals
from lulc.chips.cut import Cut, cut_block
from lulc.chips.extent import Cell
from lulc.chips.mosaic import ChipSpec
from lulc.chips.tiling import make_tiling
from lulc.config import Config, Period
from lulc.errors import InputError, SetupError
from lulc.geo.grid import centre_longitude
from lulc.location import Location
from lulc.sources.acquisition import solar_day
from lulc.sources.scene import Scene, scenes_from_table
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import layout
from lulc.tables.files import fingerprint_of, for_arrow
from lulc.tables.ledger import LedgerRow, row_of_file


@dataclass(frozen=True)
class Block:
    """A block of tiles in one period."""

    period: str
    cell: Cell
    """(col, row) of its top left tile."""
    scenes: tuple[Scene, ...]
    """In order of id."""
    intervals: tuple[Interval, ...]
    """Of a series of composites."""
    key: str
    """Its key in the ledger."""
    fingerprint: str
    """Covers all that its chips depend on."""

    @property
    def path(self) -> str:
        """The file of its chips, relative to the output location."""
        key = layout.parse_block_key(self.key)
        return layout.block_file("chips", key, self.fingerprint)


def make_block(spec: ChipSpec, period: Period, cell: Cell, scenes: Iterable[Scene]) -> Block:
    """Return the Block of some scenes, whatever their order.

    Args:
        spec: what the chips are.
        period: the period that the scenes belong to.
        cell: (col, row) of the block's top left tile.
        scenes: those that can be read.
    """
    ordered = tuple(sorted(scenes, key=lambda scene: scene.scene_id))
    intervals = make_intervals(period, spec.composite)
    scene_fingerprints = [(scene.scene_id, scene.fingerprint) for scene in ordered]
    fingerprint = fingerprint_of(
        OUTPUT_VERSIONS["tile"], "tile", spec, period.name, cell, scene_fingerprints, intervals
    )
    key = layout.BlockKey(period.name, spec.tiling.name, *cell)
    return Block(period.name, cell, ordered, intervals, str(key), fingerprint)


def make_chip_spec(config: Config, scenes: Iterable[Scene]) -> ChipSpec:
    """Return what the chips of a run are, in an encoding that holds all its scenes.

    Raises:
        InputError: a band of the run file is in no scene.
    """
    layers = [(layer.band, layer.fill) for layer in config.layers if layer.band in config.bands]
    return ChipSpec(
        tiling=make_tiling(config),
        encoding=choose_encoding(scenes, config.bands),
        dates=config.dates,
        halo=config.tiling.halo,
        span=config.tiling.block,
        layers=tuple(layers),
        resampling=config.tiling.resampling,
        composite=config.composite,
    )


def is_in_period(scene: Scene, period: Period, longitude: float) -> bool:
    """Return whether a scene's solar day is in a period, both ends included.

    A scene without a date, such as a layer, is in all periods.

    Args:
        scene: the scene.
        period: the period.
        longitude: of the place where the scene is used, degrees.
    """
    if scene.datetime is None:
        return True
    day = solar_day(scene.datetime, longitude)
    starts_before = period.start is None or day >= period.start
    ends_after = period.end is None or day <= period.end
    return starts_before and ends_after


def plan_blocks(
    config: Config,
    spec: ChipSpec,
    pairs: Iterable[tuple[Scene, Cell]],
    unreadable: Mapping[str, str],
) -> list[Block]:
    """Return the blocks of a run that have at least one readable scene other than a layer.

    Args:
        config: the run.
        spec: what the chips are.
        pairs: every scene with every block that it reaches.
        unreadable: scene id → error, of the scenes to leave out.

    Returns:
        The blocks in order of period, row and column.

    Raises:
        InputError: a layer cannot be read, or no block is left.
    """
    scenes_of: dict[tuple[str, Cell], list[Scene]] = defaultdict(list)
    longitudes: dict[Cell, float] = {}
    for scene, cell in pairs:
        if scene.scene_id in unreadable:
            if scene.is_layer:
                raise InputError(
                    f"{scene.scene_id} cannot be read, and every chip needs it: "
                    f"{unreadable[scene.scene_id]}"
                )
            continue
        if cell not in longitudes:
            longitudes[cell] = centre_longitude(spec.tiling.grid(*cell, spec.halo, spec.span))
        for period in config.periods:
            if is_in_period(scene, period, longitudes[cell]):
                scenes_of[period.name, cell].append(scene)
    periods = {period.name: period for period in config.periods}
    blocks = [
        make_block(spec, periods[name], cell, scenes)
        for (name, cell), scenes in sorted(scenes_of.items(), key=_by_period_and_row)
        if not all(scene.is_layer for scene in scenes)
    ]
    if not blocks:
        errors = "".join(f"\n  {scene}: {error}" for scene, error in list(unreadable.items())[:5])
        raise InputError(
            f"no scene is left for periods {', '.join(periods)}; "
            f"{len(unreadable)} cannot be read{errors}"
        )
    return blocks


def _by_period_and_row(group: tuple[tuple[str, Cell], list[Scene]]) -> tuple[str, Cell]:
    (period, cell), _ = group
    return period, cell[::-1]


def tile_block(
    key: Mapping[str, Any], out: Location, spec: ChipSpec, periods: Iterable[Period]
) -> list[LedgerRow]:
    """Cut one block and publish its chips.

    Scenes that cannot be read give nothing, so the block's fingerprint is that of the others.

    Args:
        key: name of the `period`, `col` and `row` of the block, ids of its `scenes`, and the
            `fingerprint` that it was planned with.
        out: the output location, which has the scenes table.
        spec: what the chips are.
        periods: the run's periods.

    Returns:
        The ledger row of the block, and one for each scene that cannot be read.

    Raises:
        SetupError: the scenes table is not the one that the block was planned from.
    """
    start, cell = time.monotonic(), (key["col"], key["row"])
    scenes = _read_scenes(out, key["scenes"])
    period = next(period for period in periods if period.name == key["period"])
    intervals = make_intervals(period, spec.composite)
    found = make_block(spec, period, cell, scenes)
    if found.fingerprint != key["fingerprint"]:
        raise SetupError(
            f"block {found.key} was planned as {key['fingerprint']} and is {found.fingerprint} on "
            f"{platform.node()}: the scenes table of {out} is another there, or was changed since; "
            "let nothing else write to it, and rerun"
        )
    cut = cut_block(scenes, spec, *cell, period.name, intervals)
    readable = [scene for scene in scenes if scene.scene_id not in cut.unreadable]
    block = make_block(spec, period, cell, readable)
    row = _publish(out, block, cut)
    fingerprints = {scene.scene_id: scene.fingerprint for scene in scenes}
    bad_rows = [
        LedgerRow("tile", f"scene:{scene_id}", fingerprints[scene_id], "bad", error=error)
        for scene_id, error in cut.unreadable.items()
    ]
    return [replace(row, seconds=time.monotonic() - start), *bad_rows]


def _publish(out: Location, block: Block, cut: Cut) -> LedgerRow:
    footer: dict[str, Any] = {
        "stage": "tile",
        "key": block.key,
        "fingerprint": block.fingerprint,
        "status": "empty",
        "valid_pixels": 0,
    }
    if cut.chips:
        valid_pixels = sum(int(chip.valid.any(0)[chip.core].sum()) for chip in cut.chips)
        footer |= {"status": "done", "valid_pixels": valid_pixels, "path": block.path}
        # The footer holds nothing that differs between two attempts: their files are the same
        # byte for byte.
        write_chips(out / block.path, cut.chips, footer | {"skipped": cut.skipped})
    return row_of_file(out, footer)


def _read_scenes(out: Location, scene_ids: Sequence[str]) -> list[Scene]:
    named = pc.field("scene_id").isin(scene_ids)
    location = out / layout.table_file("scenes")
    return scenes_from_table(pq.read_table(for_arrow(location), filters=named))

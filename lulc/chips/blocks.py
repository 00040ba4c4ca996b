"""Blocks, what one task tiles at once: their scenes, what their chips depend on, how these are made and found again."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from lulc.chips.chip import choose_encoding, write_chips
from lulc.chips.composites import Interval, make_intervals
from lulc.chips.cut import cut_block
from lulc.chips.extent import Cell
from lulc.chips.mosaic import LAYER, ChipSpec
from lulc.chips.tiling import make_tiling
from lulc.config import Config, Period
from lulc.errors import InputError
from lulc.sources.scene import Scene, scenes_from_table
from lulc.tables import files as tables_files
from lulc.tables import store
from lulc.tables.ledger import ledger_row, published_row, recover

Row = dict[str, Any]


@dataclass(frozen=True)
class Block:
    """The block whose top left tile is `cell`, in one period; the fingerprint covers all that its chips depend on."""

    period: str
    cell: Cell
    scenes: tuple[Scene, ...]
    intervals: tuple[Interval, ...]
    key: str
    fingerprint: str

    @property
    def path(self) -> str:
        """Where its chips lie, relative to the output folder."""
        return (
            f"tables/chips/{self.period}.{self.cell[0]}_{self.cell[1]}.{self.fingerprint}.parquet"
        )


def make_block(recipe: ChipSpec, period: Period, cell: Cell, scenes: Iterable[Scene]) -> Block:
    """The Block of these scenes, whatever their order."""
    used = tuple(sorted(scenes, key=lambda s: s.scene_id))
    intervals = make_intervals(period, recipe.composite)
    fingerprint = tables_files.fingerprint_of(
        "tile", recipe, period.name, cell, [(s.scene_id, s.fingerprint) for s in used], intervals
    )
    return Block(
        period.name,
        cell,
        used,
        intervals,
        f"{period.name}/{recipe.tiling.tile_id(*cell)}",
        fingerprint,
    )


def make_recipe(config: Config, scenes: Iterable[Scene]) -> ChipSpec:
    """How this run cuts chips, with the encoding that holds all its scenes; InputError when a band is in none."""
    return ChipSpec(
        tiling=make_tiling(config),
        encoding=choose_encoding(scenes, config.bands),
        dates=config.dates,
        halo=config.tiling.halo,
        span=config.tiling.block,
        layers=tuple(
            (layer.band, layer.fill) for layer in config.layers if layer.band in config.bands
        ),
        resampling=config.tiling.resampling,
        composite=config.composite,
    )


def is_layer(scene: Scene) -> bool:
    """Whether a scene is a layer: a raster without a date that joins every date of every period."""
    return scene.source == LAYER


def belongs(scene: Scene, period: Period) -> bool:
    """Whether a scene lies in a period: by UTC day, both ends included; without a date it lies in all."""
    if scene.datetime is None:
        return True
    day = scene.datetime.astimezone(UTC).date()
    return (period.start is None or day >= period.start) and (
        period.end is None or day <= period.end
    )


def plan_blocks(
    config: Config, recipe: ChipSpec, pairs: Iterable[tuple[Scene, Cell]], bad: Mapping[str, str]
) -> list[Block]:
    """The run's blocks without bad scenes (id → error), of all (scene, cell) that meet, in order of period and place.

    A block has at least one scene that is no layer. InputError where a layer is bad or no block is left.
    """
    grouped: dict[tuple[str, Cell], list[Scene]] = defaultdict(list)
    for scene, cell in pairs:
        if scene.scene_id in bad and is_layer(scene):
            raise InputError(
                f"{scene.scene_id} cannot be read, and every chip needs it: {bad[scene.scene_id]}"
            )
        for period in config.periods:
            if scene.scene_id not in bad and belongs(scene, period):
                grouped[period.name, cell].append(scene)
    ordered = sorted(grouped.items(), key=lambda item: (item[0][0], item[0][1][::-1]))
    periods = {period.name: period for period in config.periods}
    plan = [
        make_block(recipe, periods[name], cell, scenes)
        for (name, cell), scenes in ordered
        if not all(is_layer(s) for s in scenes)
    ]
    if not plan:
        lost = "".join(f"\n  {scene}: {error}" for scene, error in list(bad.items())[:5])
        raise InputError(
            f"no scene is left for periods {', '.join(p.name for p in config.periods)}; {len(bad)} cannot be read{lost}"
        )
    return plan


def tile_block(
    key: Mapping[str, Any], out: Path, recipe: ChipSpec, periods: Iterable[Period]
) -> list[Row]:
    """The ledger rows of one block after its chips are published: its own, and one for each scene that cannot be read.

    key: name of the period, col, row and scene ids. Bad scenes give nothing, so the block's fingerprint is that of the others.
    """
    start, cell = time.monotonic(), (key["col"], key["row"])
    folder = store.table_folder(out, "scenes")
    scenes = scenes_from_table(
        ds.dataset(folder, format="parquet").to_table(
            filter=ds.field("scene_id").isin(key["scenes"])
        )
    )
    period = next(p for p in periods if p.name == key["period"])
    made = cut_block(scenes, recipe, *cell, period.name, make_intervals(period, recipe.composite))
    block = make_block(recipe, period, cell, (s for s in scenes if s.scene_id not in made.bad))
    row: Row = {
        "stage": "tile",
        "key": block.key,
        "fingerprint": block.fingerprint,
        "status": "empty",
        "valid_pixels": 0,
    }
    if made.chips:
        seen = sum(int(chip.valid.any(0)[chip.core].sum()) for chip in made.chips)
        row |= {"status": "done", "valid_pixels": seen, "path": block.path}
        # The footer holds nothing that differs between two attempts: their files are the same byte for byte.
        write_chips(out / block.path, made.chips, row | {"skipped": made.skipped})
    prints = {s.scene_id: s.fingerprint for s in scenes}
    return [published_row(out, row) | {"seconds": time.monotonic() - start}] + [
        ledger_row("tile", f"scene:{scene}", prints[scene], status="bad", error=error)
        for scene, error in made.bad.items()
    ]


def is_current(out: Path, block: Block, ledger: Mapping[str, Row]) -> bool:
    """Whether the ledger has the block's chips as they should be, and their file is there; or that it has none."""
    row = ledger.get(block.key)
    if row is None or row["fingerprint"] != block.fingerprint:
        return False
    return bool(
        row["status"] == "empty" or (row["status"] == "done" and (out / row["path"]).exists())
    )


def recover_blocks(out: Path, plan: Iterable[Block], ledger: Mapping[str, Row]) -> list[Row]:
    """Ledger rows of blocks whose files a killed run published but could not note."""
    return [
        row
        for block in plan
        if not is_current(out, block, ledger) and (row := recover(out, block.path))
    ]


def outdated_blocks(
    out: Path, plan: Iterable[Block], ledger: Mapping[str, Row], whole: bool
) -> tuple[list[Path], list[str]]:
    """Files of the chips table that no planned block has, and ledger keys of blocks that are no longer planned.

    Unless the plan is the whole run, only older files of the planned blocks.
    """
    blocks = list(plan)
    places = {tuple(block.path.split(".")[:2]) for block in blocks}
    current = {
        row["path"]
        for block in blocks
        if (row := ledger.get(block.key)) and row["status"] == "done"
    }
    files = [
        f
        for f in store.table_folder(out, "chips").glob("*.parquet")
        if str(f.relative_to(out)) not in current
    ]
    if whole:
        keys = {block.key for block in blocks}
        gone = [
            k for k, row in ledger.items() if row["path"] is not None or row["status"] == "empty"
        ]
        return files, [k for k in gone if k not in keys]
    return [f for f in files if tuple(str(f.relative_to(out)).split(".")[:2]) in places], []

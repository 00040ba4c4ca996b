"""Blocks of tiles, the unit of work of the tile stage.

A block is planned from the scenes that reach it, tiled by one task, and current as long as nothing
that its chips depend on has changed.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lulc.bands import Band
from lulc.chips.chip import write_chips
from lulc.chips.composites import make_intervals
from lulc.chips.cut import Cut, cut_block
from lulc.chips.extent import Cell
from lulc.chips.features import run_encoding
from lulc.chips.mosaic import ChipSpec
from lulc.chips.tiling import make_tiling
from lulc.config import Config, Period
from lulc.errors import SetupError
from lulc.location import Location
from lulc.sources.scene import Scene
from lulc.sources.scenes_table import digest_of, read_scenes
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import layout
from lulc.tables.files import fingerprint_of
from lulc.tables.ledger import LedgerRow, row_of_file


def fingerprint_recipe(spec: ChipSpec, period: Period) -> str:
    """Return what the chips of a period depend on beside place and scenes."""
    intervals = make_intervals(period, spec.composite)
    # Days are counted from the year the period starts in.
    counted = [_first_year(period)] if any(f.is_of_days for f in spec.features) else []
    return fingerprint_of(OUTPUT_VERSIONS["tile"], "tile", spec, period.name, intervals, *counted)


def _first_year(period: Period) -> int | None:
    return period.start.year if period.start else None


def fingerprint_block(recipe: str, cell: Cell, digest: Sequence[int]) -> str:
    """Return what covers all that the chips of a block depend on.

    Args:
        recipe: see `fingerprint_recipe`.
        cell: (col, row) of the block's top left tile.
        digest: sum of the digests of its scenes (see `lulc.sources.scenes_table.digest_of`).
    """
    return fingerprint_of(recipe, cell, digest)


def fingerprint_scenes(recipe: str, cell: Cell, scenes: Iterable[Scene]) -> str:
    """Return the fingerprint of a block of some scenes, whatever their order."""
    digests = [digest_of(scene.scene_id, scene.fingerprint) for scene in scenes]
    digest = np.array(digests, np.uint64).reshape(-1, 2).sum(0)
    return fingerprint_block(recipe, cell, digest.tolist())


def make_chip_spec(config: Config, bands: Iterable[Band]) -> ChipSpec:
    """Return what the chips of a run are, in an encoding that holds all its scenes.

    Args:
        config: the run.
        bands: of all scenes and layers; of those alike, one is enough.

    Raises:
        InputError: a band of the run file is in no scene.
    """
    layers = [(layer.band, layer.fill) for layer in config.layers if layer.band in config.bands]
    return ChipSpec(
        tiling=make_tiling(config),
        encoding=run_encoding(config, bands),
        dates=config.dates,
        halo=config.tiling.halo,
        span=config.tiling.block,
        layers=tuple(layers),
        resampling=config.tiling.resampling,
        composite=config.composite,
        features=config.features,
    )


def tile_block(
    key: Mapping[str, Any], out: Location, spec: ChipSpec, periods: Iterable[Period]
) -> list[LedgerRow]:
    """Cut one block and publish its chips.

    Scenes that cannot be read give nothing, so the block's fingerprint is that of the others.

    Args:
        key: name of the `period`, `col` and `row` of the block, `starts` and `stops` of its scenes,
            and the `fingerprint` that it was planned with.
        out: the output location, which has the scenes table.
        spec: what the chips are.
        periods: the run's periods.

    Returns:
        The ledger row of the block, and one for each scene that cannot be read.

    Raises:
        SetupError: the scenes table is not the one that the block was planned from.
    """
    start, cell = time.monotonic(), (key["col"], key["row"])
    scenes = read_scenes(out, rows_of(key))
    period = next(period for period in periods if period.name == key["period"])
    recipe = fingerprint_recipe(spec, period)
    name = layout.BlockKey(period.name, spec.tiling.name, *cell)
    actual = fingerprint_scenes(recipe, cell, scenes)
    if actual != key["fingerprint"]:
        raise SetupError(
            f"block {name} was planned as {key['fingerprint']} and is {actual} on "
            f"{platform.node()}: the scenes table of {out} is another there, or was changed since; "
            "let nothing else write to it, and rerun"
        )
    intervals = make_intervals(period, spec.composite)
    cut = cut_block(scenes, spec, *cell, period.name, intervals, _first_year(period))
    readable = [scene for scene in scenes if scene.scene_id not in cut.unreadable]
    row = _publish(out, name, fingerprint_scenes(recipe, cell, readable), cut)
    fingerprints = {scene.scene_id: scene.fingerprint for scene in scenes}
    bad_rows = [
        LedgerRow("tile", f"scene:{scene_id}", fingerprints[scene_id], "bad", error=error)
        for scene_id, error in cut.unreadable.items()
    ]
    return [replace(row, seconds=time.monotonic() - start), *bad_rows]


def rows_of(key: Mapping[str, Any]) -> np.ndarray:
    """Return the rows of the scenes table that a block's scenes are.

    Args:
        key: has `starts` and `stops` of runs of rows, the stops excluded.
    """
    runs = zip(key["starts"], key["stops"], strict=True)
    return np.concatenate([np.arange(start, stop) for start, stop in runs])


def _publish(out: Location, name: layout.BlockKey, fingerprint: str, cut: Cut) -> LedgerRow:
    footer: dict[str, Any] = {
        "stage": "tile",
        "key": str(name),
        "fingerprint": fingerprint,
        "status": "empty",
        "valid_pixels": 0,
    }
    if cut.chips:
        path = layout.block_file("chips", name, fingerprint)
        valid_pixels = sum(int(chip.valid.any(0)[chip.core].sum()) for chip in cut.chips)
        footer |= {"status": "done", "valid_pixels": valid_pixels, "path": path}
        # The footer holds nothing that differs between two attempts: their files are the same
        # byte for byte.
        write_chips(out / path, cut.chips, footer | {"skipped": cut.skipped})
    return row_of_file(out, footer)

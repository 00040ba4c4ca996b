"""The tile stage: footprints joined with blocks of tiles in Sedona, one task a block."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from lulc import progress
from lulc.bands import describe_mixture
from lulc.chips import blocks
from lulc.chips.mosaic import ChipSpec
from lulc.chips.plan import Reach, plan_blocks
from lulc.config import Config
from lulc.errors import InputError
from lulc.location import Location
from lulc.sources.header import href_identity
from lulc.sources.scenes_table import SceneColumns, read_columns
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.scene_blocks import find_reach, selected_scenes
from lulc.spark.workers import map_keys, map_units
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import store
from lulc.tables.files import fingerprint_of
from lulc.tables.ledger import LedgerRow

_BAD_SCENE = "scene:"
_FOOTERS_A_TASK = 500
_SKIPPED = pa.schema([pa.field("tiles", pa.int64())])


def tile(context: StageContext) -> StageResult:
    """Cut the scenes into chips: every block of the run has its chips, or no valid pixel.

    Scenes that cannot be read go to the ledger. The blocks they were in are made without them,
    until none is newly bad.

    Raises:
        InputError: a layer is bad, or no scene is left.
    """
    config, out = context.config, context.out
    scenes = read_columns(out)
    is_layer = scenes.is_layer
    if is_layer.all():
        raise InputError(f"{out} has no scenes to cut chips from: run `lulc index` first")
    for text in describe_mixture(_units_of_bands(config, scenes)):
        progress.say(text)
    spec = blocks.make_chip_spec(config, scenes.bands)
    among = _taking_part(scenes, spec)
    cached_reach: list[tuple[Reach, np.ndarray]] = []
    used = np.zeros(len(among), bool)

    def plan(bad: Mapping[str, LedgerRow]) -> list[Unit]:
        if not cached_reach:
            selected = selected_scenes(context, len(among))
            takes_part = among if selected is None else among & selected
            cached_reach.append((find_reach(context, scenes, spec), takes_part))
        errors = {key.removeprefix(_BAD_SCENE): str(row.error) for key, row in bad.items()}
        planned = plan_blocks(config, spec, scenes, *cached_reach[0], errors)
        np.logical_or(used, planned.used | scenes.are_named(errors), out=used)
        return _units(planned.blocks)

    def is_still_bad(row: LedgerRow) -> bool:
        is_it = scenes.are_named([row.key.removeprefix(_BAD_SCENE)])
        return row.fingerprint in scenes.fingerprints.filter(pa.array(is_it)).to_pylist()

    def finish(rows: Sequence[LedgerRow]) -> str:
        reach, takes_part = cached_reach[0]
        is_reached = np.isin(scenes.places, reach.places) & takes_part
        empty_tiles = _count_skipped(context, [row.path for row in rows if row.path])
        counts = {
            "tiles of blocks cut now have no valid pixel (no scene, or clouds)": empty_tiles,
            "scenes reach no tile": np.count_nonzero(~is_reached & ~is_layer),
            "scenes are in no period": np.count_nonzero(is_reached & ~is_layer & ~used),
        }
        return "; ".join(f"{count} {text}" for text, count in counts.items() if count)

    cut = partial(blocks.tile_block, out=out, spec=spec, periods=config.periods)
    work = StageWork(
        "tile",
        _fingerprint(config, spec, scenes.digests[among]),
        plan,
        lambda units: map_units(context, [unit.task for unit in units], cut, "tile"),
        finish,
        table="chips",
        is_of_selection=True,
        is_still_bad=is_still_bad,
    )
    return run_incremental(context, work)


def _units_of_bands(config: Config, scenes: SceneColumns) -> dict[str, dict[str, frozenset[str]]]:
    # Source → name of a band of the run → its units.
    return {
        source: {name: units for name, units in of_source.items() if name in config.bands}
        for source, of_source in scenes.units_of_sources.items()
    }


def _taking_part(scenes: SceneColumns, spec: ChipSpec) -> np.ndarray:
    # (N,) bool: all scenes, and the layers that chips have a band of.
    names = {name for name, _ in spec.layers}
    takes_part = np.ones(len(scenes.places), bool)
    for row, bands in scenes.layers.items():
        takes_part[row] = bool(names & bands)
    return takes_part


def _units(planned: pa.Table) -> list[Unit]:
    return [
        Unit(row.pop("key"), row["fingerprint"], row.pop("path"), row)
        for batch in planned.to_batches()
        for row in batch.to_pylist()
    ]


def _count_skipped(context: StageContext, paths: Sequence[str]) -> int:
    # Tiles without a chip in some files of chips.
    keys = [{"paths": list(some)} for some in itertools.batched(paths, _FOOTERS_A_TASK)]
    count = partial(_read_skipped, out=context.out)
    return sum(row["tiles"] for row in map_keys(context, keys, count, _SKIPPED, "tile"))


def _read_skipped(key: Mapping[str, Any], out: Location) -> Iterable[Mapping[str, Any]]:
    footers = (store.read_footer(out / path) for path in key["paths"])
    return [{"tiles": sum(len(footer["skipped"]) for footer in footers)}]


def _fingerprint(config: Config, spec: ChipSpec, digests: np.ndarray) -> str:
    area = config.area
    area_file = (area and href_identity(area)) or area  # a box is no file
    # A sum: the order of the scenes does not matter.
    scenes = digests.sum(0).tolist()
    return fingerprint_of(OUTPUT_VERSIONS["tile"], "tile", spec, area_file, config.periods, scenes)

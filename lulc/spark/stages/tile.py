"""The tile stage: scenes joined with blocks of tiles in Sedona, one task a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from lulc.chips import blocks
from lulc.chips.blocks import Block
from lulc.chips.extent import Cell
from lulc.chips.mosaic import ChipSpec
from lulc.config import Config
from lulc.errors import InputError
from lulc.sources.header import href_identity
from lulc.sources.scene import Scene, scenes_from_table
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.scene_blocks import pair_scenes_with_blocks
from lulc.spark.workers import map_units
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import store
from lulc.tables.files import fingerprint_of
from lulc.tables.ledger import LedgerRow

_BAD_SCENE = "scene:"


def tile(context: StageContext) -> StageResult:
    """Cut the scenes into chips: every block of the run has its chips, or no valid pixel.

    Scenes that cannot be read go to the ledger. The blocks they were in are made without them,
    until none is newly bad.

    Raises:
        InputError: a layer is bad, or no scene is left.
    """
    config, out = context.config, context.out
    scenes = scenes_from_table(store.read_table(out, "scenes"))
    if all(scene.is_layer for scene in scenes):
        raise InputError(f"{out} has no scenes to cut chips from: run `lulc index` first")
    spec = blocks.make_chip_spec(config, scenes)
    layers = {name for name, _ in spec.layers}
    scenes = [s for s in scenes if not s.is_layer or layers & {b.name for b in s.bands}]
    scene_fingerprints = {scene.scene_id: scene.fingerprint for scene in scenes}
    pairs: list[tuple[Scene, Cell]] = []
    used: set[str] = set()

    def plan(bad: Mapping[str, LedgerRow]) -> list[Unit]:
        if not pairs:
            pairs.extend(pair_scenes_with_blocks(context, scenes, spec))
        errors = {key.removeprefix(_BAD_SCENE): str(row.error) for key, row in bad.items()}
        planned = blocks.plan_blocks(config, spec, pairs, errors)
        used.update(errors, *({scene.scene_id for scene in block.scenes} for block in planned))
        return [_unit(block) for block in planned]

    def is_still_bad(row: LedgerRow) -> bool:
        scene_id = row.key.removeprefix(_BAD_SCENE)
        return scene_fingerprints.get(scene_id) == row.fingerprint

    def finish(rows: Sequence[LedgerRow]) -> str:
        footers = [store.read_footer(out / row.path) for row in rows if row.path]
        empty_tiles = sum(len(footer["skipped"]) for footer in footers)
        reached = {scene.scene_id for scene, _ in pairs}
        unreached = sum(s.scene_id not in reached for s in scenes if not s.is_layer)
        notes = [f"{empty_tiles} tiles in new blocks without a valid pixel"] if empty_tiles else []
        notes += [f"{unreached} scenes reach no tile"] if unreached else []
        outside = len({scene.scene_id for scene, _ in pairs if not scene.is_layer} - used)
        notes += [f"{outside} scenes are in no period"] if outside else []
        return "; ".join(notes)

    cut = partial(blocks.tile_block, out=out, spec=spec, periods=config.periods)
    work = StageWork(
        "tile",
        _fingerprint(config, spec, scenes),
        plan,
        lambda units: map_units(context, [unit.task for unit in units], cut, "tile"),
        finish,
        table="chips",
        is_of_selection=True,
        is_still_bad=is_still_bad,
    )
    return run_incremental(context, work)


def _unit(block: Block) -> Unit:
    scene_ids = [scene.scene_id for scene in block.scenes]
    col, row = block.cell
    task = {
        "period": block.period,
        "col": col,
        "row": row,
        "scenes": scene_ids,
        "fingerprint": block.fingerprint,
    }
    return Unit(block.key, block.fingerprint, block.path, task)


def _fingerprint(config: Config, spec: ChipSpec, scenes: Sequence[Scene]) -> str:
    area = config.area
    area_file = (area and href_identity(area)) or area  # a box is no file
    identities = [(scene.scene_id, scene.fingerprint) for scene in scenes]
    return fingerprint_of(
        OUTPUT_VERSIONS["tile"], "tile", spec, area_file, config.periods, identities
    )

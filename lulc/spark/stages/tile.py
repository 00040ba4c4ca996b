"""The tile stage: scenes joined with blocks of tiles in Sedona, one task a block; scenes that cannot be read are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely
from pyspark import TaskContext
from pyspark.errors import AnalysisException

from lulc.chips import blocks, extent
from lulc.chips.blocks import Block
from lulc.chips.extent import Cell
from lulc.chips.mosaic import LAYER, ChipSpec
from lulc.config import Period
from lulc.errors import InputError, UsageError
from lulc.geo import grid
from lulc.sources.area import make_box, read_area
from lulc.sources.scene import Scene, scenes_from_table
from lulc.spark.incremental import StageContext, StageResult, run_units
from lulc.tables import store
from lulc.tables.files import file_identity, fingerprint_of
from lulc.tables.ledger import append_ledger, latest, ledger_row

Row = dict[str, Any]

_PAIRS = """
    SELECT s.scene_id, c.col, c.row FROM {scenes} s JOIN {cells} c
    ON ST_Intersects(ST_GeomFromWKB(s.footprint), ST_GeomFromWKB(c.footprint))
"""


def tile(context: StageContext) -> StageResult:
    """What the stage did: every block of the run has its chips, or a ledger row that says it has no valid pixel.

    Scenes that cannot be read go to the ledger, and the blocks they were in are made without them, until none is newly bad.
    InputError where a layer is bad or no scene is left.
    """
    config, out, choice = context.config, context.out, context.selection
    found = scenes_from_table(store.read_table(out, "scenes"))
    if all(blocks.is_layer(s) for s in found):
        raise InputError(f"{out} has no scenes to cut chips from: run `lulc index` first")
    recipe = blocks.make_recipe(config, found)
    found = [
        s for s in found if not blocks.is_layer(s) or any(s.band(name) for name, _ in recipe.layers)
    ]
    ledger = latest(out, "tile")
    known = _known_bad(ledger, found)
    retry = choice.retry_bad and bool(known)
    fingerprint = _fingerprint(context, recipe, found)
    made = [r for r in ledger.values() if r["path"] is not None or r["status"] == "empty"]
    if (
        ledger.get("", {}).get("fingerprint") == fingerprint
        and not retry
        and all((out / r["path"]).exists() for r in made if r["path"])
    ):
        return StageResult("tile", stood=len(made), bad=len(known))
    pairs, beside = _join(context, found, recipe)
    bad = {} if retry else dict(known)
    plan = blocks.plan_blocks(config, recipe, pairs, bad)
    adopted = blocks.recover_blocks(out, plan, ledger)
    append_ledger(out, adopted)
    ledger |= {row["key"]: row for row in adopted}
    worked: dict[str, Row] = {}
    while to_do := [b for b in plan if not blocks.is_current(out, b, ledger)]:
        keys = [
            {
                "period": b.period,
                "col": b.cell[0],
                "row": b.cell[1],
                "scenes": [s.scene_id for s in b.scenes],
            }
            for b in to_do
        ]
        rows = run_units(
            context,
            keys,
            partial(_tile_block, out=out, recipe=recipe, periods=config.periods),
            "tile",
        )
        worked |= {r["key"]: r for r in rows if r["status"] != "bad"}
        ledger |= worked
        bad |= {r["key"].removeprefix("scene:"): r["error"] for r in rows if r["status"] == "bad"}
        plan = blocks.plan_blocks(config, recipe, pairs, bad)
    mended = {s.scene_id: s for s, _ in pairs if s.scene_id in known and s.scene_id not in bad}
    _settle(
        context,
        plan,
        ledger,
        [ledger_row("tile", f"scene:{i}", s.fingerprint) for i, s in mended.items()],
    )
    append_ledger(out, [ledger_row("tile", "", fingerprint)])
    return _outcome(out, plan, worked, len(bad), beside)


def _fingerprint(context: StageContext, recipe: ChipSpec, found: Iterable[Scene]) -> str:
    area, choice = context.config.area, context.selection
    place = file_identity(area) if area and Path(area).exists() else area
    asked = [place, choice.bbox, choice.tiles, choice.where, context.config.periods]
    return fingerprint_of("tile", recipe, asked, [(s.scene_id, s.fingerprint) for s in found])


def _known_bad(ledger: Mapping[str, Row], found: Iterable[Scene]) -> dict[str, str]:
    # Scene id → error of those that the ledger holds as bad and that have not changed since.
    rows = ((s.scene_id, s.fingerprint, ledger.get(f"scene:{s.scene_id}")) for s in found)
    return {
        i: r["error"]
        for i, fingerprint, r in rows
        if r and r["status"] == "bad" and r["fingerprint"] == fingerprint
    }


def _join(
    context: StageContext, found: list[Scene], recipe: ChipSpec
) -> tuple[list[tuple[Scene, Cell]], int]:
    # Every scene with every block it reaches, and how many scenes reach none.
    choice, tiling, span, spark = context.selection, recipe.tiling, recipe.span, context.spark()
    frame = spark.read.parquet(str(store.table_folder(context.out, "scenes")))
    try:
        frame = frame.where(f"source = '{LAYER}' OR ({choice.where})") if choice.where else frame
    except AnalysisException as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"--where {choice.where!r} is no condition on the columns of the scenes table: {reason}"
        ) from error
    area = read_area(context.config.area)
    if choice.bbox is not None:
        box = make_box(choice.bbox)
        area = box if area is None else area.intersection(box)
    outlines = (shapely.from_wkb(s.footprint) for s in found if not blocks.is_layer(s))
    wanted = {extent.block_of_tile(tile_id, tiling, span) for tile_id in choice.tiles}
    rows = []
    for cell in extent.find_cells(outlines, tiling, span, area):
        # What the tiling's CRS cannot place on the Earth holds no pixel.
        with suppress(InputError):
            if not wanted or cell in wanted:
                outline = grid.footprint(tiling.grid(*cell, recipe.halo, span))
                rows.append({"col": cell[0], "row": cell[1], "footprint": shapely.to_wkb(outline)})
    if not rows:
        raise InputError(
            "no scene reaches the tiles that are asked for: check area, --bbox and --tiles against `lulc info` of the scenes"
        )
    cells = spark.createDataFrame(pa.Table.from_pylist(rows))
    met = (
        spark.sql(_PAIRS, scenes=frame.select("scene_id", "footprint"), cells=cells)
        .toArrow()
        .to_pylist()
    )
    scenes = {s.scene_id: s for s in found}
    pairs = [(scenes[r["scene_id"]], (r["col"], r["row"])) for r in met if r["scene_id"] in scenes]
    reached = {scene.scene_id for scene, _ in pairs}
    return pairs, sum(s.scene_id not in reached for s in found if not blocks.is_layer(s))


def _tile_block(
    key: dict[str, Any], out: Path, recipe: ChipSpec, periods: tuple[Period, ...]
) -> list[Row]:
    task = TaskContext.get()
    return [
        row | {"attempt": task.attemptNumber() if task else 0}
        for row in blocks.tile_block(key, out, recipe, periods)
    ]


def _settle(
    context: StageContext, plan: Iterable[Block], ledger: Mapping[str, Row], rows: Iterable[Row]
) -> None:
    # Files and ledger rows that this plan has outlived go; scenes that were read again and are sound are noted.
    files, gone = blocks.outdated_blocks(context.out, plan, ledger, context.selection.whole)
    for file in files:
        file.unlink(missing_ok=True)
    dropped = [
        ledger_row("tile", key, ledger[key]["fingerprint"], status="dropped") for key in gone
    ]
    append_ledger(context.out, [*dropped, *rows])


def _outcome(
    out: Path, plan: list[Block], worked: Mapping[str, Row], bad: int, beside: int
) -> StageResult:
    fresh = [worked[b.key] for b in plan if b.key in worked]
    done = [r for r in fresh if r["status"] == "done"]
    skipped = sum(len(store.read_footer(out / r["path"])["skipped"]) for r in done)
    parts = [f"{skipped} tiles in new blocks without a valid pixel"] if skipped else []
    parts += [f"{beside} scenes reach no tile"] if beside else []
    return StageResult(
        "tile", len(plan) - len(fresh), len(done), len(fresh) - len(done), bad, "; ".join(parts)
    )

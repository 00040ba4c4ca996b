"""The predict stage: one task a block of chips, the model loaded once a worker, only keys travelling."""

from __future__ import annotations

from functools import partial
from typing import Any

import shapely
from pyspark import TaskContext

from lulc.chips import extent
from lulc.chips.tiling import make_tiling
from lulc.errors import InputError
from lulc.geo import grid
from lulc.inference import blocks
from lulc.inference.blocks import InferenceSpec
from lulc.models import contract, registry
from lulc.models.package import CONTRACT, ModelRef
from lulc.sources import area
from lulc.spark.incremental import StageContext, StageResult, run_units
from lulc.tables import files, ledger, store

Row = dict[str, Any]


def predict(context: StageContext) -> StageResult:
    """What the stage did: every block of chips has its predictions by the model that the run names, or its champion.

    InputError where there are no chips, or the model's legend or bands are not the run's.
    """
    config, out = context.config, context.out
    model = registry.resolve(config.predict.model or config.name, out, config.tracking.uri)
    _check(context, model)
    table = blocks.table_of(config.task)
    recipe = InferenceSpec(out, model, config.predict)
    keys = _keys(context)
    paths = {
        k["key"]: blocks.predictions_path(k["key"], recipe.fingerprint(k["fingerprint"]), table)
        for k in keys
    }
    held = ledger.latest(out, "predict")
    rows = ((held.get(key), path) for key, path in paths.items())
    noted = {
        r["key"]
        for r, path in rows
        if r and (r["status"], r["path"]) == ("done", path) and (out / path).exists()
    }
    found = [r for k, p in paths.items() if k not in noted and (r := ledger.recover(out, p))]
    ledger.append_ledger(out, found)
    stood = noted | {r["key"] for r in found}
    to_do = [k for k in keys if k["key"] not in stood]
    made = run_units(context, to_do, partial(_map_block, recipe=recipe), "predict")
    bad = sum(r["status"] == "bad" for r in made)
    gone = _settle(context, paths, held)
    fingerprint = files.fingerprint_of(sorted(paths.items()))
    if made or found or gone or held.get("", {}).get("fingerprint") != fingerprint:
        ledger.append_ledger(out, [ledger.ledger_row("predict", "", fingerprint)])
    note = f"{model.name} version {model.version}"
    return StageResult("predict", len(stood), len(made) - bad, 0, bad, note)


def _check(context: StageContext, model: ModelRef) -> None:
    # Before anything is started; every chip is checked again where it is read.
    for other in model.others:
        _check(context, other)
    asks = contract.read_contract(model.folder / CONTRACT)
    asks.check(context.config.bands, asks.gsd_m, "the run file")
    if asks.task != context.config.task:
        raise InputError(
            f"model {model.name} version {model.version} is for task {asks.task}, the run file's is {context.config.task}: "
            f"say `task: {asks.task}` in the run file, or map with another model"
        )
    if asks.task in ("classify", "multilabel") and context.config.tiling.size % asks.size:
        raise InputError(
            f"model {model.name} version {model.version} classifies squares of {asks.size} pixels, and tiles have "
            f"{context.config.tiling.size}: set tiling.size to a multiple of {asks.size}"
        )
    mine = {(c.id, c.name) for c in context.config.make_legend().classes}
    theirs = {(c.id, c.name) for c in asks.legend.classes}
    if mine != theirs:
        raise InputError(
            f"model {model.name} version {model.version} maps {sorted(theirs - mine)} where the run file's legend has "
            f"{sorted(mine - theirs)}: give the run file the model's legend, or train a model for it"
        )


def _keys(context: StageContext) -> list[Row]:
    # The blocks of chips that stand, of this run's tiling and periods, in the part that is chosen.
    config, choice = context.config, context.selection
    tiling, span = make_tiling(config), config.tiling.block
    wanted = {extent.block_of_tile(t, tiling, span) for t in choice.tiles}
    box = area.make_box(choice.bbox) if choice.bbox else None
    prefixes = tuple(f"{period.name}/{tiling.name}/" for period in config.periods)
    keys = []
    for key, row in sorted(ledger.latest(context.out, "tile").items()):
        if row["status"] != "done" or not key.startswith(prefixes):
            continue
        cell = tiling.parse(key.partition("/")[2])
        if wanted and cell not in wanted:
            continue
        if box is not None and not shapely.intersects(
            box, grid.footprint(tiling.grid(*cell, span=span))
        ):
            continue
        keys.append(
            {"key": key} | {name: row[name] for name in ("path", "checksum", "fingerprint")}
        )
    if not keys:
        raise InputError(
            f"{context.out} holds no chips of tiling {tiling.name!r} to map: run `lulc tile` first, or choose other tiles"
        )
    return keys


def _map_block(key: Row, recipe: InferenceSpec) -> list[Row]:
    from lulc.inference.predictor import use_one_core

    use_one_core()
    task = TaskContext.get()
    return [
        row | {"attempt": task.attemptNumber() if task else 0}
        for row in blocks.map_block(key, recipe)
    ]


def _settle(context: StageContext, paths: dict[str, str], held: dict[str, Row]) -> bool:
    # Older files of the blocks worked on go; after a whole run also those of blocks that are no more.
    mine = {
        p.rpartition("/")[2].rpartition(".parquet")[0].rpartition(".")[0] for p in paths.values()
    }
    current = set(paths.values())
    removed = False
    for file in store.table_folder(context.out, blocks.table_of(context.config.task)).glob(
        "[!.]*.parquet"
    ):
        outdated = str(file.relative_to(context.out)) not in current
        if outdated and (context.selection.whole or file.stem.rpartition(".")[0] in mine):
            file.unlink(missing_ok=True)
            removed = True
    dropped = (
        [k for k, r in held.items() if k and k not in paths and r["status"] != "dropped"]
        if context.selection.whole
        else []
    )
    ledger.append_ledger(
        context.out,
        [
            ledger.ledger_row("predict", k, held[k]["fingerprint"], status="dropped")
            for k in dropped
        ],
    )
    return removed or bool(dropped)

"""Detections of a run: boxes of neighbouring tiles merged, one task a block."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lulc.chips.tiling import make_tiling
from lulc.errors import InputError
from lulc.inference.blocks import predictions_path
from lulc.inference.detections import DetectionSpec, write_detections
from lulc.spark.incremental import Row, StageContext, StageResult, run_units
from lulc.tables import files, ledger, store


def detections(context: StageContext) -> StageResult:
    """What was done: the detections of every block whose boxes, or those around it, changed."""
    config, out = context.config, context.out
    recipe = DetectionSpec(out, make_tiling(config), config.tiling.block, config.predict.overlap)
    prefixes = tuple(f"{period.name}/{recipe.tiling.name}/" for period in config.periods)
    found = {
        k: r
        for k, r in ledger.latest(out, "predict").items()
        if k.startswith(prefixes) and r["status"] == "done"
    }
    if not found:
        raise InputError(
            f"{out} holds no boxes of tiling {recipe.tiling.name!r}: run `lulc predict` first"
        )
    keys = [_key(key, found, recipe) for key in sorted(found)]
    held = ledger.latest(out, "rasters")
    to_do = [k for k in keys if not _stands(out, held.get(k["key"]), k)]
    run_units(context, to_do, partial(write_detections, recipe=recipe), "detections")
    current = {out / k["path"] for k in keys}
    for file in store.table_folder(out, "detections").glob("*.parquet"):
        if file not in current:
            file.unlink()
    if to_do:
        ledger.append_ledger(
            out,
            [
                ledger.ledger_row(
                    "rasters", "", files.fingerprint_of([k["fingerprint"] for k in keys])
                )
            ],
        )
    return StageResult(
        "rasters", stood=len(keys) - len(to_do), done=len(to_do), note=f"{_total(out):,} detections"
    )


def _key(key: str, found: dict[str, Row], recipe: DetectionSpec) -> Row:
    period, _, tile_id = key.partition("/")
    col, row = recipe.tiling.parse(tile_id)
    steps = (-recipe.span, 0, recipe.span)
    around = [f"{period}/{recipe.tiling.tile_id(col + x, row + y)}" for y in steps for x in steps]
    rows = [found[other] for other in around if other in found]
    fingerprint = files.fingerprint_of(
        "detections", [r["fingerprint"] for r in rows], recipe.overlap
    )
    paths = [r["path"] for r in rows]
    return {
        "key": key,
        "fingerprint": fingerprint,
        "path": predictions_path(key, fingerprint, "detections"),
        "paths": paths,
    }


def _stands(out: Path, row: Row | None, key: Row) -> bool:
    return (
        row is not None
        and row["fingerprint"] == key["fingerprint"]
        and (out / key["path"]).exists()
    )


def _total(out: Path) -> int:
    return int(store.read_table(out, "detections", ["n"]).num_rows)

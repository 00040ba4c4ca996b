"""The rasters stage: one task a group of tiles whose predictions changed, then the collection and the index of each period."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from lulc.chips.tiling import make_tiling
from lulc.errors import InputError
from lulc.inference import stac
from lulc.inference.class_map import RasterSpec
from lulc.inference.rasters import files_of, group_key, probabilities_path, raster_path, write_group
from lulc.spark.incremental import StageContext, StageResult, run_units
from lulc.spark.stages import detections
from lulc.tables import files, ledger, store

Row = dict[str, Any]


def rasters(context: StageContext) -> StageResult:
    """What the stage did: a COG, its confidence and its STAC item for every group of tiles that is mapped.

    Where things are detected, their boxes merged across tiles instead. It follows the predictions that stand, whatever part of
    the run is chosen.
    """
    config, out = context.config, context.out
    if config.task == "detect":
        return detections.detections(context)
    # A prediction block must not be cut by the border of a raster: the group is rounded up to whole blocks.
    group = -(-config.rasters.group // config.tiling.block) * config.tiling.block
    recipe = RasterSpec(
        out,
        config.name,
        make_tiling(config),
        config.make_legend(),
        group,
        config.periods,
        config.predict.probabilities,
    )
    keys = plan(context, recipe)
    held = ledger.latest(out, "rasters")
    to_do = [key for key in keys if not _stands(recipe, held.get(key["key"]), key)]
    paths = {raster_path(key["key"], config.name) for key in keys}
    stale = _stale(out, paths)
    indexes = [
        out / "rasters/collection.json",
        *(f / f"mosaic.{s}" for f in _folders(out, paths) for s in ("vrt", "qml")),
    ]
    if to_do or stale or not all(index.exists() for index in indexes):
        run_units(context, to_do, partial(write_group, recipe=recipe), "rasters")
        _remove(out, stale)
        _index(recipe, paths)
        fingerprint = files.fingerprint_of([key["fingerprint"] for key in keys])
        ledger.append_ledger(out, [ledger.ledger_row("rasters", "", fingerprint)])
    return StageResult("rasters", stood=len(keys) - len(to_do), done=len(to_do))


def plan(context: StageContext, recipe: RasterSpec) -> list[Row]:
    """A key for every raster: `key`, `fingerprint` and the prediction files `paths` that it is made of."""
    groups: dict[str, list[Row]] = defaultdict(list)
    prefixes = tuple(f"{period.name}/{recipe.tiling.name}/" for period in recipe.periods)
    for key, row in sorted(ledger.latest(context.out, "predict").items()):
        if (
            key.startswith(prefixes)
            and row["status"] == "done"
            and (context.out / row["path"]).exists()
        ):
            period, _, tile_id = key.partition("/")
            groups[group_key(period, *recipe.tiling.parse(tile_id), recipe.group)].append(row)
    if not groups:
        raise InputError(
            f"{context.out} holds no predictions of tiling {recipe.tiling.name!r}: run `lulc predict` first"
        )
    shared = [recipe.legend, recipe.name, recipe.group, recipe.tiling, recipe.periods]
    return [
        {
            "key": key,
            "fingerprint": files.fingerprint_of([row["fingerprint"] for row in rows], *shared),
            "paths": [row["path"] for row in rows],
        }
        for key, rows in sorted(groups.items())
    ]


def _stands(recipe: RasterSpec, row: Row | None, key: Row) -> bool:
    if row is None or row["fingerprint"] != key["fingerprint"]:
        return False
    more = [recipe.out / probabilities_path(row["path"])] if recipe.probabilities else []
    return all(file.exists() for file in (*files_of(recipe.out, row["path"]), *more))


def _folders(out: Path, paths: set[str]) -> set[Path]:
    return {(out / path).parent for path in paths}


def _stale(out: Path, paths: set[str]) -> list[str]:
    # Only what this stage wrote, by its ledger, is ever removed.
    rows = store.read_table(out, "ledger", ["stage", "path"]).to_pylist()
    written = {row["path"] for row in rows if row["stage"] == "rasters" and row["path"]}
    return sorted(path for path in written - paths if (out / path).exists())


def _remove(out: Path, stale: list[str]) -> None:
    for path in stale:
        for file in (*files_of(out, path), out / probabilities_path(path)):
            file.unlink(missing_ok=True)
        folder = (out / path).parent
        if not any(folder.glob("*.tif")):
            for suffix in ("vrt", "qml"):
                (folder / f"mosaic.{suffix}").unlink(missing_ok=True)


def _index(recipe: RasterSpec, paths: set[str]) -> None:
    items = [(recipe.out / path).with_suffix(".json") for path in sorted(paths)]
    for folder in _folders(recipe.out, paths):
        stac.write_mosaic(folder, [item for item in items if item.parent == folder], recipe.legend)
    stac.write_collection(recipe.out, recipe.name, items)

"""Detections of a run: boxes of neighbouring tiles merged, one task a block, and counted by region in Sedona."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema

from lulc import regions, store, tables
from lulc.detections import Recipe, write_block
from lulc.errors import InputError
from lulc.mapping import predictions_path
from lulc.spark.stage import Outcome, Request, Row, ledger_rows
from lulc.tiling import make_tiling

_COUNT = """
    SELECT r.region_id, r.level, r.name, d.period, d.model, d.class_id, d.class_name, count(*) AS detections,
           count(*) / (max(r.area_m2) / 1e6) AS detections_per_km2, avg(d.score) AS mean_score
    FROM {regions} r JOIN {detections} d ON ST_Intersects(ST_GeomFromWKB(r.geometry), ST_Centroid(ST_GeomFromWKB(d.geometry)))
    GROUP BY r.region_id, r.level, r.name, d.period, d.model, d.class_id, d.class_name
    ORDER BY r.level, r.region_id, d.period, d.class_id
"""


def merge(request: Request) -> Outcome:
    """What was done: the detections of every block whose boxes, or those around it, changed."""
    run, out = request.run, request.out
    recipe = Recipe(out, make_tiling(run), run.tiling.block, run.predict.overlap)
    prefixes = tuple(f"{period.name}/{recipe.tiling.name}/" for period in run.periods)
    found = {k: r for k, r in store.standing(out, "predict").items() if k.startswith(prefixes) and r["status"] == "done"}
    if not found:
        raise InputError(f"{out} holds no boxes of tiling {recipe.tiling.name!r}: run `lulc predict` first")
    keys = [_key(key, found, recipe) for key in sorted(found)]
    held = store.standing(out, "rasters")
    to_do = [k for k in keys if not _stands(out, held.get(k["key"]), k)]
    ledger_rows(request, to_do, partial(write_block, recipe=recipe), "detections")
    current = {out / k["path"] for k in keys}
    for file in store.table_folder(out, "detections").glob("*.parquet"):
        if file not in current:
            file.unlink()
    if to_do:
        store.append_ledger(out, [store.entry("rasters", "", store.fingerprint([k["fingerprint"] for k in keys]))])
    return Outcome("rasters", stood=len(keys) - len(to_do), done=len(to_do), note=f"{_total(out):,} detections")


def _key(key: str, found: dict[str, Row], recipe: Recipe) -> Row:
    period, _, tile_id = key.partition("/")
    col, row = recipe.tiling.parse(tile_id)
    steps = (-recipe.span, 0, recipe.span)
    around = [f"{period}/{recipe.tiling.tile_id(col + x, row + y)}" for y in steps for x in steps]
    rows = [found[other] for other in around if other in found]
    print_ = store.fingerprint("detections", [r["fingerprint"] for r in rows], recipe.overlap)
    paths = [r["path"] for r in rows]
    return {"key": key, "fingerprint": print_, "path": predictions_path(key, print_, "detections"), "paths": paths}


def _stands(out: Path, row: Row | None, key: Row) -> bool:
    return row is not None and row["fingerprint"] == key["fingerprint"] and (out / key["path"]).exists()


def _total(out: Path) -> int:
    return int(store.read_table(out, "detections", ["n"]).num_rows)


def count(request: Request) -> Outcome:
    """What was done: the table `detection_counts`, how many detections' centres lie in every region, by class and period."""
    run, out = request.run, request.out
    if not run.regions:
        return Outcome("stats", note="no regions in the run file: nothing to count detections by")
    files = [store.identity(file.path) for file in run.regions]
    found = {k: r["fingerprint"] for k, r in store.standing(out, "rasters").items() if r["status"] == "done"}
    print_ = store.fingerprint("detections", sorted(found.items()), files, run.regions)
    path = store.table_folder(out, "detection_counts") / "part-0.parquet"
    if store.standing(out, "stats").get("", {}).get("fingerprint") == print_ and path.exists():
        return Outcome("stats", stood=1)
    read = regions.read_regions(run.regions)
    regions.write_regions(out, read.table)
    spark = request.spark()
    places = spark.read.parquet(str(store.table_folder(out, "regions") / regions.FILE))
    schema = from_arrow_schema(tables.DETECTIONS)
    detections = spark.read.schema(schema).parquet(str(store.table_folder(out, "detections")))
    table: pa.Table = spark.sql(_COUNT, regions=places, detections=detections).toArrow()
    store.write_table(out, "detection_counts", table.cast(tables.DETECTION_COUNTS))
    bad = [store.entry("stats", f"region:{i}", print_, status="bad", error="its polygon has no area") for i in read.empty]
    done = store.entry("stats", "stats", print_, path=str(path.relative_to(out)), checksum=store.checksum(path))
    store.append_ledger(out, [*bad, done, done | {"key": ""}])
    return Outcome("stats", done=1, bad=len(bad))

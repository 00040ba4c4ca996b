"""What regions hold of things that have a place: detections by their centres, squares of several classes by their ground."""

from __future__ import annotations

from pyspark.sql.pandas.types import from_arrow_schema

from lulc.errors import InputError
from lulc.spark.incremental import StageContext, StageResult
from lulc.stats import regions
from lulc.tables import ledger, schemas, store
from lulc.tables.files import checksum, file_identity, fingerprint_of

# Detections whose centres lie in a region.
_DETECTIONS = """
    SELECT r.region_id, r.level, r.name, d.period, d.model, d.class_id, d.class_name, count(*) AS detections,
           count(*) / (max(r.area_m2) / 1e6) AS detections_per_km2, avg(d.score) AS mean_score
    FROM {regions} r JOIN {things} d ON ST_Intersects(ST_GeomFromWKB(r.geometry), ST_Centroid(ST_GeomFromWKB(d.geometry)))
    GROUP BY r.region_id, r.level, r.name, d.period, d.model, d.class_id, d.class_name
    ORDER BY r.level, r.region_id, d.period, d.class_id
"""
# A square is met by a region once, however many classes it may have.
_PRESENCE = """
    WITH squares AS (
        SELECT period, model, ST_GeomFromWKB(first(footprint)) AS shape,
               array_sort(collect_list(struct(class_id, class_name, probability))) AS classes
        FROM {things} GROUP BY tile_id, period, model, transform
    ), met AS (
        SELECT r.region_id, r.level, r.name, r.area_m2 AS whole_m2, s.period, s.model, s.classes,
               ST_AreaSpheroid(ST_CollectionExtract(ST_Intersection(ST_GeomFromWKB(r.geometry), s.shape), 3)) AS area_m2
        FROM {regions} r JOIN squares s ON ST_Intersects(ST_GeomFromWKB(r.geometry), s.shape)
    )
    SELECT region_id, level, name, period, model, class_id, class_name, sum(area_m2) / max(whole_m2) AS observed_share,
           sum(IF(probability >= 0.5, area_m2, 0)) AS present_m2,
           sum(IF(probability >= 0.5, area_m2, 0)) / sum(area_m2) AS share,
           sum(probability * area_m2) / sum(area_m2) AS mean_probability
    FROM (SELECT *, inline(classes) FROM met WHERE area_m2 > 0)
    GROUP BY region_id, level, name, period, model, class_id, class_name
    ORDER BY level, region_id, period, class_id
"""


def count_detections(context: StageContext) -> StageResult:
    """What was done: the table `detection_counts`, how many detections' centres lie in every region, by class and period."""
    return _tally(context, "detections", "rasters", "detection_counts", _DETECTIONS)


def measure_presence(context: StageContext) -> StageResult:
    """What was done: the table `presence`, the ground of every region that lies in squares where a class is."""
    return _tally(context, "probabilities", "predict", "presence", _PRESENCE)


def _tally(context: StageContext, things: str, stage: str, table: str, query: str) -> StageResult:
    # `table`, by a query of what a stage wrote of `things`.
    config, out = context.config, context.out
    if not config.regions:
        return StageResult("stats", note=f"no regions in the run file: nothing to take {things} by")
    rows = [r for r in ledger.latest(out, stage).values() if r["status"] == "done" and r["path"]]
    rows = [r for r in rows if (out / r["path"]).is_file()]
    if not rows:
        raise InputError(f"{out} holds no {things}: run `lulc {stage}` first")
    files = [file_identity(file.path) for file in config.regions]
    fingerprint = fingerprint_of(
        things, sorted((r["key"], r["fingerprint"]) for r in rows), files, config.regions
    )
    path = store.table_folder(out, table) / "part-0.parquet"
    if ledger.latest(out, "stats").get("", {}).get("fingerprint") == fingerprint and path.exists():
        return StageResult("stats", stood=1)
    read = regions.read_regions(config.regions)
    regions.write_regions(out, read.table)
    spark = context.spark()
    places = spark.read.parquet(str(store.table_folder(out, "regions") / regions.FILE))
    found = spark.read.schema(from_arrow_schema(schemas.ALL[things])).parquet(
        *(str(out / r["path"]) for r in rows)
    )
    store.write_table(
        out,
        table,
        spark.sql(query, regions=places, things=found).toArrow().cast(schemas.ALL[table]),
    )
    bad = [
        ledger.ledger_row(
            "stats", f"region:{i}", fingerprint, status="bad", error="its polygon has no area"
        )
        for i in read.empty
    ]
    done = ledger.ledger_row(
        "stats", "stats", fingerprint, path=str(path.relative_to(out)), checksum=checksum(path)
    )
    ledger.append_ledger(out, [*bad, done, done | {"key": ""}])
    return StageResult("stats", done=1, bad=len(bad))

"""The stats stage of detections and of squares with several classes: counts by region."""

from __future__ import annotations

from dataclasses import replace

from lulc.errors import InputError
from lulc.spark.areas.tables import bad_regions
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import run_whole
from lulc.spark.parquet import read_files, read_parquet
from lulc.stages import OUTPUT_VERSIONS
from lulc.stats import regions
from lulc.tables import layout, schemas, store
from lulc.tables.files import fingerprint_of
from lulc.tables.ledger import LedgerRow, read_done

# Detections whose centres lie in a region.
_DETECTIONS = """
    SELECT r.region_id, r.level, r.name, d.period, d.model, d.class_id, d.class_name,
           count(*) AS detections,
           count(*) / (max(r.area_m2) / 1e6) AS detections_per_km2,
           avg(d.score) AS mean_score
    FROM {regions} r JOIN {things} d
    ON ST_Intersects(ST_GeomFromWKB(r.geometry), ST_Centroid(ST_GeomFromWKB(d.geometry)))
    GROUP BY r.region_id, r.level, r.name, d.period, d.model, d.class_id, d.class_name
    ORDER BY r.level, r.region_id, d.period, d.class_id
"""
# A square meets a region once, however many classes it may have.
_PRESENCE = """
    WITH squares AS (
        SELECT period, model, ST_GeomFromWKB(first(footprint)) AS shape,
               array_sort(collect_list(struct(class_id, class_name, probability))) AS classes
        FROM {things} GROUP BY tile_id, period, model, transform
    ), shared AS (
        SELECT r.region_id, r.level, r.name, r.area_m2 AS region_m2, s.period, s.model, s.classes,
               ST_AreaSpheroid(ST_CollectionExtract(
                   ST_Intersection(ST_GeomFromWKB(r.geometry), s.shape), 3)) AS area_m2
        FROM {regions} r JOIN squares s
        ON ST_Intersects(ST_GeomFromWKB(r.geometry), s.shape)
    )
    SELECT region_id, level, name, period, model, class_id, class_name,
           sum(area_m2) / max(region_m2) AS observed_share,
           sum(IF(probability >= 0.5, area_m2, 0)) AS present_m2,
           sum(IF(probability >= 0.5, area_m2, 0)) / sum(area_m2) AS share,
           sum(probability * area_m2) / sum(area_m2) AS mean_probability
    FROM (SELECT *, inline(classes) FROM shared WHERE area_m2 > 0)
    GROUP BY region_id, level, name, period, model, class_id, class_name
    ORDER BY level, region_id, period, class_id
"""


def count_detections(context: StageContext) -> StageResult:
    """Write `detection_counts`: detections by the region of their centre, class and period."""
    return _count_by_region(context, "detections", "rasters", "detection_counts", _DETECTIONS)


def measure_presence(context: StageContext) -> StageResult:
    """Write `presence`: the ground of every region in squares where a class is present."""
    return _count_by_region(context, "probabilities", "predict", "presence", _PRESENCE)


def _count_by_region(
    context: StageContext, source: str, stage: str, table: str, query: str
) -> StageResult:
    # `table` by a query of the regions and of the table `source`, which `stage` wrote.
    config, out = context.config, context.out
    if not config.regions:
        return StageResult("stats", note=f"no regions in the run file to take {source} by")
    rows = read_done(out, stage)
    if not rows:
        raise InputError(f"{out} holds no {source}: run `lulc {stage}` first")
    identities = [*zip(rows, rows.column("fingerprint"), strict=True)]
    region_files = regions.region_identities(config.regions)
    fingerprint = fingerprint_of(
        OUTPUT_VERSIONS["stats"], source, identities, region_files, config.regions
    )

    notes: list[str] = []

    def write_table(bad: dict[str, LedgerRow]) -> None:
        region_set = regions.read_regions(config.regions)
        notes.extend(region_set.notes)
        bad |= bad_regions(region_set, fingerprint)
        regions.write_regions(out, region_set.table)
        spark = context.spark()
        region_frame = read_parquet(spark, [out / layout.table_file("regions")], schemas.REGIONS)
        source_rows = read_files(spark, out, rows.column("path"), schemas.ALL[source])
        counts = spark.sql(query, regions=region_frame, things=source_rows).toArrow()
        store.write_table(out, table, counts.cast(schemas.ALL[table]))

    result = run_whole(context, "stats", fingerprint, layout.table_file(table), write_table)
    return replace(result, note="; ".join(notes))

"""stats: areas by class of every region and period, from the joined tiles and regions; the balance closes or the stage fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, collect_list, expr, struct
from pyspark.sql.pandas.types import from_arrow_schema

from lulc import areas, pixels, progress, regions, store, tables
from lulc.conf import Run
from lulc.errors import InputError
from lulc.geo import degrees_area
from lulc.spark import detections
from lulc.spark.stage import Outcome, Request

# Sums that do not depend on the order in which tasks end, so that a rerun gives the same figures to the last digit.
_SUM = "aggregate(array_sort(collect_list({0})), 0D, (a, b) -> a + b) AS {0}"

_KEYS = ["position", "period", "model"]
_TILE = ["period", "model", "crs", "transform", "height", "width", "xmin", "ymin", "xmax", "ymax"]
# Boxes a little larger than the footprints, whose sides are chords: no pair is missed, and one too many counts nothing.
_PAIRS = """
    SELECT t.file_name, t.row_index, r.position, t.period, t.model, t.crs, t.transform, t.height, t.width
    FROM (SELECT *, 0.001 * (xmax - xmin + ymax - ymin) AS margin FROM {tiles}) t JOIN {regions} r
    ON ST_Intersects(ST_GeomFromWKB(r.geometry),
                     ST_PolygonFromEnvelope(t.xmin - t.margin, t.ymin - t.margin, t.xmax + t.margin, t.ymax + t.margin))
"""


def stats(request: Request) -> Outcome:
    """Class areas of every region, period and model; InputError naming regions whose areas do not add up to their true area."""
    if request.run.task == "detect":
        return detections.count(request)
    predictions = _predictions(request.out)
    files = [store.identity(file.path) for file in request.run.regions]
    legend = request.run.make_legend()
    print_ = store.fingerprint(sorted(r["fingerprint"] for r in predictions), files, request.run.regions, legend)
    rows = store.standing(request.out, "stats")
    path = store.table_folder(request.out, "class_areas") / "part-0.parquet"
    if rows.get("", {}).get("fingerprint") == print_ and path.exists():
        return Outcome("stats", stood=1, bad=sum(r["status"] == "bad" and r["fingerprint"] == print_ for r in rows.values()))
    paths = [request.out / r["path"] for r in predictions]
    found = regions.read_regions(request.run.regions) if request.run.regions else _whole_map(request.run, paths)
    regions.write_regions(request.out, found.table)
    inside, outside = _measure(request.spark(), request.out, paths, print_)
    table = areas.balance(inside, outside, found.table, legend)
    store.write_table(request.out, "class_areas", table)
    bad = [store.entry("stats", f"region:{i}", print_, status="bad", error="its polygon has no area") for i in found.empty]
    done = store.entry("stats", "stats", print_, path=str(path.relative_to(request.out)), checksum=store.checksum(path))
    store.append_ledger(request.out, [*bad, done, done | {"key": ""}])
    return Outcome("stats", done=1, bad=len(bad), note=_note(request.run, found, inside))


def _predictions(out: Path) -> list[dict[str, Any]]:
    # Only what the ledger lists counts.
    rows = [r for r in store.standing(out, "predict").values() if r["status"] == "done" and r["path"]]
    rows = [r for r in rows if (out / r["path"]).is_file()]
    if not rows:
        raise InputError(f"{out} has no predictions to take areas from: run `lulc predict` first")
    return rows


def _whole_map(run: Run, paths: Sequence[Path]) -> regions.Found:
    columns = ["crs", "transform", "height", "width"]
    grids = {pixels.grid_from(row) for path in paths for row in pq.ParquetFile(path).read(columns).to_pylist()}
    geometry = areas.unite(sorted(grids, key=str))
    values = ("map", regions.MAP_LEVEL, run.name, shapely.to_wkb(geometry), degrees_area(geometry))
    row = dict(zip(tables.REGIONS.names, values, strict=True))
    return regions.Found(pa.Table.from_pylist([row], tables.REGIONS), (), ())


def _note(run: Run, found: regions.Found, inside: pa.Table) -> str:
    parts = [] if run.regions else ["no regions in the run file: areas of the whole map"]
    if found.repaired:
        parts.append(f"{len(found.repaired)} self-crossing polygons repaired ({', '.join(found.repaired[:3])})")
    missed = found.table.num_rows - len(inside["position"].unique())
    if missed:
        parts.append(f"{missed} of {found.table.num_rows} regions lie outside the map")
    return "; ".join(parts)


def _measure(spark: SparkSession, out: Path, paths: Sequence[Path], fingerprint: str) -> tuple[pa.Table, pa.Table]:
    # Keys alone pass through Spark (a tile's file and row group, a region's position); workers read pixels and polygons.
    kept = store.table_folder(out, "regions") / regions.FILE
    read = partial(regions.read_region, str(kept), fingerprint)
    tiles = spark.read.parquet(*map(str, paths)).select("_metadata.file_name", "_metadata.row_index", *_TILE)
    shapes = spark.read.parquet(str(kept)).select(col("_metadata.row_index").alias("position"), "geometry")
    pairs = spark.sql(_PAIRS, tiles=tiles, regions=shapes).persist()
    try:
        with progress.spark(spark.sparkContext, len(paths), "stats"):
            # One task a file, as far as chance allows.
            blocks = pairs.groupBy("file_name").agg(collect_list(struct("row_index", "position")).alias("pairs"))
            count = partial(_count_block, store.table_folder(out, "predictions"), read)
            rows = _map_rows(blocks.repartition(len(paths)), count, areas.INSIDE).groupBy(*_KEYS, "class_id")
            inside = rows.agg(*(expr(_SUM.format(name)) for name in ("pixels", "area_m2"))).toArrow()
        grids = pairs.groupBy(*_KEYS).agg(collect_list(struct("crs", "transform", "height", "width")).alias("grids"))
        asked = shapes.select("position").crossJoin(tiles.select("period", "model").distinct()).join(grids, _KEYS, "left")
        asked = asked.repartitionByRange(pq.ParquetFile(kept).num_row_groups, "position").sortWithinPartitions("position")
        outside = _map_rows(asked, partial(_measure_outside, read), areas.OUTSIDE).toArrow()
    finally:
        pairs.unpersist()
    return inside.cast(areas.INSIDE), outside.cast(areas.OUTSIDE)


def _map_rows(frame: DataFrame, work: Callable[[dict[str, Any]], list[dict[str, Any]]], schema: pa.Schema) -> DataFrame:
    def batches(incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in incoming:
            yield pa.RecordBatch.from_pylist([made for row in batch.to_pylist() for made in work(row)], schema)

    return frame.mapInArrow(batches, from_arrow_schema(schema))


def _count_block(folder: Path, read: areas.Regions, block: dict[str, Any]) -> list[dict[str, Any]]:
    return areas.count_block(folder / block["file_name"], [(p["row_index"], p["position"]) for p in block["pairs"]], read)


def _measure_outside(read: areas.Regions, asked: dict[str, Any]) -> list[dict[str, Any]]:
    grids = [pixels.grid_from(grid) for grid in asked["grids"] or ()]
    area, slack = areas.measure_outside(read(asked["position"])[1], grids)
    return [{name: asked[name] for name in _KEYS} | {"area_m2": area, "slack_m2": slack}]

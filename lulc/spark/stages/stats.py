"""stats: areas by class of every region and period, from the joined tiles and regions; the balance closes or the stage fails."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, collect_list, expr, struct
from pyspark.sql.pandas.types import from_arrow_schema

from lulc import progress
from lulc.config import Config, MapFiles
from lulc.errors import InputError, UsageError
from lulc.geo.areas import degrees_area
from lulc.legend import NODATA
from lulc.spark.incremental import StageContext, StageResult
from lulc.spark.stages import located
from lulc.stats import class_rasters, landscape, regions, zonal
from lulc.stats.class_rasters import ClassRaster
from lulc.tables import arrays, ledger, schemas, store
from lulc.tables import files as tables_files
from lulc.tables.files import checksum, file_identity

Count = Callable[[zonal.Regions, str, list[tuple[int, int]]], list[dict[str, Any]]]

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


def stats(context: StageContext) -> StageResult:
    """Class areas of every region, period and model; InputError naming regions whose areas do not add up to their true area."""
    if context.config.task == "detect":
        return located.count_detections(context)
    if context.config.task == "multilabel":
        return located.measure_presence(context)
    if context.config.maps:
        return _stats_of_maps(context)
    predictions = _predictions(context.out)
    files = [file_identity(file.path) for file in context.config.regions]
    legend = context.config.make_legend()
    maps = _rasters(context)
    drawn = [ledger.latest(context.out, "rasters")[""]["fingerprint"]] if maps else []
    fingerprint = tables_files.fingerprint_of(
        sorted(r["fingerprint"] for r in predictions),
        files,
        context.config.regions,
        context.config.stats,
        legend,
        drawn,
    )
    rows = ledger.latest(context.out, "stats")
    path = store.table_folder(context.out, "class_areas") / "part-0.parquet"
    if rows.get("", {}).get("fingerprint") == fingerprint and path.exists():
        return StageResult(
            "stats",
            stood=1,
            bad=sum(
                r["status"] == "bad" and r["fingerprint"] == fingerprint for r in rows.values()
            ),
        )
    paths = [context.out / r["path"] for r in predictions]
    found = (
        regions.read_regions(context.config.regions)
        if context.config.regions
        else _whole_map(context.config, paths)
    )
    regions.write_regions(context.out, found.table)
    spark, names = context.spark(), {c.id: c.name for c in legend.classes}
    columns = spark.read.parquet(*map(str, paths)).select(
        "_metadata.file_name", "_metadata.row_index", *_TILE
    )
    count = partial(
        _count_block, store.table_folder(context.out, "predictions"), context.config.stats.confident
    )
    measured = _measure(spark, context.out, Tiles(columns, count), fingerprint)
    table = zonal.balance(measured.inside, measured.outside, found.table, names)
    store.write_table(context.out, "class_areas", table)
    if maps:
        drawn_maps = _measure_maps(spark, context, class_rasters.scan_rasters(maps), fingerprint)
        _write_maps(context, drawn_maps, found.table, names)
    bad = [
        ledger.ledger_row(
            "stats", f"region:{i}", fingerprint, status="bad", error="its polygon has no area"
        )
        for i in found.empty
    ]
    done = ledger.ledger_row(
        "stats",
        "stats",
        fingerprint,
        path=str(path.relative_to(context.out)),
        checksum=checksum(path),
    )
    ledger.append_ledger(context.out, [*bad, done, done | {"key": ""}])
    return StageResult(
        "stats", done=1, bad=len(bad), note=_note(context.config, found, measured.inside)
    )


def _rasters(context: StageContext) -> list[MapFiles]:
    # The class rasters, if of the predictions that stand: of two periods or more, or of any where landscapes are asked for.
    made, mapped = (ledger.latest(context.out, stage).get("") for stage in ("rasters", "predict"))
    if made is None or mapped is None or made["finished"] < mapped["finished"]:
        return []
    maps = [
        MapFiles(str(context.out / "rasters" / p.name / "*.tif"), p.name)
        for p in context.config.periods
    ]
    there = [one for one in maps if glob.glob(one.path)]
    return there if len(there) > (0 if context.config.stats.landscape else 1) else []


def _predictions(out: Path) -> list[dict[str, Any]]:
    # Only what the ledger lists counts.
    rows = [
        r for r in ledger.latest(out, "predict").values() if r["status"] == "done" and r["path"]
    ]
    rows = [r for r in rows if (out / r["path"]).is_file()]
    if not rows:
        raise InputError(f"{out} has no predictions to take areas from: run `lulc predict` first")
    return rows


def _whole_map(config: Config, paths: Sequence[Path]) -> regions.Found:
    columns = ["crs", "transform", "height", "width"]
    grids = {
        arrays.grid_from(row)
        for path in paths
        for row in pq.ParquetFile(path).read(columns).to_pylist()
    }
    geometry = zonal.unite(tuple(sorted(grids, key=str)))
    values = (
        "map",
        regions.MAP_LEVEL,
        config.name,
        shapely.to_wkb(geometry),
        degrees_area(geometry),
    )
    row = dict(zip(schemas.REGIONS.names, values, strict=True))
    return regions.Found(pa.Table.from_pylist([row], schemas.REGIONS), (), ())


def _note(config: Config, found: regions.Found, inside: pa.Table) -> str:
    parts = [] if config.regions else ["no regions in the run file: areas of the whole map"]
    if found.repaired:
        parts.append(
            f"{len(found.repaired)} self-crossing polygons repaired ({', '.join(found.repaired[:3])})"
        )
    missed = found.table.num_rows - len(inside["position"].unique())
    if missed:
        parts.append(f"{missed} of {found.table.num_rows} regions lie outside the map")
    return "; ".join(parts)


@dataclass(frozen=True)
class Tiles:
    """What is measured: a row a tile (file_name, row_index and _TILE), and the count of INSIDE rows of one file.

    count(regions, file's name, pairs of row_index and position); survey, where asked for, gives rows of patches.PARTS.
    """

    frame: DataFrame
    count: Count
    survey: Count | None = None


@dataclass(frozen=True)
class Measured:
    """INSIDE and OUTSIDE rows, and patches.FOUND rows where they were asked for."""

    inside: pa.Table
    outside: pa.Table
    patches: pa.Table | None


def _stats_of_maps(context: StageContext) -> StageResult:
    """Class areas and transitions of class rasters made elsewhere."""
    config, out = context.config, context.out
    if not config.regions:
        raise UsageError(
            "areas of class rasters are taken by region: give `regions:` (--regions FILE)"
        )
    sources = class_rasters.scan_rasters(config.maps)
    files = [
        file_identity(path)
        for path in [*(f.path for f in config.regions), *(s.path for s in sources)]
    ]
    fingerprint = tables_files.fingerprint_of(
        "maps", files, config.regions, config.maps, config.stats, config.legend
    )
    known = ledger.latest(out, "stats").get("", {})
    if (
        known.get("fingerprint") == fingerprint
        and (store.table_folder(out, "class_areas") / "part-0.parquet").exists()
    ):
        return StageResult("stats", stood=1)
    found = regions.read_regions(config.regions)
    regions.write_regions(out, found.table)
    # Kept for the next year's maps, as long as the regions stay the same.
    kept = store.table_folder(out, "intersections") / tables_files.fingerprint_of(
        [file_identity(f.path) for f in config.regions], config.regions
    )
    for other in kept.parent.glob("*"):
        if other != kept:
            shutil.rmtree(other)
    measured = _measure_maps(context.spark(), context, sources, fingerprint, kept)
    plain = measured.inside.filter(_is_plain(measured.inside))
    seen = {i for i in measured.inside["class_id"].unique().to_pylist() if i < NODATA}
    names = {i: f"class {i}" for i in seen} | {i: name for s in sources for i, name in s.names}
    names |= {i: c.name for i, c in config.legend.items()}
    store.write_table(
        out, "class_areas", zonal.balance(plain, measured.outside, found.table, names)
    )
    _write_maps(context, measured, found.table, names)
    bad = [
        ledger.ledger_row(
            "stats", f"region:{i}", fingerprint, status="bad", error="its polygon has no area"
        )
        for i in found.empty
    ]
    ledger.append_ledger(out, [*bad, ledger.ledger_row("stats", "", fingerprint)])
    return StageResult("stats", done=1, bad=len(bad), note=_note(config, found, plain))


def _write_maps(
    context: StageContext, measured: Measured, found: pa.Table, names: dict[int, str]
) -> None:
    pairs = measured.inside.filter(pc.invert(_is_plain(measured.inside)))
    store.write_table(context.out, "transitions", zonal.transitions(pairs, found, names))
    if measured.patches is not None:
        store.write_table(
            context.out, "landscape", landscape.landscape_table(measured.patches, found, names)
        )


def _is_plain(inside: pa.Table) -> pa.ChunkedArray:
    return pc.invert(pc.match_substring(inside["period"], zonal.BETWEEN))


def _measure_maps(
    spark: SparkSession,
    context: StageContext,
    sources: tuple[ClassRaster, ...],
    fingerprint: str,
    kept: Path | None = None,
) -> Measured:
    frame = spark.createDataFrame(pa.Table.from_pylist(class_rasters.blocks(sources)))
    count, survey = (
        partial(_of_map, work, sources, kept)
        for work in (class_rasters.count_map_block, class_rasters.scan_block)
    )
    return _measure(
        spark,
        context.out,
        Tiles(frame, count, survey if context.config.stats.landscape else None),
        fingerprint,
    )


def _of_map(
    work: Callable[..., list[dict[str, Any]]],
    sources: tuple[ClassRaster, ...],
    kept: Path | None,
    read: zonal.Regions,
    name: str,
    pairs: list[tuple[int, int]],
) -> list[dict[str, Any]]:
    return work(name, {position for _, position in pairs}, sources, read, kept)


def _measure(spark: SparkSession, out: Path, tiles: Tiles, fingerprint: str) -> Measured:
    # Keys alone pass through Spark (a tile's file and row group, a region's position); workers read pixels and polygons.
    kept = store.table_folder(out, "regions") / regions.FILE
    read = partial(regions.read_region, str(kept), fingerprint)
    shapes = spark.read.parquet(str(kept)).select(
        col("_metadata.row_index").alias("position"), "geometry"
    )
    pairs = spark.sql(_PAIRS, tiles=tiles.frame, regions=shapes).persist()
    try:
        blocks = pairs.groupBy("file_name").agg(
            collect_list(struct("row_index", "position")).alias("pairs")
        )
        met = max(1, pairs.select("file_name").distinct().count())
        with progress.spark(spark.sparkContext, met, "stats"):
            # One task a file that some region meets, as far as chance allows.
            files = blocks.repartition(met)
            rows = _map_rows(files, partial(_on_file, tiles.count, read), zonal.INSIDE).groupBy(
                *_KEYS, "class_id"
            )
            inside = rows.agg(*(expr(_SUM.format(name)) for name in zonal.SUMS)).toArrow()
            found = (
                _join_patches(files, partial(_on_file, tiles.survey, read))
                if tiles.survey
                else None
            )
        grids = pairs.groupBy(*_KEYS).agg(
            collect_list(struct("crs", "transform", "height", "width")).alias("grids")
        )
        asked = (
            shapes.select("position")
            .crossJoin(tiles.frame.select("period", "model").distinct())
            .join(grids, _KEYS, "left")
        )
        # A task costs a tenth of a second whatever it does, so that one a row group would be most of the time of many regions.
        tasks = min(pq.ParquetFile(kept).num_row_groups, 16 * spark.sparkContext.defaultParallelism)
        asked = asked.repartitionByRange(tasks, "position").sortWithinPartitions("position")
        outside = _map_rows(asked, partial(_measure_outside, read), zonal.OUTSIDE).toArrow()
    finally:
        pairs.unpersist()
    return Measured(inside.cast(zonal.INSIDE), outside.cast(zonal.OUTSIDE), found)


def _join_patches(
    files: DataFrame, survey: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> pa.Table:
    names = [name for name in landscape.PARTS.names if name not in ("position", "period")]
    parts = _map_rows(files, survey, landscape.PARTS).groupBy("position", "period")
    whole = parts.agg(collect_list(struct(*names)).alias("parts"))
    return _map_rows(whole, _join_region, landscape.FOUND).toArrow().cast(landscape.FOUND)


def _join_region(region: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"position": region["position"], "period": region["period"]} | row
        for row in landscape.join_part_rows(region["parts"])
    ]


def _on_file(work: Count, read: zonal.Regions, block: dict[str, Any]) -> list[dict[str, Any]]:
    return work(read, block["file_name"], [(p["row_index"], p["position"]) for p in block["pairs"]])


def _map_rows(
    frame: DataFrame, work: Callable[[dict[str, Any]], list[dict[str, Any]]], schema: pa.Schema
) -> DataFrame:
    def batches(incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in incoming:
            yield pa.RecordBatch.from_pylist(
                [made for row in batch.to_pylist() for made in work(row)], schema
            )

    return frame.mapInArrow(batches, from_arrow_schema(schema))


def _count_block(
    folder: Path, confident: float, read: zonal.Regions, name: str, pairs: list[tuple[int, int]]
) -> list[dict[str, Any]]:
    return zonal.count_block(folder / name, pairs, read, confident)


def _measure_outside(read: zonal.Regions, asked: dict[str, Any]) -> list[dict[str, Any]]:
    grids = sorted(
        (arrays.grid_from(grid) for grid in asked["grids"] or ()), key=attrgetter("transform")
    )
    area, slack = zonal.measure_outside(read(asked["position"])[1], grids)
    return [{name: asked[name] for name in _KEYS} | {"area_m2": area, "slack_m2": slack}]

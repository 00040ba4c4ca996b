"""Regions joined with tiles in Sedona; workers measure what each tile holds of each region."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.functions import array_sort, collect_list, expr, struct

from lulc import progress
from lulc.location import Location
from lulc.spark.context import StageContext
from lulc.spark.kept import keep_rows
from lulc.spark.parquet import read_parquet
from lulc.spark.workers import map_frame
from lulc.stats import landscape, zonal
from lulc.stats.regions import Region, read_region
from lulc.tables import layout, schemas
from lulc.tables.arrays import grid_from
from lulc.tables.files import open_parquet

type RegionAt = Callable[[int], Region]
type Pairs = Sequence[tuple[int, int]]
"""(row group, region position) of tiles and regions that may overlap."""
type Rows = list[dict[str, Any]]

SUM = "aggregate(array_sort(collect_list({0})), 0D, (a, b) -> a + b) AS {0}"
"""A sum that does not depend on the order in which tasks end: a rerun gives the same digits."""
_KEYS = ["position", "period", "model"]
GRID_COLUMNS = ["crs", "transform", "height", "width"]
# Boxes a little larger than the footprints, whose sides are chords: no pair is missed, and one too
# many counts nothing.
_PAIRS = """
    SELECT t.file_name, t.row_index, r.position, t.period, t.model,
           t.crs, t.transform, t.height, t.width
    FROM (SELECT *, 0.001 * (xmax - xmin + ymax - ymin) AS margin FROM {tiles}) t JOIN {regions} r
    ON ST_Intersects(ST_GeomFromWKB(r.geometry),
                     ST_PolygonFromEnvelope(t.xmin - t.margin, t.ymin - t.margin,
                                            t.xmax + t.margin, t.ymax + t.margin))
"""
_TASKS_A_CORE = 64
TILE_COLUMNS = ["period", "model", *GRID_COLUMNS, "xmin", "ymin", "xmax", "ymax"]


@dataclass(frozen=True)
class Tiles:
    """The tiles to measure and how a worker measures those of one file."""

    frame: DataFrame
    """A row a tile: `file_name`, `row_index` and TILE_COLUMNS; `file_name` is what `count` and
    `scan` know its file, or its block of a raster, by."""
    count: Callable[[str, Pairs, RegionAt], Rows]
    """Returns `zonal.INSIDE` rows of the file of that name."""
    scan: Callable[[str, Pairs, RegionAt], Rows] | None = None
    """Returns `landscape.PARTS` rows of it; None where patches are not asked for."""
    any_turn: bool = True
    """As for `zonal.count_block`."""


@dataclass(frozen=True)
class Measured:
    """What regions hold of tiles."""

    inside: pa.Table
    """`zonal.INSIDE` rows."""
    outside: pa.Table
    """`zonal.OUTSIDE` rows."""
    patches: pa.Table | None
    """`landscape.PATCH_TOTALS` rows, where they were asked for."""


def measure_regions(context: StageContext, tiles: Tiles, fingerprint: str) -> Measured:
    """Measure the regions table's regions on tiles.

    Keys alone pass through Spark: a tile's file and row group, a region's position. Workers read
    pixels and polygons.

    Args:
        context: the run whose regions table is written.
        tiles: the tiles.
        fingerprint: tells this regions table from another that workers may hold, and what was
            kept of these tiles from what was of others.
    """
    spark, path = context.spark(), str(context.out / layout.table_file("regions"))
    region_at = partial(read_region, path, fingerprint)
    columns = ("row_index", "geometry")
    # Without a schema Spark would start a job to find it.
    regions = read_parquet(
        spark, [context.out / layout.table_file("regions")], schemas.REGIONS, columns
    ).withColumnRenamed("row_index", "position")
    with persisted(spark.sql(_PAIRS, tiles=tiles.frame, regions=regions)) as pairs:
        kept_folder = context.out / layout.kept_folder("stats", fingerprint)
        inside_rows, patches = _measure_inside(pairs, tiles, region_at, kept_folder)
        outside_rows = _measure_outside(pairs, tiles, regions, region_at, path)
    return Measured(inside_rows, outside_rows, patches)


@contextlib.contextmanager
def persisted(frame: DataFrame) -> Iterator[DataFrame]:
    """Yield a frame whose rows are made once, and let go of them at the end."""
    frame.persist()
    try:
        yield frame
    finally:
        frame.unpersist()


def _measure_inside(
    pairs: DataFrame, tiles: Tiles, region_at: RegionAt, kept_folder: Location
) -> tuple[pa.Table, pa.Table | None]:
    context = pairs.sparkSession.sparkContext
    # One task a file that some region meets, as far as chance allows; of many files several.
    file_count = max(1, pairs.select("file_name").distinct().count())
    tasks = min(file_count, _TASKS_A_CORE * context.defaultParallelism)
    of_file = array_sort(collect_list(struct("row_index", "position")))
    by_file = pairs.groupBy("file_name").agg(of_file.alias("pairs"))
    with progress.spark(context, tasks, "stats"):
        files = by_file.repartition(tasks)
        count = keep_rows(
            partial(_of_file, tiles.count, region_at), kept_folder / "inside", zonal.INSIDE
        )
        rows = map_frame(files, count, zonal.INSIDE)
        sums = [expr(SUM.format(name)) for name in zonal.SUMS]
        inside_rows = rows.groupBy(*_KEYS, "class_id").agg(*sums).toArrow().cast(zonal.INSIDE)
        if tiles.scan is None:
            return inside_rows, None
        scan = keep_rows(
            partial(_of_file, tiles.scan, region_at), kept_folder / "patches", landscape.PARTS
        )
        return inside_rows, _join_patches(map_frame(files, scan, landscape.PARTS))


def _of_file(
    work: Callable[[str, Pairs, RegionAt], Rows], region_at: RegionAt, file: dict[str, Any]
) -> Rows:
    pairs = [(pair["row_index"], pair["position"]) for pair in file["pairs"]]
    return work(file["file_name"], pairs, region_at)


def _join_patches(patch_parts: DataFrame) -> pa.Table:
    columns = [name for name in landscape.PARTS.names if name not in ("position", "period")]
    by_region = patch_parts.groupBy("position", "period").agg(
        collect_list(struct(*columns)).alias("parts")
    )
    totals = map_frame(by_region, _join_region, landscape.PATCH_TOTALS)
    return totals.toArrow().cast(landscape.PATCH_TOTALS)


def _join_region(region: dict[str, Any]) -> Rows:
    key = {"position": region["position"], "period": region["period"]}
    return [key | row for row in landscape.join_part_rows(region["parts"])]


def _measure_outside(
    pairs: DataFrame, tiles: Tiles, regions: DataFrame, region_at: RegionAt, path: str
) -> pa.Table:
    grids = pairs.groupBy(*_KEYS).agg(collect_list(struct(*GRID_COLUMNS)).alias("grids"))
    maps = tiles.frame.select("period", "model").distinct()
    keys = regions.select("position").crossJoin(maps).join(grids, _KEYS, "left")
    # A task costs a tenth of a second whatever it does; one a row group would be most of the time
    # of many regions.
    parallelism = pairs.sparkSession.sparkContext.defaultParallelism
    tasks = min(open_parquet(path).num_row_groups, 16 * parallelism)
    ordered = keys.repartitionByRange(tasks, "position").sortWithinPartitions("position")
    outside = partial(_outside_of_tiles, region_at, tiles.any_turn)
    rows = map_frame(ordered, outside, zonal.OUTSIDE)
    return rows.toArrow().cast(zonal.OUTSIDE)


def _outside_of_tiles(region_at: RegionAt, any_turn: bool, key: dict[str, Any]) -> Rows:
    grids = sorted((grid_from(grid) for grid in key["grids"] or ()), key=attrgetter("transform"))
    geometry = region_at(key["position"]).geometry
    area, slack = zonal.measure_outside(geometry, grids, any_turn)
    return [{name: key[name] for name in _KEYS} | {"area_m2": area, "slack_m2": slack}]

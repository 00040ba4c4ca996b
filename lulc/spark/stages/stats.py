"""The stats stage: areas by class of every region and period; they balance or the stage fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from pyspark.sql import DataFrame

from lulc.config import Config
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.location import Location
from lulc.spark.areas import region_counts
from lulc.spark.areas.cells import fingerprint_of_cells, write_cell_areas
from lulc.spark.areas.class_rasters import stats_of_rasters, write_raw_areas
from lulc.spark.areas.measure import (
    GRID_COLUMNS,
    TILE_COLUMNS,
    Pairs,
    RegionAt,
    Rows,
    Tiles,
    measure_regions,
    persisted,
)
from lulc.spark.areas.tables import (
    bad_regions,
    coverage_note,
    raster_tiles,
    write_areas,
    write_transitions,
)
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import run_whole
from lulc.spark.parquet import read_files
from lulc.spark.stages.rasters import own_maps
from lulc.stages import OUTPUT_VERSIONS, mapping_stage
from lulc.stats import class_rasters, regions, zonal
from lulc.stats.class_areas import MapTiles
from lulc.stats.whole_map import whole_map_region
from lulc.tables import files, layout, schemas, store
from lulc.tables.arrays import grid_from
from lulc.tables.files import fingerprint_of, open_parquet
from lulc.tables.ledger import LedgerRow, read_done, read_seal

_CLASS_AREAS = layout.table_file("class_areas")


def stats(context: StageContext) -> StageResult:
    """Take the areas of classes by region, period and model, and what changed between periods.

    Raises:
        InputError: there is no map, or a region's areas do not add up to its true area.
        UsageError: class rasters of other origin without regions.
    """
    if context.config.task == "detect":
        return region_counts.count_detections(context)
    if context.config.task == "multilabel":
        return region_counts.measure_presence(context)
    as_given = context.config.maps_as_given
    return stats_of_rasters(context) if as_given else _of_predictions(context)


def _of_predictions(context: StageContext) -> StageResult:
    config, out = context.config, context.out
    stage = mapping_stage(config)
    predictions = read_done(out, stage)
    if not predictions:
        raise InputError(f"{out} has no predictions to take areas from: run `lulc {stage}` first")
    # What changed takes two periods or more, landscapes one.
    is_mapped = read_seal(out, stage) is not None
    maps = own_maps(context, 1 if config.stats.landscape else 2) if is_mapped else []
    rasters = read_seal(out, "rasters") if maps else None
    fingerprint = fingerprint_of(
        OUTPUT_VERSIONS["stats"],
        sorted(predictions.column("fingerprint")),
        regions.region_identities(config.regions),
        config.regions,
        config.stats,
        config.make_legend(),
        [rasters.fingerprint] if rasters else [],
        *fingerprint_of_cells(config.stats),
    )
    notes: list[str] = []

    def write_tables(bad: dict[str, LedgerRow]) -> None:
        paths = predictions.column("path")
        any_turn = _is_like_raster(config)
        names = {c.id: c.name for c in config.make_legend().classes}
        with persisted(_tiles_of(context, paths)) as tiles:
            region_set = (
                regions.read_regions(config.regions)
                if config.regions
                else whole_map_region(config.name, tiles.select(*GRID_COLUMNS).toArrow(), any_turn)
            )
            bad |= bad_regions(region_set, fingerprint)
            regions.write_regions(out, region_set.table)
            counted = _count_tiles(context, tiles)
            measured = measure_regions(context, counted, fingerprint)
            write_cell_areas(context, counted, names, fingerprint)
        map_tiles = MapTiles(partial(_list_tiles, out, paths), of_run=True)
        write_areas(context, measured.inside, measured.outside, region_set.table, names, map_tiles)
        if config.refine and config.maps:
            write_raw_areas(context, region_set.table, names, fingerprint_of(fingerprint, "raw"))
        elif config.refine:
            predicted = _tiles_of(context, read_done(out, "predict").column("path"))
            raw_tiles = _count_tiles(context, predicted)
            raw = measure_regions(context, raw_tiles, fingerprint_of(fingerprint, "raw"))
            tables = raw.inside, raw.outside, region_set.table
            write_areas(context, *tables, names, map_tiles, "raw_class_areas")
        else:
            files.remove(out / layout.table_file("raw_class_areas"))
        if maps:
            scanned = class_rasters.scan_rasters(maps, legend=names)
            changes = measure_regions(context, raster_tiles(context, scanned), fingerprint)
            write_transitions(context, changes, region_set.table, names)
        else:
            # Those of before are of another map.
            for name in ("transitions", "landscape"):
                files.remove(out / layout.table_file(name))
        notes.append(coverage_note(context, region_set, measured.inside))

    result = run_whole(context, "stats", fingerprint, _CLASS_AREAS, write_tables)
    return replace(result, note="; ".join(filter(None, notes)))


def _is_like_raster(config: Config) -> bool:
    # Whether the tiles are those of a raster, which may lie beyond 180.
    return config.tiling.like is not None or bool(config.maps)


def _tiles_of(context: StageContext, paths: list[str]) -> DataFrame:
    columns = ("place", "row_index", *TILE_COLUMNS)
    frame = read_files(context.spark(), context.out, paths, schemas.PREDICTIONS, columns)
    return frame.withColumnRenamed("place", "file_name")


def _count_tiles(context: StageContext, tiles: DataFrame) -> Tiles:
    any_turn, confident = _is_like_raster(context.config), context.config.stats.confident
    count = partial(_count_file, out=context.out, min_confidence=confident, any_turn=any_turn)
    return Tiles(tiles, count, any_turn=any_turn)


def _list_tiles(out: Location, paths: list[str], period: str) -> Iterator[tuple[str, Grid]]:
    # File and id, and grid, of the tiles of a period.
    for location in (out / path for path in paths):
        columns = ["tile_id", "period", "crs", "transform", "height", "width"]
        for row in open_parquet(location).read(columns).to_pylist():
            if row["period"] == period:
                yield f"tile {row['tile_id']} of {location.name}", grid_from(row)


def _count_file(
    path: str,
    pairs: Pairs,
    region_at: RegionAt,
    out: Location,
    min_confidence: float,
    any_turn: bool,
) -> Rows:
    with store.table_guard(out / path):
        return zonal.count_block(out / path, pairs, region_at, min_confidence, any_turn)

"""The stats stage of class rasters made elsewhere: areas and transitions by region."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import pyarrow as pa

from lulc.config import MapFiles
from lulc.errors import UsageError
from lulc.spark.areas.cells import fingerprint_of_cells, write_cell_areas
from lulc.spark.areas.measure import measure_regions
from lulc.spark.areas.tables import (
    bad_regions,
    coverage_note,
    is_one_period,
    raster_tiles,
    write_areas,
    write_transitions,
)
from lulc.spark.context import StageContext, StageResult
from lulc.spark.incremental import run_whole
from lulc.spark.map_blocks import map_names
from lulc.stages import OUTPUT_VERSIONS
from lulc.stats import class_rasters, regions
from lulc.stats.class_areas import MapTiles, balance
from lulc.tables import files, layout, store
from lulc.tables.files import file_identity, fingerprint_of
from lulc.tables.ledger import LedgerRow


def stats_of_rasters(context: StageContext) -> StageResult:
    """Take the areas of classes by region and period, and what changed between periods.

    Raises:
        UsageError: the run file has no regions.
        InputError: the rasters' legends contradict each other, rasters overlap that may not, or a
            region's areas do not add up to its true area.
    """
    config, out = context.config, context.out
    if not config.regions:
        raise UsageError(
            "areas of class rasters are taken by region: give `regions:` (--regions FILE)"
        )
    legend = {i: c.name for i, c in config.legend.items()}
    maps = class_rasters.scan_rasters(config.maps, config.stats.overlap, legend)
    region_files = regions.region_identities(config.regions)
    raster_files = [file_identity(raster.path) for raster in maps.rasters]
    fingerprint = fingerprint_of(
        OUTPUT_VERSIONS["stats"],
        "maps",
        region_files,
        raster_files,
        config.regions,
        config.maps,
        config.stats,
        config.legend,
        *fingerprint_of_cells(config.stats),
    )
    notes: list[str] = []

    def write_tables(bad: dict[str, LedgerRow]) -> None:
        region_set = regions.read_regions(config.regions)
        bad |= bad_regions(region_set, fingerprint)
        regions.write_regions(out, region_set.table)
        # Kept for the next year's maps, as long as the regions stay the same.
        cache = store.table_folder(out, "intersections")
        of_regions = cache / fingerprint_of(OUTPUT_VERSIONS["stats"], region_files, config.regions)
        files.keep_folders(cache, [of_regions])
        tiles = raster_tiles(context, maps, of_regions)
        measured = measure_regions(context, tiles, fingerprint)
        areas = measured.inside.filter(is_one_period(measured.inside))
        names = class_rasters.name_classes(maps, areas)
        map_tiles = MapTiles(partial(class_rasters.list_tiles, maps), of_run=False)
        write_areas(context, areas, measured.outside, region_set.table, names, map_tiles)
        write_transitions(context, measured, region_set.table, names)
        # Cells are other regions than those whose intersections are kept.
        write_cell_areas(context, raster_tiles(context, maps), names, fingerprint)
        notes.append(coverage_note(context, region_set, areas))

    result = run_whole(
        context, "stats", fingerprint, layout.table_file("class_areas"), write_tables
    )
    return replace(result, note="; ".join(filter(None, notes)))


def write_raw_areas(
    context: StageContext, region_table: pa.Table, names: Mapping[int, str], fingerprint: str
) -> None:
    """Write table `raw_class_areas` of maps made elsewhere, as they were before they were refined.

    Maps that are combined are measured each by itself; column `model` tells them apart.

    Args:
        context: the run whose regions table is written.
        region_table: the regions table.
        names: class names by id.
        fingerprint: of the areas.

    Raises:
        InputError: as `stats_of_rasters` raises it.
    """
    config = context.config
    groups: dict[str, list[MapFiles]] = defaultdict(list)
    for entry, name in zip(config.maps, map_names(config.maps), strict=True):
        several = sum(other.period == entry.period for other in config.maps) > 1
        is_combined = several and config.refine is not None and config.refine.combine is not None
        groups[name if is_combined else ""].append(entry)
    legend = {class_id: entry.name for class_id, entry in config.legend.items()}
    tables = []
    for name, entries in groups.items():
        maps = class_rasters.scan_rasters(entries, config.stats.overlap, legend)
        of_group = fingerprint_of(fingerprint, name)
        measured = measure_regions(context, raster_tiles(context, maps), of_group)
        inside = measured.inside.filter(is_one_period(measured.inside))
        map_tiles = MapTiles(partial(class_rasters.list_tiles, maps), of_run=False)
        table = balance(
            _of_model(inside, name),
            _of_model(measured.outside, name),
            region_table,
            names,
            map_tiles,
        )
        tables.append(table)
    store.write_table(context.out, "raw_class_areas", pa.concat_tables(tables))


def _of_model(rows: pa.Table, name: str) -> pa.Table:
    models = pa.array([name] * rows.num_rows, pa.string())
    return rows.set_column(rows.schema.get_field_index("model"), rows.schema.field("model"), models)

"""The tables of the stats stage: areas and changes by region, and what to tell the user."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from lulc.location import Location
from lulc.spark.areas.measure import Measured, Pairs, RegionAt, Rows, Tiles
from lulc.spark.context import StageContext
from lulc.stats import class_rasters, landscape, zonal
from lulc.stats.class_areas import MapTiles, balance
from lulc.stats.class_rasters import ClassMaps
from lulc.stats.regions import RegionSet
from lulc.tables import store
from lulc.tables.ledger import LedgerRow


def raster_tiles(
    context: StageContext, maps: ClassMaps, cache_folder: Location | None = None
) -> Tiles:
    """Return the blocks of class rasters as the tiles in which regions are measured.

    Args:
        context: the run whose regions table is written.
        maps: the class rasters, of one or more periods.
        cache_folder: keeps how blocks of the rasters' grids and regions intersect.
    """

    def count(name: str, pairs: Pairs, region_at: RegionAt) -> Rows:
        positions = {position for _, position in pairs}
        return class_rasters.count_map_block(name, positions, maps, region_at, cache_folder)

    def scan(name: str, pairs: Pairs, region_at: RegionAt) -> Rows:
        positions = {position for _, position in pairs}
        return class_rasters.scan_block(name, positions, maps, region_at, cache_folder)

    blocks = pa.Table.from_pylist(class_rasters.blocks(maps))
    frame = context.spark().createDataFrame(blocks)
    with_patches = context.config.stats.landscape
    return Tiles(frame, count, scan if with_patches else None)


def write_areas(
    context: StageContext,
    inside_rows: pa.Table,
    outside_rows: pa.Table,
    region_table: pa.Table,
    names: Mapping[int, str],
    tiles: MapTiles,
    name: str = "class_areas",
) -> None:
    """Write `class_areas`, or a table like it.

    Args:
        context: the run.
        inside_rows: `zonal.INSIDE` rows of single periods.
        outside_rows: `zonal.OUTSIDE` rows.
        region_table: the regions table.
        names: class names by id.
        tiles: what the areas are of.
        name: the table's name.

    Raises:
        InputError: a region's classes and unobserved part are not its true area.
    """
    table = balance(inside_rows, outside_rows, region_table, names, tiles)
    store.write_table(context.out, name, table)


def write_transitions(
    context: StageContext, measured: Measured, region_table: pa.Table, names: Mapping[int, str]
) -> None:
    """Write `transitions`, and `landscape` where patches were measured.

    Args:
        context: the run.
        measured: of rasters of several periods.
        region_table: the regions table.
        names: class names by id.
    """
    pairs = measured.inside.filter(pc.invert(is_one_period(measured.inside)))
    transitions = zonal.transitions(pairs, region_table, names)
    store.write_table(context.out, "transitions", transitions)
    if measured.patches is not None:
        table = landscape.landscape_table(measured.patches, region_table, names)
        store.write_table(context.out, "landscape", table)


def is_one_period(inside_rows: pa.Table) -> pa.ChunkedArray:
    """Return which `zonal.INSIDE` rows are of a single period, not of a pair."""
    return pc.invert(pc.match_substring(inside_rows["period"], zonal.BETWEEN))


def bad_regions(region_set: RegionSet, fingerprint: str) -> dict[str, LedgerRow]:
    """Return ledger rows by key of the regions that have no area."""
    keys = [f"region:{region_id}" for region_id in region_set.empty]
    error = "its polygon has no area"
    return {key: LedgerRow("stats", key, fingerprint, "bad", error=error) for key in keys}


def coverage_note(context: StageContext, region_set: RegionSet, inside_rows: pa.Table) -> str:
    """Return what a user should know of the regions: their numbers, repairs, those outside."""
    of_whole_map = "no regions in the run file: areas of the whole map"
    notes = [] if context.config.regions else [of_whole_map]
    notes += region_set.notes
    repaired, count = region_set.repaired, region_set.table.num_rows
    if repaired:
        ids = ", ".join(repaired[:3])
        notes.append(f"{len(repaired)} self-crossing polygons repaired ({ids})")
    outside = count - len(inside_rows["position"].unique())
    if outside:
        notes.append(f"{outside} of {count} regions lie outside the map")
    return "; ".join(notes)

"""Zonal statistics of class rasters on this machine alone, without Spark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from lulc import progress
from lulc.config import MapFiles, Overlap, RegionFile
from lulc.geo.grid import Grid
from lulc.stats import class_rasters, zonal
from lulc.stats.class_areas import MapTiles, balance
from lulc.stats.class_rasters import ClassMaps
from lulc.stats.regions import Region, RegionSet, read_regions
from lulc.tables.arrays import grid_from

# Boxes a little larger than the footprints, whose sides are chords: no pair is missed, and one too
# many counts nothing.
_MARGIN = 0.001


@dataclass(frozen=True)
class AreaTables:
    """What regions hold of class rasters."""

    class_areas: pa.Table
    """m² by region, period and class (`schemas.CLASS_AREAS`)."""
    transitions: pa.Table
    """m² by region and pair of classes, between neighbouring periods (`schemas.TRANSITIONS`)."""


def measure_class_rasters(
    maps: Sequence[MapFiles], region_files: Sequence[RegionFile], overlap: Overlap = "refuse"
) -> AreaTables:
    """Take the areas of classes, and of their changes, by region.

    Areas are of exact fractions of pixels times their true ellipsoidal area, as those of
    `lulc stats --rasters` are.

    Args:
        maps: class rasters by pattern and period.
        region_files: vector files of polygons in any CRS.
        overlap: where two rasters of a period have classes at one place, refuse them or take the
            first by name.

    Raises:
        InputError: a file cannot be read, legends contradict each other, rasters overlap that may
            not, or a region's areas do not add up to its true area.
    """
    scanned = class_rasters.scan_rasters(maps, overlap)
    regions = read_regions(region_files)
    for note in regions.notes:
        progress.say(note)
    if regions.empty:
        ids = ", ".join(regions.empty[:3])
        progress.say(f"{len(regions.empty)} regions have no area and are left out ({ids})")
    inside_rows, outside_rows = _measure(scanned, regions)
    between = pc.match_substring(inside_rows["period"], zonal.BETWEEN)
    of_periods = inside_rows.filter(pc.invert(between))
    names = class_rasters.name_classes(scanned, of_periods)
    tiles = MapTiles(partial(class_rasters.list_tiles, scanned), of_run=False)
    areas = balance(of_periods, outside_rows, regions.table, names, tiles)
    changes = zonal.transitions(inside_rows.filter(between), regions.table, names)
    return AreaTables(areas, changes)


def _measure(maps: ClassMaps, region_set: RegionSet) -> tuple[pa.Table, pa.Table]:
    regions = _regions(region_set)
    tree = shapely.STRtree([region.geometry for region in regions])
    grids: dict[tuple[int, str], list[Grid]] = defaultdict(list)
    sums: dict[tuple[int, str, int], np.ndarray] = {}
    counted = set()
    for block in class_rasters.blocks(maps):
        positions = tree.query(block_envelope(block), predicate="intersects").tolist()
        for position in positions:
            grids[position, block["period"]].append(grid_from(block))
        # The blocks of all periods on one grid have one name, and are counted together.
        if positions and block["file_name"] not in counted:
            counted.add(block["file_name"])
            name = block["file_name"]
            rows = class_rasters.count_map_block(name, positions, maps, regions.__getitem__)
            for row in rows:
                key = (row["position"], row["period"], row["class_id"])
                sums[key] = sums.get(key, 0) + np.array([row[n] for n in zonal.SUMS])
    return _inside_table(sums), _outside_table(regions, maps.periods, grids)


def _regions(region_set: RegionSet) -> list[Region]:
    columns = region_set.table.select(["level", "geometry"]).to_pylist()
    return [
        Region(position, row["level"], shapely.from_wkb(row["geometry"]))
        for position, row in enumerate(columns)
    ]


def block_envelope(block: Mapping[str, float]) -> shapely.Geometry:
    """Return a box in degrees, a little larger than a block of class rasters.

    Args:
        block: a row of `class_rasters.blocks`.
    """
    xmin, ymin, xmax, ymax = (block[name] for name in ("xmin", "ymin", "xmax", "ymax"))
    margin = _MARGIN * (xmax - xmin + ymax - ymin)
    return shapely.box(xmin - margin, ymin - margin, xmax + margin, ymax + margin)


def _inside_table(sums: Mapping[tuple[int, str, int], np.ndarray]) -> pa.Table:
    rows = []
    for (position, period, class_id), values in sums.items():
        key = {"position": position, "period": period, "model": "", "class_id": class_id}
        rows.append(key | dict(zip(zonal.SUMS, values.tolist(), strict=True)))
    return pa.Table.from_pylist(rows, zonal.INSIDE)


def _outside_table(
    regions: Sequence[Region], periods: Sequence[str], grids: Mapping[tuple[int, str], list[Grid]]
) -> pa.Table:
    rows = []
    for region in regions:
        for period in periods:
            of_region = sorted(grids.get((region.position, period), ()), key=lambda g: g.transform)
            area, slack = zonal.measure_outside(region.geometry, of_region)
            key = {"position": region.position, "period": period, "model": ""}
            rows.append(key | {"area_m2": area, "slack_m2": slack})
    return pa.Table.from_pylist(rows, zonal.OUTSIDE)

"""The one region that is the whole map, where a run file has no regions."""

from __future__ import annotations

import pyarrow as pa
import shapely

from lulc.geo.areas import degrees_area
from lulc.stats.regions import MAP_LEVEL, RegionSet
from lulc.stats.zonal import unite
from lulc.tables import schemas
from lulc.tables.arrays import grid_from

_REGION_ID = "map"


def whole_map_region(name: str, tiles: pa.Table, any_turn: bool) -> RegionSet:
    """Return the region that tiles cover together.

    Args:
        name: the region's name.
        tiles: their `crs`, `transform`, `height` and `width`.
        any_turn: see `zonal.count_block`.
    """
    grids = {grid_from(row) for row in tiles.to_pylist()}
    geometry = unite(tuple(sorted(grids, key=str)), any_turn)
    values = (_REGION_ID, MAP_LEVEL, name, shapely.to_wkb(geometry), degrees_area(geometry))
    region = dict(zip(schemas.REGIONS.names, values, strict=True))
    return RegionSet(pa.Table.from_pylist([region], schemas.REGIONS), (), ())

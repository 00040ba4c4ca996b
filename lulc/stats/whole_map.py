"""The one region that is the whole map, where a run file has no regions."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import shapely

from lulc.geo.areas import degrees_area
from lulc.location import Location
from lulc.stats.regions import MAP_LEVEL, RegionSet
from lulc.stats.zonal import unite
from lulc.tables import schemas
from lulc.tables.arrays import grid_from
from lulc.tables.files import open_parquet

_REGION_ID = "map"


def whole_map_region(name: str, paths: Sequence[Location], any_turn: bool) -> RegionSet:
    """Return the region that the tiles of some prediction files cover together.

    Args:
        name: the region's name.
        paths: prediction files.
        any_turn: see `zonal.count_block`.
    """
    columns = ["crs", "transform", "height", "width"]
    rows = (row for path in paths for row in open_parquet(path).read(columns).to_pylist())
    grids = {grid_from(row) for row in rows}
    geometry = unite(tuple(sorted(grids, key=str)), any_turn)
    values = (_REGION_ID, MAP_LEVEL, name, shapely.to_wkb(geometry), degrees_area(geometry))
    region = dict(zip(schemas.REGIONS.names, values, strict=True))
    return RegionSet(pa.Table.from_pylist([region], schemas.REGIONS), (), ())

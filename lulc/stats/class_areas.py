"""The class_areas table, and whether areas by class add up to their regions; if not, why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo import grid as geo_grid
from lulc.geo.areas import degrees_area
from lulc.geo.grid import Grid
from lulc.geo.overlap import pixel_offset
from lulc.legend import NODATA
from lulc.stats.zonal import SEAM
from lulc.tables import schemas

TOLERANCE = 1e-6
"""Largest relative error of a region's balance, beyond the slack of reprojected borders."""

_KEYS = ["position", "period", "model"]
_REGION = ["position", "region_id", "level", "name", "period", "model", "observed_share"]


@dataclass(frozen=True)
class MapTiles:
    """What areas are taken of: the tiles of a run, or class rasters of any origin."""

    list_tiles: Callable[[str], Iterable[tuple[str, Grid]]]
    """Returns the name, which is a file or a tile of one, and grid of every tile of a period."""
    of_run: bool
    """Whether this run has made them."""


def balance(
    inside_rows: pa.Table,
    outside_rows: pa.Table,
    regions: pa.Table,
    names: Mapping[int, str],
    tiles: MapTiles,
) -> pa.Table:
    """Return the class_areas table, after checking that areas add up.

    Args:
        inside_rows: rows of INSIDE.
        outside_rows: rows of OUTSIDE.
        regions: the regions table.
        names: class names by id.
        tiles: what the areas are of, to explain areas that do not add up.

    Returns:
        For every region, period and model: a row for each class with an area, and one with
        class_id null for the unobserved part (`schemas.CLASS_AREAS`).

    Raises:
        InputError: a region's classes and unobserved part do not add up to its true area.
    """
    counted = inside_rows.to_pandas()
    is_class = counted["class_id"] < NODATA
    totals = _total_areas(counted, outside_rows, regions)
    _check_balance(totals, regions, tiles)
    totals["observed_share"] = totals["observed_area_m2"] / totals["region_m2"]
    columns = pa.schema([pa.field("position", pa.int64()), *schemas.CLASS_AREAS])
    tables = [
        pa.Table.from_pandas(rows.reset_index()[columns.names], preserve_index=False).cast(columns)
        for rows in (_class_rows(counted[is_class], totals, names), _unobserved_rows(totals))
    ]
    order = [(name, "ascending") for name in ("position", "period", "model", "class_id")]
    return pa.concat_tables(tables).sort_by(order).select(schemas.CLASS_AREAS.names)


def _total_areas(counted: Any, outside_rows: pa.Table, regions: pa.Table) -> Any:
    # Frame of a region, period and model a row: m² observed, nodata and unobserved.
    region = (
        regions.select(["region_id", "level", "name", "area_m2"])
        .to_pandas()
        .rename(columns={"area_m2": "region_m2"})
    )
    totals = (
        outside_rows.to_pandas()
        .rename(columns={"area_m2": "outside_m2"})
        .merge(region, left_on="position", right_index=True)
    )
    class_id = counted["class_id"]
    masks = {"observed": class_id < NODATA, "nodata": class_id == NODATA, "seam": class_id == SEAM}
    for name, is_part in masks.items():
        rows = counted[is_part]
        sums = rows.groupby(_KEYS)[["area_m2"]].sum().add_prefix(f"{name}_").reset_index()
        totals = totals.merge(sums, on=_KEYS, how="left")
    totals = totals.fillna({f"{name}_area_m2": 0.0 for name in masks})
    totals["slack_m2"] += totals["seam_area_m2"]
    totals["unobserved_m2"] = totals["nodata_area_m2"] + totals["outside_m2"]
    return totals


def _class_rows(counted: Any, totals: Any, names: Mapping[int, str]) -> Any:
    # A row a class of a region, period and model.
    classes = counted.merge(totals[[*_REGION, "observed_area_m2"]], on=_KEYS)
    classes["share"] = classes["area_m2"] / classes["observed_area_m2"]
    classes["mean_confidence"] = classes["confidence_m2"] / classes["area_m2"]
    classes["mean_entropy"] = classes["entropy_m2"] / classes["area_m2"]
    classes["class_name"] = classes["class_id"].map(dict(names))
    return classes


def _unobserved_rows(totals: Any) -> Any:
    # The row without a class of a region, period and model. Its area is partly outside the map;
    # how much of it is in pixels depends on how the map was cut into tiles or rasters.
    return totals[_REGION].assign(
        pixels=None,
        area_m2=totals["unobserved_m2"],
        class_id=None,
        class_name="unobserved",
        share=None,
        mean_confidence=None,
        confident_m2=None,
        mean_entropy=None,
    )


def _check_balance(totals: Any, regions: pa.Table, tiles: MapTiles) -> None:
    gap = totals["observed_area_m2"] + totals["unobserved_m2"] - totals["region_m2"]
    off = totals[gap.abs() > TOLERANCE * totals["region_m2"] + totals["slack_m2"]]
    if not len(off):
        return
    lines = [
        f"  region {row.region_id!r}, period {row.period}, model {row.model}: "
        f"classes {row.observed_area_m2:.1f} m² + nodata {row.nodata_area_m2:.1f} m² + outside "
        f"the map {row.outside_m2:.1f} m² are {gap[row.Index]:+.1f} m² off {row.region_m2:.1f}"
        for row in off.head(5).itertuples()
    ]
    first = next(off.itertuples())
    geometry = shapely.from_wkb(regions["geometry"][first.position].as_py())
    reason = _explain(geometry, float(gap[first.Index]), list(tiles.list_tiles(first.period)))
    raise InputError(
        f"areas of {len(off)} of {len(totals)} regions do not add up: {reason}. "
        f"{_REMEDIES[tiles.of_run]}:\n" + "\n".join(lines)
    )


_REMEDIES = {
    True: "Delete tables/predictions and predict again, or map on an equal-area tiling",
    False: "Cut the rasters so that they lie side by side, or warp them to one grid of an "
    "equal-area CRS (gdalwarp -t_srs EPSG:6933 -r near)",
}


def _explain(region: BaseGeometry, gap: float, tiles: list[tuple[str, Grid]]) -> str:
    # Why areas are off by `gap` m² in a region in degrees: the first of the known reasons that
    # holds.
    footprints = [geo_grid.footprint(grid) for _, grid in tiles]
    meeting = shapely.STRtree(footprints).query(region, predicate="intersects").tolist()
    if gap > 0:
        tree = shapely.STRtree([footprints[number] for number in meeting])
        pairs = tree.query(tree.geometries, predicate="intersects").T.tolist()
        for first, second in sorted((meeting[a], meeting[b]) for a, b in pairs if a < b):
            shared = shapely.intersection(footprints[first], footprints[second])
            if shared.area and _is_shared(tiles[first][1], tiles[second][1], shared):
                return (
                    f"{tiles[first][0]} and {tiles[second][0]} overlap and are counted twice there"
                )
    if gap < 0:
        return (
            "part of the region lies within the map's tiles, and in no pixel of them: "
            "their grids leave a gap, or lie a turn of longitude away"
        )
    return "no tiles overlap, so a pixel's area is not what its CRS gives"


def _is_shared(grid: Grid, other: Grid, shared: BaseGeometry) -> bool:
    # More than the strip by which chords of neighbours' borders cross.
    offset = pixel_offset(grid, other)
    if offset is None:
        sides = [*grid.resolution_m, *other.resolution_m]
        return degrees_area(shared) > max(sides) ** 2
    row, col = offset
    return -other.height < row < grid.height and -other.width < col < grid.width

"""True areas per class and region: what tiles hold of a region, what lies outside them, and the balance that must close."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.antimeridian import only_polygons
from lulc.geo.areas import degrees_area, pixel_areas
from lulc.geo.coverage import count_runs, covered_share, find_runs
from lulc.geo.grid import WGS84, Grid, parse_crs
from lulc.geo.reproject import BORDER_M, METRES_A_DEGREE, reproject_exact, to_degrees
from lulc.legend import NODATA
from lulc.stats.regions import MAP_LEVEL
from lulc.tables import arrays, schemas

TOLERANCE = 1e-6
"""How much of a region's area classes + unobserved may miss or exceed it by, besides what carried borders may be off."""

BETWEEN = "\x1f"
"""Stands between the names of two periods: such a pair counts as a period whose classes are pairs, from_id * 256 + to_id."""

INSIDE = pa.schema(
    [
        pa.field("position", pa.int64()),  # of the region in the regions table
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("class_id", pa.int32()),  # NODATA: inside a tile, but no class
        pa.field("pixels", pa.float64()),
        pa.field("area_m2", pa.float64()),
        pa.field(
            "confidence_m2", pa.float64()
        ),  # m² times confidence; NaN where the map tells of none, as the next
        pa.field("confident_m2", pa.float64()),
    ]
)
SUMS = ("pixels", "area_m2", "confidence_m2", "confident_m2")
OUTSIDE = pa.schema(
    [
        pa.field("position", pa.int64()),
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("area_m2", pa.float64()),  # of the part that no tile covers
        pa.field("slack_m2", pa.float64()),  # what borders and another ellipsoid may change
    ]
)

_KEYS = ["position", "period", "model"]
_GRID = ["crs", "transform", "height", "width", "xmin", "ymin", "xmax", "ymax"]
_PERCENTS = [
    "percent_counts",
    "percent_counts_shape",
    "percent_counts_dtype",
    "percent_counts_codec",
]
_COUNTS = ["period", "model", *_GRID, "class_ids", "class_counts", *_PERCENTS, "nodata_count"]
_PIXELS = [
    f"{name}{part}"
    for name in ("classes", "confidence")
    for part in ("", "_shape", "_dtype", "_codec")
]
# Ellipsoids differ by less than this in area; a sphere, on which areas are no true ones, by more.
_ELLIPSOIDS = 5e-4

Regions = Callable[[int], tuple[str, BaseGeometry]]


def count_block(
    path: Path, pairs: Iterable[tuple[int, int]], regions: Regions, confident: float
) -> list[dict[str, Any]]:
    """Rows of INSIDE for one predictions file, from (row group, region position) pairs and position → (level, geometry).

    confident: the least confidence, 0–1, of what confident_m2 counts.
    A region that covers a tile whole on an equal-area grid takes the tile's stored counts: its pixels are not read.
    """
    file = pq.ParquetFile(path)
    schemas.check_schema(file.schema_arrow, schemas.PREDICTIONS, str(path))
    tiles = file.read(_COUNTS).to_pylist()
    wanted = sorted(pairs)
    box = _bounds([tiles[row] for row in sorted({row for row, _ in wanted})])
    placed: dict[tuple[int, str], BaseGeometry | None] = {}
    sums: dict[tuple[int, str, str], np.ndarray] = {}
    for row, of_tile in groupby(wanted, lambda pair: pair[0]):
        tile = tiles[row]
        read = lru_cache(lambda row=row: _read_pixels(file, row))
        for _, position in of_tile:
            at = (position, tile["crs"])
            if at not in placed:
                level, geometry = regions(position)
                placed[at] = (
                    None
                    if level == MAP_LEVEL
                    else reproject_exact(clip(geometry, box), WGS84, tile["crs"])
                )
            key = (position, tile["period"], tile["model"])
            sums[key] = sums.get(key, 0) + count_tile(tile, read, placed[at], confident)
    rows = []
    for key, found in sums.items():
        for value in np.flatnonzero(found[0]).tolist():
            rows.append(
                dict(zip(INSIDE.names, (*key, value, *found[:, value].tolist()), strict=True))
            )
    return rows


def count_tile(
    tile: Mapping[str, Any],
    read: Callable[[], tuple[np.ndarray, np.ndarray]],
    geometry: BaseGeometry | None,
    confident: float,
) -> np.ndarray:
    """(4, 256) SUMS by class (NODATA among them) of a tile within a polygon in the tile's CRS; None: all of it.

    read gives classes and confidence (H, W) uint8, and is called only where stored counts do not do.
    """
    grid, out = arrays.grid_from(tile), np.zeros((4, 256))
    share = 1.0 if geometry is None else covered_share(geometry, grid)
    if share == 0:
        return out
    areas, least = _pixel_areas(grid), math.ceil(round(confident * 100, 6))
    if share == 1 and areas.size == 1:
        ids, percents = tile["class_ids"], arrays.array_from(tile, "percent_counts")
        out[0, ids] = tile["class_counts"]
        out[0, NODATA] += tile["nodata_count"]
        out[1] = out[0] * areas[0, 0]
        out[2, ids] = percents @ np.arange(101) * (areas[0, 0] / 100)
        out[3, ids] = percents[:, least:].sum(1) * areas[0, 0]
        return out
    classes, confidence = read()
    runs = find_runs(outline(grid) if geometry is None else geometry, grid)
    out[0], out[1] = count_runs(runs, classes, areas)
    out[2] = count_runs(runs, classes, areas * (confidence / 100))[1]
    out[3] = count_runs(runs, np.where(confidence >= least, classes, NODATA), areas)[1]
    out[2:, NODATA] = 0
    return out


def _read_pixels(file: pq.ParquetFile, row: int) -> tuple[np.ndarray, np.ndarray]:
    tile = file.read_row_group(row, _PIXELS).to_pylist()[0]
    return arrays.array_from(tile, "classes"), arrays.array_from(tile, "confidence")


def measure_outside(geometry: BaseGeometry, grids: Sequence[Grid]) -> tuple[float, float]:
    """True m² of a region (EPSG:4326) that no tile covers, from geometry alone; and by how many m² its classes may be off.

    Carried borders, another ellipsoid, and pixels of degrees, whose area is taken as even where a border cuts them.
    """
    border = geometry.length * METRES_A_DEGREE
    slack = 2 * BORDER_M * border
    if not grids:
        return degrees_area(geometry), slack
    left = only_polygons(geometry.difference(unite(tuple(grids))))
    slack += border * max(_unevenness(grid, geometry) for grid in grids)
    slack += max(_ellipsoid(g) for g in {grid.crs for grid in grids}) * degrees_area(geometry)
    return degrees_area(left) if left else 0.0, slack


@lru_cache(maxsize=256)
def unite(grids: tuple[Grid, ...]) -> BaseGeometry:
    """What the grids cover together, in EPSG:4326; remembered, because neighbouring regions meet the same."""
    parts = []
    for crs in sorted({grid.crs for grid in grids}):
        own = [grid for grid in grids if grid.crs == crs]
        # Neighbours' corners differ in the last digits: snapped, no gap is left between them.
        whole = shapely.union_all(
            [outline(grid) for grid in own], grid_size=min(own[0].resolution) * 1e-6
        )
        parts.append(to_degrees(whole, crs, "the tiles of the map"))
    return shapely.union_all(parts)


def outline(grid: Grid) -> BaseGeometry:
    """The grid's outline in its own CRS."""
    x, y = grid.corners()
    return shapely.Polygon(list(zip(x, y, strict=True)))


def transitions(pairs: pa.Table, regions: pa.Table, names: Mapping[int, str]) -> pa.Table:
    """The transitions table of INSIDE rows whose periods and classes are pairs (lulc.classmaps)."""
    region = regions.select(["region_id", "level", "name"]).to_pylist()
    rows = []
    for row in sorted(pairs.to_pylist(), key=lambda r: (r["position"], r["period"], r["class_id"])):
        before, _, after = row["period"].partition(BETWEEN)
        ids = divmod(row["class_id"], 256)
        if before and after and NODATA not in ids:
            told = {
                "period_from": before,
                "period_to": after,
                "pixels": row["pixels"],
                "area_m2": row["area_m2"],
            }
            told |= {"from_id": ids[0], "from_class": names.get(ids[0], f"class {ids[0]}")}
            rows.append(
                region[row["position"]]
                | told
                | {"to_id": ids[1], "to_class": names.get(ids[1], f"class {ids[1]}")}
            )
    totals: dict[tuple[str, str, str], float] = {}
    for row in rows:
        key = (row["region_id"], row["period_from"], row["period_to"])
        totals[key] = totals.get(key, 0.0) + row["area_m2"]
    for row in rows:
        row["share"] = (
            row["area_m2"] / totals[row["region_id"], row["period_from"], row["period_to"]]
        )
    return pa.Table.from_pylist(rows, schemas.TRANSITIONS)


def balance(
    inside: pa.Table, outside: pa.Table, regions: pa.Table, names: Mapping[int, str]
) -> pa.Table:
    """The class_areas table of INSIDE and OUTSIDE rows; InputError for a region whose classes + unobserved are not its true area.

    For every region, period and model: one row a class that it holds, and one with class_id null for what is not observed.
    """
    region = (
        regions.select(["region_id", "level", "name", "area_m2"])
        .to_pandas()
        .rename(columns={"area_m2": "whole_m2"})
    )
    found = inside.to_pandas()
    totals = (
        outside.to_pandas()
        .rename(columns={"area_m2": "outside_m2"})
        .merge(region, left_on="position", right_index=True)
    )
    is_class = found["class_id"] != NODATA
    for name, rows in (("observed", found[is_class]), ("nodata", found[~is_class])):
        sums = rows.groupby(_KEYS)[["pixels", "area_m2"]].sum().add_prefix(f"{name}_").reset_index()
        totals = totals.merge(sums, on=_KEYS, how="left")
    totals = totals.fillna(
        {f"{a}_{b}": 0.0 for a in ("observed", "nodata") for b in ("pixels", "area_m2")}
    )
    totals["unobserved_m2"] = totals["nodata_area_m2"] + totals["outside_m2"]
    _check_balance(totals)
    totals["observed_share"] = totals["observed_area_m2"] / totals["whole_m2"]
    shown = ["region_id", "level", "name", "period", "model", "observed_share"]
    classes = found[is_class].merge(totals[["position", *shown, "observed_area_m2"]], on=_KEYS)
    classes["share"] = classes["area_m2"] / classes["observed_area_m2"]
    classes["mean_confidence"] = classes["confidence_m2"] / classes["area_m2"]
    classes["class_name"] = classes["class_id"].map(dict(names))
    rest = totals[["position", *shown]].assign(
        pixels=totals["nodata_pixels"], area_m2=totals["unobserved_m2"]
    )
    rest = rest.assign(
        class_id=None, class_name="unobserved", share=None, mean_confidence=None, confident_m2=None
    )
    parts = [
        pa.Table.from_pandas(
            part.reset_index()[["position", *schemas.CLASS_AREAS.names]], preserve_index=False
        )
        for part in (classes, rest)
    ]
    order = pa.schema([pa.field("position", pa.int64()), *schemas.CLASS_AREAS])
    whole = pa.concat_tables([part.cast(order) for part in parts])
    by = [
        ("position", "ascending"),
        ("period", "ascending"),
        ("model", "ascending"),
        ("class_id", "ascending"),
    ]
    return whole.sort_by(by).select(schemas.CLASS_AREAS.names)


def _check_balance(totals: Any) -> None:
    gap = totals["observed_area_m2"] + totals["unobserved_m2"] - totals["whole_m2"]
    off = totals[gap.abs() > TOLERANCE * totals["whole_m2"] + totals["slack_m2"]]
    if len(off):
        lines = [
            f"  region {r.region_id!r}, period {r.period}, model {r.model}: classes {r.observed_area_m2:.1f} m² + nodata "
            f"{r.nodata_area_m2:.1f} m² + outside the map {r.outside_m2:.1f} m² are {gap[r.Index]:+.1f} m² off {r.whole_m2:.1f}"
            for r in off.head(5).itertuples()
        ]
        raise InputError(
            f"areas of {len(off)} of {len(totals)} regions do not add up: tiles counted twice, or left by another tiling? Delete "
            "tables/predictions, predict again, or map on an equal-area tiling:\n"
            + "\n".join(lines)
        )


@lru_cache(maxsize=4)
def _pixel_areas(grid: Grid) -> np.ndarray:
    return pixel_areas(grid)


def _bounds(tiles: Sequence[Mapping[str, Any]]) -> tuple[float, float, float, float]:
    west, south = (min(t[n] for t in tiles) for n in ("xmin", "ymin"))
    east, north = (max(t[n] for t in tiles) for n in ("xmax", "ymax"))
    return widen((west, south, east, north))


def widen(bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Degrees around a footprint, a little more than it: its sides are chords."""
    west, south, east, north = bounds
    margin = 0.01 * max(east - west, north - south)
    return west - margin, south - margin, east + margin, north + margin


def clip(geometry: BaseGeometry, box: tuple[float, float, float, float]) -> BaseGeometry:
    # Far parts may have no place in the tiles' CRS.
    west, south, east, north = geometry.bounds
    if west >= box[0] and south >= box[1] and east <= box[2] and north <= box[3]:
        return geometry
    return only_polygons(geometry.intersection(shapely.box(*box)))


def _unevenness(grid: Grid, geometry: BaseGeometry) -> float:
    # Metres that a border on a grid of degrees may seem to be shifted by: a pixel's two ends differ in width by the cosine of
    # latitude, at a pole by all of it; a half cut off by degrees is then an eighth of the difference off.
    crs = parse_crs(grid.crs)
    if not crs.is_geographic:
        return 0.0
    high = grid.resolution[1] * math.degrees(
        crs.axis_info[0].unit_conversion_factor if crs.axis_info else math.radians(1)
    )
    latitude = min(max(abs(geometry.bounds[1]), abs(geometry.bounds[3])), 90 - high / 2)
    return (
        high * METRES_A_DEGREE * min(2.0, math.radians(high) * math.tan(math.radians(latitude))) / 8
    )


@lru_cache(maxsize=64)
def _ellipsoid(crs: str) -> float:
    # How far areas on the CRS's ellipsoid may be from those on WGS 84, on which regions are measured.
    geod, own = parse_crs(WGS84).get_geod(), parse_crs(crs).get_geod()
    if geod is None or own is None:
        return 0.0
    difference = abs(own.a * own.b / (geod.a * geod.b) - 1)
    return float(difference) if difference < _ELLIPSOIDS else 0.0

"""True areas by class and region: inside the tiles, and outside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.geo.antimeridian import narrow_bounds, only_polygons, wrap_longitudes
from lulc.geo.areas import degrees_area, is_equal_area, pixel_areas, pixel_side_m
from lulc.geo.coverage import count_runs, covered_share, find_runs
from lulc.geo.grid import METRES_A_DEGREE, WGS84, Grid, footprint, parse_crs, turn_of
from lulc.geo.reproject import (
    BORDER_M,
    onto_grid,
    outline_on_earth,
    reproject_exact,
    to_degrees,
    widen,
)
from lulc.legend import NODATA
from lulc.location import Location
from lulc.stats.regions import Region
from lulc.tables import arrays, schemas
from lulc.tables.files import open_parquet

BETWEEN = "\x1f"
"""Separator of the two periods of a transition.

A pair of periods is counted like a period whose classes are pairs, from_id * 256 + to_id.
"""

SEAM = 256
"""Class id of pixels at the border of two rasters of unlike pixels, beside their own class: half of
such a pixel may be counted twice, or not at all."""

INSIDE = pa.schema(
    [
        pa.field("position", pa.int64()),  # of the region in the regions table
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("class_id", pa.int32()),  # NODATA: inside a tile, but no class
        pa.field("pixels", pa.float64()),
        pa.field("area_m2", pa.float64()),
        # m² times confidence; NaN, as is the next, where the map has no confidence
        pa.field("confidence_m2", pa.float64()),
        pa.field("confident_m2", pa.float64()),
        pa.field("entropy_m2", pa.float64()),  # m² times entropy; NaN where it is not known
    ]
)
"""Schema of what tiles hold of a region, by class."""

SUMS = ("pixels", "area_m2", "confidence_m2", "confident_m2", "entropy_m2")
"""Columns of INSIDE that add up over tiles."""

OUTSIDE = pa.schema(
    [
        pa.field("position", pa.int64()),
        pa.field("period", pa.string()),
        pa.field("model", pa.string()),
        pa.field("area_m2", pa.float64()),  # of the part that no tile covers
        pa.field("slack_m2", pa.float64()),  # error bound of borders
    ]
)
"""Schema of the part of a region that no tile covers."""

_GRID = ["crs", "transform", "height", "width", "xmin", "ymin", "xmax", "ymax"]
_PERCENTS = [
    "percent_counts",
    "percent_counts_shape",
    "percent_counts_dtype",
    "percent_counts_codec",
]
_CLASSES = ["class_ids", "class_counts", *_PERCENTS, "entropy_sums", "nodata_count"]
_COUNTS = ["period", "model", *_GRID, *_CLASSES]
_LAYERS = ("classes", "confidence", "entropy")
_PIXELS = [f"{name}{suffix}" for name in _LAYERS for suffix in ("", "_shape", "_dtype", "_codec")]
_COARSE_M = 500.0  # side of pixels over which an areal scale may bend by more than TOLERANCE


def count_block(
    path: Location,
    pairs: Iterable[tuple[int, int]],
    region_at: Callable[[int], Region],
    min_confidence: float,
    any_turn: bool = False,
) -> list[dict[str, Any]]:
    """Count the classes of one predictions file by region.

    A region that covers a whole tile on an equal-area grid takes the tile's stored counts: its
    pixels are not read.

    Args:
        path: predictions file, one tile a row group.
        pairs: (row group, region position) of every tile and region that may overlap.
        region_at: reader of a region by its position.
        min_confidence: the smallest confidence, 0–1, that `confident_m2` counts.
        any_turn: regions are met beyond 180 too, where the tiles are those of a raster that lies
            there. Tiles of a whole CRS show what lies beyond 180 once more at its other end.

    Returns:
        Rows of INSIDE, by region, period, model and class.

    Raises:
        InputError: the file is not a predictions file.
    """
    file = open_parquet(path)
    schemas.check_schema(file.schema_arrow, schemas.PREDICTIONS, str(path))
    tiles = file.read(_names_in(file, _COUNTS)).to_pylist()
    ordered = sorted(pairs)
    bounds = _bounds([tiles[row] for row in sorted({row for row, _ in ordered})])
    shapes: dict[tuple[int, str], BaseGeometry] = {}
    sums: dict[tuple[int, str, str], np.ndarray] = {}
    for row, tile_pairs in groupby(ordered, lambda pair: pair[0]):
        tile = tiles[row]
        read_pixels = lru_cache(lambda row=row: _read_pixels(file, row))
        for _, position in tile_pairs:
            region_crs = (position, tile["crs"])
            if any_turn or region_at(position).whole_map:
                grid = arrays.grid_from(tile)
                shapes[region_crs] = place_region(region_at(position), grid, any_turn)
            elif region_crs not in shapes:
                shapes[region_crs] = project_region(region_at(position), bounds, tile["crs"])
            counted = count_tile(tile, read_pixels, shapes[region_crs], min_confidence)
            key = (position, tile["period"], tile["model"])
            sums[key] = sums.get(key, 0) + counted
    return [row for key, counted in sums.items() for row in _inside_rows(key, counted)]


def _inside_rows(key: tuple[int, str, str], sums: np.ndarray) -> list[dict[str, Any]]:
    # Rows of INSIDE of (5, 256) SUMS, for the classes that have pixels.
    return [
        dict(zip(INSIDE.names, (*key, class_id, *sums[:, class_id].tolist()), strict=True))
        for class_id in np.flatnonzero(sums[0]).tolist()
    ]


def count_tile(
    tile: Mapping[str, Any],
    read_pixels: Callable[[], Sequence[np.ndarray]],
    geometry: BaseGeometry,
    min_confidence: float,
) -> np.ndarray:
    """Count the classes of a tile within a polygon.

    Args:
        tile: predictions row with its grid and stored counts.
        read_pixels: reader of classes, confidence, and entropy where the tile has it, all (H, W)
            uint8; called only where the stored counts are not enough.
        geometry: polygon in the tile's CRS.
        min_confidence: the smallest confidence, 0–1, that the last sum counts.

    Returns:
        (5, 256) float64: SUMS (rows) by class id, NODATA included.
    """
    grid, sums = arrays.grid_from(tile), np.zeros((5, 256))
    share = covered_share(geometry, grid)
    if share == 0:
        return sums
    areas, min_percent = _pixel_areas(grid), math.ceil(round(min_confidence * 100, 6))
    ids, percents = tile["class_ids"], arrays.array_from(tile, "percent_counts")
    # Maps made elsewhere may come without.
    has_confidence = percents.any() or not any(tile["class_counts"])
    entropy_sums = tile.get("entropy_sums")
    if share == 1 and areas.size == 1:
        sums[0, ids] = tile["class_counts"]
        sums[0, NODATA] += tile["nodata_count"]
        sums[1] = sums[0] * areas[0, 0]
        sums[2, ids] = percents @ np.arange(101) * (areas[0, 0] / 100)
        sums[3, ids] = percents[:, min_percent:].sum(1) * areas[0, 0]
        if not has_confidence:
            sums[2:4, ids] = math.nan
        sums[4, ids] = (
            math.nan if entropy_sums is None else np.array(entropy_sums) * (areas[0, 0] / 100)
        )
        return sums
    classes, confidence, *entropy = read_pixels()
    runs = find_runs(geometry, grid)
    sums[0], sums[1] = count_runs(runs, classes, areas)
    sums[2] = count_runs(runs, classes, areas * (confidence / 100))[1]
    sums[3] = count_runs(runs, np.where(confidence >= min_percent, classes, NODATA), areas)[1]
    if not has_confidence:
        sums[2:4] = math.nan
    sums[4] = count_runs(runs, classes, areas * (entropy[0] / 100))[1] if entropy else math.nan
    sums[2:, NODATA] = 0
    return sums


def _read_pixels(file: pq.ParquetFile, row: int) -> list[np.ndarray]:
    tile = file.read_row_group(row, _names_in(file, _PIXELS)).to_pylist()[0]
    return [arrays.array_from(tile, name) for name in _LAYERS if tile.get(f"{name}_shape")]


def _names_in(file: pq.ParquetFile, names: Sequence[str]) -> list[str]:
    # Files of earlier releases have no entropy.
    present = set(file.schema_arrow.names)
    return [name for name in names if name in present]


def project_region(
    region: Region, bounds: tuple[float, float, float, float], crs: str
) -> BaseGeometry:
    """Return a region's polygon in the CRS of tiles, cut to what may be counted.

    Args:
        region: the region; not the whole map, which has no polygon.
        bounds: west, south, east and north in degrees, beyond which the polygon is cut off; east
            may be beyond 180.
        crs: the CRS of the tiles.
    """
    return reproject_exact(_clip(region.geometry, bounds), WGS84, crs)


def place_region(region: Region, grid: Grid, any_turn: bool = True) -> BaseGeometry:
    """Return a region's polygon in the CRS of a grid, which may count longitudes beyond 180.

    Of the whole map it is the grid's outline; without `any_turn` as far as that is shown once.
    """
    if region.whole_map:
        return outline_on_earth(grid, any_turn)
    return onto_grid(_clip(region.geometry, _reach(grid)), grid)


@lru_cache(maxsize=16)
def _reach(grid: Grid) -> tuple[float, float, float, float]:
    return widen(narrow_bounds(footprint(grid)))


def measure_outside(
    geometry: BaseGeometry, grids: Sequence[Grid], any_turn: bool = True
) -> tuple[float, float]:
    """Measure the part of a region that no tile covers, from geometry alone.

    Args:
        geometry: the region in EPSG:4326.
        grids: the grids of the tiles.
        any_turn: see `count_block`.

    Returns:
        True area in m², and the bound in m² of the error of the region's classes: reprojected
        borders, and pixels of degrees or coarse ones, whose area is taken as even where a border
        cuts them.
    """
    border = geometry.length * METRES_A_DEGREE
    slack = 2 * BORDER_M * border
    if not grids:
        return degrees_area(geometry), slack
    uncovered = only_polygons(geometry.difference(unite(tuple(grids), any_turn)))
    slack += border * max(_unevenness(grid, geometry) for grid in grids)
    shifts, shares = zip(*(_coarse_unevenness(grid) for grid in grids), strict=True)
    slack += border * max(shifts) + degrees_area(geometry) * max(shares)
    return degrees_area(uncovered) if uncovered else 0.0, slack


@lru_cache(maxsize=256)
def unite(grids: tuple[Grid, ...], any_turn: bool = True) -> BaseGeometry:
    """Return the area that grids cover together, in EPSG:4326.

    Results are cached: neighbouring regions share their tiles.
    """
    unions = []
    for crs in sorted({grid.crs for grid in grids}):
        crs_grids = [grid for grid in grids if grid.crs == crs]
        # Neighbours' corners differ in the last digits: snapped, no gap is left between them.
        union = shapely.union_all(
            [outline_on_earth(grid, any_turn) for grid in crs_grids],
            grid_size=min(crs_grids[0].resolution) * 1e-6,
        )
        # A grid's sides go the way they are told, however long they are.
        if turn := turn_of(crs):
            union = shapely.segmentize(union, turn / 4)
        unions.append(to_degrees(union, crs, "the tiles of the map"))
    return shapely.union_all(unions)


def transitions(pairs: pa.Table, regions: pa.Table, names: Mapping[int, str]) -> pa.Table:
    """Return the transitions table.

    Args:
        pairs: INSIDE rows whose periods and classes are pairs (see BETWEEN).
        regions: the regions table.
        names: class names by id.

    Returns:
        A row for every region, pair of periods and pair of classes, with its area in m² and its
        share of the area that has a class in both periods (`schemas.TRANSITIONS`).
    """
    region = regions.select(["region_id", "level", "name"]).to_pylist()
    rows = [
        region[row["position"]] | change
        for row in sorted(
            pairs.to_pylist(), key=lambda row: (row["position"], row["period"], row["class_id"])
        )
        if (change := _class_change(row, names))
    ]
    totals: dict[tuple[str, str, str], float] = {}
    for row in rows:
        key = (row["region_id"], row["period_from"], row["period_to"])
        totals[key] = totals.get(key, 0.0) + row["area_m2"]
    for row in rows:
        key = (row["region_id"], row["period_from"], row["period_to"])
        row["share"] = row["area_m2"] / totals[key]
    return pa.Table.from_pylist(rows, schemas.TRANSITIONS)


def _class_change(row: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any] | None:
    # What an INSIDE row of a pair says; None where either period has no class.
    period_from, _, period_to = row["period"].partition(BETWEEN)
    from_id, to_id = divmod(row["class_id"], 256)
    if not (period_from and period_to) or NODATA in (from_id, to_id):
        return None
    return {
        "period_from": period_from,
        "period_to": period_to,
        "from_id": from_id,
        "from_class": names.get(from_id, f"class {from_id}"),
        "to_id": to_id,
        "to_class": names.get(to_id, f"class {to_id}"),
        "pixels": row["pixels"],
        "area_m2": row["area_m2"],
    }


@lru_cache(maxsize=4)
def _pixel_areas(grid: Grid) -> np.ndarray:
    return pixel_areas(grid)


def _bounds(tiles: Sequence[Mapping[str, Any]]) -> tuple[float, float, float, float]:
    west, south = (min(tile[name] for tile in tiles) for name in ("xmin", "ymin"))
    east, north = (max(tile[name] for tile in tiles) for name in ("xmax", "ymax"))
    if west == -180 and east == 180:
        # Across the antimeridian the bounds of a column each go all the way round.
        outlines = [footprint(arrays.grid_from(tile)) for tile in tiles]
        west, south, east, north = narrow_bounds(shapely.union_all(outlines))
    return widen((west, south, east, north))


def _clip(geometry: BaseGeometry, bounds: tuple[float, float, float, float]) -> BaseGeometry:
    # Distant parts may have no coordinates in the tiles' CRS, or lie across a seam of it.
    west, south, east, north = geometry.bounds
    if west >= bounds[0] and south >= bounds[1] and east <= bounds[2] and north <= bounds[3]:
        return geometry
    return only_polygons(geometry.intersection(wrap_longitudes(shapely.box(*bounds))))


@lru_cache(maxsize=256)
def _coarse_unevenness(grid: Grid) -> tuple[float, float]:
    # Of a projected grid of coarse pixels, over which the areal scale bends: the metres that a
    # border may seem to be shifted by, an eighth of the difference between neighbours as below, and
    # the relative error of a pixel's area by the scale at its centre, a twenty-fourth of how far
    # that differs from the mean of both neighbours' (the midpoint rule).
    if parse_crs(grid.crs).is_geographic or is_equal_area(grid.crs):
        return 0.0, 0.0
    side_m = pixel_side_m(grid)
    if side_m < _COARSE_M:
        return 0.0, 0.0
    areas = pixel_areas(grid)
    relative = [np.diff(areas, axis=axis) / areas.min() for axis in (0, 1)]
    slope = sum(float(np.abs(steps).max(initial=0)) for steps in relative)
    bend = sum(
        float(np.abs(np.diff(steps, axis=axis)).max(initial=0))
        for axis, steps in enumerate(relative)
    )
    return side_m * slope / 8, bend / 24


def _unevenness(grid: Grid, geometry: BaseGeometry) -> float:
    # Metres that a border on a grid of degrees may seem to be shifted by: the two ends of a pixel
    # differ in width by the cosine of latitude, at a pole by all of it; a half cut off by degrees
    # is then an eighth of the difference off.
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

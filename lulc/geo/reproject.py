"""Polygons reprojected exactly: sides are densified until they follow the curve."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.antimeridian import (
    find_long_side,
    join_polygons,
    narrow_bounds,
    only_polygons,
    polygon_of_ring,
    repair,
    wrap_longitudes,
)
from lulc.geo.grid import (
    METRES_A_DEGREE,
    RIM,
    WGS84,
    Grid,
    central_meridian,
    footprint,
    outline,
    parse_crs,
    rim,
    same_crs,
    transform_points,
    transformer,
    turn_of,
)

BORDER_M = 2e-4
"""How far, in metres, a reprojected border may lie from its true course."""
_TOUCH = 1e-12  # of a turn


def reproject_exact(geometry: BaseGeometry, source_crs: str, target_crs: str) -> BaseGeometry:
    """Return the polygon in another CRS, its border within BORDER_M of its true course.

    Each side is densified by itself, alike from both ends, so that polygons that share a border
    still share it afterwards.

    Args:
        geometry: Polygon or MultiPolygon whose sides are straight in `source_crs`.
        source_crs: CRS of the geometry.
        target_crs: CRS of the result.

    Raises:
        InputError: a point of the border cannot be transformed to `target_crs`.
    """
    if geometry.is_empty or same_crs(source_crs, target_crs):
        return geometry
    return join_polygons(reproject_polygons(shapely.get_parts(geometry), source_crs, target_crs))


def reproject_polygons(polygons: np.ndarray, source_crs: str, target_crs: str) -> np.ndarray:
    """Return (N,) polygons in another CRS, as `reproject_exact` does, each by itself."""
    if not polygons.size or same_crs(source_crs, target_crs):
        return polygons
    coarse = shapely.segmentize(polygons, _coarse_step(source_crs))
    rings, ring_polygons = shapely.get_rings(coarse, return_index=True)
    vertices, vertex_rings = shapely.get_coordinates(rings, return_index=True)
    piece_counts = _count_pieces(vertices, vertex_rings, source_crs, target_crs)
    dense, side_starts = _split_sides(vertices, piece_counts)
    projected = np.column_stack(transform_points(dense[:, 0], dense[:, 1], source_crs, target_crs))
    if not np.isfinite(projected).all():
        x, y = dense[~np.isfinite(projected).all(1)][0]
        raise InputError(
            f"point {x:g}, {y:g} of CRS {source_crs[:40]} cannot be transformed to "
            f"CRS {target_crs[:40]}"
        )
    linear_rings = shapely.linearrings(projected, indices=vertex_rings[side_starts])
    return np.asarray(shapely.polygons(linear_rings, indices=ring_polygons))


def _coarse_step(crs: str) -> float:
    # Length of sides, in units of the CRS, short enough that a side's middle shows how far the
    # projection bends it.
    if parse_crs(crs).is_geographic:
        return 0.25
    return 25_000 / parse_crs(crs).axis_info[0].unit_conversion_factor


def _count_pieces(
    vertices: np.ndarray, vertex_rings: np.ndarray, source_crs: str, target_crs: str
) -> np.ndarray:
    # (N,) pieces that the side from each vertex to the next is cut into, so that no piece's middle
    # is off by more than BORDER_M; 1 for the last vertex of a ring. Bends shrink with the square
    # of the length.
    side_starts = np.flatnonzero(vertex_rings[1:] == vertex_rings[:-1])
    side_ends = side_starts + 1
    told_middles = (vertices[side_starts] + vertices[side_ends]) / 2
    projected, middles = (
        np.column_stack(transform_points(points[:, 0], points[:, 1], source_crs, target_crs))
        for points in (vertices, told_middles)
    )
    straight_middles = (projected[side_starts] + projected[side_ends]) / 2
    bends = _offset_metres(middles - straight_middles, middles, target_crs)
    counts = np.ones(len(vertices), np.int64)
    bend_ratios = np.clip(np.nan_to_num(bends / BORDER_M, posinf=1.0), 1, 1e8)
    counts[side_starts] = np.ceil(np.sqrt(bend_ratios))
    return counts


def _split_sides(vertices: np.ndarray, piece_counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # (M, 2) vertices and, after each, the inner points of its side; (M,) vertex that each belongs
    # to. A ring's last vertex has no side.
    side_starts = np.repeat(np.arange(len(vertices)), piece_counts)
    first_points = np.repeat(np.cumsum(piece_counts) - piece_counts, piece_counts)
    steps = np.arange(len(side_starts)) - first_points
    side_ends = np.minimum(side_starts + 1, len(vertices) - 1)
    shares = (steps / piece_counts[side_starts])[:, None]
    dense = vertices[side_starts] + shares * (vertices[side_ends] - vertices[side_starts])
    return dense, side_starts


def _offset_metres(offsets: np.ndarray, points: np.ndarray, crs: str) -> np.ndarray:
    # Lengths of (N, 2) offsets at points of a CRS.
    parsed = parse_crs(crs)
    if not parsed.is_geographic:
        metre = parsed.axis_info[0].unit_conversion_factor
        return np.asarray(np.hypot(offsets[:, 0], offsets[:, 1]) * metre)
    # The middle between 179.9 and -179.9 is half a turn off and yet right.
    lon_offsets = (offsets[:, 0] + 90) % 180 - 90
    parallels = np.cos(np.radians(points[:, 1]))
    return np.asarray(METRES_A_DEGREE * np.hypot(lon_offsets * parallels, offsets[:, 1]))


def to_degrees(geometry: BaseGeometry, crs: str, origin: str) -> BaseGeometry:
    """Return polygons of any CRS in EPSG:4326: the one road by which lulc places what it is given.

    They are valid, with longitudes in -180…180, split at the antimeridian, and closed over a pole
    that they contain. Parts that overlap are united; one without an area is empty.

    Args:
        geometry: Polygon or MultiPolygon in `crs`.
        crs: CRS of the geometry; one of degrees may count longitudes to ±540.
        origin: What the polygon is and its file, for errors.

    Raises:
        InputError: the polygon does not lie on the Earth by this CRS, or it is not said which way
            round the Earth a side of it goes.
    """
    check_sides(geometry, crs, origin)
    geometry = repair(geometry)
    if geometry.is_empty:
        return geometry
    try:
        projected = reproject_exact(geometry, crs, WGS84)
    except InputError as error:
        raise InputError(f"{origin}: {error}; is this the CRS of its coordinates?") from error
    west, south, east, north = projected.bounds
    if south < -90.001 or north > 90.001 or west < -540 or east > 540:
        raise InputError(
            f"{origin} has bounds {projected.bounds}, which are not degrees: "
            "write the CRS of its coordinates into the file"
        )
    if parse_crs(crs).is_geographic:
        return wrap_longitudes(projected)
    polygons = [_unwrap_polygon(polygon) for polygon in shapely.get_parts(projected)]
    return join_polygons(shapely.get_parts(polygons))


def check_sides(polygons: BaseGeometry | np.ndarray, crs: str, origin: str) -> None:
    """Refuse polygons in degrees of which a side goes more than half round the Earth.

    Args:
        polygons: Polygons or MultiPolygons in `crs`.
        crs: CRS of the polygons.
        origin: What they are and their file, for errors.

    Raises:
        InputError: it is not said which way round a side goes.
    """
    turn = turn_of(crs)
    side = find_long_side(polygons, turn) if turn and parse_crs(crs).is_geographic else None
    if side is not None:
        raise InputError(
            f"{origin} has a side from longitude {side[0]:g} to {side[1]:g}, which does not say "
            "which way round the Earth it goes: where it crosses 180, cut the polygon there "
            "(RFC 7946), or count on beyond 180; where it goes the long way, put a point between"
        )


def bounds_in(grid: Grid, crs: str) -> tuple[float, float, float, float] | None:
    """Return bounds (xmin, ymin, xmax, ymax) in another CRS that hold a grid.

    In a CRS of degrees they go the shorter way round the Earth, beyond 180 if need be, and reach a
    pole that lies in the grid.

    Returns:
        The bounds; None where the CRS cannot hold the grid.
    """
    if same_crs(grid.crs, crs):
        return grid.bounds
    if not parse_crs(crs).is_geographic:
        to_crs = transformer(grid.crs, crs)
        bounds = to_crs.transform_bounds(*grid.bounds, densify_pts=21)
        return bounds if np.isfinite(bounds).all() else None
    try:
        west, south, east, north = widen(narrow_bounds(footprint(grid)))
    except InputError:
        return None
    lat = np.clip([south, south, north, north], -90, 90)
    x, y = transform_points(np.array([west, east, west, east]), lat, WGS84, crs)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def widen(bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Widen the bounds of a footprint (west, south, east, north; degrees) by 1 % of its size.

    The sides of a footprint are chords, and the pixels reach a little beyond them.
    """
    west, south, east, north = bounds
    margin = 0.01 * max(east - west, north - south)
    return west - margin, south - margin, east + margin, north + margin


@lru_cache(maxsize=1024)
def outline_on_earth(grid: Grid, any_turn: bool = True) -> BaseGeometry:
    """Return the outline, in its own CRS, of the part of a grid that shows the Earth.

    A tile at the rim of the world, as of the sinusoidal grid of MODIS, lies partly outside.

    Args:
        grid: The grid.
        any_turn: Also what lies beyond the end of a CRS that goes round, which is the Earth once
            more.
    """
    if (ends := _ends(grid.crs)) and not any_turn and _lies_beyond(grid):
        _, bottom, _, top = grid.bounds
        return only_polygons(outline(grid) & shapely.box(ends[0], bottom, ends[1], top))
    outlined = outline(grid)
    earth = rim(grid.crs)
    if earth is None or earth.contains(outlined):
        return outlined
    # A metre short of the poles, where rounding may lead off the Earth.
    south, north = -90 + 1e-5, 90 - 1e-5
    on_earth = outlined.intersection(earth)
    if not on_earth.is_empty:
        _, lat = transformer(grid.crs, WGS84).transform(*shapely.get_coordinates(on_earth).T)
        south, north = max(south, float(lat.min()) - 1), min(north, float(lat.max()) + 1)
    middle, half = central_meridian(grid.crs), 180 - RIM
    exact = shapely.box(middle - half, south, middle + half, north)
    return only_polygons(outlined.intersection(reproject_exact(exact, WGS84, grid.crs)))


def onto_grid(geometry: BaseGeometry, grid: Grid) -> BaseGeometry:
    """Return polygons in a grid's CRS, at every whole turn by which they meet the grid.

    Args:
        geometry: Polygons in EPSG:4326, by `to_degrees`.
        grid: It may lie any number of turns beyond 180, also in a projection that goes round.
    """
    geometry = reproject_exact(geometry, WGS84, grid.crs)
    turn = turn_of(grid.crs)
    if turn is None or geometry.is_empty or not _lies_beyond(grid):
        return geometry
    (left, _, right, _), (west, _, east, _) = grid.bounds, geometry.bounds
    # A touch is no meeting: of a map of all longitudes a region is taken at one turn.
    first = math.ceil((left - east) / turn + _TOUCH)
    last = math.floor((right - west) / turn - _TOUCH)
    if first == last == 0:
        return geometry
    moved = [translate(geometry, xoff=k * turn) for k in range(first, last + 1)]
    return join_polygons(shapely.get_parts(moved))


@lru_cache(maxsize=1024)
def _lies_beyond(grid: Grid) -> bool:
    # Whether a grid reaches beyond the one turn of its CRS to which EPSG:4326 is reprojected.
    ends, (left, _, right, _) = _ends(grid.crs), grid.bounds
    return ends is not None and (left < ends[0] or right > ends[1])


@lru_cache(maxsize=64)
def _ends(crs: str) -> tuple[float, float] | None:
    # x of the two ends of that turn; None of a CRS that does not go round.
    if turn_of(crs) is None:
        return None
    lon = np.array([-180, 180]) * (1 - 1e-12)
    if not parse_crs(crs).is_geographic:
        lon = lon + central_meridian(crs)
    x, _ = transform_points(lon, np.zeros(2), WGS84, crs)
    return float(x.min()), float(x.max())


def _unwrap_polygon(polygon: BaseGeometry) -> BaseGeometry:
    # A polygon that spans half a turn or more crosses the antimeridian or goes round a pole.
    west, _, east, _ = polygon.bounds
    if east - west < 180:
        return wrap_longitudes(polygon)
    shell, *holes = (
        polygon_of_ring(*shapely.get_coordinates(ring).T) for ring in shapely.get_rings(polygon)
    )
    return only_polygons(shell.difference(shapely.union_all(holes))) if holes else shell

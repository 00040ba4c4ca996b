"""Polygons in longitude and latitude: split at the antimeridian, closed over the poles."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError

_MAX_TURNS = 4  # that polygons in degrees may go round the Earth; grids reach over three
_POLYGON = 3  # as shapely.get_type_id gives it; the numbers above it are of types with parts


def short_way_round(polygons: BaseGeometry) -> BaseGeometry:
    """Return polygons as `wrap_longitudes` does, their long sides taken for crossings of 180.

    For outlines of scenes, which are never so large that a side goes the long way round.

    Args:
        polygons: Polygon or MultiPolygon in degrees.
    """
    return only_polygons(
        shapely.union_all(
            [
                wrap_longitudes(polygon)
                if find_long_side(polygon) is None
                else polygon_of_ring(*shapely.get_coordinates(polygon.exterior).T)
                for polygon in shapely.get_parts(polygons)
            ]
        )
    )


def polygon_of_ring(lon: np.ndarray, lat: np.ndarray) -> BaseGeometry:
    """Return what a closed ring of points encloses, in EPSG:4326.

    A jump from 180 to -180 is taken as a crossing of the antimeridian. A ring whose longitudes end
    a whole turn away from where they began goes round a pole: it is led over the pole of its
    hemisphere.

    Args:
        lon: (N,) longitudes in degrees, in steps of less than half a turn; the last point is the
            first one.
        lat: (N,) latitudes in degrees.
    """
    lon = np.unwrap(lon, period=360)
    if abs(lon[-1] - lon[0]) > 180:
        pole = 90.0 if lat.mean() > 0 else -90.0
        lon = np.concatenate([lon, [lon[-1], lon[0], lon[0]]])
        lat = np.concatenate([lat, [pole, pole, lat[0]]])
    return wrap_longitudes(shapely.Polygon(np.column_stack([lon, lat])))


def wrap_longitudes(geometry: BaseGeometry) -> BaseGeometry:
    """Return valid polygons with all longitudes in -180…180, split at the antimeridian.

    Args:
        geometry: Polygons in degrees whose longitudes may run any number of turns beyond ±180.

    Raises:
        InputError: they go round the Earth more than four times, so that they are no degrees.
    """
    geometry = repair(geometry)
    west, _, east, _ = geometry.bounds
    if geometry.is_empty or (west >= -180 and east <= 180):
        return geometry
    if east - west > 360 * _MAX_TURNS:
        raise InputError(
            f"a polygon from longitude {west:g} to {east:g} is not in degrees: give its true CRS"
        )
    first_turn = int(np.floor((west + 180) / 360))
    last_turn = int(np.ceil((east - 180) / 360))
    turns = range(first_turn, last_turn + 1)
    return only_polygons(shapely.union_all([_cut_turn(geometry, turn) for turn in turns]))


def repair(geometry: BaseGeometry) -> BaseGeometry:
    """Return polygons as valid ones; parts that overlap, or lie within others, are united."""
    if shapely.is_valid(geometry):
        return geometry
    valid = shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    return only_polygons(valid)


def narrow_bounds(geometry: BaseGeometry) -> tuple[float, float, float, float]:
    """Return west, south, east and north of a geometry by its shorter way round the Earth.

    Args:
        geometry: In EPSG:4326, with longitudes in -180…180.

    Returns:
        Degrees; east is beyond 180 where the geometry lies across the antimeridian.
    """
    west, south, east, north = geometry.bounds
    if west > -180 or east < 180:
        return west, south, east, north
    bounds = shapely.bounds(shapely.get_parts(geometry))
    spans = bounds[np.argsort(bounds[:, 0])][:, [0, 2]]
    furthest = np.maximum.accumulate(spans[:, 1])
    gaps = spans[1:, 0] - furthest[:-1]
    if not gaps.size or gaps.max() <= 0:
        return west, south, east, north
    widest = int(np.argmax(gaps))
    return float(spans[widest + 1, 0]), south, float(furthest[widest]) + 360, north


def find_long_side(
    polygons: BaseGeometry | np.ndarray, turn: float = 360
) -> tuple[float, float] | None:
    """Return the longitudes between which a side runs more than half round the Earth, if any does.

    Such a side may mean the short way, across the antimeridian. Not meant are sides along a pole,
    and those that go round by a whole turn.

    Args:
        polygons: Polygons or MultiPolygons in degrees, as a file tells them.
        turn: A whole turn in their unit.
    """
    rings = shapely.get_rings(shapely.get_parts(polygons))
    lon_lat, ring = shapely.get_coordinates(rings, return_index=True)
    lengths = np.abs(np.diff(lon_lat[:, 0])) / turn
    at_pole = np.abs(lon_lat[:, 1]) > 89 / 360 * turn
    is_side = (ring[1:] == ring[:-1]) & ~(at_pole[1:] & at_pole[:-1])
    sides = np.flatnonzero((lengths > 0.5 + 1e-9) & (lengths < 1 - 1e-9) & is_side)
    return (float(lon_lat[sides[0], 0]), float(lon_lat[sides[0] + 1, 0])) if sides.size else None


def _cut_turn(geometry: BaseGeometry, turn: int) -> BaseGeometry:
    # What lies between 360 turn - 180 and 360 turn + 180 degrees, moved back to -180…180.
    world = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
    return translate(geometry.intersection(world), xoff=-360 * turn)


def only_polygons(geometry: BaseGeometry) -> BaseGeometry:
    """Return the polygons of any geometry as one Polygon or MultiPolygon, which may be empty."""
    # A collection may hold collections.
    pieces = shapely.get_parts(geometry)
    while (shapely.get_type_id(pieces) > _POLYGON).any():
        pieces = shapely.get_parts(pieces)
    return join_polygons(pieces[shapely.get_type_id(pieces) == _POLYGON])


def join_polygons(polygons: np.ndarray) -> BaseGeometry:
    """Return an array of polygons as one Polygon, or a MultiPolygon of several or none."""
    return polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)

"""Polygons in longitude and latitude: split at the antimeridian, closed over the poles."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

_POLYGON = 3  # as shapely.get_type_id gives it; the numbers above it are of types with parts


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
    """
    if not shapely.is_valid(geometry):
        geometry = only_polygons(shapely.make_valid(geometry))
    west, _, east, _ = geometry.bounds
    if west >= -180 and east <= 180:
        return geometry
    first_turn = int(np.floor((west + 180) / 360))
    last_turn = int(np.ceil((east - 180) / 360))
    turns = range(first_turn, last_turn + 1)
    return only_polygons(shapely.union_all([_cut_turn(geometry, turn) for turn in turns]))


def _cut_turn(geometry: BaseGeometry, turn: int) -> BaseGeometry:
    # What lies between 360 turn - 180 and 360 turn + 180 degrees, moved back to -180…180.
    world = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
    return translate(geometry.intersection(world), xoff=-360 * turn)


def only_polygons(geometry: BaseGeometry) -> BaseGeometry:
    """Return the polygons of any geometry as one Polygon or MultiPolygon, which may be empty."""
    # A collection may hold collections.
    parts = shapely.get_parts(geometry)
    while (shapely.get_type_id(parts) > _POLYGON).any():
        parts = shapely.get_parts(parts)
    return join_polygons(parts[shapely.get_type_id(parts) == _POLYGON])


def join_polygons(polygons: np.ndarray) -> BaseGeometry:
    """Return an array of polygons as one Polygon, or a MultiPolygon of several or none."""
    return polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)

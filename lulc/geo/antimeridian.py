"""Polygons of longitudes and latitudes: closed over the poles they go round, split where they cross the antimeridian."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry


def enclose(lon: np.ndarray, lat: np.ndarray) -> BaseGeometry:
    """What a closed ring of points (degrees, steps of less than half a turn) encloses, in EPSG:4326; over a pole it goes round.

    A ring that jumps from 180 to -180 runs on past it; one that ends a whole turn off is led over the pole of its hemisphere.
    """
    lon = np.unwrap(lon, period=360)
    if abs(lon[-1] - lon[0]) > 180:
        pole = 90.0 if lat.mean() > 0 else -90.0
        lon = np.concatenate([lon, [lon[-1], lon[0], lon[0]]])
        lat = np.concatenate([lat, [pole, pole, lat[0]]])
    return wrap(shapely.Polygon(np.column_stack([lon, lat])))


def wrap(geometry: BaseGeometry) -> BaseGeometry:
    """The polygons, valid, with what lies beyond 180 put where its longitudes from -180 on are."""
    if not shapely.is_valid(geometry):
        geometry = only_polygons(shapely.make_valid(geometry))
    west, _, east, _ = geometry.bounds
    if west >= -180 and east <= 180:
        return geometry
    turns = range(int(np.floor((west + 180) / 360)), int(np.ceil((east - 180) / 360)) + 1)
    parts = [
        translate(
            geometry.intersection(shapely.box(360 * k - 180, -90, 360 * k + 180, 90)), xoff=-360 * k
        )
        for k in turns
    ]
    return only_polygons(shapely.union_all(parts))


def only_polygons(geometry: BaseGeometry) -> BaseGeometry:
    """The polygons of a geometry of any kind as one Polygon or MultiPolygon, which may be empty."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return join_polygons(shapely.get_parts(parts[np.isin(shapely.get_type_id(parts), (3, 6))]))


def join_polygons(polygons: np.ndarray) -> BaseGeometry:
    """One Polygon, or a MultiPolygon of several or none."""
    return polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)

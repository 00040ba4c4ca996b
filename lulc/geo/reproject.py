"""Polygons carried exactly between CRSs: edges are densified until they follow the curve."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.antimeridian import enclose, join_polygons, only_polygons, wrap
from lulc.geo.grid import WGS84, parse_crs, same_crs, transformer

BORDER_M = 2e-4
"""How far, in metres, a border carried into another CRS may lie from where it truly runs."""
METRES_A_DEGREE = 111_320.0
"""At most, everywhere."""


def reproject_exact(geometry: BaseGeometry, source: str, target: str) -> BaseGeometry:
    """The polygon in another CRS; sides straight in `source` keep within BORDER_M of their true course.

    Each side is cut by itself, alike from both ends, so that polygons that share a border share it afterwards too.
    """
    if geometry.is_empty or same_crs(source, target):
        return geometry
    degrees = parse_crs(source).is_geographic
    # Short enough pieces that a side has no turn that its middle does not show.
    coarse = shapely.segmentize(
        geometry,
        0.25 if degrees else 25_000 / parse_crs(source).axis_info[0].unit_conversion_factor,
    )
    rings, polygon = shapely.get_rings(shapely.get_parts(coarse), return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    place = transformer(source, target).transform
    pieces = np.ones(len(xy), np.int64)
    within = np.flatnonzero(ring[1:] == ring[:-1])
    there = np.column_stack(place(xy[:, 0], xy[:, 1]))
    middle = np.column_stack(place(*((xy[within] + xy[within + 1]) / 2).T))
    off = _metres(middle - (there[within] + there[within + 1]) / 2, middle, target)
    pieces[within] = np.ceil(np.sqrt(np.clip(np.nan_to_num(off / BORDER_M, posinf=1.0), 1, 1e8)))
    # What lies between a vertex and the next: the vertex itself and its side's inner points (the ring's last vertex has none).
    first = np.repeat(np.arange(len(xy)), pieces)
    step = np.arange(len(first)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    after = np.minimum(first + 1, len(xy) - 1)
    dense = xy[first] + (step / pieces[first])[:, None] * (xy[after] - xy[first])
    moved = np.column_stack(place(dense[:, 0], dense[:, 1]))
    if not np.isfinite(moved).all():
        bad = dense[~np.isfinite(moved).all(1)][0]
        raise InputError(
            f"point {bad[0]:g}, {bad[1]:g} of CRS {source[:40]} has no place in CRS {target[:40]}"
        )
    return join_polygons(
        shapely.polygons(shapely.linearrings(moved, indices=ring[first]), indices=polygon)
    )


def to_degrees(geometry: BaseGeometry, crs: str, where: str) -> BaseGeometry:
    """The polygon in EPSG:4326, split at the antimeridian, closed over a pole it holds; InputError names `where`."""
    try:
        placed = reproject_exact(geometry, crs, WGS84)
    except InputError as error:
        raise InputError(f"{where}: {error}; is this the CRS of its coordinates?") from error
    west, south, east, north = placed.bounds
    if south < -90.001 or north > 90.001 or west < -540 or east > 540:
        raise InputError(
            f"{where} has bounds {placed.bounds}, which are no degrees: give the file the CRS of its coordinates"
        )
    if parse_crs(crs).is_geographic:
        return wrap(placed)
    return join_polygons(shapely.get_parts([_unroll(part) for part in shapely.get_parts(placed)]))


def _unroll(polygon: BaseGeometry) -> BaseGeometry:
    west, _, east, _ = polygon.bounds
    if east - west < 180:
        return wrap(polygon)
    filled = [enclose(*shapely.get_coordinates(ring).T) for ring in shapely.get_rings(polygon)]
    return (
        filled[0]
        if len(filled) == 1
        else only_polygons(filled[0].difference(shapely.union_all(filled[1:])))
    )


def _metres(offset: np.ndarray, at: np.ndarray, crs: str) -> np.ndarray:
    parsed = parse_crs(crs)
    if not parsed.is_geographic:
        return np.asarray(
            np.hypot(offset[:, 0], offset[:, 1]) * parsed.axis_info[0].unit_conversion_factor
        )
    # The middle between 179.9 and -179.9 is half a turn off and yet right.
    lon = (offset[:, 0] + 90) % 180 - 90
    return np.asarray(METRES_A_DEGREE * np.hypot(lon * np.cos(np.radians(at[:, 1])), offset[:, 1]))

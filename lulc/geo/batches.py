"""Many grids or geometries at once: what `lulc.geo.grid` gives for one, at a fraction of the cost.

Most of that cost is the call of PROJ and GEOS for each one; here one call does thousands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, footprint, outline, rim, same_crs, transformer

_AT_ONCE = 4096
_MAX_SIDE_DEGREES = 5.0  # beyond it `footprint` looks closer


def projected_bounds(
    geometries: Sequence[shapely.Geometry], source: str, target: str
) -> np.ndarray:
    """Return the bounds of geometries in another CRS, their sides densified as `project` does.

    Args:
        geometries: (N,) any geometries without parts.
        source: CRS of the geometries.
        target: CRS of the bounds.

    Returns:
        (N, 4) xmin, ymin, xmax, ymax. Points without coordinates in the target are left out; NaN
        where there is no other.
    """
    bounds = np.full((len(geometries), 4), np.nan)
    for start in range(0, len(geometries), _AT_ONCE):
        some = np.array(geometries[start : start + _AT_ONCE], dtype=object)
        if not same_crs(source, target):
            west, south, east, north = shapely.bounds(some).T
            steps = np.maximum(east - west, north - south) / 64
            some = shapely.segmentize(some, np.where(steps > 0, steps, 1.0))
        points, owner = shapely.get_coordinates(some, return_index=True)
        if not same_crs(source, target):
            points = np.column_stack(transformer(source, target).transform(*points.T))
        finite = np.isfinite(points).all(1)
        points, owner = points[finite], owner[finite]
        if len(owner):
            owners, first = np.unique(owner, return_index=True)
            bounds[start + owners, :2] = np.minimum.reduceat(points, first)
            bounds[start + owners, 2:] = np.maximum.reduceat(points, first)
    return bounds


def footprints(grids: Sequence[Grid]) -> np.ndarray:
    """Return the outlines of grids in EPSG:4326, as `lulc.geo.grid.footprint` gives them.

    Args:
        grids: (N,) of one CRS.

    Returns:
        (N,) geometries; None where the CRS has no longitudes and latitudes.
    """
    outlines = np.full(len(grids), None, dtype=object)
    for start in range(0, len(grids), _AT_ONCE):
        some = grids[start : start + _AT_ONCE]
        plain_outlines, is_plain = _plain_footprints(some)
        outlines[start : start + len(some)][is_plain] = plain_outlines[is_plain]
        for number in np.flatnonzero(~is_plain).tolist():
            try:
                outlines[start + number] = footprint(some[number])
            except InputError:
                continue
    return outlines


def _plain_footprints(grids: Sequence[Grid]) -> tuple[np.ndarray, np.ndarray]:
    # Outlines, and which of them are right: all but those at a pole, at 180 degrees, or at the rim
    # of what the CRS covers.
    crs, earth = grids[0].crs, rim(grids[0].crs)
    shapes = np.array([outline(grid) for grid in grids], dtype=object)
    steps = np.array([max(grid.shape) * max(grid.resolution) / 16 for grid in grids])
    points, owner = shapely.get_coordinates(shapely.segmentize(shapes, steps), return_index=True)
    lon, lat = transformer(crs, WGS84).transform(*points.T)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    last = np.append(first[1:], len(owner)) - 1
    lon[last], lat[last] = lon[first], lat[first]  # the ring ends where it began
    with np.errstate(invalid="ignore"):
        on_earth = np.isfinite(lon) & np.isfinite(lat) & (abs(lon) <= 180) & (abs(lat) < 90 - 1e-9)
        turns = abs(np.diff(lon, prepend=0.0)) > _MAX_SIDE_DEGREES
    turns[first] = False
    is_plain = np.logical_and.reduceat(on_earth & ~turns, first)
    if earth is not None:
        is_plain &= shapely.contains(earth, shapes)
    lon, lat = np.where(on_earth, lon, 0.0), np.where(on_earth, lat, 0.0)
    polygons = shapely.polygons(shapely.linearrings(lon, lat, indices=owner))
    return polygons, is_plain & shapely.is_valid(polygons)


def centre_longitudes(grids: Sequence[Grid]) -> np.ndarray:
    """Return the longitudes (N,) of the centres of grids of one CRS.

    They are from -180 to 180 degrees; 0 where there is none.
    """
    if not len(grids):
        return np.zeros(0)
    x, y = np.array([grid.affine @ (grid.width / 2, grid.height / 2) for grid in grids]).T
    lon, _ = transformer(grids[0].crs, WGS84).transform(x, y)
    return np.where(np.isfinite(lon), (lon + 180) % 360 - 180, 0.0)

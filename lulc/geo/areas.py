"""True areas on the ellipsoid of WGS 84: of pixels of any grid and of polygons in degrees."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import shapely
from pyproj import CRS, Geod
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.grid import (
    METRES_A_DEGREE,
    WGS84,
    Grid,
    map_coordinates,
    parse_crs,
    transformer,
)

# Points on -1…1 and weights of Gauss-Legendre quadrature.
_GAUSS_POINTS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(5)

_WGS84 = Geod(ellps="WGS84")

# Latitudes off by up to this many degrees (2 m) leave areas as they are, to some 1e-7, and so do
# shifts that change by up to this many degrees a degree.
_SAME_DEGREES, _SAME_SCALE = 2e-5, 1e-7

# PROJ method names whose areal scale is one everywhere on the ellipsoid.
_EQUAL_AREA = (
    "Lambert Azimuthal Equal Area",
    "Albers Equal Area",
    "Lambert Cylindrical Equal Area",
    "Equal Earth",
)


@lru_cache(maxsize=256)
def is_equal_area(crs: str) -> bool:
    """Return whether every pixel of a regular grid in this CRS has the same area on WGS 84.

    Of a projection from another ellipsoid, or from a sphere, they have not: PROJ takes the
    latitudes of a sphere for those of WGS 84.
    """
    parsed = parse_crs(crs)
    operation = parsed.coordinate_operation
    method = "" if operation is None else operation.method_name
    return (
        method.startswith(_EQUAL_AREA) and "pherical" not in method and _is_wgs84_in_shape(parsed)
    )


def _is_wgs84_in_shape(crs: CRS) -> bool:
    # GRS 80 is a tenth of a millimetre flatter.
    ellipsoid = crs.ellipsoid
    return ellipsoid is not None and (
        abs(ellipsoid.semi_major_metre - _WGS84.a) < 1e-3
        and abs(ellipsoid.semi_minor_metre - _WGS84.b) < 1e-3
    )


def _zone_area(lat: np.ndarray) -> np.ndarray:
    # Area in m² on WGS 84 between the equator and a latitude in degrees, one radian of longitude
    # wide: Snyder 1987, Map Projections: A Working Manual, eq. 3-12 (q); area = b²/2-scaled
    # authalic integral.
    e2 = _WGS84.es
    e = math.sqrt(e2)
    s = np.sin(np.radians(lat))
    q = (1 - e2) * (s / (1 - e2 * s * s) + np.arctanh(e * s) / e)
    return np.asarray(_WGS84.a**2 * q / 2)


def pixel_areas(grid: Grid) -> np.ndarray:
    """Return the true area of the grid's pixels: that of the ground they cover, on WGS 84.

    The ground is where PROJ takes a pixel to in EPSG:4326, so that pixels on any ellipsoid or
    sphere add up to the regions that they cover. On an unrotated geographic grid by a closed form
    (Snyder 1987, eq. 3-12); on a rotated one from the area element at four Gauss points per pixel;
    on a projected grid from the areal scale at pixel centres, interpolated from points at most 16
    pixels and about 4 km apart; so is the change of area from another geodetic datum.

    Returns:
        Areas in m², float64, broadcastable to (H, W): (1, 1) on an equal-area CRS, (H, 1) on an
        unrotated geographic grid whose latitudes are those of WGS 84, else (H, W).

    Raises:
        InputError: the CRS has no areal scale somewhere on the grid.
    """
    crs = parse_crs(grid.crs)
    a, b, _, d, e, _ = grid.transform
    plane_area = abs(a * e - b * d)
    if is_equal_area(grid.crs):
        return np.array([[plane_area * _metres_per_unit(crs) ** 2]])
    if not crs.is_geographic:
        scales = _interpolate(grid, lambda x, y: _areal_scale(grid.crs, x, y))
        return np.asarray(plane_area * scales)
    areas = _rotated_areas(grid, plane_area) if b or d else _zonal_areas(grid)
    if _has_degrees_of_wgs84(grid):
        return areas
    return np.asarray(areas * _interpolate(grid, lambda x, y: _datum_scale(grid.crs, x, y)))


def pixel_side_m(grid: Grid) -> float:
    """Return the side in m of a square as large as the pixel in the middle of a grid."""
    middle = grid.window(grid.height // 2, grid.width // 2, 1, 1)
    return math.sqrt(float(pixel_areas(middle).mean()))


def _degrees_per_unit(crs: CRS) -> float:
    # Of a geographic CRS, whose unit may be grads or radians.
    return math.degrees(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0


def _metres_per_unit(crs: CRS) -> float:
    # Of a geographic CRS along a meridian, about.
    if crs.is_geographic:
        return METRES_A_DEGREE * _degrees_per_unit(crs)
    return crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0


def _has_degrees_of_wgs84(grid: Grid) -> bool:
    # Whether latitudes of a geographic grid are those of WGS 84, and its meridians too but for
    # where they are counted from.
    x, y = grid.corners()
    lon, lat = transformer(grid.crs, WGS84).transform(x, y)
    degree = _degrees_per_unit(parse_crs(grid.crs))
    told_lon, told_lat = np.asarray(x) * degree, np.asarray(y) * degree
    turns = (np.asarray(lon) - told_lon + 180) % 360
    lon_shifts, lat_shifts = turns - turns[0], np.asarray(lat) - told_lat
    change = max(np.ptp(lon_shifts), np.ptp(lat_shifts))
    side = min(np.ptp(told_lon), np.ptp(told_lat))
    return bool((np.abs(lat_shifts) < _SAME_DEGREES).all() and change <= _SAME_SCALE * side)


def _zonal_areas(grid: Grid) -> np.ndarray:
    # (H, 1): pixels of a row of an unrotated geographic grid are equal.
    degree = _degrees_per_unit(parse_crs(grid.crs))
    a, _, _, _, e, f = grid.transform
    edges = np.clip((f + np.arange(grid.height + 1) * e) * degree, -90, 90)
    return np.abs(np.diff(_zone_area(edges)))[:, None] * math.radians(abs(a) * degree)


def _rotated_areas(grid: Grid, plane_area: float) -> np.ndarray:
    # The integral of the area element over each pixel, by two Gauss points along each side.
    # plane_area: of a pixel, in square units of the CRS.
    degree = _degrees_per_unit(parse_crs(grid.crs))
    _, _, _, d, e, f = grid.transform
    centres = f + d * (np.arange(grid.width) + 0.5) + e * (np.arange(grid.height)[:, None] + 0.5)
    elements = np.zeros(grid.shape)
    for col, row in itertools.product((-math.sqrt(1 / 12), math.sqrt(1 / 12)), repeat=2):
        elements += _element(np.clip((centres + d * col + e * row) * degree, -90, 90)) / 4
    return np.asarray(elements * plane_area * math.radians(degree) ** 2)


def _element(lat: np.ndarray) -> np.ndarray:
    # m² on WGS 84 per square radian at latitudes in degrees: M N cos(latitude), M and N the radii
    # of curvature.
    sine = np.sin(np.radians(lat))
    return np.asarray(_WGS84.b**2 * np.cos(np.radians(lat)) / (1 - _WGS84.es * sine**2) ** 2)


def _interpolate(
    grid: Grid, scale_at: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    # (H, W): a scale at pixel centres, computed from x and y at knots and interpolated bilinearly.
    side = math.prod(grid.resolution) ** 0.5 * _metres_per_unit(parse_crs(grid.crs))
    step = int(np.clip(4000 / (side or 1), 1, 16))
    rows, cols = (np.unique(np.append(np.arange(0, n, step), n - 1)) for n in grid.shape)
    x, y = grid.affine @ (
        cols[None, :] + 0.5 + 0 * rows[:, None],
        rows[:, None] + 0.5 + 0 * cols[None, :],
    )
    scales = scale_at(x, y)
    if not np.isfinite(scales).all():
        raise InputError(
            f"CRS {grid.crs[:40]} gives no areal scale at bounds {grid.bounds}: "
            "use an equal-area tiling"
        )
    by_col = np.stack([np.interp(np.arange(grid.width), cols, knots) for knots in scales])
    position = np.interp(np.arange(grid.height), rows, np.arange(len(rows)))
    above = np.minimum(position.astype(int), len(rows) - 1)
    below = np.minimum(above + 1, len(rows) - 1)
    weight = (position - above)[:, None]
    return np.asarray(by_col[above] * (1 - weight) + by_col[below] * weight)


def _datum_scale(crs: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # m² on WGS 84 per m² that the same numbers of degrees would have there.
    degree = _degrees_per_unit(parse_crs(crs))
    return _areal_scale(crs, x, y) / (_element(y * degree) * math.radians(degree) ** 2)


def _areal_scale(crs: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # m² on the ground per square unit of the CRS: the area element |dP/dx × dP/dy| of the surface
    # P(x, y) of WGS 84 by central differences over 50 m. PROJ's own areal scale is not used: for
    # EPSG:3857 it is that of the sphere, 0.2 % off. In geocentric axes the poles are no exception.
    parsed, to_degrees = parse_crs(crs), transformer(crs, WGS84)
    step = 50 / _metres_per_unit(parsed)

    def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        lon, lat = (np.radians(degrees) for degrees in to_degrees.transform(x, y))
        normal = _WGS84.a / np.sqrt(1 - _WGS84.es * np.sin(lat) ** 2)
        axis_distance = normal * np.cos(lat)
        geocentric = (
            axis_distance * np.cos(lon),
            axis_distance * np.sin(lon),
            normal * (1 - _WGS84.es) * np.sin(lat),
        )
        return np.stack(geocentric, -1)

    with np.errstate(invalid="ignore"):
        along_x = surface(x + step, y) - surface(x - step, y)
        along_y = surface(x, y + step) - surface(x, y - step)
        normals = np.cross(along_x, along_y)
    return np.asarray(np.linalg.norm(normals, axis=-1) / (2 * step) ** 2)


def geodesic_area(geometry: BaseGeometry, crs: str, step: float | None = None) -> float:
    """Return the true area on WGS 84 of a polygon whose sides are straight in its own CRS.

    Sides are densified in that CRS, then Karney's geodesic polygon area is summed.

    Args:
        geometry: Polygon or MultiPolygon.
        crs: Its CRS.
        step: Longest side after densifying, in units of the CRS; 1/2000 of the geometry's size by
            default.

    Returns:
        Area in m².
    """
    if geometry.is_empty:
        return 0.0
    xmin, ymin, xmax, ymax = geometry.bounds
    dense = shapely.segmentize(geometry, step or max(xmax - xmin, ymax - ymin, 1e-12) / 2000)
    polygon = map_coordinates(shapely.orient_polygons(dense), transformer(crs, WGS84).transform)
    return abs(_WGS84.geometry_area_perimeter(polygon)[0])


def degrees_area(geometry: BaseGeometry) -> float:
    """Return the true area of a polygon whose sides are straight in longitude and latitude.

    Green's theorem on the closed form of the area between the equator and a latitude (Snyder 1987,
    eq. 3-12), with five-point Gauss quadrature along each side.

    Args:
        geometry: Polygon or MultiPolygon in EPSG:4326.

    Returns:
        Area in m² on the WGS 84 ellipsoid.
    """
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry)))
    lon_lat, ring = shapely.get_coordinates(rings, return_index=True)
    is_side = ring[1:] == ring[:-1]
    starts, sides = lon_lat[:-1][is_side], np.diff(lon_lat, axis=0)[is_side]
    lat = starts[:, 1, None] + sides[:, 1, None] * (_GAUSS_POINTS + 1) / 2
    zones = _zone_area(lat) @ (_GAUSS_WEIGHTS / 2)
    return abs(float(np.radians(sides[:, 0]) @ zones))

"""True areas on the ellipsoid: of pixels of any grid and of polygons in degrees."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import shapely
from pyproj import CRS, Geod, Transformer
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, map_coordinates, parse_crs

# Points on -1…1 and weights of Gauss-Legendre quadrature.
_GAUSS_POINTS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(5)

# PROJ method names whose areal scale is one everywhere on the ellipsoid.
_EQUAL_AREA = (
    "Lambert Azimuthal Equal Area",
    "Albers Equal Area",
    "Lambert Cylindrical Equal Area",
    "Equal Earth",
)


@lru_cache(maxsize=256)
def is_equal_area(crs: str) -> bool:
    """Return whether every pixel of a regular grid in this CRS has the same true area."""
    operation = parse_crs(crs).coordinate_operation
    method = "" if operation is None else operation.method_name
    return method.startswith(_EQUAL_AREA) and "pherical" not in method


def _zone_area(geod: Geod, lat: np.ndarray) -> np.ndarray:
    # Area in m² between the equator and a latitude in degrees, one radian of longitude wide:
    # Snyder 1987, Map Projections: A Working Manual, eq. 3-12 (q); area = b²/2-scaled authalic
    # integral.
    e2 = geod.es
    e = math.sqrt(e2)
    s = np.sin(np.radians(lat))
    if e == 0:
        return np.asarray(geod.a**2 * s)
    q = (1 - e2) * (s / (1 - e2 * s * s) + np.arctanh(e * s) / e)
    return np.asarray(geod.a**2 * q / 2)


def pixel_areas(grid: Grid) -> np.ndarray:
    """Return the true ellipsoidal area of the grid's pixels.

    On an unrotated geographic grid by a closed form (Snyder 1987, eq. 3-12); on a rotated one from
    the area element at four Gauss points per pixel; on a projected grid from the areal scale at
    pixel centres, interpolated from points at most 16 pixels and about 4 km apart.

    Returns:
        Areas in m², float64, broadcastable to (H, W): (1, 1) on an equal-area CRS, (H, 1) on an
        unrotated geographic grid, else (H, W).

    Raises:
        InputError: the CRS has no areal scale somewhere on the grid.
    """
    crs = parse_crs(grid.crs)
    a, b, _, d, e, _ = grid.transform
    plane_area = abs(a * e - b * d)
    if crs.is_geographic:
        return _rotated_areas(grid, plane_area) if b or d else _zonal_areas(grid)
    metre = _metres_per_unit(crs)
    plane_area *= metre * metre
    if is_equal_area(grid.crs):
        return np.array([[plane_area]])
    return _projected_areas(grid, plane_area)


def pixel_side_m(grid: Grid) -> float:
    """Return the side in m of a square as large as the pixel in the middle of a grid."""
    middle = grid.window(grid.height // 2, grid.width // 2, 1, 1)
    return math.sqrt(float(pixel_areas(middle).mean()))


def _degrees_per_unit(crs: CRS) -> float:
    # Of a geographic CRS, whose unit may be grads or radians.
    return math.degrees(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0


def _metres_per_unit(crs: CRS) -> float:
    return crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0


def _zonal_areas(grid: Grid) -> np.ndarray:
    # (H, 1): pixels of a row of an unrotated geographic grid are equal.
    crs = parse_crs(grid.crs)
    degree = _degrees_per_unit(crs)
    a, _, _, _, e, f = grid.transform
    edges = np.clip((f + np.arange(grid.height + 1) * e) * degree, -90, 90)
    geod = crs.get_geod() or Geod(ellps="WGS84")
    return np.abs(np.diff(_zone_area(geod, edges)))[:, None] * math.radians(abs(a) * degree)


def _rotated_areas(grid: Grid, plane_area: float) -> np.ndarray:
    # The integral of M N cos(latitude) over each pixel, M and N the radii of curvature, by two
    # Gauss points along each side. plane_area: of a pixel, in square units of the CRS.
    crs = parse_crs(grid.crs)
    geod, degree = crs.get_geod() or Geod(ellps="WGS84"), _degrees_per_unit(crs)
    _, _, _, d, e, f = grid.transform
    centres = f + d * (np.arange(grid.width) + 0.5) + e * (np.arange(grid.height)[:, None] + 0.5)
    areas = np.zeros(grid.shape)
    for col, row in itertools.product((-math.sqrt(1 / 12), math.sqrt(1 / 12)), repeat=2):
        lat = np.radians(np.clip((centres + d * col + e * row) * degree, -90, 90))
        areas += np.cos(lat) / (1 - geod.es * np.sin(lat) ** 2) ** 2 / 4
    return np.asarray(areas * geod.b**2 * plane_area * math.radians(degree) ** 2)


def _projected_areas(grid: Grid, plane_area: float) -> np.ndarray:
    # (H, W): the areal scale at knots, interpolated bilinearly. plane_area: of a pixel, in m².
    crs = parse_crs(grid.crs)
    step = int(np.clip(4000 / (math.sqrt(plane_area) or 1), 1, 16))
    rows, cols = (np.unique(np.append(np.arange(0, n, step), n - 1)) for n in grid.shape)
    x, y = grid.affine @ (
        cols[None, :] + 0.5 + 0 * rows[:, None],
        rows[:, None] + 0.5 + 0 * cols[None, :],
    )
    scales = _areal_scale(crs, x, y, 50 / _metres_per_unit(crs))
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
    return np.asarray(plane_area * (by_col[above] * (1 - weight) + by_col[below] * weight))


def _areal_scale(crs: CRS, x: np.ndarray, y: np.ndarray, step: float) -> np.ndarray:
    # Area element |dP/dx × dP/dy| of the ellipsoid's surface P(x, y) by central differences over
    # `step` units of the CRS: m² on the ground per m² on the plane. PROJ's own areal scale is not
    # used: for EPSG:3857 it is that of the sphere, 0.2 % off. In geocentric axes the poles are no
    # exception.
    geographic = crs.geodetic_crs
    geod = crs.get_geod()
    assert geographic is not None
    assert geod is not None
    to_degrees = Transformer.from_crs(crs, geographic, always_xy=True)

    def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        lon, lat = (np.radians(degrees) for degrees in to_degrees.transform(x, y))
        normal = geod.a / np.sqrt(1 - geod.es * np.sin(lat) ** 2)
        axis_distance = normal * np.cos(lat)
        geocentric = (
            axis_distance * np.cos(lon),
            axis_distance * np.sin(lon),
            normal * (1 - geod.es) * np.sin(lat),
        )
        return np.stack(geocentric, -1)

    along_x = surface(x + step, y) - surface(x - step, y)
    along_y = surface(x, y + step) - surface(x, y - step)
    plane_area = (2 * step * _metres_per_unit(crs)) ** 2
    return np.asarray(np.linalg.norm(np.cross(along_x, along_y), axis=-1) / plane_area)


def geodesic_area(geometry: BaseGeometry, crs: str, step: float | None = None) -> float:
    """Return the true ellipsoidal area of a polygon whose sides are straight in its own CRS.

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
    source_crs = parse_crs(crs)
    geographic = source_crs.geodetic_crs or parse_crs(WGS84)
    to_degrees = Transformer.from_crs(source_crs, geographic, always_xy=True)
    polygon = map_coordinates(shapely.orient_polygons(dense), to_degrees.transform)
    geod = geographic.get_geod() or Geod(ellps="WGS84")
    return abs(geod.geometry_area_perimeter(polygon)[0])


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
    zones = _zone_area(Geod(ellps="WGS84"), lat) @ (_GAUSS_WEIGHTS / 2)
    return abs(float(np.radians(sides[:, 0]) @ zones))

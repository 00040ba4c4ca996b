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

_GAUSS = np.polynomial.legendre.leggauss(5)

# PROJ method names whose areal scale is one everywhere on the ellipsoid.
_EQUAL_AREA = (
    "Lambert Azimuthal Equal Area",
    "Albers Equal Area",
    "Lambert Cylindrical Equal Area",
    "Equal Earth",
)


@lru_cache(maxsize=256)
def is_equal_area(crs: str) -> bool:
    """Whether every pixel of a regular grid in this CRS has the same true area."""
    operation = parse_crs(crs).coordinate_operation
    method = "" if operation is None else operation.method_name
    return method.startswith(_EQUAL_AREA) and "pherical" not in method


def _zone_area(geod: Geod, lat: np.ndarray) -> np.ndarray:
    # Area between equator and latitude on the ellipsoid, a radian of longitude wide:
    # Snyder 1987, Map Projections: A Working Manual, eq. 3-12 (q), area = b²/2-scaled authalic integral.
    e2 = geod.es
    e = math.sqrt(e2)
    s = np.sin(np.radians(lat))
    if e == 0:
        return np.asarray(geod.a**2 * s)
    q = (1 - e2) * (s / (1 - e2 * s * s) + np.arctanh(e * s) / e)
    return np.asarray(geod.a**2 * q / 2)


def pixel_areas(grid: Grid) -> np.ndarray:
    """True ellipsoidal area of the grid's pixels in m², broadcastable to (H, W).

    (1, 1) on an equal-area CRS, (H, 1) on an unrotated geographic grid (closed form, Snyder 1987 eq. 3-12), else (H, W): on a
    rotated geographic grid by the area element at four points a pixel (Gauss), elsewhere from the areal scale at pixel centres,
    interpolated from points at most 16 pixels and about 4 km apart.
    """
    crs = parse_crs(grid.crs)
    a, b, _, d, e, f = grid.transform
    plane = abs(a * e - b * d)
    if crs.is_geographic:
        degree = math.degrees(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0
        if b or d:
            return _turned_areas(grid, plane, degree)
        edges = np.clip((f + np.arange(grid.height + 1) * e) * degree, -90, 90)
        geod = crs.get_geod() or Geod(ellps="WGS84")
        return np.abs(np.diff(_zone_area(geod, edges)))[:, None] * math.radians(abs(a) * degree)
    metre = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    plane *= metre * metre
    if is_equal_area(grid.crs):
        return np.array([[plane]])
    every = int(np.clip(4000 / (math.sqrt(plane) or 1), 1, 16))
    rows, cols = (np.unique(np.append(np.arange(0, n, every), n - 1)) for n in grid.shape)
    x, y = grid.affine @ (
        cols[None, :] + 0.5 + 0 * rows[:, None],
        rows[:, None] + 0.5 + 0 * cols[None, :],
    )
    scale = _ground_per_plane(crs, x, y, 50 / metre)
    if not np.isfinite(scale).all():
        raise InputError(
            f"CRS {grid.crs[:40]} gives no areal scale at bounds {grid.bounds}: use an equal-area tiling"
        )
    along = np.stack([np.interp(np.arange(grid.width), cols, line) for line in scale])
    at = np.interp(np.arange(grid.height), rows, np.arange(len(rows)))
    low = np.minimum(at.astype(int), len(rows) - 1)
    high = np.minimum(low + 1, len(rows) - 1)
    part = (at - low)[:, None]
    return np.asarray(plane * (along[low] * (1 - part) + along[high] * part))


def _turned_areas(grid: Grid, plane: float, degree: float) -> np.ndarray:
    # The integral of M N cos(latitude) over each pixel, M and N the radii of curvature.
    geod = parse_crs(grid.crs).get_geod() or Geod(ellps="WGS84")
    _, _, _, d, e, f = grid.transform
    centres = f + d * (np.arange(grid.width) + 0.5) + e * (np.arange(grid.height)[:, None] + 0.5)
    areas = np.zeros(grid.shape)
    for col, row in itertools.product((-math.sqrt(1 / 12), math.sqrt(1 / 12)), repeat=2):
        lat = np.radians(np.clip((centres + d * col + e * row) * degree, -90, 90))
        areas += np.cos(lat) / (1 - geod.es * np.sin(lat) ** 2) ** 2 / 4
    return np.asarray(areas * geod.b**2 * plane * math.radians(degree) ** 2)


def _ground_per_plane(crs: CRS, x: np.ndarray, y: np.ndarray, step: float) -> np.ndarray:
    # Area element |dP/dx × dP/dy| of the ellipsoid's surface P(x, y) by central differences: m² on the ground per m²
    # on the plane. PROJ's own areal scale is not used: for EPSG:3857 it answers for the sphere, 0.2 % off. In
    # geocentric axes the poles are no exception.
    geographic = crs.geodetic_crs
    geod = crs.get_geod()
    assert geographic is not None
    assert geod is not None
    to_degrees = Transformer.from_crs(crs, geographic, always_xy=True)

    def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        lon, lat = (np.radians(v) for v in to_degrees.transform(x, y))
        normal = geod.a / np.sqrt(1 - geod.es * np.sin(lat) ** 2)
        flat = normal * np.cos(lat)
        return np.stack(
            [flat * np.cos(lon), flat * np.sin(lon), normal * (1 - geod.es) * np.sin(lat)], -1
        )

    along_x = surface(x + step, y) - surface(x - step, y)
    along_y = surface(x, y + step) - surface(x, y - step)
    metre = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    return np.asarray(np.linalg.norm(np.cross(along_x, along_y), axis=-1) / (2 * step * metre) ** 2)


def geodesic_area(geometry: BaseGeometry, crs: str, step: float | None = None) -> float:
    """True ellipsoidal area in m² of a polygon whose sides are straight in its own CRS.

    Sides are densified in that CRS (1/2000 of the geometry's size unless `step` says), then Karney's geodesic polygon
    area is summed.
    """
    if geometry.is_empty:
        return 0.0
    xmin, ymin, xmax, ymax = geometry.bounds
    dense = shapely.segmentize(geometry, step or max(xmax - xmin, ymax - ymin, 1e-12) / 2000)
    base = parse_crs(crs)
    geographic = base.geodetic_crs or parse_crs(WGS84)
    to_degrees = Transformer.from_crs(base, geographic, always_xy=True)
    placed = map_coordinates(shapely.orient_polygons(dense), to_degrees.transform)
    geod = geographic.get_geod() or Geod(ellps="WGS84")
    return abs(geod.geometry_area_perimeter(placed)[0])


def degrees_area(geometry: BaseGeometry) -> float:
    """True area in m², on the WGS 84 ellipsoid, of a polygon in EPSG:4326 whose sides are straight in longitude and latitude.

    Green's theorem on the closed form of `_zone_area`, five-point Gauss quadrature along each side.
    """
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry)))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    inside = ring[1:] == ring[:-1]
    start, along = xy[:-1][inside], np.diff(xy, axis=0)[inside]
    places, weights = _GAUSS
    lat = start[:, 1, None] + along[:, 1, None] * (places + 1) / 2
    return abs(
        float(np.radians(along[:, 0]) @ (_zone_area(Geod(ellps="WGS84"), lat) @ (weights / 2)))
    )

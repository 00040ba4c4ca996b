"""Where arrays lie on the Earth: Grid, Tiling, footprints and true pixel areas. No input or output."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError, UsageError
from lulc.lonlat import enclose

WGS84 = "EPSG:4326"
# Near a pole a border turns fast: it is halved where it turns by more degrees, down to a millionth of its length.
_WIDE, _HALVINGS, _MOST = 5.0, 20, 4096
_GAUSS = np.polynomial.legendre.leggauss(5)

# PROJ method names whose areal scale is one everywhere on the ellipsoid.
_EQUAL_AREA = (
    "Lambert Azimuthal Equal Area",
    "Albers Equal Area",
    "Lambert Cylindrical Equal Area",
    "Equal Earth",
)


@lru_cache(maxsize=256)
def parse_crs(crs: str) -> CRS:
    """The CRS named by an authority code, WKT or PROJ string; InputError when it names none."""
    try:
        return CRS.from_user_input(crs)
    except Exception as error:
        raise InputError(f"CRS {crs[:80]!r} is not known: give an authority code such as EPSG:6933 or WKT") from error


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """The x, y → x, y transformer between two CRSs (longitude first, always); InputError where PROJ knows no way."""
    try:
        return Transformer.from_crs(parse_crs(source), parse_crs(target), always_xy=True)
    except ProjError as error:
        raise InputError(
            f"no way is known from CRS {source[:80]!r} to {target[:80]!r} ({error}): is this the true CRS?"
        ) from error


def same_crs(a: str, b: str) -> bool:
    """Whether two CRS texts mean the same CRS (axis order aside)."""
    return a == b or parse_crs(a).equals(parse_crs(b), ignore_axis_order=True)


@dataclass(frozen=True)
class Grid:
    """Where an array lies: `transform` is rasterio's (a, b, c, d, e, f), taking (col, row) corners to (x, y)."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    height: int
    width: int

    @property
    def affine(self) -> Affine:
        """The transform as an `Affine`."""
        return Affine(*self.transform)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def resolution(self) -> tuple[float, float]:
        """Length of a pixel's two sides (x, y), in the CRS's unit."""
        a, b, _, d, e, _ = self.transform
        return math.hypot(a, d), math.hypot(b, e)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) of the four corners in the grid's CRS."""
        x, y = self.corners()
        return min(x), min(y), max(x), max(y)

    def corners(self) -> tuple[list[float], list[float]]:
        """x and y of the four outer corners, in ring order."""
        a, b, c, d, e, f = self.transform
        points = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        return [a * col + b * row + c for col, row in points], [d * col + e * row + f for col, row in points]

    def window(self, row: int, col: int, height: int, width: int) -> Grid:
        """The grid of a window that starts at (row, col), which may lie outside this grid."""
        moved = self.affine @ Affine.translation(col, row)
        return Grid(self.crs, tuple(moved[:6]), height, width)

    def pad(self, pixels: int) -> Grid:
        """This grid grown (or, when negative, shrunk) by a number of pixels on every side."""
        return self.window(-pixels, -pixels, self.height + 2 * pixels, self.width + 2 * pixels)

    def coarsen(self, times: int) -> Grid:
        """The grid of pixels so many times as wide and high; those that reach over the edge are left out."""
        a, b, c, d, e, f = self.transform
        moved = (a * times, b * times, c, d * times, e * times, f)
        return Grid(self.crs, moved, self.height // times, self.width // times)


@dataclass(frozen=True)
class Tiling:
    """A CRS cut in equal squares of `size` pixels of `resolution` units, counted right and down from (x0, y0).

    `extent` (rows, cols in pixels), when set, is the whole area: tiles start at 0, 0 and the last ones reach over it.
    """

    name: str
    crs: str
    resolution: float
    size: int
    x0: float = 0.0
    y0: float = 0.0
    resolution_y: float | None = None
    extent: tuple[int, int] | None = None

    @property
    def step_y(self) -> float:
        """Height of a pixel, positive."""
        return self.resolution if self.resolution_y is None else self.resolution_y

    def grid(self, col: int, row: int, halo: int = 0, span: int = 1) -> Grid:
        """The grid of `span` x `span` tiles whose top left one is (col, row), grown by a halo in pixels."""
        x = self.x0 + col * self.size * self.resolution
        y = self.y0 - row * self.size * self.step_y
        side = span * self.size
        return Grid(self.crs, (self.resolution, 0.0, x, 0.0, -self.step_y, y), side, side).pad(halo)

    def coarsen(self, times: int) -> Tiling:
        """The same tiles, of pixels so many times as wide and high; a pixel that reaches over the extent is kept."""
        step_y = None if self.resolution_y is None else self.resolution_y * times
        extent = None if self.extent is None else (-(-self.extent[0] // times), -(-self.extent[1] // times))
        return replace(self, resolution=self.resolution * times, resolution_y=step_y, size=self.size // times, extent=extent)

    def tile_id(self, col: int, row: int) -> str:
        """The tile's id, `<tiling>/<col>_<row>`."""
        return f"{self.name}/{col}_{row}"

    def parse(self, tile_id: str) -> tuple[int, int]:
        """(col, row) of a tile id; UsageError when it belongs to another tiling."""
        name, _, place = tile_id.rpartition("/")
        col, _, row = place.partition("_")
        try:
            if name != self.name:
                raise ValueError(name)
            return int(col), int(row)
        except ValueError as error:
            raise UsageError(f"tile {tile_id!r} is not of tiling {self.name!r}: ids are {self.name}/<col>_<row>") from error

    def cells(self, bounds: tuple[float, float, float, float], span: int = 1) -> Iterator[tuple[int, int]]:
        """(col, row) of every tile (every `span`-th, for blocks) that touches bounds in the tiling's CRS, by rows."""
        step_x, step_y = self.resolution * self.size * span, self.step_y * self.size * span
        xmin, ymin, xmax, ymax = bounds
        # A hair inside, so that an edge shared by two cells does not bring in the neighbour.
        tiny = 1e-9
        cols = range(math.floor((xmin - self.x0) / step_x + tiny), math.ceil((xmax - self.x0) / step_x - tiny))
        rows = range(math.floor((self.y0 - ymax) / step_y + tiny), math.ceil((self.y0 - ymin) / step_y - tiny))
        last_row, last_col = (math.inf, math.inf)
        if self.extent is not None:
            last_row, last_col = (math.ceil(n / (self.size * span)) - 1 for n in self.extent)
        for row in rows:
            for col in cols:
                if self.extent is None or (0 <= row <= last_row and 0 <= col <= last_col):
                    yield col * span, row * span


def map_coordinates(geometry: BaseGeometry, function: Callable[..., tuple[np.ndarray, np.ndarray]]) -> BaseGeometry:
    """The geometry with `function(x, y)` applied to all its coordinates at once."""
    return shapely.transform(geometry, lambda xy: np.column_stack(function(xy[:, 0], xy[:, 1])))


def project(geometry: BaseGeometry, source: str, target: str, step: float | None = None) -> BaseGeometry:
    """The geometry in another CRS, its borders densified first to at most `step` source units (1/64 of its size)."""
    if geometry.is_empty or same_crs(source, target):
        return geometry
    xmin, ymin, xmax, ymax = geometry.bounds
    step = step or max(xmax - xmin, ymax - ymin) / 64 or 1.0
    return map_coordinates(shapely.segmentize(geometry, step), transformer(source, target).transform)


def footprint(grid: Grid) -> BaseGeometry:
    """The grid's outline in EPSG:4326, borders densified, split where it crosses the antimeridian, closed over a pole it holds.

    Places that the CRS cannot place (infinite longitude) are left out.
    """
    outline = shapely.Polygon(zip(*grid.corners(), strict=True))
    x, y = shapely.get_coordinates(shapely.segmentize(outline, max(grid.shape) * max(grid.resolution) / 16)).T
    to_degrees = transformer(grid.crs, WGS84)
    for _ in range(_HALVINGS):
        lon, lat = to_degrees.transform(x, y)
        with np.errstate(invalid="ignore"):
            wide = 1 + np.flatnonzero(np.abs((np.diff(lon) + 180) % 360 - 180) > _WIDE)
        if not wide.size or len(x) > _MOST:
            break
        x, y = (np.insert(v, wide, (v[wide - 1] + v[wide]) / 2) for v in (x, y))
    lon, lat = (v[:-1] for v in to_degrees.transform(x, y))
    # A pole that the border touches has no longitude of its own: it takes those of the points before and after it.
    pole = np.abs(lat) > 90 - 1e-9
    lone = np.flatnonzero(pole & ~np.roll(pole, 1) & ~np.roll(pole, -1))
    lon[lone] = lon[lone - 1]
    lon, lat = np.insert(lon, lone + 1, np.roll(lon, -1)[lone]), np.insert(lat, lone + 1, lat[lone])
    known = np.isfinite(lon) & np.isfinite(lat)
    if known.sum() < 3:
        raise InputError(f"a grid of CRS {grid.crs[:40]} with bounds {grid.bounds} lies outside what its CRS can place")
    return enclose(*(np.append(v[known], v[known][0]) for v in (lon, lat)))


def is_placed(grid: Grid) -> bool:
    """Whether any of 5 x 5 places of the grid has a longitude and latitude that lead back to it, as all on the Earth have."""
    if parse_crs(grid.crs).is_geographic:
        return True
    x, y = np.array([grid.affine @ (grid.width * i / 4, grid.height * j / 4) for i in range(5) for j in range(5)]).T
    back = transformer(WGS84, grid.crs).transform(*transformer(grid.crs, WGS84).transform(x, y))
    with np.errstate(invalid="ignore"):
        return bool((np.hypot(back[0] - x, back[1] - y) < max(grid.resolution)).any())


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
    x, y = grid.affine @ (cols[None, :] + 0.5 + 0 * rows[:, None], rows[:, None] + 0.5 + 0 * cols[None, :])
    scale = _ground_per_plane(crs, x, y, 50 / metre)
    if not np.isfinite(scale).all():
        raise InputError(f"CRS {grid.crs[:40]} gives no areal scale at bounds {grid.bounds}: use an equal-area tiling")
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
        return np.stack([flat * np.cos(lon), flat * np.sin(lon), normal * (1 - geod.es) * np.sin(lat)], -1)

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
    return abs(float(np.radians(along[:, 0]) @ (_zone_area(Geod(ellps="WGS84"), lat) @ (weights / 2))))

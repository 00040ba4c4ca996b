"""Grids: where an array lies on the Earth; CRSs, transformers between them, and footprints."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.antimeridian import only_polygons, polygon_of_ring, wrap_longitudes

WGS84 = "EPSG:4326"
RIM = 1e-7
"""Degrees short of half a turn at which a projection's rim is taken: at half a turn itself rounding
decides between east and west."""
METRES_A_DEGREE = 111_320.0
"""Upper bound of the length of a degree of longitude or latitude."""
MAX_COORDINATE = 1e9
"""Units from its origin that any projection of the Earth reaches."""
# Names that stand for no datum.
_UNKNOWN_DATUM = re.compile(r"(D_)?(unknown|unnamed|undefined|not.?specified)", re.IGNORECASE)
# Near a pole the longitude of a border changes fast: a side is halved where it changes by more
# degrees than this, at most 20 times (to a millionth of its length) and up to 4096 points.
_MAX_SIDE_DEGREES, _MAX_HALVINGS, _MAX_BORDER_POINTS = 5.0, 20, 4096


@lru_cache(maxsize=256)
def parse_crs(crs: str) -> CRS:
    """Return the CRS named by an authority code, WKT or PROJ string.

    Raises:
        InputError: the text names no CRS.
    """
    try:
        return CRS.from_user_input(crs)
    except Exception as error:
        raise InputError(
            f"CRS {crs[:80]!r} is not known: give an authority code such as EPSG:6933 or WKT"
        ) from error


@lru_cache(maxsize=256)
def transformer(source_crs: str, target_crs: str) -> Transformer:
    """Return the x, y → x, y transformer between two CRSs, longitude always first.

    Raises:
        InputError: PROJ knows no transformation between them.
    """
    try:
        return Transformer.from_crs(parse_crs(source_crs), parse_crs(target_crs), always_xy=True)
    except ProjError as error:
        raise InputError(
            f"there is no transformation from CRS {source_crs[:80]!r} to {target_crs[:80]!r} "
            f"({error}): is this the true CRS?"
        ) from error


def transform_points(
    x: np.ndarray, y: np.ndarray, source_crs: str, target_crs: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of points in another CRS.

    Between two CRSs of degrees a longitude keeps its turn: 190 does not become -170.
    """
    target_x, target_y = transformer(source_crs, target_crs).transform(x, y)
    if parse_crs(source_crs).is_geographic and parse_crs(target_crs).is_geographic:
        source_turn, target_turn = turn_of(source_crs), turn_of(target_crs)
        assert source_turn is not None
        assert target_turn is not None
        target_x = target_x + target_turn * np.round(x / source_turn - target_x / target_turn)
    return target_x, target_y


@lru_cache(maxsize=256)
def turn_of(crs: str) -> float | None:
    """Return how far it is round the Earth along x, in units of a CRS.

    That is a whole turn of degrees, or the width of the Earth in a projection whose meridians are
    parallel lines, such as Mercator's; None of other projections.
    """
    parsed = parse_crs(crs)
    if parsed.is_geographic:
        return 2 * math.pi / parsed.axis_info[0].unit_conversion_factor
    # The two sides of the meridian opposite to the central one, at the equator and further north.
    lon = central_meridian(crs) + np.array([-180, 180, -180, 180]) * (1 - 1e-12)
    x, y = transformer(WGS84, crs).transform(lon, np.array([0.0, 0.0, 60.0, 60.0]))
    width = abs(x[1] - x[0])
    offsets = np.abs([x[2] - x[0], x[3] - x[1], y[1] - y[0], y[3] - y[2]])
    return float(width) if np.isfinite(width) and (offsets < 1e-9 * width).all() else None


def coordinate_limits(crs: str) -> tuple[float, float]:
    """Return the largest |x| and |y| that a place on the Earth may be told by in a CRS.

    Degrees may be counted to one and a half turns, and x of a projection that goes round to two.

    Examples:
        >>> [round(limit) for limit in coordinate_limits("EPSG:4326")]
        [540, 90]
    """
    turn = turn_of(crs)
    if parse_crs(crs).is_geographic and turn is not None:
        return 1.5 * turn, turn / 4 * (1 + 1e-5)
    return (MAX_COORDINATE if turn is None else 2 * turn), MAX_COORDINATE


def nearest_turn(x: np.ndarray, grid: Grid) -> np.ndarray:
    """Return x of points in a grid's CRS, moved by whole turns to be nearest to its middle."""
    turn, (xmin, _, xmax, _) = turn_of(grid.crs), grid.bounds
    if turn is None:
        return x
    return np.asarray(x - turn * np.round((x - (xmin + xmax) / 2) / turn))


def central_meridian(crs: str) -> float:
    """Return the longitude in degrees of a projection's central meridian; 0 where it has none."""
    parsed = parse_crs(crs)
    operation, meridian = parsed.coordinate_operation, parsed.prime_meridian
    greenwich = 0.0
    if meridian is not None:
        greenwich = math.degrees(float(meridian.longitude) * float(meridian.unit_conversion_factor))
    for parameter in operation.params if operation is not None else ():
        if parameter.name in ("Longitude of natural origin", "Longitude of origin"):
            return greenwich + math.degrees(
                float(parameter.value) * float(parameter.unit_conversion_factor)
            )
    return greenwich


@lru_cache(maxsize=1024)
def same_crs(a: str, b: str) -> bool:
    """Return whether two CRS texts mean the same CRS, whatever their axis order.

    A CRS whose datum is unknown is not that of a known datum, however alike they are.
    """
    if a == b:
        return True
    first, second = _east_first(parse_crs(a)), _east_first(parse_crs(b))
    return _has_datum(first) == _has_datum(second) and first.equals(second, ignore_axis_order=True)


def _east_first(crs: CRS) -> CRS:
    # pyproj ignores the order of the axes of geographic CRSs alone.
    if not crs.is_projected or crs.is_bound or crs.is_compound:
        return crs
    definition = crs.to_json_dict()
    axes = definition.get("coordinate_system", {}).get("axis", [])
    axes.sort(key=lambda axis: axis["direction"] not in ("east", "west"))
    return CRS.from_json_dict(definition)


def _has_datum(crs: CRS) -> bool:
    return crs.datum is not None and not _UNKNOWN_DATUM.match(crs.datum.name)


@lru_cache(maxsize=256)
def crs_text(wkt: str) -> str:
    """Return the shortest text that means exactly the CRS of a WKT.

    Of a CRS with heights it is that of the plane: heights move no pixel.

    Returns:
        An authority code where one has the same definition, else WKT.

    Raises:
        InputError: the text names no CRS.
    """
    crs = parse_crs(wkt)
    if crs.is_compound:
        return crs_text(crs.sub_crs_list[0].to_wkt())
    if crs.is_geographic and len(crs.axis_info) == 3:
        return crs_text(crs.to_2d().to_wkt())
    return crs_code(wkt) or wkt


@lru_cache(maxsize=256)
def crs_code(crs: str) -> str | None:
    """Return the authority code that has exactly the definition of a CRS, None where none has.

    Raises:
        InputError: the text names no CRS.
    """
    # PROJ also names codes that are merely alike: the definitions are compared.
    authority = parse_crs(crs).to_authority(min_confidence=70)
    code = ":".join(authority) if authority else None
    return code if code is not None and same_crs(code, crs) else None


@dataclass(frozen=True)
class Grid:
    """A CRS, an affine transform and a shape: where the pixels of an array lie.

    `transform` is rasterio's (a, b, c, d, e, f); it takes the (col, row) of a pixel's upper left
    corner to (x, y) in the CRS.
    """

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
    def resolution_m(self) -> tuple[float, float]:
        """Length on the ground of a pixel's two sides (x, y), in m, in the middle of the grid.

        Examples:
            >>> grid = Grid("EPSG:4326", (0.01, 0.0, 10.0, 0.0, -0.01, 60.0), 2, 2)
            >>> [round(side) for side in grid.resolution_m]
            [558, 1114]
        """
        corner = self.width / 2, self.height / 2
        neighbours = (corner, (corner[0] + 1, corner[1]), (corner[0], corner[1] + 1))
        x, y = np.array([self.affine @ point for point in neighbours]).T
        lon, lat = transformer(self.crs, WGS84).transform(x, y)
        geod = Geod(ellps="WGS84")
        sides = geod.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])[2]
        return float(sides[0]), float(sides[1])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax) of the four corners in the grid's CRS."""
        x, y = self.corners()
        return min(x), min(y), max(x), max(y)

    def corners(self) -> tuple[list[float], list[float]]:
        """Return x and y of the four outer corners, in ring order from the upper left."""
        a, b, c, d, e, f = self.transform
        corners = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        x = [a * col + b * row + c for col, row in corners]
        y = [d * col + e * row + f for col, row in corners]
        return x, y

    def window(self, row: int, col: int, height: int, width: int) -> Grid:
        """Return the grid of a window in pixels.

        Args:
            row: First row of the window; it may lie outside this grid.
            col: First column of the window; it may lie outside this grid.
            height: Rows of the window.
            width: Columns of the window.
        """
        shifted = self.affine @ Affine.translation(col, row)
        return Grid(self.crs, tuple(shifted[:6]), height, width)

    def pad(self, pixels: int) -> Grid:
        """Return this grid grown, or when negative shrunk, by `pixels` on every side."""
        return self.window(-pixels, -pixels, self.height + 2 * pixels, self.width + 2 * pixels)

    def coarsen(self, factor: int) -> Grid:
        """Return the grid of pixels `factor` times as wide and high; partial ones are dropped."""
        a, b, c, d, e, f = self.transform
        transform = (a * factor, b * factor, c, d * factor, e * factor, f)
        return Grid(self.crs, transform, self.height // factor, self.width // factor)


def map_coordinates(
    geometry: BaseGeometry, function: Callable[..., tuple[np.ndarray, np.ndarray]]
) -> BaseGeometry:
    """Return the geometry with `function(x, y)` applied to all its coordinates at once."""
    return shapely.transform(geometry, lambda xy: np.column_stack(function(xy[:, 0], xy[:, 1])))


def project(
    geometry: BaseGeometry, source_crs: str, target_crs: str, step: float | None = None
) -> BaseGeometry:
    """Return the geometry in another CRS, its sides densified first.

    Args:
        geometry: Any geometry in `source_crs`.
        source_crs: CRS of the geometry.
        target_crs: CRS of the result.
        step: Longest side after densifying, in units of `source_crs`; 1/64 of the geometry's size
            by default.
    """
    if geometry.is_empty or same_crs(source_crs, target_crs):
        return geometry
    xmin, ymin, xmax, ymax = geometry.bounds
    step = step or max(xmax - xmin, ymax - ymin) / 64 or 1.0
    dense = shapely.segmentize(geometry, step)
    return map_coordinates(dense, transformer(source_crs, target_crs).transform)


def centre_longitude(grid: Grid) -> float:
    """Return the longitude of the grid's centre, from -180 to 180 degrees; 0 where it has none."""
    x, y = grid.affine @ (grid.width / 2, grid.height / 2)
    lon, _ = transformer(grid.crs, WGS84).transform(x, y)
    return (lon + 180) % 360 - 180 if math.isfinite(lon) else 0.0


def outline(grid: Grid) -> BaseGeometry:
    """Return a grid's outline as a polygon in its own CRS."""
    x, y = grid.corners()
    return shapely.Polygon(list(zip(x, y, strict=True)))


def footprint(grid: Grid) -> BaseGeometry:
    """Return the grid's outline in EPSG:4326.

    Its border is densified, split where it crosses the antimeridian and closed over a pole that the
    grid contains. Border points that the CRS cannot transform are left out.

    Raises:
        InputError: fewer than three border points have a longitude and latitude.
    """
    earth = rim(grid.crs)
    if earth is not None and not earth.contains(outline(grid)):
        return _footprint_within(earth, grid)
    lon, lat = _fill_pole_longitudes(*_border_degrees(grid))
    finite = np.isfinite(lon) & np.isfinite(lat)
    if finite.sum() < 3:
        raise _not_on_earth(grid)
    lon, lat = lon[finite], lat[finite]
    return polygon_of_ring(np.append(lon, lon[0]), np.append(lat, lat[0]))


def _not_on_earth(grid: Grid) -> InputError:
    return InputError(
        f"a grid of CRS {grid.crs[:40]} with bounds {grid.bounds} lies where its CRS "
        "has no longitudes and latitudes"
    )


def _border_degrees(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    # Longitudes and latitudes of points along the border, the first not repeated at the end.
    step = max(grid.shape) * max(grid.resolution) / 16
    x, y = shapely.get_coordinates(shapely.segmentize(outline(grid), step)).T
    to_degrees = transformer(grid.crs, WGS84)
    for _ in range(_MAX_HALVINGS):
        lon, _ = to_degrees.transform(x, y)
        with np.errstate(invalid="ignore"):
            changes = np.abs((np.diff(lon) + 180) % 360 - 180)
            long_sides = 1 + np.flatnonzero(changes > _MAX_SIDE_DEGREES)
        if not long_sides.size or len(x) > _MAX_BORDER_POINTS:
            break
        x, y = (
            np.insert(axis, long_sides, (axis[long_sides - 1] + axis[long_sides]) / 2)
            for axis in (x, y)
        )
    lon, lat = to_degrees.transform(x, y)
    return lon[:-1], lat[:-1]


@lru_cache(maxsize=64)
def rim(crs: str) -> BaseGeometry | None:
    """Return the outline of the Earth, to some metres, in a projection that shows it once.

    Beyond it the inverse gives places on the other side of the Earth.

    Returns:
        The outline where parallels are straight lines, as in the sinusoidal projection; None of
        other projections, and of those that go round (see `turn_of`).
    """
    if turn_of(crs) is not None:
        return None
    lat = np.linspace(-90, 90, 3601)
    to_crs, middle = transformer(WGS84, crs), central_meridian(crs)
    offsets = np.array([RIM - 180, -90, 0, 90, 180 - RIM])
    x, y = to_crs.transform(np.add.outer(offsets, 0 * lat) + middle, lat + 0 * offsets[:, None])
    if not np.isfinite([x, y]).all() or np.ptp(y, axis=0).max() > 1e-9 * np.abs(y).max():
        return None
    left, right = np.column_stack([x[0], y[0]]), np.column_stack([x[-1], y[-1]])
    earth = shapely.Polygon(np.concatenate([right, left[::-1]]))
    shapely.prepare(earth)
    return earth if earth.is_valid else None


def _footprint_within(earth: BaseGeometry, grid: Grid) -> BaseGeometry:
    # earth: the rim of the grid's CRS.
    step = max(grid.shape) * max(grid.resolution) / 16
    on_earth = shapely.segmentize(outline(grid), step).intersection(earth)
    if on_earth.area == 0:
        raise _not_on_earth(grid)
    middle = central_meridian(grid.crs)

    def to_degrees(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lon, lat = transformer(grid.crs, WGS84).transform(x, y)
        return (lon - middle + 180) % 360 - 180 + middle, lat

    return wrap_longitudes(map_coordinates(only_polygons(on_earth), to_degrees))


def _fill_pole_longitudes(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # A pole that the border touches has no longitude of its own: it becomes two points with the
    # longitudes of the points before and after it.
    at_pole = np.abs(lat) > 90 - 1e-9
    poles = np.flatnonzero(at_pole & ~np.roll(at_pole, 1) & ~np.roll(at_pole, -1))
    lon[poles] = lon[poles - 1]
    return (
        np.insert(lon, poles + 1, np.roll(lon, -1)[poles]),
        np.insert(lat, poles + 1, lat[poles]),
    )


def is_on_earth(grid: Grid) -> bool:
    """Return whether the grid's CRS covers it, at least in part.

    Any of 5 x 5 points of the grid must have a longitude and latitude that lead back to it.
    """
    if parse_crs(grid.crs).is_geographic:
        return True
    fractions = [(col / 4, row / 4) for col in range(5) for row in range(5)]
    points = [grid.affine @ (grid.width * col, grid.height * row) for col, row in fractions]
    x, y = np.array(points).T
    lon, lat = transformer(grid.crs, WGS84).transform(x, y)
    x_back, y_back = transformer(WGS84, grid.crs).transform(lon, lat)
    with np.errstate(invalid="ignore"):
        return bool((np.hypot(x_back - x, y_back - y) < max(grid.resolution)).any())

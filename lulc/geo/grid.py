"""Where arrays lie on the Earth: Grid, Tiling, footprints and true pixel areas. No input or output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.antimeridian import enclose

WGS84 = "EPSG:4326"
# Near a pole a border turns fast: it is halved where it turns by more degrees, down to a millionth of its length.
_WIDE, _HALVINGS, _MOST = 5.0, 20, 4096


@lru_cache(maxsize=256)
def parse_crs(crs: str) -> CRS:
    """The CRS named by an authority code, WKT or PROJ string; InputError when it names none."""
    try:
        return CRS.from_user_input(crs)
    except Exception as error:
        raise InputError(
            f"CRS {crs[:80]!r} is not known: give an authority code such as EPSG:6933 or WKT"
        ) from error


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
        return [a * col + b * row + c for col, row in points], [
            d * col + e * row + f for col, row in points
        ]

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


def map_coordinates(
    geometry: BaseGeometry, function: Callable[..., tuple[np.ndarray, np.ndarray]]
) -> BaseGeometry:
    """The geometry with `function(x, y)` applied to all its coordinates at once."""
    return shapely.transform(geometry, lambda xy: np.column_stack(function(xy[:, 0], xy[:, 1])))


def project(
    geometry: BaseGeometry, source: str, target: str, step: float | None = None
) -> BaseGeometry:
    """The geometry in another CRS, its borders densified first to at most `step` source units (1/64 of its size)."""
    if geometry.is_empty or same_crs(source, target):
        return geometry
    xmin, ymin, xmax, ymax = geometry.bounds
    step = step or max(xmax - xmin, ymax - ymin) / 64 or 1.0
    return map_coordinates(
        shapely.segmentize(geometry, step), transformer(source, target).transform
    )


def footprint(grid: Grid) -> BaseGeometry:
    """The grid's outline in EPSG:4326, borders densified, split where it crosses the antimeridian, closed over a pole it holds.

    Places that the CRS cannot place (infinite longitude) are left out.
    """
    outline = shapely.Polygon(zip(*grid.corners(), strict=True))
    x, y = shapely.get_coordinates(
        shapely.segmentize(outline, max(grid.shape) * max(grid.resolution) / 16)
    ).T
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
        raise InputError(
            f"a grid of CRS {grid.crs[:40]} with bounds {grid.bounds} lies outside what its CRS can place"
        )
    return enclose(*(np.append(v[known], v[known][0]) for v in (lon, lat)))


def is_placed(grid: Grid) -> bool:
    """Whether any of 5 x 5 places of the grid has a longitude and latitude that lead back to it, as all on the Earth have."""
    if parse_crs(grid.crs).is_geographic:
        return True
    x, y = np.array(
        [
            grid.affine @ (grid.width * i / 4, grid.height * j / 4)
            for i in range(5)
            for j in range(5)
        ]
    ).T
    back = transformer(WGS84, grid.crs).transform(*transformer(grid.crs, WGS84).transform(x, y))
    with np.errstate(invalid="ignore"):
        return bool((np.hypot(back[0] - x, back[1] - y) < max(grid.resolution)).any())

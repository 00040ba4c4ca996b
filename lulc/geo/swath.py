"""Swaths: images georeferenced by tie points, as satellites deliver them before projection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from shapely.geometry.base import BaseGeometry

from lulc.geo.antimeridian import polygon_of_ring

if TYPE_CHECKING:
    from scipy.interpolate import RectBivariateSpline

# Points further from the swath's middle than 40 degrees, seen from the Earth's centre, have no
# pixel coordinates.
_MIN_COSINE = np.cos(np.radians(40))


@dataclass(frozen=True)
class Swath:
    """An image of height x width pixels, georeferenced by tie points at pixel centres.

    Between the tie points longitude and latitude follow a bicubic spline; beyond them, to the
    image's border, they go on straight.
    """

    height: int
    width: int
    tie_rows: tuple[float, ...]
    """Rows of the tie points, from 0, increasing."""
    tie_cols: tuple[float, ...]
    """Columns of the tie points, from 0, increasing."""
    tie_lon: tuple[float, ...]
    """Longitude of each tie point, row by row: degrees, WGS 84."""
    tie_lat: tuple[float, ...]
    """Latitude of each tie point, row by row: degrees, WGS 84."""

    def locate(self, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pixel coordinates of points, by Newton's steps on the spline from a linear guess.

        Args:
            lon: Longitudes in degrees, of any shape.
            lat: Latitudes in degrees, of that shape.

        Returns:
            Columns and rows, pixel corners at whole numbers; nan of points far from the swath.
        """
        surface = _surface(self)
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y, cosine = surface.axes @ _normals(lon, lat).reshape(3, -1)
            visible = cosine > _MIN_COSINE
            x, y = x[visible], y[visible]
            row, col = surface.guess @ np.stack([np.ones_like(x), x, y])
            step = np.full(x.shape, np.inf)
            for _ in range(20):
                (px, py), (ax, ay), (bx, by) = self._project(row, col)
                dx, dy, area = x - px, y - py, ax * by - ay * bx
                row_step, col_step = (dx * by - dy * bx) / area, (dy * ax - dx * ay) / area
                row, col, step = row + row_step, col + col_step, np.hypot(row_step, col_step)
                if not np.nanmax(step, initial=0) > 1e-4:
                    break
            coordinates = np.full((2, visible.size), np.nan)
            coordinates[:, visible] = np.where(step < 1e-3, (col + 0.5, row + 0.5), np.nan)
        cols, rows = coordinates.reshape(2, *np.shape(lon))
        return cols, rows

    def outline(self) -> BaseGeometry:
        """Return the image's border through the outer tie points.

        Returns:
            Polygons in EPSG:4326, split at the antimeridian, closed over a pole.
        """
        rows = np.unique([-0.5, *self.tie_rows, self.height - 0.5])
        cols = np.unique([-0.5, *self.tie_cols, self.width - 0.5])
        top, bottom = np.full(len(cols), rows[0]), np.full(len(cols), rows[-1])
        left, right = np.full(len(rows), cols[0]), np.full(len(rows), cols[-1])
        border_rows = np.concatenate([top, rows, bottom, rows[::-1]])
        border_cols = np.concatenate([cols, right, cols[::-1], left])
        (x, y), _, _ = self._project(border_rows, border_cols)
        x, y, z = _surface(self).axes.T @ np.stack([x, y, np.sqrt(1 - x * x - y * y)])
        lon, lat = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
        return polygon_of_ring(lon, lat)

    def _project(
        self, row: np.ndarray, col: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # (2, N) x and y of pixel centres on the surface's plane, and their change per row and per
        # column.
        inner_row = np.clip(row, self.tie_rows[0], self.tie_rows[-1])
        inner_col = np.clip(col, self.tie_cols[0], self.tie_cols[-1])
        splines = _surface(self).splines
        xy, per_row, per_col = (
            np.stack([spline.ev(inner_row, inner_col, *orders) for spline in splines])
            for orders in ((0, 0), (1, 0), (0, 1))
        )
        return xy + per_row * (row - inner_row) + per_col * (col - inner_col), per_row, per_col


@dataclass(frozen=True, eq=False)
class _Surface:
    """A swath seen from above its middle (orthographic, radius 1).

    This plane has neither antimeridian nor poles.
    """

    axes: np.ndarray
    """(3, 3) unit vectors of the plane in geocentric axes: about east, about north, and up."""
    splines: tuple[RectBivariateSpline, RectBivariateSpline]
    """From row and column to x and to y."""
    guess: np.ndarray
    """(2, 3) matrix from (1, x, y) to approximate row and column."""


def _normals(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    # Unit normals (3, …) of the ellipsoid.
    with np.errstate(invalid="ignore"):
        east, north = np.radians(lon), np.radians(lat)
        return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])


@lru_cache(maxsize=16)
def _surface(swath: Swath) -> _Surface:
    from scipy.interpolate import RectBivariateSpline  # half a second, which few commands need

    shape = len(swath.tie_rows), len(swath.tie_cols)
    normals = _normals(np.array(swath.tie_lon), np.array(swath.tie_lat))
    # The third of the orthogonal axes is the normal at the middle.
    axes = np.linalg.qr(np.column_stack([normals.mean(1), np.eye(3)]))[0].T[[1, 2, 0]]
    axes[2] *= np.sign(axes[2] @ normals.mean(1))
    plane = axes[:2] @ normals
    degrees = {"kx": min(3, shape[0] - 1), "ky": min(3, shape[1] - 1)}
    x, y = (
        RectBivariateSpline(swath.tie_rows, swath.tie_cols, values.reshape(shape), **degrees)
        for values in plane
    )
    tie_points = np.stack(np.meshgrid(swath.tie_rows, swath.tie_cols, indexing="ij"))
    terms = np.vstack([np.ones(plane.shape[1]), plane]).T
    guess = np.linalg.lstsq(terms, tie_points.reshape(2, -1).T, rcond=None)[0].T
    return _Surface(axes, (x, y), guess)

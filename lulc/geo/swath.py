"""Swaths: images that tie points place, as satellites deliver them before they are projected."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import RectBivariateSpline
from shapely.geometry.base import BaseGeometry

from lulc.geo.antimeridian import enclose

# Places further from the swath's middle than this (cosine of the angle at the Earth's centre) have no pixel coordinates.
_NEAR = np.cos(np.radians(40))


@dataclass(frozen=True)
class Swath:
    """An image of height x width pixels, placed by the longitude and latitude (degrees, WGS 84) of the centres of some of them.

    lines, pixels: rows and columns (from 0) of the tie points, increasing; lon, lat: one value a tie point, line by line.
    Between the points the place is their bicubic spline; beyond them, to the image's border, it goes on straight.
    """

    height: int
    width: int
    lines: tuple[float, ...]
    pixels: tuple[float, ...]
    lon: tuple[float, ...]
    lat: tuple[float, ...]

    def locate(self, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows of places in degrees, pixel corners at whole numbers; nan where they are far away.

        Newton's steps on the spline, from a linear guess.
        """
        surface = _surface(self)
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y, up = surface.axes @ _normal(lon, lat).reshape(3, -1)
            near = up > _NEAR
            x, y = x[near], y[near]
            row, col = surface.guess @ np.stack([np.ones_like(x), x, y])
            step = np.full(x.shape, np.inf)
            for _ in range(20):
                (px, py), (ax, ay), (bx, by) = self._at(row, col)
                dx, dy, area = x - px, y - py, ax * by - ay * bx
                rows, cols = (dx * by - dy * bx) / area, (dy * ax - dx * ay) / area
                row, col, step = row + rows, col + cols, np.hypot(rows, cols)
                if not np.nanmax(step, initial=0) > 1e-4:
                    break
            found = np.full((2, near.size), np.nan)
            found[:, near] = np.where(step < 1e-3, (col + 0.5, row + 0.5), np.nan)
        cols, rows = found.reshape(2, *np.shape(lon))
        return cols, rows

    def outline(self) -> BaseGeometry:
        """The image's border in EPSG:4326, through the outer tie points, split at the antimeridian, closed over a pole."""
        rows, cols = (
            np.unique([-0.5, *inner, n - 0.5])
            for inner, n in ((self.lines, self.height), (self.pixels, self.width))
        )
        row = np.concatenate(
            [np.full(len(cols), rows[0]), rows, np.full(len(cols), rows[-1]), rows[::-1]]
        )
        col = np.concatenate(
            [cols, np.full(len(rows), cols[-1]), cols[::-1], np.full(len(rows), cols[0])]
        )
        (x, y), _, _ = self._at(row, col)
        x, y, z = _surface(self).axes.T @ np.stack([x, y, np.sqrt(1 - x * x - y * y)])
        return enclose(np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y))))

    def _at(self, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Coordinates (2, N) of centres of pixels on the surface's plane, and their change a row and a column.
        r, c = (
            np.clip(row, self.lines[0], self.lines[-1]),
            np.clip(col, self.pixels[0], self.pixels[-1]),
        )
        splines = _surface(self).splines
        place, down, along = (
            np.stack([s.ev(r, c, *order) for s in splines]) for order in ((0, 0), (1, 0), (0, 1))
        )
        return place + down * (row - r) + along * (col - c), down, along


@dataclass(frozen=True, eq=False)
class _Surface:
    """A swath seen from above its middle (orthographic, radius 1), which knows neither antimeridian nor poles.

    axes: rows are east-like, north-like and up; splines: row and column → x and y; guess: 1, x, y → about row and column.
    """

    axes: np.ndarray
    splines: tuple[RectBivariateSpline, RectBivariateSpline]
    guess: np.ndarray


def _normal(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    # Unit normals (3, …) of the ellipsoid.
    with np.errstate(invalid="ignore"):
        east, north = np.radians(lon), np.radians(lat)
        return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])


@lru_cache(maxsize=16)
def _surface(swath: Swath) -> _Surface:
    shape = len(swath.lines), len(swath.pixels)
    normals = _normal(np.array(swath.lon), np.array(swath.lat))
    # The third of the right-angled axes is the middle's normal.
    axes = np.linalg.qr(np.column_stack([normals.mean(1), np.eye(3)]))[0].T[[1, 2, 0]]
    axes[2] *= np.sign(axes[2] @ normals.mean(1))
    plane = axes[:2] @ normals
    degrees = {"kx": min(3, shape[0] - 1), "ky": min(3, shape[1] - 1)}
    x, y = (
        RectBivariateSpline(swath.lines, swath.pixels, values.reshape(shape), **degrees)
        for values in plane
    )
    places = np.stack(np.meshgrid(swath.lines, swath.pixels, indexing="ij")).reshape(2, -1)
    guess = np.linalg.lstsq(np.vstack([np.ones(plane.shape[1]), plane]).T, places.T, rcond=None)[
        0
    ].T
    return _Surface(axes, (x, y), guess)

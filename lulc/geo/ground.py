"""Steps on the ground: how many metres to the east and to the north a pixel leads."""

from __future__ import annotations

import numpy as np
from pyproj import Geod

from lulc.geo.grid import WGS84, Grid, transformer

_WGS84 = Geod(ellps="WGS84")


def ground_steps(grid: Grid, square: int) -> np.ndarray:
    """Return what a step of one column, and of one row, is on the ground, in squares of pixels.

    In a projected CRS east and north are not always along columns and rows, nor is a unit always a
    metre: of EPSG:6933 at 45° a pixel is 18 % narrower than it is said to be, and 22 % higher.

    Args:
        grid: H and W are multiples of `square`.
        square: side in pixels of the squares in which the scale is taken as one.

    Returns:
        (H / square, W / square, 2, 2) float64: metres to the east, and to the north, of a column's
        step (first) and of a row's, on WGS 84 from the sides of the squares.
    """
    half = square / 2
    rows = np.arange(grid.height // square) * square + half
    cols = np.arange(grid.width // square) * square + half
    row, col = np.meshgrid(rows, cols, indexing="ij")
    steps = np.empty((*row.shape, 2, 2))
    for number, (along_row, along_col) in enumerate(((0.0, half), (half, 0.0))):
        (lon0, lat0), (lon1, lat1) = (
            _degrees(grid, row + sign * along_row, col + sign * along_col) for sign in (-1, 1)
        )
        middle = np.radians((lat0 + lat1) / 2)
        curved = 1 - _WGS84.es * np.sin(middle) ** 2
        east_radius = _WGS84.a / np.sqrt(curved) * np.cos(middle)
        north_radius = _WGS84.a * (1 - _WGS84.es) / curved**1.5
        turned = (lon1 - lon0 + 180) % 360 - 180
        steps[..., number, 0] = np.radians(turned) * east_radius / square
        steps[..., number, 1] = np.radians(lat1 - lat0) * north_radius / square
    return steps


def _degrees(grid: Grid, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = grid.transform
    x, y = a * col + b * row + c, d * col + e * row + f
    lon, lat = transformer(grid.crs, WGS84).transform(x, y)
    return np.asarray(lon), np.asarray(lat)

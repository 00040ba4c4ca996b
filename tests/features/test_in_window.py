"""Texture and terrain: as their definitions say, and the same in whatever array a window lies."""

from __future__ import annotations

import numpy as np
import pytest

from lulc.features.in_window import terrain, window_mean_sd
from lulc.geo.grid import Grid
from lulc.geo.ground import ground_steps


@pytest.mark.parametrize("side", [3, 7, 21])
def test_texture_is_of_the_valid_pixels_of_the_window(side: int) -> None:
    rng = np.random.default_rng(side)
    values, valid = rng.normal(2, 1, (40, 32)), rng.random((40, 32)) < 0.7
    mean, sd = window_mean_sd(values, valid, side)
    around = side // 2
    for i, j in [(0, 0), (5, 31), (20, 16), (39, 3)]:
        rows, cols = np.s_[max(i - around, 0) : i + around + 1, max(j - around, 0) : j + around + 1]
        seen = values[rows, cols][valid[rows, cols]]
        np.testing.assert_allclose((mean[i, j], sd[i, j]), (seen.mean(), seen.std()), rtol=1e-9)
    inside = window_mean_sd(values[4:36, 5:30], valid[4:36, 5:30], side)
    for whole, part in zip((mean, sd), inside, strict=True):
        core = np.s_[around : 32 - around, around : 25 - around]
        np.testing.assert_array_equal(whole[4:36, 5:30][core], part[core])
    assert not window_mean_sd(values, np.zeros_like(valid), side)[0].any()


@pytest.mark.parametrize(
    ("crs", "x", "y", "side"),
    [
        ("EPSG:32633", 500_000, 5_300_000, 10),
        ("EPSG:6933", 1_500_000, 5_200_000, 10),
        ("EPSG:3857", 1_000_000, 7_000_000, 10),
        ("EPSG:4326", 12.0, 48.0, 1e-4),
        ("EPSG:3413", 200_000, -2_000_000, 30),
    ],
)
def test_slope_and_aspect_are_those_of_the_ground_in_any_crs(
    crs: str, x: float, y: float, side: float
) -> None:
    from pyproj import Geod

    from lulc.geo.grid import WGS84, transformer

    grid = Grid(crs, (side, 0.0, x, 0.0, -side, y), 48, 48)
    cols, rows = np.meshgrid(np.arange(48) + 0.5, np.arange(48) + 0.5)
    lon, lat = transformer(crs, WGS84).transform(x + side * cols, y - side * rows)
    middle = np.full_like(lon, lon[24, 24]), np.full_like(lat, lat[24, 24])
    bearing, _, metres = Geod(ellps="WGS84").inv(*middle, lon, lat)
    # A plane that falls by 0.5 m a metre to the south-west, 225 degrees.
    heights = 1000 - 0.5 * metres * np.cos(np.radians(bearing - 225))
    slope, sine, cosine = terrain(heights, np.ones(grid.shape, bool), ground_steps(grid, 16))
    inner = np.s_[1:-1, 1:-1]
    np.testing.assert_allclose(slope[inner], np.degrees(np.arctan(0.5)), rtol=1e-3)
    np.testing.assert_allclose(sine[inner], -(0.5**0.5), atol=2e-3)
    np.testing.assert_allclose(cosine[inner], -(0.5**0.5), atol=2e-3)


def test_level_ground_has_no_aspect_and_gaps_are_level_with_their_neighbours() -> None:
    grid = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 16, 16)
    steps = ground_steps(grid, 16)
    heights, valid = np.full(grid.shape, 700.0), np.ones(grid.shape, bool)
    heights[4, 4], valid[4, 4] = 0, False
    assert not any(array.any() for array in terrain(heights, valid, steps))

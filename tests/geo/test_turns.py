"""Longitudes that differ by whole turns are one place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.geo.grid import Grid
from lulc.geo.overlap import turned
from lulc.geo.warp import warp

RNG = np.random.default_rng(0)


def _degrees(west: float, height: int, width: int, side: float = 0.25) -> Grid:
    return Grid("EPSG:4326", (side, 0, west, 0, -side, 10), height, width)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(-2, 2),
    st.sampled_from(["EPSG:4326", "EPSG:4258", "EPSG:3832", "EPSG:6933"]),
    st.sampled_from(["nearest", "bilinear"]),
)
def test_a_source_moved_by_a_turn_is_read_alike(turn: int, crs: str, resampling: str) -> None:
    grids = {
        "EPSG:4326": Grid("EPSG:4326", (0.3, 0, 178, 0, -0.3, 9), 20, 20),
        "EPSG:4258": Grid("EPSG:4258", (0.3, 0, -181, 0, -0.3, 9), 20, 20),
        "EPSG:3832": Grid("EPSG:3832", (3e4, 0, 3.1e6, 0, -3e4, 1e6), 20, 20),
        "EPSG:6933": Grid("EPSG:6933", (3e4, 0, 1.70e7, 0, -3e4, 1.2e6), 20, 10),
    }
    pixels = RNG.integers(0, 1000, (40, 80)).astype(np.int16)
    valid = np.ones(pixels.shape, bool)
    there = warp(pixels, valid, _degrees(170, 40, 80), grids[crs], resampling)
    moved = warp(pixels, valid, _degrees(170 + 360 * turn, 40, 80), grids[crs], resampling)
    assert there[1].mean() > 0.5
    np.testing.assert_array_equal(there[1], moved[1])
    np.testing.assert_allclose(there[0], moved[0], atol=1)


@pytest.mark.parametrize("west", [0.0, -180.0, -0.125])
@pytest.mark.parametrize("centre", [0.0, 180.0, -180.0, 359.0])
def test_no_column_is_lost_where_a_source_of_the_whole_earth_ends(
    west: float, centre: float
) -> None:
    source = _degrees(west, 40, 1440)
    pixels = np.tile(np.arange(1440, dtype=np.int16), (40, 1))
    grid = Grid("EPSG:4326", (0.25, 0, centre - 5 + west % 0.25, 0, -0.25, 8), 16, 40)
    found, valid = warp(pixels, np.ones(pixels.shape, bool), source, grid, "nearest")
    assert valid.all()
    first = round((grid.transform[2] - west) / 0.25)
    np.testing.assert_array_equal(found[0], (first + np.arange(40)) % 1440)


def test_a_source_that_meets_the_grid_at_no_turn_is_left_as_it_is() -> None:
    source = _degrees(300, 10, 10)
    assert turned(source, _degrees(0, 10, 10)) == (source,)
    assert turned(source, _degrees(-60, 10, 10)) == (_degrees(-60, 10, 10),)

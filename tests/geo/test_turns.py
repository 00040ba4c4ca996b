"""Longitudes that differ by whole turns are one place."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.bands import Resampling
from lulc.errors import InputError
from lulc.geo.antimeridian import wrap_longitudes
from lulc.geo.areas import degrees_area
from lulc.geo.grid import Grid, central_meridian, footprint, rim, turn_of
from lulc.geo.overlap import turned
from lulc.geo.reproject import outline_on_earth, to_degrees
from lulc.geo.warp import warp

MODIS_SPHERE = "+proj=sinu +lon_0=0 +R=6371007.181 +units=m"
RNG = np.random.default_rng(0)


def _degrees(west: float, height: int, width: int, side: float = 0.25) -> Grid:
    return Grid("EPSG:4326", (side, 0, west, 0, -side, 10), height, width)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(-2, 2),
    st.sampled_from(["EPSG:4326", "EPSG:4258", "EPSG:3832", "EPSG:6933"]),
    st.sampled_from(["nearest", "bilinear"]),
)
def test_a_source_moved_by_a_turn_is_read_alike(
    turn: int, crs: str, resampling: Resampling
) -> None:
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


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:3395", "EPSG:6933", "EPSG:3832", "EPSG:4087"])
def test_projections_that_go_round_have_a_turn(crs: str) -> None:
    turn = turn_of(crs)
    assert turn is not None
    grid = Grid(crs, (1e4, 0, -turn / 2 + 1e5, 0, -1e4, 1e6), 20, 20)
    beyond = Grid(crs, (1e4, 0, turn / 2 + 1e5, 0, -1e4, 1e6), 20, 20)
    (moved,) = turned(beyond, grid)
    assert moved.transform == pytest.approx(grid.transform)
    assert footprint(beyond).symmetric_difference(footprint(grid)).area < 1e-6


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:5070", "EPSG:3031", MODIS_SPHERE, "EPSG:8857"])
def test_other_projections_have_none(crs: str) -> None:
    assert turn_of(crs) is None


@pytest.mark.parametrize("crs", [MODIS_SPHERE, "EPSG:8857", "ESRI:54012", "+proj=sinu +lon_0=150"])
def test_the_earth_ends_at_the_rim_of_a_projection(crs: str) -> None:
    earth = rim(crs)
    assert earth is not None
    left, bottom, right, top = earth.bounds
    whole = Grid(crs, ((right - left) / 360, 0, left, 0, (bottom - top) / 180, top), 180, 360)
    assert footprint(whole).area == pytest.approx(360 * 180, rel=1e-3)
    assert degrees_area(to_degrees(outline_on_earth(whole), crs, "it")) == pytest.approx(
        5.10065622e14, rel=1e-5
    )
    east = footprint(whole.window(40, 300, 30, 60))
    lon = (np.array([177.0, -177.0]) + central_meridian(crs) + 180) % 360 - 180
    assert shapely.intersects_xy(east, lon, [35, 35]).tolist() == [True, False]
    with pytest.raises(InputError, match="no longitudes and latitudes"):
        footprint(whole.window(0, 0, 4, 20))


def test_polygons_that_go_round_without_end_are_refused() -> None:
    assert wrap_longitudes(shapely.box(1e6, 0, 1e6 + 10, 1)).area == pytest.approx(10, rel=1e-6)
    with pytest.raises(InputError, match=r"from longitude 0 to 1e\+12 is not in degrees"):
        wrap_longitudes(shapely.box(0, 0, 1e12, 1))
    assert wrap_longitudes(shapely.Polygon()).is_empty

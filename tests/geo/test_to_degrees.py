"""One road into degrees: turns, the antimeridian, poles, and parts within parts."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import translate
from shapely.geometry import box

from lulc.errors import InputError
from lulc.geo.antimeridian import narrow_bounds, short_way_round
from lulc.geo.areas import degrees_area
from lulc.geo.grid import Grid, transform_points
from lulc.geo.reproject import bounds_in, onto_grid, to_degrees

lon, lat = st.floats(-180, 180), st.floats(-80, 80)


@settings(max_examples=50, deadline=None)
@given(lon, lat, st.floats(0.1, 20), st.integers(3, 12))
def test_a_polygon_moved_by_a_turn_is_the_same(
    x: float, y: float, radius: float, corners: int
) -> None:
    shape = shapely.Point(x, y).buffer(min(radius, 89 - abs(y)), quad_segs=corners)
    plain = to_degrees(shape, "EPSG:4326", "a")
    moved = to_degrees(translate(shape, -360 if x > 0 else 360), "EPSG:4326", "a")
    assert degrees_area(moved) == pytest.approx(degrees_area(plain), rel=1e-9)
    assert plain.symmetric_difference(moved).area < 1e-9
    west, _, east, _ = plain.bounds
    assert west >= -180 and east <= 180


@settings(max_examples=50, deadline=None)
@given(st.floats(160, 200), lat, st.floats(0.1, 9))
def test_a_polygon_cut_at_180_equals_the_uncut_one(x: float, y: float, radius: float) -> None:
    shape = shapely.Point(x, y).buffer(radius)
    west, east = shape & box(100, -90, 180, 90), shape & box(180, -90, 300, 90)
    parts = [part for part in (west, translate(east, -360)) if not part.is_empty]
    cut = to_degrees(shapely.MultiPolygon(parts), "EPSG:4326", "a")
    plain = to_degrees(shape, "EPSG:4326", "a")
    assert degrees_area(cut) == pytest.approx(degrees_area(plain), rel=1e-9)
    assert plain.symmetric_difference(cut).area < 1e-9


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4258", "EPSG:4312", "EPSG:4267", "EPSG:4979"])
@pytest.mark.parametrize("west", [0, -180, -200])
def test_the_whole_earth_is_the_whole_earth_by_any_count(crs: str, west: float) -> None:
    earth = to_degrees(box(west, -90, west + 360, 90), crs, "the earth")
    assert earth.bounds == pytest.approx((-180, -90, 180, 90), abs=0.01)
    assert degrees_area(earth) == pytest.approx(5.10065622e14, rel=1e-4)


def test_meridians_and_units_are_those_of_the_crs() -> None:
    # NTF (Paris) counts grads from 2°20'14"; 200 grads are half round the Earth.
    found = to_degrees(box(195, 10, 205, 20), "EPSG:4807", "a")
    west, south, east, north = narrow_bounds(found)
    assert (west, east) == pytest.approx((2.33723 + 175.5, 2.33723 + 184.5), abs=0.01)
    assert (south, north) == pytest.approx((9, 18), abs=0.01)
    x, y = transform_points(np.array([190.0, -350.0]), np.zeros(2), "EPSG:4326", "EPSG:4258")
    assert x.tolist() == [190, -350]
    assert y.tolist() == [0, 0]


@pytest.mark.parametrize("crs", ["EPSG:3832", "EPSG:3460", "EPSG:2193", "EPSG:3031", "EPSG:3413"])
def test_polygons_in_projections_of_180_and_the_poles_keep_their_area(crs: str) -> None:
    at = {"EPSG:3832": (3.3e6, -2e6), "EPSG:3460": (2.1e6, 3.9e6), "EPSG:2193": (2.15e6, 5.5e6)}
    x, y = at.get(crs, (0, 0))
    shape = shapely.Point(x, y).buffer(2e5)
    found = to_degrees(shape, crs, "a")
    assert (narrow_bounds(found)[2] > 180) == (crs in at)
    assert 0.5 < degrees_area(found) / shape.area < 1.5
    back = onto_grid(found, Grid(crs, (1e3, 0, x - 3e5, 0, -1e3, y + 3e5), 600, 600))
    assert back.symmetric_difference(shape).area < 1e-6 * shape.area


def test_parts_within_or_over_other_parts_are_united() -> None:
    parts = [box(0, 0, 10, 10), box(2, 2, 4, 4), box(8, 8, 12, 12)]
    found = to_degrees(shapely.MultiPolygon(parts), "EPSG:4326", "a")
    assert found.equals(shapely.union_all(parts))


@pytest.mark.parametrize(
    ("crs", "ring"),
    [
        ("EPSG:4326", [(179, 0), (-179, 0), (-179, 1), (179, 1)]),
        ("EPSG:4326", [(-170, 0), (170, 0), (170, 1), (-170, 1)]),
        ("EPSG:4807", [(199, 0), (-199, 0), (-199, 1), (199, 1)]),
        ("OGC:CRS84", [(1, 0), (359, 0), (359, 1), (1, 1)]),
    ],
)
def test_a_side_that_may_go_either_way_round_is_refused(
    crs: str, ring: list[tuple[float, float]]
) -> None:
    with pytest.raises(InputError, match=r"region 'fiji' of f.gpkg has a side .*put a point"):
        to_degrees(shapely.Polygon(ring), crs, "region 'fiji' of f.gpkg")
    # A point between says that it goes the long way.
    dense = shapely.segmentize(shapely.Polygon(ring), 90)
    assert to_degrees(dense, crs, "a").area > 200


def test_outlines_of_scenes_go_the_short_way() -> None:
    fiji = shapely.Polygon([(179, -18), (-179, -18), (-179, -17), (179, -17)])
    assert short_way_round(fiji).area == pytest.approx(2)
    pole = shapely.Polygon([(0, 85), (90, 85), (180, 85), (-90, 85)])
    assert short_way_round(pole).bounds[3] == 90
    assert short_way_round(box(300, 0, 301, 1)).bounds == (-60, 0, -59, 1)
    assert short_way_round(box(-180, -90, 180, 90)).area == 360 * 180


def test_bounds_across_180_go_the_short_way() -> None:
    grid = Grid("EPSG:3832", (1e3, 0.0, 3.3e6, 0.0, -1e3, -1.5e6), 64, 64)
    bounds = bounds_in(grid, "EPSG:4326")
    assert bounds is not None
    assert bounds[0] == pytest.approx(179.64, abs=0.05)
    assert bounds[2] == pytest.approx(180.22, abs=0.05)
    polar = bounds_in(Grid("EPSG:3413", (1e3, 0, -5e4, 0, -1e3, 5e4), 100, 100), "EPSG:4326")
    assert polar is not None and polar[3] == 90
    assert narrow_bounds(box(-180, 0, 180, 1)) == (-180, 0, 180, 1)

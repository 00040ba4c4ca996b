"""Tiles partition the plane; areas are true."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from lulc.errors import InputError, UsageError
from lulc.geo import areas
from lulc.geo.grid import WGS84, Grid, footprint, parse_crs, transformer
from lulc.geo.reproject import to_degrees
from lulc.geo.tiling import Tiling

MODIS_SPHERE = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
EQUAL = Tiling("t", "EPSG:6933", 10.0, 64)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from([1, 2, 5]))
def test_every_point_lies_in_one_cell(x: float, y: float, span: int) -> None:
    cells = list(EQUAL.cells((x - 700, y - 700, x + 700, y + 700), span))
    assert len(set(cells)) == len(cells)
    inside = 0
    for col, row in cells:
        xmin, ymin, xmax, ymax = EQUAL.grid(col, row, span=span).bounds
        inside += xmin <= x < xmax and ymin < y <= ymax
    assert inside == 1


@given(st.integers(-500, 500), st.integers(-500, 500), st.integers(1, 6), st.integers(1, 6))
def test_cells_of_a_box_of_tiles_are_those_tiles(col: int, row: int, wide: int, high: int) -> None:
    xmin, _, _, ymax = EQUAL.grid(col, row).bounds
    _, ymin, xmax, _ = EQUAL.grid(col + wide - 1, row + high - 1).bounds
    cells = set(EQUAL.cells((xmin, ymin, xmax, ymax)))
    assert cells == {(c, r) for c in range(col, col + wide) for r in range(row, row + high)}


def test_extent_bounds_the_cells() -> None:
    tiling = Tiling("scene", "EPSG:32632", 30.0, 256, 300_000.0, 5_000_000.0, extent=(1428, 1128))
    cells = list(tiling.cells((0, 0, 9e5, 9e6)))
    assert len(cells) == math.ceil(1428 / 256) * math.ceil(1128 / 256)
    assert min(cells) == (0, 0)


def test_tile_ids_round_trip_and_strangers_are_refused() -> None:
    assert EQUAL.parse(EQUAL.tile_id(-3, 7)) == (-3, 7)
    with pytest.raises(UsageError, match="other/1_2"):
        EQUAL.parse("other/1_2")


@pytest.mark.parametrize(
    "grid",
    [
        Grid("EPSG:4326", (0.01, 0, 10, 0, -0.01, 60), 300, 400),
        Grid("EPSG:32633", (100, 0, 3e5, 0, -100, 5.5e6), 400, 300),
        Grid("EPSG:3857", (100, 0, 1e6, 0, -100, 7e6), 200, 200),
        Grid("EPSG:3035", (100, 0, 4e6, 0, -100, 3e6), 200, 250),
        Grid("EPSG:32661", (1000, 0, 2e6, 0, -1000, 2.4e6), 100, 100),
        # A sphere, whose latitudes PROJ takes for those of WGS 84.
        Grid(MODIS_SPHERE, (463.3127, 0, 1.1119505e6, 0, -463.3127, 5.5597526e6), 40, 60),
        Grid("EPSG:3408", (25000, 0, 1e6, 0, -25000, -3e6), 40, 40),
        Grid("EPSG:3410", (25000, 0, 1e6, 0, -25000, 5e6), 40, 40),
        Grid("EPSG:2163", (1000, 0, 1e6, 0, -1000, 0), 100, 100),
        Grid("EPSG:3785", (100, 0, 1e6, 0, -100, 7e6), 200, 200),
        Grid("ESRI:53034", (1000, 0, 1e6, 0, -1000, 5e6), 100, 100),
        Grid("EPSG:4035", (0.5, 0, 10, 0, -0.5, 60), 30, 40),
        Grid("EPSG:4047", (0.01, 0.001, 10, 0.001, -0.01, 60), 30, 40),
        # Other datums, meridians and units: Paris and grads, feet, northing first.
        Grid("EPSG:4807", (0.01, 0, 1, 0, -0.01, 54), 300, 400),
        Grid("EPSG:27572", (100, 0, 6e5, 0, -100, 2.4e6), 100, 100),
        Grid("EPSG:4312", (0.01, 0.001, 12, 0.001, -0.01, 48), 100, 100),
        Grid("EPSG:31466", (100, 0, 2.5e6, 0, -100, 5.6e6), 100, 100),
        Grid("EPSG:2227", (100, 0, 6e6, 0, -100, 2.1e6), 100, 100),
        Grid("EPSG:9707", (0.01, 0, 10, 0, -0.01, 60), 300, 400),
        Grid("EPSG:4979", (0.01, 0, 190, 0, -0.01, 60), 300, 400),
    ],
)
def test_pixel_areas_sum_to_the_ellipsoidal_area(grid: Grid) -> None:
    total = np.broadcast_to(areas.pixel_areas(grid), grid.shape).sum()
    outline = shapely.Polygon(zip(*grid.corners(), strict=True))
    assert total == pytest.approx(areas.geodesic_area(outline, grid.crs), rel=2e-7)
    # As large as the ground that its corners enclose, which is how regions are measured.
    on_wgs84 = areas.degrees_area(to_degrees(outline, grid.crs, "the grid"))
    assert total == pytest.approx(on_wgs84, rel=2e-7)


def test_equal_area_is_known_from_the_method_and_the_ellipsoid() -> None:
    assert all(
        areas.is_equal_area(c)
        for c in ("EPSG:6933", "EPSG:3035", "EPSG:3577", "EPSG:5070", "ESRI:102022")
    )
    assert not any(areas.is_equal_area(c) for c in ("EPSG:3857", "EPSG:32632", "EPSG:4326"))
    assert not any(areas.is_equal_area(c) for c in ("EPSG:3410", "ESRI:53034", "EPSG:5069"))


def test_footprint_is_split_at_the_antimeridian() -> None:
    found = footprint(Grid("EPSG:32601", (10000, 0, -200000, 0, -10000, 700000), 50, 50))
    west, _, east, _ = found.bounds
    assert found.geom_type == "MultiPolygon"
    assert (west, east) == (-180, 180)
    assert found.area < 30


def test_footprint_holds_every_pixel() -> None:
    grid = Grid("EPSG:32633", (30, 5, 7e5, 5, -30, 6.6e6), 500, 700)
    col, row = np.meshgrid(np.arange(5, 700, 50), np.arange(5, 500, 50))
    lon, lat = transformer(grid.crs, WGS84).transform(*(grid.affine @ (col, row)))
    assert shapely.contains_xy(footprint(grid), lon, lat).all()


def test_unknown_crs_is_named() -> None:
    with pytest.raises(InputError, match="EPSG:123456789"):
        parse_crs("EPSG:123456789")


def test_pixels_that_are_far_too_small_for_a_scene_are_refused() -> None:
    # Degrees in a CRS of metres.
    tiling = Tiling("t", "EPSG:32633", 0.0001, 256)
    with pytest.raises(UsageError, match=r"tiling.resolution 0\.0001 is in units of tiling.crs"):
        next(tiling.cells((500_000, 5_200_000, 609_800, 5_309_800)))
    assert len(list(replace(tiling, resolution=10.0).cells((0, 0, 109_800, 109_800)))) == 43 * 43

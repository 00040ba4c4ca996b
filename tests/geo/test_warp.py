"""Warping agrees with GDAL's exact transformer, keeps means, and knows where a projection tears."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.warp import reproject

from lulc.geo import overlap, warp
from lulc.geo.grid import Grid, transformer
from tests.helpers.synthetic_scenes import UTM33, grid_inside, texture


def _gdal(
    pixels: np.ndarray,
    grid: Grid,
    resampling: Resampling,
    nodata: float | None,
    source: Grid = UTM33,
) -> np.ndarray:
    # XSCALE 1: the plain kernel of four neighbours, not the wider one GDAL takes where it thinks
    # pixels shrink. rasterio's WarpedVRT refuses tolerance 0, reproject takes it.
    place = {
        "src_transform": source.affine,
        "src_crs": source.crs,
        "dst_transform": grid.affine,
        "dst_crs": grid.crs,
    }
    out = np.zeros(grid.shape, pixels.dtype)
    scale = {"XSCALE": 1, "YSCALE": 1} if resampling == Resampling.bilinear else {}
    reproject(
        pixels,
        out,
        **place,
        resampling=resampling,
        tolerance=0,
        src_nodata=nodata,
        dst_nodata=nodata,
        **scale,
    )
    return out


@pytest.mark.parametrize("crs", ["EPSG:3035", "EPSG:6933", "EPSG:32632", "EPSG:3857"])
@pytest.mark.parametrize("holes", [False, True])
def test_bilinear_is_within_one_of_gdal_exact(crs: str, holes: bool) -> None:
    pixels, grid = texture(UTM33), grid_inside(crs, 10.0)
    # A hard edge as well: 3,000 DN from one pixel to the next show the smallest shift.
    pixels[100:120, 100:120] = 3000
    if holes:
        pixels[np.random.default_rng(0).random(pixels.shape) < 0.05] = 0
    found, valid = warp.warp(pixels, pixels != 0, UTM33, grid, "bilinear")
    expected = _gdal(pixels, grid, Resampling.bilinear, 0 if holes else None)
    assert valid.mean() > (0.9 if holes else 0.999)
    assert (valid == (expected != 0)).mean() > 0.9999
    both = valid & (expected != 0)
    assert np.abs(found.astype(int) - expected.astype(int))[both].max() <= 1
    assert not found[~valid].any()


def test_nearest_equals_gdal_but_for_ties() -> None:
    pixels, grid = texture(UTM33), grid_inside("EPSG:3035", 10.0)
    found, valid = warp.warp(pixels, np.ones(pixels.shape, bool), UTM33, grid, "nearest")
    expected = _gdal(pixels, grid, Resampling.nearest, None)
    differs = (found != expected) & valid
    # Where they differ the pixel's centre lies on a border of two
    # source pixels, to the tolerance between knots.
    centres = np.arange(200) + 0.5
    x, y = grid.affine @ np.meshgrid(centres, centres)
    col, row = ~UTM33.affine @ transformer(grid.crs, UTM33.crs).transform(x, y)
    border = np.minimum(np.abs(col - np.round(col)), np.abs(row - np.round(row)))
    assert border[differs].max(initial=0) <= 2 * overlap.TOLERANCE
    assert differs.mean() < 0.01


@given(st.sampled_from([2, 3, 5, 7]), st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_average_keeps_the_mean(factor: int, seed: int) -> None:
    source = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5.3e6), 210, 210)
    values = np.random.default_rng(seed).random(source.shape)
    side = 10.0 * factor
    grid = Grid("EPSG:32633", (side, 0.0, 5e5, 0.0, -side, 5.3e6), 210 // factor, 210 // factor)
    found, valid = warp.warp(values, np.ones(values.shape, bool), source, grid, "average")
    assert valid.all()
    assert found.mean() == pytest.approx(values.mean(), abs=1e-9)
    # A grid pixel that is no whole number of source pixels: still nothing is lost or counted twice.
    other = Grid("EPSG:32633", (2100 / 64, 0.0, 5e5, 0.0, -2100 / 64, 5.3e6), 64, 64)
    found, _ = warp.warp(values, np.ones(values.shape, bool), source, other, "average")
    assert found.mean() == pytest.approx(values.mean(), abs=1e-9)


def test_a_much_coarser_grid_averages_instead_of_sampling() -> None:
    board = np.indices((300, 330)).sum(0) % 2 * 1000.0
    found, valid = warp.warp(
        board, np.ones(board.shape, bool), UTM33, grid_inside("EPSG:3035", 100.0, 20), "bilinear"
    )
    assert valid.all()
    assert found == pytest.approx(500, abs=15)


@pytest.mark.parametrize("angle", [30.0, 90.0, 217.0])
def test_a_rotated_source_gives_back_a_plane(angle: float) -> None:
    turned = Grid(
        UTM33.crs, tuple((UTM33.affine @ UTM33.affine.rotation(angle, (165, 150)))[:6]), 300, 330
    )
    x, y = turned.affine @ np.meshgrid(np.arange(330) + 0.5, np.arange(300) + 0.5)
    plane = (x - 5e5) * 0.3 + (y - 5.29e6) * 0.1
    grid = grid_inside("EPSG:32633", 10.0, 100, turned)
    for resampling, tolerance in (("bilinear", 1e-6), ("nearest", 4.5), ("average", 3.0)):
        found, valid = warp.warp(plane, np.ones(plane.shape, bool), turned, grid, resampling)
        x, y = grid.affine @ np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5)
        assert valid.all()
        assert found == pytest.approx((x - 5e5) * 0.3 + (y - 5.29e6) * 0.1, abs=tolerance)


def test_knots_are_exact_enough_and_seams_are_left_out() -> None:
    # Sinusoidal pixels of 5 km bend much within 32 pixels.
    source = Grid("+proj=sinu +R=6371007.181", (5000.0, 0.0, 3e6, 0.0, -5000.0, 5e6), 400, 400)
    grid = grid_inside("EPSG:6933", 5000.0, 150, source)
    at = overlap.locate(source, grid)
    assert len(at.knot_cols) > 150 / 32 + 1
    x, y = grid.affine @ np.meshgrid(np.arange(150) + 0.5, np.arange(150) + 0.5)
    exact = np.stack(~source.affine @ transformer(grid.crs, source.crs).transform(x, y))
    cols = np.arange(source.width) + 0.5 + 0 * np.arange(source.height)[:, None]
    found, valid = warp.warp(cols, np.ones(cols.shape, bool), source, grid, "bilinear")
    inside = valid & (exact[0] > 1) & (exact[0] < 399)
    assert inside.sum() > 10_000
    assert np.abs(found - exact[0])[inside].max() <= overlap.TOLERANCE

    # Across the antimeridian: longitudes jump, and nothing is read from the middle of the source.
    world = Grid("EPSG:4326", (0.1, 0.0, -180.0, 0.0, -0.1, 10.0), 200, 3600)
    lon = np.tile(np.arange(3600) * 0.1 - 179.95, (200, 1))
    dateline = Grid(
        "EPSG:3832", (5000.0, 0.0, 30 * 111319.49 - 500000, 0.0, -5000.0, 500000.0), 200, 200
    )
    found, valid = warp.warp(lon, np.ones(lon.shape, bool), world, dateline, "bilinear")
    assert valid.mean() > 0.95
    assert (np.abs(found[valid]) > 174).all()

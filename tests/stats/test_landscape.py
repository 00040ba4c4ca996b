"""Patches: independent of the map's blocks, and equal to scipy's labelling of the whole map."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from scipy import ndimage

from lulc.geo.areas import degrees_area, pixel_areas
from lulc.geo.coverage import find_runs, fractions
from lulc.geo.grid import Grid, outline
from lulc.geo.reproject import to_degrees
from lulc.legend import NODATA
from lulc.stats import landscape

GRID = Grid("EPSG:32632", (10.0, 0.0, 500000.0, 0.0, -10.0, 5_000_000.0), 60, 80)


def make_classes(seed: int, shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    classes = ndimage.zoom(rng.integers(0, 4, (shape[0] // 4, shape[1] // 4)), 4, order=0).astype(
        np.uint8
    )
    speckled = np.where(rng.random(shape) < 0.2, rng.integers(0, 4, shape), classes)
    return np.where(rng.random(shape) < 0.1, NODATA, speckled).astype(np.uint8)


def region(seed: int, grid: Grid) -> shapely.Geometry:
    xmin, ymin, xmax, ymax = grid.bounds
    angles = np.linspace(0, 2 * np.pi, 30)[:-1]
    radius = np.random.default_rng(seed).uniform(0.2, 0.6, 29)
    x, y = (
        (xmin + xmax) / 2 + radius * np.cos(angles) * (xmax - xmin),
        (ymin + ymax) / 2 + radius * np.sin(angles) * (ymax - ymin),
    )
    return shapely.make_valid(shapely.Polygon(np.column_stack([x, y])))


def measure(classes: np.ndarray, grid: Grid, shape: shapely.Geometry, side: int) -> np.ndarray:
    parts = []
    for row in range(0, grid.height, side):
        for col in range(0, grid.width, side):
            block = grid.window(row, col, min(side, grid.height - row), min(side, grid.width - col))
            cut = np.ascontiguousarray(classes[row : row + side, col : col + side])
            parts.append(landscape.scan_patches(cut, find_runs(shape, block), block, (row, col)))
    return landscape.join_parts([part for part in parts if part is not None])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([7, 16, 33, 100]))
def test_blocks_change_nothing_and_scipy_counts_the_same(seed: int, side: int) -> None:
    classes, shape = make_classes(seed, GRID.shape), region(seed, GRID)
    found = measure(classes, GRID, shape, side)
    own = np.where(fractions(shape, GRID) >= 0.5, classes, NODATA)
    areas = np.broadcast_to(pixel_areas(GRID), GRID.shape)
    for value in range(4):
        labels, count = ndimage.label(own == value, np.ones((3, 3)))
        sizes = ndimage.sum_labels(areas, labels, range(1, count + 1))
        assert found["patches"][value] == count
        assert found["area_m2"][value] == pytest.approx(sizes.sum())
        assert found["largest_m2"][value] == pytest.approx(sizes.max(initial=0))
        sides = 0
        for one, two in ((own[:, 1:], own[:, :-1]), (own[1:], own[:-1])):
            apart = (one != two) & (one != NODATA) & (two != NODATA)
            sides += (apart & ((one == value) | (two == value))).sum()
        assert found["edge_m"][value] == pytest.approx(
            10 * sides, rel=1e-3
        )  # the scale of UTM in the middle of its zone


def test_edges_are_as_long_as_on_the_ground() -> None:
    """A lake in the north: its shore in metres, whichever way the map is drawn."""
    for crs, step, x, y in (
        ("EPSG:4326", 0.001, 10.0, 65.05),
        ("EPSG:6933", 50.0, 964_862.0, 6_651_000.0),
    ):
        grid = Grid(crs, (step, 0.0, x, 0.0, -step, y), 60, 80)
        classes = np.zeros(grid.shape, np.uint8)
        classes[20:40, 30:60] = 1
        found = measure(classes, grid, outline(grid), 32)
        lake = to_degrees(outline(grid.window(20, 30, 20, 30)), crs, "lake")
        around = Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(lake, 0.0001))[1]
        assert found["edge_m"][:2].tolist() == pytest.approx([around, around], rel=1e-3)
        assert found["patches"][:2].tolist() == [1, 1] and found["largest_m2"][1] == pytest.approx(
            degrees_area(lake), rel=1e-6
        )


def test_grids_side_by_side_share_a_lattice() -> None:
    name, row, col = landscape.find_lattice(GRID)
    moved = GRID.window(7, -9, 50, 50)
    assert landscape.find_lattice(moved) == (name, row + 7, col - 9)
    third = Grid("EPSG:4326", (1 / 3e4, 0.0, 6.1, 0.0, -1 / 3e4, 2.3), 90, 90)
    name, row, col = landscape.find_lattice(third)
    assert landscape.find_lattice(third.window(80, 33, 5, 5)) == (name, row + 80, col + 33)
    shifted = Grid("EPSG:32632", (10.0, 0.0, 500004.0, 0.0, -10.0, 5_000_000.0), 60, 80)
    assert landscape.find_lattice(shifted)[0] != landscape.find_lattice(GRID)[0]


def test_no_class_is_no_part() -> None:
    empty = np.full(GRID.shape, NODATA, np.uint8)
    assert landscape.scan_patches(empty, find_runs(outline(GRID), GRID), GRID, (0, 0)) is None
    assert (
        landscape.scan_patches(empty, find_runs(shapely.box(0, 0, 1, 1), GRID), GRID, (0, 0))
        is None
    )

"""Cells partition the Earth: what they hold of a map together is what the map holds."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import h3
import numpy as np
import pytest
import shapely
from pyproj import Transformer

from lulc.errors import UsageError
from lulc.geo.grid import Grid, footprint
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA
from lulc.stats import zonal
from lulc.stats.cells import cell_areas, count_cells, parse_cells
from lulc.tables import arrays
from tests.helpers.synthetic_predictions import MODEL, random_tile, write_block

NAMES = {0: "zero", 1: "one", 2: "two"}


def count(folder: Path, tiling: Tiling, text: str, first: tuple[int, int] = (0, 0)):
    """Return the PARTS rows of 2 × 2 random tiles, and the tiles."""
    rng, (col, row) = np.random.default_rng(5), first
    cells = [(col + c, row + r) for r in range(2) for c in range(2)]
    tiles = [random_tile(rng, tiling.grid(*cell), tiling.tile_id(*cell)) for cell in cells]
    file = write_block(folder, tiles)
    grids = [(number, arrays.grid_from(tile)) for number, tile in enumerate(tiles)]
    return count_cells(
        grids, parse_cells(text), partial(zonal.count_block, file, min_confidence=0.8)
    ), tiles


@pytest.mark.parametrize("text", ["700m", "500km", "h3:0", "h3:5"])
@pytest.mark.parametrize(
    ("crs", "resolution", "x", "y"),
    [
        ("EPSG:6933", 30.0, -10_800_000, 4_500_000),
        ("EPSG:32760", 30.0, 812_000, 8_200_000),  # across the antimeridian
        ("EPSG:4326", 0.0003, -10.0, 68.0),
        ("EPSG:3413", 30.0, -1_900, 2_100),  # with the North Pole
    ],
)
def test_areas_of_cells_add_up_to_the_map(tmp_path, text, crs, resolution, x, y):
    if crs == "EPSG:3413" and text == "700m":
        text = "300km"  # every column of squares meets at the pole
    rows, tiles = count(tmp_path, Tiling("t", crs, resolution, 64, x, y), text)
    expected = Counter()
    for tile in tiles:
        areas = np.broadcast_to(zonal.pixel_areas(arrays.grid_from(tile)), (64, 64))
        classes = arrays.array_from(tile, "classes")
        for class_id in (*NAMES, NODATA):
            expected[class_id] += areas[classes == class_id].sum()
    found = Counter()
    for row in rows:
        found[row["class_id"]] += row["area_m2"]
    assert found == pytest.approx(expected, rel=1e-9)


def test_squares_on_the_pixels_of_their_own_grid_are_counts(tmp_path):
    # 50 pixels of 10 m are a cell of 500 m; a tile of 128 begins within one.
    rows, tiles = count(tmp_path, Tiling("t", "EPSG:6933", 10.0, 128), "500m", (-3, 7))
    expected = Counter()
    for tile in tiles:
        a, _, x, _, e, y = tile["transform"]
        for (row, col), class_id in np.ndenumerate(arrays.array_from(tile, "classes")):
            cell = int((x + (col + 0.5) * a) // 500), int((-(y + (row + 0.5) * e)) // 500)
            expected[f"6933-500m/{cell[0]}_{cell[1]}", int(class_id)] += 1
    found = {(row["cell_id"], row["class_id"]): row["pixels"] for row in rows}
    assert found == pytest.approx(dict(expected), rel=1e-9)


def test_a_place_is_in_the_cell_that_its_coordinates_name():
    rng = np.random.default_rng(2)
    lon, lat = rng.uniform(-180, 180, 40), rng.uniform(-85, 85, 40)
    x, y = Transformer.from_crs(4326, 6933, always_xy=True).transform(lon, lat)
    for place in zip(lon, lat, x, y, strict=True):
        point = shapely.Point(place[:2])
        cells = parse_cells("10km").meeting(point.buffer(1e-5))
        inside = [cell for cell, polygon in cells.items() if polygon.covers(point)]
        assert inside == [f"6933-10km/{int(place[2] // 10_000)}_{int(-place[3] // 10_000)}"]
        hexagons = parse_cells("h3:7").meeting(point.buffer(1e-5))
        inside = [cell for cell, polygon in hexagons.items() if polygon.covers(point)]
        assert inside == [h3.latlng_to_cell(place[1], place[0], 7)]


def test_ground_without_a_class_and_confidence_are_told(tmp_path):
    rows, _ = count(tmp_path, Tiling("t", "EPSG:6933", 30.0, 64), "2km")
    import pyarrow as pa

    from lulc.stats.cells import PARTS

    table = cell_areas(pa.Table.from_pylist(rows, PARTS), NAMES).to_pylist()
    assert {row["class_name"] for row in table} == {*NAMES.values(), "unobserved"}
    assert {row["model"] for row in table} == {MODEL}
    for row in table:
        assert (row["class_id"] is None) == (row["class_name"] == "unobserved")
        assert (row["mean_confidence"] is None) == (row["class_id"] is None)
        if row["class_id"] is not None:
            assert 0.3 <= row["mean_confidence"] <= 1
            assert row["confident_m2"] <= row["area_m2"]


def test_cells_too_small_for_the_tiles_are_refused():
    tile = footprint(Grid("EPSG:6933", (10.0, 0, 0, 0, -10.0, 0), 5000, 5000))
    for text in ("1m", "h3:15"):
        with pytest.raises(UsageError, match=f"{text}: a tile meets .* choose cells"):
            parse_cells(text).meeting(tile)

"""Areas of interest: boxes and files, however their longitudes are told."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box, mapping
from shapely.geometry.base import BaseGeometry

from lulc.chips.extent import find_cells
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid, footprint
from lulc.geo.tiling import Tiling
from lulc.sources.area import make_box, parse_box, read_area
from lulc.sources.catalogues.search import _boxes

FIJI = box(176, -20, 185, -10)
TILING = Tiling("t", "EPSG:6933", 1000.0, 128)
SCENES = [
    footprint(Grid(f"EPSG:{zone}", (1e3, 0, x, 0, -1e3, 8.3e6), 100, 100))
    for zone, x in ((32760, 700_000), (32701, 200_000))
]


def write(path: Path, *geometries: BaseGeometry, crs: str = "EPSG:4326") -> str:
    geopandas.GeoDataFrame(geometry=list(geometries), crs=crs).to_file(path)
    return str(path)


@pytest.mark.parametrize(
    "told",
    [
        [FIJI],
        [box(-184, -20, -175, -10)],
        [box(176, -20, 180, -10), box(-180, -20, -175, -10)],
        [shapely.MultiPolygon([box(176, -20, 180, -10), box(-180, -20, -175, -10)])],
        [shapely.MultiPolygon([FIJI, box(177, -19, 178, -18)])],
        [shapely.GeometryCollection([FIJI, shapely.Point(0, 0)])],
    ],
    ids=["beyond 180", "beyond -180", "two features", "RFC 7946", "nested", "collection"],
)
def test_an_area_reaches_both_sides_of_180_however_it_is_told(
    tmp_path: Path, told: list[BaseGeometry]
) -> None:
    area = read_area(write(tmp_path / "area.geojson", *told))
    assert area is not None
    assert area.equals(make_box((176, -20, -175, -10)))
    cells = find_cells(SCENES, TILING, 1, area)
    assert cells == find_cells(SCENES, TILING, 1, None)
    assert min(cells)[0] < 0 < max(cells)[0]


@pytest.mark.parametrize("west", [300.0, -60.0, -420.0])
def test_a_raster_at_any_turn_has_the_tiles_of_its_own_pixels(west: float) -> None:
    grid = Grid("EPSG:4326", (0.01, 0, west, 0, -0.01, -10), 100, 150)
    own = Tiling("own", grid.crs, 0.01, 50, west, -10.0, extent=grid.shape)
    cells = [(col, row) for row in range(2) for col in range(3)]
    assert find_cells([footprint(grid)], own, 1, None) == cells
    assert find_cells([footprint(grid)], own, 1, make_box((-60, -11, -59.7, -10.7))) == [(0, 1)]
    whole = Tiling("whole", grid.crs, 0.01, 50)
    found = find_cells([footprint(grid)], whole, 1, None)
    assert found == [(col - 120, row + 20) for col, row in cells]


@pytest.mark.parametrize("crs", ["EPSG:3832", "EPSG:3460", "EPSG:3031"])
def test_an_area_in_a_projection_across_180_or_round_the_pole(tmp_path: Path, crs: str) -> None:
    x, y = {"EPSG:3832": (3.34e6, -2e6), "EPSG:3460": (2.1e6, 3.9e6), "EPSG:3031": (0, 0)}[crs]
    area = read_area(write(tmp_path / "area.gpkg", shapely.Point(x, y).buffer(1e5), crs=crs))
    assert area is not None and area.is_valid
    assert (area.bounds[0], area.bounds[2]) == (-180, 180)
    assert area.area < 10 or area.bounds[1] == -90


def test_an_area_that_does_not_say_its_way_round_is_refused(tmp_path: Path) -> None:
    jump = shapely.Polygon([(176, -20), (-175, -20), (-175, -10), (176, -10)])
    path = write(tmp_path / "area.gpkg", box(0, 0, 1, 1), jump)
    with pytest.raises(InputError, match=r"polygon 2 of area .*area.gpkg has a side"):
        read_area(path)
    line = write(tmp_path / "line.gpkg", shapely.LineString([(0, 0), (1, 1)]))
    with pytest.raises(InputError, match="holds no polygon"):
        read_area(line)


@given(st.floats(-180, 179), st.floats(0.001, 359), st.integers(-1, 1), st.integers(-1, 1))
def test_boxes_told_at_any_turn_are_the_same(
    west: float, width: float, turn: int, other: int
) -> None:
    east = west + width
    plain = make_box((west, 0, east, 1))
    moved = make_box((west + 360 * turn, 0, east + 360 * turn, 1))
    assert plain.symmetric_difference(moved).area < 1e-9
    if turn != other and width < 358:
        crossing = (west + 360 * max(turn, other), 0, east + 360 * min(turn, other), 1)
        if crossing[0] > crossing[2]:
            assert plain.symmetric_difference(make_box(crossing)).area < 1e-9


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        ("176,-20,185,-10", [(-180, -20, -175, -10), (176, -20, 180, -10)]),
        ("176,-20,-175,-10", [(-180, -20, -175, -10), (176, -20, 180, -10)]),
        ("300,-20,310,-10", [(-60, -20, -50, -10)]),
        ("-10,0,10,1", [(-10, 0, 10, 1)]),
        ("350,0,10,1", [(-10, 0, 10, 1)]),
        ("0,-90,360,90", [(-180, -90, 0, 90), (0, -90, 180, 90)]),
    ],
)
def test_searches_ask_for_boxes_within_180(
    text: str, boxes: list[tuple[float, float, float, float]]
) -> None:
    np.testing.assert_allclose(_boxes(parse_box(text)), boxes)


@pytest.mark.parametrize("text", ["5,0,5,1", "190,0,-170,1", "-350,0,350,1", "0,0,361,1", "0,0,1"])
def test_boxes_of_no_or_more_than_a_turn_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="xmin,ymin,xmax,ymax"):
        parse_box(text)


def test_an_area_in_geojson_as_it_is_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "area.json"
    path.write_text(json.dumps(mapping(FIJI)))
    area = read_area(str(path))
    assert area is not None and area.area == pytest.approx(90)


def test_an_area_without_an_area_is_refused(tmp_path: Path) -> None:
    flat = shapely.Polygon([(0, 0), (2, 0), (1, 0)])
    with pytest.raises(InputError, match=r"flat\.gpkg holds no polygon with an area"):
        read_area(write(tmp_path / "flat.gpkg", flat))
    area = read_area(write(tmp_path / "both.gpkg", flat, box(0, 0, 1, 1)))
    assert area is not None
    assert area.equals(box(0, 0, 1, 1))

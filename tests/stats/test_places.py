"""Areas by region wherever a map lies and however its CRS and longitudes are told."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import translate
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from lulc.config import MapFiles, RegionFile
from lulc.errors import InputError
from lulc.geo.areas import degrees_area
from lulc.geo.grid import Grid
from lulc.geo.reproject import to_degrees
from lulc.geo.tiling import Tiling
from lulc.stats import class_rasters, zonal
from lulc.stats.regions import MAP_LEVEL, Region
from lulc.stats.whole_map import whole_map_region
from lulc.stats.without_spark import measure_class_rasters
from tests.helpers.synthetic_predictions import random_tile, write_block
from tests.helpers.synthetic_scenes import write_raster

MODIS_SPHERE = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"


def areas_of(
    folder: Path, grid: Grid, classes: np.ndarray, region: BaseGeometry
) -> dict[int | None, float]:
    """m² by class id, None of what is not observed."""
    write_raster(folder / "map.tif", classes, grid)
    path = folder / "regions.gpkg"
    geopandas.GeoDataFrame({"id": ["a"]}, geometry=[region], crs="EPSG:4326").to_file(path)
    tables = measure_class_rasters(
        [MapFiles(str(folder / "map.tif"), "1")], [RegionFile(str(path))]
    )
    return {row["class_id"]: row["area_m2"] for row in tables.class_areas.to_pylist()}


@pytest.mark.parametrize(
    ("grid", "region"),
    [
        (
            Grid(MODIS_SPHERE, (463.3127, 0, 1.1119505e6, 0, -463.3127, 5.5597526e6), 40, 60),
            box(15.65, 49.85, 15.85, 49.95),
        ),
        (Grid("EPSG:3410", (25000, 0, 1e6, 0, -25000, 5e6), 20, 20), box(12, 39, 14, 42)),
        (Grid("EPSG:3408", (25000, 0, -3e5, 0, -25000, 3e5), 24, 24), box(-180, 88.5, 180, 90)),
        (Grid("EPSG:4035", (0.05, 0, 10, 0, -0.05, 60), 40, 40), box(10.5, 58.5, 11.5, 59.5)),
        (Grid("EPSG:4807", (0.01, 0, 1, 0, -0.01, 54), 40, 40), box(3.29, 48.3, 3.5, 48.5)),
        (Grid("EPSG:27572", (100, 0, 6e5, 0, -100, 2.4e6), 90, 90), box(2.36, 48.54, 2.4, 48.58)),
        (
            Grid("EPSG:2227", (100, 0, 6e6, 0, -100, 2.1e6), 80, 80),
            box(-122.435, 37.73, -122.42, 37.74),
        ),
    ],
    ids=["modis", "ease", "ease north", "sphere in degrees", "grads", "paris", "feet"],
)
def test_a_region_within_the_map_has_its_true_area(
    tmp_path: Path, grid: Grid, region: BaseGeometry
) -> None:
    found = areas_of(tmp_path, grid, np.full(grid.shape, 5, np.uint8), region)
    assert found[5] == pytest.approx(degrees_area(region), rel=1e-6)
    assert found[None] == pytest.approx(0, abs=1e-6 * found[5])


FIJI = shapely.Point(179.9, -17).buffer(0.6) - shapely.Point(179.9, -17).buffer(0.2)


@pytest.mark.parametrize(
    "grid",
    [
        Grid("EPSG:4326", (0.05, 0, 178, 0, -0.05, -15), 80, 80),
        Grid("EPSG:4326", (0.05, 0, -182, 0, -0.05, -15), 80, 80),
        Grid("EPSG:4326", (0.5, 0, 0, 0, -0.5, 90), 360, 720),
        Grid("EPSG:4326", (0.5, 0, -180, 0, -0.5, 90), 360, 720),
        Grid("EPSG:4326", (0.5, 0, -360, 0, -0.5, 90), 360, 720),
        Grid("EPSG:4312", (0.05, 0, 178, 0, -0.05, -15), 80, 80),
        Grid("EPSG:4807", (0.05, 0, 195, 0, -0.05, -16), 90, 100),
        Grid("EPSG:3832", (5e3, 0, 3.2e6, 0, -5e3, -1.7e6), 60, 60),
        Grid("EPSG:3460", (5e3, 0, 1.9e6, 0, -5e3, 4.2e6), 60, 60),
    ],
    ids=["170-190", "-190", "0-360", "-180-180", "-360-0", "datum", "grads", "3832", "fiji"],
)
@settings(max_examples=5, deadline=None)
@given(turn=st.integers(-1, 0), split=st.booleans())
def test_a_region_at_180_is_found_however_it_and_the_map_are_told(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid, turn: int, split: bool
) -> None:
    told = translate(FIJI, 360 * turn)
    if split:
        west, east = FIJI & box(170, -90, 180, 90), FIJI & box(180, -90, 190, 90)
        told = shapely.MultiPolygon(
            [part for side in (west, translate(east, -360)) for part in shapely.get_parts(side)]
        )
    classes = np.arange(grid.height * grid.width).reshape(grid.shape).astype(np.uint8) % 2
    found = areas_of(tmp_path_factory.mktemp("places"), grid, classes, told)
    true = degrees_area(to_degrees(FIJI, "EPSG:4326", "fiji"))
    slack = 1e-4 if grid.resolution[0] < 1 else 1e-6
    assert found[0] + found[1] == pytest.approx(true, rel=slack)
    assert found[0] == pytest.approx(found[1], rel=0.2)
    assert found[None] == pytest.approx(0, abs=slack * true)


def test_maps_of_two_periods_told_by_other_turns_are_compared(tmp_path: Path) -> None:
    for year, west in (("2020", 178.0), ("2021", -182.0)):
        grid = Grid("EPSG:4326", (0.05, 0, west, 0, -0.05, -15), 80, 80)
        write_raster(tmp_path / f"{year}.tif", np.full(grid.shape, int(year) % 100, "u1"), grid)
    path = tmp_path / "regions.gpkg"
    geopandas.GeoDataFrame({"id": ["a"]}, geometry=[FIJI], crs="EPSG:4326").to_file(path)
    maps = [MapFiles(str(tmp_path / f"{year}.tif"), year) for year in ("2020", "2021")]
    (change,) = measure_class_rasters(maps, [RegionFile(str(path))]).transitions.to_pylist()
    assert (change["from_id"], change["to_id"]) == (20, 21)
    true = degrees_area(to_degrees(FIJI, "EPSG:4326", "fiji"))
    assert change["area_m2"] == pytest.approx(true, rel=1e-4)


def test_a_region_of_far_parts_meets_a_map_across_180(tmp_path: Path) -> None:
    # The seam of EPSG:3832 lies at -30, within a part that is far from the map.
    grid = Grid("EPSG:3832", (5e3, 0, 3.2e6, 0, -5e3, -1.7e6), 60, 60)
    far = box(-50, -19, -10, -14)
    region = shapely.MultiPolygon([FIJI, far])
    found = areas_of(tmp_path, grid, np.full(grid.shape, 3, np.uint8), region)
    assert found[3] == pytest.approx(degrees_area(to_degrees(FIJI, "EPSG:4326", "a")), rel=1e-4)
    assert found[None] == pytest.approx(degrees_area(far), rel=1e-4)


@pytest.mark.parametrize(
    ("crs", "side", "west", "north", "size"),
    [
        ("EPSG:3413", 25_000, -1.5e6, 1.5e6, 120),  # sea ice on NSIDC's grid
        ("EPSG:3031", 100_000, -3e6, 3e6, 60),
        ("EPSG:3857", 40_000, 0, 1.2e7, 60),
        ("ESRI:54030", 20_000, 0, 7e6, 60),
    ],
)
def test_coarse_pixels_of_no_equal_area_add_up(
    tmp_path: Path, crs: str, side: float, west: float, north: float, size: int
) -> None:
    grid = Grid(crs, (side, 0, west, 0, -side, north), size, size)
    x, y = west + 0.4 * size * side, north - 0.6 * size * side
    region = to_degrees(shapely.Point(x, y).buffer(0.15 * size * side), crs, "a circle")
    found = areas_of(tmp_path, grid, np.full(grid.shape, 5, np.uint8), region)
    assert found[5] == pytest.approx(degrees_area(region), rel=1e-3)


def test_tiles_at_the_rim_of_the_sinusoidal_grid_are_counted(tmp_path: Path) -> None:
    side = 1111950.5197665782
    for col in (0, 35):
        pixel = side / 120
        grid = Grid(MODIS_SPHERE, (pixel, 0, (col - 18) * side, 0, -pixel, -side), 120, 120)
        write_raster(tmp_path / f"h{col:02}v10.tif", np.full(grid.shape, 7, np.uint8), grid)
    fiji = translate(FIJI, 0, 1)
    path = tmp_path / "regions.gpkg"
    shapes = [fiji, box(-179.5, -14, -178.5, -13), box(0, -19, 30, -11)]
    geopandas.GeoDataFrame({"id": list("abc")}, geometry=shapes, crs="EPSG:4326").to_file(path)
    tables = measure_class_rasters(
        [MapFiles(str(tmp_path / "*.tif"), "1")], [RegionFile(str(path))]
    )
    rows = {(r["region_id"], r["class_id"]): r["area_m2"] for r in tables.class_areas.to_pylist()}
    for name, shape in zip("ab", shapes, strict=False):
        true = degrees_area(to_degrees(shape, "EPSG:4326", name))
        assert rows[name, 7] == pytest.approx(true, rel=1e-5)
    # What lies beyond the rim in a tile is not the ground on the other side of the Earth.
    assert rows["c", None] == pytest.approx(degrees_area(shapes[2]), rel=1e-9)


def test_a_map_of_the_earth_within_its_rim_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its corners, in blocks of their own, show no place of the Earth.
    monkeypatch.setattr(class_rasters, "SIDE", 128)
    grid = Grid(MODIS_SPHERE, (2e4, 0, -2.002e7, 0, -2e4, 1.002e7), 1002, 2002)
    classes = np.full(grid.shape, 7, np.uint8)
    region = box(170, -20, 180, -10) | box(-180, 60, -160, 70)
    found = areas_of(tmp_path, grid, classes, region)
    assert found[7] == pytest.approx(degrees_area(region), rel=1e-5)


@pytest.mark.parametrize("x", [1.99e7, -2.0175e7])
def test_a_map_in_a_projection_that_goes_round_is_met_beyond_its_end(
    tmp_path: Path, x: float
) -> None:
    grid = Grid("EPSG:3857", (5e3, 0, x, 0, -5e3, -1.8e6), 60, 55)
    found = areas_of(tmp_path, grid, np.full(grid.shape, 4, np.uint8), FIJI)
    true = degrees_area(to_degrees(FIJI, "EPSG:4326", "fiji"))
    assert found[4] == pytest.approx(true, rel=1e-4)


@pytest.mark.parametrize(
    ("tiling", "cols", "row"),
    [
        (Tiling("whole", "EPSG:6933", 2000.0, 64), (-136, 135), 17),
        (Tiling("degrees", "EPSG:4326", 0.02, 64), (-141, 140), 13),
        (Tiling("own", "EPSG:4326", 0.02, 64, 178.0, -15.5, extent=(192, 192)), (0, 1, 2), 1),
    ],
    ids=["equal areas", "degrees", "a raster's own"],
)
@pytest.mark.parametrize("one_tile", [False, True])
def test_tiles_beyond_the_end_of_their_crs_are_counted_once(
    tmp_path: Path, tiling: Tiling, cols: tuple[int, ...], row: int, one_tile: bool
) -> None:
    rng, own = np.random.default_rng(0), tiling.extent is not None
    grids = [tiling.grid(col, row) for col in (cols[len(cols) // 2 :][:1] if one_tile else cols)]
    tiles = [random_tile(rng, grid, tiling.tile_id(n, row)) for n, grid in enumerate(grids)]
    path = write_block(tmp_path, tiles)
    whole = shapely.from_wkb(
        whole_map_region("m", pq.read_table(path), own).table["geometry"].to_pylist()[0]
    )
    fiji = to_degrees(FIJI, "EPSG:4326", "fiji")
    regions = [Region(0, MAP_LEVEL, whole, whole_map=True), Region(1, "region", fiji)]
    pairs = [(number, region.position) for number in range(len(tiles)) for region in regions]
    rows = zonal.count_block(path, pairs, regions.__getitem__, 0.5, own)
    for region in regions:
        inside = sum(r["area_m2"] for r in rows if r["position"] == region.position)
        outside, slack = zonal.measure_outside(region.geometry, grids, own)
        true = degrees_area(region.geometry)
        assert inside > 0.01 * true
        assert inside + outside == pytest.approx(true, rel=1e-6, abs=slack)


@pytest.mark.parametrize("crs", ["EPSG:4267", "EPSG:4230", "EPSG:4258"])
def test_a_region_in_degrees_of_another_datum_has_its_true_area(tmp_path: Path, crs: str) -> None:
    west = -100 if crs == "EPSG:4267" else 10
    grid = Grid(crs, (0.001, 0, west, 0, -0.001, 40), 40, 40)
    region = to_degrees(box(west + 0.01, 39.97, west + 0.03, 39.99), crs, "it")
    found = areas_of(tmp_path, grid, np.full(grid.shape, 5, np.uint8), region)
    assert found[5] == pytest.approx(degrees_area(region), rel=1e-7)


def test_a_raster_with_half_pixels_beyond_the_poles_is_named(tmp_path: Path) -> None:
    grid = Grid("EPSG:4326", (1, 0, -180.5, 0, -1, 90.5), 181, 360)
    with pytest.raises(InputError, match=r"map\.tif reaches from latitude -90\.5 to 90\.5"):
        areas_of(tmp_path, grid, np.full(grid.shape, 5, np.uint8), box(0, 0, 1, 1))

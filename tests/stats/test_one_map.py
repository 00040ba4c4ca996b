"""One map stored in many ways has one truth: areas, transitions, strata and accuracy."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

import lulc
from lulc.api.config import saved_config
from lulc.cli import main
from lulc.config import MapFiles, RegionFile
from lulc.errors import InputError, UsageError
from lulc.geo.areas import degrees_area
from lulc.geo.coverage import fractions
from lulc.geo.grid import WGS84, Grid, project, transformer
from lulc.geo.grid import footprint as geo_footprint
from lulc.legend import NODATA
from lulc.raster import classes
from lulc.stats import area_estimation, change, sampling
from lulc.stats.without_spark import measure_class_rasters
from lulc.tables.store import read_table
from tests.helpers.synthetic_scenes import write_raster

GRIDS = {
    "degrees": Grid("EPSG:4326", (0.01, 0.0, 10.0, 0.0, -0.02, 60.0), 24, 36),
    "metres": Grid("EPSG:32633", (10.0, 0.0, 460_000.0, 0.0, -10.0, 5_300_000.0), 24, 36),
}
RNG = np.random.default_rng(0)
IDS = RNG.choice(np.array([1, 2, 5, NODATA], np.uint8), (24, 36), p=[0.4, 0.3, 0.2, 0.1])
LATER = RNG.choice(np.array([1, 2, 5, NODATA], np.uint8), (24, 36), p=[0.2, 0.4, 0.3, 0.1])
TAGS = {"CLASS_1": "water", "CLASS_2": "forest", "CLASS_5": "town"}
MASKS = ("undeclared", "255", "77", "float", "mask", "alpha")
TURNS = ("none", "south", "west", "quarter", "half")


def write(path: Path, ids: np.ndarray, grid: Grid, mask: str = "255", **tags: str) -> Path:
    """A class raster that says in one of MASKS where it has no class."""
    seen = ids != NODATA
    hidden = np.where(seen, ids, 3).astype("uint8")
    if mask == "float":
        write_raster(path, np.where(seen, ids, np.nan).astype("float32"), grid, nodata=np.nan)
    elif mask == "77":
        write_raster(path, np.where(seen, ids, 77).astype("uint8"), grid, nodata=77)
    elif mask == "alpha":
        write_raster(path, np.stack([hidden, np.where(seen, 255, 0).astype("uint8")]), grid)
    elif mask == "mask":
        write_raster(path, hidden, grid)
    else:
        write_raster(path, ids, grid, nodata=255 if mask == "255" else None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.update_tags(**tags)
        if mask == "alpha":
            file.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
        if mask == "mask":
            file.write_mask(seen)
    return path


def turn(ids: np.ndarray, grid: Grid, how: str) -> tuple[np.ndarray, Grid]:
    """The same pixels on the same ground, stored in another order."""
    affine, (height, width) = grid.affine, grid.shape
    flip_rows, flip_cols = (
        affine.translation(0, height) @ affine.scale(1, -1),
        (affine.translation(width, 0) @ affine.scale(-1, 1)),
    )
    swap = type(affine)(0, 1, 0, 1, 0, 0)
    stored, moved = {
        "none": (ids, affine.identity()),
        "south": (ids[::-1], flip_rows),
        "west": (ids[:, ::-1], flip_cols),
        "half": (ids[::-1, ::-1], flip_rows @ flip_cols),
        "quarter": (ids.T[::-1], swap @ affine.translation(0, width) @ affine.scale(1, -1)),
    }[how]
    if how == "quarter":
        moved = flip_cols @ swap
    return np.ascontiguousarray(stored), Grid(grid.crs, tuple((affine @ moved)[:6]), *stored.shape)


def store(
    folder: Path, ids: np.ndarray, grid: Grid, form: tuple[str, str, list[int], int]
) -> list[Path]:
    """The map cut into strips, each turned, masked and moved by turns of longitude."""
    how, mask, cuts, turns = form
    a, b, c, *rest = grid.transform
    if grid.crs == WGS84:
        grid = Grid(grid.crs, (a, b, c + 360 * turns, *rest), *grid.shape)
    edges = [0, *sorted(cuts), grid.width]
    paths = []
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        if start < end:
            part = grid.window(0, start, grid.height, end - start)
            stored, stored_grid = turn(ids[:, start:end], part, how)
            paths.append(write(folder / f"{number}.tif", stored, stored_grid, mask, **TAGS))
    return paths


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of each grid a region in its middle, and one that reaches beyond it."""
    paths = {}
    for name, grid in GRIDS.items():
        xmin, ymin, xmax, ymax = grid.bounds
        x, y = (xmin + xmax) / 2, (ymin + ymax) / 2
        shapes = [
            shapely.Point(x, y).buffer((ymax - ymin) / 3),
            shapely.box(x, y, x + (xmax - xmin), y + (ymax - ymin)),
        ]
        paths[name] = tmp_path_factory.mktemp(name) / "regions.gpkg"
        placed = [project(shape, grid.crs, WGS84) for shape in shapes]
        geopandas.GeoDataFrame({"id": ["in", "over"]}, geometry=placed, crs=WGS84).to_file(
            paths[name]
        )
    return paths


def facts(
    folder: Path, early: Sequence[Path], late: Sequence[Path], regions: Path
) -> dict[tuple[Any, ...], float]:
    """All numbers that the statistics say of two maps."""
    maps = [MapFiles(str(path), "1") for path in early] + [MapFiles(str(p), "2") for p in late]
    tables = measure_class_rasters(maps, [RegionFile(str(regions), id="id")])
    said: dict[tuple[Any, ...], float] = {}
    for row in tables.class_areas.to_pylist():
        said["area", row["region_id"], row["period"], row["class_id"]] = row["area_m2"]
    for row in tables.transitions.to_pylist():
        said["change", row["region_id"], row["from_class"], row["to_class"]] = row["area_m2"]
    points = folder / "drawn.gpkg"
    points.unlink(missing_ok=True)
    design = sampling.draw_sample(early, points, points=30, min_points=2)
    for stratum in design["strata"]:
        said["stratum", stratum["id"], stratum["name"]] = stratum["area_m2"]
    return said


def interpreted(path: Path, grid: Grid) -> Path:
    """Points at pixels of the grid with references of which some contradict the map."""
    rng = np.random.default_rng(5)
    rows, cols = (rng.integers(0, size, 60) for size in grid.shape)
    rows, cols = (axis[IDS[rows, cols] != NODATA] for axis in (rows, cols))
    lon, lat = transformer(grid.crs, WGS84).transform(*(grid.affine @ (cols + 0.3, rows + 0.6)))
    strata = IDS[rows, cols].astype(int)
    columns = {
        "stratum_id": strata,
        "reference": [str(LATER[r, c]) for r, c in zip(rows, cols, strict=True)],
    }
    columns["reference"] = ["town" if text == "255" else text for text in columns["reference"]]
    frame = geopandas.GeoDataFrame(columns, geometry=geopandas.points_from_xy(lon, lat), crs=WGS84)
    frame.to_file(path)
    names = {1: "water", 2: "forest", 5: "town"}
    design = [{"id": i, "name": n, "area_m2": 1e6 * i, "points": 9} for i, n in names.items()]
    sampling.design_file(path).write_text(json.dumps({"rasters": ["map.tif"], "strata": design}))
    return path


def accuracy(points: Path, maps: Sequence[Path]) -> dict[tuple[Any, ...], float]:
    table, _ = area_estimation.estimate_areas(points, maps)
    return {(row["measure"], row["class_id"]): row["estimate"] for row in table.to_pylist()}


form = st.tuples(
    st.sampled_from(TURNS),
    st.sampled_from(MASKS),
    st.lists(st.integers(1, 35), max_size=3),
    st.integers(-1, 1),
)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(sorted(GRIDS)), form, form)
def test_a_map_stored_otherwise_has_the_same_numbers(
    regions: dict[str, Path], name: str, early_form: Any, late_form: Any
) -> None:
    grid = GRIDS[name]
    with TemporaryDirectory() as text:
        folder = Path(text)
        plain = [
            write(folder / f"{n}.tif", ids, grid, **TAGS) for n, ids in enumerate((IDS, LATER))
        ]
        early = store(folder / "early", IDS, grid, early_form)
        late = store(folder / "late", LATER, grid, late_form)
        expected = facts(folder, plain[:1], plain[1:], regions[name])
        assert len(expected) > 20
        found = facts(folder, early, late, regions[name])
        assert {key for key in found if found[key] > 1e-3} == {
            key for key in expected if expected[key] > 1e-3
        }
        for key, value in expected.items():
            # The border of what is not observed is that of the tiles, known to 0.2 mm.
            rel = 1e-6 if key[-1] is None else 1e-9
            assert found.get(key, 0.0) == pytest.approx(value, rel=rel, abs=1e-3), key
        points = interpreted(folder / "points.gpkg", grid)
        right = accuracy(points, plain[:1])
        assert 0 < right["overall_accuracy", None] < 1
        assert accuracy(points, early) == {
            key: pytest.approx(value, rel=1e-9, nan_ok=True) for key, value in right.items()
        }


def test_the_areas_of_a_run_are_those_of_its_rasters(done: Path) -> None:
    of_run = read_table(done, "class_areas").to_pylist()
    maps = [
        MapFiles(str(done / "rasters" / period / "**" / "*.tif"), period)
        for period in {row["period"] for row in of_run}
    ]
    of_rasters = measure_class_rasters(maps, saved_config(done).regions).class_areas.to_pylist()
    keys = ("region_id", "period", "class_id", "class_name")
    found = {tuple(row[key] for key in keys): row for row in of_rasters}
    assert len(found) == len(of_run)
    for row in of_run:
        other = found[tuple(row[key] for key in keys)]
        for name in ("pixels", "area_m2", "share", "observed_share"):
            if row[name] is None:
                assert other[name] is None, name
            else:
                assert other[name] == pytest.approx(row[name], rel=1e-6, abs=1e-3), name
    assert all(row["pixels"] is None for row in of_run if row["class_id"] is None)


def overlapping(folder: Path) -> list[Path]:
    """Two halves of the map that share four columns, in which their classes differ."""
    grid = GRIDS["metres"]
    west, east = IDS[:, :20], LATER[:, 16:]
    return [
        write(folder / "east.tif", east, grid.window(0, 16, 24, 20), **TAGS),
        write(folder / "west.tif", west, grid.window(0, 0, 24, 20), **TAGS),
    ]


def test_rasters_that_overlap_are_refused_or_the_first_by_name_counts(
    tmp_path: Path, regions: dict[str, Path]
) -> None:
    paths, region = overlapping(tmp_path), str(regions["metres"])
    points = interpreted(tmp_path / "points.gpkg", GRIDS["metres"])
    text = r"east\.tif and \S*west\.tif overlap: both have a class at longitude 14\.\d+, latitude"
    for work in (
        lambda: lulc.class_areas({"1": paths}, region),
        lambda: sampling.draw_sample(paths, tmp_path / "p.gpkg", points=30, min_points=2),
        lambda: area_estimation.estimate_areas(points, paths),
    ):
        with pytest.raises(InputError, match=text):
            work()
    # Where no region lies an overlap does no harm.
    grid = GRIDS["metres"]
    corner = shapely.box(*grid.window(0, 0, 24, 15).bounds)
    geopandas.GeoDataFrame(geometry=[corner], crs=grid.crs).to_file(tmp_path / "corner.gpkg")
    lulc.class_areas({"1": paths}, tmp_path / "corner.gpkg")
    joined = np.where(LATER == NODATA, IDS, LATER)
    joined[:, :16], joined[:, 20:] = IDS[:, :16], LATER[:, 20:]
    whole = write(tmp_path / "whole.tif", joined, GRIDS["metres"], **TAGS)
    tables = [
        lulc.measure_areas({"1": maps, "2": whole}, region, overlap="first")
        for maps in (paths, whole)
    ]
    for name in ("class_areas", "transitions"):
        one, two = (getattr(table, name).to_pylist() for table in tables)
        assert len(one) == len(two) > 3
        for found, expected in zip(one, two, strict=True):
            assert found["area_m2"] == pytest.approx(expected["area_m2"], rel=1e-6)
    drawn = [
        sampling.draw_sample(
            maps, tmp_path / f"p{len(maps)}.gpkg", points=30, min_points=2, overlap="first"
        )
        for maps in (paths, [whole])
    ]
    assert drawn[0]["overlap"] == "first"
    areas = [{s["id"]: s["area_m2"] for s in design["strata"]} for design in drawn]
    assert areas[0] == pytest.approx(areas[1], rel=1e-9)
    found, _ = area_estimation.estimate_areas(points, paths, overlap="first")
    expected, _ = area_estimation.estimate_areas(points, [whole])
    assert found.equals(expected)


def test_frames_without_classes_are_no_overlap(tmp_path: Path, regions: dict[str, Path]) -> None:
    grid, west, east = GRIDS["metres"], IDS.copy(), IDS.copy()
    west[:, 20:], east[:, :20] = NODATA, NODATA
    paths = [write(tmp_path / "a.tif", west, grid, "mask"), write(tmp_path / "b.tif", east, grid)]
    whole = write(tmp_path / "whole.tif", IDS, grid)
    found, expected = (
        facts(tmp_path, maps, [whole], regions["metres"]) for maps in (paths, [whole])
    )
    assert found == {key: pytest.approx(value, rel=1e-9) for key, value in expected.items()}


@pytest.mark.parametrize("second", ["EPSG:32632", "EPSG:32633", "EPSG:4326"])
def test_rasters_of_unlike_pixels_share_the_ground(tmp_path: Path, second: str) -> None:
    """Two maps of one class everywhere, over one another: the ground is counted once."""
    first = Grid("EPSG:32633", (100.0, 0.0, 270_000.0, 0.0, -100.0, 5_300_000.0), 60, 80)
    x, y = transformer(first.crs, second).transform(274_031.0, 5_298_017.0)
    side = 0.001 if second == WGS84 else 70.0
    other = Grid(second, (side, 0.0, x, 0.0, -side, y), 60, 80)
    paths = [
        write(tmp_path / f"{n}.tif", np.full(grid.shape, 1, np.uint8), grid)
        for n, grid in enumerate((first, other))
    ]
    with pytest.raises(InputError, match=r"0\.tif and \S*1\.tif overlap"):
        sampling.draw_sample(paths, tmp_path / "p.gpkg", points=30)
    ground = shapely.union_all([geo_footprint(first), geo_footprint(other)])
    design = sampling.draw_sample(paths, tmp_path / "p.gpkg", points=30, overlap="first")
    assert design["strata"][0]["area_m2"] == pytest.approx(degrees_area(ground), rel=2e-3)
    drawn = geopandas.read_file(tmp_path / "p.gpkg")
    drawn["reference"] = "1"
    drawn.to_file(tmp_path / "p.gpkg")
    region = tmp_path / "region.gpkg"
    geopandas.GeoDataFrame({"id": ["a"]}, geometry=[ground.buffer(0.01)], crs=WGS84).to_file(region)
    table, _ = area_estimation.estimate_areas(
        tmp_path / "p.gpkg", region_files=[RegionFile(str(region), id="id")]
    )
    rows = {(r["region_id"], r["measure"]): r["estimate"] for r in table.to_pylist()}
    assert rows[None, "overall_accuracy"] == 1
    assert rows["a", "area_m2"] == pytest.approx(design["strata"][0]["area_m2"], rel=1e-9)
    areas = lulc.class_areas({"1": paths}, region, overlap="first").to_pylist()
    assert areas[0]["area_m2"] == pytest.approx(design["strata"][0]["area_m2"], rel=1e-9)
    with pytest.raises(InputError, match=r"0\.tif and \S*1\.tif overlap"):
        lulc.class_areas({"1": paths}, region)


def test_neighbours_that_touch_are_no_overlap(tmp_path: Path) -> None:
    """A border of two zones: each raster reaches half a pixel beyond it, as their pixels must."""
    first = Grid("EPSG:32633", (100.0, 0.0, 270_000.0, 0.0, -100.0, 5_300_000.0), 60, 40)
    second = Grid("EPSG:32633", (90.0, 0.0, 273_970.0, 0.0, -90.0, 5_299_987.0), 60, 40)
    paths = [
        write(tmp_path / f"{n}.tif", np.full(grid.shape, 1, np.uint8), grid)
        for n, grid in enumerate((first, second))
    ]
    ground = shapely.union_all([geo_footprint(first), geo_footprint(second)])
    region = tmp_path / "region.gpkg"
    geopandas.GeoDataFrame({"id": ["a"]}, geometry=[ground], crs=WGS84).to_file(region)
    (row, rest) = lulc.class_areas({"1": paths}, region).to_pylist()
    # The strip of 30 m, less than half a pixel, is in pixels of both.
    assert row["area_m2"] == pytest.approx(degrees_area(ground), rel=5e-3)
    assert rest["area_m2"] < 2e-3 * row["area_m2"]


def test_unlike_legends_are_refused_wherever_two_rasters_meet(
    tmp_path: Path, regions: dict[str, Path]
) -> None:
    grid = GRIDS["metres"]
    one = write(tmp_path / "2019.tif", IDS, grid, CLASS_1="water", CLASS_2="forest")
    two = write(tmp_path / "2020.tif", LATER, grid, CLASS_1="crops", CLASS_2="water")
    text = r"class 1 is 'water' in \S*2019\.tif and 'crops' in \S*2020\.tif: an id must stand"
    points = interpreted(tmp_path / "points.gpkg", grid)
    for work in (
        lambda: lulc.class_areas({"2019": one, "2020": two}, str(regions["metres"])),
        lambda: change.write_changes(one, two, tmp_path / "c.tif"),
        lambda: sampling.draw_sample([one, two], tmp_path / "p.gpkg", points=30),
    ):
        with pytest.raises(InputError, match=text):
            work()
    with pytest.raises(InputError, match=r"class 1 is 'water' in \S*design\.json and 'crops'"):
        area_estimation.estimate_areas(points, [two])
    assert not (tmp_path / "c.tif").exists()
    # Names that some rasters lack, and a legend of one class, are enough.
    partial = write(tmp_path / "partial.tif", LATER, grid, CLASS_2="Forest")
    rows = change.write_changes(one, partial, tmp_path / "c.tif")
    assert {row["to_class"] for row in rows} == {"water", "forest", "5"}
    area_estimation.estimate_areas(points, [partial])
    single = write(tmp_path / "single.tif", np.where(IDS == 5, IDS, NODATA), grid, CLASS_5="town")
    areas = lulc.class_areas({"1": single}, str(regions["metres"])).to_pylist()
    assert {row["class_name"] for row in areas} == {"town", "unobserved"}


@pytest.mark.parametrize("how", TURNS)
def test_the_raster_of_changes_lies_where_the_earlier_map_does(tmp_path: Path, how: str) -> None:
    grid = GRIDS["metres"]
    before = write(tmp_path / "a.tif", *turn(IDS, grid, how), "alpha")
    after = write(tmp_path / "b.tif", *turn(LATER, grid, "quarter"), "mask")
    rows = change.write_changes(before, after, tmp_path / "c.tif")
    pairs = np.where((IDS == NODATA) | (LATER == NODATA), 65535, IDS.astype(int) * 256 + LATER)
    with rasterio.open(tmp_path / "c.tif") as file:
        expected, changes_grid = turn(pairs, grid, how)
        np.testing.assert_array_equal(file.read(1), expected)
        assert tuple(file.transform)[:6] == pytest.approx(changes_grid.transform)
    assert sum(row["pixels"] for row in rows) == (pairs != 65535).sum()


def test_points_that_cannot_be_read_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = GRIDS["metres"]
    points = interpreted(tmp_path / "points.gpkg", grid)
    maps = [write(tmp_path / "map.tif", IDS, grid)]
    frame = geopandas.read_file(points)
    for name in ("lines", "empty", "bare", "other"):
        sampling.design_file(tmp_path / f"{name}.gpkg").write_text(
            sampling.design_file(points).read_text()
        )
    lines = frame.copy()
    lines.geometry = shapely.linestrings(
        shapely.get_coordinates(lines.geometry)[:, None] + [[0, 0], [1, 1]]
    )
    lines.to_file(tmp_path / "lines.gpkg")
    empty = frame.copy()
    empty.loc[2, "geometry"] = None
    empty.to_file(tmp_path / "empty.gpkg")
    frame.drop(columns="reference").to_file(tmp_path / "bare.gpkg")
    other = frame.copy()
    other.loc[1, "stratum_id"] = 9
    other.to_file(tmp_path / "other.gpkg")
    for name, text in (
        ("lines", r"lines\.gpkg: feature 1 has LineString, and 5\d of 5\d are no points"),
        ("empty", r"empty\.gpkg: feature 3 has no geometry, and 1 of"),
        ("bare", r"bare\.gpkg has no layer with column 'stratum_id', 'reference'"),
        ("other", r"other\.gpkg: stratum_id '9' is no stratum of other\.design\.json"),
        ("gone", r"gone\.gpkg and gone\.design\.json beside it are needed"),
    ):
        with pytest.raises(InputError, match=text):
            area_estimation.estimate_areas(tmp_path / f"{name}.gpkg", maps)
    design = sampling.design_file(points).read_text()
    sampling.design_file(points).write_text("{}")
    with pytest.raises(InputError, match=r"points\.design\.json is no sample design \(KeyError"):
        area_estimation.estimate_areas(points, maps)
    sampling.design_file(points).write_text(design)
    points.write_bytes(b"no database")
    with pytest.raises(InputError, match=r"points\.gpkg"):
        area_estimation.estimate_areas(points, maps)
    frame.drop(columns="geometry").to_csv(tmp_path / "points.csv", index=False)
    command = ["evaluate", "--reference", str(tmp_path / "points.csv"), "--out", str(tmp_path)]
    assert main.main(command) == 3
    assert "points.csv says not where its points lie: interpreted points are read from the .g" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("west", [-180, 0, -360, 100])
def test_a_map_of_the_whole_earth_may_begin_at_any_longitude(tmp_path: Path, west: int) -> None:
    ids = np.random.default_rng(3).integers(1, 5, (180, 360), dtype=np.uint8)
    shapes = [
        shapely.box(-10.3, -5, 12.2, 20),
        shapely.MultiPolygon([shapely.box(172.4, 1, 180, 9), shapely.box(-180, 1, -171.7, 9)]),
        shapely.box(90, 85, 140, 90),
        shapely.box(-180, -90, 180, 90),
    ]
    region = tmp_path / "regions.gpkg"
    geopandas.GeoDataFrame({"id": list("abcd")}, geometry=shapes, crs=WGS84).to_file(region)
    maps = []
    for number, start in enumerate((-180, west)):
        grid = Grid("EPSG:4326", (1.0, 0.0, start, 0.0, -1.0, 90.0), 180, 360)
        maps.append(write(tmp_path / f"{number}.tif", np.roll(ids, -180 - start, axis=1), grid))
    expected, found = (lulc.class_areas({"1": path}, region).to_pylist() for path in maps)
    for one, two in zip(expected, found, strict=True):
        key = ("region_id", "class_id")
        assert [one[name] for name in key] == [two[name] for name in key]
        assert two["area_m2"] == pytest.approx(one["area_m2"], rel=1e-9, abs=1)
    for row in found:
        if row["class_id"] is None:
            assert row["area_m2"] < 1e-6 * degrees_area(shapes["abcd".index(row["region_id"])])


def test_a_raster_that_goes_round_the_earth_more_than_once_is_refused(tmp_path: Path) -> None:
    grid = Grid("EPSG:4326", (1.0, 0.0, -180.0, 0.0, -1.0, 90.0), 180, 361)
    path = write(tmp_path / "a.tif", np.full(grid.shape, 1, np.uint8), grid)
    with pytest.raises(InputError, match=r"a\.tif spans 361 degrees of longitude, so that its end"):
        sampling.draw_sample([path], tmp_path / "p.gpkg", points=30)


def test_a_turn_away_is_the_same_ground(tmp_path: Path, regions: dict[str, Path]) -> None:
    """Two rasters a turn of longitude apart overlap, in one list as in a comparison."""
    a, b, c, *rest = GRIDS["degrees"].transform
    moved = Grid(WGS84, (a, b, c + 360, *rest), 24, 36)
    paths = [
        write(tmp_path / "here.tif", IDS, GRIDS["degrees"]),
        write(tmp_path / "there.tif", IDS, moved),
    ]
    rows = change.write_changes(*paths, tmp_path / "c.tif")
    assert {(row["from_id"], row["to_id"]) for row in rows} == {(1, 1), (2, 2), (5, 5)}
    with pytest.raises(InputError, match=r"here\.tif and \S*there\.tif overlap"):
        lulc.class_areas({"1": paths}, str(regions["degrees"]))
    one, two = (
        lulc.class_areas({"1": maps}, str(regions["degrees"]), overlap="first").to_pylist()
        for maps in (paths, paths[:1])
    )
    assert [row["area_m2"] for row in one] == pytest.approx(
        [row["area_m2"] for row in two], rel=1e-9, abs=1e-3
    )


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["EPSG:32632", "EPSG:32633", WGS84]))
def test_maps_with_holes_fill_each_other_whatever_their_pixels(seed: int, second: str) -> None:
    """Of two maps on unlike pixels nothing is counted twice, and no hole hides what is below."""
    rng = np.random.default_rng(seed)
    first = Grid("EPSG:32633", (100.0, 0.0, 270_000.0, 0.0, -100.0, 5_300_000.0), 40, 60)
    x, y = transformer(first.crs, second).transform(
        *rng.uniform((268_000, 5_298_000), (275_000, 5_301_000))
    )
    side = rng.uniform(0.0008, 0.002) if second == WGS84 else rng.uniform(60, 150)
    other = Grid(second, (side, 0.0, x, 0.0, -side * rng.uniform(0.8, 1.2), y), 40, 60)
    holes = [np.kron(rng.random((4, 6)) < 0.4, np.ones((10, 10), bool)) for _ in range(2)]
    x, y = first.affine @ (30, 20)
    shape = project(shapely.Point(x, y).buffer(1700), first.crs, WGS84)
    with TemporaryDirectory() as text:
        folder = Path(text)
        paths = [
            write(folder / f"{n}.tif", np.where(hole, NODATA, n + 1).astype(np.uint8), grid)
            for n, (grid, hole) in enumerate(zip((first, other), holes, strict=True))
        ]
        geopandas.GeoDataFrame({"id": ["a"]}, geometry=[shape], crs=WGS84).to_file(
            folder / "r.gpkg"
        )
        # That areas add up is checked within.
        rows = lulc.class_areas({"1": paths}, folder / "r.gpkg", overlap="first").to_pylist()
        sides = Grid("EPSG:32633", (20.0, 0.0, x - 1800, 0.0, -20.0, y + 1800), 180, 180)
        covered = fractions(project(shape, WGS84, first.crs), sides)
        one, two = (classes.read_ids_onto(classes.scan_raster(str(p)), sides)[0] for p in paths)
    seen = np.where(one != NODATA, one, two)
    for row in rows:
        true = covered[seen == (row["class_id"] or NODATA)].sum() * 400
        assert row["area_m2"] == pytest.approx(true, abs=0.02 * covered.sum() * 400)


@pytest.mark.parametrize(
    ("change_of_design", "text"),
    [
        ({"rasters": []}, "3 strata, 0 rasters"),
        ({"strata": []}, "0 strata, 1 rasters"),
        ({"overlap": "last"}, "overlap 'last'"),
        ({"strata": [{"id": {"a": 1}, "name": "water", "area_m2": 1}]}, "is no class id"),
        ({"strata": [{"id": True, "name": "water", "area_m2": 1}]}, "is no class id"),
        ({"strata": [{"id": 1, "name": "a", "area_m2": 1}] * 2}, "stratum id 1 is no class id"),
        ({"strata": [{"id": 1, "name": "a", "area_m2": "-1"}]}, "stratum 1 has area_m2 -1"),
        ({"strata": [{"id": 1, "name": "a", "area_m2": None}]}, "TypeError"),
        ({"strata": 7}, "TypeError"),
    ],
)
def test_a_damaged_design_is_named(
    tmp_path: Path, change_of_design: dict[str, Any], text: str
) -> None:
    points = interpreted(tmp_path / "points.gpkg", GRIDS["metres"])
    design = sampling.design_file(points)
    design.write_text(json.dumps(json.loads(design.read_text()) | change_of_design))
    with pytest.raises(InputError, match=rf"points\.design\.json is no sample design .*{text}"):
        area_estimation.estimate_areas(points)


def test_an_unknown_word_for_overlap_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", IDS, GRIDS["metres"])
    with pytest.raises(UsageError, match="overlap 'last' is none of refuse, first"):
        lulc.draw_sample(path, tmp_path / "p.gpkg", count=99, overlap="last")  # type: ignore[arg-type]


def test_points_that_no_map_has_a_class_at_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grid = GRIDS["metres"]
    points = interpreted(tmp_path / "points.gpkg", grid)
    far = write(tmp_path / "far.tif", IDS, grid.window(9000, 0, *grid.shape))
    with pytest.raises(InputError, match=r"points\.gpkg: no interpreted point lies where .*far\.t"):
        area_estimation.estimate_areas(points, [far])
    half = write(tmp_path / "half.tif", IDS[:12], grid.window(0, 0, 12, 36))
    with caplog.at_level("INFO", "lulc"):
        area_estimation.estimate_areas(points, [half])
    assert "points lie where the maps have no class, and count as errors" in caplog.text

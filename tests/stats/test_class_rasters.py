"""Class rasters of any origin: exact areas, transitions, and a balance that adds up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from exactextract import exact_extract
from scipy import ndimage
from shapely.geometry import box

from lulc.cli import main
from lulc.config import MapFiles, RegionFile
from lulc.errors import InputError, UsageError
from lulc.geo.areas import degrees_area, pixel_areas
from lulc.geo.coverage import fractions
from lulc.geo.grid import Grid
from lulc.runfile import parse_run
from lulc.spark.context import StageContext
from lulc.spark.stages.stats import stats
from lulc.stages import Selection
from lulc.stats.class_rasters import scan_rasters
from lulc.stats.without_spark import measure_class_rasters
from lulc.tables import store
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:4326", (0.001, 0.0, 6.0, 0.0, -0.001, 2.0), 600, 700)


def write_map(path: Path, seed: int, grid: Grid = GRID, nodata: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.choice(
        np.array([10, 20, 95, nodata], np.uint8), (grid.height // 10, grid.width // 10)
    )
    classes = np.kron(coarse, np.ones((10, 10), np.uint8))
    write_raster(path, classes, grid, nodata=nodata)
    return classes


def star(x: float, y: float, size: float) -> shapely.Geometry:
    angle = np.linspace(0, 2 * np.pi, 41)[:-1]
    radius = size * (0.7 + 0.3 * np.cos(5 * angle))
    return shapely.Polygon(
        np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])
    )


@pytest.fixture
def regions(tmp_path: Path) -> Path:
    """An island in two parts, a half of it, and a region that reaches beyond the map."""
    island = shapely.MultiPolygon(
        [star(6.2, 1.8, 0.12), star(6.5, 1.6, 0.05) - star(6.5, 1.6, 0.02)]
    )
    shapes = [island, island & box(6, 1, 6.2, 3), box(6.6, 1.9, 7.0, 2.2)]
    path = tmp_path / "regions.gpkg"
    geopandas.GeoDataFrame(
        {"id": ["island", "west", "coast"]}, geometry=shapes, crs="EPSG:4326"
    ).to_file(path)
    return path


def ask(
    spark: Any, out: Path, regions: Path, *maps: tuple[str, str], **more: Any
) -> dict[str, Any]:
    settings = {
        "name": "m",
        "maps": [{"period": p, "path": f} for p, f in maps],
        "regions": [{"path": str(regions), "id": "id"}],
    }
    config = parse_run(settings | more, out)
    stats(StageContext(config, out, Selection(), lambda: spark))
    return {
        name: store.read_table(out, name).to_pylist() for name in ("class_areas", "transitions")
    }


def exact(
    classes: np.ndarray, shape: shapely.Geometry, folder: Path, grid: Grid = GRID
) -> dict[int, float]:
    """m² by value, by exactextract's fractions times the true areas of the pixels."""
    path = write_raster(folder / "exact.tif", classes, grid)
    feature = {"type": "Feature", "geometry": shapely.geometry.mapping(shape), "properties": {}}
    found = exact_extract(str(path), [feature], ["cell_id", "coverage"])[0]["properties"]
    areas = (
        np.broadcast_to(pixel_areas(grid), grid.shape).ravel()[found["cell_id"]] * found["coverage"]
    )
    values = classes.ravel()[found["cell_id"]]
    return {int(v): float(areas[values == v].sum()) for v in np.unique(values)}


def test_areas_and_transitions_are_those_of_exact_fractions(
    spark: Any, tmp_path: Path, regions: Path
) -> None:
    one, two = write_map(tmp_path / "a_2020.tif", 1), write_map(tmp_path / "a_2021.tif", 2)
    found = ask(
        spark,
        tmp_path / "out",
        regions,
        ("2020", str(tmp_path / "*_2020.tif")),
        ("2021", str(tmp_path / "*_2021.tif")),
    )
    frame = geopandas.read_file(regions).set_index("id")
    for name, shape in frame.geometry.items():
        whole = degrees_area(shape)
        for period, classes in (("2020", one), ("2021", two)):
            rows = {
                r["class_id"]: r
                for r in found["class_areas"]
                if (r["region_id"], r["period"]) == (name, period)
            }
            expected = exact(classes, shape, tmp_path)
            for value in (10, 20, 95):
                assert rows[value]["area_m2"] == pytest.approx(expected[value], rel=1e-6)
            assert sum(r["area_m2"] for r in rows.values()) == pytest.approx(whole, rel=1e-6)
            assert {r["mean_confidence"] for r in rows.values()} == {
                None
            }  # such rasters tell of none
        pairs = {
            (r["from_id"], r["to_id"]): r["area_m2"]
            for r in found["transitions"]
            if r["region_id"] == name
        }
        joined = (
            one // 10 * 10 + two // 10
        )  # 10, 20, 95 → 11, 12, 19, …, 99; zero where either is none
        expected = exact(
            np.where((one == 0) | (two == 0), 0, joined).astype("uint8"), shape, tmp_path
        )
        assert sum(pairs.values()) == pytest.approx(
            sum(v for k, v in expected.items() if k), rel=1e-6
        )
        for (before, after), area in pairs.items():
            assert area == pytest.approx(expected[before // 10 * 10 + after // 10], rel=1e-6)
        shares = [r["share"] for r in found["transitions"] if r["region_id"] == name]
        assert sum(shares) == pytest.approx(1)


def test_patches_go_on_from_raster_to_raster(spark: Any, tmp_path: Path, regions: Path) -> None:
    classes = write_map(tmp_path / "whole" / "a.tif", 5)
    for number, part in enumerate((slice(0, 250), slice(250, 600))):
        write_raster(
            tmp_path / "cut" / f"{number}.tif",
            classes[part],
            GRID.window(part.start, 0, part.stop - part.start, 700),
            nodata=0,
        )
    frame = geopandas.read_file(regions).set_index("id")
    found = {}
    for name in ("whole", "cut"):
        ask(
            spark,
            tmp_path / "out" / name,
            regions,
            ("1", str(tmp_path / name / "*.tif")),
            stats={"landscape": True},
        )
        found[name] = store.read_table(tmp_path / "out" / name, "landscape").to_pylist()
    assert len(found["whole"]) == len(found["cut"]) > 5
    for one, two in zip(found["whole"], found["cut"], strict=True):
        assert one == {
            k: pytest.approx(v, rel=1e-9) if isinstance(v, float) else v for k, v in two.items()
        }
    own = np.where(fractions(frame.geometry["west"], GRID) >= 0.5, classes, 0)
    rows = {r["class_id"]: r for r in found["cut"] if r["region_id"] == "west"}
    for value, row in rows.items():
        assert (row["name"], row["class_name"]) == ("west", f"class {value}")
        assert row["patches"] == ndimage.label(own == value, np.ones((3, 3)))[1]
        assert row["mean_patch_m2"] * row["patches"] == pytest.approx(
            (pixel_areas(GRID) * (own == value)).sum()
        )


def test_the_next_year_takes_the_intersections_that_were_kept(
    spark: Any, tmp_path: Path, regions: Path
) -> None:
    for seed, year in enumerate(("2020", "2021")):
        write_map(tmp_path / f"{year}.tif", seed)
    years = [(year, str(tmp_path / f"{year}.tif")) for year in ("2020", "2021")]
    both = ask(spark, tmp_path / "both", regions, *years)["class_areas"]
    out = tmp_path / "out"
    ask(spark, out, regions, years[0])
    kept = {p: p.stat().st_mtime_ns for p in (out / "tables" / "intersections").rglob("*.parquet")}
    assert kept
    after = ask(spark, out, regions, years[1])["class_areas"]
    assert after == [row for row in both if row["period"] == "2021"]
    assert {
        p: p.stat().st_mtime_ns for p in (out / "tables" / "intersections").rglob("*.parquet")
    } == kept
    geopandas.read_file(regions).iloc[:2].to_file(regions)
    ask(spark, out, regions, years[1])
    assert not any(p.exists() for p in kept)


def test_other_grids_nodata_and_mosaics_are_one_map(
    spark: Any, tmp_path: Path, regions: Path
) -> None:
    whole = write_map(tmp_path / "whole.tif", 3)
    for number, part in enumerate((slice(0, 350), slice(350, 700))):
        grid = GRID.window(0, part.start, 600, part.stop - part.start)
        values = np.where(whole[:, part] == 0, 255, whole[:, part])
        write_raster(
            tmp_path / f"part_{number}.tif",
            values.astype("uint8"),
            grid,
            nodata=None if number else 255,
        )
    found = [
        ask(spark, tmp_path / name, regions, ("2020", str(tmp_path / pattern)))["class_areas"]
        for name, pattern in (("a", "whole.tif"), ("b", "part_*.tif"))
    ]
    for one, two in zip(*found, strict=True):
        assert (one["region_id"], one["class_id"]) == (two["region_id"], two["class_id"])
        assert one["area_m2"] == pytest.approx(two["area_m2"], rel=1e-9)
    # A later map in another CRS and size is taken where this one's pixels lie.
    utm = Grid("EPSG:32632", (100.0, 0.0, 150000.0, 0.0, -100.0, 240000.0), 1200, 1200)
    write_raster(tmp_path / "utm.tif", np.full(utm.shape, 20, "uint8"), utm, nodata=0)
    both = ask(
        spark,
        tmp_path / "c",
        regions,
        ("1", str(tmp_path / "whole.tif")),
        ("2", str(tmp_path / "utm.tif")),
    )
    moved = {
        (r["from_id"], r["to_id"]): r["area_m2"]
        for r in both["transitions"]
        if r["region_id"] == "island"
    }
    before = {
        r["class_id"]: r["area_m2"]
        for r in both["class_areas"]
        if (r["region_id"], r["period"]) == ("island", "1")
    }
    assert moved == {(k, 20): pytest.approx(before[k], rel=1e-9) for k in (10, 20, 95)}


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3031", "EPSG:3832"])
def test_regions_at_the_antimeridian_and_the_pole(spark: Any, tmp_path: Path, crs: str) -> None:
    """One class everywhere: each region has its true area on the map; the rest is unobserved."""
    grid = {
        "EPSG:4326": Grid(crs, (0.25, 0.0, -180.0, 0.0, -0.25, 90.0), 720, 1440),
        "EPSG:3031": Grid(
            crs, (10_000.0, 0.0, -4e6, 0.0, -10_000.0, 4e6), 800, 800
        ),  # the South Pole in its middle
        "EPSG:3832": Grid(
            crs, (10_000.0, 0.0, 1e6, 0.0, -10_000.0, 1e6), 300, 300
        ),  # 180° runs through it
    }[crs]
    write_raster(tmp_path / "map.tif", np.full(grid.shape, 7, "uint8"), grid, nodata=0)
    shapes = {
        "over 180": shapely.MultiPolygon([box(178, -5, 180, -2), box(-180, -5, -177.3, -2)]),
        "beyond 180": box(177, 1, 183, 3),  # longitudes run on past 180
        "cap": shapely.segmentize(box(-180, -90, 180, -80), 1),
        "beside the pole": shapely.segmentize(box(20.1, -90, 77.7, -86.3), 1),
        "north": shapely.segmentize(box(-180, 84, 180, 90), 1),
    }
    path = tmp_path / "regions.gpkg"
    geopandas.GeoDataFrame(
        {"id": list(shapes)}, geometry=list(shapes.values()), crs="EPSG:4326"
    ).to_file(path)
    rows = ask(spark, tmp_path / "out", path, ("1", str(tmp_path / "map.tif")))["class_areas"]
    found = {(r["region_id"], r["class_id"]): r["area_m2"] for r in rows}
    seen = {
        "EPSG:4326": list(shapes),
        "EPSG:3031": ["cap", "beside the pole"],
        "EPSG:3832": ["over 180", "beyond 180"],
    }[crs]
    for name, shape in shapes.items():
        whole = degrees_area(shape)
        # A quarter of a degree at the pole is coarse: cutting such
        # pixels by degrees is not cutting by area.
        within = 1e-3 * whole if (crs, name) == ("EPSG:4326", "beside the pole") else 1e-6 * whole
        assert found.get((name, 7), 0.0) == pytest.approx(
            whole if name in seen else 0.0, abs=within
        ), name
        assert found[name, None] == pytest.approx(0.0 if name in seen else whole, abs=within), name


def test_a_rotated_raster_has_the_regions_true_areas(
    spark: Any, tmp_path: Path, regions: Path
) -> None:
    turn = Affine.translation(6.0, 1.9) @ Affine.rotation(30) @ Affine.scale(0.001, -0.001)
    grid = Grid("EPSG:4326", tuple(turn)[:6], 600, 700)
    classes = np.full(grid.shape, 10, "uint8")
    classes[:, 350:] = 20
    write_raster(tmp_path / "turned.tif", classes, grid, nodata=0)
    legend = {10: {"name": "water", "colour": "#0000ff"}}
    rows = ask(
        spark, tmp_path / "out", regions, ("1", str(tmp_path / "turned.tif")), legend=legend
    )["class_areas"]
    # A class that the legend does not know is named by its number.
    assert {(r["class_id"], r["class_name"]) for r in rows} == {
        (10, "water"),
        (20, "class 20"),
        (None, "unobserved"),
    }
    found = {(r["region_id"], r["class_id"]): r["area_m2"] for r in rows}
    halves = {
        value: shapely.Polygon(
            [turn @ (x, y) for x, y in ((left, 0), (left + 350, 0), (left + 350, 600), (left, 600))]
        )
        for value, left in ((10, 0), (20, 350))
    }
    for name, shape in zip(
        ("island", "west", "coast"), geopandas.read_file(regions).geometry, strict=True
    ):
        for value, half in halves.items():
            # Pixels are cut evenly in degrees: the error is a few parts
            # in a million of what the border cuts.
            true = pytest.approx(degrees_area(shape & half), rel=1e-5, abs=1.0)
            assert found.get((name, value), 0.0) == true, (name, value)


def test_what_cannot_be_counted_is_named(spark: Any, tmp_path: Path, regions: Path) -> None:
    write_map(tmp_path / "a.tif", 1)
    write_raster(tmp_path / "f.tif", np.full(GRID.shape, 0.5, "float32"), GRID)
    write_raster(tmp_path / "big.tif", np.full(GRID.shape, 300, "uint16"), GRID)
    for pattern, text in (
        ("none*.tif", "no file matches"),
        ("f.tif", r"f\.tif holds 0\.5"),
        ("big.tif", "holds 300"),
    ):
        with pytest.raises((InputError, Exception), match=text):
            ask(spark, tmp_path / "out", regions, ("1", str(tmp_path / pattern)))
    with pytest.raises(InputError, match=r"a\.tif is given twice for one period"):
        ask(
            spark,
            tmp_path / "out",
            regions,
            ("1", str(tmp_path / "a*.tif")),
            ("1", str(tmp_path / "a.tif")),
        )
    config = parse_run(
        {"name": "m", "maps": [{"period": "1", "path": str(tmp_path / "a.tif")}]}, tmp_path
    )
    with pytest.raises(UsageError, match="by region"):
        stats(StageContext(config, tmp_path / "out", Selection(), lambda: spark))
    assert (
        main.main(["stats", "--rasters", str(tmp_path / "a.tif"), "--out", str(tmp_path / "o")])
        == 2
    )


def test_the_run_file_says_what_overlaps_and_names_mean(
    spark: Any, tmp_path: Path, regions: Path
) -> None:
    whole = write_map(tmp_path / "b.tif", 1)
    first = write_map(tmp_path / "a.tif", 2, GRID.window(0, 0, 300, 700))
    for name, text in (("b", "wood"), ("a", "Forest")):
        with rasterio.open(tmp_path / f"{name}.tif", "r+") as file:
            file.update_tags(CLASS_10=text, CLASS_95="sea")
    pattern = str(tmp_path / "[ab].tif")
    maps = [MapFiles(pattern, "1")]
    with pytest.raises(InputError, match=r"class 10 is 'Forest' in \S*a\.tif and 'wood' in \S*b\."):
        scan_rasters(maps)
    with pytest.raises(InputError, match=r"'sea' is class 10 in the legend and class 95 in \S*a\."):
        scan_rasters(maps, legend={10: "sea"})
    legend = {10: {"name": "trees", "colour": "#005500"}}
    settings = {"legend": legend, "stats": {"overlap": "first"}}
    found = ask(spark, tmp_path / "out", regions, ("1", pattern), **settings)["class_areas"]
    whole[:300] = np.where(first == 0, whole[:300], first)
    joined = write_raster(tmp_path / "joined.tif", whole, GRID, nodata=0)
    region_file = RegionFile(str(regions), id="id")
    expected = measure_class_rasters([MapFiles(str(joined), "1")], [region_file])
    assert {(r["region_id"], r["class_id"]): r["area_m2"] for r in found} == {
        (r["region_id"], r["class_id"]): pytest.approx(r["area_m2"], rel=1e-9)
        for r in expected.class_areas.to_pylist()
    }
    assert {r["class_name"] for r in found} == {"trees", "class 20", "sea", "unobserved"}

"""Points are drawn in proportion to true area per class; estimates from them cover the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from shapely.geometry import box

from lulc.cli import main
from lulc.config import RegionFile
from lulc.errors import InputError, UsageError
from lulc.geo.areas import pixel_areas
from lulc.geo.grid import Grid
from lulc.stats import area_estimation, sampling
from lulc.tables import store
from tests.helpers.synthetic_scenes import write_raster
from tests.report.test_html import write_rows

# Tall enough that a pixel in the north is a third smaller than one in the south.
GRID = Grid("EPSG:4326", (0.01, 0.0, 10.0, 0.0, -0.1, 70.0), 300, 200)
TAGS = {"CLASS_1": "water", "CLASS_2": "forest", "CLASS_5": "town"}


def write_map(path: Path, classes: np.ndarray, grid: Grid = GRID) -> Path:
    import rasterio

    write_raster(path, classes, grid, nodata=255)
    with rasterio.open(path, "r+") as file:
        file.update_tags(**TAGS)
    return path


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A map, its classes and the truth: one pixel in eight is wrong, some are not mapped."""
    rng = np.random.default_rng(0)
    classes = rng.choice(np.array([1, 2, 5, 255], np.uint8), GRID.shape, p=[0.3, 0.5, 0.05, 0.15])
    truth = np.where(
        rng.random(GRID.shape) < 0.125,
        rng.choice(np.array([1, 2, 5], np.uint8), GRID.shape),
        classes,
    )
    return write_map(tmp_path / "map.tif", classes), classes, truth


def interpret(path: Path, truth: np.ndarray, write: bool = True) -> geopandas.GeoDataFrame:
    """The points, `reference` filled in from the truth."""
    points = geopandas.read_file(path)
    row, col = (
        ((GRID.transform[5] - points.geometry.y) / 0.1).astype(int),
        ((points.geometry.x - 10) / 0.01).astype(int),
    )
    points["reference"] = [str(v) for v in truth[row, col]]
    if write:
        points.to_file(path)
    return points


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
def test_points_fall_in_their_stratum_in_proportion_to_area(
    world: tuple[Path, np.ndarray, np.ndarray], suffix: str
) -> None:
    path, classes, _ = world
    points = path.with_name(f"points.{suffix}")
    design = sampling.draw_sample(
        [path], points, points=3000, allocation="proportional", min_points=50
    )
    areas = np.broadcast_to(pixel_areas(GRID), GRID.shape)
    for stratum in design["strata"]:
        assert stratum["area_m2"] == pytest.approx(areas[classes == stratum["id"]].sum())
    assert [s["name"] for s in design["strata"]] == ["water", "forest", "town"]
    assert sum(s["points"] for s in design["strata"]) == 3000
    found = interpret(points, classes, write=False)
    assert (found.reference.astype(int) == found.stratum_id).all()
    assert found.stratum_id.iloc[:50].nunique() == 3  # not stratum after stratum
    south = found.geometry.y < 60
    expected = areas[100:][classes[100:] == 2].sum() / areas[classes == 2].sum()
    share = south[found.stratum_id == 2].mean()
    assert share == pytest.approx(expected, abs=0.04)
    assert expected > 0.55


def true_value(
    row: dict[str, Any], areas: np.ndarray, truth: np.ndarray, mapped: np.ndarray
) -> float:
    """What the row estimates, of everything."""
    is_true, is_mapped = truth == row["class_id"], mapped == row["class_id"]
    both, small = areas[is_true & is_mapped].sum(), 1e-9
    found = {
        "overall_accuracy": areas[truth == mapped].sum() / areas.sum(),
        "users_accuracy": both / (areas[is_mapped].sum() + small),
        "producers_accuracy": both / (areas[is_true].sum() + small),
        "area_share": areas[is_true].sum() / areas.sum(),
        "area_m2": areas[is_true].sum(),
    }
    return float(found[row["measure"]])


def test_estimates_cover_the_truth_for_all_and_by_region(
    world: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    path, classes, truth = world
    points, out = path.with_name("points.gpkg"), path.with_name("out")
    halves = geopandas.GeoDataFrame(
        {"id": ["w", "e"]}, geometry=[box(10, 40, 11, 70), box(11, 40, 12, 70)], crs="EPSG:4326"
    )
    halves.to_file(path.with_name("halves.gpkg"))
    files = [RegionFile(str(path.with_name("halves.gpkg")), id="id")]
    areas = np.broadcast_to(pixel_areas(GRID), GRID.shape) * (classes != 255)
    inside = missed = 0
    for seed in range(12):
        points = path.with_name(f"points{seed}.gpkg")
        sampling.draw_sample([path], points, points=600, min_points=60, seed=seed)
        interpret(points, truth)
        table, unanswered = area_estimation.estimate_areas(points, [path], out, files)
        assert unanswered == 0
        for row in table.to_pylist():
            west = (
                slice(0, 100)
                if row["region_id"] == "w"
                else slice(100, 200)
                if row["region_id"] == "e"
                else slice(None)
            )
            a, t, m = areas[:, west], truth[:, west], classes[:, west]
            value = true_value(row, a, t, m)
            covered = row["low_95"] <= value <= row["high_95"]
            inside, missed = inside + covered, missed + (not covered)
    assert 0.90 < inside / (inside + missed) < 0.99
    # A region's total area is known: its classes add up to the mapped area, wherever points fell.
    west = [r for r in table.to_pylist() if r["region_id"] == "w" and r["measure"] == "area_m2"]
    assert sum(r["estimate"] for r in west) == pytest.approx(areas[:, :100].sum(), rel=1e-6)
    assert max(r["standard_error"] for r in west) < 0.03 * areas[:, :100].sum()
    matrix = store.read_table(out, "error_matrix").to_pylist()
    assert sum(r["area_share"] for r in matrix) == pytest.approx(1)
    assert sum(r["points"] for r in matrix) == 600


def test_the_commands_go_together(
    world: tuple[Path, np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, truth = world
    points, out = path.with_name("points.gpkg"), path.with_name("out")
    assert main.main(["design", str(points), str(path), "--error", "0.02", "--json"]) == 0
    design = json.loads(capsys.readouterr().out)
    found = interpret(points, truth)
    found.loc[:4, "reference"] = ""
    found.loc[5, "reference"] = "Forest"
    found.to_file(points)
    assert main.main(["evaluate", "--reference", str(points), "--out", str(out), "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["unanswered"] == 5
    overall = judged["estimates"][0]
    assert overall["measure"] == "overall_accuracy"
    assert overall["points"] == design["points"] - 5
    assert overall["standard_error"] < 0.02
    assert main.main(["evaluate", "--reference", str(points), "--out", str(out)]) == 0
    assert "users_accuracy" in capsys.readouterr().out


def test_mistakes_are_named(world: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, classes, truth = world
    points = path.with_name("points.gpkg")
    with pytest.raises(UsageError, match="say how many points"):
        sampling.draw_sample([path], points)
    with pytest.raises(UsageError, match=r"\.gpkg or \.geojson"):
        sampling.draw_sample([path], path.with_name("p.csv"), points=200)
    with pytest.raises(InputError, match="overlap"):
        sampling.draw_sample(
            [path, write_map(path.with_name("again.tif"), classes)], points, points=200
        )
    with pytest.raises(InputError, match=r"points\.design\.json beside it are needed"):
        area_estimation.estimate_areas(points, [path], path.with_name("out"))
    sampling.draw_sample([path], points, points=200)
    found = interpret(points, truth)
    with pytest.raises(UsageError, match="what people filled in would be lost"):
        sampling.draw_sample([path], points, points=200)
    for option in (["r.yaml"], ["--set", "a=1"], ["--bbox", "1,2,3,4"]):
        arguments = ["evaluate", *option, "--reference", str(points), "--out", "o"]
        assert main.main(arguments) == 2
    found.loc[3, "reference"] = "moon"
    found.to_file(points)
    with pytest.raises(InputError, match="'moon' is no class; accepted are 1 or water"):
        area_estimation.estimate_areas(points, [path], path.with_name("out"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"error": 0.0}, "standard error 0.0 must lie between 0 and 1"),
        ({"error": float("nan")}, "standard error nan must lie"),
        ({"points": 99, "accuracies": {1: 2.0}}, "accuracy 2.0 of class 1 is not from 0 to 1"),
        ({"points": 99, "seed": -1}, "seed -1 must be 0 or more"),
    ],
)
def test_numbers_out_of_their_range_are_named(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    path = write_map(tmp_path / "a.tif", np.ones((4, 5), np.uint8))
    with pytest.raises(UsageError, match=message):
        sampling.draw_sample([path], tmp_path / "p.gpkg", **given)


def test_points_need_a_raster(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give at least one"):
        sampling.draw_sample([], tmp_path / "p.gpkg", points=99)


def test_estimates_are_of_the_period_of_their_rasters_and_leave_others(
    world: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    path, classes, truth = world
    out = path.with_name("out")

    def judge(raster: Path, count: int, period: str | None = None) -> None:
        points = path.with_name(f"points{count}.gpkg")
        sampling.draw_sample([raster], points, points=count, min_points=20)
        interpret(points, truth)
        area_estimation.estimate_areas(points, (), out, period=period)

    def told() -> dict[str | None, int]:
        rows = store.read_table(out, "estimates").to_pylist()
        return {r["period"]: r["points"] for r in rows if r["measure"] == "overall_accuracy"}

    for year, count in (("2020", 300), ("2021", 400), ("2020", 500)):
        folder = out / "rasters" / year / "0_0"
        folder.mkdir(parents=True, exist_ok=True)
        judge(write_map(folder / "map.tif", classes), count)
    assert told() == {"2020": 500, "2021": 400}
    judge(path, 200)
    judge(path, 150, "2019")
    assert told() == {"2019": 150, "2020": 500, "2021": 400, None: 200}
    cells = store.read_table(out, "error_matrix").to_pylist()
    assert sum(r["area_share"] for r in cells if r["period"] == "2020") == pytest.approx(1)
    with pytest.raises(UsageError, match=r"'2021' is not that of .* they are of '2020'"):
        judge(out / "rasters" / "2020" / "0_0" / "map.tif", 250, "2021")
    areas = [{"period": "2020"}, {"period": "2021"}]
    write_rows(out, "class_areas", areas)
    with pytest.raises(UsageError, match=r"'2012' is none of which .* 2020 or 2021"):
        judge(path, 160, "2012")
    assert told() == {"2019": 150, "2020": 500, "2021": 400, None: 200}

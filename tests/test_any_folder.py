"""What is made in a folder of any name is what is made in a plain one, by every verb."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box

import lulc
from lulc.api.config import load_config
from lulc.api.run import finish
from lulc.cli.main import main
from lulc.geo.grid import Grid
from lulc.inference.folder import map_folder
from lulc.models.registry import resolve
from lulc.raster.reader import read_whole
from lulc.runfile import read_run
from lulc.spark.context import StageContext
from lulc.spark.parquet import read_parquet
from lulc.spark.pipeline import run_stage
from lulc.spark.queries.sql import query_views
from lulc.stages import Selection, stages_of
from lulc.tables import store
from tests.helpers import small_world
from tests.helpers.small_world import World
from tests.helpers.synthetic_scenes import write_raster
from tests.test_paths import AWKWARD

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 24, 30)
_CHARACTERS = "ab1 .,;:!?#%&=+*~^$@|'\"`()[]{}<>\\-_üß\u0308"
NAMES = (
    st.text(_CHARACTERS, min_size=1, max_size=10)
    # What begins with a dot is hidden, and `..` leads out of a folder.
    .filter(lambda name: not name.startswith(".") and ".." not in name)
    | st.sampled_from([AWKWARD, "split=test", "%2e%2e", "v[1]", "a.zip", "x.zip!", "NETCDF:x", "-"])
)


def call(verb: str, *arguments: object) -> Any:
    """Return what a verb prints as JSON."""
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        code = main([verb, "--json", *map(str, arguments)])
    assert code == 0, errors.getvalue()
    return json.loads(printed.getvalue())


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two class rasters, 0.tif and 1.tif, and two regions of them."""
    folder = tmp_path_factory.mktemp("maps")
    rng = np.random.default_rng(0)
    for number in (0, 1):
        classes = rng.integers(1, 4, GRID.shape).astype("uint8")
        write_raster(folder / f"{number}.tif", classes, GRID, nodata=255)
    xmin, ymin, xmax, ymax = GRID.bounds
    middle = (xmin + xmax) / 2
    shapes = [box(xmin, ymin, middle, ymax), box(middle, ymin, xmax, ymax)]
    regions = geopandas.GeoDataFrame({"id": ["w", "e"]}, geometry=shapes, crs=GRID.crs)
    regions.to_file(folder / "regions.gpkg", layer="halves")
    return folder


def interpret(points: Path) -> None:
    """Fill in the map's own class as the reference of every point."""
    content = json.loads(points.read_text())
    for feature in content["features"]:
        feature["properties"]["reference"] = str(feature["properties"]["stratum_id"])
    points.write_text(json.dumps(content))


def use(maps: Path, folder: Path, name: str) -> list[Any]:
    """Copy the maps into a folder, under names with `name`, and use them by the verbs of files."""
    folder.mkdir(parents=True)
    paths = [folder / f"{name}{number}.tif" for number in (0, 1)]
    for number, path in enumerate(paths):
        shutil.copy(maps / f"{number}.tif", path)
    regions, points = folder / f"{name}.gpkg", folder / f"{name}.geojson"
    shutil.copy(maps / "regions.gpkg", regions)
    changes = call("compare", *paths, folder / f"{name}c.tif")
    design = call("design", points, paths[0], "--points", 30, "--least", 5)
    interpret(points)
    reference = ("--reference", points, "--regions", regions)
    estimates = call("evaluate", *reference, "--out", folder / f"{name} out")
    facts = call("info", folder / f"{name}c.tif")
    areas = lulc.class_areas({"2020": f"{folder}/*0.tif", "2021": str(paths[1])}, regions)
    assert len(list(folder.iterdir())) == 7
    return [changes, design["strata"], estimates, facts, areas.drop_columns("level").to_pylist()]


@settings(max_examples=20, deadline=None)
@given(folder=NAMES, name=NAMES)
def test_maps_of_any_name_give_the_same(maps: Path, folder: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        plain = use(maps, Path(root) / "plain", "plain")
        for result, expected in zip(use(maps, Path(root) / folder, name), plain, strict=True):
            assert result == expected


def test_relative_paths_lead_from_the_working_folder(
    maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (tmp_path / "link").symlink_to(maps)
    monkeypatch.chdir(inside)
    first, second = "../../link/0.tif", "./../b/../../link/1.tif"
    plain = call("compare", maps / "0.tif", maps / "1.tif", tmp_path / "plain.tif")
    assert call("compare", first, second, "../c.tif") == plain
    assert call("design", "points.geojson", first, "--points", 30, "--least", 5)["points"] == 30
    assert call("info", "../c.tif")["kind"] == "raster"
    areas = lulc.class_areas({"2020": "../../link/0.t*"}, "../../link/regions.gpkg")
    assert areas.equals(lulc.class_areas({"2020": maps / "0.tif"}, maps / "regions.gpkg"))
    interpret(inside / "points.geojson")
    monkeypatch.chdir(tmp_path)
    points = "a/./b/points.geojson"
    assert call("evaluate", "--reference", points, "--out", "out/")["unanswered"] == 0


def test_names_with_a_leading_dash_are_given_as_paths(
    maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (0, 1):
        shutil.copy(maps / f"{number}.tif", tmp_path / f"-{number}.tif")
    monkeypatch.chdir(tmp_path)
    plain = call("compare", maps / "0.tif", maps / "1.tif", tmp_path / "c.tif")
    assert call("compare", "./-0.tif", "./-1.tif", "./-c.tif") == plain
    assert call("compare", "--", "-0.tif", "-1.tif", "-d.tif") == plain
    assert (tmp_path / "-c.tif").read_bytes() == (tmp_path / "-d.tif").read_bytes()


def test_spark_reads_a_folder_and_none_that_its_name_would_match(
    tmp_path: Path, spark: SparkSession
) -> None:
    names = ("v[1]", "x{1,2}", "a?b", "a*b", "c\\d", AWKWARD, "v1", "x1", "a-b", "cd")
    for number, name in enumerate(names):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"number": [number]}), tmp_path / name / "part-0.parquet")
    folders = read_parquet(spark, [tmp_path / name for name in names[:6]])
    assert sorted(row.number for row in folders.collect()) == list(range(6))
    file = tmp_path / AWKWARD / "part-0.parquet"
    schema = pa.schema([("number", pa.int64())])
    assert [row.number for row in read_parquet(spark, [file], schema).collect()] == [5]


@pytest.mark.slow
def test_a_run_in_a_folder_of_any_name_is_that_in_a_plain_one(
    done: Path, small: World, tmp_path: Path, spark: SparkSession
) -> None:
    folder = tmp_path / "split=test" / f"{AWKWARD},"
    shutil.copytree(small.run.parent, folder, ignore=shutil.ignore_patterns("out"))
    config, out = read_run(folder / "run.yaml"), folder / "out"
    context = StageContext(config, out, Selection(), lambda: spark)
    for stage in stages_of(config):
        assert run_stage(stage, context).bad == 0
    finish(config, out, changed=True)
    for name in ("chips", "samples", "predictions", "regions", "class_areas", "accuracy"):
        made, expected = store.read_table(out, name), store.read_table(done, name)
        columns = [column for column in made.column_names if column != "model"]
        assert made.select(columns).equals(expected.select(columns)), name
    for raster in sorted((done / "rasters").rglob("*.tif")):
        pixels, same = (read_whole(str(o / raster.relative_to(done)))[0] for o in (out, done))
        assert np.array_equal(pixels, same)
    splits = "SELECT split, count(*) AS samples FROM samples GROUP BY split ORDER BY split"
    assert query_views(out, splits, {}, config.spark) == query_views(done, splits, {}, config.spark)
    counted = query_views(out, "SELECT sum(pixels) AS pixels FROM confusion", {}, config.spark)
    assert counted["pixels"].to_pylist() == [
        sum(store.read_table(out, "confusion")["pixels"].to_pylist())
    ]

    assert call("info", out)["kind"] == "output folder"
    assert call("info", next((out / "rasters" / "2024").rglob("*.tif")))["kind"] == "raster"
    assert call("models", out)
    foreign = load_config(
        {
            "name": "maps",
            "maps": [{"period": "2024", "path": str(out / "rasters" / "2024" / "*" / "*.tif")}],
            "regions": [{"path": str(folder / "regions.gpkg"), "level": "half"}],
        }
    )
    measured = StageContext(foreign, folder / "measured", Selection(), lambda: spark)
    assert run_stage("stats", measured).done == 1
    areas, same = (store.read_table(o, "class_areas")["area_m2"] for o in (measured.out, out))
    assert np.allclose(np.array(areas), np.array(same), rtol=1e-6)
    planned = [call("plan", run) for run in (folder / "run.yaml", small.run)]
    assert planned[0] == planned[1]
    assert main(["report", str(folder / "run.yaml"), "--out", str(out)]) == 0
    _use_model(small, folder, out, tmp_path / "plain", done)
    # Nothing was written beside the folder, under a part of its name.
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (out / "mlflow.db").exists()


def _use_model(small: World, folder: Path, out: Path, plain: Path, done: Path) -> None:
    # Maps an image of any name by the model in `out`, and the same image by that in `done`.
    paths = [small.archive / f"S_20240601_{band}.tif" for band in ("red", "nir", "swir16")]
    pixels = np.concatenate([read_whole(str(path))[0] for path in paths])
    write_raster(folder / "images" / AWKWARD / f"{AWKWARD}.tif", pixels, small_world.GRID, nodata=0)
    write_raster(plain / "images" / "image.tif", pixels, small_world.GRID, nodata=0)
    predicted = call("predict", "--model", "world", "--input", f"{folder}/images/", "--out", out)
    assert [row["status"] for row in predicted] == ["done"]
    map_folder(resolve("world", done), plain / "images", plain / "maps")
    made, expected = (
        read_whole(str(path))[0]
        for path in (out / AWKWARD / f"{AWKWARD}.tif", plain / "maps" / "image.tif")
    )
    assert np.array_equal(made, expected)

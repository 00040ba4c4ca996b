"""Every example runs as its first lines say, on small data that is made here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from rasterio.transform import Affine

from lulc.tables import store
from lulc.tables.schemas import ESTIMATES
from tests.helpers.explored_run import make_explored_run
from tests.helpers.small_world import lulc

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run_example(name: str, *arguments: object) -> str:
    command = [sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def write_image(path: Path, bands: np.ndarray, crs: str = "EPSG:6933", left: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": crs, "transform": Affine(10, 0, left, 0, -10, 0)} if crs else {}
    count, height, width = bands.shape
    with rasterio.open(
        path, "w", width=width, height=height, count=count, dtype=bands.dtype, **place
    ) as file:
        file.write(bands)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in EuroSAT's folders, whose class is their colour."""
    root, rng = tmp_path_factory.mktemp("eurosat"), np.random.default_rng(0)
    colours = {"Forest": (40, 90, 50), "River": (40, 60, 160), "AnnualCrop": (190, 160, 90)}
    for name, colour in colours.items():
        for number in range(1, 13):
            image = rng.normal(np.array(colour)[:, None, None], 12, (3, 64, 64))
            path = root / "2750" / name / f"{name}_{number}.jpg"
            write_image(path, image.clip(0, 255).astype(np.uint8), crs="")
    return root


@pytest.fixture(scope="module")
def trained(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The output folder of train_eurosat.py, and what it printed."""
    out = tmp_path_factory.mktemp("out") / "eurosat"
    return out, run_example("train_eurosat", archive, out, 2)


def test_zonal_statistics(tmp_path: Path) -> None:
    before = np.full((1, 40, 40), 1, np.uint8)
    after = before.copy()
    after[:, :10] = 2
    write_image(tmp_path / "2020.tif", before)
    write_image(tmp_path / "2021.tif", after)
    square = shapely.box(0, -0.003, 0.002, 0)
    feature = {"type": "Feature", "geometry": square.__geo_interface__}
    feature["properties"] = {"name": "park"}
    collection = {"type": "FeatureCollection", "features": [feature]}
    regions = tmp_path / "parks.geojson"
    regions.write_text(json.dumps(collection))
    maps = [f"{year}={tmp_path / year}.tif" for year in ("2020", "2021")]
    printed = run_example("zonal_statistics", regions, *maps)
    assert "park, 2020 to 2021: class 1 became class 2 on 0.0" in printed


def test_custom_source(tmp_path: Path) -> None:
    flight = {"taken": "2024-06-01T10:00:00Z", "bands": ["red", "green", "blue"]}
    write_image(tmp_path / "first" / "ortho.tif", np.ones((3, 300, 300), np.uint8))
    (tmp_path / "first" / "flight.json").write_text(json.dumps(flight))
    printed = run_example("custom_source", tmp_path)
    assert "first: 2024-06-01, 10.00 m, red, green, blue\n  tile flights/0_0: 100% valid" in printed


def test_custom_dataset(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(20):
        mask = np.zeros((1, 64, 64), np.uint8)
        mask[:, :32] = 1
        image = rng.integers(0, 255, (3, 64, 64), np.uint8)
        write_image(tmp_path / "images" / f"{number}.tif", image, left=number * 2000.0)
        write_image(tmp_path / "masks" / f"{number}.png", mask, crs="")
    printed = run_example("custom_dataset", tmp_path, tmp_path / "out")
    counts = [int(line.split()[1]) for line in printed.splitlines() if " samples, " in line]
    assert sum(counts) == 20
    assert min(counts) > 0


def test_train_eurosat(trained: tuple[Path, str]) -> None:
    out, printed = trained
    assert "test images are right" in printed
    assert (out / "confusion.png").stat().st_size > 0


def test_map_folder(archive: Path, trained: tuple[Path, str]) -> None:
    printed = run_example("map_folder", trained[0], archive / "2750" / "River")
    assert "River_1.jpg" in printed
    assert "done" in printed


def test_orchestrator(trained: tuple[Path, str]) -> None:
    out = trained[0]
    before = {path: path.stat().st_mtime for path in out.rglob("*.safetensors")}
    printed = run_example("orchestrator", out / "config.yaml", out)
    assert [line.partition(":")[0] for line in printed.splitlines()] == ["samples", "train"]
    assert {path: path.stat().st_mtime for path in out.rglob("*.safetensors")} == before


@pytest.mark.spark
def test_deforestation(tmp_path: Path) -> None:
    run = make_explored_run(tmp_path)
    forest = [
        {
            "period": period,
            "region_id": region,
            "measure": "area_m2",
            "class_name": "trees",
            "estimate": estimate,
            "standard_error": error,
        }
        for region, estimates in (("Wéstland", (9e6, 8e6)), ("Eastland", (30e6, 20e6)))
        for period, estimate, error in zip(("2020", "2021"), estimates, (3e6, 4e6), strict=True)
    ]
    store.write_table(run.out, "estimates", pa.Table.from_pylist(forest, ESTIMATES))
    script = EXAMPLES / "deforestation.sql"
    asked = ["-f", script, "--bind", "forest=trees", "--bind", "level=county", "--format", "json"]
    ran = lulc("sql", run.out, *asked)
    assert ran.returncode == 0, ran.stderr
    counted, estimated = (json.loads(text) for text in ran.stdout.split("\n\n"))
    lost = {}
    for row in store.read_table(run.out, "transitions").to_pylist():
        if row["from_class"] == "trees" != row["to_class"]:
            lost[row["name"]] = lost.get(row["name"], 0) + row["area_m2"] / 1e6
    found = {row["district"]: row["lost_km2"] for row in counted if row["lost_km2"]}
    assert found == pytest.approx(lost, abs=1e-4)
    assert sum(found.values()) > 1
    names = ("district", "net_loss_km2", "low_95_km2", "high_95_km2", "finding")
    assert [tuple(row[name] for name in names) for row in estimated] == [
        ("Eastland", 10.0, 0.2, 19.8, "loss"),
        ("Wéstland", 1.0, -8.8, 10.8, "not certain"),
    ]


def test_points_from_raster(tmp_path: Path) -> None:
    codes = np.full((1, 60, 60), 1, np.uint8)
    codes[:, :5], codes[:, 5, :25] = 255, 7
    write_image(tmp_path / "classes.tif", codes, left=500_000.0)
    with rasterio.open(tmp_path / "classes.tif", "r+") as file:
        file.nodata = 255
    for name in ("a", "b"):
        printed = run_example("points_from_raster", tmp_path / "classes.tif", tmp_path / name, 100)
        assert printed.startswith("100 points in ")
    table = np.genfromtxt(tmp_path / "a.csv", delimiter=",", names=True)
    assert (table["class"] == 7).sum() >= 20
    assert set(table["class"]) == {1, 7}
    points = geopandas.read_file(tmp_path / "a.gpkg")
    assert points["class"].tolist() == table["class"].tolist()
    degrees = points.to_crs(4326).geometry
    np.testing.assert_allclose(degrees.x, table["longitude"])
    np.testing.assert_allclose(degrees.y, table["latitude"])
    with rasterio.open(tmp_path / "classes.tif") as file:
        there = [int(value[0]) for value in file.sample(points.get_coordinates().to_numpy())]
    assert there == points["class"].tolist()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()

"""Every task end to end on an archive of known truth: samples, model, map, statistics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from scipy import ndimage
from shapely.geometry import box

from lulc.config import Config
from lulc.datasets import registry
from lulc.geo.grid import Grid
from lulc.inference.folder import map_folder
from lulc.models.registry import resolve
from lulc.runfile import parse_run
from lulc.spark.context import StageContext, StageResult
from lulc.stages import Selection, stages_of
from lulc.tables import store
from tests.helpers.synthetic_scenes import write_raster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GRID = Grid("EPSG:6933", (10.0, 0.0, 600000.0, 0.0, -10.0, 3000000.0), 256, 256)
LIKE = {"size": 64, "halo": 16, "block": 2}


def carry_out(
    settings: dict[str, Any], folder: Path, spark: SparkSession
) -> tuple[Config, dict[str, StageResult]]:
    """The run and what each of its stages did, into `folder`/out."""
    import importlib

    common = {"rasters": {"group": 4}, "tiling": LIKE | {"like": "scene/a_20240601_red.tif"}}
    config = registry.complete_from_datasets(parse_run(common | settings, folder))
    context = StageContext(config, folder / "out", Selection(), lambda: spark)
    stages = {
        name: getattr(importlib.import_module(f"lulc.spark.stages.{name}"), name)
        for name in stages_of(config)
    }
    return config, {name: stage(context) for name, stage in stages.items()}


def own_place(number: int, side: int) -> Grid:
    """Where an image lies that shares ground with no other."""
    return Grid(GRID.crs, (10.0, 0.0, 3e6 + 10 * side * number, 0.0, -10.0, 0.0), side, side)


def source(folder: Path, task: str, classes: tuple[str, ...], **options: str) -> dict[str, Any]:
    """The images in a folder as a dataset of a run file."""
    settings = {
        "task": task,
        "classes": ", ".join(classes),
        "dtype": "uint16",
        "gsd_m": "10",
    } | options
    return {"name": "images", "root": str(folder / "images"), "options": settings}


def legend(*names: str) -> dict[int, dict[str, str]]:
    return {
        i: {"name": name, "colour": f"#{40 * i + 30:02x}a0{200 - 30 * i:02x}"}
        for i, name in enumerate(names)
    }


def write_scene(folder: Path, day: str, bands: dict[str, np.ndarray], grid: Grid = GRID) -> None:
    for band, values in bands.items():
        write_raster(
            folder / "scene" / f"a_{day}_{band}.tif",
            values.clip(1, 10000).astype("uint16"),
            grid,
            nodata=0,
        )


def scenes(folder: Path) -> list[dict[str, Any]]:
    return [{"path": str(folder / "scene"), "pattern": "{scene}_{date}_{band}.tif"}]


def whole_map(out: Path) -> np.ndarray:
    """The run's one class raster."""
    (path,) = (out / "rasters").rglob("*.tif")
    with rasterio.open(path) as file:
        found: np.ndarray = file.read(1)
        return found


def areas(out: Path) -> dict[str, float]:
    return {
        row["class_name"]: row["area_m2"]
        for row in pq.read_table(store.table_folder(out, "class_areas")).to_pylist()
    }


def stripes(kind: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Texture 0: smooth, 1: rows, 2: columns, 3: checkerboard; no single pixel separates them."""
    y, x = np.mgrid[:side, :side] + rng.integers(0, 8, 2)[:, None, None]
    wave = [
        np.zeros((side, side)),
        np.sin(y * 1.2),
        np.sin(x * 1.2),
        np.sin(y * 1.2) * np.sin(x * 1.2) * 1.5,
    ][kind]
    return 3000 + 900 * wave + rng.normal(0, 150, (side, side))


TEXTURES = ("smooth", "rows", "columns", "chequers")


def test_scenes_are_classified_square_by_square(tmp_path: Path, spark: SparkSession) -> None:
    rng = np.random.default_rng(1)
    for number, name in enumerate(TEXTURES):
        for i in range(24):
            image = stripes(number, 32, rng).astype("uint16")
            write_raster(tmp_path / f"images/{name}/{i}.tif", image, own_place(24 * number + i, 32))
    truth = rng.integers(0, 4, (8, 8))
    write_scene(
        tmp_path,
        "20240601",
        {"red": np.block([[stripes(kind, 32, rng) for kind in row] for row in truth])},
    )
    settings = {
        "name": "textures",
        "bands": ["red"],
        "datasets": [
            source(tmp_path, "classify", TEXTURES, images="{class}/{item}.tif", bands="red")
        ],
        "scenes": scenes(tmp_path),
        "train": {
            "epochs": 4,
            "repeats": 3,
            "batch": 16,
            "rate": 0.003,
            "ema": 0.9,
            "augment": ["flip"],
        },
        "samples": {"validation": 0.2, "test": 0.1},
    }
    run, outcomes = carry_out(settings, tmp_path, spark)
    assert re.search(r"on validation; accuracy (0.9|1.0)\d+, .* on test$", outcomes["train"].note)
    found = whole_map(tmp_path / "out")
    assert found.shape == (8, 8)
    assert (found == truth).mean() >= 0.95
    mapped = areas(tmp_path / "out")
    for number, name in enumerate(TEXTURES):
        assert mapped[name] == pytest.approx((found == number).sum() * 320**2)
    _again(run, tmp_path, spark)


def _again(config: Config, folder: Path, spark: SparkSession) -> None:
    import importlib

    context = StageContext(config, folder / "out", Selection(), lambda: spark)
    for name in stages_of(config):
        assert (
            getattr(importlib.import_module(f"lulc.spark.stages.{name}"), name)(context).done == 0
        ), name


def test_several_classes_of_a_square_are_told(tmp_path: Path, spark: SparkSession) -> None:
    rng = np.random.default_rng(2)

    def picture(there: np.ndarray) -> np.ndarray:
        image = rng.normal(2000, 150, (3, 32, 32))
        for band in np.flatnonzero(there):  # a blot in a band of its own, anywhere
            y, x = rng.integers(2, 20, 2)
            image[band, y : y + 10, x : x + 10] += 3000
        return image

    names = ("pond", "barn", "grove")
    lines, presence = ["item,class"], rng.random((72, 3)) > 0.5
    presence[~presence.any(1), 0] = True
    for i, there in enumerate(presence):
        write_raster(
            tmp_path / f"images/{i:03d}.tif", picture(there).astype("uint16"), own_place(i, 32)
        )
        lines += [f"{i:03d}.tif,{names[k]}" for k in np.flatnonzero(there)]
    (tmp_path / "images/labels.csv").write_text("\n".join(lines))
    truth = rng.random((8, 8, 3)) > 0.5
    truth[~truth.any(2), 0] = True
    whole = np.concatenate(
        [np.concatenate([picture(there) for there in row], 2) for row in truth], 1
    )
    write_scene(tmp_path, "20240601", dict(zip(("red", "green", "blue"), whole, strict=True)))
    settings = {
        "name": "things",
        "bands": ["red", "green", "blue"],
        "datasets": [
            source(tmp_path, "multilabel", names, images="{item}.tif", table="labels.csv")
        ],
        "scenes": scenes(tmp_path),
        "train": {"epochs": 3, "repeats": 5, "batch": 16, "rate": 0.003, "ema": 0.9},
        "samples": {"validation": 0.2, "test": 0},
        "regions": [{"path": "regions.gpkg", "id": "id", "level": "part"}],
    }
    # Two and a half squares of the first row, and what lies beyond the map beside it.
    xmin, _, _, ymax = GRID.bounds
    part = box(xmin, ymax - 320, xmin + 800, ymax) | box(xmin - 800, ymax - 320, xmin, ymax)
    geopandas.GeoDataFrame({"id": ["part"]}, geometry=[part], crs=GRID.crs).to_file(
        tmp_path / "regions.gpkg"
    )
    run, _ = carry_out(settings, tmp_path, spark)
    rows = pq.read_table(store.table_folder(tmp_path / "out", "probabilities")).to_pylist()
    assert len(rows) == 64 * 3
    right = []
    for row in rows:
        y, x = (
            round((3000000 - row["transform"][5]) / 320),
            round((row["transform"][2] - 600000) / 320),
        )
        right.append((row["probability"] >= 0.5) == truth[y, x, names.index(row["class_name"])])
    assert np.mean(right) >= 0.95
    probabilities = {
        (row["transform"][2], row["transform"][5], row["class_name"]): row["probability"]
        for row in rows
    }
    shares = {xmin: 320, xmin + 320: 320, xmin + 640: 160}
    for row in store.read_table(tmp_path / "out", "presence").to_pylist():
        chances = [
            (probabilities[x, ymax, row["class_name"]], wide * 320) for x, wide in shares.items()
        ]
        present = sum(area for chance, area in chances if chance >= 0.5)
        assert row["observed_share"] == pytest.approx(0.5, rel=1e-4)
        assert (row["present_m2"], row["share"]) == (
            pytest.approx(present, rel=1e-4),
            pytest.approx(present / 256000, rel=1e-4),
        )
        assert row["mean_probability"] == pytest.approx(
            sum(c * a for c, a in chances) / 256000, rel=1e-4
        )
    assert store.read_table(tmp_path / "out", "presence").num_rows == 3
    _again(run, tmp_path, spark)


def patches(rng: np.random.Generator, classes: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.normal(size=(classes, *GRID.shape)), (0, 9, 9))
    return noise.argmax(0)


SPECTRA = np.array([[800, 3500], [2500, 2800]])  # trees, built: red, nir


def spectra(ids: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        band: SPECTRA[ids, i] + rng.normal(0, 150, ids.shape)
        for i, band in enumerate(("red", "nir"))
    }


def test_change_is_mapped_from_what_to_what(tmp_path: Path, spark: SparkSession) -> None:
    rng = np.random.default_rng(3)
    before, after = patches(rng, 2), patches(rng, 2)
    # Light differs between the dates, and much ground stays what it is.
    after = np.where(patches(rng, 2) == 0, before, after)
    write_scene(tmp_path, "20240601", spectra(before, rng))
    write_scene(
        tmp_path,
        "20240801",
        {band: values * 1.15 + 100 for band, values in spectra(after, rng).items()},
    )
    truth = np.where(before == after, 0, np.where(before == 0, 1, 2)).astype("uint8")
    labels = truth.copy()
    labels[:, 160:] = 255
    write_raster(tmp_path / "labels.tif", labels, GRID, nodata=255)
    settings = {
        "name": "change",
        "task": "change",
        "dates": 2,
        "bands": ["red", "nir"],
        "scenes": scenes(tmp_path),
        "legend": legend("no change", "trees to built", "built to trees"),
        "labels": {"path": "labels.tif"},
        "samples": {"size": 64, "block": 1, "validation": 0.2, "test": 0},
        "train": {
            "depth": 3,
            "decoder": [64, 32, 16],
            "epochs": 3,
            "repeats": 8,
            "batch": 4,
            "rate": 0.003,
        },
    }
    carry_out(settings, tmp_path, spark)
    found = whole_map(tmp_path / "out")
    assert (found == truth).mean() >= 0.95
    for kind in (1, 2):
        both = ((found == kind) & (truth == kind)).sum()
        assert 2 * both / ((found == kind).sum() + (truth == kind).sum()) >= 0.9
    assert sum(areas(tmp_path / "out").values()) == pytest.approx(GRID.height * GRID.width * 100)


def test_crops_are_told_by_the_days_on_which_they_are_green(
    tmp_path: Path, spark: SparkSession
) -> None:
    rng = np.random.default_rng(4)
    truth = patches(rng, 3)
    peaks = np.array([130, 170, 210])  # the same curve, at another time of the year
    for day in (100, 125, 150, 175, 200, 225, 250):
        green = np.exp(-(((day - peaks[truth]) / 25) ** 2))
        cloud = ndimage.gaussian_filter(rng.normal(size=GRID.shape), 12)
        date = np.datetime64("2024-01-01") + day - 1
        bands = {"red": 2000 - 1500 * green, "nir": 2000 + 2000 * green}
        for band, values in bands.items():
            seen = (
                np.where(cloud > cloud.std(), 0, values + rng.normal(0, 150, GRID.shape))
                .clip(0)
                .astype("uint16")
            )
            write_raster(
                tmp_path / "scene" / f"a_{str(date).replace('-', '')}_{band}.tif",
                seen,
                GRID,
                nodata=0,
            )
    labels = truth.astype("uint8")
    labels[:, 160:] = 255
    write_raster(tmp_path / "labels.tif", labels, GRID, nodata=255)
    like = sorted((tmp_path / "scene").glob("*_red.tif"))[0].name
    settings = {
        "name": "series",
        "task": "series",
        "dates": 7,
        "bands": ["red", "nir"],
        "scenes": scenes(tmp_path),
        "tiling": LIKE | {"like": f"scene/{like}"},
        "legend": legend("early", "middle", "late"),
        "labels": {"path": "labels.tif"},
        "samples": {"size": 64, "block": 1, "validation": 0.2, "test": 0},
        "train": {
            "model": "ltae",
            "depth": 3,
            "decoder": [64, 32, 16],
            "epochs": 3,
            "repeats": 8,
            "batch": 4,
            "rate": 0.003,
        },
    }
    carry_out(settings, tmp_path, spark)
    assert (whole_map(tmp_path / "out") == truth).mean() >= 0.95


def squares(rng: np.random.Generator, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(side, side) ground with bright squares, and their boxes (N, 4), none touching another."""
    image, boxes = rng.normal(1500, 200, (side, side)), []
    taken = np.zeros((side, side), bool)
    while len(boxes) < count:
        size = rng.integers(7, 13)
        y, x = rng.integers(2, side - size - 2, 2)
        if not taken[y - 2 : y + size + 2, x - 2 : x + size + 2].any():
            taken[y : y + size, x : x + size] = True
            image[y : y + size, x : x + size] += 2500
            boxes.append((x, y, x + size, y + size))
    return image, np.array(boxes, float)


def test_things_are_found_once_counted_and_placed_on_the_ground(
    tmp_path: Path, spark: SparkSession
) -> None:
    rng = np.random.default_rng(5)
    lines = ["item,class,left,top,right,bottom"]
    for i in range(40):
        image, boxes = squares(rng, 3, 64)
        write_raster(
            tmp_path / f"images/{i:03d}.tif",
            np.stack([image[::-1], image]).astype("uint16"),
            own_place(i, 64),
        )
        lines += [f"{i:03d}.tif,house," + ",".join(map(str, b.astype(int))) for b in boxes]
    (tmp_path / "images/boxes.csv").write_text("\n".join(lines))
    image, truth = squares(rng, 60, 256)
    write_scene(tmp_path, "20240601", {"red": image})
    xmin, ymin, xmax, ymax = GRID.bounds
    middle = (xmin + xmax) / 2
    halves = [box(xmin, ymin, middle, ymax), box(middle, ymin, xmax, ymax)]
    geopandas.GeoDataFrame({"id": ["west", "east"]}, geometry=halves, crs=GRID.crs).to_file(
        tmp_path / "regions.gpkg"
    )
    settings = {
        "name": "houses",
        "bands": ["red"],
        "datasets": [
            source(
                tmp_path,
                "detect",
                ("house",),
                images="{item}.tif",
                table="boxes.csv",
                bands="nir, red",
            )
        ],
        "scenes": scenes(tmp_path),
        "train": {"epochs": 2, "repeats": 8, "batch": 8, "rate": 0.001, "ema": 0.9},
        "samples": {"validation": 0.2, "test": 0},
        "regions": [{"path": "regions.gpkg", "id": "id", "level": "half"}],
    }
    run, _ = carry_out(settings, tmp_path, spark)
    # The files that it learned from hold a band more than it takes, and can be mapped as they are.
    rows = map_folder(resolve("houses", tmp_path / "out"), tmp_path / "images", tmp_path / "folder")
    assert [row.error for row in rows if row.status == "bad"] == []
    found = geopandas.read_parquet(store.table_folder(tmp_path / "folder", "detections"))
    assert (
        found.groupby("item")
        .size()
        .reindex([f"{i:03d}.tif" for i in range(40)], fill_value=0)
        .eq(3)
        .mean()
        >= 0.9
    )
    table = geopandas.read_parquet(store.table_folder(tmp_path / "out", "detections"))
    placed = table.to_crs(GRID.crs).geometry
    real = [
        box(xmin + 10 * x0, ymax - 10 * y1, xmin + 10 * x1, ymax - 10 * y0)
        for x0, y0, x1, y1 in truth
    ]
    hits = [
        shapely.area(shapely.intersection(placed.values, one))
        / shapely.area(shapely.union(placed.values, one))
        for one in real
    ]
    assert np.mean([max(each) > 0.5 for each in hits]) >= 0.9
    assert np.mean(np.max(hits, axis=0) > 0.5) >= 0.9
    counts = {
        row["region_id"]: row
        for row in pq.read_table(
            store.table_folder(tmp_path / "out", "detection_counts")
        ).to_pylist()
    }
    west = (placed.centroid.x < middle).sum()
    assert counts["west"]["detections"] == west
    assert counts["east"]["detections"] == len(table) - west
    assert counts["west"]["detections_per_km2"] == pytest.approx(west / (1.28 * 2.56), rel=0.01)
    _again(run, tmp_path, spark)

"""Labelled images that a run file describes: polygons, masks, tables, class folders; previews."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from lulc.config import DatasetConf, TrainConf
from lulc.datasets import registry
from lulc.datasets.listing import list_items
from lulc.errors import InputError, UsageError
from lulc.report import samples
from lulc.samples import from_datasets
from lulc.tables import arrays, store
from lulc.training.fit import fit
from lulc.training.setup import TrainJob
from tests.samples.test_from_datasets import carry_out, make_run, read_samples

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SIDE = 64


def write_image(path: Path, x: float = 500_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": 3,
        "height": SIDE,
        "width": SIDE,
        "dtype": "uint8",
    }
    with rasterio.open(
        path, "w", crs="EPSG:32633", transform=from_origin(x, 5_300_000, 1, 1), **profile
    ) as file:
        file.write(np.random.default_rng(0).integers(1, 255, (3, SIDE, SIDE), np.uint8))


def write_features(path: Path, *features: tuple[dict[str, Any], dict[str, Any]]) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    found = [
        {"type": "Feature", "geometry": geometry, "properties": properties}
        for geometry, properties in features
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": found}))


def box(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    x, y = 500_000, 5_300_000
    ring = [
        (x + left, y - top),
        (x + right, y - top),
        (x + right, y - bottom),
        (x + left, y - bottom),
        (x + left, y - top),
    ]
    return {"type": "Polygon", "coordinates": [ring]}


def spec_of(root: Path, **options: str) -> from_datasets.DatasetSpec:
    conf = DatasetConf("images", str(root), options)
    description = registry.find_dataset("images").describe(registry.options_of(conf))
    codes = tuple((i, i) for i in description.legend.ids)
    return from_datasets.DatasetSpec(
        root, conf.name, conf, description.encoding, SIDE, 1, description.legend, codes
    )


def test_of_the_features_of_a_file_only_those_meant_become_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    write_features(
        tmp_path / "a.geojson",
        (box(0, 0, SIDE, SIDE), {"kind": ["whole image"], "class": "roof"}),
        (box(10, 20, 30, 40), {"kind": ["outline"], "class": ["roof"]}),
        (
            {"type": "Point", "coordinates": [500_005.5, 5_299_994.5]},
            {"kind": ["outline"], "class": "roof"},
        ),
    )
    options = {
        "images": "{item}.tif",
        "polygons": "{item}.geojson",
        "classes": "ground, roof",
        "column": "class",
    }
    spec = spec_of(tmp_path, **options, where="kind=outline")
    expected = np.zeros((SIDE, SIDE), np.uint8)
    expected[20:40, 10:30] = 1
    (item,) = list_items(spec.dataset).items
    np.testing.assert_array_equal(from_datasets.read_example(spec, item).label, expected)
    boxed = spec_of(tmp_path, **options, where="kind=outline", task="detect")
    np.testing.assert_array_equal(
        from_datasets.read_example(boxed, item).label, [[1, 10, 20, 30, 40]]
    )
    strange = spec_of(tmp_path, **options | {"classes": "ground, house"})
    with pytest.raises(InputError, match=r"class is \['roof'\]: classes has ground, house"):
        from_datasets.read_example(strange, item)


def test_a_table_of_boxes_and_splits_is_read_and_its_missing_file_is_bad(
    tmp_path: Path, spark: SparkSession
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for n in range(4):
        write_image(root / f"chips/{n}.tif", 500_000 + 1000 * n)
    lines = [
        f"chips/{n}.tif,ship,{5 + n},6,20,30,{s}"
        for n, s in enumerate(("train", "train", "val", "test"))
    ]
    (root / "boxes.csv").write_text(
        "\n".join(
            ["item,class,left,top,right,bottom,split", *lines, "chips/gone.tif,ship,1,1,2,2,train"]
        )
    )
    options = {
        "task": "detect",
        "table": "boxes.csv",
        "classes": "ship",
        "images": "chips/{item}.tif",
    }
    result = carry_out(
        make_run(out, {"name": "images", "root": str(root), "options": options}), out, spark
    )
    assert (result.bad, len(read_samples(out))) == (1, 4)
    found = {row["sample_id"]: row for row in read_samples(out)}
    assert [found[f"images/chips/{n}"]["split"] for n in range(4)] == [
        "train",
        "train",
        "validation",
        "test",
    ]
    np.testing.assert_array_equal(
        arrays.array_from(found["images/chips/1"], "label"), [[0, 6, 6, 20, 30]]
    )

    picture = np.asarray(
        Image.open(io.BytesIO(samples.draw_samples(store.table_folder(out, "samples")))).convert(
            "RGB"
        )
    )
    assert picture.std() > 0


def test_the_contact_sheet_shows_masks_in_the_legend_s_colours(
    tmp_path: Path, spark: SparkSession
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for n in range(6):
        write_image(root / f"chips/{n}.tif", 500_000 + 1000 * n)
        mask = np.full((SIDE, SIDE), 9, np.uint8)
        mask[:, 32:] = 77
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / f"masks/{n}.png")
    options = {
        "images": "chips/{item}.tif",
        "masks": "masks/{item}.png",
        "classes": "ground=9, roof=77",
    }
    legend = {0: {"name": "ground", "colour": "#112233"}, 1: {"name": "roof", "colour": "#c72a1e"}}
    run = make_run(out, {"name": "images", "root": str(root), "options": options}, legend=legend)
    assert carry_out(run, out, spark).bad == 0
    assert {tuple(row["class_counts"]) for row in read_samples(out)} == {(SIDE * 32, SIDE * 32)}
    picture = np.asarray(
        Image.open(io.BytesIO(samples.draw_samples(store.table_folder(out, "samples")))).convert(
            "RGB"
        )
    )
    shown = {
        tuple(colour): int(count)
        for colour, count in zip(
            *np.unique(picture.reshape(-1, 3), axis=0, return_counts=True), strict=True
        )
    }
    assert min(shown[0x11, 0x22, 0x33], shown[0xC7, 0x2A, 0x1E]) > 1000


def test_two_archives_in_unlike_numbers_train_as_one(tmp_path: Path, spark: SparkSession) -> None:
    out, values = tmp_path / "out", {}
    for name, kind, scale, x in (
        ("drone", "uint8", 1 / 255, 500_000),
        ("satellite", "int16", 1e-4, 600_000),
    ):
        for n in range(8):
            path = tmp_path / name / f"{n}.tif"
            path.parent.mkdir(exist_ok=True)
            array = np.random.default_rng(n).integers(1, 1 / scale, (1, SIDE, SIDE)).astype(kind)
            profile: dict[str, Any] = {
                "driver": "GTiff",
                "count": 1,
                "height": SIDE,
                "width": SIDE,
                "dtype": kind,
            }
            transform = from_origin(x + 1000 * n, 5_300_000, 1, 1)
            with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, **profile) as file:
                file.write(array)
            Image.fromarray((array[0] * scale > 0.5).astype(np.uint8)).save(
                tmp_path / name / f"{n}.png"
            )
            values[f"{name}/{n}"] = array * scale
    common = {"images": "{item}.tif", "masks": "{item}.png", "bands": "red"}
    drone = {
        "name": "images",
        "root": str(tmp_path / "drone"),
        "weight": 3.0,
        "crosswalk": {0: 5, 1: 1},
    }
    satellite = {"name": "images", "root": str(tmp_path / "satellite"), "crosswalk": {0: 5, 1: 1}}
    drone["options"] = common | {"classes": "dark, light", "dtype": "uint8", "scale": str(1 / 255)}
    satellite["options"] = common | {"classes": "shade, bright", "dtype": "int16", "scale": "1e-4"}
    legend = {5: {"name": "dim", "colour": "#112233"}, 1: {"name": "bright", "colour": "#c72a1e"}}
    run = make_run(out, drone, satellite, legend=legend)
    assert carry_out(run, out, spark).bad == 0
    rows = [row for row in read_samples(out) if row["split"] == "train"]
    assert {(row["dataset"], row["weight"]) for row in rows} == {("images", 3.0), ("images-2", 1.0)}

    conf = TrainConf(
        depth=3,
        decoder=(16, 8, 8),
        batch=4,
        rate=1e-2,
        epochs=1,
        repeats=8,
        crop=32,
        precision="float32",
    )
    result = fit(
        TrainJob(
            conf, run.make_legend(), store.table_folder(out, "samples"), tmp_path / "checkpoint"
        )
    )
    names = [
        "/".join(
            ({"images": "drone", "images-2": "satellite"}[row["dataset"]], row["sample_id"][-1])
        )
        for row in rows
    ]
    assert result.mean == pytest.approx(
        [np.mean([values[name].mean() for name in names])], rel=1e-3
    )
    assert result.history[-1]["metrics"]["accuracy"] > 0.8


def test_folders_name_the_classes_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    for name in ("forest", "river"):
        write_image(tmp_path / name / "1.tif")
    spec = spec_of(tmp_path, task="classify", images="{class}/{item}.tif", classes="forest, river")
    assert {item.name: item.classes for item in list_items(spec.dataset).items} == {
        "forest/1": (0,),
        "river/1": (1,),
    }
    with pytest.raises(InputError, match="of class 'river', classes has forest"):
        list_items(
            DatasetConf("images", str(tmp_path), {**spec.dataset.options, "classes": "forest"})
        )
    with pytest.raises(UsageError, match=r"options\.images"):
        spec_of(tmp_path, task="classify")

"""Image folders become table rows for whole-image and box models; labels move with images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from scipy.special import softmax
from sklearn.metrics import average_precision_score

from lulc import progress
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid
from lulc.inference.folder import map_folder
from lulc.legend import NODATA
from lulc.models.contract import Contract, write_contract
from lulc.models.networks import pretrained
from lulc.models.networks.registry import MODELS
from lulc.models.package import CONTRACT, WEIGHTS, ModelRef, join_models, model_checksum
from lulc.models.tasks.augment import augment, crop
from lulc.models.tasks.multilabel import rank_precision
from lulc.models.tasks.task import Batch, Scaling
from lulc.tables import files, store
from lulc.training import calibration
from tests.helpers.synthetic_scenes import write_raster
from tests.helpers.tiny_samples import LEGEND

GRID = Grid("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5300000.0), 64, 64)


def make_model(folder: Path, task: str, model: str, precision: str = "") -> Path:
    """A model that has learned nothing, of one band and 32 pixels."""
    torch.manual_seed(0)
    architecture = {"encoder": "resnet18"}
    contract = Contract(
        "m",
        task,
        model,
        architecture,
        ("red",),
        (1000.0,),
        (300.0,),
        LEGEND,
        10.0,
        16,
        32,
        scales=(1.0,),
        offsets=(0.0,),
        precision=precision,
    )
    net = MODELS[model].build(1, 3, **architecture)
    folder.mkdir()
    save_file(
        {name: value.contiguous() for name, value in net.state_dict().items()}, folder / WEIGHTS
    )
    write_contract(contract, folder / CONTRACT)
    return folder


def reference(*folders: Path) -> ModelRef:
    """The models as one that maps."""
    return join_models([ModelRef(f.name, "1", f, model_checksum(f)) for f in folders])


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, height, width in (("a/one", 32, 32), ("a/odd", 35, 29), ("large", 64, 64)):
        values = rng.integers(500, 1500, (height, width)).astype("uint16")
        write_raster(folder / f"{name}.tif", values, Grid(GRID.crs, GRID.transform, height, width))
    write_raster(
        folder / "two_bands.tif",
        np.ones((2, 32, 32), "uint16"),
        Grid(GRID.crs, GRID.transform, 32, 32),
    )


@pytest.mark.parametrize("task", ["classify", "multilabel"])
def test_images_are_classified_into_a_table_that_a_rerun_leaves(task: str, tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", task, "classifier")
    write_images(tmp_path / "in")
    rows = map_folder(reference(model), tmp_path / "in", tmp_path / "out")
    assert {r.key: r.status for r in rows} == {
        "a/one.tif": "done",
        "a/odd.tif": "done",
        "large.tif": "done",
        "two_bands.tif": "bad",
    }
    file = store.table_folder(tmp_path / "out", "predictions") / "items.parquet"
    table = pq.read_table(file).to_pandas()
    assert set(table["item"]) == {"a/one.tif", "a/odd.tif", "large.tif"}
    assert set(table.class_name) <= {c.name for c in LEGEND.classes}
    if task == "classify":
        assert len(table) == 3
        assert table.confidence.between(1 / 3 - 1e-6, 1).all()
    else:
        assert len(table) == 9
    assert set(
        store.read_table(tmp_path / "out", "predictions", ["item"])["item"].to_pylist()
    ) == set(table["item"])
    before = file.stat().st_mtime_ns
    map_folder(reference(model), tmp_path / "in", tmp_path / "out")
    assert file.stat().st_mtime_ns == before
    write_raster(
        tmp_path / "in/two_bands.tif",
        np.ones((32, 32), "uint16"),
        Grid(GRID.crs, GRID.transform, 32, 32),
    )
    map_folder(reference(model), tmp_path / "in", tmp_path / "out")
    assert set(pq.read_table(file)["item"].to_pylist()) == {
        "a/one.tif",
        "a/odd.tif",
        "large.tif",
        "two_bands.tif",
    }


def test_another_precision_than_that_of_the_training_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    write_images(tmp_path / "in")
    for precision in ("float32", "bfloat16"):
        model = make_model(tmp_path / precision, "classify", "classifier", precision)
        map_folder(reference(model), tmp_path / "in", tmp_path / "out" / precision)
    told = [line for line in said if "trained in" in line]
    assert told == ["bfloat16 version 1: computed in float32, trained in bfloat16"]


def test_a_run_s_own_table_is_not_mixed_with_that_of_images(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model", "classify", "classifier")
    write_images(tmp_path / "in")
    files.write_atomic(
        tmp_path / "out/tables/predictions/p.0_0.x.parquet", lambda beside: beside.write_bytes(b"")
    )
    with pytest.raises(UsageError, match="give another --out"):
        map_folder(reference(model), tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("place", [GRID.crs, ""])
def test_boxes_are_placed_on_the_ground_or_in_pixels(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import geopandas

    from lulc.inference.predictor import Predictor

    model = make_model(tmp_path / "model", "detect", "fcos")
    values = np.full((64, 64), 900, "uint16")
    path = write_raster(tmp_path / "in/a.tif", values, GRID)
    if not place:
        path.unlink()
        Image.fromarray(values).save(path.with_suffix(".png"))
    monkeypatch.setattr(
        Predictor,
        "detect",
        lambda *_: np.array([[7, 0.9, 10, 20, 14, 30], [2, 0.1, 0, 0, 4, 4]], np.float32),
    )
    map_folder(reference(model), tmp_path / "in", tmp_path / "out")
    table = geopandas.read_parquet(store.table_folder(tmp_path / "out", "detections"))
    assert table[["item", "class_name", "n"]].values.tolist() == [
        ["a.tif" if place else "a.png", "water", 0]
    ]
    bounds = (table.to_crs(GRID.crs) if place else table).total_bounds
    expected = (500100, 5299700, 500140, 5299800) if place else (10, 20, 14, 30)
    assert bounds == pytest.approx(expected, abs=0.01)
    assert table.crs is None if not place else table.crs.is_geographic


def test_a_temperature_undoes_what_scaled_the_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20000, 4))
    label = np.array([rng.choice(4, p=p) for p in softmax(logits, 1)])
    assert calibration.fit_temperature(3 * logits, label) == pytest.approx(3, rel=0.05)
    assert calibration.calibration_error(logits, label) < 0.02
    assert calibration.calibration_error(3 * logits, label) > 0.1
    assert calibration.fit_temperature(logits[:0], label[:0]) == 1


@given(st.integers(0, 2**32 - 1))
def test_average_precision_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares, truth = rng.integers(0, 10, 30) / 10, rng.random(30) > 0.6
    truth[0] = True
    assert rank_precision(shares, truth) == pytest.approx(average_precision_score(truth, shares))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_boxes_turn_and_are_cut_with_their_images(seed: int) -> None:
    torch.manual_seed(seed)
    image, label = torch.zeros(4, 1, 1, 40, 40), torch.full((4, 2, 5), float(NODATA))
    for i in range(4):
        x, y, w, h = (*torch.randint(0, 30, (2,)).tolist(), *torch.randint(2, 10, (2,)).tolist())
        image[i, 0, 0, y : y + h, x : x + w] = 1
        label[i, 0] = torch.tensor([1, x, y, x + w, y + h])
    whole = Batch(
        image,
        torch.ones(4, 1, 40, 40, dtype=torch.bool),
        torch.zeros(4, 1, dtype=torch.int64),
        label,
        torch.ones(4),
    )
    scaling = Scaling((1.0,), (0.0,), (0.0,), (1.0,))
    for part, kinds in ((whole, ("flip", "rotate")), (crop(whole, 24, "boxes"), ("rotate",))):
        found = augment(part, kinds, "boxes", scaling)
        for picture, boxes in zip(found.pixels[:, 0, 0], found.label, strict=True):
            kept = [b[1:].int().tolist() for b in boxes if b[0] != NODATA]
            for left, top, right, bottom in kept:
                assert bool((picture[top:bottom, left:right] == 1).all())
                assert int(picture.sum()) == (right - left) * (bottom - top)


def test_an_encoder_begins_with_weights_of_a_file_whatever_its_bands(tmp_path: Path) -> None:
    donor = MODELS["classifier"].build(3, 2).encoder
    save_file(
        {f"encoder.{k}": v.contiguous() for k, v in donor.state_dict().items()},
        tmp_path / "w.safetensors",
    )
    torch.save(
        {"state_dict": {f"backbone.{k}": v for k, v in donor.state_dict().items()}},
        tmp_path / "w.pth",
    )
    for name in ("w.safetensors", "w.pth"):
        net = MODELS["classifier"].build(4, 7)
        pretrained.load_weights(
            net, str(tmp_path / name), "resnet18", ("nir", "red", "green", "blue")
        )
        own, given_ = net.encoder.conv1.weight, donor.conv1.weight
        assert torch.allclose(own[:, 1:], given_ * 3 / 4)
        assert torch.allclose(own[:, 0], given_.mean(1) * 3 / 4)
        assert torch.equal(net.encoder.layer4[1].conv2.weight, donor.layer4[1].conv2.weight)
    unet = MODELS["unet"].build(3, 2)
    pretrained.load_weights(
        unet, str(tmp_path / "w.safetensors"), "resnet18", ("red", "green", "blue")
    )
    assert torch.equal(unet.encoder.layer1[0].conv1.weight, donor.layer1[0].conv1.weight)
    with pytest.raises(InputError, match="does not fit encoder 'resnet34'"):
        pretrained.load_weights(
            MODELS["classifier"].build(3, 2, encoder="resnet34"),
            str(tmp_path / "w.pth"),
            "resnet34",
            ("a", "b", "c"),
        )
    with pytest.raises(InputError, match="is not there"):
        pretrained.load_weights(unet, str(tmp_path / "none.pth"), "resnet18", ("a", "b", "c"))
    with pytest.raises(UsageError, match="with an encoder"):
        pretrained.load_weights(
            MODELS["ltae"].build(3, 2), str(tmp_path / "w.pth"), "resnet18", ("a", "b", "c")
        )

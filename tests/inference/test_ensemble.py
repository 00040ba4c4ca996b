"""Several models map as one by their mean; probabilities of every class can be kept and written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from lulc.config import Period, PredictConf
from lulc.errors import InputError
from lulc.inference import blocks, predictor
from lulc.inference.blocks import InferenceSpec
from lulc.inference.image_maps import PixelMap, make_pixel_map
from lulc.legend import NODATA
from lulc.maps import class_map, rasters
from lulc.maps.uncertainty import measure_uncertainty
from lulc.models import package
from lulc.models.package import ModelRef
from lulc.tables import arrays, layout, store
from tests.helpers import untrained_model as untrained
from tests.helpers.tiny_samples import LEGEND
from tests.inference.test_predictor import SCALING, TILING, cut_chips, texture, write_chips

HOW = PredictConf(precision="float32", probabilities=True)


def shares_of(
    model: predictor.Predictor, image: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What a model says (H, W) and how likely it thinks each class (K, H, W)."""
    shares = np.full((3, *valid.shape[1:]), NODATA, np.uint8)
    return model.segment(image, valid, *SCALING, HOW, percents=shares)[0], shares


def test_what_models_say_together_is_their_mean(tmp_path: Path) -> None:
    folders = [
        untrained.make_model(tmp_path / f"m{seed}", seed, mean=(1900.0 + 50 * seed,) * 2)
        for seed in range(3)
    ]
    image, valid = texture(96, 80)
    each = [shares_of(predictor.load(f), image, valid) for f in folders]
    classes, shares = shares_of(predictor.load_all(folders), image, valid)
    seen = valid.any(0)
    assert np.abs(shares[:, seen] - np.mean([s[:, seen] for _, s in each], 0)).max() <= 1.0
    assert (shares[:, ~seen] == NODATA).all()
    ranked = np.sort(shares, 0)
    clear = seen & (ranked[2] - ranked[1].astype(int) > 1)
    assert (classes[clear] == np.array(LEGEND.ids)[shares.argmax(0)][clear]).all()
    assert all((classes != own)[seen].any() for own, _ in each)


def test_models_that_cannot_agree_are_named(tmp_path: Path) -> None:
    one = untrained.make_model(tmp_path / "one")
    other = untrained.make_model(tmp_path / "other", bands=("red", "green"))
    legend = untrained.make_model(
        tmp_path / "legend", legend=replace(LEGEND, classes=LEGEND.classes[::-1])
    )
    for folder, what in ((other, "bands"), (legend, "legend")):
        with pytest.raises(InputError, match=f"differ in {what}"):
            predictor.load_all([one, folder])


def test_probabilities_are_kept_and_written_a_band_a_class(tmp_path: Path) -> None:
    folders = [untrained.make_model(tmp_path / f"m{seed}", seed) for seed in range(2)]
    model = package.join_models(
        [ModelRef(f.name, "1", f, package.model_checksum(f)) for f in folders]
    )
    assert (model.name, model.version) == ("m0+m1", "1+1")
    image, valid = texture(128, 128)
    key = write_chips(tmp_path, "0_0", cut_chips(image, valid, [(0, 0), (1, 0)], 64))
    (row,) = blocks.map_blocks([key], InferenceSpec(tmp_path, model, HOW))
    spec = class_map.RasterSpec(
        tmp_path, "run", TILING, LEGEND, 4, (Period("p"),), probabilities=True
    )
    key = {"key": "p/0_0", "fingerprint": "f", "path": "rasters/p/0_0/run_0_0.tif"}
    (made,) = rasters.write_group(key | {"paths": [row.path]}, spec)
    with rasterio.open(tmp_path / str(made.path)) as file:
        classes = file.read(1)
    with rasterio.open(tmp_path / layout.probabilities_raster(str(made.path))) as file:
        assert (file.count, file.nodata) == (3, NODATA)
        assert file.descriptions == tuple(c.name for c in LEGEND.classes)
        shares = file.read().astype(int)
    seen = classes != NODATA
    assert ((shares == NODATA).all(0) == ~seen).all()
    assert np.abs(shares.sum(0)[seen] - 100).max() <= 2
    chosen = np.take_along_axis(shares, LEGEND.to_index()[classes][None].clip(max=2), 0)[0]
    assert (chosen == shares.max(0))[seen].all()


def test_models_vote_and_tell_their_spread(tmp_path: Path) -> None:
    folders = [untrained.make_model(tmp_path / f"m{seed}", seed) for seed in range(3)]
    image, valid = texture(96, 80)
    each = [shares_of(predictor.load(folder), image, valid) for folder in folders]
    shares = np.full((3, *valid.shape[1:]), NODATA, np.uint8)
    voting = replace(HOW, combine="vote")
    classes, confidence = predictor.load_all(folders).segment(
        image, valid, *SCALING, voting, percents=shares
    )
    seen = valid.any(0)
    ids = np.array(LEGEND.ids)
    votes = np.stack([sum(own == class_id for own, _ in each) for class_id in ids])
    assert (np.abs(shares - 100 * votes / 3)[:, seen] <= 1).all()
    assert (classes == ids[votes.argmax(0)])[seen & (votes.max(0) > 1)].all()
    tied = seen & (votes.max(0) == 1)
    mean = np.mean([own for _, own in each], 0)
    ranked = np.sort(mean, 0)
    clear = tied & (ranked[2] - ranked[1] > 1)
    assert clear.any()
    assert (classes == ids[mean.argmax(0)])[clear].all()
    assert (confidence == shares.max(0)).all()


def test_the_spread_is_a_column_and_a_band(tmp_path: Path) -> None:
    folders = [untrained.make_model(tmp_path / f"m{seed}", seed) for seed in range(2)]
    refs = [ModelRef(f.name, "1", f, package.model_checksum(f)) for f in folders]
    model = package.join_models(refs)
    image, valid = texture(128, 128)
    key = write_chips(tmp_path, "0_0", cut_chips(image, valid, [(0, 0), (1, 0)], 64))
    settings = replace(HOW, spread=True)
    plain = InferenceSpec(tmp_path, model, HOW).fingerprint("f")
    assert InferenceSpec(tmp_path, model, settings).fingerprint("f") != plain
    (row,) = blocks.map_blocks([key], InferenceSpec(tmp_path, model, settings))
    percents = []
    for number, ref in enumerate(refs):
        of_model = key | {"fingerprint": f"of {number}"}
        (one,) = blocks.map_blocks([of_model], InferenceSpec(tmp_path, ref, HOW))
        tiles = store.read_rows(tmp_path / str(one.path))
        percents.append([arrays.array_from(tile, "probabilities").astype(int) for tile in tiles])
    for number, tile in enumerate(store.read_rows(tmp_path / str(row.path))):
        classes, spread = (arrays.array_from(tile, name) for name in ("classes", "spread"))
        seen = classes != NODATA
        positions = LEGEND.to_index()[classes].clip(max=2)[None]
        first, second = (np.take_along_axis(of[number], positions, 0)[0] for of in percents)
        # The standard deviation of two is half of what they differ by.
        assert np.abs(spread - np.abs(first - second) / 2)[seen].max() <= 1
        assert spread[seen].max() > 10
        assert (spread[~seen] == NODATA).all()
        assert tile["mean_spread"] == pytest.approx(spread[seen].mean() / 100)
        entropy, margin = measure_uncertainty(arrays.array_from(tile, "probabilities"))
        assert tile["mean_entropy"] == pytest.approx(entropy[seen].mean() / 100)
        assert tile["mean_margin"] == pytest.approx(margin[seen].mean() / 100)

    spec = class_map.RasterSpec(
        tmp_path, "run", TILING, LEGEND, 4, (Period("p"),), True, uncertainty=True, spread=True
    )
    key = {"key": "p/0_0", "fingerprint": "f", "path": "rasters/p/0_0/run_0_0.tif"}
    rasters.write_group(key | {"paths": [row.path]}, spec)
    with rasterio.open(tmp_path / layout.uncertainty_raster(key["path"])) as file:
        assert file.descriptions == ("entropy", "margin", "spread")
        bands = file.read()
    assert (bands[2, : spread.shape[0], -spread.shape[1] :] == spread).all()
    item = json.loads((tmp_path / layout.raster_item(key["path"])).read_text())
    for name, path in (
        ("uncertainty", layout.uncertainty_raster(key["path"])),
        ("probabilities", layout.probabilities_raster(key["path"])),
    ):
        asset = item["assets"][name]
        assert (tmp_path / "rasters/p/0_0" / asset["href"]).resolve() == tmp_path / path
        with rasterio.open(tmp_path / path) as file:
            names = list(file.descriptions)
        assert [band["name"] for band in asset["bands"]] == names

    alone = predictor.load_all(folders[:1])
    empty = alone.fill(_spread_maps(alone, image, valid), replace(settings, flips=False))
    with pytest.raises(InputError, match="of several models or mirror images"):
        list(empty)
    (flipped,) = alone.fill(_spread_maps(alone, image, valid), replace(settings, flips=True))
    assert flipped.spread is not None
    assert 0 < flipped.spread[valid.any(0)].max() <= 50


def _spread_maps(
    model: predictor.Predictor, image: np.ndarray, valid: np.ndarray
) -> list[PixelMap]:
    layers = np.full((2, *valid.shape[1:]), NODATA, np.uint8)
    ready = model.prepare(image, valid, *SCALING)
    return [make_pixel_map(ready, model.contract, 64, None, None, layers[0])]

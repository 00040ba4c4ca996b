"""Several models map as one by their mean; probabilities of every class can be kept and written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from lulc.config import Period, PredictConf
from lulc.errors import InputError
from lulc.inference import blocks, predictor
from lulc.inference.blocks import InferenceSpec
from lulc.legend import NODATA
from lulc.maps import class_map, rasters
from lulc.models import package
from lulc.models.package import ModelRef
from lulc.tables import layout
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
        assert [file.tags()[f"BAND_{n}"] for n in (1, 2, 3)] == [c.name for c in LEGEND.classes]
        shares = file.read().astype(int)
    seen = classes != NODATA
    assert ((shares == NODATA).all(0) == ~seen).all()
    assert np.abs(shares.sum(0)[seen] - 100).max() <= 2
    chosen = np.take_along_axis(shares, LEGEND.to_index()[classes][None].clip(max=2), 0)[0]
    assert (chosen == shares.max(0))[seen].all()

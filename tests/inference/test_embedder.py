"""Vectors of images: what the network itself computes, and what bands hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lulc.config import PredictConf
from lulc.errors import UsageError
from lulc.inference.embedder import BandEmbedder, EmbeddedImage, check_encoder, quantise
from lulc.inference.network_embedder import NetworkEmbedder
from lulc.inference.predictor import load
from lulc.models.package import ModelRef
from tests.helpers import untrained_model as untrained
from tests.helpers.synthetic_chips import texture

EXACT = PredictConf(precision="float32")


def image(side: int = 64, halo: int = 0, seed: int = 0) -> EmbeddedImage:
    pixels, valid = texture(side + 2 * halo, side + 2 * halo, seed=seed)
    core = slice(halo, halo + side), slice(halo, halo + side)
    return EmbeddedImage(pixels, valid, (1.0, 1.0), (0.0, 0.0), core)


def test_the_head_makes_the_map_of_the_pixels_vectors(tmp_path: Path) -> None:
    predictor = load(untrained.make_model(tmp_path / "model"))
    whole = image(96)
    vectors = NetworkEmbedder(predictor).map(whole, 1)
    head = predictor.net.get_submodule("segmentation_head")
    with torch.inference_mode():
        logits = head(torch.from_numpy(vectors)[None])[0]
    ids = np.array(predictor.contract.legend.ids)[logits.argmax(0).numpy()]
    classes, _ = predictor.segment(whole.pixels, whole.valid, (1.0, 1.0), (0.0, 0.0), EXACT)
    valid = whole.core_valid
    assert (ids == classes)[valid].mean() > 0.999


def test_every_nth_pixel_has_the_vector_that_it_has_among_all(tmp_path: Path) -> None:
    embedder = NetworkEmbedder(load(untrained.make_model(tmp_path / "model")))
    some, every = embedder.map(image(64, 16), 5), embedder.map(image(64, 16), 1)
    np.testing.assert_array_equal(some, every[:, 2::5, 2::5])


def test_a_tiles_vector_is_the_mean_of_the_encoders_features(tmp_path: Path) -> None:
    predictor = load(untrained.make_model(tmp_path / "model"))
    images = [image(64, seed=seed) for seed in range(3)]
    vectors = NetworkEmbedder(predictor).pool(images)
    assert vectors.dtype == np.float32
    for one, vector in zip(images, vectors, strict=True):
        assert one.valid.shape[0] == 1
        inputs = np.where(one.valid, (one.pixels[0] - untrained.MEAN) / untrained.STD, 0)
        with torch.inference_mode():
            maps = predictor.net.encoder(torch.from_numpy(inputs.astype("float32"))[None])
        weights = torch.nn.functional.adaptive_avg_pool2d(
            torch.from_numpy(one.valid[:, None].astype("float32")), maps[-1].shape[-2:]
        )
        expected = (maps[-1] * weights).sum((2, 3)) / weights.sum((2, 3))
        np.testing.assert_allclose(vector, expected[0].numpy(), rtol=1e-3, atol=1e-4)


def test_bands_that_are_an_embedding_are_the_vector() -> None:
    one = EmbeddedImage(
        np.arange(24, dtype="int16").reshape(1, 6, 2, 2),
        np.array([[[True, True], [True, False]]]),
        (1.0, 1.0, 0.5, 0.5, 1.0, 1.0),
        (0.0, 0.0, 1.0, 1.0, 0.0, 0.0),
        (slice(0, 2), slice(0, 2)),
    )
    embedder = BandEmbedder([2, 3])
    np.testing.assert_allclose(embedder.pool([one]), [[5.5, 7.5]])
    np.testing.assert_allclose(embedder.map(one, 1)[:, 0, 1], [5.5, 7.5])


def test_models_without_such_features_are_refused(tmp_path: Path) -> None:
    folder = untrained.make_model(tmp_path / "model")
    model = ModelRef("m", "1", folder, "x")
    assert check_encoder(model, ("red", "nir")).task == "segment"
    with pytest.raises(UsageError, match="is several"):
        check_encoder(ModelRef("m+n", "1+1", folder, "x", (model,)), ("red", "nir"))
    linear = untrained.make_model(tmp_path / "linear", model="linear", architecture={}, multiple=1)
    refusal = r"is of kind linear, which has no encoder.*embed\.model"
    with pytest.raises(UsageError, match=refusal):
        NetworkEmbedder(load(linear))
    # It is told before anything is started.
    with pytest.raises(UsageError, match=refusal):
        check_encoder(ModelRef("l", "1", linear, "x"), ("red", "nir"))


def test_int8_holds_the_direction_of_a_vector() -> None:
    vectors = np.random.default_rng(0).normal(size=(64, 500)).astype("float32")
    vectors[:, 0] = 0
    numbers = quantise(vectors).astype(float)
    assert (numbers[:, 0] == -128).all()
    units = vectors[:, 1:] / np.linalg.norm(vectors[:, 1:], axis=0)
    kept = numbers[:, 1:] * np.abs(numbers[:, 1:]) / 127.5**2
    cosines = (units * kept).sum(0) / np.linalg.norm(kept, axis=0)
    assert cosines.min() > 0.9998

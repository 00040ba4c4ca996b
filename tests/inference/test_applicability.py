"""Each tile tells how far it lies from what the model learned from, and far ones are warned of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lulc.errors import UsageError
from lulc.inference import blocks
from lulc.inference.blocks import InferenceSpec
from lulc.inference.predictor import load
from lulc.inference.suitability import training_distance
from lulc.location import parse_location
from lulc.maps.applicability import (
    count_far_tiles,
    describe_far_tiles,
    far_tiles_of_run,
)
from lulc.models import package
from lulc.models.package import ModelRef
from lulc.runfile import parse_run
from lulc.tables import store
from tests.helpers import untrained_model as untrained
from tests.helpers.synthetic_chips import EXACT, cut_chips, texture, write_chips


def test_the_distance_is_that_of_the_means_in_standard_deviations(tmp_path: Path) -> None:
    contract = load(untrained.make_model(tmp_path / "m", std=(500.0, 0.0))).contract
    assert contract.distance(contract.mean) == 0
    # A band in which the samples did not vary tells nothing.
    assert contract.distance([untrained.MEAN + 1000, 0]) == 2
    both = replace(contract, std=(500.0, 250.0))
    assert both.distance([untrained.MEAN + 500, untrained.MEAN - 250]) == pytest.approx(1)
    assert both.distance([untrained.MEAN + 1500, untrained.MEAN]) == pytest.approx(3 / 2**0.5)
    assert replace(contract, std=(0.0, 0.0)).distance([1.0, 2.0]) is None


def test_predictions_tell_it_and_far_tiles_are_warned_of(tmp_path: Path) -> None:
    folder = untrained.make_model(tmp_path / "m")
    model = ModelRef("m", "1", folder, package.model_checksum(folder))
    image, valid = texture(128, 128)
    image[..., 64:] += 6000  # beyond the right tiles' left edge nothing is as it was learned
    chips = cut_chips(image, valid, [(0, 0), (1, 0)], 64)
    key = write_chips(tmp_path, "0_0", chips)
    (row,) = blocks.map_blocks([key], InferenceSpec(tmp_path, model, EXACT))
    found = {
        tile["tile_id"]: tile["training_distance"]
        for tile in store.read_rows(tmp_path / str(row.path), ["tile_id", "training_distance"])
    }
    contract = load(folder).contract
    for chip in chips:
        rows, cols = chip.core
        pixels = np.moveaxis(chip.pixels[..., rows, cols][..., ::4, ::4], 1, -1)
        means = pixels[chip.valid[:, rows, cols][..., ::4, ::4]].mean(0)
        steps = (means * chip.scales + chip.offsets - contract.mean) / contract.std
        expected = np.sqrt((steps**2).mean())
        assert found[chip.tile_id] == pytest.approx(expected)
        assert training_distance(chip, [contract]) == found[chip.tile_id]
        farther = replace(contract, mean=(-1e5,) * 2)
        assert (training_distance(chip, [contract, farther]) or 0) > 100
    near, far = (found[chip.tile_id] for chip in chips)
    assert near < 3 < far
    footer = store.read_footer(tmp_path / str(row.path))
    assert (footer["tiles"], footer["far_tiles"], footer["farthest"]) == (2, 1, far)
    assert describe_far_tiles([footer, {}], 3).startswith("WARNING: 1 of 2 tiles looked at")
    assert not describe_far_tiles([count_far_tiles([near, None], 3)], 3)
    found_far = {"tiles": 2, "far_tiles": 1, "farthest": far}
    assert far_tiles_of_run(tmp_path, 3) == found_far
    assert far_tiles_of_run(tmp_path / "none", 3) is None
    clouded = replace(chips[0], valid=np.zeros_like(chips[0].valid))
    assert training_distance(clouded, [contract]) is None


def test_the_run_file_says_what_may_be_told(tmp_path: Path) -> None:
    run = {"name": "r", "scenes": [{"path": "a"}], "bands": ["red"], "legend": "common"}
    faults = {
        "spread is of several models or mirror images": {"predict": {"spread": True}},
        "rasters.uncertainty is of probabilities": {"rasters": {"uncertainty": True}},
        "predict.spread is of a class a pixel": {
            "task": "classify",
            "datasets": [{"name": "eurosat", "root": "x"}],
            "predict": {"spread": True, "flips": True},
        },
    }
    for message, keys in faults.items():
        with pytest.raises(UsageError, match=message):
            parse_run(run | keys, parse_location(tmp_path))
    spread = {"predict": {"spread": True, "model": "a+b"}, "rasters": {"uncertainty": True}}
    assert parse_run(run | spread, parse_location(tmp_path)).predict.spread

"""A training is another one when its settings, samples or files of weights are others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lulc.config import Config, TrainConf
from lulc.models.package import CONTRACT
from lulc.runfile import parse_run
from lulc.training.fingerprint import training_fingerprint


@pytest.fixture
def config(tmp_path: Path) -> Config:
    settings = {
        "name": "toy",
        "datasets": [{"name": "eurosat", "root": "."}],
        "legend": {1: {"name": "water", "colour": "#0000ff"}},
        "train": {"weights": "encoder.safetensors"},
    }
    return parse_run(settings, tmp_path)


def test_other_weights_under_the_same_path_are_another_training(
    config: Config, tmp_path: Path
) -> None:
    def fingerprint() -> str:
        return training_fingerprint(config, config.train, "samples")

    seen = {fingerprint()}
    changes = (
        ("encoder.safetensors", b"one"),
        ("encoder.safetensors", b"another"),
        ("encoder.yaml", b"bands: [red]"),
        (CONTRACT, b"{}"),
    )
    for count, (name, content) in enumerate(changes, 2):
        (tmp_path / name).write_bytes(content)
        seen.add(fingerprint())
        assert fingerprint() in seen
        assert len(seen) == count


def test_settings_and_samples_are_told_apart_and_names_of_weights_read_no_file(
    config: Config,
) -> None:
    trains = (
        config.train,
        TrainConf(),
        TrainConf(weights="imagenet"),
        replace(config.train, seed=9),
    )
    keys = {
        training_fingerprint(config, train, samples)
        for train in trains
        for samples in ("one", "another")
    }
    assert len(keys) == 2 * len(trains)

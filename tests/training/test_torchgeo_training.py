"""A network on a backbone of torchgeo is trained, packed and mapped with, without a network."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from lulc.errors import UsageError
from lulc.inference import predictor
from lulc.models.contract import Contract, write_contract
from lulc.models.package import CONTRACT, WEIGHTS
from lulc.training import setup
from lulc.training.fit import fit
from tests.helpers import tiny_samples as toy


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write_samples(tmp_path_factory.mktemp("samples"), training=4, validation=2, group=2)


@pytest.mark.parametrize(
    ("encoder", "settings", "trained"),
    [
        ("torchgeo:resnet18", {"trained_stages": 0}, "89,139 of the network's 769,075 weights"),
        (
            "torchgeo:swin_v2_t",
            {"lora": 2, "trained_stages": 1},
            "1,104,355 of the network's 1,337,545 weights",
        ),
        (
            "torchgeo:dofa_small_patch16_224",
            {"lora": 2},
            "486,003 of the network's 35,229,683 weights",
        ),
    ],
)
def test_two_steps_are_learned_and_a_scene_is_mapped(
    encoder: str,
    settings: dict[str, int],
    trained: str,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    job = toy.make_job(samples, tmp_path, encoder=encoder, epochs=1, batch=4, **settings)
    with caplog.at_level("INFO", "lulc"):
        plan, _ = setup.check_job(job)
    assert trained in caplog.text
    window = 0 if "resnet" in encoder else toy.SIDE
    assert (f"mapped in windows of {toy.SIDE} pixels" in caplog.text) == bool(window)
    assert ("red 0.665 µm, nir 0.842 µm" in caplog.text) == ("dofa" in encoder)
    result = fit(job)
    assert plan.steps * job.train.repeats == 2
    assert str(result.weight_count).startswith(trained)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(result.weights.read_bytes())
    contract = Contract(
        name="toy",
        task="segment",
        model="unet",
        architecture=job.architecture,
        bands=toy.BANDS,
        mean=result.mean,
        std=result.std,
        legend=toy.LEGEND,
        gsd_m=10.0,
        multiple=job.model.multiple(**job.architecture),
        size=toy.SIDE,
        window=job.fixed_window(load_file(result.weights), toy.SIDE),
    )
    assert contract.window == window
    write_contract(contract, folder / CONTRACT)
    scene = toy.make_sample(9)
    classes, confidence = predictor.load(folder).segment(
        scene["pixels"], scene["valid"], (toy.SCALE,) * 2, (toy.OFFSET,) * 2
    )
    is_mapped = scene["valid"].any(0)
    assert set(np.unique(classes[is_mapped])) <= {
        land_class.id for land_class in toy.LEGEND.classes
    }
    assert (confidence[is_mapped] <= 100).all()


def test_networks_that_take_no_such_encoder_say_which_do(samples: Path, tmp_path: Path) -> None:
    for settings in ({"encoder": "torchgeo:resnet18"}, {"lora": 2}):
        with pytest.raises(UsageError, match="is for models unet, upernet, classifier"):
            setup.check_job(toy.make_job(samples, tmp_path, model="segformer", **settings))

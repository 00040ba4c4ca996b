"""Pretrained weights of any bands: each band of a network gets the channel of its own name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lulc.datasets.descriptions import SENTINEL2_BANDS
from lulc.errors import InputError
from lulc.legend import COMMON
from lulc.models.contract import Contract, write_contract
from lulc.models.networks.pretrained import load_weights
from lulc.models.networks.registry import MODELS

S2 = tuple(SENTINEL2_BANDS)
CODES = ["B1", "B02", "B3", "B4", "B5", "B6", "B7", "B8", "B8a", "B9", "B10", "B11", "B12"]
CHOICES = (
    ("blue", "green", "red"),
    ("nir", "red", "green", "blue"),
    ("swir22", "swir16", "nir08", "nir", *S2[4:7], "red", "green", "blue"),
    tuple(reversed(S2)),
    (*S2[7:], *S2[:7]),
)


class Net(nn.Module):
    """A network whose encoder is one convolution."""

    def __init__(self, channels: int, bias: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(channels, 2, 3, bias=bias))

    @property
    def weight(self) -> Tensor:
        """The convolution's weight, (2, channels, 3, 3)."""
        return self.encoder[0].weight


def write_weights(path: Path, channels: int, bias: bool = False) -> Path:
    """Write weights whose channel i is i + 1 everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = torch.arange(1.0, channels + 1)[None, :, None, None]
    state = {"encoder.0.weight": numbers.expand(2, -1, 3, 3).contiguous()}
    if bias:
        state["encoder.0.bias"] = torch.zeros(2)
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def channel_of(net: Net, channels: int) -> list[float]:
    """Return the number that each band's channel was marked with."""
    weight = net.weight * (net.weight.shape[1] / channels)
    assert torch.equal(weight, weight[:1, :, :1, :1].expand_as(weight))
    return [round(number, 4) for number in weight[0, :, 0, 0].tolist()]


@pytest.mark.parametrize("bands", CHOICES, ids=[f"{len(b)} from {b[0]}" for b in CHOICES])
def test_every_band_gets_its_own_of_thirteen_channels(
    tmp_path: Path, bands: tuple[str, ...]
) -> None:
    own = [float(S2.index(band) + 1) for band in bands]
    for name, sidecar in (
        ("resnet50_sentinel2_all_moco-df8b932e.pth", None),
        ("by-name.safetensors", {"bands": list(S2)}),
        ("by-code.pth", {"bands": CODES, "sensor": "Sentinel-2"}),
    ):
        path = write_weights(tmp_path / name, 13)
        if sidecar:
            path.with_suffix(".json").write_text(json.dumps(sidecar))
        net = Net(len(bands))
        assert f"{', '.join(bands)} got their own" in load_weights(net, str(path), "any", bands)
        assert channel_of(net, 13) == own


def test_a_real_encoder_gets_them_too(tmp_path: Path) -> None:
    donor = MODELS["unet"].build(13, 2)
    path = tmp_path / "B13_rn18_moco_0099.safetensors"
    save_file({f"encoder.{k}": v for k, v in donor.encoder.state_dict().items()}, path)
    net, bands = MODELS["unet"].build(4, 2), ("nir", "red", "green", "blue")
    load_weights(net, str(path), "resnet18", bands)
    expected = donor.encoder.conv1.weight[:, [S2.index(band) for band in bands]] * 13 / 4
    assert torch.allclose(net.encoder.conv1.weight, expected)


def test_a_band_without_a_channel_begins_with_the_mean_of_all(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "sentinel2_resnet50_si_ms-1f454cc6.pth", 9)
    net = Net(3)
    told = load_weights(net, str(path), "any", ("vv", "red", "swir22"))
    assert "vv began with the mean of all 9" in told and "SatlasPretrain" in told
    assert channel_of(net, 9) == [5, 1, 9]
    # A change between two dates has every band twice.
    net = Net(6)
    load_weights(net, str(path), "any", ("vv", "red", "swir22"))
    assert channel_of(net, 9) == [5, 1, 9, 5, 1, 9]


@pytest.mark.parametrize(
    ("name", "count", "bands", "channels"),
    [
        ("resnet50-s2-v0.2.0/model.safetensors", 10, ("swir16", "nir08", "nir"), [9, 8, 7]),
        ("resnet50-s2-v0.1.1/model.safetensors", 10, ("swir16", "nir08", "nir"), [8, 10, 4]),
        ("B2_rn50_moco.pth", 2, ("vh", "vv"), [2, 1]),
        ("resnet18_landsat_oli_tirs_toa_moco-a3.pth", 11, ("lwir11", "nir08"), [10, 5]),
        ("unknown.pth", 3, ("nir", "blue", "red"), [2, 3, 1]),
    ],
)
def test_published_families_are_known_by_name(
    tmp_path: Path, name: str, count: int, bands: tuple[str, ...], channels: list[int]
) -> None:
    net = Net(len(bands))
    load_weights(net, str(write_weights(tmp_path / name, count)), "any", bands)
    assert channel_of(net, count) == channels


def test_what_the_weights_were_trained_on_is_honoured(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.pth", 2, bias=True)
    settings = "{bands: [red, nir], scale: 0.0001, mean: [1000, 2000], std: [500, 250]}"
    path.with_suffix(".yaml").write_text(settings)
    net = Net(2, bias=True)
    mean, std = (0.3, 0.2), (0.1, 0.02)
    load_weights(net, str(path), "any", ("nir", "red"), mean, std)
    physical = torch.rand(1, 2, 8, 8)
    seen = (physical - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    # What the weights themselves make of the same ground, in their numbers and order.
    own = Net(2, bias=True)
    own.load_state_dict(torch.load(path, weights_only=True))
    numbers = physical[:, [1, 0]] * 10_000
    means, stds = torch.tensor([1000.0, 2000.0]), torch.tensor([500.0, 250.0])
    expected = own.encoder((numbers - means[:, None, None]) / stds[:, None, None])
    assert torch.allclose(net.encoder(seen), expected, atol=1e-4)


def test_a_models_contract_tells_its_bands(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "weights.safetensors", 2)
    statistics = ((0.0, 0.0), (1.0, 1.0))
    contract = Contract("radar", "segment", "unet", {}, ("vv", "vh"), *statistics, COMMON, 10.0)
    write_contract(contract, tmp_path / "contract.json")
    net = Net(2)
    load_weights(net, str(path), "any", ("vh", "vv"))
    assert channel_of(net, 2) == [2, 1]


def test_channels_that_nothing_names_are_refused_or_told(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "unknown.pth", 10)
    with pytest.raises(InputError, match=r"10 input channels, the model 3 bands.*ends in \.json"):
        load_weights(Net(3), str(path), "any", ("red", "green", "blue"))
    net = Net(10)
    assert "in this order" in load_weights(net, str(path), "any", S2[:10])
    assert channel_of(net, 10) == [*range(1, 11)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{bands: [red]}", r"its bands are \['red'\]"),
        ("{bands: [red, red]}", "its bands are"),
        ("{bands: [red, nir], means: [1, 2]}", "means"),
        ("{bands: [red, nir], mean: 0.5}", "mean and std"),
        ("{bands: [red, nir], mean: 0, std: 0}", "std"),
        ("{bands: [red, nir", "unknown.json"),
        ("[red, nir]", "it"),
    ],
)
def test_a_sidecar_that_is_wrong_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = write_weights(tmp_path / "unknown.pth", 2)
    path.with_suffix(".json").write_text(text)
    with pytest.raises(InputError, match=rf"unknown\.json must hold `bands`.*{reason}"):
        load_weights(Net(2), str(path), "any", ("red", "nir"))

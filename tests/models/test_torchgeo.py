"""Backbones of torchgeo as encoders: maps, bands, adapters, held stages, weights by name."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lulc.datasets.descriptions import SENTINEL2_BANDS
from lulc.errors import InputError, SetupError, UsageError
from lulc.location import parse_location
from lulc.models.networks import torchgeo_weights
from lulc.models.networks.adapters import is_adapter, merge_adapters
from lulc.models.networks.architecture import wavelengths_of
from lulc.models.networks.pretrained import load_weights
from lulc.models.networks.registry import MODELS
from lulc.models.networks.torchgeo_backbones import SimplePyramid, torchgeo_models
from lulc.models.networks.torchgeo_weights import find_published
from lulc.models.networks.trained_parts import (
    count_weights,
    encoder_stages,
    hold_encoder,
    train_mode,
)
from lulc.models.networks.weight_bands import find_bands
from tests.helpers.tiny_backbones import use_tiny_backbones

BANDS = ("green", "red", "nir")
SENTINEL2 = tuple(SENTINEL2_BANDS)
DOFA = "torchgeo:dofa_small_patch16_224"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_backbones(monkeypatch)


def build(
    model: str, encoder: str, bands: tuple[str, ...] = BANDS, **architecture: object
) -> nn.Module:
    torch.manual_seed(0)
    if wavelengths := wavelengths_of(encoder, bands):
        architecture["wavelengths"] = wavelengths
    return MODELS[model].build(len(bands), 5, encoder=encoder, **architecture)


@pytest.mark.parametrize(
    ("model", "name", "depth"),
    [
        ("unet", "resnet18", 3),
        ("unet", "swin_v2_t", 3),
        ("classifier", "vit_small_patch14_dinov2", 5),
        ("classifier", "dofa_small_patch16_224", 5),
    ],
)
def test_a_backbone_of_full_size_learns(model: str, name: str, depth: int) -> None:
    check_learning(build(model, f"torchgeo:{name}", depth=depth), model, 32)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("model", "name", "depth"),
    [
        ("upernet", "resnet18", 5),
        ("unet", "resnet18", 5),
        ("classifier", "swin_v2_t", 5),
        ("upernet", "swin_v2_t", 5),
        ("unet", "swin_v2_t", 4),
        ("unet", "vit_small_patch16_224", 3),
        ("unet", "vit_small_patch14_dinov2", 5),
        ("upernet", "dofa_small_patch16_224", 5),
    ],
)
def test_every_weight_of_a_network_of_any_backbone_learns(
    model: str, name: str, depth: int
) -> None:
    check_learning(build(model, f"torchgeo:{name}", depth=depth), model, 64)


def check_learning(net: nn.Module, model: str, side: int) -> None:
    """Every weight that may learn has a gradient, and the output has its shape."""
    output = net(torch.rand(2, 3, side, side + 32))
    assert output.shape == ((2, 5) if model == "classifier" else (2, 5, side, side + 32))
    output.sum().backward()
    # Positions that are fixed are none that learn.
    idle = [k for k, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle


def test_a_backbone_that_is_none_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"'torchgeo:resnet19' is not a backbone.*resnet18"):
        build("unet", "torchgeo:resnet19")
    with pytest.raises(UsageError, match=r"'torchgeo:presto' gives no map.*dofa_base_patch16_224"):
        build("classifier", "torchgeo:presto")


@pytest.mark.parametrize(("model", "name"), [("unet", "swin_v2_t"), ("classifier", "dofa_base")])
def test_a_name_without_its_library_says_how_torchgeos_are_written(model: str, name: str) -> None:
    with pytest.raises(UsageError, match="a backbone of torchgeo is named torchgeo:NAME") as told:
        build(model, name)
    assert "supported encoders" not in str(told.value)


@pytest.mark.usefixtures("tiny")
def test_weights_that_are_not_there_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    net = build("classifier", "torchgeo:resnet18")
    missing = str(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"none\.safetensors is not there"):
        load_weights(net, missing, "torchgeo:resnet18", BANDS)
    with pytest.raises(UsageError, match=r"set train\.encoder to torchgeo:resnet18\.WEIGHTS"):
        load_weights(net, "imagenet", "torchgeo:resnet18", BANDS)
    donor = build("classifier", DOFA)
    state = {name: value.contiguous() for name, value in donor.encoder.net.state_dict().items()}
    save_file(state, tmp_path / "dofa.safetensors")
    with pytest.raises(InputError, match=r"does not fit encoder 'torchgeo:resnet18'.*conv1"):
        load_weights(net, str(tmp_path / "dofa.safetensors"), "torchgeo:resnet18", BANDS)


def test_without_torchgeo_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchgeo.models", None)
    monkeypatch.setitem(sys.modules, "torchgeo", None)
    with pytest.raises(SetupError, match=r"pip install 'lulc\[encoders\]'"):
        build("unet", "torchgeo:resnet18")


@pytest.mark.parametrize("patch", [14, 16])
def test_cells_of_any_patch_lie_where_the_image_has_them(patch: int) -> None:
    side = 96
    patches = -(-side // patch)
    centres = (torch.arange(patches) + 0.5) * patch
    tokens = centres.expand(1, 1, patches, patches)
    pyramid = SimplePyramid(1, patch, (1, 1, 1, 1))
    pyramid.smooth = nn.ModuleList(nn.Identity() for _ in pyramid.smooth)
    for reduce in pyramid.reduce:
        nn.init.ones_(reduce.weight)
        nn.init.zeros_(reduce.bias)
    _, *maps = pyramid([torch.zeros(1, 3, side, side), tokens])
    for level, found in enumerate(maps):
        stride = 4 << level
        expected = (torch.arange(side // stride) + 0.5) * stride
        inner = (expected > patch) & (expected < side - patch)
        assert found.shape[-2:] == (side // stride, side // stride)
        assert torch.allclose(found[0, 0, 0][inner], expected[inner], atol=1e-3)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("encoder", [DOFA, "torchgeo:panopticon_vitb14"])
def test_bands_are_taken_by_their_wavelengths_in_any_order(encoder: str) -> None:
    bands = ("vv", "vh", "red")
    net = build("classifier", encoder, bands).eval()
    other = build("classifier", encoder, bands[::-1]).eval()
    other.load_state_dict(net.state_dict())
    image = torch.rand(1, 3, 32, 48)
    assert torch.allclose(net(image), other(image.flip(1)), atol=1e-5)
    assert not torch.allclose(net(image), other(image), atol=1e-5)
    with pytest.raises(UsageError, match="elevation has none"):
        wavelengths_of(encoder, ("red", "elevation"))
    assert wavelengths_of("resnet18", ("red", "elevation")) == []


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("encoder", ["torchgeo:swin_v2_t", "torchgeo:vit_small_patch16_224", DOFA])
def test_adapters_alone_learn_and_then_become_part_of_the_weights(encoder: str) -> None:
    net = build("classifier", encoder, lora=4)
    plain = build("classifier", encoder)
    hold_encoder(net, None, 4)
    learning = [name for name, parameter in net.named_parameters() if parameter.requires_grad]
    assert all(is_adapter(name) or name.startswith("head.") for name in learning)
    adapted = [
        m for m in net.modules() if isinstance(m, nn.Linear) and hasattr(m, "parametrizations")
    ]
    added = sum(4 * sum(module.weight.shape) for module in adapted)
    count = count_weights(net)
    assert count.all == count_weights(plain).all + added
    assert count.trained == added + sum(p.numel() for p in net.head.parameters())
    assert str(count).startswith(f"{count.trained:,} of the network's {count.all:,} weights (")
    train_mode(net)
    image = torch.rand(2, 3, 64, 64)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for _ in range(2):
        net(image).square().sum().backward()
        optimizer.step()
    changed = {k for k, value in net.state_dict().items() if not torch.equal(value, before[k])}
    assert any(name.endswith(".up") for name in changed)
    assert all(is_adapter(name) or name.startswith("head.") for name in changed)
    net.eval()
    expected = net(image)
    merge_adapters(net)
    assert net.state_dict().keys() == plain.state_dict().keys()
    assert torch.allclose(net(image), expected, atol=1e-4)


@pytest.mark.usefixtures("tiny")
def test_an_encoder_without_linear_layers_takes_no_adapters() -> None:
    with pytest.raises(UsageError, match=r"train\.lora 4.*trained_stages"):
        build("unet", "torchgeo:resnet18", lora=4)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("encoder", "count"), [("torchgeo:resnet18", 5), ("resnet18", 6), ("torchgeo:swin_v2_t", 5)]
)
def test_only_the_last_stages_learn(encoder: str, count: int) -> None:
    net = build("unet", encoder)
    stages = encoder_stages(net)
    assert len(stages) == count
    hold_encoder(net, 1, 0)
    assert all(parameter.requires_grad for parameter in stages[-1])
    assert not any(parameter.requires_grad for stage in stages[:-1] for parameter in stage)
    train_mode(net)
    held = [
        module
        for module in net.encoder.modules()
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad
    ]
    assert not any(norm.training for norm in held)
    assert net.segmentation_head.training
    hold_encoder(net, 0, 0)
    assert not any(parameter.requires_grad for parameter in net.encoder.parameters())


def test_the_bands_of_published_weights_are_those_that_torchgeo_says() -> None:
    models = torchgeo_models()
    checked = 0
    for name in models.list_models():
        if not name.startswith(("resnet", "swin", "vit")):
            continue
        for weights in models.get_model_weights(name):
            published = find_published(f"torchgeo:{name}.{weights.name}")
            assert published is not None
            assert published.licence or "FMOW" in weights.name or "CITYSCAPES" in weights.name
            codes = weights.meta.get("bands")
            known = find_bands(parse_location(published.file_name), weights.meta["in_chans"])
            if codes is None or not weights.name.startswith("SENTINEL"):
                continue
            assert known is not None, weights
            expected = {re.sub(r"^B0?", "", code): band for band, code in SENTINEL2_BANDS.items()}
            bare = [re.sub(r"^B0?", "", code.upper()) for code in codes]
            assert list(known.bands) == [expected.get(code, code.lower()) for code in bare], weights
            checked += 1
    assert checked > 20


def recognisable(net: nn.Module, first: str) -> dict[str, Tensor]:
    """Weights of the network's encoder, channel i of its first convolution i + 1 throughout."""
    state = {name: value.contiguous() for name, value in net.encoder.net.state_dict().items()}
    for channel in range(state[first].shape[1]):
        state[first][:, channel] = channel + 1.0
    return state


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("name", "weights", "first"),
    [
        ("resnet18", "SENTINEL2_ALL_MOCO", "conv1.weight"),
        ("vit_small_patch16_224", "SENTINEL2_ALL_MOCO", "patch_embed.proj.weight"),
    ],
)
def test_a_local_file_gives_each_band_its_own_channel(
    name: str, weights: str, first: str, tmp_path: Path
) -> None:
    encoder = f"torchgeo:{name}.{weights}"
    donor = build("classifier", encoder, SENTINEL2)
    save_file(recognisable(donor, first), tmp_path / "mine.safetensors")
    for lora in (0, 4) if name.startswith("vit") else (0,):
        net = build("classifier", encoder, lora=lora)
        told = load_weights(net, str(tmp_path / "mine.safetensors"), encoder, BANDS)
        assert "green, red, nir got their own" in told
        loaded = net.encoder.net.get_parameter(first)[0, :, 0, 0] * len(BANDS) / len(SENTINEL2)
        assert loaded.tolist() == pytest.approx([SENTINEL2.index(band) + 1 for band in BANDS])


@pytest.mark.usefixtures("tiny")
def test_the_scale_of_the_weights_is_kept_where_the_input_is_standardised(tmp_path: Path) -> None:
    encoder = "torchgeo:resnet18.SENTINEL2_ALL_MOCO"
    donor = build("classifier", encoder, SENTINEL2).eval()
    save_file(
        {name: value.contiguous() for name, value in donor.encoder.net.state_dict().items()},
        tmp_path / "mine.safetensors",
    )
    mean = torch.linspace(0.1, 0.4, len(SENTINEL2))
    std = torch.linspace(0.02, 0.1, len(SENTINEL2))
    net = build("classifier", encoder, SENTINEL2).eval()
    load_weights(
        net, str(tmp_path / "mine.safetensors"), encoder, SENTINEL2, mean.tolist(), std.tolist()
    )
    # Reflectance itself is what these weights were trained on. Beyond the border are zeros, which
    # mean another value: the inner cells are compared.
    reflectance = torch.rand(1, len(SENTINEL2), 64, 64)
    standardised = (reflectance - mean[:, None, None]) / std[:, None, None]
    found = net.encoder(standardised)[1]
    expected = donor.encoder(reflectance)[1]
    inner = (..., slice(4, -4), slice(4, -4))
    assert torch.allclose(found[inner], expected[inner], atol=1e-3)


def test_weights_by_name_say_their_licence_and_where_they_are_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    published = find_published("torchgeo:dofa_base_patch16_224.DOFA_MAE")
    assert published is not None
    assert "licence CC-BY-4.0" in published.describe()
    with pytest.raises(UsageError, match=r"it has: .*SENTINEL2_ALL_MOCO"):
        find_published("torchgeo:resnet18.SENTINEL3")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", _no_network)
    with pytest.raises(SetupError, match=r"fetch http.*and give the file as train\.weights"):
        torchgeo_weights.fetch_published(published)


def _no_network(*_: object, **__: object) -> None:
    raise socket.gaierror("no network")


def test_a_server_that_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torchgeo_weights, "_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/w.pth"
        weights = torchgeo_weights.PublishedWeights("W", address, "", "")
        with pytest.raises(SetupError, match="timed out"):
            torchgeo_weights.fetch_published(weights)
    assert socket.getdefaulttimeout() is None
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.usefixtures("tiny")
def test_stored_numbers_are_not_taken_for_reflectance(tmp_path: Path) -> None:
    encoder = "torchgeo:resnet18.SENTINEL2_ALL_MOCO"
    donor = build("classifier", encoder, SENTINEL2)
    save_file(recognisable(donor, "conv1.weight"), tmp_path / "mine.safetensors")
    net = build("classifier", encoder)
    path = str(tmp_path / "mine.safetensors")
    told = load_weights(net, path, encoder, BANDS, [900.0] * 3, [300.0] * 3)
    assert "green, red, nir are of another quantity" in told
    assert float(net.encoder.net.conv1.weight.abs().max()) < 100

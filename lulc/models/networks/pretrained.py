"""Pretrained weights of an encoder, from a local file or by name, for any bands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lulc.errors import InputError, SetupError, UsageError
from lulc.location import parse_location
from lulc.models.networks.smp import smp, timm
from lulc.tables.files import local_copy

_RGB = ("red", "green", "blue")

# What other projects put before the names of an encoder's weights.
_PREFIX = re.compile(r"^(module|model|net|backbone|encoder|state_dict)\.")


def load_weights(net: nn.Module, source: str, encoder: str, bands: Sequence[str]) -> None:
    """Load pretrained weights into the network's encoder.

    Args:
        net: a network with an encoder.
        source: a .safetensors, .pt or .pth file (read without pickle's code), or the name of
            published weights, such as `imagenet`, which are downloaded.
        encoder: the encoder's name.
        bands: names of the network's bands, in order.

    Raises:
        UsageError: the network has no encoder.
        InputError: the weights cannot be read, or are those of another encoder.
        SetupError: the weights cannot be downloaded.
    """
    module = encoder_of(net)
    state = module.state_dict()
    weights = {_bare_name(name): value for name, value in _read(source, encoder, module).items()}
    first = next(name for name, value in state.items() if value.ndim == 4)
    if first in weights and weights[first].shape[1] != state[first].shape[1]:
        # A network that sees two dates as one image has the bands twice.
        repeats = state[first].shape[1] // len(bands)
        weights[first] = adapt(weights[first], tuple(bands) * repeats)
    fitting = {
        name: value
        for name, value in weights.items()
        if name in state and value.shape == state[name].shape
    }
    missing = [name for name, value in state.items() if name not in fitting and value.ndim > 1]
    if missing:
        shape = tuple(state[missing[0]].shape)
        raise InputError(
            f"train.weights {source} does not fit encoder {encoder!r}: {len(missing)} of the "
            f"encoder's weights are missing or have another shape, such as {missing[0]} {shape}; "
            "give weights of that encoder, or set train.encoder to the one they are of"
        )
    module.load_state_dict(fitting, strict=False)


def encoder_of(net: nn.Module) -> nn.Module:
    """Return the module of a network that makes features of images.

    Raises:
        UsageError: the network has none.
    """
    if not isinstance(getattr(net, "encoder", None), nn.Module):
        raise UsageError(
            "train.weights, frozen and encoder_rate are for networks with an encoder: "
            "choose another train.model"
        )
    return net.get_submodule("encoder")


def adapt(weight: Tensor, bands: Sequence[str]) -> Tensor:
    """Adapt the first convolution to other bands, its strength unchanged.

    Args:
        weight: (O, C, k, k); three channels are taken for red, green and blue.
        bands: names of the new bands, in order.

    Returns:
        (O, len(bands), k, k): red, green and blue get the channels of their names, every other band
        the mean of all channels; scaled by C over the number of bands.
    """
    mean = weight.mean(1)
    is_rgb = weight.shape[1] == len(_RGB)
    by_band = {name: weight[:, i] for i, name in enumerate(_RGB)} if is_rgb else {}
    adapted = torch.stack([by_band.get(band, mean) for band in bands], 1)
    return adapted * (weight.shape[1] / len(bands))


def _bare_name(name: str) -> str:
    while _PREFIX.match(name):
        name = _PREFIX.sub("", name)
    return name


def _read(source: str, encoder: str, module: nn.Module) -> Mapping[str, Tensor]:
    path = parse_location(source)
    try:
        if path.suffix == ".safetensors" or path.exists():
            with local_copy(path) as copy:
                return _read_file(copy)
    except Exception as error:
        raise InputError(
            f"train.weights {source} cannot be read as weights alone ({str(error)[:200]})"
        ) from error
    if path.suffix or "/" in source:
        raise InputError(
            f"train.weights {source} is not there: give a .safetensors, .pt or .pth file, "
            "or the name of weights"
        )
    return _download(source, encoder, module)


def _read_file(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    state: Mapping[str, Tensor] = checkpoint.get("state_dict", checkpoint)
    return state


def _download(source: str, encoder: str, module: nn.Module) -> Mapping[str, Tensor]:
    try:
        if isinstance(module, smp.encoders._base.EncoderMixin):
            pretrained = smp.encoders.get_encoder(encoder, weights=source)
        else:
            name = encoder if source == "imagenet" else f"{encoder}.{source}"
            pretrained = timm.create_model(name, pretrained=True, num_classes=0)
        state: Mapping[str, Tensor] = pretrained.state_dict()
        return state
    except Exception as error:
        raise SetupError(
            f"train.weights {source!r} of {encoder!r} cannot be fetched "
            f"({str(error).splitlines()[0][:200]}): without a network give a file that holds them"
        ) from error

"""Weights that a network begins with: from a local file, or by name where the network is reachable; for any bands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lulc.errors import InputError, SetupError, UsageError
from lulc.models.networks.smp import smp, timm

_RGB = ("red", "green", "blue")

# What others put before the names of an encoder's weights.
_PREFIX = re.compile(r"^(module|model|net|backbone|encoder|state_dict)\.")


def load_weights(net: nn.Module, source: str, encoder: str, bands: Sequence[str]) -> None:
    """Nothing; the network's encoder has the weights when it returns.

    source: a .safetensors, .pt or .pth file (read without pickle's code), or the name of published weights, such as `imagenet`,
    which are fetched. InputError when they are those of another encoder, SetupError when they cannot be fetched.
    """
    own = encoder_of(net)
    found = {_bare(name): value for name, value in _read(source, encoder, own).items()}
    wanted = own.state_dict()
    first = next(name for name, value in wanted.items() if value.ndim == 4)
    if first in found and found[first].shape[1] != wanted[first].shape[1]:
        # A network that sees two dates as one image has the bands twice.
        found[first] = adapt(found[first], tuple(bands) * (wanted[first].shape[1] // len(bands)))
    fits = {
        name: value
        for name, value in found.items()
        if name in wanted and value.shape == wanted[name].shape
    }
    lacks = [name for name, value in wanted.items() if name not in fits and value.ndim > 1]
    if lacks:
        raise InputError(
            f"train.weights {source} does not fit encoder {encoder!r}: it lacks {len(lacks)} of its weights, such as {lacks[0]} "
            f"{tuple(wanted[lacks[0]].shape)}; give weights of that encoder, or train.encoder the one they are of"
        )
    own.load_state_dict(fits, strict=False)


def encoder_of(net: nn.Module) -> nn.Module:
    """The part of a network that makes features of images; UsageError where it has none."""
    if not isinstance(getattr(net, "encoder", None), nn.Module):
        raise UsageError(
            "train.weights, frozen and encoder_rate are for networks with an encoder: choose another train.model"
        )
    return net.get_submodule("encoder")


def adapt(weight: Tensor, bands: Sequence[str]) -> Tensor:
    """The first convolution (O, C, k, k) for other bands than it learned on, of the same strength.

    Of three channels they are taken for red, green and blue, which go to the bands of these names; every other band gets their
    mean, as do all where there is no such band. What comes out is scaled by C over the number of bands.
    """
    mean = weight.mean(1)
    named = {name: weight[:, i] for i, name in enumerate(_RGB)} if weight.shape[1] == 3 else {}
    return torch.stack([named.get(band, mean) for band in bands], 1) * (
        weight.shape[1] / len(bands)
    )


def _bare(name: str) -> str:
    while _PREFIX.match(name):
        name = _PREFIX.sub("", name)
    return name


def _read(source: str, encoder: str, own: nn.Module) -> Mapping[str, Tensor]:
    path = Path(source)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.exists():
            found = torch.load(path, map_location="cpu", weights_only=True)
            inner: Mapping[str, Tensor] = found.get("state_dict", found)
            return inner
    except Exception as error:
        raise InputError(
            f"train.weights {source} cannot be read as weights alone ({str(error)[:200]})"
        ) from error
    if path.suffix or "/" in source:
        raise InputError(
            f"train.weights {source} is not there: give a .safetensors, .pt or .pth file, or the name of weights"
        )
    try:
        if isinstance(own, smp.encoders._base.EncoderMixin):
            fetched = smp.encoders.get_encoder(encoder, weights=source)
        else:
            fetched = timm.create_model(
                encoder if source == "imagenet" else f"{encoder}.{source}",
                pretrained=True,
                num_classes=0,
            )
        state: Mapping[str, Tensor] = fetched.state_dict()
        return state
    except Exception as error:
        raise SetupError(
            f"train.weights {source!r} of {encoder!r} cannot be fetched ({str(error).splitlines()[0][:200]}): without a network "
            "give a file that holds them"
        ) from error

"""Pretrained weights of an encoder, from a local file or by name, for any bands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lulc.errors import InputError, SetupError, UsageError
from lulc.location import parse_location
from lulc.models.networks.adapters import is_adapter, unadapted
from lulc.models.networks.architecture import TORCHGEO
from lulc.models.networks.smp import smp, timm
from lulc.models.networks.torchgeo_backbones import split_name
from lulc.models.networks.torchgeo_weights import fetch_published, find_published
from lulc.models.networks.weight_bands import WeightBands, describe_choice, find_bands
from lulc.tables.files import local_copy

# Standard deviations of the weights' numbers that a band's mean may lie from theirs.
_FARTHEST = 10

# Of the norm after a ResNet's first convolution.
_FIRST_MEAN = "bn1.running_mean"

# What other projects put before the names of an encoder's weights.
_PREFIX = re.compile(r"^(module|model|net|backbone|encoder|encoder_q|vision_encoder|state_dict)\.")


def load_weights(
    net: nn.Module,
    source: str | None,
    encoder: str,
    bands: Sequence[str],
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> str:
    """Load pretrained weights into the network's encoder; each band gets the channel of its name.

    Args:
        net: a network with an encoder.
        source: a .safetensors, .pt or .pth file (read without pickle's code), or the name of
            published weights, such as `imagenet`, which are downloaded. None: those that the
            encoder's name asks for, if any.
        encoder: the encoder's name.
        bands: names of the network's bands, in order.
        mean: physical values that the network's input is standardised with, one a band.
        std: as `mean`.

    Returns:
        A sentence that says which bands got which channels; empty where no weights are loaded, or
        the encoder takes any bands as they are.

    Raises:
        UsageError: the network has no encoder, or there are no published weights of that name.
        InputError: the weights cannot be read, are those of another encoder, or nothing tells which
            band a channel is of.
        SetupError: the weights cannot be downloaded.
    """
    published = find_published(encoder)
    if source is None:
        if published is None:
            return ""
        source = str(fetch_published(published))
    module = encoder_of(net)
    names = {
        _bare_name(unadapted(name)): name for name in module.state_dict() if not is_adapter(name)
    }
    state = {bare: module.state_dict()[name] for bare, name in names.items()}
    weights = {_bare_name(name): value for name, value in _read(source, encoder, module).items()}
    first = next((name for name, value in state.items() if value.ndim == 4), None)
    choice = ""
    if first in weights:
        wanted, channels = state[first].shape[1], weights[first].shape[1]
        known = find_bands(parse_location(source), channels)
        if known is None and published is not None:
            known = find_bands(parse_location(published.file_name.partition(".")[0]), channels)
        statistics = (mean, std)
        choice = _give_channels(weights, first, wanted, source, known, bands, statistics)
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
    module.load_state_dict({names[bare]: value for bare, value in fitting.items()}, strict=False)
    return choice


def _give_channels(
    weights: dict[str, Tensor],
    first: str,
    wanted: int,
    source: str,
    known: WeightBands | None,
    bands: Sequence[str],
    statistics: tuple[Sequence[float], Sequence[float]],
) -> str:
    """Adapt the first convolution to the network's bands, in place.

    Args:
        weights: by name.
        first: name of the first convolution's weight.
        wanted: channels of the network's first convolution; a network that sees two dates as one
            image has the bands twice.
        source: the weights, as the run file names them.
        known: what is known of their channels.
        bands: of one date.
        statistics: mean and std of the network's input, one a band.

    Returns:
        A sentence that says which bands got which channels.
    """
    channels = weights[first].shape[1]
    if known is None and channels in (len(bands), wanted):
        weights[first] = weights[first].repeat(1, wanted // channels, 1, 1) * (channels / wanted)
        return (
            f"train.weights {source} names no bands: its {channels} channels are taken for "
            f"{', '.join(bands)}, in this order; if they are others, name them in a file beside it "
            f'that ends in .json, as {{"bands": […]}}'
        )
    if known is None:
        raise InputError(
            f"train.weights {source} has {channels} input channels, the model {len(bands)} bands, "
            f"and nothing tells which is which: write the channels' bands in order, as "
            '{"bands": ["blue", …]}, to a file of the same name that ends in .json'
        )
    other = _of_other_quantity(known, bands, *statistics)
    if other:
        known = replace(known, mean=(), std=())
    repeats = wanted // len(bands)
    mean, std = (tuple(values) * repeats for values in statistics)
    adapted, shift = adapt(weights[first], tuple(bands) * repeats, known, mean, std)
    weights[first] = adapted
    bias = f"{first.removesuffix('weight')}bias"
    if bias in weights:
        weights[bias] = weights[bias] + shift
    elif first == "conv1.weight" and _FIRST_MEAN in weights:  # its norm, held or not
        weights[_FIRST_MEAN] = weights[_FIRST_MEAN] - shift
    choice = describe_choice(known, bands, source)
    if other:
        choice += f"; not scaled, as values of {', '.join(other)} are of another quantity"
    return choice


def _of_other_quantity(
    known: WeightBands, bands: Sequence[str], mean: Sequence[float], std: Sequence[float]
) -> list[str]:
    # Bands whose values cannot be those that the weights were trained on: stored numbers, such as
    # 0 to 10,000, in place of reflectance.
    if not (known.std and std):
        return []
    positions = {name: i for i, name in enumerate(known.bands)}
    distances = {
        band: abs(value - known.mean[positions[band]]) / known.std[positions[band]]
        for band, value in zip(bands, mean, strict=True)
        if band in positions
    }
    return [band for band, distance in distances.items() if distance > _FARTHEST]


def encoder_of(net: nn.Module) -> nn.Module:
    """Return the module of a network that makes features of images.

    Raises:
        UsageError: the network has none.
    """
    if not isinstance(getattr(net, "encoder", None), nn.Module):
        raise UsageError(
            "train.weights, frozen, encoder_rate and trained_stages are for networks with an "
            "encoder: choose another train.model"
        )
    return net.get_submodule("encoder")


def adapt(
    weight: Tensor,
    bands: Sequence[str],
    known: WeightBands,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:
    """Adapt the first convolution to other bands, its strength unchanged.

    A band gets the channel of its name, every other the mean of all channels. Where it is known
    what the weights were trained on, a channel is multiplied by the standard deviation that the
    network's input is divided by over the one that the weights' was, so that it sees the same
    differences; the others are multiplied by the mean of these factors.

    Args:
        weight: (O, C, k, k).
        bands: names of the new bands, in order.
        known: bands and numbers of the C channels.
        mean: physical values that the network's input is standardised with, one a band; none, and
            the numbers are left out of account.
        std: as `mean`.

    Returns:
        (O, len(bands), k, k), scaled by C over the number of bands; and what the convolution's
        bias, where it has one, must be raised by for the other means, (O,). Without a bias the
        batch norm that follows removes the difference.
    """
    average, strength = weight.mean(1), weight.shape[1] / len(bands)
    positions = {name: i for i, name in enumerate(known.bands)}
    factors: dict[int, float] = {}
    shift = weight.new_zeros(weight.shape[0])
    if known.std and std:
        for number, band in enumerate(bands):
            if (channel := positions.get(band)) is not None:
                factors[number] = std[number] / known.std[channel]
                difference = (mean[number] - known.mean[channel]) / known.std[channel]
                shift += weight[:, channel].sum((1, 2)) * difference * strength
    usual = sum(factors.values()) / len(factors) if factors else 1.0
    adapted = [
        (weight[:, positions[band]] if band in positions else average) * factors.get(number, usual)
        for number, band in enumerate(bands)
    ]
    return torch.stack(adapted, 1) * strength, shift


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
    except FileNotFoundError:
        pass
    except Exception as error:
        raise InputError(
            f"train.weights {source} cannot be read as weights alone ({str(error)[:200]})"
        ) from error
    if path.suffix or "/" in source:
        raise InputError(
            f"train.weights {source} is not there: give a .safetensors, .pt or .pth file, "
            "or the name of weights"
        )
    if encoder.startswith(TORCHGEO):
        raise UsageError(
            f"train.weights {source!r} is no file, and weights of torchgeo are named in the "
            f"encoder: set train.encoder to {TORCHGEO}{split_name(encoder)[0]}.WEIGHTS, and leave "
            "train.weights out or give a file"
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

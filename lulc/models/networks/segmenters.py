"""DeepLabv3+, UPerNet and SegFormer with any encoder; weights from the seed, no download."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from lulc.models.networks.adapters import add_adapters
from lulc.models.networks.architecture import TORCHGEO
from lulc.models.networks.encoders import encoder_errors
from lulc.models.networks.model import Model
from lulc.models.networks.smp import smp
from lulc.models.networks.torchgeo_decoders import make_upernet
from lulc.models.networks.unet import add_dropout


def _build(
    architecture: Callable[..., nn.Module],
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    dropout: float = 0.0,
    **_: Any,
) -> nn.Module:
    """Build the network; UsageError where there is no such encoder.

    dropout: share of the last feature maps left out in training.
    """
    with encoder_errors(encoder):
        net = architecture(encoder, encoder_weights=None, in_channels=in_channels, classes=classes)
    return add_dropout(net, dropout)


def _build_upernet(
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    dropout: float = 0.0,
    lora: int = 0,
    wavelengths: Sequence[float] = (),
    **_: Any,
) -> nn.Module:
    """Build UPerNet; UsageError where there is no such encoder.

    dropout: share of the last feature maps left out in training; lora: rank of the encoder's
    adapters, 0: none; wavelengths: of the bands in µm.
    """
    if encoder.startswith(TORCHGEO):
        net = add_dropout(make_upernet(encoder, in_channels, classes, wavelengths), dropout)
    else:
        net = _build(smp.UPerNet, in_channels, classes, encoder=encoder, dropout=dropout)
    if lora:
        add_adapters(net.get_submodule("encoder"), lora)
    return net


def _multiple(**_: object) -> int:
    """Return 32: these encoders halve the image five times."""
    return 32


# Chen et al. 2018, arXiv:1802.02611; Xiao et al. 2018, arXiv:1807.10221; Xie et al. 2021,
# arXiv:2105.15203 (its decoder).
DEEPLAB = Model("deeplabv3plus", ("segment",), partial(_build, smp.DeepLabV3Plus), _multiple)
UPERNET = Model("upernet", ("segment",), _build_upernet, _multiple)
SEGFORMER = Model("segformer", ("segment",), partial(_build, smp.Segformer), _multiple)

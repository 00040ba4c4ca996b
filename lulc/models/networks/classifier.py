"""Networks of timm for whole images, by name, for any bands; weights from the seed, no download."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lulc.errors import UsageError
from lulc.models.networks.adapters import add_adapters
from lulc.models.networks.architecture import TORCHGEO
from lulc.models.networks.encoders import TORCHGEO_NAMES
from lulc.models.networks.model import Model
from lulc.models.networks.smp import timm
from lulc.models.networks.torchgeo_backbones import build_backbone


class Classifier(nn.Module):
    """An encoder that makes one vector of an image of any size, and a linear head.

    Of an encoder that makes maps it is the mean of the last.
    """

    def __init__(self, encoder: Any, classes: int, dropout: float, shrink: int) -> None:
        super().__init__()
        features = getattr(encoder, "head_hidden_size", encoder.num_features)
        self.shrink = nn.AvgPool2d(shrink) if shrink > 1 else nn.Identity()
        self.encoder = encoder
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, classes))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K) of an image (N, C, H, W)."""
        features = self.encoder(self.shrink(image))
        vector = features[-1].mean((2, 3)) if isinstance(features, list) else features
        logits: torch.Tensor = self.head(vector)
        return logits


def _build(
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    dropout: float = 0.0,
    shrink: int = 1,
    lora: int = 0,
    wavelengths: Sequence[float] = (),
    **_: Any,
) -> nn.Module:
    """Build the network; UsageError where there is none of that name.

    dropout: share of the last features left out in training; shrink: side in pixels of the squares
    whose mean the network sees; lora: rank of the encoder's adapters, 0: none; wavelengths: of the
    bands in µm.
    """
    if encoder.startswith(TORCHGEO):
        net: Any = build_backbone(encoder, in_channels, wavelengths=wavelengths)
    else:
        net = _make_encoder(encoder, in_channels)
    if lora:
        add_adapters(net, lora)
    return Classifier(net, classes, dropout, shrink)


def _make_encoder(encoder: str, in_channels: int) -> Any:
    if not timm.is_model(encoder):
        similar = difflib.get_close_matches(encoder, timm.list_models(), 3)
        similar = similar or ["resnet18", "efficientnet_b0", "convnext_nano"]
        raise UsageError(
            f"train.encoder {encoder!r} is not a network of timm; "
            f"similar names: {', '.join(similar)}; {TORCHGEO_NAMES}"
        )
    settings = {"pretrained": False, "in_chans": in_channels, "num_classes": 0}
    try:
        return timm.create_model(encoder, **settings, dynamic_img_size=True, dynamic_img_pad=True)
    except TypeError:  # only vision transformers have settings of the image size
        return timm.create_model(encoder, **settings)


def _multiple(**_: object) -> int:
    """Return 1: images of any size are taken."""
    return 1


CLASSIFIER = Model("classifier", ("classify", "multilabel"), _build, _multiple)

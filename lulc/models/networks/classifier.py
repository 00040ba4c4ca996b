"""Networks of timm for whole images, by name, for any bands; weights from the seed, no download."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import nn

from lulc.errors import UsageError
from lulc.models.networks.model import Model
from lulc.models.networks.smp import timm


class Classifier(nn.Module):
    """An encoder that makes one vector of an image of any size, and a linear head."""

    def __init__(self, encoder: Any, classes: int, dropout: float, shrink: int) -> None:
        super().__init__()
        features = getattr(encoder, "head_hidden_size", encoder.num_features)
        self.shrink = nn.AvgPool2d(shrink) if shrink > 1 else nn.Identity()
        self.encoder = encoder
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, classes))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K) of an image (N, C, H, W)."""
        logits: torch.Tensor = self.head(self.encoder(self.shrink(image)))
        return logits


def _build(
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    dropout: float = 0.0,
    shrink: int = 1,
    **_: Any,
) -> nn.Module:
    """Build the network; UsageError where timm has none of that name.

    dropout: share of the last features left out in training; shrink: side in pixels of the squares
    whose mean the network sees.
    """
    if not timm.is_model(encoder):
        similar = difflib.get_close_matches(encoder, timm.list_models(), 3)
        similar = similar or ["resnet18", "efficientnet_b0", "convnext_nano"]
        raise UsageError(
            f"train.encoder {encoder!r} is not a network of timm; "
            f"similar names: {', '.join(similar)}"
        )
    settings = {"pretrained": False, "in_chans": in_channels, "num_classes": 0}
    try:
        net = timm.create_model(encoder, **settings, dynamic_img_size=True, dynamic_img_pad=True)
    except TypeError:  # only vision transformers have settings of the image size
        net = timm.create_model(encoder, **settings)
    return Classifier(net, classes, dropout, shrink)


def _multiple(**_: object) -> int:
    """Return 1: images of any size are taken."""
    return 1


CLASSIFIER = Model("classifier", ("classify", "multilabel"), _build, _multiple)

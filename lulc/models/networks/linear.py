"""A linear head on the values of each pixel: for bands that are features, such as embeddings."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lulc.models.networks.model import Model


class Linear(nn.Module):
    """Logistic regression of every pixel by itself."""

    def __init__(self, in_channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.segmentation_head = nn.Sequential(nn.Conv2d(in_channels, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, K, H, W) of an image (N, C, H, W)."""
        logits: Tensor = self.segmentation_head(self.dropout(image))
        return logits


def _build(in_channels: int, classes: int, *, dropout: float = 0.0, **_: Any) -> nn.Module:
    """Build the network; dropout: share of the bands left out in training."""
    return Linear(in_channels, classes, dropout)


def _multiple(**_: object) -> int:
    """Return 1: images of any size are taken."""
    return 1


LINEAR = Model("linear", ("segment",), _build, _multiple)

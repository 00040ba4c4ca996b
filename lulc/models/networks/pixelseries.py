"""Networks that see the series of each pixel by itself: TempCNN and L-TAE."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lulc.models.networks.model import Model
from lulc.models.networks.temporal import TemporalAttention, encode_days

# Pixels times dates that are mapped at once: what a network makes of them is tens of MB, whatever the size of the scene.
_AT_ONCE = 1 << 17
_WIDTH, _DAYS = 64, 4


class PixelSeries(nn.Module):
    """A network of one pixel's series for all pixels of an image."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, pixels: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        """Logits (N, K, H, W) of pixels (N, T, C, H, W), valid (N, T, H, W) and days of the year (N, T)."""
        n, dates, _, height, width = pixels.shape
        rows = height if self.training else max(1, _AT_ONCE // (n * dates * width))
        parts = zip(torch.split(pixels, rows, 3), torch.split(valid, rows, 2), strict=True)
        return torch.cat([self._map(*part, days) for part in parts], 2)

    def _map(self, pixels: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        n, dates, _, height, width = pixels.shape
        series = pixels.permute(0, 3, 4, 1, 2).flatten(0, 2)
        there = valid.permute(0, 2, 3, 1).flatten(0, 2)
        when = days[:, None].expand(n, height * width, dates).flatten(0, 1)
        logits: Tensor = self.inner(series, there, when)
        return logits.view(n, height, width, -1).movedim(-1, 1)


class TempCnn(nn.Module):
    """Convolutions over the dates (Pelletier et al. 2019, doi:10.3390/rs11050523), told their days and what is masked."""

    def __init__(self, in_channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (in_channels + 1 + _DAYS, _WIDTH, _WIDTH):
            layers += [
                nn.Conv1d(channels, _WIDTH, 5, padding=2),
                nn.GroupNorm(8, _WIDTH),
                nn.ReLU(),
                nn.Dropout(dropout),
            ]
        # Any number of dates becomes four spans of the series.
        self.inner = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(4), nn.Flatten())
        self.head = nn.Sequential(
            nn.Linear(4 * _WIDTH, 4 * _WIDTH),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4 * _WIDTH, classes),
        )

    def forward(self, series: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        """Logits (B, K) of series (B, T, C), valid and days (B, T)."""
        there = valid[..., None].to(series.dtype)
        told = torch.cat([series, there, encode_days(days, _DAYS).to(series.dtype)], -1) * there
        logits: Tensor = self.head(self.inner(told.transpose(1, 2)))
        return logits


class Ltae(nn.Module):
    """Lightweight temporal attention over a pixel's dates (Garnot and Landrieu 2020, arXiv:2007.00586)."""

    def __init__(self, in_channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(in_channels, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH)
        )
        self.attention = TemporalAttention(_WIDTH)
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(_WIDTH, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, classes)
        )

    def forward(self, series: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        """Logits (B, K) of series (B, T, C), valid and days (B, T)."""
        found, _ = self.attention(self.inner(series), valid, days)
        logits: Tensor = self.head(found)
        return logits


def _build(
    make: Callable[[int, int, float], nn.Module],
    in_channels: int,
    classes: int,
    *,
    dropout: float = 0.0,
    **_: Any,
) -> nn.Module:
    """The network; dropout: share of features left out while it learns. Encoder, depth and decoder mean nothing to it."""
    return PixelSeries(make(in_channels, classes, dropout))


def _multiple(**_: object) -> int:
    """1: every pixel is seen by itself."""
    return 1


TEMPCNN = Model("tempcnn", ("series",), partial(_build, TempCnn), _multiple)
LTAE = Model("ltae", ("series",), partial(_build, Ltae), _multiple)

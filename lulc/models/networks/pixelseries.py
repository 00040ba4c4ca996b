"""Networks that see the series of each pixel by itself: TempCNN and L-TAE."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lulc.models.networks.model import Model
from lulc.models.networks.temporal import TemporalAttention, encode_days

# Pixels times dates that are mapped at once: a network needs tens of MB for them, whatever the size
# of the scene.
_AT_ONCE = 1 << 17
_WIDTH, _DAYS = 64, 4


class PixelSeries(nn.Module):
    """A network of one pixel's series, applied to all pixels of an image."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, pixels: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        """Map every pixel.

        Args:
            pixels: (N, T, C, H, W).
            valid: (N, T, H, W) bool.
            days: (N, T) days of the year.

        Returns:
            Logits (N, K, H, W).
        """
        n, dates, _, height, width = pixels.shape
        rows = height if self.training else max(1, _AT_ONCE // (n * dates * width))
        strips = zip(torch.split(pixels, rows, 3), torch.split(valid, rows, 2), strict=True)
        return torch.cat([self._map(*strip, days) for strip in strips], 2)

    def _map(self, pixels: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        n, dates, _, height, width = pixels.shape
        series = pixels.permute(0, 3, 4, 1, 2).flatten(0, 2)
        series_valid = valid.permute(0, 2, 3, 1).flatten(0, 2)
        series_days = days[:, None].expand(n, height * width, dates).flatten(0, 1)
        logits: Tensor = self.inner(series, series_valid, series_days)
        return logits.view(n, height, width, -1).movedim(-1, 1)


class TempCnn(nn.Module):
    """Convolutions over the dates (Pelletier et al. 2019, doi:10.3390/rs11050523).

    Its channels are the bands, whether a date is valid, and the encoded day.
    """

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
        """Return logits (B, K) of series (B, T, C), valid and days (B, T)."""
        mask = valid[..., None].to(series.dtype)
        encoded = encode_days(days, _DAYS).to(series.dtype)
        channels = torch.cat([series, mask, encoded], -1) * mask
        logits: Tensor = self.head(self.inner(channels.transpose(1, 2)))
        return logits


class Ltae(nn.Module):
    """Lightweight temporal attention over a pixel's dates (Garnot and Landrieu 2020).

    arXiv:2007.00586.
    """

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
        """Return logits (B, K) of series (B, T, C), valid and days (B, T)."""
        reduced, _ = self.attention(self.inner(series), valid, days)
        logits: Tensor = self.head(reduced)
        return logits


def _build(
    pixel_network: Callable[[int, int, float], nn.Module],
    in_channels: int,
    classes: int,
    *,
    dropout: float = 0.0,
    **_: Any,
) -> nn.Module:
    """Build the network; encoder, depth and decoder mean nothing to it.

    dropout: share of features left out in training.
    """
    return PixelSeries(pixel_network(in_channels, classes, dropout))


def _multiple(**_: object) -> int:
    """Return 1: every pixel is seen by itself."""
    return 1


TEMPCNN = Model("tempcnn", ("series",), partial(_build, TempCnn), _multiple)
LTAE = Model("ltae", ("series",), partial(_build, Ltae), _multiple)

"""Attention over the dates of a series: which of them count, for every pixel or cell, by their days of the year."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HEADS = 8
_KEYS = 4

# Days after which the slowest of the waves that tell a day comes round.
_PERIOD = 1000.0


def encode_days(days: Tensor, width: int) -> Tensor:
    """(N, T, width) float32: sines and cosines of days (N, T) (Vaswani et al. 2017, arXiv:1706.03762).

    A day that is not known (0) is told by its place in the series instead.
    """
    place = torch.arange(1, days.shape[1] + 1, device=days.device).expand_as(days)
    known = torch.where(days > 0, days, place).float()
    steps = _PERIOD ** (torch.arange(0, width, 2, device=days.device) / width)
    waves = known[..., None] / steps
    return torch.stack([waves.sin(), waves.cos()], -1).flatten(-2)[..., :width]


class TemporalAttention(nn.Module):
    """Lightweight temporal attention (Garnot and Landrieu 2020, arXiv:2007.00586): every head one query that is learned, and a
    part of the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.normal = nn.LayerNorm(width)
        self.keys = nn.Linear(width, HEADS * _KEYS)
        self.query = nn.Parameter(torch.randn(HEADS, _KEYS) * _KEYS**-0.5)
        self.out = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU())

    def forward(self, series: Tensor, valid: Tensor, days: Tensor) -> tuple[Tensor, Tensor]:
        """(B, E) and attention (B, T, HEADS), which sums to 1 over the valid dates, from series (B, T, E), valid and days (B, T).

        Dates that are not valid get no attention; where none is, all is 0.
        """
        told = self.normal(series) + encode_days(days, series.shape[2])
        keys = self.keys(told).view(*told.shape[:2], HEADS, _KEYS)
        likeness = torch.einsum("bthk,hk->bth", keys, self.query).float() / _KEYS**0.5
        masked = likeness.masked_fill(~valid[..., None], -torch.inf)
        # Of nothing valid the softmax is not a number.
        attention = (
            torch.where(valid.any(1)[:, None, None], masked, 0.0).softmax(1) * valid[..., None]
        )
        parts = told.view(*told.shape[:2], HEADS, -1)
        summed = torch.einsum("bth,bthe->bhe", attention.to(parts.dtype), parts).flatten(1)
        found: Tensor = self.out(summed)
        return found, attention


def spread(attention: Tensor, features: Tensor) -> Tensor:
    """(N, C, h, w): features (N, T, C, h, w) summed over dates by attention (N, T, HEADS, h, w), each head for its part of C."""
    n, dates, channels, height, width = features.shape
    # A head's few channels side by side, as they lie channels last, are multiplied four times slower than whole planes.
    parts = features.contiguous().view(n, dates, HEADS, channels // HEADS, height, width)
    summed: Tensor = (parts * attention[:, :, :, None].to(parts.dtype)).sum(1)
    return summed.flatten(1, 2)

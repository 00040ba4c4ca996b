"""Attention over the dates of a series: which of them count, by their features and days of year."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HEADS = 8
_KEYS = 4

# Period in days of the slowest wave that encodes a day.
_PERIOD = 1000.0


def encode_days(days: Tensor, width: int) -> Tensor:
    """Encode days as sines and cosines (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        days: (N, T) days of the year; a day that is not known (0) is encoded as its position in the
            series, from 1.
        width: numbers a day.

    Returns:
        (N, T, width) float32.
    """
    positions = torch.arange(1, days.shape[1] + 1, device=days.device).expand_as(days)
    encoded = torch.where(days > 0, days, positions).float()
    steps = _PERIOD ** (torch.arange(0, width, 2, device=days.device) / width)
    waves = encoded[..., None] / steps
    return torch.stack([waves.sin(), waves.cos()], -1).flatten(-2)[..., :width]


class TemporalAttention(nn.Module):
    """Lightweight temporal attention (Garnot and Landrieu 2020, arXiv:2007.00586).

    Every head has one learned query, and a share of the channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.normal = nn.LayerNorm(width)
        self.keys = nn.Linear(width, HEADS * _KEYS)
        self.query = nn.Parameter(torch.randn(HEADS, _KEYS) * _KEYS**-0.5)
        self.out = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU())

    def forward(self, series: Tensor, valid: Tensor, days: Tensor) -> tuple[Tensor, Tensor]:
        """Reduce series to one vector each.

        Args:
            series: (B, T, E) features.
            valid: (B, T) bool; dates that are not valid get no attention.
            days: (B, T) days of the year.

        Returns:
            (B, E), and attention (B, T, HEADS), which sums to 1 over the valid dates, or is 0 where
            none is valid.
        """
        dated = self.normal(series) + encode_days(days, series.shape[2])
        keys = self.keys(dated).view(*dated.shape[:2], HEADS, _KEYS)
        similarity = torch.einsum("bthk,hk->bth", keys, self.query).float() / _KEYS**0.5
        masked = similarity.masked_fill(~valid[..., None], -torch.inf)
        # Where nothing is valid the softmax is not a number.
        attention = (
            torch.where(valid.any(1)[:, None, None], masked, 0.0).softmax(1) * valid[..., None]
        )
        head_features = dated.view(*dated.shape[:2], HEADS, -1)
        summed = torch.einsum("bth,bthe->bhe", attention.to(head_features.dtype), head_features)
        reduced: Tensor = self.out(summed.flatten(1))
        return reduced, attention


def apply_attention(attention: Tensor, features: Tensor) -> Tensor:
    """Sum features over the dates, weighted by attention.

    Args:
        attention: (N, T, HEADS, h, w); each head weights its share of the channels.
        features: (N, T, C, h, w).

    Returns:
        (N, C, h, w).
    """
    n, dates, channels, height, width = features.shape
    # A head's few channels side by side, as they lie channels last, are multiplied four times
    # slower than whole planes.
    by_head = features.contiguous().view(n, dates, HEADS, channels // HEADS, height, width)
    summed: Tensor = (by_head * attention[:, :, :, None].to(by_head.dtype)).sum(1)
    return summed.flatten(1, 2)

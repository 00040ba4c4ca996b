"""U-TAE: a U-Net over all dates at once, whose attention to the dates is found at its coarsest level and used at all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.models.networks.model import Model
from lulc.models.networks.temporal import HEADS, TemporalAttention, spread
from lulc.models.networks.unet import decoder_channels, stride_multiple


class Utae(nn.Module):
    """The network (Garnot and Landrieu 2021, arXiv:2107.07933). Norms are of groups of one date's channels: dates that are not
    valid spoil no other date."""

    def __init__(
        self, in_channels: int, classes: int, widths: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.first = _block(in_channels, widths[0])
        downs = [
            nn.Sequential(_conv(a, b, 4, 2), _block(b, b))
            for a, b in zip(widths, (*widths[1:], widths[-1]), strict=True)
        ]
        self.encoder = nn.ModuleList(downs)
        self.attention = TemporalAttention(widths[-1])
        below = (*widths[1:], widths[-1])
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, 2) for a, b in zip(widths, below, strict=True)
        )
        self.blocks = nn.ModuleList(_block(2 * a, a) for a in widths)
        self.head = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(widths[0], classes, 1))

    def forward(self, pixels: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        """Logits (N, K, H, W) of pixels (N, T, C, H, W), valid (N, T, H, W) and days of the year (N, T)."""
        n, dates = pixels.shape[:2]
        # Convolutions would carry what stands in masked pixels to their neighbours.
        features = [self.first(pixels.masked_fill(~valid[:, :, None], 0).flatten(0, 1))]
        for down in self.encoder:
            features.append(down(features[-1]))
        height, width = features[-1].shape[-2:]
        coarse = features[-1].view(n, dates, -1, height, width)
        # A date counts in a cell of which it shows something: so every pixel that is valid on a date finds attention for it.
        share = functional.adaptive_avg_pool2d(valid.to(pixels.dtype), (height, width))
        series = coarse.permute(0, 3, 4, 1, 2).flatten(0, 2)
        there = (share > 0).permute(0, 2, 3, 1).flatten(0, 2)
        when = days[:, None].expand(n, height * width, dates).flatten(0, 1)
        found, attention = self.attention(series, there, when)
        out = found.view(n, height, width, -1).movedim(-1, 1)
        masks = attention.view(n, height, width, dates, HEADS).permute(0, 3, 4, 1, 2)
        for level in reversed(range(len(self.ups))):
            fine = features[level].view(n, dates, *features[level].shape[1:])
            skip = spread(self._seen(masks, valid, (fine.shape[-2], fine.shape[-1])), fine)
            out = self.blocks[level](torch.cat([self.ups[level](out), skip], 1))
        logits: Tensor = self.head(out)
        return logits

    @staticmethod
    def _seen(masks: Tensor, valid: Tensor, shape: tuple[int, int]) -> Tensor:
        # At a finer level a date gets attention where it is valid alone; what it loses goes to the others.
        n, dates = valid.shape[:2]
        finer = functional.interpolate(masks.flatten(0, 1), shape, mode="bilinear").view(
            n, dates, HEADS, *shape
        )
        kept: Tensor = (
            finer * functional.adaptive_avg_pool2d(valid.to(masks.dtype), shape)[:, :, None]
        )
        return kept / kept.sum(1, keepdim=True).clamp(min=1e-6)


def _conv(channels: int, width: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    padding = (size - 1) // 2
    # The edge is repeated, not mirrored: the coarsest level can be a single cell.
    return nn.Sequential(
        nn.Conv2d(channels, width, size, stride, padding, padding_mode="replicate"),
        nn.GroupNorm(4, width),
        nn.ReLU(),
    )


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(_conv(channels, width), _conv(width, width))


def _build(
    in_channels: int,
    classes: int,
    *,
    depth: int = 5,
    decoder: Sequence[int] = (),
    dropout: float = 0.0,
    **_: Any,
) -> nn.Module:
    """The network. depth: how often it halves the image; decoder: channels of its levels, deepest first, rounded up to heads."""
    widths = [-(-width // HEADS) * HEADS for width in reversed(decoder_channels(depth, decoder))]
    return Utae(in_channels, classes, widths, dropout)


UTAE = Model("utae", ("series",), _build, stride_multiple)

"""U-TAE: a U-Net over all dates, with attention from its coarsest level at every level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.models.networks.model import Model
from lulc.models.networks.temporal import HEADS, TemporalAttention, apply_attention
from lulc.models.networks.unet import decoder_channels, stride_multiple


class Utae(nn.Module):
    """The network (Garnot and Landrieu 2021, arXiv:2107.07933).

    Norms are over groups of one date's channels: dates that are not valid spoil no other date.
    """

    def __init__(
        self, in_channels: int, classes: int, widths: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.first = _block(in_channels, widths[0])
        coarser = (*widths[1:], widths[-1])
        self.encoder = nn.ModuleList(
            nn.Sequential(_conv(width, next_width, 4, 2), _block(next_width, next_width))
            for width, next_width in zip(widths, coarser, strict=True)
        )
        self.attention = TemporalAttention(widths[-1])
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(next_width, width, 2, 2)
            for width, next_width in zip(widths, coarser, strict=True)
        )
        self.blocks = nn.ModuleList(_block(2 * width, width) for width in widths)
        self.head = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(widths[0], classes, 1))

    def forward(self, pixels: Tensor, valid: Tensor, days: Tensor) -> Tensor:
        """Map every pixel.

        Args:
            pixels: (N, T, C, H, W).
            valid: (N, T, H, W) bool.
            days: (N, T) days of the year.

        Returns:
            Logits (N, K, H, W).
        """
        n, dates = pixels.shape[:2]
        # Convolutions would carry the values of masked pixels to their neighbours.
        features = [self.first(pixels.masked_fill(~valid[:, :, None], 0).flatten(0, 1))]
        for down in self.encoder:
            features.append(down(features[-1]))
        coarse = features[-1].view(n, dates, *features[-1].shape[1:])
        decoded, masks = self._attend(coarse, valid, days)
        for level in reversed(range(len(self.ups))):
            fine = features[level].view(n, dates, *features[level].shape[1:])
            attention = self._refine(masks, valid, (fine.shape[-2], fine.shape[-1]))
            skip = apply_attention(attention, fine)
            decoded = self.blocks[level](torch.cat([self.ups[level](decoded), skip], 1))
        logits: Tensor = self.head(decoded)
        return logits

    def _attend(self, coarse: Tensor, valid: Tensor, days: Tensor) -> tuple[Tensor, Tensor]:
        # (N, C, h, w) and attention (N, T, HEADS, h, w) of features (N, T, C, h, w).
        n, dates, _, height, width = coarse.shape
        # A date counts in a cell where any of its pixels is valid: every pixel that is valid on a
        # date then has attention for it.
        share = functional.adaptive_avg_pool2d(valid.float(), (height, width))
        series = coarse.permute(0, 3, 4, 1, 2).flatten(0, 2)
        series_valid = (share > 0).permute(0, 2, 3, 1).flatten(0, 2)
        series_days = days[:, None].expand(n, height * width, dates).flatten(0, 1)
        reduced, attention = self.attention(series, series_valid, series_days)
        masks = attention.view(n, height, width, dates, HEADS).permute(0, 3, 4, 1, 2)
        return reduced.view(n, height, width, -1).movedim(-1, 1), masks

    @staticmethod
    def _refine(masks: Tensor, valid: Tensor, shape: tuple[int, int]) -> Tensor:
        # At a finer level a date gets attention only where it is valid; what it loses goes to the
        # others.
        n, dates = valid.shape[:2]
        finer = functional.interpolate(masks.flatten(0, 1), shape, mode="bilinear").view(
            n, dates, HEADS, *shape
        )
        valid_share = functional.adaptive_avg_pool2d(valid.to(masks.dtype), shape)[:, :, None]
        attention: Tensor = finer * valid_share
        return attention / attention.sum(1, keepdim=True).clamp(min=1e-6)


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
    """Build the network.

    depth: how often it halves the image; decoder: channels of its levels, deepest first, rounded up
    to a multiple of HEADS.
    """
    widths = [-(-width // HEADS) * HEADS for width in reversed(decoder_channels(depth, decoder))]
    return Utae(in_channels, classes, widths, dropout)


UTAE = Model("utae", ("series",), _build, stride_multiple)

"""Networks of two dates: their features compared, or both dates as one image of twice the bands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lulc.models.networks import unet
from lulc.models.networks.encoders import encoder_errors
from lulc.models.networks.model import Model
from lulc.models.networks.unet import DetailedUnet, stride_multiple


class Siamese(DetailedUnet):
    """A U-Net whose one encoder sees both dates.

    Its decoder gets their features joined, its head the pixels of both dates at full resolution:
    how much features differ does not say from which class to which.
    """

    def __init__(
        self, net: nn.Module, in_channels: int, width: int, joins: Iterable[nn.Module]
    ) -> None:
        super().__init__(net, 2 * in_channels, width)
        self.joins = nn.ModuleList(joins)

    def forward(self, dates: Tensor) -> Tensor:
        """Return logits (N, K, H, W) of two dates (N, 2, C, H, W)."""
        # Both dates in one batch: batch norm takes the same statistics of them.
        image, *levels = self.encoder(dates.flatten(0, 1))
        joined = [
            join(features.unflatten(0, (len(dates), 2)))
            for join, features in zip(self.joins, levels, strict=True)
        ]
        # The decoder needs of the image only its size.
        context = self.decoder([image, *joined])
        mixed = self.mix(torch.cat([context, self.detail(dates.flatten(1, 2))], 1))
        logits: Tensor = self.segmentation_head(mixed)
        return logits


class EarlyFusion(DetailedUnet):
    """A U-Net that sees both dates as one image."""

    def forward(self, dates: Tensor) -> Tensor:
        """Return logits (N, K, H, W) of two dates (N, 2, C, H, W)."""
        return super().forward(dates.flatten(1, 2))


class Difference(nn.Module):
    """The absolute difference of the features of two dates."""

    def forward(self, pair: Tensor) -> Tensor:
        """Return (N, C, h, w) of features (N, 2, C, h, w)."""
        return (pair[:, 0] - pair[:, 1]).abs()


def concatenate(channels: int) -> nn.Module:
    """Return the module that makes one feature map of two dates, of the width of one.

    Returns:
        A module from features (N, 2, C, h, w) to (N, C, h, w).
    """
    # Some encoders give no channels at half the resolution.
    if not channels:
        return nn.Flatten(1, 2)
    return nn.Sequential(nn.Flatten(1, 2), nn.Conv2d(2 * channels, channels, 1))


def _build(
    join: Callable[[int], nn.Module] | None,
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    depth: int = 5,
    decoder: Sequence[int] = (),
    dropout: float = 0.0,
    **_: Any,
) -> nn.Module:
    """Build a U-Net of two dates (Daudt et al. 2018, arXiv:1810.08462).

    join: makes, by the number of channels, the module that joins the features of two dates; None:
    both dates are one image from the start. UsageError where there is no such encoder or shape.
    """
    channels = unet.decoder_channels(depth, decoder)
    encoder_bands = in_channels if join else 2 * in_channels
    with encoder_errors(encoder):
        plain = unet.plain_unet(encoder, channels, encoder_bands, classes)
        if join:
            joins = map(join, plain.encoder.out_channels[1:])
            net: nn.Module = Siamese(plain, in_channels, channels[-1], joins)
        else:
            net = EarlyFusion(plain, 2 * in_channels, channels[-1])
        unet.prune_unused(net, torch.zeros(1, 2, in_channels, 128, 128))
    return unet.add_dropout(net, dropout)


DIFFERENCE = Model(
    "siamese-difference", ("change",), partial(_build, lambda _: Difference()), stride_multiple
)
CONCATENATION = Model(
    "siamese-concatenation", ("change",), partial(_build, concatenate), stride_multiple
)
EARLY = Model("early-fusion", ("change",), partial(_build, None), stride_multiple)

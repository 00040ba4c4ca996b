"""Networks that see two dates at once: their features compared, or both dates as one image of twice the bands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lulc.models.networks import unet
from lulc.models.networks.encoders import explained
from lulc.models.networks.model import Model
from lulc.models.networks.unet import DetailedUnet, stride_multiple


class Siamese(DetailedUnet):
    """A U-Net whose one encoder sees both dates; its decoder gets their features joined, its head both dates' pixels as they are.

    How far features differ does not say from what to what: the pixels of both dates at full resolution do.
    """

    def __init__(
        self, net: nn.Module, in_channels: int, width: int, joins: Iterable[nn.Module]
    ) -> None:
        super().__init__(net, 2 * in_channels, width)
        self.joins = nn.ModuleList(joins)

    def forward(self, dates: Tensor) -> Tensor:
        """Logits (N, K, H, W) of two dates (N, 2, C, H, W)."""
        # Both dates in one batch: batch norm takes the same measure of them.
        image, *features = self.encoder(dates.flatten(0, 1))
        joined = [
            join(x.unflatten(0, (len(dates), 2)))
            for join, x in zip(self.joins, features, strict=True)
        ]
        # The decoder asks the image for its size alone.
        context = self.decoder([image, *joined])
        logits: Tensor = self.segmentation_head(
            self.mix(torch.cat([context, self.detail(dates.flatten(1, 2))], 1))
        )
        return logits


class EarlyFusion(DetailedUnet):
    """A U-Net that sees both dates as one image."""

    def forward(self, dates: Tensor) -> Tensor:
        """Logits (N, K, H, W) of two dates (N, 2, C, H, W)."""
        return super().forward(dates.flatten(1, 2))


class Difference(nn.Module):
    """How far the features of two dates differ."""

    def forward(self, pair: Tensor) -> Tensor:
        """(N, C, h, w) of features (N, 2, C, h, w)."""
        return (pair[:, 0] - pair[:, 1]).abs()


def concatenate(channels: int) -> nn.Module:
    """The module that makes features (N, 2, C, h, w) of two dates (N, C, h, w): both, brought to the width of one."""
    # Some encoders give no channels at half the resolution.
    return (
        nn.Sequential(nn.Flatten(1, 2), nn.Conv2d(2 * channels, channels, 1))
        if channels
        else nn.Flatten(1, 2)
    )


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
    """A U-Net of two dates (Daudt et al. 2018, arXiv:1810.08462); UsageError when there is no such encoder or shape.

    join: what makes one feature of those of two dates, by its channels; None: both dates are one image from the start.
    """
    channels = unet.decoder_channels(depth, decoder)
    with explained(encoder):
        plain = unet.plain(encoder, channels, in_channels if join else 2 * in_channels, classes)
        if join:
            net: nn.Module = Siamese(
                plain, in_channels, channels[-1], map(join, plain.encoder.out_channels[1:])
            )
        else:
            net = EarlyFusion(plain, 2 * in_channels, channels[-1])
        unet.leave_out_unused(net, torch.zeros(1, 2, in_channels, 128, 128))
    return unet.drop_out(net, dropout)


DIFFERENCE = Model(
    "siamese-difference", ("change",), partial(_build, lambda _: Difference()), stride_multiple
)
CONCATENATION = Model(
    "siamese-concatenation", ("change",), partial(_build, concatenate), stride_multiple
)
EARLY = Model("early-fusion", ("change",), partial(_build, None), stride_multiple)

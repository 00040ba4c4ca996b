"""Networks that see two dates at once: their features compared, or both dates as one image of twice the bands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lulc.models import unet
from lulc.models.encoders import explained
from lulc.models.model import Model
from lulc.models.smp import smp
from lulc.models.unet import DetailedUnet, multiple

Fusion = Literal["difference", "concatenation"]


class Siamese(DetailedUnet):
    """A U-Net whose one encoder sees both dates; its decoder gets their features compared, its head the pixels of both.

    Compared is how far they differ, or both side by side, which a convolution of 1 pixel brings to the width of one. How far
    alone does not say from what to what: the pixels of both dates at full resolution do.
    """

    def __init__(self, net: nn.Module, in_channels: int, width: int, fusion: Fusion, channels: Sequence[int]) -> None:
        super().__init__(net, 2 * in_channels, width)
        concatenated = fusion == "concatenation"
        self.join = nn.ModuleList(nn.Conv2d(2 * c, c, 1) if concatenated else nn.Identity() for c in channels)

    def forward(self, dates: Tensor) -> Tensor:
        """Logits (N, K, H, W) of two dates (N, 2, C, H, W)."""
        both = zip(*(self.encoder(dates[:, date]) for date in range(2)), strict=True)
        context = self.decoder([self._compare(join, *pair) for join, pair in zip(self.join, both, strict=True)])
        logits: Tensor = self.segmentation_head(self.mix(torch.cat([context, self.detail(dates.flatten(1, 2))], 1)))
        return logits

    @staticmethod
    def _compare(join: nn.Module, before: Tensor, after: Tensor) -> Tensor:
        if isinstance(join, nn.Conv2d):
            joined: Tensor = join(torch.cat([before, after], 1))
            return joined
        return (before - after).abs()


class EarlyFusion(nn.Module):
    """A U-Net that sees both dates as one image."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, dates: Tensor) -> Tensor:
        """Logits (N, K, H, W) of two dates (N, 2, C, H, W)."""
        logits: Tensor = self.net(dates.flatten(1, 2))
        return logits


def build(
    fusion: Fusion,
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    depth: int = 5,
    decoder: Sequence[int] = (),
    dropout: float = 0.0,
    **_: Any,
) -> nn.Module:
    """A siamese U-Net (Daudt et al. 2018, arXiv:1810.08462); UsageError when there is no such encoder or shape."""
    channels = unet.decoder_channels(depth, decoder)
    with explained(encoder):
        plain: Any = smp.Unet(
            encoder,
            encoder_depth=depth,
            encoder_weights=None,
            decoder_channels=channels,
            in_channels=in_channels,
            classes=classes,
        )
        net = Siamese(plain, in_channels, channels[-1], fusion, plain.encoder.out_channels)
        # The image itself is the first of the features, which no decoder looks at.
        net.join[0] = nn.Identity()
        unet.leave_out_unused(net, torch.zeros(1, 2, in_channels, 128, 128))
    return unet.drop_out(net, dropout)


def build_early(in_channels: int, classes: int, **architecture: Any) -> nn.Module:
    """The U-Net of `lulc.models.unet` for twice the bands (FC-EF of the same paper)."""
    return EarlyFusion(unet.build(2 * in_channels, classes, **architecture))


DIFFERENCE = Model("siamese-difference", ("change",), partial(build, "difference"), multiple)
CONCATENATION = Model("siamese-concatenation", ("change",), partial(build, "concatenation"), multiple)
EARLY = Model("early-fusion", ("change",), build_early, multiple)

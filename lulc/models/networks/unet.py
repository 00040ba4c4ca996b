"""U-Net with a ResNet (or any other convolutional) encoder and a path at full resolution; weights from the seed, no download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lulc.errors import UsageError
from lulc.models.networks.encoders import explained
from lulc.models.networks.model import Model
from lulc.models.networks.smp import smp


class DetailedUnet(nn.Module):
    """A U-Net whose head also sees features of the pixels as they are.

    A ResNet halves the image before its first features, so that a plain U-Net never sees a single pixel: classes that show in
    their spectra alone are then mapped worse than by a forest of pixels. Two convolutions at full resolution beside it mend that.
    Where things are many pixels large an image may be averaged first, by `shrink` pixels a side; logits are then interpolated.
    """

    def __init__(self, net: nn.Module, in_channels: int, width: int, shrink: int = 1) -> None:
        super().__init__()
        self.shrink = nn.AvgPool2d(shrink) if shrink > 1 else nn.Identity()
        self.enlarge = (
            nn.Upsample(scale_factor=shrink, mode="bilinear") if shrink > 1 else nn.Identity()
        )
        self.encoder, self.decoder = net.get_submodule("encoder"), net.get_submodule("decoder")
        self.detail = nn.Sequential(*_conv(in_channels, width, 3), *_conv(width, width, 3))
        self.mix = nn.Sequential(*_conv(2 * width, width, 1))
        self.segmentation_head = net.get_submodule("segmentation_head")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, K, H, W) of an image (N, C, H, W)."""
        image = self.shrink(image)
        context = self.decoder(self.encoder(image))
        logits: torch.Tensor = self.enlarge(
            self.segmentation_head(self.mix(torch.cat([context, self.detail(image)], 1)))
        )
        return logits


def _conv(channels: int, width: int, size: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]


# Channels of the decoder's stages, deepest first; a shallower net leaves out the deepest.
_CHANNELS = (256, 128, 64, 32, 16)


def _build(
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    depth: int = 5,
    decoder: Sequence[int] = (),
    dropout: float = 0.0,
    shrink: int = 1,
) -> nn.Module:
    """The network (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28); UsageError when there is no such encoder or shape.

    depth: how often the encoder halves the image; decoder: channels of its `depth` stages, deepest first; dropout: share of the
    last feature maps left out while it learns; shrink: side in pixels of the squares whose mean it is shown.
    """
    channels = decoder_channels(depth, decoder)
    with explained(encoder):
        net = DetailedUnet(
            plain(encoder, channels, in_channels, classes), in_channels, channels[-1], shrink
        )
        leave_out_unused(net, torch.zeros(1, in_channels, 128 * shrink, 128 * shrink))
    return drop_out(net, dropout)


def plain(encoder: str, channels: Sequence[int], in_channels: int, classes: int) -> Any:
    """A U-Net of segmentation-models-pytorch whose decoder has these channels, deepest first."""
    return smp.Unet(
        encoder,
        encoder_depth=len(channels),
        encoder_weights=None,
        decoder_channels=channels,
        in_channels=in_channels,
        classes=classes,
    )


def decoder_channels(depth: int, decoder: Sequence[int]) -> tuple[int, ...]:
    """Channels of the decoder's stages, deepest first: those given, or the usual ones; UsageError where they are not `depth`."""
    channels = tuple(decoder) or _CHANNELS[-depth:]
    if len(channels) != depth:
        raise UsageError(
            f"train.decoder {list(channels)} must have as many numbers as train.depth says: {depth}"
        )
    return channels


def drop_out(net: nn.Module, share: float) -> nn.Module:
    """The network, a share of whose last feature maps is left out while it learns."""
    if share:
        net.segmentation_head = nn.Sequential(
            nn.Dropout2d(share), net.get_submodule("segmentation_head")
        )
    return net


def leave_out_unused(net: nn.Module, image: torch.Tensor) -> None:
    """Nothing; what such an input never reaches is gone from the network when it returns."""
    # A shallow net never calls the encoder's deep stages: they would weigh in the file, and ranks would wait for their gradients.
    net.eval()
    with torch.inference_mode(False), torch.enable_grad():
        net(image).sum().backward()
    net.train()
    encoder = net.get_submodule("encoder")
    for name, stage in list(encoder.named_children()):
        parameters = list(stage.parameters())
        if parameters and all(p.grad is None for p in parameters):
            setattr(encoder, name, nn.Identity())
    for parameter in net.parameters():
        parameter.requires_grad_(parameter.grad is not None)
    net.zero_grad(set_to_none=True)


def stride_multiple(depth: int = 5, shrink: int = 1, **_: object) -> int:
    """The number that heights and widths must be multiples of: the encoder halves the shrunk image `depth` times."""
    return shrink << depth


UNET = Model("unet", ("segment",), _build, stride_multiple)

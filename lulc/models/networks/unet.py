"""U-Net with any convolutional encoder and a path at full resolution.

Its weights come from the seed; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lulc.errors import UsageError
from lulc.models.networks.adapters import add_adapters
from lulc.models.networks.architecture import TORCHGEO
from lulc.models.networks.encoders import encoder_errors
from lulc.models.networks.model import Model
from lulc.models.networks.smp import smp
from lulc.models.networks.torchgeo_decoders import make_unet

# Channels of the decoder's stages, deepest first; a shallower net leaves out the deepest.
_CHANNELS = (256, 128, 64, 32, 16)


class DetailedUnet(nn.Module):
    """A U-Net whose head also sees features at full resolution.

    A ResNet halves the image before its first features, so that a plain U-Net never sees a single
    pixel: classes that only their spectra tell apart are then mapped worse than by a random forest
    of pixels. Two convolutions at full resolution mend that. Where objects are many pixels large an
    image may be averaged first, over squares of `shrink` pixels a side; logits are then
    interpolated.
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
        """Return logits (N, K, H, W) of an image (N, C, H, W)."""
        image = self.shrink(image)
        context = self.decoder(self.encoder(image))
        mixed = self.mix(torch.cat([context, self.detail(image)], 1))
        logits: torch.Tensor = self.enlarge(self.segmentation_head(mixed))
        return logits


def _conv(channels: int, width: int, size: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]


def _build(
    in_channels: int,
    classes: int,
    *,
    encoder: str = "resnet18",
    depth: int = 5,
    decoder: Sequence[int] = (),
    dropout: float = 0.0,
    shrink: int = 1,
    lora: int = 0,
    wavelengths: Sequence[float] = (),
) -> nn.Module:
    """Build the network (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28).

    depth: how often the encoder halves the image; decoder: channels of its `depth` stages, deepest
    first; dropout: share of the last feature maps left out in training; shrink: side in pixels of
    the squares whose mean the network sees; lora: rank of the encoder's adapters, 0: none;
    wavelengths: of the bands in µm. UsageError where there is no such encoder or shape.
    """
    channels = decoder_channels(depth, decoder)
    if encoder.startswith(TORCHGEO):
        plain = make_unet(encoder, channels, in_channels, classes, wavelengths)
        net = DetailedUnet(plain, in_channels, channels[-1], shrink)
    else:
        with encoder_errors(encoder):
            plain = plain_unet(encoder, channels, in_channels, classes)
            net = DetailedUnet(plain, in_channels, channels[-1], shrink)
            prune_unused(net, torch.zeros(1, in_channels, 128 * shrink, 128 * shrink))
    if lora:
        add_adapters(net.encoder, lora)
    return add_dropout(net, dropout)


def plain_unet(encoder: str, channels: Sequence[int], in_channels: int, classes: int) -> Any:
    """Build a U-Net of segmentation-models-pytorch.

    Args:
        encoder: its name.
        channels: of the decoder's stages, deepest first.
        in_channels: channels of the image.
        classes: channels of the output.

    Returns:
        The network, without pretrained weights.
    """
    return smp.Unet(
        encoder,
        encoder_depth=len(channels),
        encoder_weights=None,
        decoder_channels=channels,
        in_channels=in_channels,
        classes=classes,
    )


def decoder_channels(depth: int, decoder: Sequence[int]) -> tuple[int, ...]:
    """Return the channels of the decoder's stages, deepest first.

    Returns:
        `decoder`, or the default of this depth where it is empty.

    Raises:
        UsageError: they are not `depth`.
    """
    channels = tuple(decoder) or _CHANNELS[-depth:]
    if len(channels) != depth:
        raise UsageError(
            f"train.decoder {list(channels)} must have as many numbers as train.depth says: {depth}"
        )
    return channels


def add_dropout(net: nn.Module, share: float) -> nn.Module:
    """Make the network leave out a share of its last feature maps in training.

    Returns:
        The same network.
    """
    if share:
        net.segmentation_head = nn.Sequential(
            nn.Dropout2d(share), net.get_submodule("segmentation_head")
        )
    return net


def prune_unused(net: nn.Module, image: torch.Tensor) -> None:
    """Remove the encoder's stages that such an input never reaches."""
    # A shallow net never calls the encoder's deep stages: they would weigh in the file, and ranks
    # would wait for their gradients.
    net.eval()
    with torch.inference_mode(False), torch.enable_grad():
        net(image).sum().backward()
    net.train()
    encoder = net.get_submodule("encoder")
    for name, stage in list(encoder.named_children()):
        parameters = list(stage.parameters())
        if parameters and all(parameter.grad is None for parameter in parameters):
            setattr(encoder, name, nn.Identity())
    for parameter in net.parameters():
        parameter.requires_grad_(parameter.grad is not None)
    net.zero_grad(set_to_none=True)


def stride_multiple(depth: int = 5, shrink: int = 1, **_: object) -> int:
    """Return the number that heights and widths must be multiples of.

    Returns:
        `shrink` * 2 ** `depth`: the encoder halves the shrunk image `depth` times.
    """
    return shrink << depth


UNET = Model("unet", ("segment",), _build, stride_multiple)

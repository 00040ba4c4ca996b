"""Backbones of torchgeo with the decoders of segmentation-models-pytorch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lulc.models.networks.smp import smp
from lulc.models.networks.torchgeo_backbones import Backbone, build_backbone, make_neck

_UPERNET_WIDTH = 256


class EncoderDecoder(nn.Module):
    """A backbone, a decoder with a neck before it, and a head."""

    def __init__(
        self, encoder: Backbone, neck: nn.Module, decoder: nn.Module, head: nn.Module
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = nn.Sequential(neck, decoder)
        self.segmentation_head = head

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, K, H, W) of an image (N, C, H, W)."""
        logits: Tensor = self.segmentation_head(self.decoder(self.encoder(image)))
        return logits


def make_unet(
    encoder: str,
    channels: Sequence[int],
    in_channels: int,
    classes: int,
    wavelengths: Sequence[float] = (),
) -> EncoderDecoder:
    """Make a U-Net.

    Args:
        encoder: `torchgeo:NAME` or `torchgeo:NAME.WEIGHTS`.
        channels: of the decoder's stages, deepest first.
        in_channels: bands of the image.
        classes: channels of the output.
        wavelengths: of the bands in µm, for DOFA.

    Raises:
        UsageError: there is no such backbone.
        SetupError: torchgeo is not installed.
    """
    backbone = build_backbone(encoder, in_channels, len(channels), wavelengths)
    neck, widths = make_neck(backbone, len(channels))
    decoder = smp.decoders.unet.decoder.UnetDecoder(
        (in_channels, *widths), tuple(channels), n_blocks=len(channels)
    )
    smp.base.initialization.initialize_decoder(decoder)
    return EncoderDecoder(backbone, neck, decoder, smp.base.SegmentationHead(channels[-1], classes))


def make_upernet(
    encoder: str, in_channels: int, classes: int, wavelengths: Sequence[float] = ()
) -> EncoderDecoder:
    """Make a UPerNet (Xiao et al. 2018, arXiv:1807.10221); arguments and errors of `make_unet`."""
    backbone = build_backbone(encoder, in_channels, wavelengths=wavelengths)
    neck, widths = make_neck(backbone, 5)
    decoder = smp.decoders.upernet.decoder.UPerNetDecoder(
        (in_channels, *widths), decoder_channels=_UPERNET_WIDTH
    )
    smp.base.initialization.initialize_decoder(decoder)
    head = smp.base.SegmentationHead(_UPERNET_WIDTH, classes, kernel_size=1, upsampling=4)
    return EncoderDecoder(backbone, neck, decoder, head)

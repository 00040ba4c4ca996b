"""Backbones of torchgeo as encoders: the maps of features that a decoder or a head sees."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.errors import UsageError, extras_named
from lulc.models.networks.architecture import TORCHGEO

_SIDE = 224  # of the images that the plain transformers' positions were learned on


class Backbone(nn.Module):
    """A backbone of torchgeo, called with images of any size."""

    patch = 0
    """Side in pixels of the patches that a transformer sees; 0 of a convolutional network."""

    def __init__(self, net: Any, widths: Sequence[int], strides: Sequence[int]) -> None:
        """Wrap a backbone.

        Args:
            net: of torchgeo.
            widths: channels of its maps, finest first.
            strides: sides of their cells in pixels of the image.
        """
        super().__init__()
        self.net = net
        self.widths, self.strides = tuple(widths), tuple(strides)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the image (N, C, H, W) and its maps (N, width, ⌈H / stride⌉, ⌈W / stride⌉)."""
        return [image, *self._maps(image)]

    @property
    def num_features(self) -> int:
        """Channels of the last map."""
        return self.widths[-1]

    def _maps(self, image: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def stages(self) -> list[list[nn.Module]]:
        """Return the modules of each stage, from the image on."""
        raise NotImplementedError


class _ResNet(Backbone):
    def __init__(self, name: str, in_channels: int, depth: int) -> None:
        net = _make(name, in_chans=in_channels, num_classes=0)
        widths = [level["num_chs"] for level in net.feature_info][:depth]
        for number in range(depth, 5):
            setattr(net, f"layer{number}", nn.Identity())
        super().__init__(net, widths, [2**level for level in range(1, depth + 1)])
        self.layers = [f"layer{number}" for number in range(1, depth)]

    def _maps(self, image: Tensor) -> list[Tensor]:
        net = self.net
        maps = [net.act1(net.bn1(net.conv1(image)))]
        features = net.maxpool(maps[0])
        for layer in self.layers:
            features = getattr(net, layer)(features)
            maps.append(features)
        return maps

    def stages(self) -> list[list[nn.Module]]:
        net = self.net
        return [[net.conv1, net.bn1], *([getattr(net, layer)] for layer in self.layers)]


class _Swin(Backbone):
    patch = 4

    def __init__(self, name: str, in_channels: int, depth: int) -> None:
        net = _make(name)
        embed = net.features[0][0]
        net.features[0][0] = nn.Conv2d(in_channels, embed.out_channels, 4, 4)
        # The embedding, then for each stage its blocks, with a merging of cells between them.
        net.features = net.features[: 2 * (depth - 1)]
        net.norm = net.norm if depth == 5 else nn.Identity()
        net.head = nn.Identity()
        levels = range(depth - 1)
        widths = [embed.out_channels << level for level in levels]
        super().__init__(net, widths, [4 << level for level in levels])

    def _maps(self, image: Tensor) -> list[Tensor]:
        features, maps = image, []
        for number, module in enumerate(self.net.features):
            features = module(features)  # channels last
            if number % 2:
                maps.append(features)
        maps[-1] = self.net.norm(maps[-1])
        return [features.permute(0, 3, 1, 2).contiguous() for features in maps]

    def stages(self) -> list[list[nn.Module]]:
        embed, *modules = self.net.features
        blocks = [[modules[0]], *map(list, zip(modules[1::2], modules[2::2], strict=True))]
        blocks[-1].append(self.net.norm)
        return [[embed], *blocks]


class _Plain(Backbone):
    """A transformer with one map, of the side of its patches; images are padded to whole ones."""

    def __init__(self, net: Any, patch: int) -> None:
        super().__init__(net, [net.embed_dim], [patch])
        self.patch = patch

    def _maps(self, image: Tensor) -> list[Tensor]:
        patch = self.strides[0]
        height, width = (math.ceil(side / patch) for side in image.shape[-2:])
        down, right = height * patch - image.shape[-2], width * patch - image.shape[-1]
        tokens = self._tokens(functional.pad(image, (0, right, 0, down)), height, width)
        return [tokens.transpose(1, 2).reshape(len(image), -1, height, width)]

    def _tokens(self, image: Tensor, height: int, width: int) -> Tensor:
        """Return the patches' tokens (N, height * width, C)."""
        raise NotImplementedError

    def stages(self) -> list[list[nn.Module]]:
        blocks = [[block] for block in self.net.blocks]
        blocks[-1].append(self._norm)
        return [[self.net.patch_embed], *blocks]

    @property
    def _norm(self) -> nn.Module:
        norm: nn.Module = self.net.norm
        return norm


class _Vit(_Plain):
    def __init__(self, name: str, in_channels: int) -> None:
        net = _make(
            name,
            in_chans=in_channels,
            num_classes=0,
            img_size=_SIDE,
            dynamic_img_size=True,
        )
        super().__init__(net, net.patch_embed.patch_size[0])

    def _tokens(self, image: Tensor, height: int, width: int) -> Tensor:  # noqa: ARG002
        tokens: Tensor = self.net.forward_features(image)
        return tokens[:, self.net.num_prefix_tokens :]


class _Dofa(_Plain):
    """DOFA (Xiong et al. 2024, arXiv:2403.15356): its first layer follows from wavelengths."""

    def __init__(self, name: str, wavelengths: Sequence[float]) -> None:
        net = _make(name, num_classes=0)
        super().__init__(net, net.patch_size)
        self.wavelengths = tuple(wavelengths)

    def _tokens(self, image: Tensor, height: int, width: int) -> Tensor:
        net = self.net
        wavelengths = torch.tensor(self.wavelengths, device=image.device)
        patches, _ = net.patch_embed(image, wavelengths)
        tokens = _add_positions(patches, net, height, width)
        for block in net.blocks:
            tokens = block(tokens)
        normed: Tensor = net.fc_norm(tokens[:, 1:])
        return normed

    @property
    def _norm(self) -> nn.Module:
        norm: nn.Module = self.net.fc_norm
        return norm


class _Panopticon(_Plain):
    """Panopticon (Waldmann et al. 2025, arXiv:2503.10845): attention over bands by wavelength."""

    def __init__(self, name: str, wavelengths: Sequence[float]) -> None:
        net = _make(name, img_size=518).model  # as in the file of its weights
        super().__init__(net, net.patch_embed.patch_size[0])
        # In nm; of radar negative numbers, as they are.
        self.channels = tuple(1000 * um if um > 0 else um for um in wavelengths)

    def _tokens(self, image: Tensor, height: int, width: int) -> Tensor:
        net = self.net
        channels = torch.tensor(self.channels, device=image.device).repeat(len(image), 1)
        patches = net.patch_embed({"imgs": image, "chn_ids": channels})
        tokens = _add_positions(patches, net, height, width)
        for block in net.blocks:
            tokens = block(tokens)
        normed: Tensor = net.norm(tokens)
        return normed[:, 1:]


def _add_positions(patches: Tensor, net: Any, height: int, width: int) -> Tensor:
    # Tokens (N, 1 + height * width, C), that of the class first.
    first, positions = net.pos_embed[:, :1], net.pos_embed[:, 1:]
    tokens = patches + _resize_positions(positions, height, width)
    return torch.cat([(net.cls_token + first).expand(len(tokens), -1, -1), tokens], 1)


def _resize_positions(positions: Tensor, height: int, width: int) -> Tensor:
    # (1, side², C) of a square of patches, as (1, height * width, C).
    side = math.isqrt(positions.shape[1])
    if (height, width) == (side, side):
        return positions
    square = positions.transpose(1, 2).reshape(1, -1, side, side)
    resized = functional.interpolate(square, (height, width), mode="bicubic", antialias=True)
    return resized.flatten(2).transpose(1, 2)


# What the name of a backbone begins with → how it is made, of (name, bands, depth, wavelengths).
_KINDS: dict[str, Callable[[str, int, int, Sequence[float]], Backbone]] = {
    "resnet": lambda name, bands, depth, _: _ResNet(name, bands, depth),
    "swin": lambda name, bands, depth, _: _Swin(name, bands, depth),
    "vit": lambda name, bands, _, __: _Vit(name, bands),
    "dofa": lambda name, _, __, wavelengths: _Dofa(name, wavelengths),
    "panopticon": lambda name, _, __, wavelengths: _Panopticon(name, wavelengths),
}


def split_name(encoder: str) -> tuple[str, str]:
    """Return the backbone's name and that of its weights, empty where none are named.

    Args:
        encoder: `torchgeo:NAME` or `torchgeo:NAME.WEIGHTS`.
    """
    name, _, weights = encoder.removeprefix(TORCHGEO).partition(".")
    return name, weights


def build_backbone(
    encoder: str, in_channels: int, depth: int = 5, wavelengths: Sequence[float] = ()
) -> Backbone:
    """Build a backbone, its weights random.

    Args:
        encoder: `torchgeo:NAME` or `torchgeo:NAME.WEIGHTS`.
        in_channels: bands of the image.
        depth: how often a backbone of several maps halves the image, at least 3.
        wavelengths: of the bands, as `wavelengths_of` gives them.

    Raises:
        UsageError: torchgeo has none of that name, or it gives no map of features.
        SetupError: torchgeo is not installed.
    """
    name, _ = split_name(encoder)
    models = torchgeo_models()
    usable = [known for known in models.list_models() if _kind_of(known)]
    if name not in usable:
        similar = ", ".join(difflib.get_close_matches(name, usable, 3) or usable)
        reason = (
            "gives no map of features for any bands"
            if name in models.list_models()
            else "is not a backbone of torchgeo"
        )
        raise UsageError(f"train.encoder {encoder!r} {reason}; choose one of: {similar}")
    kind = _kind_of(name)
    assert kind is not None
    return kind(name, in_channels, depth, wavelengths)


def torchgeo_models() -> Any:
    """Import torchgeo's models, which takes some seconds.

    Raises:
        SetupError: torchgeo is not installed.
    """
    with extras_named():
        import torchgeo.models
    return torchgeo.models


def _kind_of(name: str) -> Callable[[str, int, int, Sequence[float]], Backbone] | None:
    return next((make for prefix, make in _KINDS.items() if name.startswith(prefix)), None)


def _make(name: str, **settings: Any) -> Any:
    return torchgeo_models().get_model(name, **settings)


class SimplePyramid(nn.Module):
    """Maps of every stride from the last map of a plain transformer.

    Li et al. 2022, arXiv:2203.16527; resized and convolved, where they transpose convolutions
    (Odena et al. 2016, doi:10.23915/distill.00003), so that patches of any side will do.
    """

    def __init__(self, width: int, patch: int, widths: Sequence[int]) -> None:
        """Build the layers.

        Args:
            width: channels of the map.
            patch: side of its cells in pixels.
            widths: channels of the maps of strides 4, 8, …
        """
        super().__init__()
        self.patch = patch
        self.reduce = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            for channels in widths
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return the image and its maps of strides 4, 8, … of the image and its one map."""
        image, tokens = features
        maps = [image]
        for level, (reduce, smooth) in enumerate(zip(self.reduce, self.smooth, strict=True)):
            stride = 4 << level
            resized = functional.interpolate(
                reduce(tokens), scale_factor=self.patch / stride, mode="bilinear"
            )
            # Patches may reach further than the image, which begins at their upper left.
            height, width = (side // stride for side in image.shape[-2:])
            maps.append(smooth(resized[..., :height, :width]))
        return maps


class _Halved(nn.Module):
    """A map of stride 2 without channels, for decoders that have a place for one."""

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        image, *maps = features
        height, width = (side // 2 for side in image.shape[-2:])
        return [image, image.new_empty(len(image), 0, height, width), *maps]


def make_neck(backbone: Backbone, depth: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Make what brings a backbone's maps to strides 2, 4, … 2 ** depth.

    Returns:
        The module, called with what the backbone returns; and the channels of its maps.
    """
    if backbone.strides[0] == 2:
        return nn.Identity(), backbone.widths
    if isinstance(backbone, _Plain):
        widths = (64, 128, 256, 256)[: depth - 1]
        pyramid = SimplePyramid(backbone.widths[0], backbone.strides[0], widths)
        return nn.Sequential(pyramid, _Halved()), (0, *widths)
    return _Halved(), (0, *backbone.widths)

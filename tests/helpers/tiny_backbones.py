"""Backbones of torchgeo's classes with few and narrow blocks, in place of those of full size."""

from __future__ import annotations

from typing import Any

import pytest
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    SwinTransformer,
    SwinTransformerBlockV2,
)

from lulc.models.networks import torchgeo_backbones


def use_tiny_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `build_backbone` build small ones of the same names."""
    monkeypatch.setattr(torchgeo_backbones, "_make", _make_tiny)


def _make_tiny(name: str, **settings: Any) -> Any:
    models = torchgeo_backbones.torchgeo_models()
    if name.startswith("resnet"):
        return models.get_model(name, layers=(1, 1, 1, 1), channels=(8, 16, 24, 32), **settings)
    if name.startswith("vit"):
        return models.get_model(name, embed_dim=48, depth=2, num_heads=3, **settings)
    if name.startswith("dofa"):
        return models.DOFA(embed_dim=48, depth=2, num_heads=3, **settings)
    if name.startswith("panopticon"):
        panopticon = models.get_model(name, attn_dim=48, **settings)
        panopticon.model.blocks = panopticon.model.blocks[:1]
        return panopticon
    return SwinTransformer(
        patch_size=[4, 4],
        embed_dim=24,
        depths=[1, 1, 2, 1],
        num_heads=[1, 2, 3, 6],
        window_size=[4, 4],
        block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2,
    )

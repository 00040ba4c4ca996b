"""Vectors by a network: what its encoder and the layer before its head make of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.errors import UsageError
from lulc.inference.embedder import EmbeddedImage, pixels_of
from lulc.inference.predictor import Predictor, channels_last
from lulc.inference.windows import Area, area_windows, shift_area
from lulc.models.tasks.task import Batch

_WINDOW = 1024
"""Side in pixels of what is computed at once."""
_IMAGES = 32
"""Images that are computed at once."""


class NetworkEmbedder:
    """Takes the features of a network in float32."""

    def __init__(self, predictor: Predictor) -> None:
        """Take the network of a predictor.

        Raises:
            UsageError: it has no encoder.
        """
        self.predictor = predictor
        modules = dict(predictor.net.named_children())
        if "encoder" not in modules:
            raise UsageError(
                f"model {predictor.contract.name!r} is a {predictor.contract.model}, which has no "
                "encoder to make vectors with: take another, or leave embed.model out where the "
                "bands are an embedding"
            )
        self.encoder, self.head = modules["encoder"], modules.get("segmentation_head")

    def pool(self, images: Sequence[EmbeddedImage]) -> np.ndarray:
        """Return the encoder's last features of each core, their mean over its valid pixels."""
        vectors = []
        for first in range(0, len(images), _IMAGES):
            some = images[first : first + _IMAGES]
            batch = self._cut(some, [image.core for image in some])
            with _noted_output(self.encoder) as noted:
                valid = self._run(batch).valid.any(1)
            vectors.append(_pool(noted[-1], valid).float().cpu().numpy())
        return np.concatenate(vectors)

    def map(self, image: EmbeddedImage, every: int) -> np.ndarray:
        """Return the features before the head, interpolated where they are coarser than pixels."""
        if self.head is None:
            raise UsageError(
                f"model {self.predictor.contract.name!r} has a vector an image and none a pixel: "
                "leave out embed.every"
            )
        shape, multiple = image.valid.shape[1:], self.predictor.contract.multiple
        height, width = image.core_valid.shape
        vectors = None
        for computed, target in area_windows(image.core, shape, _WINDOW, multiple):
            with _noted_input(self.head) as noted:
                self._run(self._cut([image], [computed]))
            sides = [axis.stop - axis.start for axis in computed]
            features = _at_pixels(noted[-1], sides, multiple)[0]
            kept = features[:, *shift_area(target, computed)].float().cpu().numpy()
            if vectors is None:
                vectors = np.zeros((len(kept), height, width), np.float32)
            vectors[:, *shift_area(target, image.core)] = kept
        assert vectors is not None
        return vectors[:, pixels_of(every, height), pixels_of(every, width)]

    def _cut(self, images: Sequence[EmbeddedImage], areas: Sequence[Area]) -> Batch:
        cut = [
            self.predictor.prepare(i.pixels, i.valid, i.scales, i.offsets).cut(
                [area], self.predictor.contract
            )
            for i, area in zip(images, areas, strict=True)
        ]
        names = (field.name for field in fields(Batch))
        return Batch(*(torch.cat([getattr(batch, name) for batch in cut]) for name in names))

    @torch.inference_mode()
    def _run(self, batch: Batch) -> Batch:
        # Returns the samples as the network sees them.
        padded = self.predictor.pad(batch)
        self.predictor.net(*channels_last(self.predictor.task.inputs(padded)))
        return padded


def _pool(features: Any, valid: Tensor) -> Tensor:
    # (N, F) of maps, the deepest of which counts, or of what is pooled already. valid: (N, H, W).
    deepest: Tensor = features[-1] if isinstance(features, list | tuple) else features
    if deepest.ndim == 2:
        return deepest
    height, width = deepest.shape[-2:]
    weights = functional.adaptive_avg_pool2d(valid[:, None].float(), (height, width))
    return (deepest * weights).sum((2, 3)) / weights.sum((2, 3))


def _at_pixels(features: Tensor, sides: Sequence[int], multiple: int) -> Tensor:
    # (N, F, h, w) of the padded image → at the pixels of the image itself.
    padded = [side + -side % multiple for side in sides]
    if list(features.shape[-2:]) != padded:
        features = functional.interpolate(features, size=padded, mode="bilinear")
    return features[..., : sides[0], : sides[1]]


@contextmanager
def _noted_output(module: nn.Module) -> Iterator[list[Any]]:
    noted: list[Any] = []
    handle = module.register_forward_hook(lambda _m, _i, output: noted.append(output))
    try:
        yield noted
    finally:
        handle.remove()


@contextmanager
def _noted_input(module: nn.Module) -> Iterator[list[Tensor]]:
    noted: list[Tensor] = []
    note: Callable[..., None] = lambda _m, inputs: noted.append(inputs[0])  # noqa: E731
    handle = module.register_forward_pre_hook(note)
    try:
        yield noted
    finally:
        handle.remove()

"""Vectors by a network: what its encoder and the layer before its head make of an image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.errors import UsageError
from lulc.inference.embedder import EmbeddedImage, no_encoder, pixels_of
from lulc.inference.predictor import Predictor, channels_last
from lulc.inference.windows import Area, area_windows, shift_area
from lulc.models.tasks.task import Batch

_WINDOW = 1024
"""Side in pixels of what is computed at once."""
_IMAGES = 32
"""Images, or windows of them, that are computed at once."""


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
            raise no_encoder(predictor.contract)
        self.encoder, self.head = modules["encoder"], modules.get("segmentation_head")

    def pool(self, images: Sequence[EmbeddedImage]) -> np.ndarray:
        """Return the encoder's last features of each core, their mean over its valid pixels."""
        windows = [
            (position, *window)
            for position, image in enumerate(images)
            for window in self._pooled_windows(image)
        ]
        sums, weights = [], []
        for some in itertools.batched(windows, _IMAGES):
            batch = self._cut([(images[position], computed) for position, computed, _ in some])
            with _noted_output(self.encoder) as noted:
                valid = self._run(batch).valid.any(1)
            counted = torch.zeros_like(valid)
            for number, (_, computed, target) in enumerate(some):
                area = (number, *shift_area(target, computed))
                counted[area] = valid[area]
            pooled, weight = _pool(noted[-1], counted)
            sums.append(pooled.float().cpu().numpy())
            weights.append(weight.cpu().numpy())
        positions = [position for position, _, _ in windows]
        vectors = _add_up(positions, np.concatenate(sums))
        return np.asarray(vectors / _add_up(positions, np.concatenate(weights)[:, None]))

    def _pooled_windows(self, image: EmbeddedImage) -> Iterable[tuple[Area, Area]]:
        # (computed, target); the core alone where the network takes images of any size.
        contract = self.predictor.contract
        if not contract.window:
            return [(image.core, image.core)]
        return area_windows(image.core, image.valid.shape[1:], _WINDOW, contract)

    def map(self, image: EmbeddedImage, every: int) -> np.ndarray:
        """Return the features before the head, interpolated where they are coarser than pixels."""
        if self.head is None:
            raise UsageError(
                f"model {self.predictor.contract.name!r} has a vector an image and none a pixel: "
                "leave out embed.every"
            )
        shape, contract = image.valid.shape[1:], self.predictor.contract
        height, width = image.core_valid.shape
        vectors = None
        windows = area_windows(image.core, shape, _WINDOW, contract)
        for some in itertools.batched(windows, _IMAGES if contract.window else 1):
            with _noted_input(self.head) as noted:
                padded = self._run(self._cut([(image, computed) for computed, _ in some]))
            features = _at_pixels(noted[-1], padded.valid.shape[-2:]).float().cpu().numpy()
            for of_window, (computed, target) in zip(features, some, strict=True):
                kept = of_window[:, *shift_area(target, computed)]
                if vectors is None:
                    vectors = np.zeros((len(kept), height, width), np.float32)
                vectors[:, *shift_area(target, image.core)] = kept
        assert vectors is not None
        return vectors[:, pixels_of(every, height), pixels_of(every, width)]

    def _cut(self, windows: Iterable[tuple[EmbeddedImage, Area]]) -> Batch:
        contract, cut = self.predictor.contract, []
        for image, of_image in itertools.groupby(windows, key=lambda window: window[0]):
            prepared = self.predictor.prepare(
                image.pixels, image.valid, image.scales, image.offsets
            )
            cut.append(prepared.cut([area for _, area in of_image], contract))
        names = (field.name for field in fields(Batch))
        return Batch(*(torch.cat([getattr(batch, name) for batch in cut]) for name in names))

    @torch.inference_mode()
    def _run(self, batch: Batch) -> Batch:
        # Returns the samples as the network sees them.
        padded = self.predictor.pad(batch)
        self.predictor.net(*channels_last(self.predictor.task.inputs(padded)))
        return padded


def _add_up(positions: Sequence[int], numbers: np.ndarray) -> np.ndarray:
    # (N, F) → the sums of the rows of each position, which are in order.
    return np.add.reduceat(numbers, np.unique(positions, return_index=True)[1])


def _pool(features: Any, counted: Tensor) -> tuple[Tensor, Tensor]:
    # Sums (N, F) of maps, the deepest of which counts, or of what is pooled already; and what they
    # are to be divided by, (N,). counted: (N, H, W), the pixels whose features are summed.
    deepest: Tensor = features[-1] if isinstance(features, list | tuple) else features
    if deepest.ndim == 2:
        weight = counted.float().mean((1, 2))
        return deepest * weight[:, None], weight
    height, width = deepest.shape[-2:]
    weights = functional.adaptive_avg_pool2d(counted[:, None].float(), (height, width))
    return (deepest * weights).sum((2, 3)), weights.sum((1, 2, 3))


def _at_pixels(features: Tensor, padded: Sequence[int]) -> Tensor:
    # (N, F, h, w) of a padded window → at its pixels.
    if features.shape[-2:] == torch.Size(padded):
        return features
    return functional.interpolate(features, size=tuple(padded), mode="bilinear")


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

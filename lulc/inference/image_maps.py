"""Maps in the making: an image, the patches of it that a network computes, and what it gave.

One kind of map for each kind of label that a network gives: `PixelMap`, `SquareMap`, `BoxMap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lulc.inference.windows import Area, WindowedImage, area_windows, full_area, shift_area
from lulc.legend import NODATA, Legend
from lulc.models.contract import Contract
from lulc.stats.boxes import suppress_boxes


@dataclass(frozen=True)
class Patch:
    """A part of an image that a network computes."""

    computed: Area
    """Rows and columns of the image that go into the network."""
    target: tuple[Any, Any]
    """Where in the map its result goes: rows and columns, or the row and column of a square."""
    crop: Area | None = None
    """Rows and columns of the network's output that are kept; None of an output without any."""


class ImageMap(Protocol):
    """An image and its map, filled as a network computes the patches."""

    @property
    def image(self) -> WindowedImage:
        """The image."""

    @property
    def patches(self) -> Sequence[Patch]:
        """What is to be computed of it."""

    def put(self, patches: Sequence[Patch], outputs: Tensor) -> None:
        """Fill in what a network gave for some of the patches, one output each."""


@dataclass(frozen=True, eq=False)
class PixelLayers:
    """What is mapped of an area; its fields are as those of `PixelMap`."""

    classes: np.ndarray
    confidence: np.ndarray
    percents: np.ndarray | None = None
    spread: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class PixelMap:
    """A class for every pixel."""

    image: WindowedImage
    patches: Sequence[Patch]
    ids: np.ndarray
    """Legend id of each of the network's classes."""
    any_valid: np.ndarray
    """(H, W) bool: where a date is valid."""
    classes: np.ndarray
    """(H, W) uint8 legend ids, 255 where there is none."""
    confidence: np.ndarray
    """(H, W) uint8 percent, 255 where there is no class."""
    percents: np.ndarray | None
    """(K, H, W) uint8 percent of all classes, 255 where there is none, if they are kept."""
    spread: np.ndarray | None = None
    """(H, W) uint8 percent, 255 where there is no class, if it is kept; then the last of the
    network's outputs is the spread of the class's probability."""

    def cut(self, area: Area) -> PixelLayers:
        """Return what is mapped of some rows and columns."""
        return PixelLayers(
            self.classes[area],
            self.confidence[area],
            None if self.percents is None else self.percents[:, *area],
            None if self.spread is None else self.spread[area],
        )

    def put(self, patches: Sequence[Patch], outputs: Tensor) -> None:
        """Fill in probabilities (N, K, h, w) of the patches' crops; with the spread (N, K + 1)."""
        if self.spread is not None:
            spread, outputs = to_percent(outputs[:, -1]), outputs[:, :-1]
            for number, patch in enumerate(patches):
                empty = ~self.any_valid[patch.target]
                self.spread[patch.target] = np.where(empty, NODATA, spread[number])
        highest, index = _largest(outputs)
        percents, positions = to_percent(highest), index.cpu().numpy()
        all_percents = None if self.percents is None else to_percent(outputs)
        for number, patch in enumerate(patches):
            empty = ~self.any_valid[patch.target]
            self.classes[patch.target] = self.ids[positions[number]]
            self.classes[patch.target][empty] = NODATA
            self.confidence[patch.target] = percents[number]
            self.confidence[patch.target][empty] = NODATA
            if self.percents is not None and all_percents is not None:
                target = (slice(None), *patch.target)
                self.percents[target] = all_percents[number]
                self.percents[target][:, empty] = NODATA


def make_pixel_map(
    image: WindowedImage,
    contract: Contract,
    window: int,
    core: Area | None,
    percents: np.ndarray | None,
    spread: np.ndarray | None = None,
) -> PixelMap:
    """Make the empty map of an image's pixels.

    Args:
        image: the image.
        contract: of the model.
        window: most pixels of a target's side.
        core: rows and columns that are mapped, all where not given.
        percents: (K, H, W) uint8 of 255, where the percentages of all classes are kept.
        spread: (H, W) uint8 of 255, where the spread is kept.

    Returns:
        The map; its patches are the windows with a valid pixel.
    """
    any_valid = image.valid.any(0)
    patches = [
        Patch(computed, target, shift_area(target, computed))
        for computed, target in area_windows(
            core or full_area(any_valid.shape), any_valid.shape, window, contract
        )
        if any_valid[target].any()
    ]
    classes, confidence = (np.full(any_valid.shape, NODATA, np.uint8) for _ in range(2))
    ids = contract.legend.to_id()
    return PixelMap(image, patches, ids, any_valid, classes, confidence, percents, spread)


@dataclass(frozen=True, eq=False)
class SquareMap:
    """Probabilities of every square, as large as a sample."""

    image: WindowedImage
    patches: Sequence[Patch]
    probabilities: np.ndarray
    """(rows, cols, K) float32; NaN where no date is valid anywhere in a square."""

    def put(self, patches: Sequence[Patch], outputs: Tensor) -> None:
        """Fill in probabilities (N, K) of the patches."""
        cells = tuple(zip(*(patch.target for patch in patches), strict=True))
        self.probabilities[cells] = outputs.cpu().numpy()


def make_square_map(image: WindowedImage, contract: Contract, core: Area | None) -> SquareMap:
    """Make the empty map of the squares that make up an image's core.

    Args:
        image: the image.
        contract: of the model.
        core: rows and columns, all where not given; its sides are multiples of a sample's side.

    Returns:
        The map; its patches are the squares with a valid pixel.
    """
    side = contract.size
    rows, cols = core or full_area(image.valid.shape[1:])
    tops, lefts = (range(axis.start, axis.stop, side) for axis in (rows, cols))
    patches = [
        Patch(square, (row, col))
        for row, top in enumerate(tops)
        for col, left in enumerate(lefts)
        if image.valid[:, *(square := (slice(top, top + side), slice(left, left + side)))].any()
    ]
    class_count = len(contract.legend.classes)
    empty = np.full((len(tops), len(lefts), class_count), np.nan, np.float32)
    return SquareMap(image, patches, empty)


@dataclass(frozen=True, eq=False)
class BoxMap:
    """Boxes of an image, each window's as they were found."""

    image: WindowedImage
    patches: Sequence[Patch]
    legend: Legend
    overlap: float
    """Intersection over union above which two boxes are one."""
    found: dict[Patch, np.ndarray] = field(default_factory=dict)
    """(N, 6) of each patch: position in the legend, score, and edges in pixels of the image."""

    def put(self, patches: Sequence[Patch], outputs: Tensor) -> None:
        """Fill in boxes (N, M, 6) of the patches, score 0 where there is none."""
        for patch, output in zip(patches, outputs.cpu().numpy(), strict=True):
            top, left = (axis.start for axis in patch.computed)
            boxes = output[output[:, 1] > 0] + np.array([0, 0, left, top, left, top], np.float32)
            self.found[patch] = boxes[_is_centred_in(boxes, patch.target)]

    def boxes(self) -> np.ndarray:
        """Return the boxes whose centre lies in the core, those that overlap too much as one.

        Returns:
            (N, 6) float32: legend id, score, left, top, right and bottom in pixels.
        """
        patch_boxes = [self.found[patch] for patch in self.patches]
        boxes = np.concatenate(patch_boxes) if patch_boxes else np.zeros((0, 6), np.float32)
        boxes[:, 0] = self.legend.to_id()[boxes[:, 0].astype(np.uint8)]
        if len(patch_boxes) > 1:
            edges, scores, class_ids = boxes[:, 2:], boxes[:, 1], boxes[:, 0]
            boxes = boxes[suppress_boxes(edges, scores, class_ids, self.overlap)]
        return boxes


def make_box_map(
    image: WindowedImage, contract: Contract, window: int, core: Area | None, overlap: float
) -> BoxMap:
    """Make the empty map of the boxes in an image.

    Args:
        image: the image.
        contract: of the model.
        window: most pixels of a target's side.
        core: rows and columns in which the boxes' centres lie, all where not given.
        overlap: intersection over union above which two boxes are one.

    Returns:
        The map; its patches are the windows with a valid pixel.
    """
    shape = image.valid.shape[1:]
    patches = [
        Patch(computed, target)
        for computed, target in area_windows(core or full_area(shape), shape, window, contract)
        if image.valid[:, *computed].any()
    ]
    return BoxMap(image, patches, contract.legend, overlap)


def to_percent(probabilities: Tensor) -> np.ndarray:
    """Return probabilities as uint8 percent."""
    percents: np.ndarray = (probabilities * 100).round().to(torch.uint8).cpu().numpy()
    return percents


def _is_centred_in(boxes: np.ndarray, area: Area) -> np.ndarray:
    rows, cols = area
    x, y = (boxes[:, 2] + boxes[:, 4]) / 2, (boxes[:, 3] + boxes[:, 5]) / 2
    in_rows = (y >= rows.start) & (y < rows.stop)
    in_cols = (x >= cols.start) & (x < cols.stop)
    is_in: np.ndarray = in_rows & in_cols
    return is_in


def _largest(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    # (the largest along axis 1, its position as uint8, the first of equal ones); `max` with an
    # index takes thrice as long on cores.
    largest = probabilities[:, 0]
    index = torch.zeros_like(largest, dtype=torch.uint8)
    for k in range(1, probabilities.shape[1]):
        # A position found later is larger than those before.
        index = torch.maximum(index, (probabilities[:, k] > largest).to(torch.uint8) * k)
        largest = torch.maximum(largest, probabilities[:, k])
    return largest, index

"""Spatial splits: which block of samples is for training, validation or test, and the buffer.

A lattice of samples covers the tiling: sample (col, row) holds the pixels from (col * size,
row * size) on, counted right and down from the tiling's origin. `block` x `block` samples are a
spatial block, which is never divided.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj import Geod

from lulc.config import SampleConf
from lulc.errors import UsageError
from lulc.geo.grid import WGS84, transformer
from lulc.geo.tiling import Tiling
from lulc.samples.dealing import deal_blocks

SplitCell = tuple[int, int]
"""(col, row) of a spatial block."""

Metres = tuple[float, float]
"""Length on the ground of a pixel's sides along x and y."""

SPLITS = ("train", "validation", "test")
"""In the order in which they give way: training labels keep away from the other two, validation
labels from test."""


@dataclass(frozen=True)
class Fence:
    """A block from which labels keep the buffer, in pixels of the tiling."""

    left: int
    top: int
    right: int
    """Excluded."""
    bottom: int
    """Excluded."""
    metres: Metres


def split_cell(col: int, row: int, samples: SampleConf) -> SplitCell:
    """Return the spatial block of a sample of the lattice.

    Args:
        col: the sample's column in the lattice.
        row: the sample's row in the lattice.
        samples: says how many samples a block has.
    """
    return col // samples.block, row // samples.block


def rank(text: str, seed: int) -> bytes:
    """Return a sort key that puts texts in an order that depends on nothing but the seed."""
    return hashlib.blake2b(f"{seed}/{text}".encode(), digest_size=8).digest()


def split_shares(samples: SampleConf) -> dict[str, float]:
    """Return the share of the labelled pixels that each split is to have, without empty splits.

    Raises:
        UsageError: no share is left for training.
    """
    test = 1 / samples.folds if samples.folds else samples.test
    train = 1 - samples.validation - test
    if train <= 0:
        raise UsageError(
            f"samples.validation {samples.validation} and the test share {test:g} "
            "leave nothing to train on: lower them"
        )
    shares = zip(SPLITS, (train, samples.validation, test), strict=True)
    return {split: share for split, share in shares if share > 0}


def assign(
    class_counts: Mapping[tuple[Any, ...], np.ndarray], samples: SampleConf
) -> dict[tuple[Any, ...], str]:
    """Return the split of every block, as `assign_blocks` does.

    Args:
        class_counts: labelled pixels of each block by class (K,).
        samples: shares, folds and seed.
    """
    names = ("_".join(map(str, block)) for block in class_counts)
    counts = np.array(list(class_counts.values()))
    dealt = assign_blocks(names, counts, samples).tolist()
    return {block: SPLITS[split] for block, split in zip(class_counts, dealt, strict=True)}


def assign_blocks(names: Iterable[str], counts: np.ndarray, samples: SampleConf) -> np.ndarray:
    """Return the split of every block; their order does not matter.

    With `folds` the blocks are dealt into so many equal parts, of which part `fold` is the test
    split: over all folds every block is tested once. Validation has its share of the others.

    Args:
        names: of the N blocks.
        counts: (N, K) whole numbers, the labelled pixels of each block by class.
        samples: shares, folds and seed.

    Returns:
        (N,) positions in SPLITS.
    """
    drawn = (int.from_bytes(rank(name, samples.seed)) for name in names)
    order = np.argsort(np.fromiter(drawn, np.uint64, len(counts)), kind="stable")
    counts = counts[order]
    dealt = np.empty(len(counts), np.int8)
    shares = split_shares(samples)
    if samples.folds is None:
        dealt[order] = _deal_to_splits(counts, shares)
        return dealt
    folds = deal_blocks(counts, [1 / samples.folds] * samples.folds, [1.0] * samples.folds)
    is_tested = folds == samples.fold
    dealt[order[is_tested]] = SPLITS.index("test")
    dealt[order[~is_tested]] = _deal_to_splits(counts[~is_tested], _without_test(shares))
    return dealt


def _deal_to_splits(counts: np.ndarray, shares: Mapping[str, float]) -> np.ndarray:
    # A class without training labels is never mapped; in another split it is only not judged.
    needs = [2.0 if split == "train" else 1.0 for split in shares]
    positions = np.array([SPLITS.index(split) for split in shares], np.int8)
    return np.asarray(positions[deal_blocks(counts, list(shares.values()), needs)])


def split_in_order[T](items: Sequence[T], samples: SampleConf) -> dict[str, list[T]]:
    """Return some items without location by split, each split a run of their order.

    With `folds` every item is in the test split of one fold.
    """
    shares, splits, remaining = split_shares(samples), {}, list(items)
    if samples.folds:
        folds = [n * samples.folds // len(items) for n in range(len(items))]
        in_fold = list(zip(items, folds, strict=True))
        splits["test"] = [item for item, fold in in_fold if fold == samples.fold]
        remaining = [item for item, fold in in_fold if fold != samples.fold]
        shares = _without_test(shares)
    ends = np.rint(np.cumsum([0.0, *shares.values()]) * len(remaining)).astype(int).tolist()
    for split, (start, end) in zip(shares, itertools.pairwise(ends), strict=True):
        splits[split] = remaining[start:end]
    return splits


def _without_test(shares: Mapping[str, float]) -> dict[str, float]:
    other_shares = {split: share for split, share in shares.items() if split != "test"}
    total = sum(other_shares.values())
    return {split: share / total for split, share in other_shares.items()}


def balance_weights(counts: np.ndarray, blocks: Sequence[Hashable], balance: str) -> np.ndarray:
    """Return the weights (N,) of some samples; their mean is 1.

    Args:
        counts: (N, K) labels of each sample by class.
        blocks: the spatial block of each sample.
        balance: class: the mean over a sample's labels of 1 / the class's share in all samples, so
            that every class counts the same. area: 1 / the samples of its block, so that every
            block of ground does. none: 1.
    """
    if balance == "none" or not len(counts):
        return np.ones(len(counts))
    if balance == "area":
        samples_of_block = Counter(blocks)
        weights = np.array([1 / samples_of_block[block] for block in blocks])
    else:
        shares = counts / counts.sum(1, keepdims=True)
        mean_share = shares.mean(0)
        occurs = mean_share > 0
        weights = shares @ np.divide(1, mean_share, out=np.zeros_like(mean_share), where=occurs)
    return weights / weights.mean()


def pixel_metres(
    tiling: Tiling, blocks: Iterable[SplitCell], samples: SampleConf
) -> dict[SplitCell, Metres]:
    """Return the length on the ground of a pixel's sides at the centre of every block.

    Args:
        tiling: of the pixels.
        blocks: spatial blocks.
        samples: says how large a block is.

    Returns:
        Metres along x and y, geodesic over the block's side.
    """
    cells = list(blocks)
    side = samples.size * samples.block
    centres = (np.array(cells, float).reshape(-1, 2) + 0.5) * side

    def lonlat(dx: float, dy: float) -> tuple[np.ndarray, np.ndarray]:
        x = tiling.x0 + (centres[:, 0] + dx) * tiling.resolution
        y = tiling.y0 - (centres[:, 1] + dy) * tiling.pixel_height
        lon, lat = transformer(tiling.crs, WGS84).transform(x, y)
        return lon, lat

    geod = Geod(ellps="WGS84")
    half = side / 2
    along_x = geod.inv(*lonlat(-half, 0), *lonlat(half, 0))[2]
    along_y = geod.inv(*lonlat(0, -half), *lonlat(0, half))[2]
    lengths = zip(cells, along_x, along_y, strict=True)
    return {cell: (float(x) / side, float(y) / side) for cell, x, y in lengths}


def shorter_sides(a: Metres, b: Metres) -> Metres:
    """Return the shorter of each side: a distance in them is no longer than in either."""
    return min(a[0], b[0]), min(a[1], b[1])


def find_fences(
    splits: Mapping[SplitCell, str],
    metres: Mapping[SplitCell, Metres],
    samples: SampleConf,
    cells: Sequence[SplitCell] | None = None,
) -> dict[SplitCell, list[Fence]]:
    """Return the blocks within the buffer of each block whose splits it gives way to.

    Args:
        splits: the split of every block.
        metres: sides of a pixel at every block.
        samples: size of a block in samples, and the buffer.
        cells: the blocks whose fences are wanted; all by default.

    Returns:
        Block → its fences; blocks without a fence are left out.
    """
    fences: dict[SplitCell, list[Fence]] = {}
    if not samples.buffer:
        return fences
    side = samples.size * samples.block
    by_rows = sorted(splits, key=lambda cell: cell[::-1])
    for cell in splits if cells is None else cells:
        split = splits[cell]
        reach_x, reach_y = reach([metres[cell]], samples)
        is_far = (2 * reach_x + 1) * (2 * reach_y + 1) > len(splits)
        for other in by_rows if is_far else _cells_around(cell, reach_x, reach_y):
            if other not in splits or SPLITS.index(splits[other]) <= SPLITS.index(split):
                continue
            sides = shorter_sides(metres[cell], metres[other])
            gaps = (
                max(abs(a - b) - 1, 0) * side * length
                for a, b, length in zip(cell, other, sides, strict=True)
            )
            if math.hypot(*gaps) < samples.buffer:
                left, top = other[0] * side, other[1] * side
                fence = Fence(left, top, left + side, top + side, sides)
                fences.setdefault(cell, []).append(fence)
    return fences


def reach(metres: Iterable[Metres], samples: SampleConf) -> tuple[int, int]:
    """Return how many blocks away, along x and y, others may lie within the buffer of some.

    Args:
        metres: sides of a pixel at these blocks.
        samples: size of a block in samples, and the buffer.
    """
    if not samples.buffer:
        return 0, 0
    side = samples.size * samples.block
    x, y = np.min(list(metres), 0)
    return math.ceil(samples.buffer / (side * x)) + 1, math.ceil(samples.buffer / (side * y)) + 1


def _cells_around(cell: SplitCell, reach_x: int, reach_y: int) -> Iterable[SplitCell]:
    # All blocks that are no further away, by rows.
    col, row = cell
    for other_row in range(row - reach_y, row + reach_y + 1):
        for other_col in range(col - reach_x, col + reach_x + 1):
            yield other_col, other_row


def outside_fences(col: int, row: int, fences: Sequence[Fence], samples: SampleConf) -> np.ndarray:
    """Return which pixels of a sample keep the buffer to every fence.

    Args:
        col: the sample's column in the lattice.
        row: the sample's row in the lattice.
        fences: of the sample's block.
        samples: size of a sample and the buffer.

    Returns:
        (size, size) bool: whether the pixel's edges are at least the buffer away.
    """
    outside = np.ones((samples.size, samples.size), bool)
    x, y = (n * samples.size + np.arange(samples.size) for n in (col, row))
    for fence in fences:
        gap_x = np.maximum(np.maximum(fence.left - x - 1, x - fence.right), 0) * fence.metres[0]
        gap_y = np.maximum(np.maximum(fence.top - y - 1, y - fence.bottom), 0) * fence.metres[1]
        outside &= np.hypot(gap_x[None, :], gap_y[:, None]) >= samples.buffer
    return outside

"""Spatial splits: which block of samples goes to training, validation or test, and the buffer between them.

A lattice of samples covers the tiling: sample (col, row) holds the pixels from (col * size, row * size) on, counted right
and down from the tiling's origin; `block` x `block` samples are a spatial block and never part.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pyproj import Geod

from lulc.config import SampleConf
from lulc.errors import UsageError
from lulc.geo.grid import WGS84, transformer
from lulc.geo.tiling import Tiling

SplitCell = tuple[int, int]
Metres = tuple[float, float]
"""Length on the ground of a pixel's sides along x and y."""

SPLITS = ("train", "validation", "test")
"""In the order in which they give way: training labels keep away from the other two, validation labels from test."""

ENOUGH = 3
"""A class found in this many blocks or more belongs in every split."""


@dataclass(frozen=True)
class Fence:
    """A block from which labels keep the buffer: its pixels (right and bottom excluded) and a pixel's sides in metres."""

    left: int
    top: int
    right: int
    bottom: int
    metres: Metres


def split_cell(col: int, row: int, conf: SampleConf) -> SplitCell:
    """The spatial block of a sample of the lattice."""
    return col // conf.block, row // conf.block


def rank(text: str, seed: int) -> bytes:
    """A key that puts texts in an order that depends on nothing but the seed."""
    return hashlib.blake2b(f"{seed}/{text}".encode(), digest_size=8).digest()


def split_shares(conf: SampleConf) -> dict[str, float]:
    """The share of the labelled pixels that each split is to have; those without a share are left out."""
    test = 1 / conf.folds if conf.folds else conf.test
    train = 1 - conf.validation - test
    if train <= 0:
        raise UsageError(
            f"samples.validation {conf.validation} and the test share {test:g} leave nothing to train on: lower them"
        )
    return {
        name: share
        for name, share in zip(SPLITS, (train, conf.validation, test), strict=True)
        if share > 0
    }


def assign(counts: Mapping[SplitCell, np.ndarray], conf: SampleConf) -> dict[SplitCell, str]:
    """The split of every block, given its labelled pixels by class (K,).

    With `folds` the blocks are dealt into so many equal parts, of which part `fold` is the test split: over all folds every block
    is tested once. Validation has its share of the others.
    """
    wanted = split_shares(conf)
    if conf.folds is None:
        return _deal(counts, wanted, conf.seed)
    folds = _deal(counts, {str(i): 1 / conf.folds for i in range(conf.folds)}, conf.seed)
    rest = {block: found for block, found in counts.items() if folds[block] != str(conf.fold)}
    others = _deal(rest, _without_test(wanted), conf.seed)
    return {block: others.get(block, "test") for block in folds}


def deal_out[T](items: Sequence[T], conf: SampleConf) -> dict[str, list[T]]:
    """Items that lie nowhere, by split, in runs of their order; with `folds` every one is in the test split of one fold."""
    wanted, found, rest = split_shares(conf), {}, list(items)
    if conf.folds:
        part = [i * conf.folds // len(items) for i in range(len(items))]
        found["test"] = [item for item, of in zip(items, part, strict=True) if of == conf.fold]
        rest = [item for item, of in zip(items, part, strict=True) if of != conf.fold]
        wanted = _without_test(wanted)
    ends = np.rint(np.cumsum([0.0, *wanted.values()]) * len(rest)).astype(int).tolist()
    return found | {
        name: rest[start:end]
        for name, (start, end) in zip(wanted, itertools.pairwise(ends), strict=True)
    }


def _without_test(wanted: Mapping[str, float]) -> dict[str, float]:
    learn = {name: share for name, share in wanted.items() if name != "test"}
    return {name: share / sum(learn.values()) for name, share in learn.items()}


def balance_weights(counts: np.ndarray, blocks: Sequence[Hashable], how: str) -> np.ndarray:
    """(N,) weights of samples with counts (N, K) of their classes, in these blocks; their mean is 1.

    class: the mean over a sample's labels of 1 / the class's share in all samples, so that every class counts the same. area:
    1 / the samples of its block, so that every block of ground does. none: 1.
    """
    if how == "none" or not len(counts):
        return np.ones(len(counts))
    if how == "area":
        number = Counter(blocks)
        weights = np.array([1 / number[block] for block in blocks])
    else:
        each = counts / counts.sum(1, keepdims=True)
        held = each.mean(0)
        weights = each @ np.divide(1, held, out=np.zeros_like(held), where=held > 0)
    return weights / weights.mean()


def _deal(
    counts: Mapping[SplitCell, np.ndarray], wanted: Mapping[str, float], seed: int
) -> dict[SplitCell, str]:
    """The part of every block, by name → share of all labelled pixels.

    Blocks are placed one by one in an order drawn from the seed, then moved while that helps, so that in order of weight: every
    class that occurs in three blocks or more is in every part; no part lacks its share of a class; the shares hold by labelled
    pixels.
    """
    share = np.array(list(wanted.values()))[:, None]
    order = sorted(counts, key=lambda b: rank("_".join(map(str, b)), seed))
    if not order:
        return {}
    pixels = np.stack([counts[b] for b in order]).astype(float)
    total, by_class = pixels.sum(), pixels.sum(0)
    common = (pixels > 0).sum(0) >= ENOUGH
    # A class that training lacks is never mapped; one that another split lacks is only not judged.
    need = np.array([2.0 if name == "train" else 1.0 for name in wanted])

    def cost(held: np.ndarray, blocks: np.ndarray) -> np.ndarray:
        # (S,): what is wrong with each split; the splits' costs simply add up, so a move changes two of them.
        missing = ((blocks == 0) & common).sum(1)
        overall = np.abs(held.sum(1) - share[:, 0] * total) / max(total, 1)
        short = np.maximum(1 - held / np.maximum(share * by_class, 1e-9), 0).mean(1)
        return np.asarray(10 * missing + overall + need * short)

    held, blocks = (
        np.zeros((len(wanted), pixels.shape[1])),
        np.zeros((len(wanted), pixels.shape[1]), int),
    )
    home = np.full(len(order), -1)
    for _ in range(12):
        moved = False
        for i, found in enumerate(pixels):
            has, old = (found > 0).astype(int), int(home[i])
            if old >= 0:
                held[old] -= found
                blocks[old] -= has
            gain = cost(held + found, blocks + has) - cost(held, blocks)
            new = int(gain.argmin())
            if old >= 0 and gain[new] > gain[old] - 1e-12:
                new = old
            held[new] += found
            blocks[new] += has
            home[i], moved = new, moved or new != old
        if not moved:
            break
    names = list(wanted)
    return {block: names[h] for block, h in zip(order, home, strict=True)}


def ground(
    tiling: Tiling, blocks: Iterable[SplitCell], conf: SampleConf
) -> dict[SplitCell, Metres]:
    """The length in metres, on the ground, of a pixel's sides at the centre of every block (geodesic over the block's side)."""
    found = list(blocks)
    side = conf.size * conf.block
    at = (np.array(found, float).reshape(-1, 2) + 0.5) * side

    def lonlat(dx: float, dy: float) -> tuple[np.ndarray, np.ndarray]:
        x = tiling.x0 + (at[:, 0] + dx) * tiling.resolution
        y = tiling.y0 - (at[:, 1] + dy) * tiling.step_y
        lon, lat = transformer(tiling.crs, WGS84).transform(x, y)
        return lon, lat

    geod = Geod(ellps="WGS84")
    half = side / 2
    across = geod.inv(*lonlat(-half, 0), *lonlat(half, 0))[2]
    along = geod.inv(*lonlat(0, -half), *lonlat(0, half))[2]
    return {
        b: (float(x) / side, float(y) / side) for b, x, y in zip(found, across, along, strict=True)
    }


def least(a: Metres, b: Metres) -> Metres:
    """The shorter of each side: a distance measured with them is no longer than with either."""
    return min(a[0], b[0]), min(a[1], b[1])


def fences(
    splits: Mapping[SplitCell, str], metres: Mapping[SplitCell, Metres], conf: SampleConf
) -> dict[SplitCell, list[Fence]]:
    """For every block that has any: the blocks of splits it gives way to that lie within the buffer."""
    side = conf.size * conf.block
    found: dict[SplitCell, list[Fence]] = {}
    if not conf.buffer:
        return found
    for (col, row), split in splits.items():
        reach_x, reach_y = (math.ceil(conf.buffer / (side * m)) + 1 for m in metres[col, row])
        for other_row in range(row - reach_y, row + reach_y + 1):
            for other_col in range(col - reach_x, col + reach_x + 1):
                other = splits.get((other_col, other_row))
                if other is None or SPLITS.index(other) <= SPLITS.index(split):
                    continue
                pair = least(metres[col, row], metres[other_col, other_row])
                gaps = (
                    (max(abs(a - b) - 1, 0) * side * m)
                    for a, b, m in zip((col, row), (other_col, other_row), pair, strict=True)
                )
                if math.hypot(*gaps) < conf.buffer:
                    left, top = other_col * side, other_row * side
                    found.setdefault((col, row), []).append(
                        Fence(left, top, left + side, top + side, pair)
                    )
    return found


def outside(col: int, row: int, around: Sequence[Fence], conf: SampleConf) -> np.ndarray:
    """(size, size) bool: the sample's pixels whose edges are at least the buffer away from every fence."""
    kept = np.ones((conf.size, conf.size), bool)
    x, y = (n * conf.size + np.arange(conf.size) for n in (col, row))
    for fence in around:
        gap_x = np.maximum(np.maximum(fence.left - x - 1, x - fence.right), 0) * fence.metres[0]
        gap_y = np.maximum(np.maximum(fence.top - y - 1, y - fence.bottom), 0) * fence.metres[1]
        kept &= np.hypot(gap_x[None, :], gap_y[:, None]) >= conf.buffer
    return kept

"""Spatial blocks dealt to splits, millions of them in seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

_ENOUGH = 3
"""A class that is in this many blocks or more belongs in every split."""
_ROUNDS = 12


def deal_blocks(counts: np.ndarray, shares: Sequence[float], needs: Sequence[float]) -> np.ndarray:
    """Return the split (N,) of each of some blocks, as its position in `shares`.

    Blocks are assigned one by one, then moved while that helps, so that in order of weight: every
    class that occurs in three blocks or more is in every split; no split has less than its share of
    a class; the shares hold by labelled pixels.

    Args:
        counts: (N, K) whole numbers, the labelled pixels of each block by class, in the order in
            which blocks are assigned.
        shares: of all labelled pixels, that each split is to have.
        needs: how much worse it is when a split has too little of a class, one a split.
    """
    assigned = np.full(len(counts), -1, np.int8)
    if len(counts):
        of_class = counts.sum(0, dtype=np.int64).astype(float)
        common = (counts > 0).sum(0) >= _ENOUGH
        _deal(counts, np.array(shares), np.array(needs), of_class, common, assigned)
    return assigned


@njit(cache=True, nogil=True)
def _deal(counts, shares, needs, of_class, common, assigned):  # type: ignore[no-untyped-def]
    blocks, classes = counts.shape
    splits = len(shares)
    total = of_class.sum()
    pixels = np.zeros((splits, classes))
    having = np.zeros((splits, classes), np.int64)
    short = np.empty(classes)
    for _ in range(_ROUNDS):
        moved = False
        for block in range(blocks):
            old = assigned[block]
            if old >= 0:
                _add(pixels, having, old, counts[block], -1)
            best, best_gain, old_gain = -1, 0.0, 0.0
            for split in range(splits):
                before = _cost(split, pixels, having, shares, needs, of_class, common, total, short)
                _add(pixels, having, split, counts[block], 1)
                gain = _cost(split, pixels, having, shares, needs, of_class, common, total, short)
                gain -= before
                _add(pixels, having, split, counts[block], -1)
                if best < 0 or gain < best_gain:
                    best, best_gain = split, gain
                if split == old:
                    old_gain = gain
            if old >= 0 and best_gain > old_gain - 1e-12:
                best = old
            _add(pixels, having, best, counts[block], 1)
            assigned[block] = best
            moved = moved or best != old
        if not moved:
            break


@njit(cache=True, nogil=True)
def _add(pixels, having, split, of_block, sign):  # type: ignore[no-untyped-def]
    for k in range(len(of_block)):
        pixels[split, k] += sign * of_block[k]
        having[split, k] += sign * (of_block[k] > 0)


@njit(cache=True, nogil=True)
def _cost(  # type: ignore[no-untyped-def]
    split, pixels, having, shares, needs, of_class, common, total, short
):
    # How far a split is from the goal. The splits' costs simply add up, so a move changes two.
    missing, split_pixels = 0, 0.0
    for k in range(len(of_class)):
        missing += common[k] and having[split, k] == 0
        split_pixels += pixels[split, k]
        goal = max(shares[split] * of_class[k], 1e-9)
        short[k] = max(1 - pixels[split, k] / goal, 0.0)
    overall = abs(split_pixels - shares[split] * total) / max(total, 1.0)
    return 10 * missing + overall + needs[split] * (_sum(short) / len(short))


@njit(cache=True, nogil=True)
def _sum(values):  # type: ignore[no-untyped-def]
    # In NumPy's order, eight sums side by side, so that each digit is as its `mean` gives it.
    count = len(values)
    eights = count - count % 8
    total = 0.0
    if eights:
        lanes = values[:8].copy()
        for start in range(8, eights, 8):
            for k in range(8):
                lanes[k] += values[start + k]
        total = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + (
            (lanes[4] + lanes[5]) + (lanes[6] + lanes[7])
        )
    for k in range(eights, count):
        total += values[k]
    return total

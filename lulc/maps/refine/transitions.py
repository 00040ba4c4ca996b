"""Consistency over periods: the likeliest allowed sequence of classes of every pixel (Viterbi).

A pixel's classes over the periods are a hidden Markov chain (Rabiner 1989, doi:10.1109/5.18626):
the model's probabilities are those of what was observed, a matrix says which class may follow
which. Periods in which a pixel has no class are left out of its chain.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from lulc.legend import NODATA

_LEAST = 0.005  # percentages are whole numbers: 0 and 100 stand for half a per cent less
_PREFERENCE = 1e-9  # for what was observed, and to stay: of equal sequences, what changes least

_LOGS = np.log(np.clip(np.arange(101) / 100, _LEAST, 1 - _LEAST))


def transition_logs(forbidden: np.ndarray, stay: float | None) -> np.ndarray:
    """Return the logarithms of the matrix.

    Args:
        forbidden: (K, K) bool, from the row's class to the column's.
        stay: probability that a class stays; the allowed changes share the rest evenly. None: what
            is allowed is equally likely.

    Returns:
        (K, K) float64, -inf where forbidden.
    """
    count = len(forbidden)
    same = np.eye(count, dtype=bool)
    logs = np.zeros((count, count))
    if stay is not None:
        changes = (~forbidden & ~same).sum(1, keepdims=True)
        logs = np.where(same, np.log(stay), np.log((1 - stay) / np.maximum(changes, 1)))
    logs = logs + same * _PREFERENCE
    logs[forbidden] = -np.inf
    return logs


def make_consistent(
    classes: np.ndarray,
    confidence: np.ndarray,
    percents: np.ndarray | None,
    logs: np.ndarray,
    class_ids: Sequence[int],
    every: bool,
) -> np.ndarray:
    """Return the likeliest allowed classes of every pixel.

    Args:
        classes: (T, H, W) uint8 legend ids over the periods, 255 where there is none.
        confidence: (T, H, W) uint8 percent.
        percents: (T, K, H, W) uint8 percent of all classes; None: the classes but the mapped one
            share what its confidence leaves. Where a step before gave a pixel another class than
            the likeliest, the two change places.
        logs: (K, K) of `transition_logs`.
        class_ids: the K legend ids.
        every: whether all pixels are looked at; else those with a forbidden transition alone, the
            others stay as they are.

    Returns:
        (T, H, W) uint8.
    """
    ids = np.array(class_ids, np.uint8)
    to_number = np.full(256, NODATA, np.uint8)
    to_number[ids] = np.arange(len(ids))
    numbers = to_number[classes]
    if percents is None:
        percents = np.empty((len(classes), 0, 0, 0), np.uint8)
    _fill(numbers, confidence, percents, logs, every, _LOGS)
    to_id = np.full(256, NODATA, np.uint8)
    to_id[: len(ids)] = ids
    refined: np.ndarray = to_id[numbers]
    return refined


@njit(cache=True, nogil=True)
def _fill(numbers, confidence, percents, logs, every, percent_logs):  # type: ignore[no-untyped-def]
    periods, height, width = numbers.shape
    count = len(logs)
    scores, before = np.empty((periods, count)), np.empty((periods, count), np.int64)
    steps = np.empty(periods, np.int64)
    for row in range(height):
        for col in range(width):
            seen, is_allowed = 0, True
            for period in range(periods):
                number = numbers[period, row, col]
                if number != NODATA:
                    if seen:
                        last = numbers[steps[seen - 1], row, col]
                        is_allowed &= logs[last, number] > -np.inf
                    steps[seen] = period
                    seen += 1
            if seen < 2 or (is_allowed and not every):
                continue
            for step in range(seen):
                period = steps[step]
                _observe(
                    numbers, confidence, percents, percent_logs, period, row, col, scores[step]
                )
                if step == 0:
                    continue
                for number in range(count):
                    best = 0
                    for other in range(count):
                        reached = scores[step - 1, other] + logs[other, number]
                        if reached > scores[step - 1, best] + logs[best, number]:
                            best = other
                    before[step, number] = best
                    scores[step, number] += scores[step - 1, best] + logs[best, number]
            number = int(np.argmax(scores[seen - 1]))
            for step in range(seen - 1, -1, -1):
                numbers[steps[step], row, col] = number
                if step:
                    number = before[step, number]


@njit(cache=True, nogil=True)
def _observe(numbers, confidence, percents, percent_logs, period, row, col, scores):  # type: ignore[no-untyped-def]
    # Fills the logarithm of how likely what was observed is of each class.
    own, count = numbers[period, row, col], len(scores)
    if percents.shape[1]:
        for number in range(count):
            scores[number] = percent_logs[percents[period, number, row, col]]
        likeliest = int(np.argmax(scores))
        scores[own], scores[likeliest] = scores[likeliest], scores[own]
    else:
        share = min(max(confidence[period, row, col] / 100, 1 / count), 1 - _LEAST)
        scores[:] = np.log((1 - share) / max(count - 1, 1))
        scores[own] = np.log(share)
    scores[own] += _PREFERENCE

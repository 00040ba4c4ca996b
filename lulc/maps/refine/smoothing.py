"""Bayesian smoothing of class probabilities, as in sits.

Camara, Assunção, Carvalho, Simões, Souza, Carlos, Souza, Ziglio (2024): Bayesian inference for
post-processing of remote-sensing image classification. Remote Sensing 16(23), 4572. The logit x of
a pixel's probability of a class is taken for a noisy observation with variance σ² (`smoothness`) of
a value whose prior is normal, with the mean m and variance s² of the logits around. The posterior
mean is (s² x + σ² m) / (s² + σ²): where neighbours agree it is theirs, at a border the pixel's own.
Of the neighbours those with the highest logits are taken, a share of them, so that at a border each
class hears its own side. At the edges the window is cut.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from lulc.legend import NODATA

_LEAST = 0.005  # percentages are whole numbers: 0 and 100 stand for half a per cent less
_SHARES = np.clip(np.arange(101) / 100, _LEAST, 1 - _LEAST)
_LOGITS = np.log(_SHARES / (1 - _SHARES))


def smooth(
    percents: np.ndarray, window: int, smoothness: float, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth class probabilities.

    Args:
        percents: (K, H, W) uint8 percent, 255 where there is no class.
        window: side in pixels of the square around a pixel, odd.
        smoothness: variance of a pixel's logits; the larger, the more its neighbours count.
        share: of the neighbours, those with the highest logits of a class.

    Returns:
        The likeliest class of each pixel as its number, (H, W) uint8, 255 where there is none; and
        the probabilities in percent, (K, H, W) uint8, which add up to 100 but for rounding.
    """
    chosen, smoothed = np.full(percents.shape[1:], NODATA, np.uint8), np.full_like(percents, NODATA)
    contiguous = np.ascontiguousarray(percents)
    _smooth(contiguous, window // 2, smoothness, share, _LOGITS, chosen, smoothed)
    return chosen, smoothed


@njit(cache=True, nogil=True)
def _smooth(percents, radius, smoothness, share, logits, chosen, smoothed):  # type: ignore[no-untyped-def]
    # The window's percentages are counted, not sorted: there are no more than 101 of them.
    classes, height, width = percents.shape
    counts = np.zeros((classes, 101), np.int32)
    highest = np.zeros(classes, np.int64)
    posterior = np.empty(classes)
    for row in range(height):
        top, bottom = max(0, row - radius), min(height, row + radius + 1)
        counts[:] = 0
        highest[:] = 0
        pixels = 0
        for col in range(-radius, width):
            entering, leaving = col + radius, col - radius - 1
            for near in range(top, bottom):
                if entering < width and percents[0, near, entering] != NODATA:
                    pixels += 1
                    for number in range(classes):
                        percent = percents[number, near, entering]
                        counts[number, percent] += 1
                        highest[number] = max(highest[number], percent)
                if leaving >= 0 and percents[0, near, leaving] != NODATA:
                    pixels -= 1
                    for number in range(classes):
                        counts[number, percents[number, near, leaving]] -= 1
            if col < 0 or percents[0, row, col] == NODATA:
                continue
            taken = int(np.ceil(share * pixels))
            total = 0.0
            for number in range(classes):
                while counts[number, highest[number]] == 0:
                    highest[number] -= 1
                left, percent = taken, highest[number]
                sum_of, sum_of_squares = 0.0, 0.0
                while left > 0:
                    count = min(left, counts[number, percent])
                    if count > 0:
                        logit = logits[percent]
                        sum_of += count * logit
                        sum_of_squares += count * logit * logit
                        left -= count
                    percent -= 1
                mean, variance = sum_of / taken, 0.0
                if taken > 1:
                    variance = max(0.0, (sum_of_squares - sum_of * mean) / (taken - 1))
                own = logits[percents[number, row, col]]
                logit = (variance * own + smoothness * mean) / (variance + smoothness)
                posterior[number] = 1 / (1 + np.exp(-logit))
                total += posterior[number]
            best = 0
            for number in range(classes):
                if posterior[number] > posterior[best]:
                    best = number
                smoothed[number, row, col] = int(100 * posterior[number] / total + 0.5)
            chosen[row, col] = best

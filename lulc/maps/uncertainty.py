"""How sure a map is of each pixel: entropy and margin of the class probabilities."""

from __future__ import annotations

import numpy as np

from lulc.legend import NODATA

BANDS = ("entropy", "margin")
_ROWS = 512  # of a map that are computed at once


def measure_uncertainty(percents: np.ndarray) -> np.ndarray:
    """Return entropy and margin of each pixel.

    The entropy is Shannon's over its largest value, that of equally likely classes: 0 where one
    class is certain, 100 where none is likelier than another. The margin is the probability of the
    likeliest class less that of the next: 100 where one class is certain.

    Args:
        percents: (K, H, W) uint8 percent of all classes, 255 where there is no class.

    Returns:
        (2, H, W) uint8 percent, 255 where there is no class.
    """
    out = np.full((2, *percents.shape[1:]), NODATA, np.uint8)
    for row in range(0, percents.shape[1], _ROWS):
        strip = percents[:, row : row + _ROWS]
        has_class = strip[0] != NODATA
        entropy, margin = out[:, row : row + _ROWS]
        entropy[has_class] = _entropy(strip)[has_class]
        margin[has_class] = _margin(strip)[has_class]
    return out


def _entropy(percents: np.ndarray) -> np.ndarray:
    # Percentages are whole numbers that add up to 100 but for rounding: shares of their sum.
    table = np.zeros(256)
    table[1:101] = np.arange(1, 101) * np.log(np.arange(1, 101))
    total = np.zeros(percents.shape[1:])
    terms = np.zeros(percents.shape[1:])
    for of_class in percents:
        total += of_class
        terms += table[of_class]
    total = np.maximum(total, 1)
    entropy = (np.log(total) - terms / total) / np.log(max(len(percents), 2))
    percents_of_largest: np.ndarray = np.clip(np.rint(100 * entropy), 0, 100).astype(np.uint8)
    return percents_of_largest


def _margin(percents: np.ndarray) -> np.ndarray:
    first = np.zeros(percents.shape[1:], np.uint8)
    second = first.copy()
    for of_class in percents:
        np.maximum(second, np.minimum(first, of_class), out=second)
        np.maximum(first, of_class, out=first)
    margin: np.ndarray = first - second
    return margin

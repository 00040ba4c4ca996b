"""The majority filter: every pixel takes the class that most pixels around it have."""

from __future__ import annotations

import numpy as np
from numba import njit

from lulc.legend import NODATA


def filter_majority(classes: np.ndarray, window: int) -> np.ndarray:
    """Give every pixel the class that most pixels of the square around it have.

    Of classes that are equally frequent it keeps its own if that is one of them, else takes the
    one with the lowest id. Pixels without a class stay so, and do not count.

    Args:
        classes: (H, W) uint8 legend ids, 255 where there is none.
        window: side of the square in pixels, odd. At the edges the square is cut.

    Returns:
        (H, W) uint8.
    """
    out = np.empty_like(classes)
    present = np.flatnonzero(np.bincount(classes.ravel(), minlength=256)[:NODATA])
    _filter(np.ascontiguousarray(classes), window // 2, present.astype(np.uint8), out)
    return out


@njit(cache=True, nogil=True)
def _filter(classes, radius, present, out):  # type: ignore[no-untyped-def]
    height, width = classes.shape
    counts = np.zeros(256, np.int32)
    for row in range(height):
        top, bottom = max(0, row - radius), min(height, row + radius + 1)
        counts[:] = 0
        for near in range(top, bottom):
            for col in range(min(radius, width)):
                counts[classes[near, col]] += 1
        for col in range(width):
            # The square moves by one column.
            if col + radius < width:
                for near in range(top, bottom):
                    counts[classes[near, col + radius]] += 1
            if col > radius:
                for near in range(top, bottom):
                    counts[classes[near, col - radius - 1]] -= 1
            best = classes[row, col]
            if best != NODATA:
                pixels = (bottom - top) * (min(width, col + radius + 1) - max(0, col - radius))
                if 2 * counts[best] < pixels:
                    for other in present:
                        if counts[other] > counts[best]:
                            best = other
            out[row, col] = best

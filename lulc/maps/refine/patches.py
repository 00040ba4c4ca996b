"""The minimum mapping unit: patches of fewer pixels are merged into what surrounds them.

A patch is the pixels of one class that touch by their sides. All small patches are merged at once,
each into the class with which it shares the longest border, in pixel sides; only borders with
patches that are large enough count, and of equal borders that of the class with the lowest id. A
small patch among small ones alone waits for a further round, in which its neighbours have grown;
after ROUNDS, and where only pixels without a class surround it, it stays.

So no patch that is large enough loses a pixel, and it is enough to see a patch's first `unit`
pixels: the operation has a bounded reach, however large patches are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from lulc.legend import NODATA

ROUNDS = 3
_NONE, _DONE = -1, -2  # in place of a patch's number: of no class, of a patch that was looked at


def reach_of_unit(unit: int) -> int:
    """Return how many pixels around a pixel its class depends on.

    A small patch reaches `unit - 2` pixels from one of its own; a neighbour lies one further, and
    `unit - 1` more tell whether that is large enough.
    """
    return ROUNDS * 2 * (unit - 1)


def merge_small_patches(classes: np.ndarray, unit: int) -> np.ndarray:
    """Merge patches of fewer than `unit` pixels into the class with the longest border.

    Args:
        classes: (H, W) uint8 legend ids, 255 where there is none.
        unit: the least number of pixels of a patch.

    Returns:
        (H, W) uint8; pixels without a class stay so.
    """
    current = np.ascontiguousarray(classes)
    for _ in range(ROUNDS):
        merged = current.copy()
        numbers = np.empty(current.size, np.int32)
        sizes = _number_patches(current, numbers)
        changed, left = _merge(current.ravel(), current.shape[1], numbers, sizes, unit, merged)
        current = merged
        if not (changed and left):
            break
    return current


@njit(cache=True, nogil=True)
def _number_patches(classes, numbers):  # type: ignore[no-untyped-def]
    # Fills the number of each pixel's patch; returns the pixels of each.
    height, width = classes.shape
    parents = np.empty(height * width + 1, np.int32)
    count = 0
    for row in range(height):
        for col in range(width):
            at, own = row * width + col, classes[row, col]
            if own == NODATA:
                numbers[at] = _NONE
                continue
            number = -1
            if col > 0 and classes[row, col - 1] == own:
                number = numbers[at - 1]
            if row > 0 and classes[row - 1, col] == own:
                above = numbers[at - width]
                if number < 0:
                    number = above
                elif above != number:
                    # Two that were taken for two patches meet: the lower number is for both.
                    while parents[above] != above:
                        above = parents[above]
                    while parents[number] != number:
                        number = parents[number]
                    lower, higher = min(above, number), max(above, number)
                    parents[higher] = lower
                    number = lower
            if number < 0:
                number = count
                parents[count] = count
                count += 1
            numbers[at] = number
    sizes = np.zeros(count, np.int32)
    for number in range(count):
        parents[number] = parents[parents[number]]
    for at in range(height * width):
        if numbers[at] >= 0:
            numbers[at] = parents[numbers[at]]
            sizes[numbers[at]] += 1
    return sizes


@njit(cache=True, nogil=True)
def _merge(classes, width, numbers, sizes, unit, merged):  # type: ignore[no-untyped-def]
    # Returns whether a patch was merged, and whether a small one that has neighbours was not.
    flat, size = merged.ravel(), classes.size
    borders = np.zeros(256, np.int64)
    pixels = np.empty(max(unit, 1), np.int64)
    changed = left = False
    for first in range(size):
        number = numbers[first]
        if number < 0 or sizes[number] >= unit:
            continue
        borders[:] = 0
        found, seen, is_alone = 1, 0, True
        pixels[0], numbers[first] = first, _DONE
        while seen < found:
            at = pixels[seen]
            seen += 1
            col = at % width
            for side in range(4):
                if side == 0:
                    is_there, near = at >= width, at - width
                elif side == 1:
                    is_there, near = at + width < size, at + width
                elif side == 2:
                    is_there, near = col > 0, at - 1
                else:
                    is_there, near = col + 1 < width, at + 1
                if not is_there or classes[near] == NODATA:
                    continue
                other = numbers[near]
                if other == number:
                    numbers[near] = _DONE
                    pixels[found] = near
                    found += 1
                elif classes[near] != classes[first]:
                    is_alone = False
                    if other >= 0 and sizes[other] >= unit:
                        borders[classes[near]] += 1
        best = int(np.argmax(borders))
        if borders[best]:
            changed = True
            for position in range(found):
                flat[pixels[position]] = best
        elif not is_alone:
            left = True
    return changed, left

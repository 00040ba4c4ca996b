"""Statistics of a pixel's surroundings: texture and terrain.

Every sum runs over its pixels in one order, so that a pixel's value does not depend on the array it
lies in, as long as its window does. Texture is the mean and the standard deviation (of the
population) of the valid pixels of a square window. Slope and aspect are by Horn 1981,
doi:10.1109/PROC.1981.11918; the topographic position index is the pixel less the mean of its window
(Weiss 2001, Topographic position and landforms analysis).
"""

from __future__ import annotations

import numpy as np
from numba import njit


def window_mean_sd(
    values: np.ndarray, valid: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the valid pixels in a window around each pixel.

    Args:
        values: (H, W) float64.
        valid: (H, W) bool.
        side: of the window in pixels, odd; it is cut off at the array's edges.

    Returns:
        Two (H, W) float64; 0 where no pixel of the window is valid.
    """
    counted = valid & np.isfinite(values)
    mean, sd = _mean_sd(np.where(counted, values, 0.0), counted, side // 2)
    return mean, sd


@njit(cache=True, nogil=True)
def _mean_sd(values, valid, radius):  # type: ignore[no-untyped-def]
    height, width = values.shape
    count = np.zeros((height, width), np.int64)
    total, squares = np.zeros((height, width)), np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            for n in range(max(j - radius, 0), min(j + radius + 1, width)):
                count[i, j] += valid[i, n]
                total[i, j] += values[i, n]
                squares[i, j] += values[i, n] * values[i, n]
    mean, sd = np.zeros((height, width)), np.zeros((height, width))
    for i in range(height):
        first, end = max(i - radius, 0), min(i + radius + 1, height)
        for j in range(width):
            n, sum_, sum_of_squares = 0, 0.0, 0.0
            for k in range(first, end):
                n += count[k, j]
                sum_ += total[k, j]
                sum_of_squares += squares[k, j]
            if n:
                mean[i, j] = sum_ / n
                sd[i, j] = np.sqrt(max(sum_of_squares / n - mean[i, j] * mean[i, j], 0.0))
    return mean, sd


def terrain(
    heights: np.ndarray, valid: np.ndarray, ground: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return slope and aspect of a surface.

    A pixel without data, and one outside of the array, is as high as the pixel beside it that is
    looked at.

    Args:
        heights: (H, W) float64, in metres.
        valid: (H, W) bool.
        ground: (H / S, W / S, 2, 2) of squares of S x S pixels: metres to the east, and to the
            north, that a step of one column (first), and of one row, leads.

    Returns:
        Three (H, W) float64: the slope in degrees; the sine and the cosine of the aspect, the
        direction in which the surface falls, clockwise from north. Both are 0 where it is level.
    """
    counted = valid & np.isfinite(heights)
    square = heights.shape[0] // ground.shape[0]
    slope, sine, cosine = _terrain(np.where(counted, heights, 0.0), counted, ground, square)
    return slope, sine, cosine


@njit(cache=True, nogil=True)
def _terrain(heights, valid, ground, square):  # type: ignore[no-untyped-def]
    height, width = heights.shape
    slope = np.zeros((height, width))
    sine, cosine = np.zeros((height, width)), np.zeros((height, width))
    z = np.empty((3, 3))
    for i in range(height):
        for j in range(width):
            if not valid[i, j]:
                continue
            for a in range(3):
                for b in range(3):
                    y, x = i + a - 1, j + b - 1
                    is_there = 0 <= y < height and 0 <= x < width and valid[y, x]
                    z[a, b] = heights[y, x] if is_there else heights[i, j]
            by_col = (z[0, 2] + 2 * z[1, 2] + z[2, 2] - z[0, 0] - 2 * z[1, 0] - z[2, 0]) / 8
            by_row = (z[2, 0] + 2 * z[2, 1] + z[2, 2] - z[0, 0] - 2 * z[0, 1] - z[0, 2]) / 8
            steps = ground[i // square, j // square]
            # by_col = east * steps[0, 0] + north * steps[0, 1], and so of rows.
            area = steps[0, 0] * steps[1, 1] - steps[0, 1] * steps[1, 0]
            east = (by_col * steps[1, 1] - by_row * steps[0, 1]) / area
            north = (by_row * steps[0, 0] - by_col * steps[1, 0]) / area
            rise = np.sqrt(east * east + north * north)
            slope[i, j] = np.degrees(np.arctan(rise))
            if rise > 0:
                sine[i, j], cosine[i, j] = -east / rise, -north / rise
    return slope, sine, cosine

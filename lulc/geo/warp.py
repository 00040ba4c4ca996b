"""Resampling from one grid onto another.

Compiled loops gather pixels at coordinates that are interpolated between exact knots
(`lulc.geo.overlap`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numba import njit

from lulc.bands import Resampling
from lulc.errors import UsageError
from lulc.geo.grid import Grid
from lulc.geo.overlap import PixelMap, locate, turned

_MODES = {"nearest": 0, "bilinear": 1, "average": 2}


def warp(
    pixels: np.ndarray, valid: np.ndarray, source: Grid, grid: Grid, resampling: Resampling
) -> tuple[np.ndarray, np.ndarray]:
    """Resample pixels of one grid onto another.

    Args:
        pixels: (H, W) pixels on `source`.
        valid: (H, W) bool.
        source: Grid of the pixels.
        grid: Grid of the result.
        resampling: See `gather`.

    Returns:
        (H', W') pixels on `grid`, 0 where not valid, of the same dtype; (H', W') valid.
    """
    maps = (locate(moved, grid) for moved in turned(source, grid))
    return first_valid(gather(pixels, valid, m, (0, 0), resampling) for m in maps)


def first_valid(images: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and valid (H, W) of the first of some images that is valid, pixel by pixel.

    The arrays of the first image are changed in place.
    """
    (pixels, valid), *others = images
    for other_pixels, other_valid in others:
        np.copyto(pixels, other_pixels, where=other_valid & ~valid)
        valid |= other_valid
    return pixels, valid


def effective_resampling(resampling: Resampling, scale: float) -> Resampling:
    """Return the resampling used for a source whose pixels are `scale` times finer.

    Bilinear interpolation would skip most pixels of a much finer source: it is averaged instead.
    """
    return "average" if resampling == "bilinear" and scale > 1.9 else resampling


def gather(
    pixels: np.ndarray,
    valid: np.ndarray | None,
    pixel_map: PixelMap,
    corner: tuple[int, int],
    resampling: Resampling,
) -> tuple[np.ndarray, np.ndarray]:
    """Resample a window of a source onto the grid of a pixel map.

    `nearest` and `bilinear` give a valid pixel where the nearest source pixel is valid; `bilinear`
    drops the weights of other invalid neighbours and scales the remaining ones to one, as GDAL
    does. `average` is the mean over the pixel's own extent in the source, valid where half of it
    is. Integers are rounded half up.

    Args:
        pixels: (h, w) pixels of the window.
        valid: (h, w) bool; None where all pixels are valid.
        pixel_map: Where the grid lies on the source.
        corner: (row, column) of the source at which the window starts.
        resampling: "nearest", "bilinear" or "average".

    Returns:
        (H, W) pixels on the grid, 0 where not valid, of the dtype of `pixels`; (H, W) valid.

    Raises:
        UsageError: the resampling is not one of these.
    """
    if resampling not in _MODES:
        raise UsageError(f"resampling {resampling!r} is not known: use {', '.join(_MODES)}")
    shape = int(pixel_map.knot_rows[-1]), int(pixel_map.knot_cols[-1])
    grid_pixels, grid_valid = np.zeros(shape, pixels.dtype), np.zeros(shape, bool)
    if not pixels.size:
        return grid_pixels, grid_valid
    if valid is None or valid.all():
        masked, source_valid = False, np.zeros((1, 1), bool)
    else:
        masked, source_valid = True, np.ascontiguousarray(valid)
    _gather(
        np.ascontiguousarray(pixels),
        source_valid,
        masked,
        pixel_map.knot_cols,
        pixel_map.knot_rows,
        pixel_map.source_cols - corner[1],
        pixel_map.source_rows - corner[0],
        pixel_map.valid_cells,
        _MODES[effective_resampling(resampling, pixel_map.scale)],
        0.5 if pixels.dtype.kind in "iu" else 0.0,
        grid_pixels,
        grid_valid,
    )
    return grid_pixels, grid_valid


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(  # type: ignore[no-untyped-def]
    source, valid, masked, knot_cols, knot_rows, x, y, cells, mode, rounding, out, out_valid
):
    # x, y: columns and rows of the source window at the knots. valid: of the window's pixels, read
    # only if `masked`. cells: valid cells between knots. rounding: added before integers are cut.
    height, width = source.shape
    for i in range(len(knot_rows) - 1):
        for row in range(knot_rows[i], knot_rows[i + 1]):
            t = (row + 0.5 - knot_rows[i]) / (knot_rows[i + 1] - knot_rows[i])
            for k in range(len(knot_cols) - 1):
                if not cells[i, k]:
                    continue
                first, last = knot_cols[k], knot_cols[k + 1]
                x0 = x[i, k] * (1 - t) + x[i + 1, k] * t
                x1 = x[i, k + 1] * (1 - t) + x[i + 1, k + 1] * t
                y0 = y[i, k] * (1 - t) + y[i + 1, k] * t
                y1 = y[i, k + 1] * (1 - t) + y[i + 1, k + 1] * t
                if (
                    max(x0, x1) < -1
                    or max(y0, y1) < -1
                    or min(x0, x1) > width + 1
                    or min(y0, y1) > height + 1
                ):
                    continue
                dx, dy = (x1 - x0) / (last - first), (y1 - y0) / (last - first)
                sx, sy = x0 + 0.5 * dx, y0 + 0.5 * dy
                if mode == 0:
                    _nearest_run(
                        source,
                        valid,
                        masked,
                        sx,
                        sy,
                        dx,
                        dy,
                        out[row, first:last],
                        out_valid[row, first:last],
                    )
                elif mode == 1:
                    is_inner = (
                        min(x0, x1) >= 0.5
                        and min(y0, y1) >= 0.5
                        and max(x0, x1) < width - 0.5
                        and max(y0, y1) < height - 0.5
                    )
                    if is_inner and not masked:
                        _inner_run(
                            source,
                            sx - 0.5,
                            sy - 0.5,
                            dx,
                            dy,
                            rounding,
                            out[row, first:last],
                            out_valid[row, first:last],
                        )
                    else:
                        _bilinear_run(
                            source,
                            valid,
                            masked,
                            sx,
                            sy,
                            dx,
                            dy,
                            rounding,
                            out[row, first:last],
                            out_valid[row, first:last],
                        )
                else:
                    down = knot_rows[i + 1] - knot_rows[i]
                    ex = (x[i + 1, k] - x[i, k] + x[i + 1, k + 1] - x[i, k + 1]) / (2 * down)
                    ey = (y[i + 1, k] - y[i, k] + y[i + 1, k + 1] - y[i, k + 1]) / (2 * down)
                    wide, tall = np.hypot(dx, ex), np.hypot(dy, ey)
                    args = (sx, sy, dx, dy, wide, tall, rounding)
                    _average_run(
                        source,
                        valid,
                        masked,
                        args,
                        out[row, first:last],
                        out_valid[row, first:last],
                    )


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest_run(  # type: ignore[no-untyped-def]
    source, valid, masked, sx, sy, dx, dy, out, out_valid
):
    height, width = source.shape
    for c in range(len(out)):
        # A hair keeps a coordinate that is a whole number but for rounding on its own pixel, as in
        # GDAL.
        j, i = int(np.floor(sx + c * dx + 1e-10)), int(np.floor(sy + c * dy + 1e-10))
        if 0 <= i < height and 0 <= j < width and (not masked or valid[i, j]):
            out[c] = source[i, j]
            out_valid[c] = True


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _inner_run(source, sx, sy, dx, dy, rounding, out, out_valid):  # type: ignore[no-untyped-def]
    # Coordinates in fixed point (32 bits of fraction) are a quarter faster than rounding floats to
    # indexes.
    unit, width = 4294967296.0, source.shape[1]
    flat = source.reshape(-1)
    x, y, step_x, step_y = (
        np.int64(sx * unit),
        np.int64(sy * unit),
        np.int64(dx * unit),
        np.int64(dy * unit),
    )
    for c in range(len(out)):
        k = np.uint64((y >> 32) * width + (x >> 32))
        fx, fy = (x & 0xFFFFFFFF) / unit, (y & 0xFFFFFFFF) / unit
        a, b = float(flat[k]), float(flat[k + np.uint64(1)])
        d, e = float(flat[k + np.uint64(width)]), float(flat[k + np.uint64(width + 1)])
        top, low = a + (b - a) * fx, d + (e - d) * fx
        value = top + (low - top) * fy
        out[c] = np.floor(value + rounding) if rounding > 0 else value
        out_valid[c] = True
        x += step_x
        y += step_y


@njit(cache=True, nogil=True, error_model="numpy")
def _bilinear_run(  # type: ignore[no-untyped-def]
    source, valid, masked, sx, sy, dx, dy, rounding, out, out_valid
):
    height, width = source.shape
    for c in range(len(out)):
        px, py = sx + c * dx, sy + c * dy
        j, i = int(np.floor(px + 1e-10)), int(np.floor(py + 1e-10))
        if i < 0 or j < 0 or i >= height or j >= width or (masked and not valid[i, j]):
            continue
        left, top = int(np.floor(px - 0.5)), int(np.floor(py - 0.5))
        fx, fy = px - 0.5 - left, py - 0.5 - top
        total, weights = 0.0, 0.0
        for di in range(2):
            for dj in range(2):
                ii, jj = top + di, left + dj
                if 0 <= ii < height and 0 <= jj < width and (not masked or valid[ii, jj]):
                    weight = (fy if di else 1 - fy) * (fx if dj else 1 - fx)
                    total += weight * source[ii, jj]
                    weights += weight
        value = total / weights
        out[c] = np.floor(value + rounding) if rounding > 0 else value
        out_valid[c] = True


@njit(cache=True, nogil=True, error_model="numpy")
def _average_run(source, valid, masked, args, out, out_valid):  # type: ignore[no-untyped-def]
    # A box as wide and tall as the pixel's sides reach in the source, around its centre: without
    # rotation the boxes of neighbours share their edges, so that the mean is kept.
    sx, sy, dx, dy, wide, tall, rounding = args
    height, width = source.shape
    for c in range(len(out)):
        left, top = sx + c * dx - wide / 2, sy + c * dy - tall / 2
        right, bottom = left + wide, top + tall
        total, weights = 0.0, 0.0
        for i in range(max(0, int(np.floor(top))), min(height, int(np.ceil(bottom)))):
            row_weight = min(bottom, i + 1.0) - max(top, float(i))
            for j in range(max(0, int(np.floor(left))), min(width, int(np.ceil(right)))):
                if not masked or valid[i, j]:
                    weight = row_weight * (min(right, j + 1.0) - max(left, float(j)))
                    total += weight * source[i, j]
                    weights += weight
        if weights > 0 and weights >= 0.5 * wide * tall * (1 - 1e-6):
            value = total / weights
            out[c] = np.floor(value + rounding) if rounding > 0 else value
            out_valid[c] = True

"""Resampling from one Grid onto another: compiled loops that gather pixels at coordinates interpolated between exact knots."""

from __future__ import annotations

import numpy as np
from numba import njit

from lulc.bands import Resampling
from lulc.errors import UsageError
from lulc.geo.grid import Grid
from lulc.geo.overlap import PixelMap, locate

_MODES = {"nearest": 0, "bilinear": 1, "average": 2}


def warp(
    pixels: np.ndarray, valid: np.ndarray, source: Grid, grid: Grid, resampling: Resampling
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W) and valid (H, W) of a source grid resampled onto another; pixels are 0 where not valid."""
    return gather(pixels, valid, locate(source, grid), (0, 0), resampling)


def effective(resampling: Resampling, scale: float) -> Resampling:
    """The resampling that a source this many times finer takes: interpolation would sample it sparsely, so it is averaged."""
    return "average" if resampling == "bilinear" and scale > 1.9 else resampling


def gather(
    pixels: np.ndarray,
    valid: np.ndarray | None,
    at: PixelMap,
    corner: tuple[int, int],
    resampling: Resampling,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and valid on a placed grid, from the window of the source that starts at corner (row, column); valid None: all are.

    nearest and bilinear: valid where the nearest source pixel is; bilinear drops the weights of other invalid neighbours and
    scales the rest to one, as GDAL does. average: mean over the pixel's own extent in the source, valid where half of it is.
    Integers are rounded half up.
    """
    if resampling not in _MODES:
        raise UsageError(f"resampling {resampling!r} is not known: use {', '.join(_MODES)}")
    height, width = int(at.v[-1]), int(at.u[-1])
    out, good = np.zeros((height, width), pixels.dtype), np.zeros((height, width), bool)
    if pixels.size:
        masked = valid is not None and not valid.all()
        seen = (
            np.ascontiguousarray(valid) if masked and valid is not None else np.zeros((1, 1), bool)
        )
        mode = _MODES[effective(resampling, at.scale)]
        half = 0.5 if pixels.dtype.kind in "iu" else 0.0
        source = np.ascontiguousarray(pixels)
        _gather(
            source,
            seen,
            masked,
            at.u,
            at.v,
            at.x - corner[1],
            at.y - corner[0],
            at.usable,
            mode,
            half,
            out,
            good,
        )
    return out, good


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(source, seen, masked, u, v, x, y, usable, mode, half, out, good):  # type: ignore[no-untyped-def]
    height, width = source.shape
    for i in range(len(v) - 1):
        for row in range(v[i], v[i + 1]):
            t = (row + 0.5 - v[i]) / (v[i + 1] - v[i])
            for k in range(len(u) - 1):
                if not usable[i, k]:
                    continue
                first, last = u[k], u[k + 1]
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
                        seen,
                        masked,
                        sx,
                        sy,
                        dx,
                        dy,
                        out[row, first:last],
                        good[row, first:last],
                    )
                elif mode == 1:
                    inside = (
                        min(x0, x1) >= 0.5
                        and min(y0, y1) >= 0.5
                        and max(x0, x1) < width - 0.5
                        and max(y0, y1) < height - 0.5
                    )
                    if inside and not masked:
                        _inner_run(
                            source,
                            sx - 0.5,
                            sy - 0.5,
                            dx,
                            dy,
                            half,
                            out[row, first:last],
                            good[row, first:last],
                        )
                    else:
                        _bilinear_run(
                            source,
                            seen,
                            masked,
                            sx,
                            sy,
                            dx,
                            dy,
                            half,
                            out[row, first:last],
                            good[row, first:last],
                        )
                else:
                    down = v[i + 1] - v[i]
                    ex = (x[i + 1, k] - x[i, k] + x[i + 1, k + 1] - x[i, k + 1]) / (2 * down)
                    ey = (y[i + 1, k] - y[i, k] + y[i + 1, k + 1] - y[i, k + 1]) / (2 * down)
                    wide, tall = np.hypot(dx, ex), np.hypot(dy, ey)
                    args = (sx, sy, dx, dy, wide, tall, half)
                    _average_run(
                        source, seen, masked, args, out[row, first:last], good[row, first:last]
                    )


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest_run(source, seen, masked, sx, sy, dx, dy, out, good):  # type: ignore[no-untyped-def]
    height, width = source.shape
    for c in range(len(out)):
        # The hair keeps a coordinate that is whole but for rounding on its own pixel, as in GDAL.
        j, i = int(np.floor(sx + c * dx + 1e-10)), int(np.floor(sy + c * dy + 1e-10))
        if 0 <= i < height and 0 <= j < width and (not masked or seen[i, j]):
            out[c] = source[i, j]
            good[c] = True


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _inner_run(source, sx, sy, dx, dy, half, out, good):  # type: ignore[no-untyped-def]
    # Coordinates in fixed point (32 bits of fraction) are a quarter faster than rounding floats to indexes.
    one, width = 4294967296.0, source.shape[1]
    flat = source.reshape(-1)
    x, y, step_x, step_y = (
        np.int64(sx * one),
        np.int64(sy * one),
        np.int64(dx * one),
        np.int64(dy * one),
    )
    for c in range(len(out)):
        k = np.uint64((y >> 32) * width + (x >> 32))
        fx, fy = (x & 0xFFFFFFFF) / one, (y & 0xFFFFFFFF) / one
        a, b = float(flat[k]), float(flat[k + np.uint64(1)])
        d, e = float(flat[k + np.uint64(width)]), float(flat[k + np.uint64(width + 1)])
        top, low = a + (b - a) * fx, d + (e - d) * fx
        value = top + (low - top) * fy
        out[c] = np.floor(value + half) if half > 0 else value
        good[c] = True
        x += step_x
        y += step_y


@njit(cache=True, nogil=True, error_model="numpy")
def _bilinear_run(source, seen, masked, sx, sy, dx, dy, half, out, good):  # type: ignore[no-untyped-def]
    height, width = source.shape
    for c in range(len(out)):
        px, py = sx + c * dx, sy + c * dy
        j, i = int(np.floor(px + 1e-10)), int(np.floor(py + 1e-10))
        if i < 0 or j < 0 or i >= height or j >= width or (masked and not seen[i, j]):
            continue
        left, top = int(np.floor(px - 0.5)), int(np.floor(py - 0.5))
        fx, fy = px - 0.5 - left, py - 0.5 - top
        total, weights = 0.0, 0.0
        for di in range(2):
            for dj in range(2):
                ii, jj = top + di, left + dj
                if 0 <= ii < height and 0 <= jj < width and (not masked or seen[ii, jj]):
                    weight = (fy if di else 1 - fy) * (fx if dj else 1 - fx)
                    total += weight * source[ii, jj]
                    weights += weight
        value = total / weights
        out[c] = np.floor(value + half) if half > 0 else value
        good[c] = True


@njit(cache=True, nogil=True, error_model="numpy")
def _average_run(source, seen, masked, args, out, good):  # type: ignore[no-untyped-def]
    # A box as wide and tall as the pixel's sides reach in the source, around its centre: without rotation the boxes of
    # neighbours share their edges, so that the mean is kept.
    sx, sy, dx, dy, wide, tall, half = args
    height, width = source.shape
    for c in range(len(out)):
        left, top = sx + c * dx - wide / 2, sy + c * dy - tall / 2
        right, bottom = left + wide, top + tall
        total, weights = 0.0, 0.0
        for i in range(max(0, int(np.floor(top))), min(height, int(np.ceil(bottom)))):
            part = min(bottom, i + 1.0) - max(top, float(i))
            for j in range(max(0, int(np.floor(left))), min(width, int(np.ceil(right)))):
                if not masked or seen[i, j]:
                    weight = part * (min(right, j + 1.0) - max(left, float(j)))
                    total += weight * source[i, j]
                    weights += weight
        if weights > 0 and weights >= 0.5 * wide * tall * (1 - 1e-6):
            value = total / weights
            out[c] = np.floor(value + half) if half > 0 else value
            good[c] = True

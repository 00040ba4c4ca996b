"""Windows of an image that a network maps one at a time, overlapping by a margin."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from lulc.legend import NODATA
from lulc.models.contract import Contract
from lulc.models.tasks import augment
from lulc.models.tasks.task import Batch, Scaling
from lulc.models.windows import fixed_windows, kept_side
from lulc.tables import arrays

type Area = tuple[slice, slice]
"""Rows and columns."""

MARGIN = 64
"""Pixels around a window that are computed and dropped, where the core has no margin: what is kept
needs its surroundings."""


@dataclass(frozen=True, eq=False)
class WindowedImage:
    """An image that windows are cut from, and how its numbers become a network's input."""

    pixels: np.ndarray
    """(T, C, H, W) DN."""
    valid: np.ndarray
    """(T, H, W) bool."""
    days: np.ndarray
    """(T,) int64: day of the year from 1, 0 where it is not known."""
    scales: tuple[float, ...]
    """One a band: physical value = DN * scale + offset."""
    offsets: tuple[float, ...]
    device: torch.device

    def cut(self, windows: Sequence[Area], contract: Contract) -> Batch:
        """Cut windows of one size as samples, prepared as for the training of a model.

        Args:
            windows: rows and columns of each.
            contract: of the model.

        Returns:
            The samples, standardised, on the device. Labels are 255, weights 1.
        """
        count = len(windows)
        pixels, valid = (
            torch.from_numpy(np.stack([array[..., *window] for window in windows]))
            for array in (self.pixels, self.valid)
        )
        days = torch.from_numpy(self.days).expand(count, -1)
        label, weight = torch.full((count,), NODATA), torch.ones(count)
        tensors = (pixels, valid, days, label, weight)
        scaling = Scaling(self.scales, self.offsets, contract.mean, contract.std)
        batch = Batch(*(tensor.to(self.device) for tensor in tensors))
        return augment.standardise(batch, scaling)


def axis_windows(
    core: slice, length: int, side: int, multiple: int, margin: int = MARGIN
) -> Iterator[tuple[slice, slice]]:
    """Yield the windows of the core of one axis.

    A window is computed with the margin that the core has in the axis, and from a multiple of
    `multiple`, so that a network's strides fall on the same pixels in all windows.

    Args:
        core: what is to be mapped.
        length: of the axis in pixels.
        side: most pixels of a target.
        multiple: what the network's input sizes must be multiples of.
        margin: of a window where the core has none.

    Yields:
        (computed, target): the pixels that go into the network, and the part of its output that is
        kept. The targets partition the core.
    """
    margin = max(core.start, length - core.stop) or margin
    count = -(-(core.stop - core.start) // side)
    step = -(-(core.stop - core.start) // (count * multiple)) * multiple
    for start in range(core.start, core.stop, step):
        stop = min(start + step, core.stop)
        first = max(0, start - margin) // multiple * multiple
        last = first - (first - stop - margin) // multiple * multiple
        yield slice(first, min(length, last)), slice(start, stop)


def area_windows(
    core: Area, shape: Sequence[int], side: int, contract: Contract
) -> Iterator[tuple[Area, Area]]:
    """Yield the windows of the core of an image, row by row.

    Args:
        core: what is to be mapped.
        shape: (H, W) of the image.
        side: most pixels of a target's side, for a network that takes windows of any size.
        contract: of the model.

    Yields:
        (computed, target), as `axis_windows` or `fixed_windows` gives them of each axis.
    """
    if contract.window:
        yield from _cross(core, shape, partial(fixed_windows, window=contract.window))
    else:
        yield from _cross(core, shape, partial(axis_windows, side=side, multiple=contract.multiple))


def read_windows(
    shape: Sequence[int], side: int, contract: Contract
) -> Iterator[tuple[Area, Area]]:
    """Yield the parts of an image that are held at once, each as large as to be mapped by itself.

    Args:
        shape: (H, W) of the image.
        side: most pixels of a target's side.
        contract: of the model; its windows are the same in the parts as in the image.

    Yields:
        (read, target), as `axis_windows` gives them of each axis.
    """
    multiple = kept_side(contract.window) if contract.window else contract.multiple
    # A window that is moved inwards at the image's end reaches back by its whole side.
    margin = max(MARGIN, contract.window)
    of_axis = partial(axis_windows, side=side, multiple=multiple, margin=margin)
    yield from _cross(full_area(shape), shape, of_axis)


def _cross(
    core: Area,
    shape: Sequence[int],
    of_axis: Callable[[slice, int], Iterator[tuple[slice, slice]]],
) -> Iterator[tuple[Area, Area]]:
    rows, cols = (list(of_axis(*axis)) for axis in zip(core, shape, strict=True))
    for (row, target_row), (col, target_col) in itertools.product(rows, cols):
        yield (row, col), (target_row, target_col)


def full_area(shape: Sequence[int]) -> Area:
    """Return all rows and columns of an array of shape (H, W)."""
    return slice(0, shape[0]), slice(0, shape[1])


def shift_area(area: Area, origin: Area) -> Area:
    """Return an area's rows and columns counted from the first ones of another area."""
    rows, cols = (
        slice(axis.start - first.start, axis.stop - first.start)
        for axis, first in zip(area, origin, strict=True)
    )
    return rows, cols


def centre_square(
    pixels: np.ndarray, valid: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the square in the middle of an image, as samples for whole images are cut.

    Args:
        pixels: (T, C, H, W).
        valid: (T, H, W) bool.
        size: side of the square in pixels; beyond a smaller image it is not valid.

    Returns:
        Pixels (T, C, size, size) and valid (T, size, size).
    """
    height, width = valid.shape[-2:]
    top, left = (height - size) // 2, (width - size) // 2
    square = arrays.window(pixels, top, left, size, 0)
    return square, arrays.window(valid, top, left, size, 0)

"""Windows of an image that a network maps one at a time, overlapping by a margin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lulc.legend import NODATA
from lulc.models.contract import Contract
from lulc.models.tasks import augment
from lulc.models.tasks.task import Batch, Scaling

Area = tuple[slice, slice]

MARGIN = 64
"""Pixels around a window that are computed and left, where nothing says how many: what is kept needs its surroundings."""


@dataclass(frozen=True, eq=False)
class Window:
    """Pixels (T, C, H, W) and valid (T, H, W) that windows are cut from, and how their numbers become the network's."""

    pixels: np.ndarray
    valid: np.ndarray
    days: np.ndarray
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    device: torch.device

    def cut(self, parts: Sequence[Area], asks: Contract) -> Batch:
        """Parts of one size as samples, prepared as for the training of a model; numbers become floats on the device."""
        pixels, valid = (
            torch.from_numpy(np.stack([x[..., *part] for part in parts]))
            for x in (self.pixels, self.valid)
        )
        days, label = (
            torch.from_numpy(self.days).expand(len(parts), -1),
            torch.full((len(parts),), NODATA),
        )
        arrays = (pixels, valid, days, label, torch.ones(len(parts)))
        scaling = Scaling(self.scales, self.offsets, asks.mean, asks.std)
        return augment.standardise(Batch(*(x.to(self.device) for x in arrays)), scaling)


def _flip(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    # torch copies even along no axis.
    return x.flip(axes) if axes else x


def windows(core: slice, length: int, side: int, multiple: int) -> Iterator[tuple[slice, slice]]:
    """(what is computed, what of it is kept) along an axis of `length`: the kept parts partition the core, `side` at most.

    Each is computed with the margin that the core has in the axis, MARGIN where it has none; and from a multiple of `multiple`,
    so that a network's strides fall on the same pixels in all of them.
    """
    margin = max(core.start, length - core.stop) or MARGIN
    count = -(-(core.stop - core.start) // side)
    step = -(-(core.stop - core.start) // (count * multiple)) * multiple
    for start in range(core.start, core.stop, step):
        stop = min(start + step, core.stop)
        first = max(0, start - margin) // multiple * multiple
        yield (
            slice(first, min(length, first - (first - stop - margin) // multiple * multiple)),
            slice(start, stop),
        )


def shift_slice(part: slice, by: int) -> slice:
    """The slice so many places further on."""
    return slice(part.start + by, part.stop + by)

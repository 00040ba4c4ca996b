"""One class for every pixel from all dates of a period, whose days of the year the network is told."""

from __future__ import annotations

from torch import Tensor

from lulc.tasks import classes
from lulc.tasks.segment import judge, summarise
from lulc.tasks.task import Samples, Task


def dates(samples: Samples) -> tuple[Tensor, ...]:
    """Pixels (N, T, C, H, W), valid (N, T, H, W) and days of the year (N, T)."""
    return samples.pixels, samples.valid, samples.days


SERIES = Task("series", "pixels", True, "miou", dates, classes.learn, classes.answer, judge, summarise, classes.share)

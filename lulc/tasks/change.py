"""What changed between two dates: one class of change for every pixel, from → to where the legend has it."""

from __future__ import annotations

from torch import Tensor

from lulc.tasks import classes
from lulc.tasks.segment import judge, summarise
from lulc.tasks.task import Samples, Task


def pair(samples: Samples) -> tuple[Tensor, ...]:
    """The first and the last date of every sample, (N, 2, C, H, W)."""
    return (samples.pixels[:, [0, -1]],)


CHANGE = Task("change", "pixels", True, "miou", pair, classes.learn, classes.answer, judge, summarise, classes.share)

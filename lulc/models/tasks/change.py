"""What changed between two dates: one class of change for every pixel, from → to where the legend has it."""

from __future__ import annotations

from torch import Tensor

from lulc.models.tasks import classes
from lulc.models.tasks.segment import border_evidence, summarise_borders
from lulc.models.tasks.task import Batch, Task


def pair(samples: Batch) -> tuple[Tensor, ...]:
    """The first and the last date of every sample, (N, 2, C, H, W)."""
    return (samples.pixels[:, [0, -1]],)


CHANGE = Task(
    "change",
    "pixels",
    True,
    "miou",
    pair,
    classes.loss_of,
    classes.forward,
    border_evidence,
    summarise_borders,
    classes.probabilities,
)

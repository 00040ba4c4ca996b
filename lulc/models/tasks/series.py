"""One class for every pixel from all dates of a period, whose days of the year the network is told."""

from __future__ import annotations

from torch import Tensor

from lulc.models.tasks import classes
from lulc.models.tasks.segment import border_evidence, summarise_borders
from lulc.models.tasks.task import Batch, Task


def dates(samples: Batch) -> tuple[Tensor, ...]:
    """Pixels (N, T, C, H, W), valid (N, T, H, W) and days of the year (N, T)."""
    return samples.pixels, samples.valid, samples.days


SERIES = Task(
    "series",
    "pixels",
    True,
    "miou",
    dates,
    classes.loss_of,
    classes.forward,
    border_evidence,
    summarise_borders,
    classes.probabilities,
)

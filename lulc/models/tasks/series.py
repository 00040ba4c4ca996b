"""Task `series`: one class for every pixel, from all dates of a period and their days of year."""

from __future__ import annotations

from torch import Tensor

from lulc.models.tasks import classes
from lulc.models.tasks.segment import border_evidence, summarise_borders
from lulc.models.tasks.task import Batch, Task


def _inputs(batch: Batch) -> tuple[Tensor, ...]:
    """Return pixels (N, T, C, H, W), valid (N, T, H, W) and days of the year (N, T)."""
    return batch.pixels, batch.valid, batch.days


SERIES = Task(
    name="series",
    kind="pixels",
    series=True,
    best="miou",
    inputs=_inputs,
    loss=classes.network_loss,
    forward=classes.forward,
    evidence=border_evidence,
    summarise=summarise_borders,
    probabilities=classes.probabilities,
)

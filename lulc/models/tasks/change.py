"""Task `change`: one class of change for every pixel between two dates, from → to in the legend."""

from __future__ import annotations

from torch import Tensor

from lulc.models.tasks import classes
from lulc.models.tasks.segment import border_evidence, summarise_borders
from lulc.models.tasks.task import Batch, Task


def _inputs(batch: Batch) -> tuple[Tensor, ...]:
    """Return the first and the last date of every sample, (N, 2, C, H, W)."""
    return (batch.pixels[:, [0, -1]],)


CHANGE = Task(
    name="change",
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

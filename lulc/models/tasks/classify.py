"""Task `classify`: one class for a whole image."""

from __future__ import annotations

from lulc.models.tasks import classes
from lulc.models.tasks.segment import single_image
from lulc.models.tasks.task import Task

CLASSIFY = Task(
    name="classify",
    kind="image",
    series=False,
    best="accuracy",
    inputs=single_image,
    loss=classes.network_loss,
    forward=classes.forward,
    evidence=classes.evidence,
    summarise=classes.summarise_classes,
    probabilities=classes.probabilities,
)

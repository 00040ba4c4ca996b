"""One class for a whole image."""

from __future__ import annotations

from lulc.models.tasks import classes
from lulc.models.tasks.segment import image
from lulc.models.tasks.task import Task

CLASSIFY = Task(
    "classify",
    "image",
    False,
    "accuracy",
    image,
    classes.loss_of,
    classes.forward,
    classes.evidence,
    classes.summarise_classes,
    classes.probabilities,
)

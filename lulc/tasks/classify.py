"""One class for a whole image."""

from __future__ import annotations

from lulc.tasks import classes
from lulc.tasks.segment import image
from lulc.tasks.task import Task

CLASSIFY = Task(
    "classify", "image", False, "accuracy", image, classes.learn, classes.answer, classes.judge, classes.summarise, classes.share
)

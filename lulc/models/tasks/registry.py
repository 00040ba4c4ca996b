"""The tasks that a model can be trained for, by name."""

from __future__ import annotations

from lulc.models.tasks.change import CHANGE
from lulc.models.tasks.classify import CLASSIFY
from lulc.models.tasks.detect import DETECT
from lulc.models.tasks.multilabel import MULTILABEL
from lulc.models.tasks.segment import SEGMENT
from lulc.models.tasks.series import SERIES
from lulc.models.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task for task in (CHANGE, CLASSIFY, DETECT, MULTILABEL, SEGMENT, SERIES)
}

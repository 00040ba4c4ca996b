"""What can be asked of a model, by name."""

from lulc.tasks.change import CHANGE
from lulc.tasks.classify import CLASSIFY
from lulc.tasks.detect import DETECT
from lulc.tasks.multilabel import MULTILABEL
from lulc.tasks.segment import SEGMENT
from lulc.tasks.series import SERIES
from lulc.tasks.task import Kind, Penalty, Samples, Scaling, Task

TASKS: dict[str, Task] = {task.name: task for task in (CHANGE, CLASSIFY, DETECT, MULTILABEL, SEGMENT, SERIES)}

__all__ = ["TASKS", "Kind", "Penalty", "Samples", "Scaling", "Task"]

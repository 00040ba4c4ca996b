"""What can be asked of a model, by name."""

from lulc.tasks.segment import SEGMENT
from lulc.tasks.task import Penalty, Scaling, Task

TASKS: dict[str, Task] = {task.name: task for task in (SEGMENT,)}

__all__ = ["TASKS", "Penalty", "Scaling", "Task"]

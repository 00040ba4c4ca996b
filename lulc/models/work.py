"""How much a network computes, counted on a small image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from lulc.models.networks.model import knows_positions
from lulc.models.networks.registry import choose_model
from lulc.models.tasks.registry import TASKS
from lulc.models.tasks.task import Batch

_LEAST_SIDE = 128


@dataclass(frozen=True)
class NetworkShape:
    """All that a network's work depends on."""

    task: str
    model: str | None
    """None: the task's usual one."""
    bands: int
    classes: int
    dates: int = 1
    """Dates that it sees."""
    architecture: tuple[tuple[str, Any], ...] = ()
    """Keyword arguments of the model's `build`, values that can be hashed."""

    def build(self) -> torch.nn.Module:
        """Build the network, its weights random."""
        torch.manual_seed(0)
        model = choose_model(self.model, self.task)
        return model.build(self.bands, self.classes, **dict(self.architecture))

    @property
    def multiple(self) -> int:
        """What heights and widths must be multiples of."""
        return choose_model(self.model, self.task).multiple(**dict(self.architecture))


def random_samples(shape: NetworkShape, count: int, side: int) -> Batch:
    """Return prepared samples of random pixels, without a label."""
    size = (count, shape.dates, shape.bands, side, side)
    return Batch(
        pixels=torch.rand(size),
        valid=torch.ones((count, shape.dates, side, side), dtype=torch.bool),
        days=torch.arange(1, shape.dates + 1).expand(count, -1),
        label=torch.zeros(count, dtype=torch.int64),
        weight=torch.ones(count),
    )


@lru_cache(maxsize=64)
def has_positions(shape: NetworkShape) -> bool:
    """Return whether a network must see windows of the size that it learned from."""
    return knows_positions(shape.build().state_dict())


@lru_cache(maxsize=64)
@torch.no_grad()
def count_multiply_adds(shape: NetworkShape) -> float:
    """Return the multiply-adds of a network for each pixel of an image that it maps."""
    net, task = shape.build().eval(), TASKS[shape.task]
    side = -(-_LEAST_SIDE // shape.multiple) * shape.multiple
    inputs = task.inputs(random_samples(shape, 1, side))
    with FlopCounterMode(display=False) as counter:
        task.forward(net, inputs)
    return float(counter.get_total_flops()) / 2 / side**2

"""The record of a kind of network: its name, its tasks, how it is built, the sizes it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Model:
    """A kind of network."""

    name: str
    """The name in a run file."""
    tasks: tuple[str, ...]
    """Names of the tasks it can be trained for."""
    build: Callable[..., nn.Module]
    """build(in_channels, classes, **architecture): the module, which is called with the task's
    inputs; its weights depend on torch's seed alone."""
    multiple: Callable[..., int]
    """multiple(**architecture): heights and widths must be multiples of this number."""

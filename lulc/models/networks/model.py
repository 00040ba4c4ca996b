"""What a model is to this project: a name, what it can be asked, how it is built, and which image sizes it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Model:
    """A kind of network.

    tasks: what it can be asked, by name. build(in_channels, classes, **architecture) gives the module that is called with the
    task's inputs; its weights depend on torch's seed alone. multiple(**architecture) is the number that heights and widths must
    be multiples of.
    """

    name: str
    tasks: tuple[str, ...]
    build: Callable[..., nn.Module]
    multiple: Callable[..., int]

"""The network of a run, as far as its work goes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from lulc.config import Config
from lulc.cost.rates import Rates
from lulc.models.networks.architecture import TORCHGEO, architecture_of

if TYPE_CHECKING:
    from lulc.models.work import NetworkShape

_SERIES = ("series", "change")


def network_of(config: Config) -> NetworkShape | None:
    """Return what the work of a run's network depends on; None without torch, or without network.

    A model that the run file names is taken to be as `train` says, until it is looked into.
    """
    if not config.bands or not config.legend or find_spec("torch") is None:
        return None
    if config.train.encoder.startswith(TORCHGEO) and find_spec("torchgeo") is None:
        return None
    from lulc.models.work import NetworkShape

    train, task = config.train, config.task or "segment"
    architecture = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in architecture_of(train, config.bands).items()
    }
    dates = config.dates if task in _SERIES else 1
    return NetworkShape(
        task, train.model, len(config.bands), len(config.legend), dates, tuple(architecture.items())
    )


def network_factor(config: Config, rates: Rates) -> float:
    """Return how much more a run's network computes for a pixel than the one that was measured."""
    shape = network_of(config)
    if shape is None:
        return 1.0
    from lulc.models.work import count_multiply_adds

    return count_multiply_adds(shape) / rates.flops

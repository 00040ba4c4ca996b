"""The network or the trees of a run, as far as their work goes."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lulc.config import Config
from lulc.cost.rates import Rates
from lulc.models.contract import TREE_MODELS
from lulc.models.networks.architecture import TORCHGEO, architecture_of

if TYPE_CHECKING:
    from lulc.models.work import NetworkShape

_SERIES = ("series", "change")
_STEP_NS = 6.0
"""To go one step down a tree of LightGBM."""
_BIN_NS = 8.0
"""To count a value of a row on one level of a growing tree."""


def network_of(config: Config) -> NetworkShape | None:
    """Return what the work of a run's network depends on; None without torch, or without network.

    Trees are no network: `tree_ns` has their work.

    A model that the run file names is taken to be as `train` says, until it is looked into.
    """
    if learns_trees(config) or not config.bands or not config.legend:
        return None
    if find_spec("torch") is None:
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


def has_windows(config: Config) -> bool:
    """Return whether a run's network maps pixels in windows of fixed size."""
    shape = network_of(config)
    if shape is None or shape.task != "segment":
        return False
    from lulc.models.work import has_positions

    return has_positions(shape)


def learns_trees(config: Config) -> bool:
    """Return whether a run's model is of trees."""
    return config.train.model in TREE_MODELS


def tree_ns(config: Config) -> tuple[float, float]:
    """Return nanoseconds to map a pixel by a run's trees, and to grow them from a row."""
    trees = config.train.trees
    steps = trees.count * max(1, len(config.legend)) * math.log2(trees.leaves)
    bands = len(config.bands) * (trees.bands or len(config.bands) ** -0.5)
    return steps * _STEP_NS, steps * bands * trees.sampling * _BIN_NS

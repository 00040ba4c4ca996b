"""Low-rank adapters of linear layers (LoRA, Hu et al. 2021, arXiv:2106.09685).

A layer's weight W becomes W + B A, with A (rank, in) random and B (out, rank) zero at first: only A
and B are trained. It is the weight that is changed, not the layer, so that attention written as a
function of weights is adapted, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lulc.errors import UsageError
from lulc.models.networks.torchgeo_backbones import Backbone

_ORIGINAL = "parametrizations.weight.original"
_ADAPTER = "parametrizations.weight.0."


class LowRank(nn.Module):
    """What is added to a weight."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight (out, in)."""
        return weight + self.up @ self.down


def add_adapters(encoder: nn.Module, rank: int) -> None:
    """Give every linear layer of an encoder's blocks an adapter.

    Args:
        encoder: a backbone of torchgeo, whose first stage is left as it is, or any other module.
        rank: of the adapters; layers that have no more inputs or outputs are left as they are.

    Raises:
        UsageError: no layer can have one.
    """
    linear = [
        module
        for block in _blocks(encoder)
        for module in block.modules()
        if isinstance(module, nn.Linear) and min(module.weight.shape) > rank
    ]
    if not linear:
        raise UsageError(
            f"train.lora {rank} is for encoders with linear layers of more than {rank} inputs and "
            "outputs, which this one has not: choose a transformer, or train.trained_stages"
        )
    for module in linear:
        parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))


def _blocks(encoder: nn.Module) -> Iterable[nn.Module]:
    if isinstance(encoder, Backbone):
        return [module for stage in encoder.stages()[1:] for module in stage]
    return [encoder]


def merge_adapters(net: nn.Module) -> None:
    """Add the adapters of a network to the weights they adapt, and take them away."""
    for module in list(net.modules()):
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def is_adapter(name: str) -> bool:
    """Return whether a name in a network's state is of an adapter's weight."""
    return _ADAPTER in name


def unadapted(name: str) -> str:
    """Return the name that a weight in a network's state has without adapters."""
    return name.replace(_ORIGINAL, "weight")

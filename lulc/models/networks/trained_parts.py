"""Which parts of a network are trained: its encoder's stages, and those that are held."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lulc.models.networks.adapters import is_adapter
from lulc.models.networks.pretrained import encoder_of
from lulc.models.networks.torchgeo_backbones import Backbone


@dataclass(frozen=True)
class WeightCount:
    """How many weights a network has."""

    trained: int
    """Those that are trained."""
    all: int

    def __str__(self) -> str:
        share = 100 * self.trained / self.all
        return f"{self.trained:,} of the network's {self.all:,} weights ({share:.3g} %)"


def encoder_stages(net: nn.Module) -> list[list[nn.Parameter]]:
    """Return the weights of each stage of a network's encoder, from the image on.

    Raises:
        UsageError: the network has no encoder.
    """
    encoder = encoder_of(net)
    if not isinstance(encoder, Backbone):
        stages = [list(stage.parameters()) for stage in encoder.children()]
        return [parameters for parameters in stages if parameters]
    stages = [
        [parameter for module in modules for parameter in module.parameters()]
        for modules in encoder.stages()
    ]
    # Positions and the like lie in no module of their own.
    in_stages = {id(parameter) for parameters in stages for parameter in parameters}
    stages[0] += [p for p in encoder.parameters() if id(p) not in in_stages]
    return stages


def hold_encoder(net: nn.Module, trained_stages: int | None, lora: int) -> None:
    """Hold the weights of the encoder that are not trained.

    Args:
        net: the network.
        trained_stages: number of the encoder's last stages that are trained; None: all, or with
            adapters none.
        lora: rank of the adapters, which are trained in every stage; 0 where there are none.

    Raises:
        UsageError: the network has no encoder.
    """
    if trained_stages is None and not lora:
        return
    stages = encoder_stages(net)
    for parameters in stages[: len(stages) - min(trained_stages or 0, len(stages))]:
        for parameter in parameters:
            parameter.requires_grad_(False)
    for name, parameter in encoder_of(net).named_parameters():
        if is_adapter(name):
            parameter.requires_grad_(True)


def train_mode(net: nn.Module) -> None:
    """Bring a network into training mode, but for modules that are held as a whole.

    A norm that is held keeps its statistics, and what a held module drops in training it keeps.
    """
    net.train()
    for module in net.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def count_weights(net: nn.Module) -> WeightCount:
    """Count a network's weights, those of its adapters among them."""
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in net.parameters()]
    trained = sum(count for count, is_trained in counts if is_trained)
    return WeightCount(trained, sum(count for count, _ in counts))

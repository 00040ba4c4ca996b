"""What a task is: how a batch becomes a network's input, how it is varied, what the loss is, how the output becomes a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Raw = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""DN (N, T, C, H, W) in the table's dtype, valid (N, T, H, W) bool, label as positions in the legend, uint8."""

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""The network's input (N, C, H, W) float32, valid (N, H, W) bool, label as positions in the legend, int64, 255 where none."""


@dataclass(frozen=True)
class Scaling:
    """How a DN becomes a network's input: (DN * scale + offset - mean) / std, each one number a band."""

    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(gain, shift), float32 (C,): input = DN * gain + shift, worked out in float64."""
        scales, offsets, mean, std = (
            torch.tensor(x, dtype=torch.float64) for x in (self.scales, self.offsets, self.mean, self.std)
        )
        return (scales / std).float(), ((offsets - mean) / std).float()


@dataclass(frozen=True)
class Penalty:
    """The loss: class weights (K,), label smoothing, and how much soft dice is added to the cross entropy."""

    weights: torch.Tensor
    smoothing: float = 0.0
    dice: float = 0.0


@dataclass(frozen=True)
class Task:
    """What is asked of a model.

    crop(raw, side): a random square of every sample. composite(pixels, valid): one image of T dates, in DN, and where it is
    valid. prepare(pixels, valid, scaling): network input and where it is valid. augment(tensors, kinds): varied at random by
    torch's seed. loss(logits, label, penalty, weight): summed over the pixels with a label, each times its sample's weight (N,).
    decode(logits): positions, uint8.
    """

    name: str
    crop: Callable[[Raw, int], Raw]
    composite: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    prepare: Callable[[torch.Tensor, torch.Tensor, Scaling], tuple[torch.Tensor, torch.Tensor]]
    augment: Callable[[Tensors, Sequence[str]], Tensors]
    loss: Callable[[torch.Tensor, torch.Tensor, Penalty, torch.Tensor], torch.Tensor]
    decode: Callable[[torch.Tensor], torch.Tensor]

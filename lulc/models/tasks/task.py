"""What a task is: how samples become a network's input, what the loss is, how its answers are judged, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lulc.legend import Legend

Kind = Literal["pixels", "image", "tags", "boxes"]
"""What a label is: a class a pixel (N, H, W), a class an image (N,), any classes of an image (N, K) of 0 and 1, or boxes
(N, M, 5) of class, left, top, right and bottom in pixels. Classes are positions in the legend, 255 where there is none."""


@dataclass(frozen=True)
class Batch:
    """Samples of one step. Pixels are DN in the table's dtype, once prepared float32, standardised, 0 where not valid."""

    pixels: Tensor  # (N, T, C, H, W)
    valid: Tensor  # (N, T, H, W) bool
    days: Tensor  # (N, T) int64: day of the year from 1, 0 where it is not known
    label: Tensor  # by the task's kind
    weight: Tensor  # (N,) float32


@dataclass(frozen=True)
class Scaling:
    """How a DN becomes a network's input: (DN * scale + offset - mean) / std, each one number a band."""

    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def factors(self) -> tuple[Tensor, Tensor]:
        """(gain, shift), float32 (C,): input = DN * gain + shift, worked out in float64."""
        scales, offsets, mean, std = (
            torch.tensor(x, dtype=torch.float64)
            for x in (self.scales, self.offsets, self.mean, self.std)
        )
        return (scales / std).float(), ((offsets - mean) / std).float()


@dataclass(frozen=True)
class LossConf:
    """The loss: class weights (K,), label smoothing, how much soft dice is added, the exponent of focal loss, and the share held
    against the network's own answer."""

    weights: Tensor
    smoothing: float = 0.0
    dice: float = 0.0
    focal: float = 0.0
    bootstrap: float = 0.0


@dataclass(frozen=True)
class Task:
    """What is asked of a model.

    kind: what a label is. series: whether the network sees every date; else it sees the median of the valid ones.
    best: the metric by which the best epoch is chosen, unless the run file says another.
    inputs(samples): what the network is called with, after the samples are prepared.
    loss(net, inputs, label, weight, penalty): the network's loss, summed over what is counted (`count` in lulc.tasks.vary).
    answer(net, inputs): what the network says, on the device: logits (N, K, …), or boxes (N, M, 6) of position, score, left, top,
    right and bottom, score 0 where there is none.
    judge(answer, label, legend): evidence of one step, small and picklable; summarise(evidence, legend): metrics by name and a
    (K, K + 1) confusion matrix, which is empty where there is none.
    share(answer): probabilities (N, K, …).
    """

    name: str
    kind: Kind
    series: bool
    best: str
    inputs: Callable[[Batch], tuple[Tensor, ...]]
    loss: Callable[[nn.Module, tuple[Tensor, ...], Tensor, Tensor, LossConf], Tensor]
    answer: Callable[[nn.Module, tuple[Tensor, ...]], Tensor]
    judge: Callable[[Tensor, Tensor, Legend], Any]
    summarise: Callable[[Sequence[Any], Legend], tuple[dict[str, float], np.ndarray]]
    share: Callable[[Tensor], Tensor]

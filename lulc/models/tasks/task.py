"""What a task is: the network's input, the loss, the evidence of an epoch and its scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lulc.legend import Legend

Kind = Literal["pixels", "image", "tags", "boxes"]
"""The kind of a label: a class a pixel (N, H, W), a class an image (N,), any classes of an image
(N, K) of 0 and 1, or boxes (N, M, 5) of class, left, top, right and bottom in pixels. Classes are
positions in the legend, 255 where there is none."""


@dataclass(frozen=True)
class Batch:
    """Samples of one step, as tensors."""

    pixels: Tensor
    """(N, T, C, H, W): DN in the table's dtype; once prepared float32, standardised, 0 where not
    valid."""
    valid: Tensor
    """(N, T, H, W) bool: usable pixels."""
    days: Tensor
    """(N, T) int64: day of the year from 1, 0 where it is not known."""
    label: Tensor
    """By the task's kind."""
    weight: Tensor
    """(N,) float32: how much each sample counts."""


@dataclass(frozen=True)
class Scaling:
    """From DN to a network's input: (DN * scale + offset - mean) / std, each one number a band."""

    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return the scaling as one gain and one shift a band.

        Returns:
            (gain, shift), float32 (C,): input = DN * gain + shift, computed in float64.
        """
        scales, offsets, mean, std = (
            torch.tensor(numbers, dtype=torch.float64)
            for numbers in (self.scales, self.offsets, self.mean, self.std)
        )
        return (scales / std).float(), ((offsets - mean) / std).float()


@dataclass(frozen=True)
class LossConf:
    """Settings of the loss."""

    weights: Tensor
    """(K,) weights of the classes."""
    smoothing: float = 0.0
    """Label smoothing."""
    dice: float = 0.0
    """Factor of the soft dice loss that is added."""
    focal: float = 0.0
    """Exponent of focal loss."""
    bootstrap: float = 0.0
    """Share of the loss that is taken against the network's own prediction."""


@dataclass(frozen=True)
class Task:
    """What a model is trained for, and how it is trained, scored and used."""

    name: str
    """The task's name in a run file."""
    kind: Kind
    """The kind of its labels."""
    series: bool
    """Whether the network sees every date; else it sees the median of the valid ones."""
    best: str
    """The metric that chooses the best epoch, unless the run file names another."""
    inputs: Callable[[Batch], tuple[Tensor, ...]]
    """inputs(batch): the arguments of the network, from prepared samples."""
    loss: Callable[[nn.Module, tuple[Tensor, ...], Tensor, Tensor, LossConf], Tensor]
    """loss(net, inputs, label, weight, settings): the loss, summed over what
    `augment.count_labels` counts."""
    forward: Callable[[nn.Module, tuple[Tensor, ...]], Tensor]
    """forward(net, inputs): the network's output on its device: logits (N, K, …), or boxes
    (N, M, 6) of class position, score, left, top, right and bottom, score 0 where there is none."""
    evidence: Callable[[Tensor, Tensor, Legend], Any]
    """evidence(output, label, legend): what scores are computed from, of one step; small and
    picklable."""
    summarise: Callable[[Sequence[Any], Legend], tuple[dict[str, float], np.ndarray]]
    """summarise(evidence of all steps, legend): metrics by name and the (K, K + 1) confusion
    matrix, empty where there is none."""
    probabilities: Callable[[Tensor], Tensor]
    """probabilities(output): probabilities (N, K, …); boxes as they are."""

"""Task `multilabel`: any number of classes for a whole image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.legend import Legend
from lulc.models.tasks import classes
from lulc.models.tasks.segment import single_image
from lulc.models.tasks.task import LossConf, Task


def _loss(
    net: nn.Module, inputs: tuple[Tensor, ...], label: Tensor, weight: Tensor, settings: LossConf
) -> Tensor:
    """Return binary cross entropy: its class-weighted mean, summed over samples by their weight.

    With `focal` the asymmetric loss (Ridnik et al. 2021, arXiv:2009.14119): only absent classes are
    weighted, by p ** `focal` of a probability p less 0.05, so that many easy absences do not drown
    few presences.
    """
    logits = net(*inputs).float()
    target = label.float() * (1 - settings.smoothing) + 0.5 * settings.smoothing
    if settings.focal:
        losses = _asymmetric_loss(logits.sigmoid(), target, settings.focal)
    else:
        losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    total: Tensor = ((losses * settings.weights).mean(1) * weight).sum()
    return total


def _asymmetric_loss(probability: Tensor, target: Tensor, focal: float) -> Tensor:
    shifted = (probability - 0.05).clamp(min=0)
    of_presence = -target * probability.clamp(min=1e-8).log()
    return of_presence - (1 - target) * shifted**focal * (1 - shifted).clamp(min=1e-8).log()


def _evidence(logits: Tensor, label: Tensor, legend: Legend) -> np.ndarray:  # noqa: ARG001
    """Return (2, N, K): probabilities and labels of a batch."""
    return torch.stack([logits.sigmoid(), label.float()]).cpu().numpy()


def _summarise(
    evidence: Sequence[np.ndarray], legend: Legend
) -> tuple[dict[str, float], np.ndarray]:
    """Compute average precision and F1.

    Returns:
        The mean average precision of the classes (`ap_macro`), that of all pairs of image and class
        (`ap_micro`), F1 at a probability of 0.5, and `ap/<class>`; an empty matrix.
    """
    probabilities, truth = np.concatenate(list(evidence), axis=1)
    class_aps = [
        rank_precision(probabilities[:, index], truth[:, index] > 0)
        for index in range(probabilities.shape[1])
    ]
    metrics = {f"ap/{c.name}": ap for c, ap in zip(legend.classes, class_aps, strict=True)}
    valid_aps = [ap for ap in class_aps if not np.isnan(ap)]
    metrics["ap_macro"] = float(np.mean(valid_aps)) if valid_aps else float("nan")
    metrics["ap_micro"] = rank_precision(probabilities.ravel(), truth.ravel() > 0)
    predicted, present = probabilities >= 0.5, truth > 0
    hits = (predicted & present).sum()
    metrics["f1"] = float(2 * hits / max(predicted.sum() + present.sum(), 1))
    return metrics, np.zeros((0, 0), np.int64)


def rank_precision(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Compute average precision (Zhu 2004): the mean of the precision at the rank of each hit.

    Args:
        probabilities: (N,); equal ones share a rank.
        truth: (N,) bool.

    Returns:
        Average precision, NaN where nothing is true.
    """
    if not truth.any():
        return float("nan")
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(truth[order])
    ends_rank = np.append(ranked[1:] != ranked[:-1], True)
    rank_ends = np.flatnonzero(ends_rank)
    precision, recall = hits[rank_ends] / (rank_ends + 1), hits[rank_ends] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0) * precision))


MULTILABEL = Task(
    name="multilabel",
    kind="tags",
    series=False,
    best="ap_macro",
    inputs=single_image,
    loss=_loss,
    forward=classes.forward,
    evidence=_evidence,
    summarise=_summarise,
    probabilities=torch.sigmoid,
)

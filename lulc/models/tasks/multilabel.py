"""Any number of classes for a whole image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.legend import Legend
from lulc.models.tasks import classes
from lulc.models.tasks.segment import image
from lulc.models.tasks.task import LossConf, Task


def _loss(
    net: nn.Module, inputs: tuple[Tensor, ...], label: Tensor, weight: Tensor, penalty: LossConf
) -> Tensor:
    """The sum over samples of their weight times the class-weighted mean of binary cross entropy over the classes.

    With `focal` the asymmetric loss (Ridnik et al. 2021, arXiv:2009.14119): only what is absent is weighed, by p ** `focal` of a
    probability p less 0.05, so that many easy absences do not drown few presences.
    """
    logits = net(*inputs).float()
    wanted = label.float() * (1 - penalty.smoothing) + 0.5 * penalty.smoothing
    if penalty.focal:
        likely = logits.sigmoid()
        shifted = (likely - 0.05).clamp(min=0)
        there = -wanted * likely.clamp(min=1e-8).log()
        each = there - (1 - wanted) * shifted**penalty.focal * (1 - shifted).clamp(min=1e-8).log()
    else:
        each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    total: Tensor = ((each * penalty.weights).mean(1) * weight).sum()
    return total


def _evidence(logits: Tensor, label: Tensor, legend: Legend) -> np.ndarray:  # noqa: ARG001
    """(2, N, K): probabilities and labels of a batch."""
    return torch.stack([logits.sigmoid(), label.float()]).cpu().numpy()


def _summarise(
    evidence: Sequence[np.ndarray], legend: Legend
) -> tuple[dict[str, float], np.ndarray]:
    """Mean average precision of the classes (`ap_macro`), that of all pairs (`ap_micro`), F1 at a probability of a half."""
    shares, truth = np.concatenate(list(evidence), axis=1)
    each = [rank_precision(shares[:, i], truth[:, i] > 0) for i in range(shares.shape[1])]
    metrics = {f"ap/{c.name}": ap for c, ap in zip(legend.classes, each, strict=True)}
    known = [ap for ap in each if not np.isnan(ap)]
    metrics["ap_macro"] = float(np.mean(known)) if known else float("nan")
    metrics["ap_micro"] = rank_precision(shares.ravel(), truth.ravel() > 0)
    both = ((shares >= 0.5) & (truth > 0)).sum()
    metrics["f1"] = float(2 * both / max((shares >= 0.5).sum() + (truth > 0).sum(), 1))
    return metrics, np.zeros((0, 0), np.int64)


def rank_precision(shares: np.ndarray, truth: np.ndarray) -> float:
    """The mean over what is true of the precision at its rank (Zhu 2004; ties share a rank); NaN where nothing is true."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-shares, kind="stable")
    ranked, hits = shares[order], np.cumsum(truth[order])
    last = np.append(ranked[1:] != ranked[:-1], True)
    at = np.flatnonzero(last)
    precision, recall = hits[at] / (at + 1), hits[at] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0) * precision))


MULTILABEL = Task(
    "multilabel",
    "tags",
    False,
    "ap_macro",
    image,
    _loss,
    classes.forward,
    _evidence,
    _summarise,
    torch.sigmoid,
)

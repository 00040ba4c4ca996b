"""What tasks share that ask for one class of a pixel or of an image: the loss, the scores, the probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.legend import NODATA, Legend
from lulc.models.tasks.task import LossConf
from lulc.stats import confusion


def forward(net: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Logits (N, K, …) in float32."""
    logits: Tensor = net(*inputs)
    return logits.float()


def loss_of(
    net: nn.Module, inputs: tuple[Tensor, ...], label: Tensor, weight: Tensor, penalty: LossConf
) -> Tensor:
    """The network's `loss` on a batch."""
    return loss(net(*inputs), label, weight, penalty)


def loss(logits: Tensor, label: Tensor, weight: Tensor, penalty: LossConf) -> Tensor:
    """The sum over all that has a label: its sample's weight (N,) times class-weighted cross entropy plus `dice` soft dice.

    Logits (N, K, …), label (N, …). Focal loss (Lin et al. 2017, arXiv:1708.02002) weighs by (1 - p) ** `focal` what has
    probability p. Soft dice (Milletari et al. 2016, doi:10.1109/3DV.2016.79) is averaged over the classes that occur in the batch
    and counted once a label. Bootstrapping (hard: Reed et al. 2015, arXiv:1412.6596) holds a share `bootstrap` of the cross
    entropy against the class that the network itself finds likeliest, with the label's weight: labels that are often wrong the
    same way are learned less to the letter.
    """
    logits = logits.float()
    each_weight = weight.reshape(-1, *[1] * (label.ndim - 1))
    known = label != NODATA
    each = functional.cross_entropy(
        logits,
        label,
        penalty.weights,
        ignore_index=NODATA,
        reduction="none",
        label_smoothing=penalty.smoothing,
    )
    if penalty.bootstrap:
        own = functional.cross_entropy(logits, logits.detach().argmax(1), reduction="none")
        each = torch.lerp(
            each, own * penalty.weights[label.where(known, 0)] * known, penalty.bootstrap
        )
    if penalty.focal:
        likely = logits.softmax(1).gather(1, label.where(known, 0)[:, None])[:, 0]
        each = each * (1 - likely) ** penalty.focal
    total = (each * each_weight).sum()
    if penalty.dice:
        counted = (known * each_weight)[:, None]
        shares = logits.softmax(1)
        truth = functional.one_hot(label.where(known, 0), logits.shape[1]).movedim(-1, 1) * counted
        over = (0, *range(2, logits.ndim))
        both, there = (shares * truth).sum(over), (shares * counted + truth).sum(over)
        occurs = truth.sum(over) > 0
        dice = 1 - (2 * both / there.clamp(min=1e-6))[occurs].sum() / occurs.sum().clamp(min=1)
        total = total + penalty.dice * dice * counted.sum()
    return total


def probabilities(logits: Tensor) -> Tensor:
    """Probabilities (N, K, …)."""
    return logits.softmax(1)


def evidence(logits: Tensor, label: Tensor, legend: Legend) -> np.ndarray:
    """The (K, K + 1) confusion matrix of a batch."""
    to_id = legend.to_id()
    return confusion.confusion(
        to_id[label.cpu().numpy()], to_id[logits.argmax(1).to(torch.uint8).cpu().numpy()], legend
    )


def summarise_classes(
    evidence: Sequence[np.ndarray], legend: Legend
) -> tuple[dict[str, float], np.ndarray]:
    """Accuracies, macro F1, mean IoU, and those of every class; with the matrix of all."""
    matrix = np.sum(evidence, axis=0, dtype=np.int64)
    found = confusion.summarise(matrix, legend)
    f1 = [c.f1 for c in found.classes if not np.isnan(c.f1)]
    metrics = {
        "accuracy": found.overall_accuracy,
        "miou": found.mean_iou,
        "f1": float(np.mean(f1)) if f1 else float("nan"),
    }
    for name in ("users_accuracy", "producers_accuracy", "f1", "iou"):
        metrics |= {f"{name}/{c.name}": getattr(c, name) for c in found.classes}
    return metrics, matrix

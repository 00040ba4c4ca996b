"""Loss, scores and probabilities of the tasks that give one class to a pixel or an image."""

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
    """Return the network's logits (N, K, …) in float32."""
    logits: Tensor = net(*inputs)
    return logits.float()


def network_loss(
    net: nn.Module, inputs: tuple[Tensor, ...], label: Tensor, weight: Tensor, settings: LossConf
) -> Tensor:
    """Return the network's `loss` on a batch.

    Args:
        net: the network.
        inputs: its arguments.
        label: (N, …) positions in the legend, 255 where there is none.
        weight: (N,) weights of the samples.
        settings: the settings of the loss.

    Returns:
        The loss, a scalar.
    """
    return loss(net(*inputs), label, weight, settings)


def loss(logits: Tensor, label: Tensor, weight: Tensor, settings: LossConf) -> Tensor:
    """Return class-weighted cross entropy plus `dice` times soft dice, summed over all labels.

    Each label counts with its sample's weight. Focal loss (Lin et al. 2017, arXiv:1708.02002)
    multiplies the loss of a label that has probability p by (1 - p) ** `focal`. Soft dice
    (Milletari et al. 2016, doi:10.1109/3DV.2016.79) is averaged over the classes that occur in the
    batch and counted once a label. Bootstrapping (hard: Reed et al. 2015, arXiv:1412.6596) takes a
    share `bootstrap` of the cross entropy against the class that the network itself finds
    likeliest, with the label's weight, so that labels that are often wrong the same way are fitted
    less closely.

    Args:
        logits: (N, K, …).
        label: (N, …) int64 positions in the legend, 255 where there is none.
        weight: (N,) weights of the samples.
        settings: the settings of the loss.

    Returns:
        The loss, a scalar in float32.
    """
    logits = logits.float()
    label_weight = weight.reshape(-1, *[1] * (label.ndim - 1))
    labelled = label != NODATA
    losses = functional.cross_entropy(
        logits,
        label,
        settings.weights,
        ignore_index=NODATA,
        reduction="none",
        label_smoothing=settings.smoothing,
    )
    if settings.bootstrap:
        predicted = logits.detach().argmax(1)
        against_itself = functional.cross_entropy(logits, predicted, reduction="none")
        against_itself = against_itself * settings.weights[label.where(labelled, 0)] * labelled
        losses = torch.lerp(losses, against_itself, settings.bootstrap)
    if settings.focal:
        probability = logits.softmax(1).gather(1, label.where(labelled, 0)[:, None])[:, 0]
        losses = losses * (1 - probability) ** settings.focal
    total = (losses * label_weight).sum()
    if settings.dice:
        label_weight = labelled * label_weight
        total = total + settings.dice * _soft_dice(logits, label, label_weight) * label_weight.sum()
    return total


def _soft_dice(logits: Tensor, label: Tensor, label_weight: Tensor) -> Tensor:
    # The mean over the classes that occur; label_weight: 0 where there is no label.
    weight = label_weight[:, None]
    predicted = logits.softmax(1)
    positions = label.where(label != NODATA, 0)
    truth = functional.one_hot(positions, logits.shape[1]).movedim(-1, 1) * weight
    axes = (0, *range(2, logits.ndim))
    overlap, total = (predicted * truth).sum(axes), (predicted * weight + truth).sum(axes)
    occurs = truth.sum(axes) > 0
    return 1 - (2 * overlap / total.clamp(min=1e-6))[occurs].sum() / occurs.sum().clamp(min=1)


def probabilities(logits: Tensor) -> Tensor:
    """Return probabilities (N, K, …), whose sum over the classes is 1."""
    return logits.softmax(1)


def evidence(logits: Tensor, label: Tensor, legend: Legend) -> np.ndarray:
    """Return the confusion matrix of a batch.

    Args:
        logits: (N, K, …).
        label: (N, …) positions in the legend, 255 where there is none.
        legend: the classes.

    Returns:
        (K, K + 1) int64 counts, as `confusion.confusion` makes them.
    """
    to_id = legend.to_id()
    mapped = logits.argmax(1).to(torch.uint8)
    return confusion.confusion(to_id[label.cpu().numpy()], to_id[mapped.cpu().numpy()], legend)


def summarise_classes(
    matrices: Sequence[np.ndarray], legend: Legend
) -> tuple[dict[str, float], np.ndarray]:
    """Compute accuracies, mean F1 and mean IoU from the confusion matrices of all batches.

    Returns:
        The metrics by name, those of one class as `<metric>/<class>`; the matrix of all batches.
    """
    matrix = np.sum(matrices, axis=0, dtype=np.int64)
    scores = confusion.summarise(matrix, legend)
    f1 = [class_score.f1 for class_score in scores.classes if not np.isnan(class_score.f1)]
    metrics = {
        "accuracy": scores.overall_accuracy,
        "miou": scores.mean_iou,
        "f1": float(np.mean(f1)) if f1 else float("nan"),
    }
    for name in ("users_accuracy", "producers_accuracy", "f1", "iou"):
        for class_score in scores.classes:
            metrics[f"{name}/{class_score.name}"] = getattr(class_score, name)
    return metrics, matrix

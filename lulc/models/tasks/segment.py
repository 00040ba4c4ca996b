"""Task `segment`: one class for every pixel of one image, the median of the valid dates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lulc.legend import NODATA, Legend
from lulc.models.tasks import classes
from lulc.models.tasks.task import Batch, Task

# Pixels that a mapped border may lie from the true one.
_TOLERANCE = 2


def single_image(batch: Batch) -> tuple[Tensor, ...]:
    """Return the one image (N, C, H, W) of every sample."""
    return (batch.pixels[:, 0],)


def border_evidence(logits: Tensor, label: Tensor, legend: Legend) -> tuple[np.ndarray, np.ndarray]:
    """Return the evidence of one step for class and boundary scores.

    Args:
        logits: (N, K, H, W).
        label: (N, H, W) positions in the legend, 255 where there is none.
        legend: the classes.

    Returns:
        The (K, K + 1) confusion matrix, and (4,) counts of border pixels: mapped, those of them
        that are right, labelled, those of them that are mapped.
    """
    return classes.evidence(logits, label, legend), _count_borders(logits.argmax(1), label)


def summarise_borders(
    evidence: Sequence[tuple[np.ndarray, np.ndarray]], legend: Legend
) -> tuple[dict[str, float], np.ndarray]:
    """Compute the class scores, and boundary F1 with a tolerance of 2 pixels.

    Boundary F1: Csurka et al. 2013, doi:10.5244/C.27.32.

    Returns:
        The metrics of `classes.summarise_classes` and `boundary_f1`, the latter only where borders
        are both mapped and labelled; the confusion matrix.
    """
    metrics, matrix = classes.summarise_classes([matrix for matrix, _ in evidence], legend)
    counts = np.sum([step_counts for _, step_counts in evidence], axis=0).tolist()
    mapped, mapped_right, labelled, labelled_found = counts
    if mapped and labelled:
        precision, recall = mapped_right / mapped, labelled_found / labelled
        metrics["boundary_f1"] = (
            2 * precision * recall / (precision + recall) if precision + recall else 0.0
        )
    return metrics, matrix


def _count_borders(mapped: Tensor, label: Tensor) -> np.ndarray:
    labelled = label != NODATA
    # A border is known only where all neighbours have a label.
    interior = -functional.max_pool2d(-labelled.float()[:, None], 3, 1, 1)[:, 0] > 0
    mapped_edge, true_edge = (_edge(positions) & interior for positions in (mapped, label))
    near_mapped, near_true = (_dilate(edge) for edge in (mapped_edge, true_edge))
    masks = [mapped_edge, mapped_edge & near_true, true_edge, true_edge & near_mapped]
    return np.array([int(torch.count_nonzero(mask)) for mask in masks])


def _dilate(mask: Tensor) -> Tensor:
    size = 2 * _TOLERANCE + 1
    return functional.max_pool2d(mask.float()[:, None], size, 1, _TOLERANCE)[:, 0] > 0


def _edge(positions: Tensor) -> Tensor:
    # Pixels with a neighbour of another class.
    values = positions.float()[:, None]
    highest, lowest = (
        functional.max_pool2d(values, 3, 1, 1),
        -functional.max_pool2d(-values, 3, 1, 1),
    )
    return (highest != lowest)[:, 0]


SEGMENT = Task(
    name="segment",
    kind="pixels",
    series=False,
    best="miou",
    inputs=single_image,
    loss=classes.network_loss,
    forward=classes.forward,
    evidence=border_evidence,
    summarise=summarise_borders,
    probabilities=classes.probabilities,
)

"""One class for every pixel of one image, which is made of T dates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lulc.legend import NODATA, Legend
from lulc.models.tasks import classes
from lulc.models.tasks.task import Batch, Task

# Pixels that a mapped border may lie beside the true one.
_TOLERANCE = 2


def image(samples: Batch) -> tuple[Tensor, ...]:
    """The one image (N, C, H, W) of every sample."""
    return (samples.pixels[:, 0],)


def border_evidence(logits: Tensor, label: Tensor, legend: Legend) -> tuple[np.ndarray, np.ndarray]:
    """The confusion matrix, and (4,) border pixels: mapped, of them right, labelled, of them found."""
    return classes.evidence(logits, label, legend), _borders(logits.argmax(1), label)


def summarise_borders(
    evidence: Sequence[tuple[np.ndarray, np.ndarray]], legend: Legend
) -> tuple[dict[str, float], np.ndarray]:
    """The scores of `classes.summarise`, and boundary F1 (Csurka et al. 2013, doi:10.5244/C.27.32) with a slack of 2 pixels."""
    metrics, matrix = classes.summarise_classes([matrix for matrix, _ in evidence], legend)
    mapped, right, labelled, met = np.sum([counts for _, counts in evidence], axis=0).tolist()
    if mapped and labelled:
        precision, recall = right / mapped, met / labelled
        metrics["boundary_f1"] = (
            2 * precision * recall / (precision + recall) if precision + recall else 0.0
        )
    return metrics, matrix


def _borders(found: Tensor, label: Tensor) -> np.ndarray:
    known = label != NODATA
    # Only what has a label all around it has a border that can be told.
    inner = -functional.max_pool2d(-known.float()[:, None], 3, 1, 1)[:, 0] > 0
    mine, theirs = (_edge(x) & inner for x in (found, label))
    near_mine, near_theirs = (
        functional.max_pool2d(x.float()[:, None], 2 * _TOLERANCE + 1, 1, _TOLERANCE)[:, 0] > 0
        for x in (mine, theirs)
    )
    counts = [mine, mine & near_theirs, theirs, theirs & near_mine]
    return np.array([int(torch.count_nonzero(x)) for x in counts])


def _edge(ids: Tensor) -> Tensor:
    # Pixels with a neighbour of another class.
    values = ids.float()[:, None]
    return (functional.max_pool2d(values, 3, 1, 1) != -functional.max_pool2d(-values, 3, 1, 1))[
        :, 0
    ]


SEGMENT = Task(
    "segment",
    "pixels",
    False,
    "miou",
    image,
    classes.loss_of,
    classes.forward,
    border_evidence,
    summarise_borders,
    classes.probabilities,
)

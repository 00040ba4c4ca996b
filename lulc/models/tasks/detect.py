"""Task `detect`: objects of some classes, each with its bounding box."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor, nn

from lulc.legend import NODATA, Legend
from lulc.models.tasks.segment import single_image
from lulc.models.tasks.task import LossConf, Task
from lulc.stats.boxes import average_precision

_Image = tuple[np.ndarray, np.ndarray]  # detections (N, 6) and true boxes (M, 5)

# IoU from 0.5 to 0.95, over which `ap` is averaged.
_IOUS = tuple(np.arange(0.5, 1.0, 0.05).tolist())


def _loss(
    net: nn.Module,
    inputs: tuple[Tensor, ...],
    label: Tensor,
    weight: Tensor,
    settings: LossConf,  # noqa: ARG001
) -> Tensor:
    """Return the network's own loss, summed over the images; no setting changes it."""
    total: Tensor = net(*inputs, label, weight)
    return total


def _forward(net: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Return boxes (N, M, 6) of class position, score, left, top, right and bottom."""
    detections: Tensor = net(*inputs)
    return detections


def _evidence(detections: Tensor, label: Tensor, legend: Legend) -> list[_Image]:  # noqa: ARG001
    """Return detections (N, 6) and true boxes (M, 5) of every image."""
    images = zip(detections.cpu().numpy(), label.cpu().numpy(), strict=True)
    return [
        (detected[detected[:, 1] > 0], truth[truth[:, 0] != NODATA]) for detected, truth in images
    ]


def _summarise(
    evidence: Sequence[list[_Image]], legend: Legend
) -> tuple[dict[str, float], np.ndarray]:
    """Compute means over the classes of average precision and recall.

    Returns:
        Average precision at IoU 0.5 (`ap50`) and over IoU 0.5 to 0.95 (`ap`), recall at IoU 0.5
        (`recall`) and 0.3 (`recall30`), and `ap50/<class>`; an empty matrix.
    """
    images = [image for step in evidence for image in step]
    by_iou = {
        iou: [_score_class(images, index, iou) for index in range(len(legend.classes))]
        for iou in (0.3, *_IOUS)
    }
    metrics = {
        "ap50": _mean(ap for ap, _ in by_iou[0.5]),
        "ap": _mean(ap for iou in _IOUS for ap, _ in by_iou[iou]),
        "recall": _mean(recall for _, recall in by_iou[0.5]),
        "recall30": _mean(recall for _, recall in by_iou[0.3]),
    }
    for land_class, (ap, _) in zip(legend.classes, by_iou[0.5], strict=True):
        metrics[f"ap50/{land_class.name}"] = ap
    return metrics, np.zeros((0, 0), np.int64)


def _score_class(images: Sequence[_Image], index: int, iou: float) -> tuple[float, float]:
    # Average precision and recall of the class at this position in the legend.
    detected = [boxes[boxes[:, 0] == index][:, 1:] for boxes, _ in images]
    true = [boxes[boxes[:, 0] == index][:, 1:] for _, boxes in images]
    return average_precision(detected, true, iou)


def _mean(values: Iterable[float]) -> float:
    valid = [value for value in values if not np.isnan(value)]
    return float(np.mean(valid)) if valid else float("nan")


def _probabilities(detections: Tensor) -> Tensor:
    """Return the boxes as they are: their scores are all there is."""
    return detections


DETECT = Task(
    name="detect",
    kind="boxes",
    series=False,
    best="ap50",
    inputs=single_image,
    loss=_loss,
    forward=_forward,
    evidence=_evidence,
    summarise=_summarise,
    probabilities=_probabilities,
)

"""Things of some classes, each with the box it lies in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor, nn

from lulc.legend import NODATA, Legend
from lulc.models.tasks.segment import image
from lulc.models.tasks.task import LossConf, Task
from lulc.stats import boxes

_STRICT = tuple(np.arange(0.5, 1.0, 0.05).tolist())


def _loss(
    net: nn.Module, inputs: tuple[Tensor, ...], label: Tensor, weight: Tensor, penalty: LossConf
) -> Tensor:  # noqa: ARG001
    """The network's own loss, summed over the images; it knows no penalty."""
    total: Tensor = net(*inputs, label, weight)
    return total


def _forward(net: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Boxes (N, M, 6) of position, score, left, top, right and bottom."""
    found: Tensor = net(*inputs)
    return found


def _evidence(found: Tensor, label: Tensor, legend: Legend) -> list[tuple[np.ndarray, np.ndarray]]:  # noqa: ARG001
    """What was found (N, 6) and what is there (M, 5) in every image."""
    images = zip(found.cpu().numpy(), label.cpu().numpy(), strict=True)
    return [(mine[mine[:, 1] > 0], theirs[theirs[:, 0] != NODATA]) for mine, theirs in images]


def _summarise(
    evidence: Sequence[list[tuple[np.ndarray, np.ndarray]]], legend: Legend
) -> tuple[dict[str, float], np.ndarray]:
    """Means over the classes: average precision at IoU 0.5 (`ap50`), over IoU 0.5 to 0.95 (`ap`), recall at 0.5 and 0.3."""
    images = [one for step in evidence for one in step]
    at: dict[float, list[tuple[float, float]]] = {}
    for least in (0.3, *_STRICT):
        at[least] = []
        for number in range(len(legend.classes)):
            mine = [found[found[:, 0] == number][:, 1:] for found, _ in images]
            theirs = [truth[truth[:, 0] == number][:, 1:] for _, truth in images]
            at[least].append(boxes.average_precision(mine, theirs, least))
    metrics = {
        "ap50": _mean(ap for ap, _ in at[0.5]),
        "ap": _mean(ap for least in _STRICT for ap, _ in at[least]),
        "recall": _mean(recall for _, recall in at[0.5]),
        "recall30": _mean(recall for _, recall in at[0.3]),
    }
    metrics |= {f"ap50/{c.name}": ap for c, (ap, _) in zip(legend.classes, at[0.5], strict=True)}
    return metrics, np.zeros((0, 0), np.int64)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _probabilities(found: Tensor) -> Tensor:
    """The boxes: their scores are all there is."""
    return found


DETECT = Task(
    "detect", "boxes", False, "ap50", image, _loss, _forward, _evidence, _summarise, _probabilities
)

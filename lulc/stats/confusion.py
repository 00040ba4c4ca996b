"""How well a map agrees with labels: the confusion matrix and the accuracies that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lulc.errors import InputError
from lulc.legend import NODATA, Legend


@dataclass(frozen=True)
class ClassScore:
    """One class's scores; a share is NaN where its denominator is zero. pixels: labelled pixels of the class."""

    id: int
    name: str
    pixels: int
    users_accuracy: float
    producers_accuracy: float
    f1: float
    iou: float


@dataclass(frozen=True)
class Scores:
    """A map's scores over all labelled pixels. mean_iou: over the classes that occur in the labels or the map."""

    pixels: int
    overall_accuracy: float
    mean_iou: float
    classes: tuple[ClassScore, ...]


def confusion(labels: np.ndarray, classes: np.ndarray, legend: Legend) -> np.ndarray:
    """(K, K + 1) int64 counts: row = class of the label, column = class of the map, last column = the map has no class there.

    Both arrays hold legend ids, of one shape; pixels without a label (255) are left out. InputError for an id not in the legend.
    """
    if labels.shape != classes.shape:
        raise InputError(
            f"labels of shape {labels.shape} cannot be compared with a map of shape {classes.shape}"
        )
    count = len(legend.classes)
    rows, columns = (
        _positions(ids, legend, what) for ids, what in ((labels, "labels"), (classes, "the map"))
    )
    known = rows < count
    cells = rows[known].astype(np.int64) * (count + 1) + columns[known]
    return np.bincount(cells, minlength=count * (count + 1)).reshape(count, count + 1)


def _positions(ids: np.ndarray, legend: Legend, what: str) -> np.ndarray:
    positions: np.ndarray = np.minimum(legend.to_index(), len(legend.classes))[ids]
    strange = ids[(positions == len(legend.classes)) & (ids != NODATA)]
    if strange.size:
        raise InputError(
            f"{what} hold ids {np.unique(strange).tolist()}, which legend {legend.name!r} (ids {list(legend.ids)}) lacks"
        )
    return positions


def summarise(matrix: np.ndarray, legend: Legend) -> Scores:
    """The Scores of a (K, K + 1) confusion matrix.

    A labelled pixel where the map has no class counts as wrong: against overall and producer's accuracy, F1 and IoU.
    Formulas: Congalton and Green 2019, Assessing the Accuracy of Remotely Sensed Data, ch. 5 (overall, user's, producer's);
    IoU = TP / (TP + FP + FN), F1 = 2 TP / (2 TP + FP + FN).
    """
    right = np.diagonal(matrix).astype(float)
    labelled, mapped = matrix.sum(1), matrix[:, :-1].sum(0)
    iou = _share(right, labelled + mapped - right)
    columns = zip(
        legend.classes,
        labelled.tolist(),
        _share(right, mapped).tolist(),
        _share(right, labelled).tolist(),
        _share(2 * right, labelled + mapped).tolist(),
        iou.tolist(),
        strict=True,
    )
    occur = iou[~np.isnan(iou)]
    return Scores(
        pixels=int(matrix.sum()),
        overall_accuracy=float(_share(right.sum(), matrix.sum())),
        mean_iou=float(occur.mean()) if occur.size else float("nan"),
        classes=tuple(ClassScore(c.id, c.name, *rest) for c, *rest in columns),
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0))

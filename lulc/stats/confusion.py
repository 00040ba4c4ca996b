"""Agreement of a map with labels: the confusion matrix and the accuracies that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lulc.errors import InputError
from lulc.legend import NODATA, Legend

LABELLED_SHARE, MAPPED_IOU = 0.01, 0.10
"""A class with this share of the labels, or more, is *hardly mapped* below this IoU."""


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class, 0–1; NaN where a score's denominator is zero."""

    id: int
    """Class id of the legend."""
    name: str
    """Class name."""
    pixels: int
    """Number of pixels labelled with the class."""
    users_accuracy: float
    """Share of the pixels mapped as the class that are labelled so (precision)."""
    producers_accuracy: float
    """Share of the pixels labelled with the class that are mapped so (recall)."""
    f1: float
    """Harmonic mean of user's and producer's accuracy."""
    iou: float
    """Intersection over union of mapped and labelled pixels."""


@dataclass(frozen=True)
class Scores:
    """A map's scores over all labelled pixels."""

    pixels: int
    """Number of labelled pixels."""
    overall_accuracy: float
    """Share of the labelled pixels that are mapped as labelled; NaN without any."""
    mean_iou: float
    """Mean IoU of the classes that occur in the labels or the map."""
    classes: tuple[ClassScore, ...]
    """Scores of every class, in the legend's order."""


def confusion(labels: np.ndarray, classes: np.ndarray, legend: Legend) -> np.ndarray:
    """Count labelled pixels by class of the label and class of the map.

    Args:
        labels: legend ids of any shape; pixels without a label (255) are left out.
        classes: legend ids of the map, of the same shape, 255 where it has no class.
        legend: the K classes.

    Returns:
        (K, K + 1) int64 counts: row = class of the label, column = class of the map, last column =
        the map has no class.

    Raises:
        InputError: the shapes differ, or an id is not in the legend.
    """
    if labels.shape != classes.shape:
        raise InputError(
            f"labels of shape {labels.shape} cannot be compared with a map of shape {classes.shape}"
        )
    count = len(legend.classes)
    rows = _positions(labels, legend, "labels")
    columns = _positions(classes, legend, "the map")
    labelled = rows < count
    cells = rows[labelled].astype(np.int64) * (count + 1) + columns[labelled]
    return np.bincount(cells, minlength=count * (count + 1)).reshape(count, count + 1)


def _positions(ids: np.ndarray, legend: Legend, holder: str) -> np.ndarray:
    # Positions in the legend; its length stands for no class.
    positions: np.ndarray = np.minimum(legend.to_index(), len(legend.classes))[ids]
    unknown = ids[(positions == len(legend.classes)) & (ids != NODATA)]
    if unknown.size:
        raise InputError(
            f"{holder} hold ids {np.unique(unknown).tolist()}, which legend {legend.name!r} "
            f"(ids {list(legend.ids)}) does not have"
        )
    return positions


def summarise(matrix: np.ndarray, legend: Legend) -> Scores:
    """Return the scores of a confusion matrix.

    A labelled pixel where the map has no class counts as wrong: against overall and producer's
    accuracy, F1 and IoU. Formulas: Congalton and Green 2019, Assessing the Accuracy of Remotely
    Sensed Data, ch. 5 (overall, user's, producer's); IoU = TP / (TP + FP + FN), F1 = 2 TP / (2 TP +
    FP + FN).

    Args:
        matrix: (K, K + 1) counts, from `confusion`.
        legend: the K classes.
    """
    correct = np.diagonal(matrix).astype(float)
    labelled, mapped = matrix.sum(1), matrix[:, :-1].sum(0)
    iou = _divide(correct, labelled + mapped - correct)
    columns = zip(
        legend.classes,
        labelled.tolist(),
        _divide(correct, mapped).tolist(),
        _divide(correct, labelled).tolist(),
        _divide(2 * correct, labelled + mapped).tolist(),
        iou.tolist(),
        strict=True,
    )
    occurring = iou[~np.isnan(iou)]
    return Scores(
        pixels=int(matrix.sum()),
        overall_accuracy=float(_divide(correct.sum(), matrix.sum())),
        mean_iou=float(occurring.mean()) if occurring.size else float("nan"),
        classes=tuple(ClassScore(entry.id, entry.name, *scores) for entry, *scores in columns),
    )


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    # The quotient, NaN where the denominator is zero.
    above, below = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.asarray(np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0))


def is_hardly_mapped(pixels: int, total: int, iou: float | None) -> bool:
    """Return whether a class is labelled and hardly mapped.

    Overall accuracy says nothing of such a class: it is missing from the map.

    Args:
        pixels: labelled pixels of the class.
        total: labelled pixels of all classes.
        iou: of the class; None or NaN where it is not defined.
    """
    return 0 < total * LABELLED_SHARE <= pixels and iou is not None and iou < MAPPED_IOU


def hardly_mapped(scores: Scores) -> list[str]:
    """Return the names of the classes that are labelled and hardly mapped."""
    return [c.name for c in scores.classes if is_hardly_mapped(c.pixels, scores.pixels, c.iou)]

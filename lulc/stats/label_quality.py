"""Confident learning: how doubtful labels are to a model that did not learn from them.

After Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset
Labels, JAIR 70, doi:10.1613/jair.1.12125. Labels are positions of K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LabelQuality:
    """What out-of-fold probabilities say of N labels."""

    answer: np.ndarray
    """(N,) the likeliest class."""
    probability: np.ndarray
    """(N,) probability of the label: the self-confidence."""
    margin: np.ndarray
    """(N,) from -1 to 1: probability of the label less that of the likeliest other class."""
    score: np.ndarray
    """(N,) from 0 to 1, the lower the more doubtful."""
    doubted: np.ndarray
    """(N,) bool: off the diagonal of the confident joint, where another class is likely."""


def class_thresholds(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the probability from which on the model is confident of each class.

    Args:
        probabilities: (N, K) out of fold.
        labels: (N,) classes.
        weights: (N,) how much each label counts.

    Returns:
        (K,) the mean self-confidence of the labels of each class (Northcutt et al. 2021, equation
        2); 1 for a class without labels, of which it is never confident.
    """
    count = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, own * weights, count)
    totals = np.bincount(labels, weights, count)
    return np.divide(sums, totals, out=np.ones(count), where=totals > 0)


def rate_labels(
    probabilities: np.ndarray, labels: np.ndarray, thresholds: np.ndarray
) -> LabelQuality:
    """Rate labels by out-of-fold probabilities.

    The confident joint counts a label y at the class that is likeliest among those whose
    probability reaches their threshold (Northcutt et al. 2021, equation 1). The score is the
    self-confidence (Kuan and Mueller 2022, Model-agnostic label quality scoring to detect
    real-world label errors) over the threshold of the label's class, p(y) / t(y), and 1 from there
    on: a class that the model is less sure of is not suspected for it.

    Args:
        probabilities: (N, K) out of fold; each row's sum is 1.
        labels: (N,) classes.
        thresholds: (K,) from `class_thresholds`.
    """
    own, margin = _margins(probabilities, labels)
    usual = thresholds[labels]
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    joint = confident.argmax(1)
    return LabelQuality(
        answer=probabilities.argmax(1),
        probability=own,
        margin=margin,
        score=np.divide(own, usual, out=np.ones_like(own), where=own < usual),
        doubted=(confident.max(1) >= 0) & (joint != labels),
    )


def _margins(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # The probability of each label, and that less the highest of another class.
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = 0.0
    return own, own - others.max(1)

"""Calibrated confidence: one temperature for all logits, and the expected calibration error."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

_BINS = 15


def fit_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """Return the temperature that makes the labels likeliest (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: (N, K) float.
        label: (N,) int, positions in the legend.

    Returns:
        What logits are to be divided by, 0.05 to 20; 1 where there is no label.
    """
    if not len(label):
        return 1.0
    label_logits = logits[np.arange(len(label)), label]

    def cross_entropy(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(logits * scale, axis=1) - label_logits * scale))

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))


def calibration_error(logits: np.ndarray, label: np.ndarray, temperature: float = 1.0) -> float:
    """Return the expected calibration error (Naeini et al. 2015).

    Args:
        logits: (N, K) float.
        label: (N,) int, positions in the legend.
        temperature: what the logits are divided by first.

    Returns:
        The mean gap between confidence and accuracy over 15 bins of confidence, 0 to 1.
    """
    probabilities = softmax(logits / temperature, axis=1)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == label
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    count = np.bincount(bins, minlength=_BINS)
    gaps = np.bincount(bins, confidence, _BINS) - np.bincount(bins, correct, _BINS)
    return float(np.abs(gaps).sum() / max(count.sum(), 1))

"""Confidence that means what it says: one temperature for all logits, and how far confidence and accuracy lie apart."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

_BINS = 15


def fit_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """What logits (N, K) are to be divided by, 0.05 to 20, so that labels (N,) are likeliest; 1 where there is nothing to fit.

    Guo et al. 2017, arXiv:1706.04599.
    """
    if not len(label):
        return 1.0
    right = logits[np.arange(len(label)), label]

    def surprise(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(logits * scale, axis=1) - right * scale))

    return float(
        np.exp(minimize_scalar(surprise, bounds=(np.log(0.05), np.log(20)), method="bounded").x)
    )


def calibration_error(logits: np.ndarray, label: np.ndarray, temperature: float = 1.0) -> float:
    """The expected calibration error (Naeini et al. 2015): the mean gap of confidence and accuracy over 15 bins of confidence."""
    shares = softmax(logits / temperature, axis=1)
    confidence, right = shares.max(1), shares.argmax(1) == label
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    count = np.bincount(bins, minlength=_BINS)
    gaps = np.bincount(bins, confidence, _BINS) - np.bincount(bins, right, _BINS)
    return float(np.abs(gaps).sum() / max(count.sum(), 1))

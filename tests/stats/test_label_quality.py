"""Ratings of labels against the published formulas, computed label by label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.stats.label_quality import class_thresholds, rate_labels


def test_ratings_equal_those_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.9, 0.1]])
    labels, weights = np.array([0, 0, 1, 1]), np.array([1, 3, 1, 1])
    thresholds = class_thresholds(probabilities, labels, weights)
    assert thresholds == pytest.approx([(0.8 + 3 * 0.6) / 4, (0.7 + 0.1) / 2])
    quality = rate_labels(probabilities, labels, thresholds)
    assert quality.probability == pytest.approx([0.8, 0.6, 0.7, 0.1])
    assert quality.margin == pytest.approx([0.6, 0.2, 0.4, -0.8])
    assert quality.answer.tolist() == [0, 0, 1, 0]
    # The second is confident of class 1 alone (0.4 >= 0.4, 0.6 < 0.65); the last of class 0.
    assert quality.doubted.tolist() == [False, True, False, True]
    # Of the mean of their class, 0.65 and 0.4, from which on none is doubtful.
    assert quality.score == pytest.approx([1, 0.6 / 0.65, 1, 0.1 / 0.4])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 30))
def test_ratings_equal_a_plain_loop(seed: int, classes: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.5), count)
    labels = rng.integers(0, classes, count)
    weights = rng.integers(1, 9, count)
    thresholds = class_thresholds(probabilities, labels, weights)
    quality = rate_labels(probabilities, labels, thresholds)
    for k in range(classes):
        own = [(p[k], w) for p, y, w in zip(probabilities, labels, weights, strict=True) if y == k]
        mean = sum(p * w for p, w in own) / sum(w for _, w in own) if own else 1.0
        assert thresholds[k] == pytest.approx(mean)
    for n, (p, y) in enumerate(zip(probabilities, labels, strict=True)):
        others = [k for k in range(classes) if k != y]
        assert quality.probability[n] == p[y]
        assert quality.margin[n] == pytest.approx(p[y] - max((p[k] for k in others), default=0.0))
        assert quality.score[n] == pytest.approx(min(p[y] / thresholds[y], 1))
        assert 0 <= quality.score[n] <= 1
        confident = [k for k in range(classes) if p[k] >= thresholds[k]]
        assert quality.doubted[n] == (bool(confident) and max(confident, key=lambda k: p[k]) != y)

"""Scores against scikit-learn's, and their behaviour at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

from lulc.errors import InputError
from lulc.legend import NODATA, LandClass, Legend
from lulc.stats.confusion import confusion, hardly_mapped, is_hardly_mapped, summarise

LEGEND = Legend("four", tuple(LandClass(i, f"class {i}", "#000000") for i in (7, 2, 200, 0)))
IDS = st.sampled_from([*LEGEND.ids, NODATA])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, (2, 6, 7), elements=IDS))
def test_scores_equal_scikit_learn(pair: np.ndarray) -> None:
    labels, classes = pair
    matrix = confusion(labels, classes, LEGEND)
    truth, found = (a[labels != NODATA].astype(int) for a in (labels, classes))
    assert matrix.shape == (4, 5) and matrix.sum() == truth.size
    if not truth.size:
        return
    order = [*LEGEND.ids, NODATA]
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(truth, found, labels=order)[:4])
    scores = summarise(matrix, LEGEND)
    assert scores.overall_accuracy == pytest.approx(metrics.accuracy_score(truth, found))
    users, producers, f1, _ = metrics.precision_recall_fscore_support(
        truth, found, labels=LEGEND.ids, zero_division=np.nan
    )
    iou = metrics.jaccard_score(truth, found, labels=LEGEND.ids, average=None, zero_division=0)
    for k, score in enumerate(scores.classes):
        assert score.users_accuracy == pytest.approx(users[k], nan_ok=True)
        assert score.producers_accuracy == pytest.approx(producers[k], nan_ok=True)
        occurs = score.id in truth or score.id in found
        assert score.f1 == pytest.approx(f1[k]) if occurs else math.isnan(score.f1)
        assert score.iou == pytest.approx(iou[k]) if occurs else math.isnan(score.iou)
    present = [s.iou for s in scores.classes if not math.isnan(s.iou)]
    assert (
        scores.mean_iou == pytest.approx(np.mean(present), nan_ok=True)
        if present
        else math.isnan(scores.mean_iou)
    )


def test_nothing_labelled_gives_nan_not_an_error() -> None:
    scores = summarise(
        confusion(np.full((2, 2), NODATA, np.uint8), np.full((2, 2), 7, np.uint8), LEGEND), LEGEND
    )
    assert (
        scores.pixels == 0 and math.isnan(scores.overall_accuracy) and math.isnan(scores.mean_iou)
    )


def test_a_pixel_the_map_leaves_out_counts_as_wrong() -> None:
    labels = np.array([[7, 7]], np.uint8)
    scores = summarise(confusion(labels, np.array([[7, NODATA]], np.uint8), LEGEND), LEGEND)
    assert scores.overall_accuracy == 0.5
    assert (scores.classes[0].users_accuracy, scores.classes[0].producers_accuracy) == (1.0, 0.5)


@pytest.mark.parametrize(("labels", "classes"), [(3, 7), (7, 3)])
def test_an_id_of_another_legend_is_refused(labels: int, classes: int) -> None:
    with pytest.raises(InputError, match=r"\[3\].*four"):
        confusion(np.array([labels], np.uint8), np.array([classes], np.uint8), LEGEND)


def test_a_class_of_one_percent_of_the_labels_below_the_bound_is_hardly_mapped() -> None:
    # 1 % labelled and IoU 0.09; 1 % and 0.10; less than 1 % and never mapped.
    assert is_hardly_mapped(10, 1000, 0.09)
    assert not is_hardly_mapped(10, 1000, 0.10)
    assert not is_hardly_mapped(9, 1000, 0.0)
    assert not is_hardly_mapped(0, 0, math.nan)
    count = len(LEGEND.classes)
    matrix = np.zeros((count, count + 1), np.int64)
    matrix[0, 0], matrix[1, 0], matrix[2, 2] = 90, 5, 5
    assert hardly_mapped(summarise(matrix, LEGEND)) == [LEGEND.classes[1].name]

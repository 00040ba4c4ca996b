"""Boxes (left, top, right, bottom): overlap, average precision and suppression of duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely

_CUT_SHARE = 0.9  # of the smaller box, from which on it is a part of the larger one


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the areas (N,) of boxes (N, 4), 0 where right < left or bottom < top."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the areas (N,) that boxes a (N, 4) share with boxes b (N, 4), pair by pair."""
    return area(np.column_stack([np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])]))


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every two boxes.

    Args:
        a: (N, 4) boxes.
        b: (M, 4) boxes.

    Returns:
        (N, M) float64, 0–1.

    Examples:
        >>> iou(np.array([[0, 0, 4, 4]]), np.array([[2, 0, 6, 4]])).round(3).tolist()
        [[0.333]]
    """
    first, second = np.repeat(a, len(b), 0), np.tile(b, (len(a), 1))
    both = intersection(first, second)
    union = area(first) + area(second) - both
    shares = np.divide(both, union, out=np.zeros(len(both)), where=union > 0)
    return np.asarray(shares).reshape(len(a), len(b))


def match(detections: np.ndarray, truth: np.ndarray, min_iou: float) -> np.ndarray:
    """Match detections to true boxes, each of which counts once.

    Args:
        detections: (N, 4) boxes of one image and class, best first.
        truth: (M, 4) true boxes.
        min_iou: smallest intersection over union of a match.

    Returns:
        (N,) bool, whether each detection matches a true box that no better one matched.
    """
    overlaps, is_free = iou(detections, truth), np.ones(len(truth), bool)
    matched = np.zeros(len(detections), bool)
    for i in range(len(detections)):
        free_overlaps = np.where(is_free, overlaps[i], -1)
        if len(truth) and free_overlaps.max() >= min_iou:
            is_free[free_overlaps.argmax()], matched[i] = False, True
    return matched


def average_precision(
    detections: Sequence[np.ndarray], truth: Sequence[np.ndarray], min_iou: float
) -> tuple[float, float]:
    """Return average precision and recall of one class over images.

    The area under the precision-recall curve, its precision made to fall with recall (Everingham et
    al. 2010, doi:10.1007/s11263-009-0275-4, as counted from 2010 on).

    Args:
        detections: score and box (N, 5) of every image.
        truth: true boxes (M, 4) of every image.
        min_iou: smallest intersection over union of a match.

    Returns:
        Average precision and recall, 0–1; NaN where there is no true box.
    """
    total = sum(map(len, truth))
    if not total:
        return float("nan"), float("nan")
    ranked = [boxes[np.argsort(-boxes[:, 0], kind="stable")] for boxes in detections]
    scores = np.concatenate([boxes[:, 0] for boxes in ranked])
    matched = np.concatenate(
        [match(boxes[:, 1:], true, min_iou) for boxes, true in zip(ranked, truth, strict=True)]
    )
    hits = np.cumsum(matched[np.argsort(-scores, kind="stable")])
    if not len(hits):
        return 0.0, 0.0
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / total
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope)), float(recall[-1])


def suppress_boxes(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, overlap: float
) -> np.ndarray:
    """Suppress boxes of the same object and class as a better one (non-maximum suppression).

    Two boxes are of one object where they share more than `overlap` of their union, or where nine
    tenths of the smaller one lie in the other, as of an object that the edge of a tile cuts.

    Args:
        boxes: (N, 4) boxes.
        scores: (N,) score of each.
        classes: (N,) class of each.
        overlap: largest intersection over union of two objects.

    Returns:
        Positions of the boxes that remain, best first.
    """
    order = np.argsort(-scores, kind="stable")
    tree = shapely.STRtree(shapely.box(*boxes.T))
    first, second = tree.query(shapely.box(*boxes.T), predicate="intersects")
    is_pair = (first != second) & (classes[first] == classes[second])
    first, second = first[is_pair], second[is_pair]
    both, sizes = intersection(boxes[first], boxes[second]), area(boxes)
    union, smaller = sizes[first] + sizes[second] - both, np.minimum(sizes[first], sizes[second])
    is_same = (both > overlap * union) | (both > _CUT_SHARE * smaller)
    first, second = first[is_same], second[is_same]
    by_first = np.argsort(first, kind="stable")
    first, second = first[by_first], second[by_first]
    starts = np.searchsorted(first, np.arange(len(boxes) + 1))
    remains = np.ones(len(boxes), bool)
    for i in order:
        if remains[i]:
            remains[second[starts[i] : starts[i + 1]]] = False
    return np.asarray(order[remains[order]])

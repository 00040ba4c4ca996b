"""Boxes (left, top, right, bottom): how far two overlap, how many of those that are there were found, and which are one thing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely


def area(boxes: np.ndarray) -> np.ndarray:
    """(N,) areas of boxes (N, 4), 0 where a side is turned about."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) areas that boxes a (N, 4) share with boxes b (N, 4), pair by pair."""
    return area(np.column_stack([np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])]))


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of boxes a (N, 4) and b (M, 4)."""
    first, second = np.repeat(a, len(b), 0), np.tile(b, (len(a), 1))
    both = intersection(first, second)
    union = area(first) + area(second) - both
    return np.asarray(np.divide(both, union, out=np.zeros(len(both)), where=union > 0)).reshape(
        len(a), len(b)
    )


def match(found: np.ndarray, truth: np.ndarray, least: float) -> np.ndarray:
    """(N,) bool: which found boxes (N, 4), best first, are a true one (M, 4) that no better one took, with this IoU at least."""
    likeness, free, right = iou(found, truth), np.ones(len(truth), bool), np.zeros(len(found), bool)
    for i in range(len(found)):
        open_ = np.where(free, likeness[i], -1)
        if len(truth) and open_.max() >= least:
            free[open_.argmax()], right[i] = False, True
    return right


def average_precision(
    found: Sequence[np.ndarray], truth: Sequence[np.ndarray], least: float
) -> tuple[float, float]:
    """Average precision and recall of one class in some images; of each, found (N, 5) of score and box, truth (M, 4).

    The area under precision as it never rises again with recall (Everingham et al. 2010, doi:10.1007/s11263-009-0275-4, as
    counted from 2010 on). NaN where nothing is there to be found.
    """
    total = sum(map(len, truth))
    if not total:
        return float("nan"), float("nan")
    ordered = [f[np.argsort(-f[:, 0], kind="stable")] for f in found]
    scores = np.concatenate([f[:, 0] for f in ordered])
    right = np.concatenate([match(f[:, 1:], t, least) for f, t in zip(ordered, truth, strict=True)])
    hits = np.cumsum(right[np.argsort(-scores, kind="stable")])
    if not len(hits):
        return 0.0, 0.0
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / total
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope)), float(recall[-1])


def suppress_boxes(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, overlap: float
) -> np.ndarray:
    """Positions of the boxes (N, 4) that stay, best first: of those of one class that are one thing only the best does.

    Two are one thing where they share more than `overlap` of their union, or where the smaller one, as a thing that the edge of a
    tile cut, lies in the other for nine tenths.
    """
    order = np.argsort(-scores, kind="stable")
    tree = shapely.STRtree(shapely.box(*boxes.T))
    one, two = tree.query(shapely.box(*boxes.T), predicate="intersects")
    apart = (one != two) & (classes[one] == classes[two])
    one, two = one[apart], two[apart]
    both, sizes = intersection(boxes[one], boxes[two]), area(boxes)
    union, smaller = sizes[one] + sizes[two] - both, np.minimum(sizes[one], sizes[two])
    same = (both > overlap * union) | (both > 0.9 * smaller)
    one, two = one[same], two[same]
    by = np.argsort(one, kind="stable")
    one, two = one[by], two[by]
    starts = np.searchsorted(one, np.arange(len(boxes) + 1))
    stays = np.ones(len(boxes), bool)
    for i in order:
        if stays[i]:
            stays[two[starts[i] : starts[i + 1]]] = False
    return np.asarray(order[stays[order]])

"""Boxes overlap, are found and are merged as their definitions say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.models.networks.registry import choose_model
from lulc.stats import boxes


def test_overlap_is_that_of_areas() -> None:
    a = np.array([[0, 0, 4, 4], [0, 0, 2, 2], [5, 5, 5, 9]], float)
    b = np.array([[2, 0, 6, 4], [10, 10, 12, 12]], float)
    assert boxes.iou(a, b) == pytest.approx(np.array([[8 / 24, 0], [0, 0], [0, 0]]))
    assert boxes.iou(a[:0], b).shape == (0, 2)


def test_average_precision_of_a_worked_example() -> None:
    truth = [np.array([[0, 0, 10, 10], [20, 20, 30, 30]], float), np.array([[0, 0, 10, 10]], float)]
    found = [
        np.array(
            [[0.9, 0, 0, 10, 10], [0.8, 0, 0, 10, 10], [0.6, 20, 20, 30, 30]]
        ),  # right, once more, right
        np.array([[0.7, 50, 50, 60, 60]]),  # wrong; what is there is never found
    ]
    # By score: right, wrong, wrong, right of three: precision 1
    # up to a recall of 1/3, then 2/4 up to 2/3.
    precision, recall = boxes.average_precision(found, truth, 0.5)
    assert precision == pytest.approx(1 / 3 * 1 + 1 / 3 * 0.5)
    assert recall == pytest.approx(2 / 3)
    assert boxes.average_precision([np.zeros((0, 5))], truth[:1], 0.5) == (0.0, 0.0)
    assert all(math.isnan(x) for x in boxes.average_precision(found[:1], [np.zeros((0, 4))], 0.5))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_what_tiles_cut_and_see_twice_is_one_again(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    # Objects on a lattice, none touching another; tiles of 100
    # with a margin of 20 see them whole or cut.
    corner = np.stack(np.meshgrid(np.arange(0, 300, 30), np.arange(0, 300, 30)), -1).reshape(
        -1, 2
    ) + rng.integers(0, 10, (100, 2))
    things = np.column_stack([corner, corner + rng.integers(5, 19, (100, 2))]).astype(float)
    kinds = rng.integers(0, classes, 100)
    seen, named, scores = [], [], []
    for left in range(0, 300, 100):
        for top in range(0, 300, 100):
            low, high = np.array([left, top]) - 20, np.array([left, top]) + 120
            cut = np.column_stack([np.maximum(things[:, :2], low), np.minimum(things[:, 2:], high)])
            there = (cut[:, 2:] > cut[:, :2]).all(1)
            whole = (cut == things).all(1)
            seen.append(cut[there])
            named.append(kinds[there])
            scores.append(np.where(whole, 0.9, 0.5)[there] - 0.01 * rng.random(there.sum()))
    found, ids = np.concatenate(seen), np.concatenate(named)
    kept = boxes.suppress_boxes(found, np.concatenate(scores), ids, 0.5)
    assert sorted(map(tuple, np.column_stack([found[kept], ids[kept]]))) == sorted(
        map(tuple, np.column_stack([things, kinds]))
    )
    again = boxes.suppress_boxes(found[kept], np.concatenate(scores)[kept], ids[kept], 0.5)
    assert len(again) == len(kept)


def test_things_of_two_classes_may_lie_in_one_place() -> None:
    twice = np.array([[0, 0, 9, 9], [0, 0, 9, 9]], float)
    assert len(boxes.suppress_boxes(twice, np.array([0.5, 0.6]), np.array([0, 1]), 0.5)) == 2
    assert boxes.suppress_boxes(twice, np.array([0.5, 0.6]), np.array([1, 1]), 0.5).tolist() == [1]


@pytest.mark.parametrize("name", ["fcos", "faster-rcnn"])
def test_boxes_told_in_half_the_bits_lie_where_they_did(name: str) -> None:
    torch.manual_seed(0)
    net = choose_model(name, "detect").build(3, 2).eval()
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        plain = net(images)[0]
        with torch.autocast("cpu", torch.bfloat16):
            halved = net(images)[0]
    assert plain.dtype == halved.dtype == torch.float32
    # Of twenty boxes, from the best on, nearly all are there again within a fraction of a pixel.
    assert len(plain) >= 20
    away = (plain[:20, None, 2:] - halved[None, :, 2:]).abs().amax(-1).amin(1)
    assert (away < 0.2).float().mean() >= 0.9
    # Sides are no multiples of what bfloat16 can tell: 0.25 from 32 on.
    assert ((halved[:, 2:] * 4) % 1 != 0).any()

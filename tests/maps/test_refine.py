"""What is refined by blocks is, byte for byte, the operation on the whole raster at once."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lulc.config import RefineConf, TransitionConf
from lulc.errors import InputError
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA
from lulc.maps.prediction_row import PredictionRow
from lulc.maps.refine.blocks import RefineSpec, refine_blocks
from lulc.maps.refine.majority import filter_majority
from lulc.maps.refine.patches import ROUNDS, merge_small_patches
from lulc.maps.refine.steps import MapWindow, make_consistent, refine_window
from lulc.tables import arrays, schemas, store
from lulc.tables.layout import BlockKey, block_file

IDS = (0, 1, 2, 7, 254)
FIRST = -3  # col and row of the first tile: cells may be negative


def random_map(seed: int, height: int, width: int, sigma: float) -> np.ndarray:
    """Patches of five classes, of single pixels with sigma 0, and of clouds without a class."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(len(IDS), height, width)), (0, sigma, sigma))
    classes = np.array(IDS, np.uint8)[noise.argmax(0)]
    clouds = ndimage.gaussian_filter(rng.normal(size=(height, width)), 2)
    classes[clouds > np.quantile(clouds, 0.85)] = NODATA
    return classes


def majority_of(classes: np.ndarray, window: int) -> np.ndarray:
    counts = np.stack(
        [
            ndimage.convolve((classes == i).astype(int), np.ones((window, window)), mode="constant")
            for i in IDS
        ]
    )
    own = np.select([classes == i for i in IDS], list(counts), 0)
    most = np.array(IDS, np.uint8)[counts.argmax(0)]
    return np.where((classes == NODATA) | (own == counts.max(0)), classes, most)


def merged_of(classes: np.ndarray, unit: int) -> np.ndarray:
    for _ in range(ROUNDS):
        classes = _merged_once(classes, unit)
    return classes


def _merged_once(classes: np.ndarray, unit: int) -> np.ndarray:
    numbers, count = np.zeros(classes.shape, int), 0
    for class_id in IDS:
        labelled, found = ndimage.label(classes == class_id)
        numbers += np.where(labelled, labelled + count, 0)
        count += found
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    is_large = (sizes >= unit) & (np.arange(count + 1) > 0)
    borders = np.zeros((count + 1, 256), int)
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        for one, other in ((a, b), (b, a)):
            counts = ~is_large[numbers[one]] & is_large[numbers[other]] & (numbers[one] > 0)
            np.add.at(borders, (numbers[one][counts], classes[other][counts]), 1)
    target = np.where(borders.any(1), borders.argmax(1), -1)[numbers]
    return np.where(target >= 0, target, classes).astype(np.uint8)


@pytest.mark.parametrize("sigma", [0.0, 0.8, 2.0])
@pytest.mark.parametrize("shape", [(61, 83), (1, 40), (40, 1), (3, 3)])
def test_steps_are_those_of_scipy(sigma: float, shape: tuple[int, int]) -> None:
    classes = random_map(1, *shape, sigma)
    for window in (3, 5, 9):
        assert (filter_majority(classes, window) == majority_of(classes, window)).all()
    for unit in (2, 5, 12):
        merged = merge_small_patches(classes, unit)
        assert (merged == merged_of(classes, unit)).all()
        assert ((merged == NODATA) == (classes == NODATA)).all()


def test_a_patch_goes_to_the_longest_border_and_large_ones_lose_no_pixel() -> None:
    classes = np.full((6, 6), 1, np.uint8)
    classes[:, 3:] = 2
    classes[2, 2:4] = 7  # 3 sides to class 1, 3 to class 2: the lowest id
    classes[0, 0] = 9  # 2 sides
    classes[4:, 5] = NODATA
    classes[5, 4] = 8  # beside one pixel of class 2 and one of the next
    classes[5, 3] = 6  # a side to class 1 and one to class 2
    expected = np.full((6, 6), 1, np.uint8)
    expected[:, 3:] = 2
    expected[2, 3] = expected[5, 3] = 1
    expected[4:, 5] = NODATA
    assert merge_small_patches(classes, 3).tolist() == expected.tolist()
    alone = np.full((5, 5), NODATA, np.uint8)
    alone[2, 2] = 4
    assert (merge_small_patches(alone, 5) == alone).all()


def write_predictions(
    out: Path, whole: MapWindow, size: int, block: int, name: str = "m/1"
) -> tuple[Tiling, dict[BlockKey, str]]:
    """The predictions of a map in blocks; tiles that lie wholly beyond it are not there."""
    tiling = Tiling("t", "EPSG:6933", 10.0, size)
    height, width = whole.classes.shape
    by_block: dict[BlockKey, list[PredictionRow]] = {}
    for row in range(-(-height // size)):
        for col in range(-(-width // size)):
            cell = col + FIRST, row + FIRST
            first = tuple(number // block * block for number in cell)
            area = np.s_[..., row * size : (row + 1) * size, col * size : (col + 1) * size]
            probabilities = whole.probabilities
            tile = PredictionRow(
                tiling.tile_id(*cell), "p", name, "l", ("s",), tiling.grid(*cell), IDS,
                classes=_padded(whole.classes[area], size),
                confidence=_padded(whole.confidence[area], size),
                probabilities=None if probabilities is None else _padded(probabilities[area], size),
            )  # fmt: skip
            by_block.setdefault(BlockKey("p", "t", *first), []).append(tile)
    paths = {key: block_file("predictions", key, "f") for key in by_block}
    for key, tiles in by_block.items():
        rows = (tile.to_row() for tile in tiles)
        store.write_rows(out / paths[key], rows, schemas.PREDICTIONS, {})
    return tiling, paths


def _padded(layer: np.ndarray, size: int) -> np.ndarray:
    missing = [(0, 0)] * (layer.ndim - 2) + [(0, size - side) for side in layer.shape[-2:]]
    return np.pad(layer, missing, constant_values=NODATA)


def spec_of(out: Path, tiling: Tiling, block: int, **steps: Any) -> RefineSpec:
    return RefineSpec(
        out, RefineConf(**steps), tiling, block, ("p",), tuple((i, f"c{i}") for i in IDS)
    )


def task_of(key: BlockKey, path: str, sources: list[str]) -> dict[str, Any]:
    return {"keys": [str(key)], "fingerprints": ["f"], "paths": [path], "sources": sources}


def refine_all(spec: RefineSpec, paths: dict[BlockKey, str]) -> None:
    reached = spec.blocks_reached * spec.block
    for key in paths:
        near = [
            path
            for other, path in paths.items()
            if abs(other.col - key.col) <= reached and abs(other.row - key.row) <= reached
        ]
        path = block_file("refined", key, "f")
        (row,) = refine_blocks(task_of(key, path, near), spec)
        assert (row.stage, row.key, row.path, row.status) == ("refine", str(key), path, "done")


def read_map(out: Path, tiling: Tiling, shape: tuple[int, int], name: str) -> np.ndarray:
    layer = np.full(shape, NODATA, np.uint8)
    for row in store.read_table(out, "refined").to_pylist():
        col_of, row_of = tiling.parse(row["tile_id"])
        top, left = (row_of - FIRST) * tiling.size, (col_of - FIRST) * tiling.size
        target = layer[top : top + tiling.size, left : left + tiling.size]
        target[...] = arrays.array_from(row, name)[: target.shape[0], : target.shape[1]]
    return layer


STEPS = (
    {"majority": 3},
    {"minimum_mapping_unit": 5},
    {"majority": 5, "minimum_mapping_unit": 9},
)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([16, 32, 48]),
    block=st.integers(1, 3),
    steps=st.sampled_from(STEPS),
    sigma=st.sampled_from([0.0, 0.8, 3.0]),
)
def test_blocks_of_any_size_give_the_map_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    size: int,
    block: int,
    steps: dict[str, Any],
    sigma: float,
) -> None:
    out = tmp_path_factory.mktemp("out")
    classes = random_map(seed, 70, 110, sigma)
    rng = np.random.default_rng(seed)
    confidence = np.where(classes == NODATA, NODATA, rng.integers(20, 101, classes.shape))
    whole = MapWindow(classes, confidence.astype(np.uint8))
    tiling, paths = write_predictions(out, whole, size, block)
    refine_all(spec_of(out, tiling, block, **steps), paths)
    expected = classes
    if "majority" in steps:
        expected = majority_of(expected, steps["majority"])
    if "minimum_mapping_unit" in steps:
        expected = merged_of(expected, steps["minimum_mapping_unit"])
    assert (read_map(out, tiling, classes.shape, "classes") == expected).all()
    at_most = np.minimum(whole.confidence, 100 - whole.confidence.astype(int))
    kept = np.where(expected == classes, whole.confidence, at_most)
    assert (read_map(out, tiling, classes.shape, "confidence") == kept).all()
    for row in store.read_table(out, "refined").to_pylist():
        pixels = arrays.array_from(row, "classes")
        assert row["class_counts"] == [int((pixels == i).sum()) for i in IDS]
        assert row["nodata_count"] == int((pixels == NODATA).sum())
        assert arrays.array_from(row, "percent_counts").sum(1).tolist() == row["class_counts"]


def percents_of(seed: int, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Probabilities in percent (K, H, W), none under clouds."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(len(IDS), *shape)), (0, sigma, sigma))
    scores = np.exp(2 * noise / noise.std())
    percents = np.round(100 * scores / scores.sum(0)).astype(np.uint8)
    percents[:, random_map(seed, *shape, sigma) == NODATA] = NODATA
    return percents


def smoothed_of(
    percents: np.ndarray, window: int, smoothness: float, share: float
) -> tuple[np.ndarray, np.ndarray]:
    radius, (count, height, width) = window // 2, percents.shape
    shares = np.clip(percents / 100, 0.005, 0.995)
    logits = np.where(percents == NODATA, np.nan, np.log(shares / (1 - shares)))
    classes, smoothed = np.full((height, width), NODATA, np.uint8), np.full_like(percents, NODATA)
    for row, col in np.argwhere(percents[0] != NODATA).tolist():
        rows = slice(max(0, row - radius), row + radius + 1)
        cols = slice(max(0, col - radius), col + radius + 1)
        near = logits[:, rows, cols].reshape(count, -1)
        near = np.sort(near[:, ~np.isnan(near[0])], 1)[:, ::-1]
        taken = near[:, : math.ceil(share * near.shape[1])]
        variance = taken.var(1, ddof=1) if taken.shape[1] > 1 else np.zeros(count)
        weight = variance / (variance + smoothness)
        values = 1 / (1 + np.exp(-(weight * logits[:, row, col] + (1 - weight) * taken.mean(1))))
        classes[row, col] = IDS[int(values.argmax())]
        smoothed[:, row, col] = np.floor(100 * values / values.sum() + 0.5)
    return classes, smoothed


@pytest.mark.parametrize("smoothing", [(7, 10.0, 0.5), (3, 0.5, 1.0)])
@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_smoothed_blocks_are_the_published_formula_on_the_whole(
    tmp_path: Path, smoothing: tuple[int, float, float], sigma: float
) -> None:
    percents = percents_of(3, (50, 70), sigma)
    classes = np.where(percents[0] == NODATA, NODATA, np.array(IDS)[percents.argmax(0)])
    whole = MapWindow(classes.astype(np.uint8), percents.max(0), percents)
    tiling, paths = write_predictions(tmp_path, whole, 16, 2)
    window, smoothness, share = smoothing
    smooth = {"window": window, "smoothness": smoothness, "share": share}
    spec = spec_of(tmp_path, tiling, 2, smooth=smooth, minimum_mapping_unit=4)
    refine_all(spec, paths)
    expected, smoothed = smoothed_of(percents, *smoothing)
    merged = merged_of(expected, 4)
    assert (read_map(tmp_path, tiling, classes.shape, "classes") == merged).all()
    number = np.full(256, len(IDS))
    number[list(IDS)] = range(len(IDS))
    with_none = np.concatenate([smoothed, np.full((1, *classes.shape), NODATA, np.uint8)])
    confidence = np.take_along_axis(with_none, number[merged][None], 0)[0]
    assert (read_map(tmp_path, tiling, classes.shape, "confidence") == confidence).all()
    assert (expected != classes).any()
    _, paths = write_predictions(tmp_path / "bare", replace(whole, probabilities=None), 16, 2)
    with pytest.raises(InputError, match="no probabilities to smooth"):
        refine_all(replace(spec, out=tmp_path / "bare"), paths)


@pytest.mark.parametrize("with_percents", [True, False])
@pytest.mark.parametrize("stay", [None, 0.8])
def test_sequences_are_the_likeliest_that_are_allowed(
    with_percents: bool, stay: float | None
) -> None:
    legend = dict(enumerate(("urban", "forest", "crops")))
    rng = np.random.default_rng(5)
    percents = np.stack(
        [np.round(100 * rng.dirichlet(np.ones(3), (9, 11))).astype(np.uint8) for _ in range(4)]
    ).transpose(0, 3, 1, 2)
    classes = percents.argmax(1).astype(np.uint8)
    classes[:, :2] = rng.integers(0, 3, (4, 2, 11))  # as other steps left them
    classes[rng.random(classes.shape) < 0.1] = NODATA
    confidence = np.where(classes == NODATA, NODATA, percents.max(1)).astype(np.uint8)
    layers = percents if with_percents else [None] * 4
    windows = [MapWindow(*layer) for layer in zip(classes, confidence, layers, strict=True)]
    settings = TransitionConf((("urban", "forest"), ("urban", "crops")), stay)
    found = np.stack([w.classes for w in make_consistent(windows, settings, legend)])
    assert ((found == NODATA) == (classes == NODATA)).all()
    changed = 0
    for row, col in np.ndindex(9, 11):
        seen = np.flatnonzero(classes[:, row, col] != NODATA)
        sequence = found[seen, row, col].tolist()
        assert not any(a == 0 and b != 0 for a, b in itertools.pairwise(sequence))
        scores = _scores(classes, confidence, layers, (seen, row, col), stay)
        assert scores[tuple(sequence)] == pytest.approx(max(scores.values()), abs=1e-6)
        changed += sequence != classes[seen, row, col].tolist()
    assert changed > 10


def _scores(
    classes: np.ndarray, confidence: np.ndarray, layers: Any, at: Any, stay: float | None
) -> dict[tuple[int, ...], float]:
    # Logarithm of the probability of every allowed sequence of a pixel.
    seen, row, col = at
    observed = []
    for period in seen:
        own = classes[period, row, col]
        if layers[period] is None:
            share = min(max(confidence[period, row, col] / 100, 1 / 3), 0.995)
            likely = np.full(3, (1 - share) / 2)
            likely[own] = share
        else:
            likely = np.clip(layers[period][:, row, col] / 100, 0.005, 0.995)
            best = int(likely.argmax())
            likely[[own, best]] = likely[[best, own]]
        observed.append(np.log(likely))
    matrix = np.zeros((3, 3))
    if stay is not None:
        changes = np.array([0, 2, 2])[:, None]  # urban may change into nothing
        matrix = np.log(np.where(np.eye(3), stay, (1 - stay) / np.maximum(changes, 1)))
    matrix[0, 1:] = -np.inf
    return {
        sequence: sum(o[c] for o, c in zip(observed, sequence, strict=True))
        + sum(matrix[pair] for pair in itertools.pairwise(sequence))
        for sequence in itertools.product(range(3), repeat=len(seen))
    }


def test_the_confidence_of_another_class_is_what_the_model_gave_it() -> None:
    classes = np.zeros((5, 5), np.uint8)
    classes[2, 2] = 1
    percents = np.stack([np.full((5, 5), 60), np.full((5, 5), 30), np.full((5, 5), 10)])
    percents[:, 2, 2] = 25, 55, 20
    window = MapWindow(classes, percents.max(0).astype(np.uint8), percents.astype(np.uint8))
    refined = refine_window(window, RefineConf(majority=3), (0, 1, 2))
    assert (refined.classes == 0).all()
    assert refined.confidence[2, 2] == 25
    assert (np.delete(refined.confidence.ravel(), 12) == 60).all()
    assert window.confidence[2, 2] == 55


def test_predictions_of_two_models_are_not_one_map(tmp_path: Path) -> None:
    classes = random_map(0, 64, 64, 1.0)
    whole = MapWindow(classes, classes)
    tiling, paths = write_predictions(tmp_path, whole, 32, 1)
    _, others = write_predictions(tmp_path / "other", whole, 32, 1, "m/2")
    first, second, *_ = paths
    path = f"other/{others[second]}"
    task = task_of(first, "x", [paths[first], path])
    spec = spec_of(tmp_path, tiling, 1, majority=3)
    with pytest.raises(InputError, match="mixed in one map: run `lulc predict` to the end"):
        refine_blocks(task, spec)

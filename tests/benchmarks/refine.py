"""How fast blocks of predictions become a map, against scipy on the whole array in memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from lulc.legend import NODATA
from lulc.maps.refine.patches import ROUNDS
from lulc.maps.refine.steps import MapWindow
from tests.maps import test_refine as maps

SETTINGS = {"majority": 3, "minimum_mapping_unit": 5}


def measure(quick: bool) -> dict[str, float]:
    """refine of PERFORMANCE.md: CPU seconds of scipy ÷ ours on one core; the maps are equal.

    Ours read predictions and write the map; scipy is given the array.
    """
    side = 2048 if quick else 4096
    classes = maps.random_map(0, side, side, 1.2)
    confidence = np.where(classes == NODATA, NODATA, 80).astype(np.uint8)
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        tiling, paths = maps.write_predictions(out, MapWindow(classes, confidence), 512, 4)
        spec = maps.spec_of(out, tiling, 4, **SETTINGS)
        maps.refine_all(spec, dict(list(paths.items())[:1]))  # compiled outside the measurement
        ours = _cpu_seconds(lambda: maps.refine_all(spec, paths))
        refined = maps.read_map(out, tiling, classes.shape, "classes")
    expected: list[np.ndarray] = []
    scipy = _cpu_seconds(lambda: expected.append(_merged(_filtered(classes))))
    if not np.array_equal(refined, expected[0]):
        raise AssertionError("the refined map is not that of scipy")
    return {"refine": scipy / ours, "refine.ns": 1e9 * ours / side**2}


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _filtered(classes: np.ndarray) -> np.ndarray:
    window, ids = np.ones(SETTINGS["majority"]), np.unique(classes[classes != NODATA])
    best = np.full(classes.shape, -1, np.int16)
    out = classes.copy()
    own = np.zeros(classes.shape, np.int16)
    for class_id in ids.tolist():
        is_class = classes == class_id
        rows = ndimage.correlate1d(is_class.astype(np.int16), window, 0, mode="constant")
        counts = ndimage.correlate1d(rows, window, 1, mode="constant")
        out[counts > best] = class_id
        np.maximum(best, counts, out=best)
        own[is_class] = counts[is_class]
    return np.where((classes == NODATA) | (own == best), classes, out)


def _merged(classes: np.ndarray) -> np.ndarray:
    for _ in range(ROUNDS):
        merged = _merged_once(classes, SETTINGS["minimum_mapping_unit"])
        if np.array_equal(merged, classes):
            break
        classes = merged
    return classes


def _merged_once(classes: np.ndarray, unit: int) -> np.ndarray:
    numbers, count = np.zeros(classes.shape, np.int32), 0
    for class_id in np.unique(classes[classes != NODATA]).tolist():
        is_class = classes == class_id
        labelled, found = ndimage.label(is_class)
        numbers[is_class] = labelled[is_class] + count
        count += found
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    is_large = sizes >= unit
    is_large[0] = False
    is_small = ~is_large
    is_small[0] = False
    pairs = []
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        for one, other in ((a, b), (b, a)):
            counts = is_small[numbers[one]] & is_large[numbers[other]]
            pairs.append(numbers[one][counts].astype(np.int64) * 256 + classes[other][counts])
    codes, borders = np.unique(np.concatenate(pairs), return_counts=True)
    # The longest border of each patch, of equal ones that with the lowest id.
    order = np.lexsort((codes % 256, -borders, codes // 256))
    patches, first = np.unique(codes[order] // 256, return_index=True)
    target = np.full(count + 1, -1, np.int16)
    target[patches] = (codes[order] % 256)[first]
    of_pixels = target[numbers]
    return np.where(of_pixels >= 0, of_pixels, classes).astype(np.uint8)

"""The steps that make a map of predictions, in their order, on a window of the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lulc.config import RefineConf, SmoothConf, TransitionConf
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.rules import parse_rule


@dataclass(frozen=True, eq=False)
class MapWindow:
    """A window of the map in one period."""

    classes: np.ndarray
    """(H, W) uint8 legend ids, 255 where there is none."""
    confidence: np.ndarray
    """(H, W) uint8 percent, 255 where there is no class."""
    probabilities: np.ndarray | None = None
    """(K, H, W) uint8 percent of all classes, where the predictions hold them."""

    def cut(self, margin: int) -> MapWindow:
        """Return the window without so many pixels on each side."""
        height, width = self.classes.shape
        inner = np.s_[..., margin : height - margin, margin : width - margin]
        percents = self.probabilities
        return MapWindow(
            self.classes[inner],
            self.confidence[inner],
            None if percents is None else percents[inner],
        )


def reach(settings: RefineConf) -> int:
    """Return how many pixels around a pixel the steps look."""
    from lulc.maps.refine.patches import reach_of_unit  # compiles

    pixels = settings.smooth.window // 2 if settings.smooth else 0
    if settings.majority:
        pixels += settings.majority // 2
    if settings.minimum_mapping_unit:
        pixels += reach_of_unit(settings.minimum_mapping_unit)
    return pixels


def refine_window(window: MapWindow, settings: RefineConf, class_ids: tuple[int, ...]) -> MapWindow:
    """Apply the steps that are of one period to a window of the map.

    The confidence stays the model's: a pixel that gets another class has the percentage that the
    model gave that one, or where only that of its own is known the most that it can have been.

    Args:
        window: of the predictions.
        settings: the steps.
        class_ids: the legend ids that the probabilities are of, in their order.

    Returns:
        The window; wherever it holds `reach` pixels around, it is that of the whole map.

    Raises:
        InputError: it is to be smoothed, and the predictions hold no probabilities.
    """
    from lulc.maps.refine.majority import filter_majority
    from lulc.maps.refine.patches import merge_small_patches

    if settings.smooth:
        window = _smooth(window, settings.smooth, class_ids)
    classes = window.classes
    if settings.majority:
        classes = filter_majority(classes, settings.majority)
    if settings.minimum_mapping_unit:
        classes = merge_small_patches(classes, settings.minimum_mapping_unit)
    return with_classes(window, classes, class_ids)


def _smooth(window: MapWindow, settings: SmoothConf, class_ids: tuple[int, ...]) -> MapWindow:
    from lulc.maps.refine.smoothing import smooth

    if window.probabilities is None:
        raise InputError(
            "these predictions hold no probabilities to smooth: set predict.probabilities to true, "
            "and run `lulc predict`"
        )
    numbers, percents = smooth(
        window.probabilities, settings.window, settings.smoothness, settings.share
    )
    to_id = np.full(256, NODATA, np.uint8)
    to_id[: len(class_ids)] = class_ids
    return MapWindow(to_id[numbers], percents.max(0), percents)


def follow_rules(
    window: MapWindow, settings: RefineConf, legend: Mapping[int, str], grid: Grid
) -> MapWindow:
    """Apply the rules to a window of the map.

    Args:
        window: of the map.
        settings: the rules, and their layers.
        legend: class id → name.
        grid: of the window.

    Returns:
        The window.

    Raises:
        InputError: a layer cannot be read.
    """
    from lulc.maps.refine.layers import read_layer
    from lulc.maps.refine.rules import apply_rules

    ids = {name: class_id for class_id, name in legend.items()}
    rules = [parse_rule(rule, ids, settings.layers) for rule in settings.rules]
    classes = apply_rules(
        window.classes,
        window.confidence,
        rules,
        ids,
        lambda name: read_layer(settings.layers[name], grid),
    )
    return with_classes(window, classes, tuple(legend))


def make_consistent(
    windows: Sequence[MapWindow], settings: TransitionConf, legend: Mapping[int, str]
) -> list[MapWindow]:
    """Make the classes of every pixel over the periods the likeliest that are allowed.

    Args:
        windows: of the same place, in the order of the periods.
        settings: what is allowed.
        legend: class id → name.

    Returns:
        The windows, in their order.
    """
    from lulc.maps.refine import transitions

    ids = tuple(legend)
    names = list(legend.values())
    forbidden = np.zeros((len(ids), len(ids)), bool)
    for first, second in settings.forbidden:
        forbidden[names.index(first), names.index(second)] = True
    percents = [window.probabilities for window in windows if window.probabilities is not None]
    classes = transitions.make_consistent(
        np.stack([window.classes for window in windows]),
        np.stack([window.confidence for window in windows]),
        np.stack(percents) if percents else None,
        transitions.transition_logs(forbidden, settings.stay),
        ids,
        every=settings.stay is not None,
    )
    return [with_classes(w, c, ids) for w, c in zip(windows, classes, strict=True)]


def with_classes(window: MapWindow, classes: np.ndarray, class_ids: tuple[int, ...]) -> MapWindow:
    """Return a window with other classes, and the model's confidence in them."""
    changed = classes != window.classes
    confidence = window.confidence.copy()
    if window.probabilities is None:
        own = confidence[changed]
        # All classes together have 100, and none has more than the likeliest.
        at_most = np.minimum(own, 100 - own)
        confidence[changed] = np.where(own == NODATA, NODATA, at_most)
    else:
        for number, class_id in enumerate(class_ids):
            to_class = changed & (classes == class_id)
            confidence[to_class] = window.probabilities[number][to_class]
    return replace(window, classes=classes, confidence=confidence)


def empty_window(side: int, classes: int) -> MapWindow:
    """Return a square window without a class, with percentages of so many classes if any."""
    return MapWindow(
        np.full((side, side), NODATA, np.uint8),
        np.full((side, side), NODATA, np.uint8),
        np.full((classes, side, side), NODATA, np.uint8) if classes else None,
    )

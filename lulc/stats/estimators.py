"""Accuracy and area from a stratified random sample of interpreted points: estimates with standard errors, by design.

Stratified estimators of a mean and of a ratio (Stehman 2014, doi:10.1080/01431161.2014.930207, eq. 2, 25, 27, 28), which where
strata are the map's classes are those of Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015; no finite population correction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lulc.errors import InputError

Z95 = 1.959964
"""Half the width of a 95 % interval in standard errors."""


@dataclass(frozen=True, eq=False)
class ReferenceSample:
    """Interpreted points: stratum, map class and reference class of each, (N,) of any comparable kind; m² of every stratum."""

    stratum: np.ndarray
    mapped: np.ndarray
    reference: np.ndarray
    areas: Mapping[object, float]

    def __post_init__(self) -> None:
        found, counts = np.unique(self.stratum, return_counts=True)
        known = dict(zip(found.tolist(), counts.tolist(), strict=True))
        few = [str(s) for s, area in self.areas.items() if area > 0 and known.get(s, 0) < 2]
        if few:
            raise InputError(
                f"strata {', '.join(few)} have fewer than two interpreted points: no error can be told; interpret more"
            )
        strange = [str(s) for s in known if self.areas.get(s, 0) <= 0]
        if strange:
            raise InputError(
                f"points lie in strata {', '.join(strange)}, whose area is not known: give the design's own file"
            )

    @property
    def total(self) -> float:
        """m² of all strata."""
        return float(sum(self.areas.values()))


@dataclass(frozen=True)
class Estimate:
    """A figure, its standard error, and how many points bear on it; NaN where nothing does, the error where one point does."""

    value: float
    error: float
    points: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        return self.value - Z95 * self.error, self.value + Z95 * self.error

    def times(self, factor: float) -> Estimate:
        """The estimate of so many times the figure."""
        return Estimate(self.value * factor, self.error * factor, self.points)


def mean(sample: ReferenceSample, chosen: np.ndarray) -> Estimate:
    """The share of all area where `chosen` (N,) bool holds."""
    return ratio(sample, chosen, np.ones(len(chosen), bool))


def ratio(sample: ReferenceSample, chosen: np.ndarray, among: np.ndarray) -> Estimate:
    """The share of the area where `among` (N,) bool holds in which `chosen` does too."""
    y, x = (chosen & among).astype(float), among.astype(float)
    weights = {s: area / sample.total for s, area in sample.areas.items() if area > 0}
    own = {s: sample.stratum == s for s in weights}
    above = sum(w * y[own[s]].mean() for s, w in weights.items())
    below = sum(w * x[own[s]].mean() for s, w in weights.items())
    if below == 0:
        return Estimate(math.nan, math.nan, 0)
    share = above / below
    # The residuals' variance is s²y + R² s²x - 2 R sxy.
    variance = sum(
        w**2 * (y - share * x)[own[s]].var(ddof=1) / own[s].sum() for s, w in weights.items()
    )
    # One point alone leaves no residual: nothing is known of the error, which is not an error of nothing.
    error = math.sqrt(variance) / float(below) if among.sum() > 1 else math.nan
    return Estimate(float(share), error, int(among.sum()))


def error_matrix(sample: ReferenceSample, classes: list[object]) -> np.ndarray:
    """(K, K) shares of all area by map class (rows) and reference class (columns)."""
    return np.array(
        [
            [mean(sample, (sample.mapped == i) & (sample.reference == j)).value for j in classes]
            for i in classes
        ]
    )


def allocate(weights: np.ndarray, spreads: np.ndarray, points: int, least: int) -> np.ndarray:
    """(H,) points of each stratum, `points` in all: `least` or more, the rest by weight x spread (Neyman; Cochran 1977, 5.26).

    weights: shares of area. spreads: standard deviation within each stratum; all alike gives a proportional allocation.
    """
    if points < least * len(weights):
        raise InputError(
            f"{points} points are too few for {len(weights)} strata of at least {least}: ask for more, or a smaller --least"
        )
    counts = np.full(len(weights), least)
    wanted = weights * spreads / (weights * spreads).sum() * points
    over = np.clip(wanted - least, 0, None)
    free = points - counts.sum()
    exact = over / over.sum() * free if over.sum() else weights * free
    counts = counts + np.floor(exact).astype(int)
    for i in np.argsort(exact % 1)[::-1][: points - counts.sum()]:
        counts[i] += 1
    return np.asarray(counts)


def points_for(weights: np.ndarray, spreads: np.ndarray, error: float) -> int:
    """Points whose optimal allocation gives a share this standard error (Cochran 1977, eq. 5.25; Olofsson et al. eq. 13)."""
    return math.ceil(float((weights * spreads).sum() / error) ** 2)

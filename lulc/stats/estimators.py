"""Accuracy and area from a stratified random sample of interpreted points, with standard errors.

Design-based stratified estimators of a mean (Stehman 2014, doi:10.1080/01431161.2014.930207,
eq. 2 and 25) and of a ratio (eq. 27 and 28). Where the strata are the map's classes they are those
of Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015. Without finite population correction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lulc.errors import InputError

Z95 = 1.959964
"""Half width of a 95 % confidence interval, in standard errors."""


@dataclass(frozen=True, eq=False)
class ReferenceSample:
    """A stratified random sample of interpreted points.

    Raises:
        InputError: a stratum with an area has fewer than two points, or a point lies in a stratum
            without an area.
    """

    stratum: np.ndarray
    """(N,) stratum of each point, of any comparable type."""
    mapped: np.ndarray
    """(N,) class of the map at each point."""
    reference: np.ndarray
    """(N,) class that the interpreter gave each point."""
    areas: Mapping[object, float]
    """m² of every stratum."""

    def __post_init__(self) -> None:
        strata, sizes = np.unique(self.stratum, return_counts=True)
        counts = dict(zip(strata.tolist(), sizes.tolist(), strict=True))
        few = [str(s) for s, area in self.areas.items() if area > 0 and counts.get(s, 0) < 2]
        if few:
            raise InputError(
                f"strata {', '.join(few)} have fewer than two interpreted points, so they have no "
                "standard error: interpret more"
            )
        unknown = [str(s) for s in counts if self.areas.get(s, 0) <= 0]
        if unknown:
            raise InputError(
                f"points lie in strata {', '.join(unknown)}, whose area is not known: "
                "give the file of the sample design"
            )

    @property
    def total(self) -> float:
        """Area of all strata, in m²."""
        return float(sum(self.areas.values()))


@dataclass(frozen=True)
class Estimate:
    """An estimated value with its standard error."""

    value: float
    """The estimate; NaN where no point supports it."""
    error: float
    """Its standard error, in the unit of the value; NaN where fewer than two points support it."""
    points: int
    """Number of points that support it."""

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound of the 95 % confidence interval."""
        return self.value - Z95 * self.error, self.value + Z95 * self.error

    def times(self, factor: float) -> Estimate:
        """Return the estimate of a multiple of the value, such as an area of a share.

        Examples:
            >>> Estimate(0.25, 0.02, 100).times(4e6)
            Estimate(value=1000000.0, error=80000.0, points=100)
        """
        return Estimate(self.value * factor, self.error * factor, self.points)


def mean(sample: ReferenceSample, condition: np.ndarray) -> Estimate:
    """Estimate the share of all area where a condition holds.

    Stehman 2014, eq. 2 and 25. With strata that are map classes, its standard errors are those of
    Olofsson et al. 2014, eq. 5 (overall accuracy) and 10 (share of a class).

    Args:
        sample: the interpreted points.
        condition: (N,) bool, whether the condition holds at each point.

    Examples:
        The overall accuracy, and the area of class 1 in m²:

        >>> sample = ReferenceSample(
        ...     stratum=np.array([1, 1, 1, 1, 2, 2]),
        ...     mapped=np.array([1, 1, 1, 1, 2, 2]),
        ...     reference=np.array([1, 1, 1, 2, 2, 2]),
        ...     areas={1: 3e6, 2: 1e6},
        ... )
        >>> round(mean(sample, sample.mapped == sample.reference).value, 4)
        0.8125
        >>> round(mean(sample, sample.reference == 1).times(sample.total).value)
        2250000
    """
    return ratio(sample, condition, np.ones(len(condition), bool))


def ratio(sample: ReferenceSample, condition: np.ndarray, domain: np.ndarray) -> Estimate:
    """Estimate the share of a domain's area where a condition holds.

    Combined ratio estimator, Stehman 2014, eq. 27 and 28. User's accuracy of a class is the ratio
    in the domain that the map gives the class; producer's accuracy in the domain that the reference
    gives it.

    Args:
        sample: the interpreted points.
        condition: (N,) bool, whether the condition holds at each point.
        domain: (N,) bool, whether each point lies in the domain.

    Examples:
        User's accuracy of class 1:

        >>> sample = ReferenceSample(
        ...     stratum=np.array([1, 1, 1, 1, 2, 2]),
        ...     mapped=np.array([1, 1, 1, 1, 2, 2]),
        ...     reference=np.array([1, 1, 1, 2, 2, 2]),
        ...     areas={1: 3e6, 2: 1e6},
        ... )
        >>> estimate = ratio(sample, sample.reference == 1, sample.mapped == 1)
        >>> round(estimate.value, 4), round(estimate.error, 4), estimate.points
        (0.75, 0.25, 4)
    """
    y, x = (condition & domain).astype(float), domain.astype(float)
    weights = {s: area / sample.total for s, area in sample.areas.items() if area > 0}
    in_stratum = {s: sample.stratum == s for s in weights}
    numerator = sum(w * y[in_stratum[s]].mean() for s, w in weights.items())
    denominator = sum(w * x[in_stratum[s]].mean() for s, w in weights.items())
    if denominator == 0:
        return Estimate(math.nan, math.nan, 0)
    share = numerator / denominator
    # The residuals' variance is s²y + R² s²x - 2 R sxy.
    variance = sum(
        w**2 * (y - share * x)[in_stratum[s]].var(ddof=1) / in_stratum[s].sum()
        for s, w in weights.items()
    )
    # A single point leaves no residual: its error is unknown, and not zero.
    error = math.sqrt(variance) / float(denominator) if domain.sum() > 1 else math.nan
    return Estimate(float(share), error, int(domain.sum()))


def error_matrix(sample: ReferenceSample, classes: Sequence[object]) -> np.ndarray:
    """Estimate the error matrix as shares of all area (Olofsson et al. 2014, eq. 4).

    Args:
        sample: the interpreted points.
        classes: the classes in the order of rows and columns.

    Returns:
        (K, K) float64: rows are map classes, columns reference classes.
    """
    return np.array(
        [
            [mean(sample, (sample.mapped == i) & (sample.reference == j)).value for j in classes]
            for i in classes
        ]
    )


def allocate(weights: np.ndarray, spreads: np.ndarray, points: int, min_points: int) -> np.ndarray:
    """Allocate points to strata by weight x spread (Neyman; Cochran 1977, eq. 5.26).

    Args:
        weights: (H,) shares of area.
        spreads: (H,) standard deviations within each stratum; equal ones give an allocation
            proportional to area.
        points: number of points of all strata.
        min_points: smallest number of points of a stratum.

    Returns:
        (H,) int number of points of each stratum.

    Raises:
        InputError: `points` is too small for `min_points` in every stratum.

    Examples:
        >>> allocate(np.array([0.1, 0.9]), np.array([1.0, 1.0]), 100, 20).tolist()
        [20, 80]
    """
    if points < min_points * len(weights):
        raise InputError(
            f"{points} points are too few for {len(weights)} strata of at least {min_points}: "
            "draw more, or choose a smaller --least"
        )
    counts = np.full(len(weights), min_points)
    optimal = weights * spreads / (weights * spreads).sum() * points
    excess = np.clip(optimal - min_points, 0, None)
    free = points - counts.sum()
    exact = excess / excess.sum() * free if excess.sum() else weights * free
    counts = counts + np.floor(exact).astype(int)
    for i in np.argsort(exact % 1)[::-1][: points - counts.sum()]:
        counts[i] += 1
    return np.asarray(counts)


def points_for(weights: np.ndarray, spreads: np.ndarray, error: float) -> int:
    """Return the number of points whose optimal allocation gives a share a standard error.

    Cochran 1977, eq. 5.25; Olofsson et al. 2014, eq. 13.

    Args:
        weights: (H,) shares of area.
        spreads: (H,) standard deviations within each stratum, such as sqrt(p (1 - p)).
        error: standard error of the share, 0–1.

    Examples:
        Section 5.1.1 of Olofsson et al. 2014:

        >>> expected = np.array([0.7, 0.6, 0.9, 0.95])
        >>> points_for(
        ...     np.array([0.02, 0.015, 0.32, 0.645]), np.sqrt(expected * (1 - expected)), 0.01
        ... )
        641
    """
    return math.ceil(float((weights * spreads).sum() / error) ** 2)

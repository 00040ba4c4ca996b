"""Features over dates by numpy alone: what those of chips are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from lulc.features.over_time import DETERMINED, days_of

ENTRIES = {
    "percentiles": ["ndvi:p10", "ndvi:p50", "ndvi:p90"],
    "mad": ["ndvi:mad"],
    "harmonic": ["ndvi:harmonic:2"],
    "phenology": ["ndvi:phenology"],
}
"""By name, the entries of `tiling.features` that there are functions for here."""
COUNT = 13
"""Features that these give."""


def numpy_features(
    red: np.ndarray, nir: np.ndarray, valid: np.ndarray, dates: Sequence[date], first_year: int
) -> np.ndarray:
    """Return the features of ENTRIES, in their order.

    Args:
        red: (N, P) reflectance of N dates and P pixels.
        nir: the same.
        valid: (N, P) bool.
        dates: the days.
        first_year: the year that days count from.

    Returns:
        (COUNT, P) float64; 0 where no date is valid.
    """
    with np.errstate(all="ignore"):
        ndvi = (nir - red) / (nir + red)
    seen = valid & np.isfinite(ndvi)
    values = np.zeros((COUNT, seen.shape[1]))
    patterns, number = np.unique(seen, axis=1, return_inverse=True)
    for at, pattern in enumerate(patterns.T):
        if pattern.any():
            pixels = number.ravel() == at
            days = [day for day, is_seen in zip(dates, pattern, strict=True) if is_seen]
            values[:, pixels] = _of_dates(ndvi[pattern][:, pixels], days, first_year)
    return values


def _of_dates(series: np.ndarray, dates: Sequence[date], first_year: int) -> np.ndarray:
    mad = np.median(np.abs(series - np.median(series, 0)), 0)
    days = days_of(dates, first_year)
    seasons = np.array([_season(pixel, days) for pixel in series.T]).T
    return np.vstack(
        [np.percentile(series, [10, 50, 90], 0), mad, _harmonic(series, dates), seasons]
    )


def _harmonic(series: np.ndarray, dates: Sequence[date]) -> np.ndarray:
    of_year = np.array([day.timetuple().tm_yday for day in dates])
    phase = 2 * np.pi * of_year / 365.25
    waves = [np.ones_like(phase), *(f(k * phase) for k in (1, 2) for f in (np.cos, np.sin))]
    fit = np.zeros((5, series.shape[1]))
    for terms in (n for n in (5, 3, 1) if n <= len(series)):
        some = np.stack(waves[:terms], 1)
        own = np.abs(np.diag(np.linalg.qr(some)[1]))
        if (own > DETERMINED * np.linalg.norm(some, axis=0)).all():
            fit[:terms] = np.linalg.lstsq(some, series, rcond=None)[0]
            break
    return fit


def _season(x: np.ndarray, days: np.ndarray) -> tuple[float, float, float, float]:
    # Start, peak, end and amplitude of one pixel.
    peak = int(x.argmax())
    sides = [(x[: peak + 1][::-1], days[: peak + 1][::-1]), (x[peak:], days[peak:])]
    start, end = (_crossing(*side) for side in sides)
    return start, days[peak], end, x[peak] - (sides[0][0].min() + sides[1][0].min()) / 2


def _crossing(values: np.ndarray, days: np.ndarray) -> float:
    level = values.min() + 0.2 * (values[0] - values.min())
    below = np.flatnonzero(values[1:] <= level)
    if not len(below):
        return float(days[0])
    at = [below[0] + 1, below[0]]
    return float(np.interp(level, values[at], days[at]))

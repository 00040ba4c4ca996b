"""Statistics of a pixel's clear dates, exact and in one pass over a strip.

Percentiles are numpy's default: linear between the two nearest of the sorted values (Hyndman and
Fan 1996, doi:10.1080/00031305.1996.10473566, type 7). `mad` is the median of the absolute
differences from the median, without a factor (Hampel 1974, doi:10.1080/01621459.1974.10482962).
`sd` is of the population, of one date 0. `harmonic` is the least-squares fit of a mean and of n
cosines and sines a year over the day of the year (Zhu and Woodcock 2014,
doi:10.1016/j.rse.2014.01.011); waves that a pixel's dates do not tell are 0.
`phenology` is that of TIMESAT (Jönsson and Eklundh 2004, doi:10.1016/j.cageo.2004.05.006) on the
straight lines between the clear dates: the season starts where the curve has risen by 20 % of the
way from its lowest value before the peak to the peak, and ends likewise; the amplitude is the peak
less the mean of the lowest values on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

import numpy as np
from numba import njit

from lulc.features.feature import Feature

SEASON_SHARE = 0.2
"""Share of the rise, or fall, at which a season starts, or ends."""
DETERMINED = 0.01
"""A wave is left out of a harmonic fit whose cosine or sine is, up to this share of its length, a
sum of the terms before it at a pixel's dates: they do not tell its height."""
_YEAR = 365.25
_PHENOLOGY = ("start", "peak", "end", "amplitude")
_SHORT = 32


def statistics_of(
    features: Sequence[Feature],
    series: np.ndarray,
    valid: np.ndarray,
    dates: Sequence[date],
    days: np.ndarray,
) -> np.ndarray:
    """Return statistics of one source over its dates.

    Args:
        features: of that source, of scope `dates`; not medoid, first or last.
        series: (N, H, W) float64, values of the source in order of time.
        valid: (N, H, W) bool; where a value is not finite, its date does not count either.
        dates: the N days.
        days: (N,) float64, the days as `day` counts them.

    Returns:
        (F, H, W) float64, parallel to the features; 0 where no date is valid.
    """
    valid = valid & np.isfinite(series)
    values = np.zeros((len(features), *series.shape[1:]))
    shares = np.array([f.number / 100 for f in features if f.statistic == "p"])
    if len(shares) or any(f.statistic == "mad" for f in features):
        percentiles, mad = _order_statistics(series, valid, shares)
    if any(f.statistic in ("mean", "sd") for f in features):
        mean, sd = _moments(series, valid)
    if any(f.statistic == "phenology" for f in features):
        seasons = _phenology(series, valid, days, SEASON_SHARE)
    fits = {
        order: _harmonic(series, valid, _waves(dates, order), DETERMINED)
        for order in {int(f.number) for f in features if f.statistic == "harmonic"}
    }
    number = 0
    for position, feature in enumerate(features):
        match feature.statistic:
            case "p":
                values[position] = percentiles[number]
                number += 1
            case "mad":
                values[position] = mad
            case "mean":
                values[position] = mean
            case "sd":
                values[position] = sd
            case "phenology":
                values[position] = seasons[_PHENOLOGY.index(feature.part)]
            case "harmonic":
                values[position] = fits[int(feature.number)][term_of(feature.part)]
    return values


def term_of(part: str) -> int:
    """Return the position of a part of a harmonic fit: mean, cos1, sin1, and so on."""
    return 0 if part == "mean" else 2 * int(part[3:]) - (part[:3] == "cos")


def days_of(dates: Sequence[date], first_year: int) -> np.ndarray:
    """Return the dates' days (N,) float64: 1 on 1 January of a year."""
    start = date(first_year, 1, 1).toordinal() - 1
    return np.array([day.toordinal() - start for day in dates], np.float64)


def _waves(dates: Sequence[date], order: int) -> np.ndarray:
    # (N, 2 * order + 1): the terms of the fit at each date.
    phase = 2 * math.pi / _YEAR * np.array([day.timetuple().tm_yday for day in dates], np.float64)
    waves = [function(k * phase) for k in range(1, order + 1) for function in (np.cos, np.sin)]
    return np.stack([np.ones(len(phase)), *waves], 1)


def choose_dates(valid: np.ndarray, statistic: str) -> np.ndarray:
    """Return which date is the first, or last, valid one at each pixel.

    Args:
        valid: (N, H, W) bool.
        statistic: `first` or `last`.

    Returns:
        (H, W) positions; 0 where no date is valid.
    """
    if statistic == "first":
        return valid.argmax(0)
    return np.where(valid.any(0), len(valid) - 1 - valid[::-1].argmax(0), 0)


@njit(cache=True, nogil=True)
def _sort(values):  # type: ignore[no-untyped-def]
    if len(values) > _SHORT:
        values.sort()
        return
    for k in range(1, len(values)):
        value, at = values[k], k
        while at > 0 and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value


@njit(cache=True, nogil=True)
def _between(ascending, share):  # type: ignore[no-untyped-def]
    place = share * (len(ascending) - 1)
    below = int(place)
    if below + 1 >= len(ascending):
        return ascending[-1]
    return ascending[below] + (ascending[below + 1] - ascending[below]) * (place - below)


@njit(cache=True, nogil=True)
def _order_statistics(series, valid, shares):  # type: ignore[no-untyped-def]
    dates, height, width = series.shape
    percentiles, mad = np.zeros((len(shares), height, width)), np.zeros((height, width))
    buffer = np.empty(dates)
    for i in range(height):
        for j in range(width):
            n = 0
            for t in range(dates):
                if valid[t, i, j]:
                    buffer[n] = series[t, i, j]
                    n += 1
            if n == 0:
                continue
            ascending = buffer[:n]
            _sort(ascending)
            for k in range(len(shares)):
                percentiles[k, i, j] = _between(ascending, shares[k])
            middle = _between(ascending, 0.5)
            for t in range(n):
                ascending[t] = abs(ascending[t] - middle)
            _sort(ascending)
            mad[i, j] = _between(ascending, 0.5)
    return percentiles, mad


@njit(cache=True, nogil=True)
def _moments(series, valid):  # type: ignore[no-untyped-def]
    dates, height, width = series.shape
    mean, sd = np.zeros((height, width)), np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            n, total, squares = 0, 0.0, 0.0
            for t in range(dates):
                if valid[t, i, j]:
                    total += series[t, i, j]
                    n += 1
            if n == 0:
                continue
            middle = total / n
            for t in range(dates):
                if valid[t, i, j]:
                    squares += (series[t, i, j] - middle) ** 2
            mean[i, j], sd[i, j] = middle, np.sqrt(squares / n)
    return mean, sd


@njit(cache=True, nogil=True)
def _harmonic(series, valid, waves, determined):  # type: ignore[no-untyped-def]
    # By Gram and Schmidt, each term twice. Pixels beside each other mostly have the same dates:
    # what follows from these alone is kept from one pixel to the next.
    dates, height, width = series.shape
    terms = waves.shape[1]
    fit = np.zeros((terms, height, width))
    q, r = np.zeros((dates, terms)), np.zeros((terms, terms))
    own, at = np.empty(terms), np.zeros(dates, np.int64)
    n = used = 0
    for i in range(height):
        for j in range(width):
            is_same, m = True, 0
            for t in range(dates):
                if valid[t, i, j]:
                    if m >= n or at[m] != t:
                        is_same = False
                        at[m] = t
                    m += 1
            if not is_same or m != n:
                n = m
                used = _orthogonalise(waves, at[:n], q, r, determined)
            for c in range(used):
                own[c] = 0.0
                for k in range(n):
                    own[c] += q[k, c] * series[at[k], i, j]
            for c in range(used - 1, -1, -1):
                value = own[c]
                for d in range(c + 1, used):
                    value -= r[c, d] * fit[d, i, j]
                fit[c, i, j] = value / r[c, c]
    return fit


@njit(cache=True, nogil=True)
def _orthogonalise(waves, at, q, r, determined):  # type: ignore[no-untyped-def]
    # Writes Q and R of the waves at some dates; returns of how many terms: whole waves alone.
    n = len(at)
    r[:] = 0.0
    done = 0
    for c in range(min(waves.shape[1], n - 1 + n % 2)):
        length = 0.0
        for k in range(n):
            q[k, c] = waves[at[k], c]
            length += q[k, c] ** 2
        for _ in range(2):
            for d in range(c):
                share = 0.0
                for k in range(n):
                    share += q[k, d] * q[k, c]
                r[d, c] += share
                for k in range(n):
                    q[k, c] -= share * q[k, d]
        rest = 0.0
        for k in range(n):
            rest += q[k, c] ** 2
        if rest <= determined**2 * length:
            break
        r[c, c] = np.sqrt(rest)
        for k in range(n):
            q[k, c] /= r[c, c]
        done = c + 1
    return done if done % 2 == 1 else max(done - 1, 0)


@njit(cache=True, nogil=True)
def _phenology(series, valid, days, share):  # type: ignore[no-untyped-def]
    dates, height, width = series.shape
    season = np.zeros((4, height, width))
    value, day = np.empty(dates), np.empty(dates)
    for i in range(height):
        for j in range(width):
            n, peak = 0, 0
            for t in range(dates):
                if valid[t, i, j]:
                    value[n], day[n] = series[t, i, j], days[t]
                    if value[n] > value[peak]:
                        peak = n
                    n += 1
            if n == 0:
                continue
            left, right = value[: peak + 1].min(), value[peak:n].min()
            season[0, i, j] = _crossing(
                value, day, peak, 0, -1, left + share * (value[peak] - left)
            )
            season[1, i, j] = day[peak]
            season[2, i, j] = _crossing(
                value, day, peak, n - 1, 1, right + share * (value[peak] - right)
            )
            season[3, i, j] = value[peak] - (left + right) / 2
    return season


@njit(cache=True, nogil=True)
def _crossing(value, day, peak, end, step, level):  # type: ignore[no-untyped-def]
    # The day, nearest to the peak on one side, on which the curve is at a level.
    k = peak
    while k != end:
        k += step
        if value[k] <= level:
            if value[k] == value[k - step]:
                return day[k - step]
            part = (level - value[k]) / (value[k - step] - value[k])
            return day[k] + part * (day[k - step] - day[k])
    return day[peak]

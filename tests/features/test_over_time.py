"""Statistics over dates equal numpy's at every pixel, whatever dates are clear there."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lulc.features.feature import Expression, Feature
from lulc.features.over_time import DETERMINED, SEASON_SHARE, days_of, statistics_of, term_of

COUNT = 9
SERIES = hnp.arrays(np.int64, (COUNT, 3, 4), elements=st.integers(-500, 500)).map(
    lambda numbers: numbers / 500
)
SEEN = hnp.arrays(bool, (COUNT, 3, 4))
DAYS = st.lists(st.integers(0, 800), min_size=COUNT, max_size=COUNT).map(sorted)
PHENOLOGY = ("start", "peak", "end", "amplitude")
HARMONIC = ("mean", "cos1", "sin1", "cos2", "sin2")


def over_dates(statistic: str, number: float = 0, part: str = "") -> Feature:
    name = f"x:{statistic}:{number}:{part}"
    return Feature(name, "x", Expression(("x",)), "dates", statistic, number, part)


FEATURES = [
    *(over_dates("p", share) for share in (0, 10, 50, 97.5, 100)),
    *(over_dates(name) for name in ("mad", "mean", "sd")),
    *(over_dates("harmonic", 2, part) for part in HARMONIC),
    *(over_dates("phenology", part=part) for part in PHENOLOGY),
]


@given(SERIES, SEEN, DAYS)
@settings(deadline=None, max_examples=30)
def test_every_statistic_is_numpys_of_the_clear_dates(
    series: np.ndarray, valid: np.ndarray, numbers: list[int]
) -> None:
    dates = [date(2020, 1, 3) + timedelta(n) for n in numbers]
    days = days_of(dates, 2020)
    assert days[0] == numbers[0] + 3
    found = statistics_of(FEATURES, series, valid, dates, days)
    for i, j in np.ndindex(3, 4):
        seen = valid[:, i, j]
        if not seen.any():
            assert not found[:, i, j].any()
            continue
        x, at = series[seen, i, j], days[seen]
        of_year = np.array([day.timetuple().tm_yday for day in dates], float)[seen]
        expected = [
            *np.percentile(x, [0, 10, 50, 97.5, 100]),
            np.median(np.abs(x - np.median(x))),
            x.mean(),
            x.std(),
            *fit(of_year, x),
            *season(at, x),
        ]
        np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-7, atol=1e-7)


def fit(of_year: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The coefficients of mean and two waves, of those that the dates determine."""
    phase = 2 * np.pi * of_year / 365.25
    waves = np.stack(
        [np.ones_like(x), np.cos(phase), np.sin(phase), np.cos(2 * phase), np.sin(2 * phase)], 1
    )
    for terms in (5, 3, 1):
        some = waves[:, :terms]
        if terms <= len(x):
            own = np.abs(np.diag(np.linalg.qr(some)[1]))
            if (own > DETERMINED * np.linalg.norm(some, axis=0)).all():
                break
    return np.append(np.linalg.lstsq(some, x, rcond=None)[0], np.zeros(5 - terms))


def season(days: np.ndarray, x: np.ndarray) -> list[float]:
    """Start, peak, end and amplitude of the straight lines between dates."""
    peak = int(x.argmax())

    def outermost_day_above(values: np.ndarray, at: np.ndarray) -> float:
        # From the peak outwards, to where the line first comes down to the level.
        low = values.min()
        level = low + SEASON_SHARE * (values[0] - low)
        below = np.flatnonzero(values[1:] <= level)
        if not len(below):
            return float(at[0])
        k = int(below[0]) + 1
        return float(np.interp(level, values[[k, k - 1]], at[[k, k - 1]]))

    left, right = x[: peak + 1][::-1], x[peak:]
    return [
        outermost_day_above(left, days[: peak + 1][::-1]),
        float(days[peak]),
        outermost_day_above(right, days[peak:]),
        float(x[peak] - (left.min() + right.min()) / 2),
    ]


def test_a_known_season_and_a_known_wave_are_found() -> None:
    dates = [date(2021, 1, 1) + timedelta(5 * n) for n in range(73)]
    days = days_of(dates, 2021)
    phase = 2 * np.pi * days / 365.25
    curve = 0.4 + 0.2 * np.cos(phase) - 0.1 * np.sin(2 * phase)
    found = statistics_of(FEATURES, curve[:, None, None], np.ones((73, 1, 1), bool), dates, days)[
        :, 0, 0
    ]
    np.testing.assert_allclose(found[8:13], [0.4, 0.2, 0, 0, -0.1], atol=1e-12)
    assert [term_of(part) for part in HARMONIC] == [0, 1, 2, 3, 4]
    triangle = np.interp(days, [1, 101, 201, 361], [0, 0, 1, 0.5])
    found = statistics_of(
        FEATURES, triangle[:, None, None], np.ones((73, 1, 1), bool), dates, days
    )[:, 0, 0]
    np.testing.assert_allclose(found[13:], [121, 201, 329, 0.75], atol=1e-9)


def test_what_is_no_number_is_no_date() -> None:
    series = np.array([1.0, np.nan, 3.0, np.inf])[:, None, None]
    dates = [date(2021, 1, n) for n in (1, 2, 3, 4)]
    found = statistics_of(
        [over_dates("mean"), over_dates("p", 100)], series, np.ones((4, 1, 1), bool), dates,
        days_of(dates, 2021),
    )  # fmt: skip
    assert found[:, 0, 0].tolist() == [2.0, 3.0]

"""Estimates equal published examples to the printed digits; intervals cover the truth."""

from __future__ import annotations

import numpy as np
import pytest

from lulc.errors import InputError
from lulc.stats.estimators import ReferenceSample, allocate, error_matrix, mean, points_for, ratio


def letters(text: str) -> np.ndarray:
    return np.array(list(text))


# Table 2 of Stehman 2014: forty points in four strata that are not the map's classes.
STEHMAN = ReferenceSample(
    letters("A" * 10 + "B" * 10 + "C" * 10 + "D" * 10),
    letters("A" * 7 + "B" * 3 + "A" + "B" * 11 + "C" * 6 + "BB" + "D" * 10),
    letters("AAAAACBABC" + "A" + "BBBBB" + "AABB" + "CCCCCDDBBA" + "DDDDDDDCCB"),
    {"A": 40000, "B": 30000, "C": 20000, "D": 10000},
)
# Table 8 of Olofsson et al. 2014: deforestation, forest gain,
# stable forest, stable non-forest; pixels of 0.09 ha.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = {0: 200_000, 1: 150_000, 2: 3_200_000, 3: 6_450_000}


def olofsson() -> ReferenceSample:
    mapped, reference = (np.repeat(axis.ravel(), COUNTS.ravel()) for axis in np.indices((4, 4)))
    return ReferenceSample(mapped, mapped, reference, {k: 900.0 * n for k, n in PIXELS.items()})


def test_one_point_tells_nothing_of_its_error() -> None:
    only = np.arange(len(STEHMAN.mapped)) == 0
    found = ratio(STEHMAN, STEHMAN.reference == "A", only)
    assert (found.value, found.points) == (1.0, 1)
    assert np.isnan([found.error, *found.interval]).all()


def equation_7(k: int) -> float:
    """Standard error of producer's accuracy by equation 7 of Olofsson et al. 2014."""
    sizes, n = np.array([PIXELS[i] for i in range(4)], float), COUNTS.sum(1)
    share = COUNTS[:, k] / n
    whole = (sizes * share).sum()
    found, users = sizes[k] * share[k] / whole, share[k]
    others = [sizes[i] ** 2 * share[i] * (1 - share[i]) / (n[i] - 1) for i in range(4) if i != k]
    own = sizes[k] ** 2 * (1 - found) ** 2 * users * (1 - users) / (n[k] - 1)
    return float(np.sqrt(own + found**2 * sum(others)) / whole)


def test_the_example_of_stehman_2014() -> None:
    s = STEHMAN
    cases = {
        "area of A": (mean(s, s.reference == "A"), 0.35, 0.082),
        "area of C": (mean(s, s.reference == "C"), 0.20, 0.064),
        "overall accuracy": (mean(s, s.mapped == s.reference), 0.63, 0.085),
        "user's accuracy of B": (ratio(s, s.reference == "B", s.mapped == "B"), 0.574, 0.125),
        # The paper prints 0.114, with a variance of zero for the
        # fourth stratum, where its own table 3 has 0.1.
        "producer's accuracy of B": (ratio(s, s.mapped == "B", s.reference == "B"), 0.794, 0.117),
    }
    for name, (found, value, error) in cases.items():
        assert found.value == pytest.approx(
            value, abs=0.0005 if value in (0.574, 0.794) else 0.005
        ), name
        assert found.error == pytest.approx(error, abs=0.0006), name
    assert error_matrix(s, list("ABCD"))[1, 2] == pytest.approx(0.08, abs=0.005)


def test_the_example_of_olofsson_2014() -> None:
    s = olofsson()
    hectares = [mean(s, s.reference == k).times(s.total / 1e4) for k in range(4)]
    for found, value, half in zip(
        hectares, (21158, 11686, 285770, 581386), (6158, 3756, 15510, 16282), strict=True
    ):
        assert found.value == pytest.approx(value, abs=1)
        # The paper's half widths are 1.96 standard errors.
        assert 1.96 * found.error == pytest.approx(half, abs=1)
    overall = mean(s, s.mapped == s.reference)
    assert (round(overall.value, 2), round(1.96 * overall.error, 2)) == (0.95, 0.02)
    users = [ratio(s, s.reference == k, s.mapped == k) for k in range(4)]
    assert [round(u.value, 2) for u in users] == [0.88, 0.73, 0.93, 0.96]
    assert [round(1.96 * u.error, 2) for u in users] == [0.07, 0.10, 0.04, 0.02]
    producers = [ratio(s, s.mapped == k, s.reference == k) for k in range(4)]
    assert [round(p.value, 2) for p in producers] == [0.75, 0.85, 0.93, 0.96]
    assert [round(1.96 * p.error, 2) for p in producers[:3]] == [0.21, 0.25, 0.03]
    np.testing.assert_allclose(
        [p.error for p in producers], [equation_7(k) for k in range(4)], rtol=1e-9
    )
    matrix = error_matrix(s, [0, 1, 2, 3])
    assert matrix.sum() == pytest.approx(1)
    np.testing.assert_allclose(matrix.sum(1), [0.02, 0.015, 0.32, 0.645])


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    n = 200_000
    mapped = rng.choice(3, n, p=[0.1, 0.3, 0.6])
    wrong = rng.random(n) < np.array([0.3, 0.15, 0.1])[mapped]
    truth = np.where(wrong, rng.integers(0, 3, n), mapped)
    areas = {k: float((mapped == k).sum()) for k in range(3)}
    places = [np.flatnonzero(mapped == k) for k in range(3)]
    covered = np.zeros(4)
    for _ in range(2000):
        at = np.concatenate([rng.choice(own, 150) for own in places])
        s = ReferenceSample(mapped[at], mapped[at], truth[at], areas)
        found = [
            (mean(s, s.reference == 0), (truth == 0).mean()),
            (mean(s, s.mapped == s.reference), (truth == mapped).mean()),
            (ratio(s, s.reference == 1, s.mapped == 1), (truth == 1)[mapped == 1].mean()),
            (ratio(s, s.mapped == 0, s.reference == 0), (mapped == 0)[truth == 0].mean()),
        ]
        covered += [e.interval[0] <= value <= e.interval[1] for e, value in found]
    assert (covered / 2000 > 0.93).all()
    assert (covered / 2000 < 0.97).all()


def test_points_are_shared_out_whole() -> None:
    weights = np.array([0.02, 0.015, 0.32, 0.645])
    proportional = allocate(weights, np.ones(4), 640, 75)
    assert proportional.sum() == 640
    assert proportional[:2].tolist() == [75, 75]
    assert proportional[3] > proportional[2] > 75
    # Section 5.1.1 of Olofsson et al. 2014: 641 points for a
    # standard error of 0.01 of the overall accuracy.
    spreads = np.sqrt(np.array([0.7, 0.6, 0.9, 0.95]) * (1 - np.array([0.7, 0.6, 0.9, 0.95])))
    assert points_for(weights, spreads, 0.01) == pytest.approx(641, abs=1)
    with pytest.raises(InputError, match="too few for 4 strata"):
        allocate(weights, spreads, 20, 10)


def test_strata_without_points_are_named() -> None:
    with pytest.raises(InputError, match="strata 2 have fewer than two"):
        ReferenceSample(
            np.array([1, 1, 2]), np.array([1, 1, 2]), np.array([1, 1, 2]), {1: 5.0, 2: 3.0}
        )
    with pytest.raises(InputError, match="strata 2, whose area is not known"):
        ReferenceSample(np.array([1, 1, 2, 2]), np.ones(4), np.ones(4), {1: 5.0})
    s = STEHMAN
    assert np.isnan(ratio(s, s.reference == "B", s.mapped == "Z").value)

"""The grammar of features: what each entry gives, and what is refused with its remedy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lulc.errors import UsageError
from lulc.features.expression import bands_of, evaluate
from lulc.features.feature import Feature
from lulc.features.indices import INDICES
from lulc.runfile import parse_run

RUN = {
    "name": "b",
    "scenes": [{"path": "x"}],
    "bands": ["red", "nir08", "elevation"],
    "layers": [{"path": "e.tif", "band": "elevation"}],
    "legend": {1: {"name": "a", "colour": "#000000"}},
    "composite": {"method": "median"},
    "periods": [{"name": "y", "start": "2020-07-01"}],
}
RATIO = {"rvi": {"formula": "nir08 / red", "range": [0, 30]}}


def features_of(*entries: str, **changes: Any) -> tuple[Feature, ...]:
    tiling = {"features": entries, "expressions": RATIO}
    config = parse_run({**RUN, "tiling": tiling, **changes}, Path("/"))
    given = changes.get("bands", RUN["bands"])
    assert config.bands == (*given, *(feature.name for feature in config.features))
    # A Config is read as it was written.
    assert dataclasses.replace(config).features == config.features
    again = {**RUN, "tiling": tiling, **changes, "bands": config.bands}
    assert parse_run(again, Path("/")) == config
    return config.features


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("ndvi", "ndvi"),
        ("ndvi:p97.5", "ndvi:p97.5"),
        ("rvi:sd", "rvi:sd"),
        ("mad", "red:mad nir08:mad"),
        ("red:harmonic:1", "red:harmonic:1:mean red:harmonic:1:cos1 red:harmonic:1:sin1"),
        ("red:harmonic:2:sin2", "red:harmonic:2:sin2"),
        (
            "ndvi:phenology",
            "ndvi:phenology:start ndvi:phenology:peak ndvi:phenology:end ndvi:phenology:amplitude",
        ),
        ("day:first", "day:first"),
        ("sd7", "red:sd7 nir08:sd7"),
        ("elevation:mean21", "elevation:mean21"),
        ("elevation:aspect", "elevation:aspect:sin elevation:aspect:cos"),
        ("elevation:tpi21", "elevation:tpi21"),
    ],
)
def test_an_entry_gives_bands_by_name(entry: str, names: str) -> None:
    assert [feature.name for feature in features_of(entry)] == names.split()


def test_an_index_takes_the_bands_that_the_run_has() -> None:
    (feature,) = features_of("ndvi")
    assert feature.expression.inputs == ("nir08", "red")
    assert feature.expression.formula == "(nir08 - red) / (nir08 + red)"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("NDVI", "did you mean 'ndvi'"),
        ("fuel", "no band of the run, no index"),
        ("", "'' is no band of the run"),
        ("red", "a band already"),
        ("evi", "lack blue: add them to bands"),
        ("ndvi:p101", "p0 to p100"),
        ("red:sd8", "odd number of pixels"),
        ("red:best", "'best' is no statistic"),
        ("red:slope", "of a layer"),
        ("elevation:p10", "elevation has no dates"),
        ("red:harmonic", "order from 1 to 4"),
        ("red:harmonic:1:cos2", "its parts are mean, cos1, sin1"),
        ("red:sd7:mean", "nothing follows it"),
        ("day:mean7", "day:first"),
        ("red:sd71", r"tiling\.halo is 32: make it 48 or more"),
        ("ndvi:p١", "letters and digits of ASCII"),
    ],
)
def test_what_is_no_feature_is_refused_with_its_remedy(entry: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        features_of(entry)


def test_what_features_ask_of_the_run_file_is_said() -> None:
    with pytest.raises(UsageError, match="twice"):
        features_of("ndvi", "ndvi")
    with pytest.raises(UsageError, match="add `composite"):
        features_of("ndvi:p10", composite=None)
    with pytest.raises(UsageError, match="give periods a start"):
        features_of("day:first", periods=[{"name": "y"}])
    with pytest.raises(UsageError, match=r"name features under tiling\.features"):
        features_of("ndvi", bands=["red", "nir08", "elevation", "red:p10"])
    with pytest.raises(UsageError, match="samples of datasets have none"):
        features_of("ndvi", datasets=[{"name": "eurosat", "root": "x"}])


@pytest.mark.parametrize(
    ("name", "formula", "message"),
    [
        ("red", "nir08 / 2", "red is a band of the run; choose another name"),
        ("ndvi", "nir08 / red", "ndvi is a source already"),
        ("day", "nir08 / red", "day is a source already"),
        ("unused", "import os", "'import os' is no formula"),
    ],
)
def test_an_expression_has_a_name_and_a_formula_of_its_own(
    name: str, formula: str, message: str
) -> None:
    tiling = {"features": ["red:p10"], "expressions": {name: {"formula": formula}}}
    with pytest.raises(UsageError, match=message):
        parse_run({**RUN, "tiling": tiling}, Path("/"))


def test_what_scenes_have_and_features_compute_is_asked() -> None:
    with pytest.raises(UsageError, match="ndvi is among bands, and computed of others"):
        features_of("ndvi", bands=["ndvi", "red", "nir08", "elevation"])
    (feature,) = features_of("ndvi:p10", bands=["ndvi", "red", "elevation"])
    assert feature.expression.inputs == ("ndvi",)
    with pytest.raises(UsageError, match="day is a band of the run, and the day of a date"):
        features_of("day:first", bands=["red", "day", "elevation"])


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os')", "red.real", "red if nir else 1", "red[0]", "1 + 2", "'red'",
        "red < nir", "lambda: red", "(x := red)", "red and nir", "red % nir", "red, nir",
        "-" * 60 + "red",
        "(" * 300 + "red" + ")" * 300, "red" + " + red" * 500, "", "~red", "True * red", "red\x00",
        "red # + nir", "red * 1e999", "red * " + "9" * 400,
    ],
)  # fmt: skip
def test_a_formula_is_arithmetic_and_nothing_else(formula: str) -> None:
    with pytest.raises(UsageError, match="no formula of bands"):
        bands_of(formula)


def test_a_formula_is_computed_as_numpy_does() -> None:
    a, b = np.array([1.0, -2.0, 3.0]), np.array([2.0, 2.0, 0.0])
    with np.errstate(all="ignore"):
        expected = -(a**2) + 3 * (a - b) / b
    np.testing.assert_array_equal(evaluate("-a ** 2 + 3 * (a - b) / b", {"a": a, "b": b}), expected)
    assert np.isinf(evaluate("a + 1 / 0", {"a": a})).all()


@pytest.mark.parametrize("name", INDICES)
def test_an_index_of_any_unit_is_a_ratio_and_stays_in_its_range(name: str) -> None:
    index = INDICES[name]
    rng = np.random.default_rng(0)
    values = {band: rng.uniform(0.01, 0.6, 1000) for band in bands_of(index.formula)}
    plain = evaluate(index.formula, values)
    tenfold = evaluate(index.formula, {band: 10 * array for band, array in values.items()})
    assert np.allclose(plain, tenfold) != index.of_reflectance
    least, greatest = index.range
    within = (plain >= least) & (plain <= greatest)
    assert within.mean() > 0.9
    assert within.all() or (least, greatest) != (-1.0, 1.0)

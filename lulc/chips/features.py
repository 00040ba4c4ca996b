"""Features of chips: which numbers they are stored as, and their pixels.

Features of layers are made once a block, of all dates strip by strip beside the composite, and of
images where a chip is put together. Each is stored as whole numbers over the range of its values,
16 bits of them at least, or as float32 where the bands are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np

from lulc.bands import Band, is_decibel, quantity_of
from lulc.chips.chip import encoding_of
from lulc.chips.composites import medoid_dates
from lulc.config import Config
from lulc.errors import InputError
from lulc.features.expression import evaluate
from lulc.features.feature import DAY, Expression, Feature
from lulc.features.in_window import terrain, window_mean_sd
from lulc.features.indices import INDICES
from lulc.features.over_time import choose_dates, days_of, statistics_of
from lulc.tables.encoding import Encoding, nearest_numbers

CHUNK_BYTES = 32 << 20
"""Bytes of one source's dates in memory at once, as float64."""
_DAYS = (0.0, 3660.0)
"""Range of days: ten years."""
_TPI_STEPS = 2048
"""Steps of a layer's numbers that its topographic position reaches from 0."""
_REFLECTANCE = 20.0
"""A band whose numbers reach so far is no reflectance from 0 to 1."""


def run_encoding(config: Config, bands: Iterable[Band]) -> Encoding:
    """Return the encoding of a run's chips: one that holds all its scenes, and its features.

    Args:
        config: the run.
        bands: of all scenes and layers; of those alike, one is enough.

    Raises:
        InputError: a band of the run file is in no scene, or an index asks for reflectance.
    """
    base = encoding_of(bands, config.given_bands)
    return add_features(base, config.features, config.bands)


def add_features(base: Encoding, features: Sequence[Feature], bands: Sequence[str]) -> Encoding:
    """Return an encoding that holds features beside its bands.

    Args:
        base: of the bands that the features are made of.
        features: to add.
        bands: names of all bands of the result, in order.

    Raises:
        InputError: an index asks for reflectance, and a band is none.
    """
    if not features:
        return base
    dtype = np.dtype(base.dtype)
    if dtype.kind != "f" and any(_has_no_range(feature) for feature in features):
        dtype = np.dtype("float32")
    elif dtype.kind != "f":
        dtype = np.result_type(dtype, np.int16 if dtype.kind == "i" else np.uint16)
    stored = dict(zip(base.bands, zip(base.scales, base.offsets, strict=True), strict=True))
    for feature in features:
        _check_reflectance(feature, base)
        stored[feature.name] = (1.0, 0.0) if dtype.kind == "f" else _steps(feature, base, dtype)
    scales, offsets = zip(*(stored[band] for band in bands), strict=True)
    of_bands = {band: base.unit(position) for position, band in enumerate(base.bands)}
    of_bands |= {feature.name: _unit(feature, base) for feature in features}
    units = tuple(of_bands[band] for band in bands) if any(of_bands.values()) else ()
    return Encoding(tuple(bands), dtype.name, scales, offsets, units)


def _unit(feature: Feature, base: Encoding) -> str:
    # Of linear values a mean or a difference keeps the unit. Of decibels it is `db`: the mean of
    # linear values is not converted to it, as one measured value, or a percentile, is.
    inputs = feature.expression.inputs
    is_of_days = feature.is_of_days and feature.part != "amplitude"
    if not inputs or is_of_days or feature.statistic in ("slope", "aspect"):
        return ""
    unit = base.unit(base.bands.index(inputs[0]))
    if feature.source in INDICES:
        unit = "index"
    elif feature.expression.formula:
        return "db" if any(is_decibel(base.unit(base.bands.index(band))) for band in inputs) else ""
    is_measured = feature.statistic in ("", "p", "medoid", "first", "last")
    return "db" if is_decibel(unit) and not is_measured else unit


def _has_no_range(feature: Feature) -> bool:
    expression = feature.expression
    return bool(expression.formula) and expression.range is None


def _check_reflectance(feature: Feature, base: Encoding) -> None:
    if not feature.expression.of_reflectance:
        return
    for band in feature.expression.inputs:
        unit = base.unit(base.bands.index(band))
        if unit and quantity_of(unit) != "reflectance":
            raise InputError(
                f"feature {feature.name} is of reflectance, and band {band} is {unit}: leave it out"
            )
        if np.dtype(base.dtype).kind != "f" and _limits(base, band)[1] > _REFLECTANCE:
            raise InputError(
                f"feature {feature.name} is of reflectance from 0 to 1, and band {band} has "
                f"numbers up to {_limits(base, band)[1]:g}: set scenes.scale, such as 0.0001"
            )


def _limits(encoding: Encoding, band: str) -> tuple[float, float]:
    # The least and the greatest physical value that an encoding of whole numbers holds.
    position, numbers = encoding.bands.index(band), np.iinfo(encoding.dtype)
    scale, offset = encoding.scales[position], encoding.offsets[position]
    return numbers.min * scale + offset, numbers.max * scale + offset


def _steps(feature: Feature, base: Encoding, dtype: np.dtype[Any]) -> tuple[float, float]:
    # Scale and offset that spread a feature's range over a type of whole numbers.
    low, high = _range(feature, base)
    numbers = np.iinfo(dtype)
    scale = (high - low) / (int(numbers.max) - int(numbers.min))
    return scale, low - int(numbers.min) * scale


def _range(feature: Feature, base: Encoding) -> tuple[float, float]:
    inputs = feature.expression.inputs
    low, high = feature.expression.range or (_limits(base, inputs[0]) if inputs else _DAYS)
    width = high - low
    match feature.statistic, feature.part:
        case (("sd" | "mad"), _):
            return 0.0, width / 2
        case "phenology", "amplitude":
            return 0.0, width
        case "phenology", _:
            return _DAYS
        case "harmonic", part if part != "mean":
            return -width / 2, width / 2
        case "slope", _:
            return 0.0, 90.0
        case "aspect", _:
            return -1.0, 1.0
        case "tpi", _:
            step = width / (int(np.iinfo(base.dtype).max) - int(np.iinfo(base.dtype).min))
            return -min(width, _TPI_STEPS * step), min(width, _TPI_STEPS * step)
    return low, high


def over_dates(features: Iterable[Feature]) -> list[Feature]:
    """Return the features that are of all dates of a period."""
    return [feature for feature in features if feature.scope == "dates"]


def of_layers(features: Iterable[Feature], layers: Collection[str]) -> list[Feature]:
    """Return the features that are of layers alone."""
    return [
        feature
        for feature in features
        if feature.scope != "dates" and set(feature.expression.inputs) <= set(layers)
    ]


def of_images(features: Sequence[Feature], layers: Collection[str]) -> list[Feature]:
    """Return the features that are of each image of a chip."""
    elsewhere = [*over_dates(features), *of_layers(features, layers)]
    return [feature for feature in features if feature not in elsewhere]


@dataclass(frozen=True, eq=False)
class Dates:
    """Images of one place, in order of time."""

    pixels: np.ndarray
    """(N, C, H, W) in the encoding's numbers."""
    valid: np.ndarray
    """(N, H, W) bool."""
    bands: Sequence[str]
    """Names of the C bands."""
    encoding: Encoding
    """Of the chips, whose bands are these and others."""
    days: Sequence[date]
    """The day of each."""
    first_year: int | None = None
    """The year that `day` counts from; features of days need it."""

    def rows(self, top: int, height: int) -> Dates:
        """Return some rows of all images."""
        part = np.s_[..., top : top + height, :]
        return replace(self, pixels=self.pixels[part], valid=self.valid[part])

    def values(self, band: str) -> np.ndarray:
        """Return the physical values (N, H, W) float64 of a band."""
        return to_values(self.pixels[:, self.bands.index(band)], band, self.encoding)


def compute_over_dates(features: Sequence[Feature], dates: Dates) -> np.ndarray:
    """Return features of all dates.

    Args:
        features: of scope `dates`.
        dates: that they are of.

    Returns:
        (F, H, W) in the encoding's numbers, parallel to the features; 0 where no date is valid.
    """
    count, height, width = dates.valid.shape
    stored = np.zeros((len(features), height, width), dates.encoding.dtype)
    if not count:
        return stored
    step = max(1, CHUNK_BYTES // (count * width * 8))
    for top in range(0, height, step):
        part = dates.rows(top, step)
        values, is_seen = _of_dates(features, part), part.valid.any(0)
        for position, feature in enumerate(features):
            numbers = to_numbers(values[position], feature.name, dates.encoding)
            stored[position][top : top + step] = numbers * is_seen
    return stored


def _of_dates(features: Sequence[Feature], dates: Dates) -> np.ndarray:
    # (F, h, w) physical values of some rows.
    valid = dates.valid
    values = np.zeros((len(features), *valid.shape[1:]))
    positions = {feature.name: n for n, feature in enumerate(features)}
    days = np.zeros(len(valid))
    if dates.first_year is not None:
        days = days_of(dates.days, dates.first_year)
    chosen: dict[str, np.ndarray] = {}
    if any(feature.statistic == "medoid" for feature in features):
        chosen["medoid"] = medoid_dates(dates.pixels, valid, dates.bands, dates.encoding)
    by_source = sorted(features, key=lambda feature: feature.source)
    for source, group in groupby(by_source, lambda feature: feature.source):
        of_source = list(group)
        if source == DAY:
            series = np.broadcast_to(days[:, None, None], valid.shape)
        else:
            series = _value(of_source[0].expression, dates.values)
        counted = [f for f in of_source if f.statistic not in ("medoid", "first", "last")]
        statistics = statistics_of(counted, np.ascontiguousarray(series), valid, dates.days, days)
        for feature, of_feature in zip(counted, statistics, strict=True):
            values[positions[feature.name]] = of_feature
        for feature in of_source:
            if feature.statistic in ("first", "last"):
                at = choose_dates(valid & np.isfinite(series), feature.statistic)
            elif feature.statistic == "medoid":
                at = chosen["medoid"]
            else:
                continue
            values[positions[feature.name]] = np.take_along_axis(series, at[None], 0)[0]
    return values


def compute_of_layers(
    features: Sequence[Feature],
    layers: Mapping[str, tuple[np.ndarray, np.ndarray]],
    encoding: Encoding,
    ground: np.ndarray,
) -> np.ndarray:
    """Return features of layers.

    Args:
        features: of layers alone.
        layers: name → numbers of the encoding (H, W), and valid (H, W).
        encoding: of the chips.
        ground: see `lulc.features.in_window.terrain`.

    Returns:
        (F, H, W) in the encoding's numbers, parallel to the features.
    """
    stored = np.zeros((len(features), *next(iter(layers.values()))[0].shape), encoding.dtype)

    def valid_of(expression: Expression) -> np.ndarray:
        return np.asarray(np.all([layers[band][1] for band in expression.inputs], axis=0))

    def values_of(band: str) -> np.ndarray:
        return to_values(layers[band][0], band, encoding)

    computed = _compute(features, values_of, valid_of, ground)
    for numbers, feature, values in zip(stored, features, computed, strict=True):
        numbers[:] = to_numbers(values, feature.name, encoding) * valid_of(feature.expression)
    return stored


def compute_of_image(
    features: Sequence[Feature], pixels: np.ndarray, valid: np.ndarray, encoding: Encoding
) -> None:
    """Compute the features of an image, in place.

    Args:
        features: of images.
        pixels: (C, H, W) of all bands of the encoding; the features' are written to.
        valid: (H, W) bool.
        encoding: of the chips.
    """

    def values_of(band: str) -> np.ndarray:
        return to_values(pixels[encoding.bands.index(band)], band, encoding)

    computed = _compute(features, values_of, lambda _: valid, None)
    for feature, values in zip(features, computed, strict=True):
        numbers = to_numbers(values, feature.name, encoding)
        pixels[encoding.bands.index(feature.name)] = numbers * valid


def _value(expression: Expression, band_values: Callable[[str], np.ndarray]) -> np.ndarray:
    values = {band: band_values(band) for band in expression.inputs}
    if expression.formula:
        return evaluate(expression.formula, values)
    return values[expression.inputs[0]]


def _compute(
    features: Iterable[Feature],
    band_values: Callable[[str], np.ndarray],
    valid_of: Callable[[Expression], np.ndarray],
    ground: np.ndarray | None,
) -> Iterator[np.ndarray]:
    # The physical values (H, W) of features of an image. What several take is computed once.
    @cache
    def source(expression: Expression) -> np.ndarray:
        return _value(expression, band_values)

    @cache
    def window(expression: Expression, side: int) -> tuple[np.ndarray, np.ndarray]:
        return window_mean_sd(source(expression), valid_of(expression), side)

    @cache
    def slopes(expression: Expression) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert ground is not None
        return terrain(source(expression), valid_of(expression), ground)

    for feature in features:
        match feature.statistic:
            case "slope" | "aspect":
                yield slopes(feature.expression)[("", "sin", "cos").index(feature.part)]
            case "mean" | "sd":
                moments = window(feature.expression, int(feature.number))
                yield moments[("mean", "sd").index(feature.statistic)]
            case "tpi":
                mean, _ = window(feature.expression, int(feature.number))
                yield source(feature.expression) - mean
            case _:
                yield source(feature.expression)


def to_values(numbers: np.ndarray, band: str, encoding: Encoding) -> np.ndarray:
    """Return physical values, float64, of a band's numbers."""
    position = encoding.bands.index(band)
    values = numbers.astype(np.float64)  # what is single stays so beside a number of Python
    return np.asarray(values * encoding.scales[position] + encoding.offsets[position])


def to_numbers(values: np.ndarray, band: str, encoding: Encoding) -> np.ndarray:
    """Return the numbers that physical values of a band are stored as, the nearest that there are.

    What is not a number, of float32 where the numbers are, counts as 0.
    """
    position, dtype = encoding.bands.index(band), np.dtype(encoding.dtype)
    most = np.finfo(dtype).max if dtype.kind == "f" else np.inf
    is_number = np.isfinite(values) & (np.abs(values) <= most)
    finite = np.where(is_number, values, 0.0)
    numbers = (finite - encoding.offsets[position]) / encoding.scales[position]
    return nearest_numbers(np.asarray(numbers), dtype)

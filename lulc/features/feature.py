"""The grammar of features: `source[:statistic]`, read into records.

A source is a band, an index, an expression of the run file, or `day`. A statistic is over the dates
of a period, in a window of pixels, or of a terrain. One without a source is of every band of the
scenes. Some give several bands, one a part: `ndvi:harmonic:1` is `ndvi:harmonic:1:mean`,
`ndvi:harmonic:1:cos1` and `ndvi:harmonic:1:sin1`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lulc.bands import OBSERVATIONS
from lulc.errors import UsageError
from lulc.features.expression import bands_of, rename
from lulc.features.indices import INDICES, find_band

DAY = "day"
"""Name of the source whose value is a date's day, 1 on 1 January of the period's first year."""
Scope = Literal["image", "dates", "window", "terrain"]
"""What a feature is made of: one image, all dates of it, or surroundings of each pixel."""

_FIXED: dict[str, Scope] = {
    "mean": "dates", "sd": "dates", "mad": "dates", "medoid": "dates", "first": "dates",
    "last": "dates", "harmonic": "dates", "phenology": "dates", "slope": "terrain",
    "aspect": "terrain",
}  # fmt: skip
_NUMBERED: dict[str, Scope] = {"p": "dates", "mean": "window", "sd": "window", "tpi": "terrain"}
_PARTS = {"phenology": ("start", "peak", "end", "amplitude"), "aspect": ("sin", "cos")}
MAX_ORDER = 4
"""Most waves a year of a harmonic fit."""
MAX_WINDOW = 255
"""Largest side of a window in pixels."""


@dataclass(frozen=True)
class Expression:
    """What a source is computed from."""

    inputs: tuple[str, ...]
    """Bands of the run; none of `day`."""
    formula: str = ""
    """Of the inputs; empty where the source is its one input, or `day`."""
    range: tuple[float, float] | None = None
    """Least and greatest value; None where it is the input's own, or not known."""
    of_reflectance: bool = False
    """Whether the formula asks for reflectance from 0 to 1."""


@dataclass(frozen=True)
class Feature:
    """One band that is computed."""

    name: str
    """Of the band, such as `ndvi:p10`."""
    source: str
    """Band, index or expression that it is made of, or `day`."""
    expression: Expression
    """What the source is computed from."""
    scope: Scope = "image"
    """What the statistic is of."""
    statistic: str = ""
    """`p`, `mean`, `sd`, `mad`, `medoid`, `first`, `last`, `harmonic`, `phenology`, `slope`,
    `aspect` or `tpi`; empty of the source itself."""
    number: float = 0.0
    """The percentage, the order of the harmonic fit, or the side of the window in pixels."""
    part: str = ""
    """Which of the statistic's bands, such as `cos1` or `start`."""

    @property
    def radius(self) -> int:
        """Pixels around a pixel that its value depends on."""
        if self.scope not in ("window", "terrain"):
            return 0
        return int(self.number) // 2 or 1

    @property
    def is_of_days(self) -> bool:
        """Whether its values are days, or follow from the days of a period."""
        return self.source == DAY or self.statistic == "phenology"


def parse_features(
    entries: Sequence[str],
    expressions: Mapping[str, tuple[str, tuple[float, float] | None]],
    bands: Sequence[str],
    layers: Collection[str],
) -> tuple[Feature, ...]:
    """Return the features that a run file names.

    Args:
        entries: as in `tiling.features`.
        expressions: name → formula, and range of its values if known.
        bands: of the run; features among them do not count.
        layers: bands of layers.

    Raises:
        UsageError: an entry is no feature, or names what the run has not.
    """
    split = [(entry, *_split(entry, {*bands, *expressions})) for entry in entries]
    # Bands of before are given together with those that features gave.
    computed = {entry for entry in entries if entry in expressions or entry in INDICES}
    given = tuple(band for band in bands if band not in computed and ":" not in band)
    _check_names(entries, expressions, given)
    measured = [band for band in given if band not in layers and band != OBSERVATIONS]
    features: dict[str, Feature] = {}
    for entry, source, tail in split:
        for one in measured if source is None else [source]:
            expression = _expression(entry, one, expressions, given)
            for feature in _make(entry, one, expression, tail):
                _check_use(feature, layers)
                if feature.name in features:
                    raise UsageError(f"tiling.features gives {feature.name} twice: name it once")
                features[feature.name] = feature
    _check_order(list(features), bands)
    return tuple(features.values())


def _check_names(
    entries: Sequence[str],
    expressions: Mapping[str, tuple[str, tuple[float, float] | None]],
    bands: Collection[str],
) -> None:
    for entry in entries:
        if not entry.isascii():
            raise UsageError(f"tiling.features {entry}: write it in letters and digits of ASCII")
    for name, (formula, _) in expressions.items():
        bands_of(formula)
        taken = name in bands or name in INDICES or name == DAY
        if taken:
            kind = "a band of the run" if name in bands else "a source already"
            raise UsageError(f"tiling.expressions.{name}: {name} is {kind}; choose another name")
    if DAY in bands and any(entry.split(":")[0] == DAY for entry in entries):
        raise UsageError(
            f"tiling.features: {DAY} is a band of the run, and the day of a date as well: give "
            "the band another name, or leave out its features"
        )


def _check_order(computed: list[str], bands: Sequence[str]) -> None:
    # Bands that features gave follow all others, in their order: one elsewhere is of scenes.
    among = [band for band in bands if band in computed]
    if among and list(bands[-len(computed) :]) != computed:
        raise UsageError(
            f"tiling.features: {among[0]} is among bands, and computed of others: leave it out of "
            "one of the two"
        )


def _split(entry: str, sources: Collection[str]) -> tuple[str | None, list[str]]:
    # The source, None where it is left out, and what follows it.
    first, *rest = entry.split(":")
    is_statistic = first not in {*sources, *INDICES, DAY} and _scope(first) is not None
    return (None, [first, *rest]) if is_statistic else (first, rest)


def _scope(word: str) -> tuple[Scope, str, float] | None:
    # Scope, statistic and number of a statistic's first word; None of another word.
    if word in _FIXED:
        return _FIXED[word], word, 0.0
    match = re.fullmatch(r"([a-z]+?)(\d+(?:\.\d+)?)", word)
    if match is None or match[1] not in _NUMBERED:
        return None
    return _NUMBERED[match[1]], match[1], float(match[2])


def _parts(tail: Sequence[str]) -> tuple[str, ...]:
    # The bands of a statistic that has several, without what names them; none of any other.
    if tail and tail[0] == "harmonic" and len(tail) > 1 and tail[1].isdecimal():
        orders = range(1, min(int(tail[1]), MAX_ORDER) + 1)
        return ("mean", *(f"{wave}{k}" for k in orders for wave in ("cos", "sin")))
    return _PARTS.get(tail[0], ()) if tail else ()


def _make(
    entry: str, source: str, expression: Expression, tail: Sequence[str]
) -> Iterable[Feature]:
    if not tail:
        if expression.inputs == (source,) and not expression.formula:
            raise UsageError(
                f"tiling.features {entry}: {source} is a band already; a feature of it has a "
                f"statistic, such as {source}:mean7"
            )
        if source == DAY:
            raise UsageError(f"tiling.features {entry}: write {DAY}:first, {DAY}:last or the like")
        return [Feature(source, source, expression)]
    word, *rest = tail
    found = _scope(word)
    if found is None:
        raise UsageError(f"tiling.features {entry}: {word!r} is no statistic; {_STATISTICS}")
    scope, statistic, number = found
    if statistic == "harmonic":
        if not rest or not rest[0].isdecimal() or not 1 <= int(rest[0]) <= MAX_ORDER:
            raise UsageError(
                f"tiling.features {entry}: a harmonic fit has an order from 1 to {MAX_ORDER}, "
                "as in ndvi:harmonic:2"
            )
        number, *rest = float(rest[0]), *rest[1:]
    parts = _parts(tail)
    if len(rest) > (1 if parts else 0) or (rest and rest[0] not in parts):
        known = f"its parts are {', '.join(parts)}" if parts else "nothing follows it"
        raise UsageError(
            f"tiling.features {entry}: of {word!r} there is no {':'.join(rest)!r}; {known}"
        )
    _check_number(entry, scope, statistic, number)
    wanted = rest or parts or ("",)
    head = ":".join([source, *tail[: len(tail) - len(rest)]])
    return [
        Feature(
            f"{head}:{part}" if part else head, source, expression, scope, statistic, number, part
        )
        for part in wanted
    ]


_STATISTICS = (
    "there are p10 and other percentiles, mean, sd, mad, medoid, first, last, harmonic:2, "
    "phenology; mean7 and sd7 in a window of 7 x 7 pixels; slope, aspect, tpi21 of a layer"
)


def _check_number(entry: str, scope: Scope, statistic: str, number: float) -> None:
    if statistic == "p" and number > 100:
        raise UsageError(f"tiling.features {entry}: a percentile is from p0 to p100")
    is_window = scope == "window" or statistic == "tpi"
    if is_window and not (number % 2 == 1 and 3 <= number <= MAX_WINDOW):
        raise UsageError(
            f"tiling.features {entry}: a window's side is an odd number of pixels from 3 to "
            f"{MAX_WINDOW}, as in mean7"
        )


def _expression(
    entry: str,
    source: str,
    expressions: Mapping[str, tuple[str, tuple[float, float] | None]],
    bands: tuple[str, ...],
) -> Expression:
    if source in expressions:
        formula, value_range = expressions[source]
        of_reflectance = False
    elif source in bands:
        return Expression((source,))
    elif source == DAY:
        return Expression(())
    elif source in INDICES:
        index = INDICES[source]
        formula, value_range, of_reflectance = index.formula, index.range, index.of_reflectance
    else:
        known = [*bands, *expressions, *INDICES, DAY]
        nearest = difflib.get_close_matches(source.lower(), known, 1, 0.6)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise UsageError(
            f"tiling.features {entry}: {source!r} is no band of the run, no index and none of "
            f"tiling.expressions{hint}"
        )
    names = {name: find_band(name, bands) for name in bands_of(formula)}
    missing = [name for name, band in names.items() if band is None]
    if missing:
        raise UsageError(
            f"tiling.features {entry}: {source} is {formula}, and bands {list(bands)} lack "
            f"{', '.join(missing)}: add them to bands"
        )
    found = {name: band for name, band in names.items() if band is not None}
    return Expression(tuple(found.values()), rename(formula, found), value_range, of_reflectance)


def _check_use(feature: Feature, layers: Collection[str]) -> None:
    inputs = set(feature.expression.inputs)
    if feature.scope == "dates" and inputs & {*layers, OBSERVATIONS}:
        raise UsageError(
            f"tiling.features {feature.name}: {', '.join(sorted(inputs & {*layers, OBSERVATIONS}))}"
            " has no dates"
        )
    if feature.scope == "terrain" and not inputs <= set(layers):
        raise UsageError(
            f"tiling.features {feature.name}: {feature.statistic} is of a layer, such as elevation"
        )
    if feature.source == DAY and (feature.scope != "dates" or feature.part):
        raise UsageError(
            f"tiling.features {feature.name}: {DAY} has {DAY}:first, {DAY}:last, percentiles, mean "
            "and the like alone"
        )

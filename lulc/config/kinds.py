"""Kinds of values that keys of a run file accept."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

strict = ConfigDict(extra="forbid")
_DAY = r"\d{4}-\d\d-\d\d"


def _check_odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("give an odd number: a pixel lies in the middle of its square")
    return number


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
BandName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:.-]+$")]  # those of features have colons
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Stored = Annotated[float, Field(strict=True)]  # a number as files have it, nan among them
Text = Annotated[str, Field(strict=True)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Memory = Annotated[str, Field(pattern=r"^\d+[mg]$")]
Count = Annotated[Whole, Field(ge=1)]
Odd = Annotated[Whole, Field(ge=3, le=99), AfterValidator(_check_odd)]
ClassId = Annotated[Whole, Field(ge=0, le=254)]
Code = Whole | Text
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
TaskName = Literal["segment", "classify", "multilabel", "detect", "change", "series"]
SourceName = Literal[
    "auto",
    "alphaearth",
    "landsat",
    "modis",
    "openaerialmap",
    "sentinel1",
    "sentinel2",
    "stac",
    "stac-geoparquet",
    "tessera",
    "geotiff",
]
Condition = Literal["cloud", "shadow", "cirrus", "snow", "water", "saturated"]
Augmentation = Literal["flip", "rotate", "zoom", "brightness", "colour", "noise"]
Metric = Literal[
    "accuracy", "miou", "f1", "boundary_f1", "ap_macro", "ap_micro", "ap50", "ap", "recall",
    "recall30",
]  # fmt: skip
Overlap = Literal["refuse", "first"]
Combination = Literal["first", "vote"]
Precision = Literal["auto", "float32", "bfloat16"]


def _check_limit(text: str) -> str:
    if not re.fullmatch(r"\d+|\d+(\.\d+)?%", text):
        raise ValueError("give a count such as 3, or a share such as 5%")
    return text


def _expand_bands(names: object) -> object:
    # `e0..e63` stands for e0, e1, … e63.
    if not isinstance(names, list | tuple):
        return names
    expanded: list[object] = []
    for name in names:
        match = re.fullmatch(r"([A-Za-z_]+)(\d{1,4})\.\.\1(\d{1,4})", str(name))
        if match:
            expanded += [f"{match[1]}{n}" for n in range(int(match[2]), int(match[3]) + 1)]
        else:
            expanded.append(name)
    return tuple(expanded)


def _check_day(value: object) -> object:
    # Of a number a day would be made by its seconds since 1970.
    if isinstance(value, date) or (isinstance(value, str) and re.fullmatch(_DAY, value)):
        return value
    raise ValueError("give a day as 2023-06-30")


BandNames = Annotated[tuple[BandName, ...], BeforeValidator(_expand_bands)]
Limit = Annotated[str, AfterValidator(_check_limit)]
Day = Annotated[date, BeforeValidator(_check_day)]


def allowed_bad(limit: str, inputs: int) -> float:
    """Return the number of bad inputs that a limit allows.

    Args:
        limit: a count such as `3`, or a share such as `5%`, as in `max_bad`.
        inputs: number of all inputs.
    """
    return float(limit[:-1]) / 100 * inputs if limit.endswith("%") else int(limit)

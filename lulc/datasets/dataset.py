"""What a dataset is: a published archive of labelled examples, listed cheaply (`items`) and read one by one (`read`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from lulc.geo.grid import Grid
from lulc.legend import Legend
from lulc.tables.encoding import Encoding

Task = Literal["classify", "multilabel", "segment", "detect", "change", "series"]

DENSE: tuple[Task, ...] = ("segment", "change", "series")
"""The tasks whose label is a class for every pixel."""

Options = Mapping[str, str]
"""Which of a dataset's forms is asked for: a value for every one of its options."""


@dataclass(frozen=True)
class ExampleItem:
    """The address of one labelled example.

    name: unique in the dataset, the same on every machine. files: what `read` opens, relative to the root, in an order that it
    knows. classes: legend ids that the listing already tells. split: the publisher's (train, validation, test), empty where there
    is none. group: items of one group lie on the same ground and never part. place: longitude and latitude in degrees.
    """

    name: str
    files: tuple[str, ...]
    classes: tuple[int, ...] = ()
    split: str = ""
    group: str = ""
    place: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """What an item holds: pixels (T, C, H, W) in DN, one or more dates, and its label.

    valid: (T, H, W) bool. grid: where it lies, None where nothing says. label: () int64 id of classify; (K,) uint8, 1 where the
    legend's class is there, of multilabel; (H, W) uint8 legend ids, 255 without a label, of segment, change and series; (N, 5)
    float32 id, left, top, right, bottom in pixels of detect.
    """

    pixels: np.ndarray
    valid: np.ndarray
    label: np.ndarray
    grid: Grid | None = None
    datetimes: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class Description:
    """What all examples share: the task, the legend, the bands that can be asked for with their encoding, dates and gsd.

    common: legend id → id of `lulc.legend.COMMON`; a class that is not in it has no counterpart there.
    """

    task: Task
    legend: Legend
    encoding: Encoding
    gsd_m: float
    dates: int = 1
    common: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A published dataset.

    about: title, publication and licence. options: name → accepted values, the first where nothing is said. items(root, options):
    in any order, from names and metadata files alone. read(root, item, options, bands): pixels of these bands, in this order;
    InputError where a file is damaged or missing.
    """

    name: str
    about: str
    options: Mapping[str, tuple[str, ...]]
    describe: Callable[[Options], Description]
    items: Callable[[Path, Options], Iterable[ExampleItem]]
    read: Callable[[Path, ExampleItem, Options, Sequence[str]], Example]

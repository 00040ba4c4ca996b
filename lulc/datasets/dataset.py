"""The records of a published dataset: what it is, its items, and one example of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np

from lulc.geo.grid import Grid
from lulc.legend import Legend
from lulc.location import Location
from lulc.tables.encoding import Encoding

Task = Literal["classify", "multilabel", "segment", "detect", "change", "series"]

DENSE: tuple[Task, ...] = ("segment", "change", "series")
"""The tasks whose label is a class for every pixel."""

Options = Mapping[str, str]
"""The chosen form of a dataset: a value for every one of its options."""


@dataclass(frozen=True)
class ExampleItem:
    """The address of one labelled example."""

    name: str
    """Unique in the dataset, and the same on every machine."""
    files: tuple[str, ...]
    """Paths that the dataset's `read` opens, relative to the root, in an order it defines."""
    classes: tuple[int, ...] = ()
    """Legend ids, where the listing already gives them."""
    split: str = ""
    """The publisher's split (train, validation, test); empty where there is none."""
    group: str = ""
    """Items of one group cover the same ground and always share a split."""
    lonlat: tuple[float, float] | None = None
    """Longitude and latitude in degrees."""
    error: str = ""
    """Why it cannot be read, where the listing already knows; empty where it may be."""


@dataclass(frozen=True)
class Note:
    """What a listing tells the user, such as how many files it leaves out."""

    text: str


@dataclass(frozen=True, eq=False)
class Example:
    """Pixels and label of one item."""

    pixels: np.ndarray
    """(T, C, H, W) in DN, for one or more dates."""
    valid: np.ndarray
    """(T, H, W) bool."""
    label: np.ndarray
    """The truth, by task.

    classify: () int64 legend id. multilabel: (K,) uint8, 1 where the legend's class is present.
    segment, change, series: (H, W) uint8 legend ids, 255 without a label. detect: (N, 5) float32
    rows of id, left, top, right, bottom in pixels.
    """
    grid: Grid | None = None
    """The grid of the pixels; None where the files are not georeferenced."""
    datetimes: tuple[datetime, ...] = ()
    """One acquisition time per date; empty where the publisher gives none."""


@dataclass(frozen=True)
class Description:
    """The properties that all examples of a dataset share."""

    task: Task
    legend: Legend
    encoding: Encoding
    """The bands that can be read, with their scale and offset."""
    gsd_m: float
    """Pixel side on the ground in metres."""
    dates: int = 1
    """Dates of an example, at most."""
    common: Mapping[int, int] = field(default_factory=dict)
    """Legend id → id of `lulc.legend.COMMON`; a class without a counterpart is left out."""


@dataclass(frozen=True)
class Dataset:
    """A published dataset and the functions that list and read it."""

    name: str
    about: str
    """Title, publication and licence."""
    options: Mapping[str, tuple[str, ...]]
    """Option → accepted values, of which the first is the default; no values: any text."""
    describe: Callable[[Options], Description]
    """describe(options): the properties of all examples in that form."""
    items: Callable[[Location, Options], Iterable[ExampleItem | Note]]
    """items(root, options): all items in any order, from names and metadata files alone.

    One that a broken metadata file makes useless is an item with an `error`; what is left out is
    told in notes.
    """
    read: Callable[[Location, ExampleItem, Options, Sequence[str]], Example]
    """read(root, item, options, bands): the example with these bands in this order.

    Raises InputError where a file is damaged or missing.
    """

"""Land cover classes and the mapping of one set of classes to another; the common legend."""

from __future__ import annotations

import colorsys
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lulc.errors import InputError, UsageError

NODATA = 255
"""Class id that means "no class" in every class raster and label of this project."""

# A name that stands for an id.
_NUMERAL = re.compile(r"(?:(?:class|code|id|#)[ _]?)?([-+]?[0-9]+)(?:\.0*)?")
_CLASS_TAG = re.compile(r"class_([0-9]+)", re.IGNORECASE)
_ONE_TO_ONE = (
    "an id must stand for one class everywhere. Recode the rasters to one legend, or, where only "
    "the names are wrong, correct the tags CLASS_<id> (gdal_edit.py -mo CLASS_1=NAME), or for "
    "`lulc stats` name the ids of all rasters under `legend` in a run file"
)


def name_key(name: str) -> str:
    """Return what all spellings of a name share: letter case, blanks and accents' forms aside.

    Examples:
        >>> name_key(" Bare  Ground ") == name_key("bare ground")
        True
    """
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())


@dataclass(frozen=True)
class LandClass:
    """One class: id 0–254 as written in rasters, name, colour as `#rrggbb`."""

    id: int
    name: str
    colour: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, each 0–255."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return red, green, blue


@dataclass(frozen=True)
class Legend:
    """Ordered classes; a model's output channel k is `classes[k]`. Ids and names are one to one.

    Raises:
        UsageError: ids are not distinct whole numbers 0–254, two classes have one name, letter case
            and blanks aside, or a name is a number other than its id.
    """

    name: str
    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        ids = [c.id for c in self.classes]
        are_ids = all(type(i) is int and 0 <= i < NODATA for i in ids)
        if not ids or not are_ids or len(set(ids)) != len(ids):
            raise UsageError(
                f"legend {self.name!r} has ids {ids}: "
                f"they must be distinct whole numbers from 0 to {NODATA - 1}"
            )
        class_of: dict[str, LandClass] = {}
        for land_class in self.classes:
            key = name_key(land_class.name)
            other = class_of.setdefault(key, land_class)
            declared = f"legend {self.name!r} names class {land_class.id} {land_class.name!r}"
            if not key:
                raise UsageError(f"{declared}: give it a name")
            if other is not land_class:
                raise UsageError(
                    f"{declared} and class {other.id} {other.name!r}: a name stands for one class; "
                    "rename one, or make one class of both"
                )
            numeral = _NUMERAL.fullmatch(key)
            if numeral and int(numeral[1]) != land_class.id:
                raise UsageError(f"{declared}, which reads as an id: give it another name")

    @property
    def ids(self) -> tuple[int, ...]:
        """Class ids in the order of `classes`."""
        return tuple(c.id for c in self.classes)

    @property
    def names(self) -> dict[int, str]:
        """Class id → name."""
        return {c.id: c.name for c in self.classes}

    @property
    def colours(self) -> dict[str, str]:
        """Class name → colour, in the order of `classes`, as plotting libraries take it."""
        return {c.name: c.colour for c in self.classes}

    def to_index(self) -> np.ndarray:
        """Return the lookup table from class id to position in the legend.

        Returns:
            (256,) uint8; NODATA for ids that are not in the legend.
        """
        table = np.full(256, NODATA, np.uint8)
        table[list(self.ids)] = np.arange(len(self.classes), dtype=np.uint8)
        return table

    def to_id(self) -> np.ndarray:
        """Return the lookup table from position in the legend to class id.

        Returns:
            (256,) uint8; NODATA for positions beyond the last class.
        """
        table = np.full(256, NODATA, np.uint8)
        table[: len(self.classes)] = self.ids
        return table

    def palette(self) -> dict[int, tuple[int, int, int, int]]:
        """Return class id → (red, green, blue, alpha), each 0–255, with NODATA transparent."""
        return {c.id: (*c.rgb, 255) for c in self.classes} | {NODATA: (0, 0, 0, 0)}


def distinct_colours(count: int) -> list[str]:
    """Return `count` colours `#rrggbb` that can be told apart.

    Successive hues are a golden angle apart, so that any number of them stays distinct.
    """
    colours = (colorsys.hsv_to_rgb(i * 0.381966 % 1, 0.6, 0.85) for i in range(count))
    return ["#" + "".join(f"{round(255 * c):02x}" for c in colour) for colour in colours]


def legend_from_table(
    name: str, names: Mapping[int, str], table: Mapping[int, tuple[int, ...]]
) -> Legend:
    """Return the legend of a class raster that was made elsewhere.

    Args:
        name: the legend's name.
        names: class id → class name.
        table: the raster's colour table, id → (red, green, blue, …). Where it lacks a class, or
            two classes have one colour in it, distinct colours are taken in its place.

    Examples:
        >>> legend_from_table("m", {1: "water", 2: "forest"}, {}).colours
        {'water': '#d95757', 'forest': '#57d97d'}
    """
    colours = dict(zip(sorted(names), distinct_colours(len(names)), strict=True))
    table_colours = {i: "#" + bytes(table[i][:3]).hex() for i in colours if i in table}
    # Ids that a colour table leaves out are black in it.
    if len(set(table_colours.values())) == len(colours):
        colours = table_colours
    entries = tuple(LandClass(i, names[i], colours[i]) for i in sorted(names))
    return Legend(name, entries or (LandClass(0, "none", "#888888"),))


def class_names(tags: Mapping[str, str]) -> dict[int, str]:
    """Return class id → name from the metadata tags of a class raster.

    Reads tags `CLASS_<id>`, which this project writes, and ESA WorldCover's list `legend`.
    """
    listed = re.findall(r"^\s*(\d+)\s+(\S.*?)\s*$", tags.get("legend", ""), re.MULTILINE)
    tagged = [
        (match[1], name) for tag, name in tags.items() if (match := _CLASS_TAG.fullmatch(tag))
    ]
    return {int(class_id): name for class_id, name in [*listed, *tagged]}


def join_names(origins: Iterable[tuple[str, Mapping[int, str]]]) -> dict[int, str]:
    """Return the class names of several legends, in which ids and names must be one to one.

    Letter case and blanks around a name do not count; an id may have a name in some of them alone.

    Args:
        origins: (origin, class id → name) of each; the first name of an id is kept.

    Raises:
        InputError: an id has two names, a name two ids, or a name reads as the id of another class;
            says where.

    Examples:
        >>> join_names([("2019.tif", {1: "water"}), ("2020.tif", {1: "Water", 2: "crops"})])
        {1: 'water', 2: 'crops'}
    """
    names: dict[int, str] = {}
    numerals: dict[int, str] = {}
    ids: dict[str, int] = {}
    seen_in: dict[int, str] = {}
    for origin, legend in origins:
        for class_id, name in sorted(legend.items()):
            key = name_key(name)
            numeral = _NUMERAL.fullmatch(key)
            if numeral and int(numeral[1]) == class_id:
                numerals.setdefault(class_id, name)
                continue
            clash = ""
            if numeral:
                clash = f"{origin} names class {class_id} {name!r}, which reads as another id"
            elif class_id in names and name_key(names[class_id]) != key:
                clash = (
                    f"class {class_id} is {names[class_id]!r} in {seen_in[class_id]} "
                    f"and {name!r} in {origin}"
                )
            elif ids.get(key, class_id) != class_id:
                clash = (
                    f"{name!r} is class {ids[key]} in {seen_in[ids[key]]} "
                    f"and class {class_id} in {origin}"
                )
            if clash:
                raise InputError(f"{clash}: {_ONE_TO_ONE}")
            names.setdefault(class_id, name)
            ids[key] = class_id
            seen_in.setdefault(class_id, origin)
    return numerals | names


@dataclass(frozen=True)
class Crosswalk:
    """A mapping of the codes of a class raster or column to the ids of a Legend."""

    legend: Legend
    codes: Mapping[int, int]
    """Code → class id; a code that is not in it must be a class id itself."""
    ignored: tuple[int, ...] = ()
    """Codes that become NODATA."""

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the class ids of an array of codes.

        Args:
            values: codes, integers of any shape.

        Returns:
            uint8 class ids of the same shape; NODATA where the code is ignored.

        Raises:
            InputError: codes that have no class and are not ignored, by name.
        """
        class_ids = {**{class_id: class_id for class_id in self.legend.ids}, **self.codes}
        codes = np.unique(values)
        unknown = [
            int(code)
            for code in codes
            if int(code) not in class_ids and int(code) not in self.ignored
        ]
        if unknown:
            raise InputError(
                f"label codes {unknown} have no class in legend {self.legend.name!r} "
                f"(ids {list(self.legend.ids)}): add them to labels.crosswalk or to labels.ignore"
            )
        labels = np.full(values.shape, NODATA, np.uint8)
        for code in codes:
            if int(code) not in self.ignored:
                labels[values == code] = class_ids[int(code)]
        return labels


_COMMON_CLASSES = (
    ("water", "#419bdf"),
    ("trees", "#397d49"),
    ("grass", "#88b053"),
    ("flooded vegetation", "#7a87c6"),
    ("crops", "#e49635"),
    ("shrub and scrub", "#dfc35a"),
    ("built area", "#c4281b"),
    ("bare ground", "#a59b8f"),
    ("snow and ice", "#b39fe1"),
)

COMMON = Legend(
    "common",
    tuple(LandClass(i, name, colour) for i, (name, colour) in enumerate(_COMMON_CLASSES)),
)
"""The nine classes of Dynamic World with their colours (Brown et al. 2022,
doi:10.1038/s41597-022-01307-4)."""

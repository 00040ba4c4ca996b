"""Classes and how one set of them maps to another: Legend, Crosswalk and the common legend."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lulc.errors import InputError, UsageError

NODATA = 255
"""The id that means "no class here" in every class raster and label of this project."""


@dataclass(frozen=True)
class LandClass:
    """One class: id 0–254 as written in rasters, name, colour as `#rrggbb`."""

    id: int
    name: str
    colour: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, each 0–255."""
        return tuple(int(self.colour[i : i + 2], 16) for i in (1, 3, 5))  # type: ignore[return-value]


@dataclass(frozen=True)
class Legend:
    """Ordered classes; a model's output channel k is `classes[k]`."""

    name: str
    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        ids = [c.id for c in self.classes]
        if len(set(ids)) != len(ids) or not ids or min(ids) < 0 or max(ids) >= NODATA:
            raise UsageError(
                f"legend {self.name!r} has ids {ids}: they must be distinct whole numbers from 0 to {NODATA - 1}"
            )

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids in order."""
        return tuple(c.id for c in self.classes)

    def to_index(self) -> np.ndarray:
        """(256,) uint8 table from id to position in the legend, NODATA for any other value."""
        table = np.full(256, NODATA, np.uint8)
        table[list(self.ids)] = np.arange(len(self.classes), dtype=np.uint8)
        return table

    def to_id(self) -> np.ndarray:
        """(256,) uint8 table from position in the legend to id, NODATA for any other value."""
        table = np.full(256, NODATA, np.uint8)
        table[: len(self.classes)] = self.ids
        return table

    def palette(self) -> dict[int, tuple[int, int, int, int]]:
        """id → (r, g, b, a), with NODATA transparent."""
        return {c.id: (*c.rgb, 255) for c in self.classes} | {NODATA: (0, 0, 0, 0)}


def distinct_colours(count: int) -> list[str]:
    """So many colours `#rrggbb`, hues a golden angle apart: any number of classes can be told from each other."""
    hues = (colorsys.hsv_to_rgb(i * 0.381966 % 1, 0.6, 0.85) for i in range(count))
    return ["#" + "".join(f"{round(255 * part):02x}" for part in hue) for hue in hues]


def class_names(tags: Mapping[str, str]) -> dict[int, str]:
    """Names by id in the tags of a class raster: CLASS_<id>, as this project writes them, or ESA WorldCover's list `legend`."""
    listed = re.findall(r"^\s*(\d+)\s+(\S.*?)\s*$", tags.get("legend", ""), re.MULTILINE)
    own = [(k[6:], v) for k, v in tags.items() if k.startswith("CLASS_") and k[6:].isdigit()]
    return {int(number): name for number, name in [*listed, *own]}


@dataclass(frozen=True)
class Crosswalk:
    """Codes of one class raster or column → ids of a Legend; `ignored` codes become NODATA."""

    legend: Legend
    codes: Mapping[int, int]
    ignored: tuple[int, ...] = ()

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The label array as uint8 legend ids; InputError naming any code that has no counterpart and is not ignored."""
        known = {**{c: c for c in self.legend.ids}, **self.codes}
        found = np.unique(values)
        unknown = [int(v) for v in found if int(v) not in known and int(v) not in self.ignored]
        if unknown:
            raise InputError(
                f"label codes {unknown} have no class in legend {self.legend.name!r} (ids {list(self.legend.ids)}): "
                "add them to labels.crosswalk or to labels.ignore"
            )
        out = np.full(values.shape, NODATA, np.uint8)
        for code in found:
            if int(code) not in self.ignored:
                out[values == code] = known[int(code)]
        return out


COMMON = Legend(
    "common",
    # The nine classes and colours of Dynamic World (Brown et al. 2022, doi:10.1038/s41597-022-01307-4).
    tuple(
        LandClass(i, name, colour)
        for i, (name, colour) in enumerate(
            [
                ("water", "#419bdf"),
                ("trees", "#397d49"),
                ("grass", "#88b053"),
                ("flooded vegetation", "#7a87c6"),
                ("crops", "#e49635"),
                ("shrub and scrub", "#dfc35a"),
                ("built area", "#c4281b"),
                ("bare ground", "#a59b8f"),
                ("snow and ice", "#b39fe1"),
            ]
        )
    ),
)

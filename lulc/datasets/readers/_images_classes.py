"""Classes of labelled images as a run file names them, and the masks that hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lulc.datasets.files import check_mask_shape, label_of, whole_numbers
from lulc.errors import InputError, UsageError
from lulc.legend import LandClass, Legend, distinct_colours
from lulc.location import Location
from lulc.raster.access import open_raster
from lulc.raster.reader import read_whole

_COLOUR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)


@dataclass(frozen=True)
class Classes:
    """The classes of a set of images; their ids are 0, 1, … in the order of their names."""

    codes: Mapping[str, int]
    """Class name → its code in masks, or its colour (0xRRGGBB) in masks of colours."""
    are_colours: bool
    """Whether masks hold colours."""

    @property
    def names(self) -> list[str]:
        """The names in order."""
        return list(self.codes)

    @property
    def legend(self) -> Legend:
        """The legend, in the colours of the masks where these hold colours."""
        colours = distinct_colours(len(self.codes))
        if self.are_colours:
            colours = [_hex(colour) for colour in self.codes.values()]
        return Legend("images", tuple(map(LandClass, range(len(colours)), self.codes, colours)))


def parse_classes(text: str) -> Classes:
    """Return the classes of a list such as `background, building=255` or `water=#0000ff, land=…`.

    Raises:
        UsageError: it is no such list, or names and codes are not one to one.
    """
    pairs = [split_pair(entry) for entry in text.split(",")]
    names = [name for name, _ in pairs]
    are_colours = all(_COLOUR.fullmatch(value) for _, value in pairs)
    if are_colours:
        codes = [int(value[1:], 16) for _, value in pairs]
    elif all(name and (not value or value.isdecimal()) for name, value in pairs):
        codes = [int(value or number) for number, (_, value) in enumerate(pairs)]
    else:
        raise UsageError(
            f"images: classes {text!r} must be names, such as 'background, building=255', or names "
            "with the colours of masks, such as 'background=#000000, building=#ff0000'"
        )
    for kind, values in (("name", names), ("code", [*map(str, codes)])):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f"images: classes {text!r} has the {kind} {twice} twice")
    return Classes(dict(zip(names, codes, strict=True)), are_colours)


def split_pair(text: str) -> tuple[str, str]:
    """Return name and value of `name=value`."""
    name, _, value = text.partition("=")
    return name.strip(), value.strip()


def read_class_mask(path: Location, shape: tuple[int, int], classes: Classes) -> np.ndarray:
    """Read a mask of codes or of colours as a label.

    Args:
        path: of the mask.
        shape: (H, W) of its image.
        classes: of the masks.

    Returns:
        (H, W) uint8 legend ids, 255 where the mask has no data or is transparent.

    Raises:
        InputError: the mask cannot be read, has another shape, or holds what no class has.
    """
    bands, valid, _ = read_whole(str(path), with_grid=False)
    check_mask_shape(path, valid.shape, shape)
    if classes.are_colours:
        codes = _colours(bands, path)
    elif (bands == bands[0]).all():
        codes = whole_numbers(bands[0], path)
    else:
        raise InputError(
            f"mask {path} is in colours ({_list_colours(_colours(bands, path)[valid])}), its "
            "classes in codes: give every class its colour in the option classes, such as "
            "'background=#000000, building=#ff0000'"
        )
    codes = np.where(valid, codes, -1)
    unknown = sorted(set(np.unique(codes).tolist()) - {-1, *classes.codes.values()})
    if unknown and classes.are_colours:
        colours = ", ".join(map(_hex, classes.codes.values()))
        raise InputError(
            f"mask {path} holds colours that no class has ({_list_colours(np.array(unknown))}; "
            f"classes has {colours}): add them, or store masks without loss (PNG, GeoTIFF)"
        )
    if unknown:
        raise InputError(
            f"mask {path} holds codes {unknown[:8]}, which no class has (classes has "
            f"{sorted(classes.codes.values())}): give classes the codes of the masks, such as "
            "'background=0, building=255', and list in datasets.ignore those that are no label"
        )
    return label_of(codes, {code: i for i, code in enumerate(classes.codes.values())}, path)


def _colours(bands: np.ndarray, path: Location) -> np.ndarray:
    """Return the colour (H, W) of every pixel as 0xRRGGBB."""
    if len(bands) == 1 and bands.dtype == np.uint8:
        table = np.repeat(np.arange(256)[:, None], 3, 1)
        for index, colour in _palette(path).items():
            table[index] = colour[:3]
        bands = table[bands[0]].transpose(2, 0, 1)
    if len(bands) != 3 or bands.max(initial=0) > 255 or bands.min(initial=0) < 0:
        raise InputError(
            f"mask {path} has {len(bands)} bands of {bands.dtype}: a mask of colours has red, "
            "green and blue as uint8, or a palette"
        )
    red, green, blue = bands.astype(np.int64)
    return np.asarray((red << 16) + (green << 8) + blue)


def _palette(path: Location) -> Mapping[int, Sequence[int]]:
    with open_raster(str(path), georeferenced=False) as raster:
        is_palette = raster.colorinterp[0].name == "palette"
        return dict(raster.colormap(1)) if is_palette else {}


def _list_colours(colours: np.ndarray) -> str:
    distinct = [_hex(colour) for colour in np.unique(colours)]
    return ", ".join(distinct[:5]) + (" …" if len(distinct) > 5 else "")


def _hex(colour: int) -> str:
    return f"#{int(colour):06x}"

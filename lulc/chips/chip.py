"""Chips: the pixels of one tile over some dates, as rows of the chips table and as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import numpy as np

from lulc.bands import OBSERVATIONS, Band
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.location import Location
from lulc.raster.show import colour_bands, picture_html, show_dates
from lulc.sources.scene import Scene
from lulc.tables import arrays, schemas
from lulc.tables.encoding import (
    Encoding,
    common_encoding,
    known_units,
    to_units,
)
from lulc.tables.store import write_rows

_PLAIN_COLUMNS = (
    "tile_id",
    "period",
    "source",
    "scene_ids",
    "datetimes",
    "halo",
    "bands",
    "scales",
    "offsets",
    "units",
    "clear",
)
"""The columns that hold a field of the same name as it is."""


def choose_encoding(scenes: Iterable[Scene], names: Sequence[str]) -> Encoding:
    """Return the encoding that holds these bands of all scenes (see `encoding_of`)."""
    return encoding_of((band for scene in scenes for band in scene.bands), names)


def encoding_of(bands: Iterable[Band], names: Sequence[str]) -> Encoding:
    """Return the encoding that holds all bands of these names.

    Its type is the one that all of them fit in; of each name it takes the smallest scale and
    offset. Floats become float32, and so do integers in units so unlike (0 to 255 beside
    reflectance) that one scale cannot hold them: where a band reaches ten times beyond the
    encoding's range, and all where a band is linear in some scenes and in decibels in others.

    Args:
        bands: of all scenes; of those alike, one is enough.
        names: of the bands of the encoding, in their order.

    Raises:
        InputError: no scene has a band; names it and the bands that there are.
    """
    bands_of_name: dict[str, list[Band]] = {name: [] for name in names}
    if OBSERVATIONS in bands_of_name:
        bands_of_name[OBSERVATIONS] = [Band(OBSERVATIONS, "", dtype="uint8")]
    available = set()
    for band in bands:
        available.add(band.name)
        if band.name in bands_of_name:
            bands_of_name[band.name].append(band)
    missing = [name for name, alike in bands_of_name.items() if not alike]
    if missing:
        raise InputError(
            f"no scene has band {', '.join(missing)}; "
            f"the scenes have {', '.join(sorted(available))}: see bands in the run file"
        )
    return common_encoding(bands_of_name)


@dataclass(frozen=True, eq=False)
class Chip:
    """Pixels of one tile over T dates."""

    tile_id: str
    period: str
    source: str
    """Sources of its scenes, joined by `+`."""
    scene_ids: tuple[str, ...]
    datetimes: tuple[datetime, ...]
    """Of its dates, in order of time; where there are fewer than T, the last dates of the arrays
    are not valid."""
    grid: Grid
    """With the halo."""
    halo: int
    """Margin on every side of the tile's core, in pixels."""
    bands: tuple[str, ...]
    scales: tuple[float, ...]
    """One a band: physical value = number * scale + offset."""
    offsets: tuple[float, ...]
    pixels: np.ndarray
    """(T, C, H, W), 0 where not valid."""
    valid: np.ndarray
    """(T, H, W) bool."""
    clear: float
    """Share of the core that is valid on any date."""
    units: tuple[str, ...] = ()
    """A `lulc.bands.Unit` a band, empty where it is not known; none at all where none is."""

    def rgb(self, date: int = 0) -> np.ndarray:
        """Return the image of a date in red, green and blue, as a figure shows it.

        Args:
            date: number of the date, from 0.

        Returns:
            (H, W, 3) uint8, stretched from the 2nd to the 98th percentile; grey where not valid.
        """
        return colour_bands(self.pixels[date], self.valid[date], self.bands)

    def _repr_html_(self) -> str:
        pictures = show_dates(self.pixels, self.valid, self.bands)
        days = ", ".join(f"{date:%Y-%m-%d}" for date in self.datetimes)
        caption = f"{self.tile_id}, {self.period}: {', '.join(self.bands)}; {days}"
        return picture_html(pictures, caption)

    @property
    def core(self) -> tuple[slice, slice]:
        """Rows and columns of the core."""
        height, width = self.grid.shape
        return slice(self.halo, height - self.halo), slice(self.halo, width - self.halo)

    @property
    def encoding(self) -> Encoding:
        """The encoding of its pixels."""
        dtype = self.pixels.dtype.name
        return Encoding(self.bands, dtype, self.scales, self.offsets, self.units)

    def in_units(self, units: Sequence[str]) -> Self:
        """Return the chip with linear values or decibels as in some units (see `to_units`)."""
        pixels, of_pixels = to_units(self.pixels, self.valid, self.encoding, units)
        plain = {name: getattr(of_pixels, name) for name in ("scales", "offsets", "units")}
        return self if pixels is self.pixels else replace(self, pixels=pixels, **plain)

    def to_row(self) -> dict[str, Any]:
        """Return the row of the chips table."""
        row: dict[str, Any] = {}
        for name in _PLAIN_COLUMNS:
            value = getattr(self, name)
            row[name] = list(value) if isinstance(value, tuple) else value
        row["units"] = list(self.units or ("",) * len(self.bands))
        row |= arrays.grid_columns(self.grid)
        row |= arrays.array_columns("pixels", self.pixels, "delta")
        return row | {"valid": arrays.pack(self.valid)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the chip of a row of the chips table."""
        plain: dict[str, Any] = {
            name: tuple(row[name]) if isinstance(row[name], list) else row[name]
            for name in _PLAIN_COLUMNS
            if name != "units"
        }
        plain["units"] = known_units(row)
        pixels = arrays.array_from(row, "pixels")
        dates, _, height, width = pixels.shape
        valid = arrays.unpack(row["valid"], (dates, height, width))
        return cls(**plain, grid=arrays.grid_from(row), pixels=pixels, valid=valid)


def write_chips(location: Location, chips: Iterable[Chip], footer: Mapping[str, Any]) -> None:
    """Write the chips of a block to one file, a row group each.

    Args:
        location: where the file is to lie.
        chips: in the order of the row groups.
        footer: what `store.read_footer` gives back; plain values.
    """
    write_rows(location, (chip.to_row() for chip in chips), schemas.CHIPS, footer)


def join_chips(chips: Sequence[Chip]) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Join the cores of chips of one tiling.

    Returns:
        pixels (T, C, H, W), valid (T, H, W), and the grid of the smallest rectangle that holds
        all cores.
    """
    cores = [chip.grid.pad(-chip.halo) for chip in chips]
    corners = [_offset(cores[0], core) for core in cores]
    top, left = (min(corner[axis] for corner in corners) for axis in (0, 1))
    bottom, right = (
        max(corner[axis] + core.shape[axis] for corner, core in zip(corners, cores, strict=True))
        for axis in (0, 1)
    )
    height, width = bottom - top, right - left
    dates, bands = chips[0].pixels.shape[:2]
    pixels = np.zeros((dates, bands, height, width), chips[0].pixels.dtype)
    valid = np.zeros((dates, height, width), bool)
    for chip, (row, col), core in zip(chips, corners, cores, strict=True):
        y, x = row - top, col - left
        area = np.s_[..., y : y + core.height, x : x + core.width]
        pixels[area], valid[area] = chip.pixels[..., *chip.core], chip.valid[..., *chip.core]
    return pixels, valid, cores[0].window(top, left, height, width)


def _offset(first: Grid, second: Grid) -> tuple[int, int]:
    # Rows and columns from the corner of one grid to the corner of another.
    shift = ~first.affine @ second.affine
    return round(shift.f), round(shift.c)

"""Sample: one labelled window or image, read from the samples table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import numpy as np

from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.location import Location
from lulc.raster.show import colour_bands, picture_html, show_dates
from lulc.samples.splits import SPLITS
from lulc.tables import arrays
from lulc.tables.encoding import Encoding, known_units, to_units
from lulc.tables.files import list_tables
from lulc.tables.store import read_rows, table_folder


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of the samples table."""

    sample_id: str
    split: str
    """train, validation or test."""
    dataset: str
    task: str
    bands: tuple[str, ...]
    scales: tuple[float, ...]
    """One a band: physical value = DN * scale + offset."""
    offsets: tuple[float, ...]
    datetimes: tuple[datetime, ...]
    """One a date (T), in time order; none where the dates are not known."""
    pixels: np.ndarray
    """(T, C, H, W) DN, 0 where not valid."""
    valid: np.ndarray
    """(T, H, W) bool."""
    label: np.ndarray
    """Class ids: (H, W) of tasks for pixels, () of classify; multilabel (K,) 0 or 1; detect (N, 5)
    of id, left, top, right and bottom in pixels."""
    grid: Grid | None
    """None of an image without georeference."""
    units: tuple[str, ...] = ()
    """A `lulc.bands.Unit` a band, empty where it is not known; none at all where none is."""

    def in_units(self, units: Sequence[str]) -> Self:
        """Return the sample with linear values or decibels as in some units (see `to_units`)."""
        dtype = self.pixels.dtype.name
        own = Encoding(self.bands, dtype, self.scales, self.offsets, self.units)
        pixels, of_pixels = to_units(self.pixels, self.valid, own, units)
        plain = {name: getattr(of_pixels, name) for name in ("scales", "offsets", "units")}
        return self if pixels is self.pixels else replace(self, pixels=pixels, **plain)

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
        size = " × ".join(map(str, self.pixels.shape))
        caption = f"{self.sample_id}, {self.split}, {self.task}: {', '.join(self.bands)} ({size})"
        return picture_html(pictures, caption)


def list_sample_files(out: Location, split: str | None = None) -> list[tuple[str, Location]]:
    """Return the samples files of a run, each with its split.

    Args:
        out: the output location.
        split: train, validation or test; all of them by default.

    Raises:
        InputError: there is no such split.
    """
    if split not in (None, *SPLITS):
        raise InputError(f"split {split!r} is none of {', '.join(SPLITS)}")
    folder = table_folder(out, "samples")
    splits = SPLITS if split is None else (split,)
    return [(name, file) for name in splits for file in list_tables(folder / f"split={name}")]


def read_samples(out: Location, split: str | None = None) -> Iterator[Sample]:
    """Yield the samples of a run, one file held at a time.

    Args:
        out: the output location.
        split: train, validation or test; all of them by default.

    Raises:
        InputError: there is no such split, or no sample of it.
    """
    files = list_sample_files(out, split)
    if not files:
        folder = table_folder(out, "samples")
        raise InputError(f"{folder} holds no samples of {split or 'any split'}: run `lulc samples`")
    for name, file in files:
        for row in read_rows(file):
            pixels = arrays.array_from(row, "pixels")
            yield Sample(
                sample_id=row["sample_id"],
                split=name,
                dataset=row["dataset"],
                task=row["task"],
                bands=tuple(row["bands"]),
                scales=tuple(row["scales"]),
                offsets=tuple(row["offsets"]),
                datetimes=tuple(row["datetimes"] or ()),
                pixels=pixels,
                valid=arrays.unpack(row["valid"], (len(pixels), *pixels.shape[2:])),
                label=arrays.array_from(row, "label"),
                grid=arrays.grid_from(row) if row["crs"] else None,
                units=known_units(row),
            )

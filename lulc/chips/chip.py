"""Chip: pixels of one tile over T dates; to and from table rows and files, and what is made of chips without a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from lulc.bands import OBSERVATIONS, Band
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.sources.scene import Scene
from lulc.tables import arrays, schemas
from lulc.tables.encoding import Encoding, _merge
from lulc.tables.store import write_rows


def choose_encoding(scenes: Iterable[Scene], bands: Sequence[str]) -> Encoding:
    """The encoding that holds all scenes' bands: the type they fit in, of each band the smallest scale and offset.

    Floats are kept as float32, and so are whole numbers in units so unlike (0 to 255 beside reflectance) that one scale cannot
    hold them: where a band reaches ten times beyond what would be kept. InputError names a band that no scene has.
    """
    found: dict[str, list[Band]] = {name: [] for name in bands}
    if OBSERVATIONS in found:
        found[OBSERVATIONS] = [Band(OBSERVATIONS, "", dtype="uint8")]
    known = set()
    for scene in scenes:
        for band in scene.bands:
            known.add(band.name)
            if band.name in found:
                found[band.name].append(band)
    missing = [name for name, places in found.items() if not places]
    if missing:
        raise InputError(
            f"no scene has band {', '.join(missing)}; the scenes have {', '.join(sorted(known))}: see bands in the run file"
        )
    return _merge(found)


_PLAIN = (
    "tile_id",
    "period",
    "source",
    "scene_ids",
    "datetimes",
    "halo",
    "bands",
    "scales",
    "offsets",
    "clear",
)


@dataclass(frozen=True, eq=False)
class Chip:
    """Pixels (T, C, H, W) of one tile, 0 where not valid (T, H, W). `halo` pixels of margin around the tile's core are included.

    datetimes: of the dates that there are, in time order; T may be larger, its rest is not valid. Physical value = DN * scale +
    offset, one of each a band.
    """

    tile_id: str
    period: str
    source: str
    scene_ids: tuple[str, ...]
    datetimes: tuple[datetime, ...]
    grid: Grid
    halo: int
    bands: tuple[str, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    pixels: np.ndarray
    valid: np.ndarray
    clear: float

    @property
    def core(self) -> tuple[slice, slice]:
        """Rows and columns of the core."""
        height, width = self.grid.shape
        return slice(self.halo, height - self.halo), slice(self.halo, width - self.halo)


def to_row(chip: Chip) -> dict[str, Any]:
    """The chip as a row of the chips table."""
    row = {
        name: list(value) if isinstance(value := getattr(chip, name), tuple) else value
        for name in _PLAIN
    }
    row |= arrays.grid_columns(chip.grid) | arrays.array_columns("pixels", chip.pixels, "delta")
    return row | {"valid": arrays.pack(chip.valid)}


def from_row(row: Mapping[str, Any]) -> Chip:
    """The chip of a row of the chips table."""
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value := row[name], list) else value for name in _PLAIN
    }
    array = arrays.array_from(row, "pixels")
    dates, _, height, width = array.shape
    return Chip(
        **plain,
        grid=arrays.grid_from(row),
        pixels=array,
        valid=arrays.unpack(row["valid"], (dates, height, width)),
    )


def write_chips(path: Path, chips: Iterable[Chip], about: Mapping[str, Any]) -> None:
    """The chips of a block in one file, a row group each."""
    write_rows(path, map(to_row, chips), schemas.CHIPS, about)


def join_chips(chips: Sequence[Chip]) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Pixels (T, C, H, W), valid (T, H, W) and grid of all the chips' cores together; chips must be of one tiling."""
    cores = [chip.grid.pad(-chip.halo) for chip in chips]
    first = cores[0]
    places = []
    for grid in cores:
        move = ~first.affine @ grid.affine
        places.append((round(move.f), round(move.c)))
    top, left = (min(p[axis] for p in places) for axis in (0, 1))
    bottom, right = (
        max(p[axis] + g.shape[axis] for p, g in zip(places, cores, strict=True)) for axis in (0, 1)
    )
    dates, bands = chips[0].pixels.shape[:2]
    out = np.zeros((dates, bands, bottom - top, right - left), chips[0].pixels.dtype)
    valid = np.zeros((dates, bottom - top, right - left), bool)
    for chip, (row, col), grid in zip(chips, places, cores, strict=True):
        area = np.s_[..., row - top : row - top + grid.height, col - left : col - left + grid.width]
        out[area], valid[area] = chip.pixels[..., *chip.core], chip.valid[..., *chip.core]
    return out, valid, first.window(top, left, bottom - top, right - left)

"""A picture of what was cut: the chips of one period side by side, decimated, so that memory is bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from lulc import chips
from lulc.chips import Chip
from lulc.errors import InputError

_SIDE = 1400  # pixels of the picture's longest side
_EMPTY = 0.92  # grey where no date is valid


def draw(folder: Path, period: str | None = None) -> bytes:
    """PNG of a chips table, each pixel the median of its valid dates, stretched from 2 to 98 %; of the first period unless named.

    Red, green and blue where the chips have these bands, else their first three, or the first alone. InputError: no such chips.
    """
    from matplotlib.image import imsave

    files = sorted(folder.rglob("[!.]*.parquet"))
    light = ("tile_id", "period", "transform", "height", "width", "halo", "bands")
    rows = [row for file in files for row in chips.read_rows(file, light)]
    name = period or min((row["period"] for row in rows), default=None)
    rows = [row for row in rows if row["period"] == name]
    if not rows:
        raise InputError(f"{folder} holds no chips of period {name!r}: run `lulc tile`, or name another")
    places = {row["tile_id"]: _corner(row["transform"], row["halo"], rows[0]["transform"]) for row in rows}
    side = rows[0]["height"] - 2 * rows[0]["halo"]
    top, left = (min(place[axis] for place in places.values()) for axis in (0, 1))
    height, width = (max(p[axis] for p in places.values()) - low + side for axis, low in ((0, top), (1, left)))
    every = math.ceil(max(height, width) / _SIDE)
    bands = _choose(rows[0]["bands"])
    picture = np.full((len(bands), -(-height // every), -(-width // every)), np.nan)
    for file in files:
        for chip in (chips.from_row(row) for row in chips.read_rows(file) if row["period"] == name):
            row, col = places[chip.tile_id][0] - top, places[chip.tile_id][1] - left
            values = _thin(chip, bands, -row % every, -col % every, every)
            area = np.s_[:, -(-row // every) :, -(-col // every) :]
            picture[area][:, : values.shape[1], : values.shape[2]] = values
    made = BytesIO()
    imsave(made, _stretch(picture), format="png")
    return made.getvalue()


def _corner(transform: Sequence[float], halo: int, first: Sequence[float]) -> tuple[int, int]:
    # Row and column of a chip's core on the lattice of the first chip.
    return round((transform[5] - first[5]) / first[4]) + halo, round((transform[2] - first[2]) / first[0]) + halo


def _choose(bands: Sequence[str]) -> list[int]:
    wanted = ("red", "green", "blue")
    if set(wanted) <= set(bands):
        return [bands.index(name) for name in wanted]
    return [0, 1, 2] if len(bands) >= 3 else [0]


def _thin(chip: Chip, bands: Sequence[int], row: int, col: int, every: int) -> np.ndarray:
    # Every n-th pixel of the core from (row, col) on, physical values, NaN where not valid.
    image, seen = chips.composite(chip.pixels[:, :, *chip.core][:, bands], chip.valid[:, *chip.core])
    image, seen = image[:, row::every, col::every], seen[row::every, col::every]
    scales, offsets = (np.array([v[b] for b in bands])[:, None, None] for v in (chip.scales, chip.offsets))
    return np.where(seen, image * scales + offsets, np.nan)


def _stretch(picture: np.ndarray) -> np.ndarray:
    known = np.isfinite(picture[0])
    if not known.any():
        return np.full((*picture.shape[1:], 3), int(255 * _EMPTY), np.uint8)
    low, high = (np.percentile(picture[:, known], q, axis=1)[:, None, None] for q in (2, 98))
    shown = np.clip((picture - low) / np.maximum(high - low, 1e-9), 0, 1)
    shown = np.where(known, shown, _EMPTY).repeat(3 // len(picture), axis=0)
    return np.rint(shown * 255).astype(np.uint8).transpose(1, 2, 0)

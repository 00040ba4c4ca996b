"""A picture of what was cut: the chips of one period side by side, decimated, so that memory is bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from lulc.chips import composites
from lulc.chips.chip import Chip, from_row
from lulc.errors import InputError
from lulc.tables import arrays, store

_SIDE = 1400  # pixels of the picture's longest side
_EMPTY = 0.92  # grey where no date is valid
_LINE = 14  # pixels of height that a date takes over its panel
_MOST = 64  # panels


def draw_chips(folder: Path, period: str | None = None) -> bytes:
    """PNG of a chips table, each pixel the median of its valid dates, stretched from 2 to 98 %; of the first period unless named.

    Where all chips have the same several dates, as those of a series do, a panel a date that is not empty (64 at most), in one
    stretch. Red, green and blue where the chips have these bands, else their first three, or the first alone. InputError: no such
    chips.
    """
    files = sorted(folder.rglob("[!.]*.parquet"))
    light = (
        "tile_id",
        "period",
        "transform",
        "height",
        "width",
        "halo",
        "bands",
        "datetimes",
        "pixels_shape",
        "valid",
    )
    rows = [_with_dates(row) for file in files for row in store.read_rows(file, light)]
    name = period or min((row["period"] for row in rows), default=None)
    rows = [row for row in rows if row["period"] == name]
    if not rows:
        raise InputError(
            f"{folder} holds no chips of period {name!r}: run `lulc tile`, or name another"
        )
    dates = rows[0]["datetimes"]
    several = len(dates) > 1 and all(row["datetimes"] == dates for row in rows)
    shown = sorted(set().union(*(row["seen"] for row in rows)))[:_MOST] if several else []
    titles = [dates[t].date().isoformat() for t in shown]
    places = {
        row["tile_id"]: _corner(row["transform"], row["halo"], rows[0]["transform"]) for row in rows
    }
    side = rows[0]["height"] - 2 * rows[0]["halo"]
    top, left = (min(place[axis] for place in places.values()) for axis in (0, 1))
    height, width = (
        max(p[axis] for p in places.values()) - low + side for axis, low in ((0, top), (1, left))
    )
    across = math.ceil(math.sqrt(len(shown) or 1))
    every = math.ceil(max(height, width) * across / _SIDE)
    bands = choose_rgb(rows[0]["bands"])
    picture = np.full(
        (len(shown) or 1, len(bands), -(-height // every), -(-width // every)), np.nan
    )
    for file in files:
        for chip in (from_row(row) for row in store.read_rows(file) if row["period"] == name):
            row, col = places[chip.tile_id][0] - top, places[chip.tile_id][1] - left
            values = _thin(chip, shown, bands, -row % every, -col % every, every)
            area = np.s_[..., -(-row // every) :, -(-col // every) :]
            picture[area][..., : values.shape[-2], : values.shape[-1]] = values
    return _lay_out(stretch(_trim(picture)), titles, across)


def _with_dates(row: dict[str, Any]) -> dict[str, Any]:
    # The row with the numbers of its dates that have a valid pixel instead of what is valid.
    valid = arrays.unpack(row.pop("valid"), (row["pixels_shape"][0], row["height"], row["width"]))
    return row | {"seen": np.flatnonzero(valid.any((1, 2))).tolist()}


def _corner(transform: Sequence[float], halo: int, first: Sequence[float]) -> tuple[int, int]:
    # Row and column of a chip's core on the lattice of the first chip.
    return round((transform[5] - first[5]) / first[4]) + halo, round(
        (transform[2] - first[2]) / first[0]
    ) + halo


def choose_rgb(bands: Sequence[str]) -> list[int]:
    """Places of red, green and blue among the bands, else of the first three, or of the first alone."""
    wanted = ("red", "green", "blue")
    if set(wanted) <= set(bands):
        return [bands.index(name) for name in wanted]
    return [0, 1, 2] if len(bands) >= 3 else [0]


def _thin(
    chip: Chip, dates: Sequence[int], bands: Sequence[int], row: int, col: int, every: int
) -> np.ndarray:
    # Every n-th pixel of the core from (row, col) on, of each date or of their median, physical values, NaN where not valid.
    image, seen = (
        a[..., *chip.core][..., row::every, col::every] for a in (chip.pixels[:, bands], chip.valid)
    )
    if dates:
        image, seen = image[list(dates)], seen[list(dates)]
    else:
        image, seen = (a[None] for a in composites.median_composite(image, seen))
    scales, offsets = (
        np.array([v[b] for b in bands])[:, None, None] for v in (chip.scales, chip.offsets)
    )
    return np.where(seen[:, None], image * scales + offsets, np.nan)


def _trim(picture: np.ndarray) -> np.ndarray:
    # Without the empty margin: tiles reach beyond the scenes.
    known = np.isfinite(picture).any((0, 1))
    rows, cols = (np.flatnonzero(known.any(axis)) for axis in (1, 0))
    return picture[..., rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] if known.any() else picture


def stretch(picture: np.ndarray) -> np.ndarray:
    """Colours (T, H, W, 3) uint8 of values (T, C, H, W), each band from its 2 to its 98 %; grey where they are not numbers."""
    known = np.isfinite(picture[:, 0])
    bands = np.moveaxis(picture, 1, -1)
    if not known.any():
        return np.full((*known.shape, 3), int(255 * _EMPTY), np.uint8)
    low, high = (np.percentile(bands[known], q, axis=0) for q in (2, 98))
    shown = np.clip((bands - low) / np.maximum(high - low, 1e-9), 0, 1)
    shown = np.where(known[..., None], shown, _EMPTY)
    return np.rint(np.broadcast_to(shown, (*known.shape, 3)) * 255).astype(np.uint8)


def _lay_out(panels: np.ndarray, titles: Sequence[str], across: int) -> bytes:
    # PNG of one panel, or of several in rows, each under its title.
    from matplotlib.image import imsave

    made = BytesIO()
    if not titles:
        imsave(made, panels[0], format="png")
        return made.getvalue()
    from matplotlib.figure import Figure

    _, height, width, _ = panels.shape
    step, gap = height + _LINE + 4, 4
    shape = (-(-len(panels) // across) * step, min(across, len(panels)) * (width + gap) - gap)
    sheet = np.full((*shape, 3), 255, np.uint8)
    figure = Figure(figsize=(shape[1] / 100, shape[0] / 100), dpi=100)
    for n, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        row, col = n // across * step, n % across * (width + gap)
        sheet[row + _LINE : row + _LINE + height, col : col + width] = panel
        figure.text(col / shape[1], 1 - (row + _LINE - 3) / shape[0], title, fontsize=7)
    figure.figimage(sheet, 0, 0)
    figure.savefig(made, format="png", metadata={"Software": None})
    return made.getvalue()

"""A picture of a chips table: the chips of one period side by side, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from lulc.chips import composites
from lulc.chips.chip import Chip
from lulc.errors import InputError
from lulc.location import Location
from lulc.raster.show import choose_rgb, stretch
from lulc.tables import arrays, files, store

_SIDE = 1400  # pixels of the picture's longest side
_TITLE_HEIGHT = 14  # pixels above a panel, for its date
_GAP = 4  # pixels between panels
_MAX_PANELS = 64
_COLUMNS_WITHOUT_PIXELS = (
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


@dataclass(frozen=True)
class _Canvas:
    """The picture that chips are drawn into."""

    corners: dict[str, tuple[int, int]]
    """Row and column of a tile's core in the picture at full resolution, by tile id."""
    shape: tuple[int, int]
    """Height and width at full resolution."""
    step: int
    """Every n-th pixel is drawn."""
    dates: list[int]
    """Positions of the dates that have a panel; none for one panel of their median."""
    bands: list[int]
    """Positions of the bands that are drawn."""

    def empty(self) -> np.ndarray:
        """Return the picture (panels, C, H, W) without a valid pixel."""
        height, width = (-(-size // self.step) for size in self.shape)
        return np.full((len(self.dates) or 1, len(self.bands), height, width), np.nan)

    def draw(self, picture: np.ndarray, chip: Chip) -> None:
        """Draw a chip's core into the picture."""
        row, col = self.corners[chip.tile_id]
        pixels = _decimate(chip, self, -row % self.step, -col % self.step)
        area = np.s_[..., -(-row // self.step) :, -(-col // self.step) :]
        picture[area][..., : pixels.shape[-2], : pixels.shape[-1]] = pixels


def draw_chips(folder: Location, period: str | None = None) -> bytes:
    """Draw the chips of one period side by side.

    Each pixel is the median of its valid dates, stretched from 2 to 98 %. Where all chips have the
    same dates, more than one, as those of a series do, there is a panel a date that is not empty
    (64 at most), in one stretch. Red, green and blue where the chips have these bands, else their
    first three, or the first alone.

    Args:
        folder: the chips table.
        period: name of the period; the first in alphabetical order by default.

    Returns:
        The picture as PNG.

    Raises:
        InputError: the table has no chips of the period.
    """
    paths = files.list_tables(folder)
    rows = [
        _with_valid_dates(row)
        for path in paths
        for row in store.read_rows(path, _COLUMNS_WITHOUT_PIXELS)
    ]
    name = period or min((row["period"] for row in rows), default=None)
    rows = [row for row in rows if row["period"] == name]
    if not rows:
        raise InputError(
            f"{folder} holds no chips of period {name!r}: run `lulc tile`, or name another"
        )
    canvas = _plan_canvas(rows)
    picture = canvas.empty()
    for path in paths:
        for row in store.read_rows(path):
            if row["period"] == name:
                canvas.draw(picture, Chip.from_row(row))
    titles = [rows[0]["datetimes"][date].date().isoformat() for date in canvas.dates]
    return _save_panels(stretch(_trim(picture)), titles, _columns(canvas.dates))


def _with_valid_dates(row: dict[str, Any]) -> dict[str, Any]:
    # The row with the positions of its dates that have a valid pixel, in place of the mask.
    valid = arrays.unpack(row.pop("valid"), (row["pixels_shape"][0], row["height"], row["width"]))
    return row | {"valid_dates": np.flatnonzero(valid.any((1, 2))).tolist()}


def _plan_canvas(rows: Sequence[dict[str, Any]]) -> _Canvas:
    first = rows[0]
    is_series = len(first["datetimes"]) > 1 and all(
        row["datetimes"] == first["datetimes"] for row in rows
    )
    valid_dates = sorted(set().union(*(row["valid_dates"] for row in rows)))
    dates = valid_dates[:_MAX_PANELS] if is_series else []
    corners = {row["tile_id"]: _corner(row, first["transform"]) for row in rows}
    side = first["height"] - 2 * first["halo"]
    top, left = (min(corner[axis] for corner in corners.values()) for axis in (0, 1))
    height = max(row for row, _ in corners.values()) - top + side
    width = max(col for _, col in corners.values()) - left + side
    return _Canvas(
        {tile_id: (row - top, col - left) for tile_id, (row, col) in corners.items()},
        (height, width),
        math.ceil(max(height, width) * _columns(dates) / _SIDE),
        dates,
        choose_rgb(first["bands"]),
    )


def _columns(dates: Sequence[int]) -> int:
    # Panels side by side, for about as many below each other.
    return math.ceil(math.sqrt(len(dates) or 1))


def _corner(row: dict[str, Any], origin: Sequence[float]) -> tuple[int, int]:
    # Row and column of a chip's core on the pixels of the chip whose transform is the origin.
    transform, halo = row["transform"], row["halo"]
    return (
        round((transform[5] - origin[5]) / origin[4]) + halo,
        round((transform[2] - origin[2]) / origin[0]) + halo,
    )


def _decimate(chip: Chip, canvas: _Canvas, row: int, col: int) -> np.ndarray:
    # Every n-th pixel of the core from (row, col) on, of each date or of their median, as physical
    # values; NaN where not valid.
    pixels, valid = (
        array[..., *chip.core][..., row :: canvas.step, col :: canvas.step]
        for array in (chip.pixels[:, canvas.bands], chip.valid)
    )
    if canvas.dates:
        pixels, valid = pixels[canvas.dates], valid[canvas.dates]
    else:
        pixels, valid = (array[None] for array in composites.median_composite(pixels, valid))
    scales, offsets = (
        np.array([column[band] for band in canvas.bands])[:, None, None]
        for column in (chip.scales, chip.offsets)
    )
    return np.where(valid[:, None], pixels * scales + offsets, np.nan)


def _trim(picture: np.ndarray) -> np.ndarray:
    # Without the empty margin: tiles reach beyond the scenes.
    valid = np.isfinite(picture).any((0, 1))
    rows, cols = (np.flatnonzero(valid.any(axis)) for axis in (1, 0))
    return picture[..., rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] if valid.any() else picture


def _save_panels(panels: np.ndarray, titles: Sequence[str], columns: int) -> bytes:
    # PNG of one panel, or of several in rows, each under its title.
    from matplotlib.image import imsave

    png = BytesIO()
    if not titles:
        imsave(png, panels[0], format="png")
        return png.getvalue()
    from matplotlib.figure import Figure

    _, height, width, _ = panels.shape
    row_height, column_width = height + _TITLE_HEIGHT + _GAP, width + _GAP
    shape = (
        -(-len(panels) // columns) * row_height,
        min(columns, len(panels)) * column_width - _GAP,
    )
    sheet = np.full((*shape, 3), 255, np.uint8)
    figure = Figure(figsize=(shape[1] / 100, shape[0] / 100), dpi=100)
    for number, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        top, left = number // columns * row_height + _TITLE_HEIGHT, number % columns * column_width
        sheet[top : top + height, left : left + width] = panel
        figure.text(left / shape[1], 1 - (top - 3) / shape[0], title, fontsize=7)
    figure.figimage(sheet, 0, 0)
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()

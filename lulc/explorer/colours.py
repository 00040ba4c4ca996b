"""True colours below the maps: the chips of a run as tiles in red, green and blue.

A pixel is the median of its valid dates. Each of the three bands is stretched in a straight line
from its 2nd to its 98th percentile over 32 chips of the run, spread evenly; the same for all
periods, so that these can be compared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lulc.chips import composites
from lulc.chips.chip import Chip
from lulc.errors import InputError
from lulc.explorer.layer import Layer, tile_grid
from lulc.geo import warp
from lulc.geo.grid import Grid
from lulc.location import Location
from lulc.raster.show import encode_webp
from lulc.tables import arrays, files, store

KIND = "colours"
_BANDS = ("red", "green", "blue")
_SAMPLED = 32  # chips that the stretch is taken from
_PERCENTILES = (2, 98)
_ZOOMS = 4  # that have tiles: one of the first is made of 4096 × 4096 pixels of chips
_KEPT_PIXELS = 1 << 25  # of pictures of chips
_PLACE_COLUMNS = ["period", "crs", "transform", "height", "width", "halo", "bands"]


@dataclass(frozen=True)
class ChipPlace:
    """Where a chip is kept, and where its core lies."""

    location: Location
    row_group: int
    period: str
    grid: Grid
    """Without the halo."""

    def read(self) -> np.ndarray:
        """Return red, green and blue (3, H, W) as physical values, NaN where not valid.

        Raises:
            InputError: the chip is gone or damaged.
        """
        (row,) = store.read_rows(self.location, row_groups=[self.row_group])
        chip = Chip.from_row(row)
        numbers = [chip.bands.index(name) for name in _BANDS]
        core = np.s_[..., *chip.core]
        pixels, valid = composites.median_composite(chip.pixels[:, numbers][core], chip.valid[core])
        scales, offsets = (
            np.array(values, np.float32)[numbers][:, None, None]
            for values in (chip.scales, chip.offsets)
        )
        physical: np.ndarray = np.where(valid, pixels * scales + offsets, np.nan)
        return physical


@dataclass(frozen=True)
class Stretch:
    """Physical values of red, green and blue that are shown as 0 and as 255."""

    low: np.ndarray
    high: np.ndarray

    def apply(self, physical: np.ndarray) -> np.ndarray:
        """Return colours (4, H, W) uint8 of physical values (3, H, W), transparent where NaN."""
        low, high = self.low[:, None, None], self.high[:, None, None]
        valid = np.isfinite(physical).all(0)
        scaled = np.where(valid, (physical - low) / np.maximum(high - low, 1e-9), 0)
        colours = np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
        return np.concatenate([colours, np.where(valid, 255, 0).astype(np.uint8)[None]])


@dataclass(frozen=True, eq=False)
class ColourLayer(Layer):
    """The chips of one period in true colours."""

    period: str
    chips: tuple[ChipPlace, ...]
    stretch: Stretch

    suffix = "webp"
    kind = KIND

    @property
    def grids(self) -> Sequence[Grid]:
        """The grids of the chips."""
        return [chip.grid for chip in self.chips]

    @property
    def min_zoom(self) -> int:
        """The first zoom that has tiles: at one before it a tile would need very many chips."""
        return max(0, self.max_zoom - _ZOOMS + 1)

    def tile(self, zoom: int, col: int, row: int) -> bytes | None:
        """Return a tile as WebP, None where there is no chip with a valid pixel in it."""
        grid, factor = tile_grid(zoom, col, row), 2 ** (self.max_zoom - zoom)
        tile = np.zeros((4, *grid.shape), np.uint8)
        for number in self.parts_in(zoom, col, row):
            picture = self._pictures(number, factor)
            chip_grid = _coarsen_grid(self.chips[number].grid, factor)
            valid, is_new = picture[3] > 0, tile[3] == 0
            for band, colours in zip(tile, picture, strict=True):
                onto, is_valid = warp.warp(colours, valid, chip_grid, grid, "bilinear")
                np.copyto(band, onto, where=is_valid & is_new)
        return encode_webp(tile, grid) if tile[3].any() else None

    @cached_property
    def _pictures(self) -> Callable[[int, int], np.ndarray]:
        # Colours (4, H, W) of chips, coarser by a factor. Those that were used last are kept, as
        # neighbouring tiles and other zooms need them again.
        def read(number: int, factor: int) -> np.ndarray:
            if factor > 1:
                return _coarsen(pictures(number, 1), factor)
            return self.stretch.apply(self.chips[number].read())

        chip_pixels = max(grid.height * grid.width for grid in self.grids)
        pictures = functools.lru_cache(max(1, _KEPT_PIXELS // chip_pixels))(read)
        return pictures


def _coarsen(picture: np.ndarray, factor: int) -> np.ndarray:
    # Each pixel is the mean of the valid ones of factor × factor.
    _, height, width = picture.shape
    padded = np.pad(picture, ((0, 0), (0, -height % factor), (0, -width % factor)))
    rows, cols = padded.shape[1] // factor, padded.shape[2] // factor
    blocks = padded.reshape(4, rows, factor, cols, factor)
    count = np.count_nonzero(blocks[3], axis=(1, 3))
    colours = blocks[:3].sum((2, 4), dtype=np.uint32) / np.maximum(count, 1)
    alpha = np.where(count > 0, 255, 0)
    return np.concatenate([np.rint(colours), alpha[None]]).astype(np.uint8)


def _coarsen_grid(grid: Grid, factor: int) -> Grid:
    transform = tuple((grid.affine @ grid.affine.scale(factor))[:6])
    return Grid(grid.crs, transform, -(-grid.height // factor), -(-grid.width // factor))


def find_colours(out: Location) -> list[ColourLayer]:
    """Return the true colours of a run by period.

    Args:
        out: its output location.

    Raises:
        InputError: it has no chips, or chips without red, green and blue.
    """
    folder = store.table_folder(out, "chips")
    chips = [chip for path in files.list_tables(folder) for chip in _places(path)]
    if not chips:
        raise InputError(f"{folder} holds no chips to show in true colours: run `lulc tile`")
    stretch = find_stretch(chips)
    return [
        ColourLayer(period, tuple(chip for chip in chips if chip.period == period), stretch)
        for period in sorted({chip.period for chip in chips})
    ]


def _places(path: Location) -> Iterator[ChipPlace]:
    for number, row in enumerate(store.read_rows(path, _PLACE_COLUMNS)):
        missing = set(_BANDS) - set(row["bands"])
        if missing:
            raise InputError(
                f"{path} has no band {', '.join(sorted(missing))}: true colours need red, green "
                "and blue among the `bands` of the run file"
            )
        grid = arrays.grid_from(row).pad(-row["halo"])
        yield ChipPlace(path, number, row["period"], grid)


def find_stretch(chips: Sequence[ChipPlace]) -> Stretch:
    """Return the stretch of some chips, of which up to 32 are read."""
    numbers = np.unique(np.linspace(0, len(chips) - 1, min(_SAMPLED, len(chips))).astype(int))
    values = [chips[number].read().reshape(3, -1) for number in numbers]
    valid = [some[:, np.isfinite(some).all(0)] for some in values]
    joined = np.concatenate(valid, axis=1)
    if not joined.size:
        return Stretch(np.zeros(3), np.ones(3))
    low, high = np.percentile(joined, _PERCENTILES, axis=1)
    return Stretch(low, high)

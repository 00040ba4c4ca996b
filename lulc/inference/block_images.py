"""Blocks of chips as images, each with its empty map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lulc.inference.blocks import InferenceSpec

from lulc.chips import composites
from lulc.chips.chip import Chip
from lulc.geo import areas
from lulc.inference.chip_maps import MappedChip, make_layers, start_map
from lulc.inference.image_maps import ImageMap, make_pixel_map
from lulc.inference.predictor import Predictor
from lulc.inference.suitability import training_distance
from lulc.inference.windows import Area
from lulc.location import Location
from lulc.tables import store

_NO_PIXELS = np.empty(0, np.uint8)


@dataclass(frozen=True, eq=False)
class BlockImage:
    """An image of a block that is mapped as one: chips side by side, or one chip."""

    chips: Sequence[MappedChip]
    map: ImageMap


def read_images(
    location: Location, predictor: Predictor, spec: InferenceSpec
) -> Iterator[BlockImage]:
    """Read the chips of a file as images.

    Args:
        location: of the file.
        predictor: of the model.
        spec: how they are mapped.

    Yields:
        One image of all chips for a model of a class a pixel that sees one date; else one a chip.

    Raises:
        InputError: a chip does not keep the model's contract.
    """
    if predictor.task.kind == "pixels" and not predictor.task.series:
        yield from _read_as_one_image(location, predictor, spec)
        return
    for chip in _read_chips(location, predictor):
        empty = start_map(chip, predictor, spec)
        yield BlockImage([_mapped(chip, chip.core, predictor)], empty)


def _read_chips(location: Location, predictor: Predictor) -> Iterator[Chip]:
    # The chips of a file, in the units of the model; each keeps its contract.
    contract = predictor.contract
    for chip in map(Chip.from_row, store.read_rows(location)):
        subject = f"chip {chip.tile_id} of {location.name}"
        contract.check(chip.bands, areas.pixel_side_m(chip.grid), subject, chip.units)
        yield chip.in_units(contract.units)


def _mapped(chip: Chip, area: Area, predictor: Predictor) -> MappedChip:
    contracts = [each.contract for each in (predictor, *predictor.others)]
    without_pixels = replace(chip, pixels=_NO_PIXELS, valid=_NO_PIXELS)
    return MappedChip(without_pixels, area, training_distance(chip, contracts))


def _read_as_one_image(
    location: Location, predictor: Predictor, spec: InferenceSpec
) -> Iterator[BlockImage]:
    """Read the chips of a file side by side, as one image.

    So a tile's surroundings are its neighbours as they are mapped, and only the rim of the block is
    computed twice, in the next block. One chip is held at a time.
    """
    cells = np.array([_cell(row["tile_id"]) for row in store.read_rows(location, ["tile_id"])])
    canvas: Canvas | None = None
    pasted: list[MappedChip] = []
    for chip in _read_chips(location, predictor):
        # Windows of a fixed size are moved inwards where the canvas ends: it ends with the chips.
        multiple = 1 if predictor.contract.window else predictor.contract.multiple
        canvas = canvas or make_canvas(chip, cells, multiple)
        pasted.append(_mapped(chip, canvas.paste(chip), predictor))
    if canvas is None:
        return
    first, contract = pasted[0].chip, predictor.contract
    image = predictor.prepare(canvas.pixels[None], canvas.valid[None], first.scales, first.offsets)
    layers = make_layers(spec.settings, contract.legend, canvas.valid.shape)
    yield BlockImage(
        pasted, make_pixel_map(image, contract, spec.settings.window, canvas.core, *layers)
    )


@dataclass(frozen=True, eq=False)
class Canvas:
    """The chips of a block side by side, each reduced to one date."""

    pixels: np.ndarray
    """(C, H, W) DN, 0 where not valid."""
    valid: np.ndarray
    """(H, W) bool."""
    has_core: np.ndarray
    """(H, W) bool: where the core of a chip is pasted."""
    core: Area
    """Rows and columns of the cores of all tiles together."""
    origin: tuple[int, int]
    """(row, col) of the first pixel, in pixels of the tiling."""

    def paste(self, chip: Chip) -> Area:
        """Paste a chip; its margin goes only where there is no core of another chip.

        Returns:
            Rows and columns of the chip's core.
        """
        height, width = chip.grid.shape
        size = height - 2 * chip.halo
        col, row = _cell(chip.tile_id)
        top, left = (
            number * size - chip.halo - first
            for number, first in zip((row, col), self.origin, strict=True)
        )
        area = slice(top, top + height), slice(left, left + width)
        image, image_valid = composites.median_composite(chip.pixels, chip.valid)
        free = ~self.has_core[area]
        np.copyto(self.pixels[:, *area], image, where=free)
        np.copyto(self.valid[area], image_valid, where=free)
        core = (
            slice(top + chip.halo, top + chip.halo + size),
            slice(left + chip.halo, left + chip.halo + size),
        )
        self.has_core[core] = True
        return core


def make_canvas(chip: Chip, cells: np.ndarray, multiple: int) -> Canvas:
    """Make the empty canvas of a block.

    It begins and ends at multiples of `multiple` of the tiling's pixels, so that a network's
    strides fall alike in all blocks.

    Args:
        chip: one of the block's chips, which are all alike.
        cells: (N, 2) col and row of all its tiles.
        multiple: what the network's input sizes must be multiples of.

    Returns:
        The canvas.
    """
    size = chip.grid.height - 2 * chip.halo
    # In order of row and column.
    first, last = cells.min(0)[::-1] * size, (cells.max(0)[::-1] + 1) * size
    origin = (first - chip.halo) // multiple * multiple
    shape = -(-(last + chip.halo) // multiple) * multiple - origin
    rows, cols = (
        slice(int(start), int(stop))
        for start, stop in zip(first - origin, last - origin, strict=True)
    )
    return Canvas(
        pixels=np.zeros((chip.pixels.shape[1], *shape), chip.pixels.dtype),
        valid=np.zeros(shape, bool),
        has_core=np.zeros(shape, bool),
        core=(rows, cols),
        origin=(int(origin[0]), int(origin[1])),
    )


def _cell(tile_id: str) -> tuple[int, int]:
    col, _, row = tile_id.rpartition("/")[2].partition("_")
    return int(col), int(row)

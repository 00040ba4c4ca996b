"""Blocks of chips to blocks of predictions, the unit of work of the predict stage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lulc.inference.predictor import Predictor
    from lulc.inference.windows import Area
from lulc.chips import composites
from lulc.chips.chip import Chip
from lulc.config import PredictConf
from lulc.geo import areas
from lulc.inference.rows import (
    PredictionRow,
    TableRow,
    make_percents,
    make_prediction_row,
    predict_chip,
)
from lulc.location import Location
from lulc.models.package import ModelRef
from lulc.tables import files, layout, schemas, store
from lulc.tables.ledger import LedgerRow, row_of_file

_NO_PIXELS = np.empty(0, np.uint8)


@dataclass(frozen=True)
class InferenceSpec:
    """How a run maps its chips."""

    out: Location
    """The output location."""
    model: ModelRef
    settings: PredictConf

    def fingerprint(self, chips_fingerprint: str) -> str:
        """Return what a block's predictions depend on: its chips, the model, the settings."""
        # The name by which the run file calls the model changes nothing.
        settings = replace(self.settings, model=None)
        return files.fingerprint_of(
            "predict",
            chips_fingerprint,
            self.model.name,
            self.model.version,
            self.model.checksum,
            settings,
        )


def table_of(task: str | None) -> str:
    """Return the name of the table that predictions of a task go to."""
    return {"multilabel": "probabilities", "detect": "boxes"}.get(task or "", "predictions")


def predictions_path(key: str, fingerprint: str, table: str = "predictions") -> str:
    """Return the file of a block's predictions, relative to the output location.

    Args:
        key: of the block, `<period>/<tiling>/<col>_<row>`.
        fingerprint: of the predictions.
        table: its name.
    """
    return layout.block_file(table, layout.parse_block_key(key), fingerprint)


def map_block(key: Mapping[str, Any], spec: InferenceSpec) -> list[LedgerRow]:
    """Map one block of chips and publish the predictions for every tile's core.

    Args:
        key: the block's `key`, and `path`, `checksum` and `fingerprint` of its chips.
        spec: how it is mapped.

    Returns:
        The ledger row of the block; a `bad` one where its chips are not as they were published.

    Raises:
        InputError: chips do not keep the model's contract; no block of this run would.
    """
    from lulc.inference.predictor import load_all

    start = time.monotonic()
    fingerprint = spec.fingerprint(key["fingerprint"])
    chips = spec.out / key["path"]
    fault = _find_fault(chips, key["checksum"])
    if fault:
        error = f"chips {key['path']} {fault}: delete the file and run `lulc tile` again"
        return [LedgerRow("predict", key["key"], fingerprint, "bad", error=error)]
    predictor = load_all(spec.model.folders)
    table = table_of(predictor.contract.task)
    rows = map_chips(chips, predictor, spec)
    footer = {
        "stage": "predict",
        "key": key["key"],
        "fingerprint": fingerprint,
        "status": "done",
        "valid_pixels": _count_valid(rows),
        "path": predictions_path(key["key"], fingerprint, table),
    }
    table_rows = (row.to_row() for row in rows)
    store.write_rows(spec.out / footer["path"], table_rows, schemas.ALL[table], footer)
    return [replace(row_of_file(spec.out, footer), seconds=time.monotonic() - start)]


def _count_valid(rows: Sequence[TableRow]) -> int:
    # Pixels of a table of classes, else rows.
    return sum(row.valid_pixels if isinstance(row, PredictionRow) else 1 for row in rows)


def map_chips(location: Location, predictor: Predictor, spec: InferenceSpec) -> Sequence[TableRow]:
    """Map the chips of a file.

    Args:
        location: of the file.
        predictor: of the model.
        spec: how they are mapped.

    Returns:
        Rows of the table that the model's task fills.

    Raises:
        InputError: a chip does not keep the model's contract.
    """
    if predictor.task.kind == "pixels" and not predictor.task.series:
        return _map_as_one_image(location, predictor, spec)
    rows: list[TableRow] = []
    for chip in map(Chip.from_row, store.read_rows(location)):
        _check_contract(chip, location, predictor)
        rows += predict_chip(chip, predictor, spec.model, spec.settings)
    return rows


def _check_contract(chip: Chip, location: Location, predictor: Predictor) -> None:
    subject = f"chip {chip.tile_id} of {location.name}"
    predictor.contract.check(chip.bands, areas.pixel_side_m(chip.grid), subject)


def _map_as_one_image(
    location: Location, predictor: Predictor, spec: InferenceSpec
) -> list[PredictionRow]:
    """Map the chips of a file side by side, as one image.

    So a tile's surroundings are its neighbours as they are mapped, and only the rim of the block is
    computed twice, in the next block. One chip is held at a time.
    """
    cells = np.array([_cell(row["tile_id"]) for row in store.read_rows(location, ["tile_id"])])
    canvas: Canvas | None = None
    pasted: list[tuple[Chip, Area]] = []
    for chip in map(Chip.from_row, store.read_rows(location)):
        _check_contract(chip, location, predictor)
        canvas = canvas or make_canvas(chip, cells, predictor.contract.multiple)
        pasted.append((replace(chip, pixels=_NO_PIXELS, valid=_NO_PIXELS), canvas.paste(chip)))
    if canvas is None:
        return []
    first, legend = pasted[0][0], predictor.contract.legend
    percents = make_percents(spec.settings, legend, canvas.valid.shape)
    classes, confidence = predictor.segment(
        canvas.pixels[None],
        canvas.valid[None],
        first.scales,
        first.offsets,
        spec.settings,
        canvas.core,
        percents=percents,
    )
    rows = []
    for chip, area in pasted:
        chip_percents = None if percents is None else percents[:, *area]
        arrays = (classes[area], confidence[area], chip_percents)
        rows.append(make_prediction_row(chip, spec.model, legend, *arrays))
    return rows


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


def _find_fault(location: Location, checksum: str) -> str | None:
    try:
        return None if files.checksum(location) == checksum else "are not as they were written"
    except OSError as error:
        return f"cannot be read ({error.strerror})"

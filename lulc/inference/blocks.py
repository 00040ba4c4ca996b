"""Blocks of chips to blocks of predictions: what a task of the predict stage does, and what its result depends on."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lulc.inference.predictor import Predictor
from lulc.chips import composites
from lulc.chips.chip import Chip, from_row
from lulc.config import PredictConf
from lulc.geo import areas
from lulc.inference.rows import make_shares, prediction_row, rows_of
from lulc.models.package import ModelRef
from lulc.tables import files, ledger, schemas, store

Row = dict[str, Any]
Area = tuple[slice, slice]
_NONE = np.empty(0, np.uint8)


@dataclass(frozen=True)
class InferenceSpec:
    """How a run maps: the output folder, the model and the settings."""

    out: Path
    model: ModelRef
    how: PredictConf

    def fingerprint(self, chips_fingerprint: str) -> str:
        """What a block's predictions depend on: its chips, the model, the settings."""
        how = replace(
            self.how, model=None
        )  # the name by which the run file asks for the model changes nothing
        return files.fingerprint_of(
            "predict",
            chips_fingerprint,
            self.model.name,
            self.model.version,
            self.model.checksum,
            how,
        )


def table_of(task: str | None) -> str:
    """The table that predictions of a task go to."""
    return {"multilabel": "probabilities", "detect": "boxes"}.get(task or "", "predictions")


def predictions_path(key: str, fingerprint: str, table: str = "predictions") -> str:
    """Where the predictions of block `<period>/<tiling>/<col>_<row>` lie, relative to the output folder."""
    period, _, place = key.partition("/")
    return f"tables/{table}/{period}.{place.rpartition('/')[2]}.{fingerprint}.parquet"


def map_block(key: Mapping[str, Any], recipe: InferenceSpec) -> list[Row]:
    """The ledger row of one block after its predictions are published: what the model says of every tile's core.

    key: the block's `key`, and `path`, `checksum` and `fingerprint` of its chips. Chips that are not what was published make a
    row `bad`; chips that do not keep the model's contract raise InputError, since no block of this run would.
    """
    from lulc.inference.predictor import load_all

    start, fingerprint, path = (
        time.monotonic(),
        recipe.fingerprint(key["fingerprint"]),
        recipe.out / key["path"],
    )
    fault = _find_fault(path, key["checksum"])
    if fault:
        text = f"chips {key['path']} {fault}: delete the file and run `lulc tile` again"
        return [ledger.ledger_row("predict", key["key"], fingerprint, status="bad", error=text)]
    predictor = load_all(recipe.model.folders)
    table = table_of(predictor.contract.task)
    rows = map_chips(path, predictor, recipe)
    row: Row = {"stage": "predict", "key": key["key"], "fingerprint": fingerprint, "status": "done"}
    seen = sum(sum(r["class_counts"]) for r in rows) if table == "predictions" else len(rows)
    row |= {"valid_pixels": seen, "path": predictions_path(key["key"], fingerprint, table)}
    store.write_rows(recipe.out / row["path"], rows, schemas.ALL[table], row)
    return [ledger.published_row(recipe.out, row) | {"seconds": time.monotonic() - start}]


def map_chips(path: Path, predictor: Predictor, recipe: InferenceSpec) -> list[Row]:
    """The rows of the model's table for the chips of a file. InputError when one does not keep the model's contract."""
    if predictor.task.kind == "pixels" and not predictor.task.series:
        return map_together(path, predictor, recipe)
    found: list[Row] = []
    for chip in map(from_row, store.read_rows(path)):
        predictor.contract.check(
            chip.bands, pixel_side_m(chip), f"chip {chip.tile_id} of {path.name}"
        )
        found += rows_of(chip, predictor, recipe.model, recipe.how)
    return found


def map_together(path: Path, predictor: Predictor, recipe: InferenceSpec) -> list[Row]:
    """A row of the predictions table for each chip of a file: the cores are laid side by side and mapped as one image.

    So a tile sees its neighbours as they are mapped, and only the rim of the whole is computed twice, in the next block. One chip
    is held at a time. InputError when one does not keep the model's contract.
    """
    cells = np.array([_cell(row["tile_id"]) for row in store.read_rows(path, ["tile_id"])])
    canvas: Canvas | None = None
    held: list[tuple[Chip, Area]] = []
    for chip in map(from_row, store.read_rows(path)):
        predictor.contract.check(
            chip.bands, pixel_side_m(chip), f"chip {chip.tile_id} of {path.name}"
        )
        canvas = canvas or make_canvas(chip, cells, predictor.contract.multiple)
        held.append((replace(chip, pixels=_NONE, valid=_NONE), canvas.lay(chip)))
    if canvas is None:
        return []
    first, legend = held[0][0], predictor.contract.legend
    shares = make_shares(recipe.how, legend, canvas.seen.shape)
    given = canvas.image[None], canvas.seen[None], first.scales, first.offsets
    classes, confidence = predictor(*given, recipe.how, canvas.core, shares=shares)
    return [
        prediction_row(
            chip,
            classes[area],
            confidence[area],
            recipe.model,
            legend.ids,
            shares=None if shares is None else shares[:, *area],
        )
        for chip, area in held
    ]


@dataclass(frozen=True, eq=False)
class Canvas:
    """Chips laid side by side: one image (C, H, W) of each one's dates, seen (H, W) where one is valid, and whose core is there.

    core: rows and columns of all tiles together; origin: (row, col) of the tiling's pixel that is the first here.
    """

    image: np.ndarray
    seen: np.ndarray
    owned: np.ndarray
    core: Area
    origin: tuple[int, int]

    def lay(self, chip: Chip) -> Area:
        """Rows and columns of the chip's core, after the chip is laid down; its margin goes where no other core is."""
        height, width = chip.grid.shape
        size = height - 2 * chip.halo
        col, row = _cell(chip.tile_id)
        top, left = (
            n * size - chip.halo - first for n, first in zip((row, col), self.origin, strict=True)
        )
        area = slice(top, top + height), slice(left, left + width)
        image, seen = composites.median_composite(chip.pixels, chip.valid)
        free = ~self.owned[area]
        np.copyto(self.image[:, *area], image, where=free)
        np.copyto(self.seen[area], seen, where=free)
        core = (
            slice(top + chip.halo, top + chip.halo + size),
            slice(left + chip.halo, left + chip.halo + size),
        )
        self.owned[core] = True
        return core


def make_canvas(chip: Chip, cells: np.ndarray, multiple: int) -> Canvas:
    """The empty Canvas for the tiles at cells (N, 2) of col and row, which are all like this chip.

    It begins and ends at multiples of `multiple` of the tiling's pixels, so that a network's strides fall alike in all blocks.
    """
    size = chip.grid.height - 2 * chip.halo
    first, last = cells.min(0)[::-1] * size, (cells.max(0)[::-1] + 1) * size
    origin = (first - chip.halo) // multiple * multiple
    shape = -(-(last + chip.halo) // multiple) * multiple - origin
    core = tuple(slice(int(a), int(b)) for a, b in zip(first - origin, last - origin, strict=True))
    image = np.zeros((chip.pixels.shape[1], *shape), chip.pixels.dtype)
    return Canvas(
        image,
        np.zeros(shape, bool),
        np.zeros(shape, bool),
        (core[0], core[1]),
        (int(origin[0]), int(origin[1])),
    )


def _cell(tile_id: str) -> tuple[int, int]:
    col, _, row = tile_id.rpartition("/")[2].partition("_")
    return int(col), int(row)


def _find_fault(path: Path, checksum: str) -> str | None:
    try:
        return None if files.checksum(path) == checksum else "are not as they were written"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def pixel_side_m(chip: Chip) -> float:
    """Side in metres of a square as large as the pixel in the middle of a chip."""
    height, width = chip.grid.shape
    middle = chip.grid.window(height // 2, width // 2, 1, 1)
    return math.sqrt(float(areas.pixel_areas(middle).mean()))

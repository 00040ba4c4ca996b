"""Blocks of chips to blocks of predictions: what a task of the predict stage does, and what its result depends on."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lulc import chips, geo, pixels, store, tables
from lulc.chips import Chip
from lulc.conf import Predict
from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.modelfiles import ModelRef
from lulc.pixels import ReadError

Row = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How a run maps: the output folder, the model and the settings."""

    out: Path
    model: ModelRef
    how: Predict

    def fingerprint(self, chips_fingerprint: str) -> str:
        """What a block's predictions depend on: its chips, the model, the settings."""
        return store.fingerprint("predict", chips_fingerprint, self.model.name, self.model.version, self.model.checksum, self.how)


def predictions_path(key: str, fingerprint: str) -> str:
    """Where the predictions of block `<period>/<tiling>/<col>_<row>` lie, relative to the output folder."""
    period, _, place = key.partition("/")
    return f"tables/predictions/{period}.{place.rpartition('/')[2]}.{fingerprint}.parquet"


def map_block(key: Mapping[str, Any], recipe: Recipe) -> list[Row]:
    """The ledger row of one block after its predictions are published: classes, confidence and counts of every tile's core.

    key: the block's `key`, and `path` and `fingerprint` of its chips. Chips that cannot be read make a row `bad`; chips that do
    not keep the model's contract raise InputError, since no block of this run would.
    """
    from lulc import predict

    start = time.monotonic()
    predictor = predict.load(recipe.model.folder)
    print_ = recipe.fingerprint(key["fingerprint"])
    row: Row = {"stage": "predict", "key": key["key"], "fingerprint": print_, "status": "done"}
    rows: list[Row] = []
    seen = 0
    try:
        for read in chips.read_rows(recipe.out / key["path"]):
            chip = chips.from_row(read)
            predictor.contract.check(chip.bands, pixel_side_m(chip), f"chip {chip.tile_id} of {key['path']}")
            made = predictor(chip.pixels, chip.valid, chip.scales, chip.offsets, recipe.how)
            rows.append(prediction_row(chip, *made, recipe.model, predictor.contract.legend.ids))
            seen += sum(rows[-1]["class_counts"])
    except (OSError, pa.ArrowException, ReadError) as error:
        text = f"chips {key['path']} cannot be read ({error}): delete the file and run `lulc tile` again"
        return [store.entry("predict", key["key"], print_, status="bad", error=text)]
    path = predictions_path(key["key"], print_)
    row |= {"valid_pixels": seen, "path": path}
    chips.write_rows(recipe.out / path, rows, tables.PREDICTIONS, row)
    return [noted(recipe.out, row) | {"seconds": time.monotonic() - start}]


def pixel_side_m(chip: Chip) -> float:
    """Side in metres of a square as large as the pixel in the middle of a chip."""
    height, width = chip.grid.shape
    middle = chip.grid.window(height // 2, width // 2, 1, 1)
    return math.sqrt(float(geo.pixel_areas(middle).mean()))


def prediction_row(chip: Chip, classes: np.ndarray, confidence: np.ndarray, model: ModelRef, ids: tuple[int, ...]) -> Row:
    """The row of the predictions table for the core of a chip that is mapped whole."""
    kept = np.ascontiguousarray(classes[chip.core])
    grid = chip.grid.pad(-chip.halo)
    counts = np.bincount(kept.ravel(), minlength=256)
    return {
        "tile_id": chip.tile_id,
        "period": chip.period,
        "model": f"{model.name}/{model.version}",
        "scene_ids": list(chip.scene_ids),
        **pixels.grid_columns(grid),
        "legend": model.name,
        **pixels.array_columns("classes", kept, "raw"),
        **pixels.array_columns("confidence", np.ascontiguousarray(confidence[chip.core]), "raw"),
        "class_ids": list(ids),
        "class_counts": [int(counts[i]) for i in ids],
        "nodata_count": int(counts[NODATA]),
    }


def noted(out: Path, row: Mapping[str, Any]) -> Row:
    """The ledger row of a published block, with the checksum of its file."""
    rest = {name: row[name] for name in ("status", "valid_pixels", "path")}
    return store.entry(row["stage"], row["key"], row["fingerprint"], checksum=store.checksum(out / row["path"]), **rest)


def adopt(out: Path, path: str) -> Row | None:
    """The ledger row of a block whose file a killed run published but could not note; None where the file is not whole."""
    try:
        return noted(out, chips.about(out / path))
    except InputError:
        return None

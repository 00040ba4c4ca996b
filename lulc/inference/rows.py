"""What a model says of one chip, as rows of the table that its task fills: classes, probabilities or boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lulc.inference.predictor import Predictor
from lulc.chips.chip import Chip
from lulc.config import PredictConf
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.legend import NODATA, Legend
from lulc.models.package import ModelRef
from lulc.tables import arrays

Row = dict[str, Any]


def rows_of(chip: Chip, predictor: Predictor, model: ModelRef, how: PredictConf) -> list[Row]:
    """The rows of a chip mapped by itself: one, a row for every class and square, or one for every box.

    InputError where the squares that the model knows do not fill the tile.
    """
    kind, legend = predictor.task.kind, predictor.contract.legend
    given = (chip.pixels, chip.valid, chip.scales, chip.offsets, how)
    if kind == "pixels":
        days = [time.timetuple().tm_yday for time in chip.datetimes]
        shares = make_shares(how, legend, chip.grid.shape)
        classes, confidence = predictor(*given, chip.core, days, shares)
        said = classes[chip.core], confidence[chip.core]
        return [
            prediction_row(
                chip,
                *said,
                model,
                legend.ids,
                shares=None if shares is None else shares[:, *chip.core],
            )
        ]
    if kind == "boxes":
        return _box_rows(chip, predictor.boxes(*given, _widened(chip)), model, how, legend)
    size = predictor.contract.size
    side = chip.grid.height - 2 * chip.halo
    if side % size:
        raise InputError(f"tiles of {side} pixels are no whole number of the {size} pixels that model {model.name} learned on: "
                         f"set tiling.size to a multiple of {size}")  # fmt: skip
    shares = predictor.cells(*given, chip.core)
    grid = chip.grid.pad(-chip.halo).coarsen(size)
    if kind == "tags":
        return _probability_rows(chip, grid, shares, model, legend)
    empty = np.isnan(shares).any(2)
    filled = np.where(empty[..., None], 0, shares)
    classes = np.where(empty, NODATA, legend.to_id()[filled.argmax(2)]).astype(np.uint8)
    confidence = np.where(empty, NODATA, (filled.max(2) * 100).round()).astype(np.uint8)
    percent = (
        np.where(empty, NODATA, (filled.transpose(2, 0, 1) * 100).round()).astype(np.uint8)
        if how.probabilities
        else None
    )
    return [prediction_row(chip, classes, confidence, model, legend.ids, grid, percent)]


def make_shares(how: PredictConf, legend: Legend, shape: tuple[int, ...]) -> np.ndarray | None:
    """(K, H, W) uint8 for the percentages of all classes, where they are asked for."""
    return np.full((len(legend.classes), *shape), NODATA, np.uint8) if how.probabilities else None


def _widened(chip: Chip) -> tuple[slice, slice]:
    # Neighbours do not put the centre of one thing at the very same place: what lies just outside is told too, and merged later.
    rows, cols = chip.core
    more = chip.halo // 2
    return slice(rows.start - more, rows.stop + more), slice(cols.start - more, cols.stop + more)


def prediction_row(
    chip: Chip,
    classes: np.ndarray,
    confidence: np.ndarray,
    model: ModelRef,
    ids: tuple[int, ...],
    grid: Grid | None = None,
    shares: np.ndarray | None = None,
) -> Row:
    """The row of the predictions table for a chip, on the grid of its core unless said, from its classes and confidence.

    shares: (K, H, W) uint8, the percentages of all classes, where they are kept.
    """
    counts = np.bincount(classes.ravel(), minlength=256)
    kept = {} if shares is None else arrays.array_columns("probabilities", shares, "raw")
    return {
        **_about(chip, model),
        "scene_ids": list(chip.scene_ids),
        **arrays.grid_columns(grid or chip.grid.pad(-chip.halo)),
        "legend": model.name,
        **arrays.array_columns("classes", classes, "raw"),
        **arrays.array_columns("confidence", confidence, "raw"),
        **{
            name: kept.get(name)
            for name in (
                "probabilities",
                *(f"probabilities_{p}" for p in ("shape", "dtype", "codec")),
            )
        },
        "class_ids": list(ids),
        "class_counts": [int(counts[i]) for i in ids],
        **arrays.array_columns("percent_counts", count_percents(classes, confidence, ids), "raw"),
        "nodata_count": int(counts[NODATA]),
    }


def count_percents(classes: np.ndarray, confidence: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """(K, 101) uint32: pixels of each class that are mapped with each per cent of confidence."""
    counts = np.bincount(
        classes.ravel().astype(np.int64) * 256 + confidence.ravel(), minlength=1 << 16
    )
    return np.ascontiguousarray(counts.reshape(256, 256)[list(ids), :101], np.uint32)


def _about(chip: Chip, model: ModelRef) -> Row:
    return {
        "tile_id": chip.tile_id,
        "period": chip.period,
        "model": f"{model.name}/{model.version}",
    }


def _probability_rows(
    chip: Chip, grid: Grid, shares: np.ndarray, model: ModelRef, legend: Legend
) -> list[Row]:
    rows = []
    for y, x in np.argwhere(~np.isnan(shares).any(2)).tolist():
        place = arrays.grid_columns(grid.window(y, x, 1, 1))
        for c, share in zip(legend.classes, shares[y, x].tolist(), strict=True):
            rows.append(
                {
                    **_about(chip, model),
                    **place,
                    "class_id": c.id,
                    "class_name": c.name,
                    "probability": share,
                }
            )
    return rows


def _box_rows(
    chip: Chip, found: np.ndarray, model: ModelRef, how: PredictConf, legend: Legend
) -> list[Row]:
    names = {c.id: c.name for c in legend.classes}
    col, row = (int(n) for n in chip.tile_id.rpartition("/")[2].split("_"))
    side = chip.grid.height - 2 * chip.halo
    # Pixels of the whole tiling, in which the boxes of all tiles can be laid beside each other.
    x, y = col * side - chip.halo, row * side - chip.halo
    return [
        {**_about(chip, model), "class_id": int(i), "class_name": names[int(i)], "score": score}
        | {"left": left + x, "top": top + y, "right": right + x, "bottom": bottom + y}
        for i, score, left, top, right, bottom in found[found[:, 1] >= how.score].tolist()
    ]

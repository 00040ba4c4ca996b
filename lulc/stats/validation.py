"""Agreement of published maps with held-out samples: the tables `confusion` and `accuracy`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.errors import InputError
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA, Legend
from lulc.location import Location
from lulc.stats import confusion
from lulc.tables import arrays
from lulc.tables.files import open_parquet
from lulc.tables.schemas import ACCURACY, CONFUSION
from lulc.tables.store import table_guard

Matrices = dict[tuple[str, str, str], np.ndarray]
"""(period, model, split) → (K, K + 1) confusion matrix."""

NO_MAP = ""
"""Model of the counts where no tile has been predicted."""

_ARRAY = ("", "_shape", "_dtype", "_codec")
_GRID = ["tile_id", "period", "crs", "transform", "height", "width"]
_LABEL = [*_GRID, *(f"label{suffix}" for suffix in _ARRAY)]
_CLASSES = [*_GRID, "model", *(f"classes{suffix}" for suffix in _ARRAY)]
_SCORES = ("users_accuracy", "producers_accuracy", "f1", "iou")


@dataclass(frozen=True)
class Maps:
    """The published predictions of a run."""

    out: Location
    """Output folder of the run."""
    tiling: Tiling
    """Tiling of the predictions."""
    block: int
    """Tiles along a side of a predictions file."""
    legend: Legend
    """Legend of the predictions and the labels."""
    paths: Mapping[str, str]
    """Predictions file, relative to `out`, by `<period>/<tiling>/<col>_<row>` of its first tile."""

    def read(self, tile_id: str, period: str) -> dict[str, Any] | None:
        """Read the predictions row of a tile; None where the tile has not been predicted."""
        col, row = (n // self.block * self.block for n in self.tiling.parse(tile_id))
        path = self.paths.get(f"{period}/{self.tiling.name}/{col}_{row}")
        if path is None:
            return None
        with table_guard(self.out / path):
            file = open_parquet(self.out / path)
            tile_ids = file.read(["tile_id"])["tile_id"].to_pylist()
            if tile_id not in tile_ids:
                return None
            row_group = file.read_row_group(tile_ids.index(tile_id), _CLASSES)
            return dict(row_group.to_pylist()[0])


def compare(key: Mapping[str, Any], maps: Maps) -> list[dict[str, Any]]:
    """Compare the samples of one file with the map.

    Args:
        key: `path` of the samples file relative to the output folder, and its `split`.
        maps: the published predictions.

    Returns:
        Rows of `schemas.CONFUSION`, without zeros.

    Raises:
        InputError: the map of a tile is on another grid than its samples.
    """
    by_tile = defaultdict(list)
    with table_guard(maps.out / key["path"]):
        table = open_parquet(maps.out / key["path"]).read(_LABEL)
        samples = table.to_pylist()
    for sample in samples:
        by_tile[sample["tile_id"], sample["period"]].append(sample)
    matrices = _empty_matrices(maps.legend)
    for (tile_id, period), tile_samples in by_tile.items():
        tile = maps.read(tile_id, period)
        for sample in tile_samples:
            label = arrays.array_from(sample, "label")
            classes = (
                np.full(label.shape, NODATA, np.uint8) if tile is None else _window(tile, sample)
            )
            model = NO_MAP if tile is None else tile["model"]
            matrix = confusion.confusion(label, classes, maps.legend)
            matrices[period, model, key["split"]] += matrix
    return list(confusion_table(matrices, maps.legend).to_pylist())


def _empty_matrices(legend: Legend) -> Matrices:
    shape = (len(legend.classes), len(legend.classes) + 1)
    return defaultdict(lambda: np.zeros(shape, np.int64))


def _window(tile: Mapping[str, Any], sample: Mapping[str, Any]) -> np.ndarray:
    # The classes (H, W) of a tile on the grid of a sample.
    tile_grid, sample_grid = arrays.grid_from(tile), arrays.grid_from(sample)
    x, y = ~tile_grid.affine @ (sample_grid.transform[2], sample_grid.transform[5])
    col, row = round(x), round(y)
    if (
        max(abs(x - col), abs(y - row)) > 1e-3
        or min(col, row) < 0
        or col + sample_grid.width > tile_grid.width
        or row + sample_grid.height > tile_grid.height
    ):
        raise InputError(
            f"the map of tile {tile['tile_id']} is on another grid than its samples: "
            "run `lulc samples` and `lulc predict`"
        )
    classes: np.ndarray = arrays.array_from(tile, "classes")
    return classes[row : row + sample_grid.height, col : col + sample_grid.width]


def add_up(rows: Iterable[Mapping[str, Any]], legend: Legend) -> Matrices:
    """Add up rows of `schemas.CONFUSION` to confusion matrices.

    Samples without a map count against every model that has mapped a tile of their period.

    Args:
        rows: rows from `compare`.
        legend: the K classes.

    Returns:
        (K, K + 1) matrices by period, model and split.
    """
    index = legend.to_index()
    matrices = _empty_matrices(legend)
    for row in rows:
        column = min(int(index[row["map_id"]]), len(legend.classes))
        matrix = matrices[row["period"], row["model"], row["split"]]
        matrix[index[row["label_id"]], column] += row["pixels"]
    mapped = {(period, model) for period, model, _ in matrices if model != NO_MAP}
    for (period, model, split), matrix in list(matrices.items()):
        if model == NO_MAP:
            del matrices[period, model, split]
            for mapped_period, mapped_model in mapped:
                if mapped_period == period:
                    matrices[period, mapped_model, split] += matrix
    return dict(matrices)


def confusion_table(matrices: Matrices, legend: Legend) -> pa.Table:
    """Return confusion matrices as a table.

    Returns:
        A row for every pair of label and map class that occurs (`schemas.CONFUSION`).
    """
    ids = (*legend.ids, NODATA)
    rows = [
        (*key, ids[i], ids[j], int(matrix[i, j]))
        for key, matrix in sorted(matrices.items())
        for i, j in np.argwhere(matrix).tolist()
    ]
    return pa.Table.from_pylist(
        [dict(zip(CONFUSION.names, row, strict=True)) for row in rows], CONFUSION
    )


def accuracy_table(matrices: Matrices, legend: Legend) -> pa.Table:
    """Return the scores of confusion matrices as a table.

    Returns:
        For every matrix a row a class, and one for all classes (class_id null) with overall
        accuracy and, as `iou`, mean IoU (`schemas.ACCURACY`). A score that is not defined, for want
        of pixels, is null.
    """
    rows: list[dict[str, Any]] = []
    for (period, model, split), matrix in sorted(matrices.items()):
        scores = confusion.summarise(matrix, legend)
        key: dict[str, Any] = {"period": period, "model": model, "split": split}
        overall = {"overall_accuracy": scores.overall_accuracy, "iou": scores.mean_iou}
        rows.append(key | {"pixels": scores.pixels} | _null_nan(overall))
        for score in scores.classes:
            entry = {"class_id": score.id, "class_name": score.name, "pixels": score.pixels}
            rows.append(key | entry | _null_nan({name: getattr(score, name) for name in _SCORES}))
    return pa.Table.from_pylist(rows, ACCURACY)


def _null_nan(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(score) else score for name, score in scores.items()}


def rows_hardly_mapped(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Describe the classes of one matrix that are labelled and hardly mapped.

    Args:
        rows: its rows of `schemas.ACCURACY`, the one of all classes among them.

    Returns:
        For each such class its name, its share of the labels and its IoU.
    """
    total = next(row["pixels"] for row in rows if row["class_id"] is None)
    return [
        f"{row['class_name']} ({row['pixels'] / total:.1%} of the labels, IoU {row['iou']:.3f})"
        for row in rows
        if row["class_id"] is not None
        and confusion.is_hardly_mapped(row["pixels"], total, row["iou"])
    ]


def format_accuracy(accuracy: pa.Table) -> str:
    """Describe the scores on the test split in one line, by period where there are several.

    Classes that are labelled and hardly mapped are named, and those that no pixel checks.
    """
    by_period = defaultdict(list)
    for row in accuracy.to_pylist():
        if row["split"] == "test":
            by_period[row["period"], row["model"]].append(row)
    lines = []
    for (period, _), rows in by_period.items():
        overall = next(row for row in rows if row["class_id"] is None)
        if not overall["pixels"]:
            continue
        line = (
            f"accuracy {overall['overall_accuracy']:.3f}, mean IoU {overall['iou']:.3f} "
            f"on {overall['pixels']:,} test pixels"
        )
        if vanished := rows_hardly_mapped(rows):
            line += f", WARNING: hardly mapped {', '.join(vanished)}"
        if unchecked := [row["class_name"] for row in rows if not row["pixels"]]:
            line += f", not checked for lack of test pixels: {', '.join(unchecked)}"
        lines.append((period, line))
    has_periods = len({period for period, _ in lines}) > 1
    texts = [f"{period}: {line}" if has_periods else line for period, line in lines]
    return "; ".join(texts) or "no test pixels to compare with"

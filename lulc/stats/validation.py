"""How a published map agrees with held-out samples: confusion counts file by file, then the tables `confusion` and `accuracy`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA, Legend
from lulc.stats import confusion
from lulc.tables import arrays
from lulc.tables.schemas import ACCURACY, CONFUSION

Matrices = dict[tuple[str, str, str], np.ndarray]
"""(period, model, split) → (K, K + 1) confusion matrix."""

NO_MAP = ""
"""Model of the counts where no tile has been predicted."""

_ARRAY = ("", "_shape", "_dtype", "_codec")
_PLACE = ["tile_id", "period", "crs", "transform", "height", "width"]
_LABEL = [*_PLACE, *(f"label{part}" for part in _ARRAY)]
_CLASSES = [*_PLACE, "model", *(f"classes{part}" for part in _ARRAY)]


@dataclass(frozen=True)
class Maps:
    """Where predictions lie: `paths` (relative to `out`) by the `<period>/<tiling>/<col>_<row>` of `block` x `block` tiles."""

    out: Path
    tiling: Tiling
    block: int
    legend: Legend
    paths: Mapping[str, str]

    def read(self, tile_id: str, period: str) -> dict[str, Any] | None:
        """The predictions row of a tile, None where there is none."""
        col, row = (n // self.block * self.block for n in self.tiling.parse(tile_id))
        path = self.paths.get(f"{period}/{self.tiling.name}/{col}_{row}")
        if path is None:
            return None
        file = pq.ParquetFile(self.out / path)
        tiles = file.read(["tile_id"])["tile_id"].to_pylist()
        return (
            file.read_row_group(tiles.index(tile_id), _CLASSES).to_pylist()[0]
            if tile_id in tiles
            else None
        )


def compare(key: Mapping[str, Any], maps: Maps) -> list[dict[str, Any]]:
    """The rows of CONFUSION, zeros left out, of the samples in one file (`path`) of a `split`, on the classes mapped there."""
    by_tile = defaultdict(list)
    for sample in pq.read_table(
        maps.out / key["path"], columns=_LABEL, partitioning=None
    ).to_pylist():
        by_tile[sample["tile_id"], sample["period"]].append(sample)
    matrices: Matrices = defaultdict(
        lambda: np.zeros((len(maps.legend.classes), len(maps.legend.classes) + 1), np.int64)
    )
    for (tile_id, period), samples in by_tile.items():
        found = maps.read(tile_id, period)
        for sample in samples:
            label = arrays.array_from(sample, "label")
            classes = (
                np.full(label.shape, NODATA, np.uint8) if found is None else _window(found, sample)
            )
            model = NO_MAP if found is None else found["model"]
            matrices[period, model, key["split"]] += confusion.confusion(
                label, classes, maps.legend
            )
    return list(confusion_table(matrices, maps.legend).to_pylist())


def _window(found: Mapping[str, Any], sample: Mapping[str, Any]) -> np.ndarray:
    grid, place = arrays.grid_from(found), arrays.grid_from(sample)
    x, y = ~grid.affine @ (place.transform[2], place.transform[5])
    col, row = round(x), round(y)
    if (
        max(abs(x - col), abs(y - row)) > 1e-3
        or min(col, row) < 0
        or col + place.width > grid.width
        or row + place.height > grid.height
    ):
        raise InputError(
            f"the map of tile {found['tile_id']} is on another grid than its samples: run `lulc samples` and `lulc predict`"
        )
    classes: np.ndarray = arrays.array_from(found, "classes")
    return classes[row : row + place.height, col : col + place.width]


def add_up(rows: Iterable[Mapping[str, Any]], legend: Legend) -> Matrices:
    """The confusion matrices that rows of CONFUSION give; ground without a map counts against every model of its period."""
    index = legend.to_index()
    sums: Matrices = defaultdict(
        lambda: np.zeros((len(legend.classes), len(legend.classes) + 1), np.int64)
    )
    for row in rows:
        column = min(int(index[row["map_id"]]), len(legend.classes))
        sums[row["period"], row["model"], row["split"]][index[row["label_id"]], column] += row[
            "pixels"
        ]
    mapped = {(period, model) for period, model, _ in sums if model != NO_MAP}
    for (period, model, split), matrix in list(sums.items()):
        if model == NO_MAP:
            del sums[period, model, split]
            for other in (m for p, m in mapped if p == period):
                sums[period, other, split] += matrix
    return dict(sums)


def confusion_table(matrices: Matrices, legend: Legend) -> pa.Table:
    """The matrices as a table, a row for every pair of label and map class that occurs."""
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
    """The scores as a table: a row a class, and one for all (class_id null) with overall accuracy and, as `iou`, mean IoU.

    A score that is not defined, for want of pixels, is null.
    """
    rows: list[dict[str, Any]] = []
    for (period, model, split), matrix in sorted(matrices.items()):
        found = confusion.summarise(matrix, legend)
        common: dict[str, Any] = {"period": period, "model": model, "split": split}
        rows.append(
            common
            | {
                "pixels": found.pixels,
                "overall_accuracy": found.overall_accuracy,
                "iou": found.mean_iou,
            }
        )
        for one in found.classes:
            shares = {
                name: getattr(one, name)
                for name in ("users_accuracy", "producers_accuracy", "f1", "iou")
            }
            rows.append(
                common | {"class_id": one.id, "class_name": one.name, "pixels": one.pixels} | shares
            )
    plain = [
        {n: None if isinstance(v, float) and math.isnan(v) else v for n, v in row.items()}
        for row in rows
    ]
    return pa.Table.from_pylist(plain, ACCURACY)


def format_accuracy(accuracy: pa.Table) -> str:
    """What a user is told of an accuracy table: the scores on the test split, by period where there are several."""
    rows = [
        row
        for row in accuracy.to_pylist()
        if row["class_id"] is None and row["split"] == "test" and row["pixels"]
    ]
    several = len({row["period"] for row in rows}) > 1
    parts = [
        (f"{row['period']}: " if several else "")
        + f"accuracy {row['overall_accuracy']:.3f}, mean IoU {row['iou']:.3f} on {row['pixels']:,} test pixels"
        for row in rows
    ]
    return "; ".join(parts) or "no test pixels to compare with"

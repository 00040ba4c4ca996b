"""Small predictions tables, for tests of the stages after predict."""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.geo.grid import Grid
from lulc.legend import NODATA, LandClass, Legend
from lulc.maps.prediction_row import count_percents
from lulc.tables import schemas
from lulc.tables.arrays import array_columns, grid_columns

MODEL = "m/1"
LEGEND = Legend(
    "l", tuple(LandClass(i, name, "#808080") for i, name in enumerate(("zero", "one", "two")))
)


def random_tile(
    rng: np.random.Generator, grid: Grid, tile_id: str, period: str = "p"
) -> dict[str, Any]:
    """Return a row of PREDICTIONS with patches of three classes and some nodata."""
    coarse = rng.choice(
        np.array([0, 1, 2, NODATA], np.uint8),
        ((grid.height + 6) // 7, (grid.width + 4) // 5),
        p=[0.4, 0.3, 0.2, 0.1],
    )
    classes = np.ascontiguousarray(
        np.kron(coarse, np.ones((7, 5), np.uint8))[: grid.height, : grid.width]
    )
    ids, counts = np.unique(classes[classes != NODATA], return_counts=True)
    rest: dict[str, Any] = {
        "tile_id": tile_id,
        "period": period,
        "model": MODEL,
        "scene_ids": ["s"],
        "legend": LEGEND.name,
        "class_ids": ids.tolist(),
        "class_counts": counts.tolist(),
        "nodata_count": int((classes == NODATA).sum()),
    }
    confidence = np.where(classes == NODATA, NODATA, rng.integers(30, 101, classes.shape)).astype(
        np.uint8
    )
    percents = count_percents(classes, confidence, ids.tolist())
    entropy = np.where(classes == NODATA, NODATA, 100 - confidence // 2).astype(np.uint8)
    rest["entropy_sums"] = [int(entropy[classes == i].sum()) for i in ids]
    arrays = {
        "classes": classes,
        "confidence": confidence,
        "entropy": entropy,
        "percent_counts": percents,
    }
    columns = (array_columns(name, array, "raw") for name, array in arrays.items())
    return functools.reduce(operator.or_, columns, rest | grid_columns(grid))


def write_block(folder: Path, tiles: list[dict[str, Any]], name: str = "p.0_0.f") -> Path:
    """Write a predictions file, one row group a tile."""
    path = folder / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(tiles, schemas.PREDICTIONS), path, row_group_size=1)
    return path

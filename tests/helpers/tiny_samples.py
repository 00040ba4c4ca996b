"""A small samples table on disk whose classes follow from the bands, and a job to learn it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.config import TrainConf
from lulc.geo.grid import Grid
from lulc.legend import LandClass, Legend
from lulc.tables import arrays, schemas
from lulc.training.setup import TrainJob

LEGEND = Legend(
    "toy",
    (
        LandClass(7, "water", "#0000ff"),
        LandClass(2, "trees", "#00aa00"),
        LandClass(40, "sand", "#ddcc88"),
    ),
)
BANDS = ("red", "nir")
SIDE = 32
SCALE, OFFSET = 0.0001, -0.1

# DN of the classes' two bands.
_CENTRES = np.array([[1500, 1200], [1600, 4000], [4000, 4500]])


def make_sample(seed: int, dates: int = 1) -> dict[str, np.ndarray]:
    """Return three classes in blobs: pixels (T, C, H, W), valid (T, H, W) and label (H, W)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, (4, 4))
    index = np.kron(coarse, np.ones((SIDE // 4, SIDE // 4), int))
    image = _CENTRES[index].transpose(2, 0, 1)[None] + rng.normal(0, 150, (dates, 2, SIDE, SIDE))
    valid = rng.random((dates, SIDE, SIDE)) > 0.05
    label = np.array(LEGEND.ids, np.uint8)[index]
    label[rng.random(label.shape) < 0.1] = 255
    return {
        "pixels": np.where(valid[:, None], image, 0).astype(np.uint16),
        "valid": valid,
        "label": label,
    }


def write_samples(
    folder: Path,
    training: int = 24,
    validation: int = 8,
    dates: int = 1,
    group: int = 4,
    task: str = "segment",
) -> Path:
    """Write a samples table with two splits in row groups of `group` samples."""
    grid = arrays.grid_columns(Grid("EPSG:6933", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), SIDE, SIDE))
    for split, numbers in {
        "train": range(training),
        "validation": range(1000, 1000 + validation),
    }.items():
        rows = []
        for number in numbers:
            found = make_sample(number, dates)
            row = (
                dict.fromkeys(schemas.SAMPLES.names)
                | grid
                | {"sample_id": f"s{number}", "task": task, "bands": list(BANDS), "weight": 1.0}
            )
            row |= arrays.array_columns("pixels", found["pixels"], "delta") | arrays.array_columns(
                "label", found["label"], "raw"
            )
            rows.append(
                row
                | {
                    "valid": arrays.pack(found["valid"]),
                    "scales": [SCALE] * 2,
                    "offsets": [OFFSET] * 2,
                    "halo": 0,
                }
            )
        if rows:
            path = folder / f"split={split}" / "00000.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows, schemas.SAMPLES), path, row_group_size=group)
    return folder


def make_job(samples: Path, folder: Path, **settings: object) -> TrainJob:
    """Return a small training job: a U-Net of depth 3 in float32."""
    small: dict[str, Any] = {
        "depth": 3,
        "decoder": (32, 16, 16),
        "batch": 8,
        "rate": 3e-3,
        "epochs": 3,
        "precision": "float32",
        "repeats": 2,
    }
    return TrainJob(TrainConf(**(small | settings)), LEGEND, samples, folder, bands=BANDS)

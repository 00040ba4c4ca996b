"""One sample on disk with two dates, three bands, a feature among them, and two classes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from lulc.geo.grid import Grid
from lulc.legend import NODATA, LandClass, Legend
from lulc.samples import table
from lulc.tables import arrays
from lulc.tables.encoding import Encoding

BANDS = ("red", "nir", "ndvi:p10")
SIDE = 16
GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), SIDE, SIDE)
LEGEND = Legend("two", (LandClass(7, "water", "#0000ff"), LandClass(2, "trees", "#00aa00")))


def publish_sample(out: Path, split: str, task: str = "segment") -> None:
    """Write a samples file of one sample into a split."""
    rng = np.random.default_rng(0)
    label = np.where(np.arange(SIDE)[:, None] < 8, 7, 2) * np.ones((1, SIDE), int)
    label[rng.random(label.shape) < 0.3] = NODATA
    valid = rng.random((2, SIDE, SIDE)) < 0.8
    pixels = rng.integers(1, 65535, (2, 3, SIDE, SIDE)).astype(np.uint16) * valid[:, None]
    encoding = Encoding(BANDS, "uint16", (1e-4, 1e-4, 2 / 65535), (0.0, 0.0, -1.0))
    row = table.SampleRow(
        sample_id=f"t/p/{split}",
        tile_id="t/0_0",
        period="p",
        source="geotiff",
        scene_ids=("a", "b"),
        datetimes=(datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)),
        georeference=arrays.grid_columns(GRID),
        encoding=encoding,
        pixels=pixels,
        valid=valid,
        label=label.astype(np.uint8),
        dataset="d",
        task=task,
        legend=LEGEND,
        block="0_0",
        class_counts=[int((label == 7).sum()), int((label == 2).sum())],
        weight=1.0,
    )
    key = {"split": split, "name": "a", "fingerprint": "0" * 16}
    table.publish_rows(out, key, [row.to_row()], LEGEND)

"""The samples table: its rows, and its files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.legend import Legend
from lulc.location import Location
from lulc.tables import arrays, layout, schemas
from lulc.tables.encoding import Encoding
from lulc.tables.files import open_parquet, write_atomic
from lulc.tables.geoparquet import write_file
from lulc.tables.store import options_of_pixels

GROUP_BYTES = 32 << 20
"""Pixels, valid masks and labels of a file, which is one row group, in bytes before compression."""

MIN_FILES = 4
"""Files of a split, when it has as many samples: several ranks can then share it."""


@dataclass(frozen=True, eq=False)
class SampleRow:
    """One sample."""

    sample_id: str
    tile_id: str
    period: str
    source: str
    scene_ids: Sequence[str]
    datetimes: Sequence[datetime]
    """Of its dates, in order of time; empty where they are unknown."""
    georeference: Mapping[str, Any]
    """The GRID columns."""
    encoding: Encoding
    pixels: np.ndarray
    """(T, C, size, size) in the encoding's numbers."""
    valid: np.ndarray
    """(T, size, size) bool."""
    label: np.ndarray
    """The truth, of the shape and type that the task has (see `schemas.SAMPLES`)."""
    dataset: str
    task: str
    legend: Legend
    block: str
    """Spatial block of the split."""
    class_counts: list[int]
    """Labelled pixels, images or boxes, parallel to the legend."""
    weight: float

    def to_row(self) -> dict[str, Any]:
        """Return the row of the samples table."""
        # Only class rasters have neighbours that are alike.
        is_raster = self.label.ndim == 2 and self.label.dtype == np.uint8
        row: dict[str, Any] = {
            "sample_id": self.sample_id,
            "tile_id": self.tile_id,
            "period": self.period,
            "source": self.source,
            "scene_ids": list(self.scene_ids),
            "datetimes": list(self.datetimes),
            "halo": 0,
            "bands": list(self.encoding.bands),
            "scales": list(self.encoding.scales),
            "offsets": list(self.encoding.offsets),
            "units": list(self.encoding.units or ("",) * len(self.encoding.bands)),
            "valid": arrays.pack(self.valid),
            "clear": float(self.valid.any(0).mean()),
            "dataset": self.dataset,
            "task": self.task,
            "legend": self.legend.name,
            "block": self.block,
            "class_ids": list(self.legend.ids),
            "class_counts": self.class_counts,
            "weight": self.weight,
        }
        row |= self.georeference
        row |= arrays.array_columns("pixels", self.pixels, "delta")
        return row | arrays.array_columns("label", self.label, "delta" if is_raster else "raw")


def sample_id(row: Mapping[str, Any]) -> str:
    """Return the id of a sample of the lattice, `<tiling>/<period>/<col>_<row>`.

    Args:
        row: `tile_id`, `period`, and `col` and `row` of the lattice.
    """
    tiling = row["tile_id"].rpartition("/")[0]
    return f"{tiling}/{row['period']}/{row['col']}_{row['row']}"


def count_classes(label: np.ndarray, task: str, legend: Legend) -> list[int]:
    """Return how often each class is in a label, parallel to the legend.

    Args:
        label: of multilabel (K,) 0 or 1; of detect (N, 5), whose first column is the class id; of
            all other tasks class ids of any shape.
        task: the label's task.
        legend: the classes that count.
    """
    if task == "multilabel":
        return [int(n) for n in label]
    ids = label[:, 0].astype(np.int64) if task == "detect" else label.ravel()
    counts: list[int] = np.bincount(ids, minlength=256)[list(legend.ids)].tolist()
    return counts


def absent_classes(samples_files: Iterable[Location], legend: Legend) -> dict[str, list[str]]:
    """Return the classes that no sample of a dataset holds.

    Args:
        samples_files: files of the samples table.
        legend: of the samples.

    Returns:
        Dataset → names of these classes, for each dataset that lacks one.
    """
    totals: dict[str, np.ndarray] = {}
    for file in samples_files:
        columns = open_parquet(file).read(["dataset", "class_counts"])
        for dataset, counts in zip(*(column.to_pylist() for column in columns), strict=True):
            totals[dataset] = totals.get(dataset, np.zeros(len(counts), np.int64)) + counts
    return {
        dataset: [c.name for c, count in zip(legend.classes, counts, strict=True) if not count]
        for dataset, counts in sorted(totals.items())
        if not counts.all()
    }


def split_evenly[T](items: Sequence[T], count: int) -> list[Sequence[T]]:
    """Return `count` runs of some items, whose lengths differ by one at most."""
    bounds = [n * len(items) // count for n in range(count + 1)]
    return [items[start:end] for start, end in itertools.pairwise(bounds)]


def publish_rows(
    out: Location,
    key: Mapping[str, Any],
    rows: list[dict[str, Any]],
    legend: Legend,
    footer: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Publish a samples file of some rows, which are its one row group.

    Args:
        out: the output location.
        key: `split`, `name` and `fingerprint` of the file.
        rows: of the samples table, in their order in the file.
        legend: of the labels; kept in the file's footer.
        footer: what the footer holds beside what every samples file has; plain values.

    Returns:
        The whole footer, as `read_footer` gives it back.
    """
    path = file_path(key["split"], key["name"], key["fingerprint"])
    whole_footer = {
        "stage": "samples",
        "key": file_key(key["split"], key["name"]),
        "fingerprint": key["fingerprint"],
        **(footer or {}),
        "legend": asdict(legend),
        "status": "done",
        "valid_pixels": sum(sum(row["class_counts"]) for row in rows),
        "path": path,
    }
    table = pa.Table.from_pylist(rows, schemas.SAMPLES)
    metadata = {"lulc": json.dumps(whole_footer)}
    options = {**options_of_pixels(schemas.SAMPLES), "row_group_size": max(1, len(rows))}
    write_atomic(out / path, lambda file: write_file(file, table, metadata, **options))
    return whole_footer


def file_key(split: str, name: str) -> str:
    """Return a samples file's key in the ledger."""
    return f"{split}/{name}"


def file_path(split: str, name: str, fingerprint: str) -> str:
    """Return where a samples file lies, relative to the output location."""
    return layout.samples_file(split, name, fingerprint)

"""Files of the samples table: their names, sizes and how they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lulc.tables import schemas
from lulc.tables.files import write_atomic

GROUP_BYTES = 32 << 20
"""Of pixels, valid masks and labels in a file, which is one row group, before compression."""

MIN_FILES = 4
"""Files a split, when it has as many samples: several ranks can then share it."""


def sample_id(row: Mapping[str, Any]) -> str:
    """`<tiling>/<period>/<col>_<row>` of the lattice of samples."""
    return f"{row['tile_id'].rpartition('/')[0]}/{row['period']}/{row['col']}_{row['row']}"


def publish_rows(
    out: Path, path: str, rows: list[dict[str, Any]], about: Mapping[str, Any]
) -> None:
    """A samples file of these rows, which are its one row group; `about` and what follows from the rows go to its footer."""
    labelled = sum(sum(row["class_counts"]) for row in rows)
    said = {**about, "status": "done", "valid_pixels": labelled, "path": path}
    table = pa.Table.from_pylist(rows, schemas.SAMPLES.with_metadata({"lulc": json.dumps(said)}))
    # Pixels are differences already: a dictionary or statistics of them cost time and say nothing.
    keyed = [field.name for field in table.schema if not pa.types.is_binary(field.type)]
    options = {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": False,
        "write_statistics": keyed,
    }
    write_atomic(
        out / path,
        lambda beside: pq.write_table(table, beside, row_group_size=max(1, len(rows)), **options),
    )


def file_key(split: str, name: str) -> str:
    """A samples file's key in the ledger."""
    return f"{split}/{name}"


def file_path(split: str, name: str, fingerprint: str) -> str:
    """Where a samples file lies, relative to the output folder."""
    return f"tables/samples/split={split}/{name}.{fingerprint}.parquet"

"""What a model says of whole images or of things in them: a table with rows for every image file of a folder."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lulc.errors import UsageError
from lulc.inference import detections
from lulc.tables import files, schemas, store
from lulc.tables.store import ITEMS_FILE

Row = dict[str, Any]


@dataclass(frozen=True)
class ItemTable:
    """A table under way. rows: by item, those of an image; an image of which nothing is told has none."""

    name: str
    schema: pa.Schema
    rows: dict[str, list[Row]]

    @property
    def path(self) -> str:
        """Where it lies, relative to the output folder."""
        return f"tables/{self.name}/{ITEMS_FILE}"

    def write(self, out: Path) -> None:
        """Nothing; the table stands when it returns. Boxes of images without a place on the ground are in pixels."""
        rows = [row for item in sorted(self.rows) for row in self.rows[item]]
        table = pa.Table.from_pylist(rows, self.schema)
        if self.name == "detections":
            placed = all(row["crs"] for row in rows)
            table = table.replace_schema_metadata(
                {"geo": detections.IN_DEGREES if placed else detections.IN_PIXELS}
            )
        path = out / self.path
        if not (path.exists() and pq.read_table(path, partitioning=None).equals(table)):
            files.write_atomic(
                path, lambda beside: pq.write_table(table, beside, compression="zstd")
            )


def open_table(out: Path, kind: str) -> ItemTable:
    """The table for a task's kind with what stands in it; UsageError where a run's own table of that name lies in the folder."""
    name, schema = (
        ("detections", schemas.DETECTIONS)
        if kind == "boxes"
        else ("predictions", schemas.ITEM_CLASSES)
    )
    folder = store.table_folder(out, name)
    others = [file for file in folder.glob("*.parquet") if file.name != ITEMS_FILE]
    if others:
        raise UsageError(
            f"{folder} holds the {name} of a run, those of images would mix with them: give another --out, and the registry by "
            f"MLFLOW_TRACKING_URI=sqlite:///{(out / 'mlflow.db').resolve()}"
        )
    rows: dict[str, list[Row]] = defaultdict(list)
    if (folder / ITEMS_FILE).exists():
        for row in pq.read_table(folder / ITEMS_FILE, schema=schema, partitioning=None).to_pylist():
            rows[row["item"]].append(row)
    return ItemTable(name, schema, dict(rows))

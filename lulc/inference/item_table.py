"""Predictions for whole image files, or for objects in them, as a table of a folder of images."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lulc.errors import UsageError
from lulc.geo.grid import WGS84
from lulc.location import Location
from lulc.tables import files, geoparquet, layout, schemas
from lulc.tables.files import for_arrow, open_parquet
from lulc.tables.store import table_guard


@dataclass(frozen=True)
class ItemTable:
    """A table that is being filled."""

    name: str
    schema: pa.Schema
    rows: dict[str, list[dict[str, Any]]]
    """By item, which is an image file's path under its folder; an image without predictions has
    none."""

    @property
    def path(self) -> str:
        """The table's file, relative to the output location."""
        return layout.items_file(self.name)

    def write(self, out: Location) -> None:
        """Write the table, unless the file holds the same rows already.

        Boxes of images without georeference are in pixels.
        """
        rows = [row for item in sorted(self.rows) for row in self.rows[item]]
        table = pa.Table.from_pylist(rows, self.schema)
        location = out / self.path
        if files.exists(location):
            before = open_parquet(location).read(self.schema.names)
            if before.equals(table):
                return
        crs = WGS84 if all(row.get("crs", True) for row in rows) else None
        files.write_atomic(location, lambda path: geoparquet.write_file(path, table, crs=crs))


def open_table(out: Location, kind: str) -> ItemTable:
    """Open the table of an output location, with the rows that it holds already.

    Args:
        out: the output location.
        kind: of the task.

    Returns:
        Table `detections` for boxes, else `predictions`.

    Raises:
        UsageError: the location has a table of that name that belongs to a run.
    """
    name, schema = "predictions", schemas.ITEM_CLASSES
    if kind == "boxes":
        name, schema = "detections", schemas.DETECTIONS
    location = out / layout.items_file(name)
    if any(file != location for file in files.list_tables(location.parent)):
        from lulc.models.registry import store_uri  # MLflow is an extra

        uri = store_uri(None, out)
        model = f"the registry by MLFLOW_TRACKING_URI={uri}" if uri else "the model by its address"
        raise UsageError(
            f"{location.parent} holds the {name} of a run, and those of images would mix with "
            f"them: give another --out, and {model}"
        )
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if files.exists(location):
        with table_guard(location):
            table = pq.read_table(for_arrow(location), schema=schema, partitioning=None)
        for row in table.to_pylist():
            rows[row["item"]].append(row)
    return ItemTable(name, schema, dict(rows))

"""How results are kept: atomic publishing, fingerprints, small tables and the ledger, all under one output folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.tables import files, schemas
from lulc.tables.files import write_atomic

ITEMS_FILE = "items.parquet"
"""The file of a table that tells of the image files of a folder."""


def table_folder(out: Path, name: str) -> Path:
    """Where the table of this name lies under an output folder."""
    return out / "tables" / name


def schema_of(out: Path, name: str) -> pa.Schema:
    """The schema of the table of this name there: `predictions` are of tiles, or of the image files of a folder."""
    items = name == "predictions" and (table_folder(out, name) / ITEMS_FILE).exists()
    return schemas.ITEM_CLASSES if items else schemas.ALL[name]


def write_table(
    out: Path, name: str, table: pa.Table, metadata: Mapping[str, str] | None = None
) -> Path:
    """Path of the small table's one file, which replaces what stood there in one step."""
    table = table.cast(schemas.ALL[name])
    if metadata:
        table = table.replace_schema_metadata(dict(metadata))
    path = table_folder(out, name) / "part-0.parquet"
    write_atomic(path, lambda beside: pq.write_table(table, beside, compression="zstd"))
    return path


def read_table(out: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    """The table (or some of its columns), checked against its schema; an empty one where nothing has been written."""
    schema = schema_of(out, name)
    folder = table_folder(out, name)
    if not folder.is_dir() or not any(folder.rglob("[!.]*.parquet")):
        return schema.empty_table().select(columns or schema.names)
    found = ds.dataset(folder, format="parquet", partitioning="hive")
    schemas.check_schema(found.schema, schema, str(folder))
    return found.to_table(columns=columns or schema.names)


def write_rows(
    path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, about: Mapping[str, Any]
) -> None:
    """A Parquet file published at `path`: one row group a row, and `about` as JSON under the footer's key `lulc`."""
    # Pixels are differences already: a dictionary or statistics of them cost time and say nothing.
    keyed = [field.name for field in schema if not pa.types.is_binary(field.type)]
    options = {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": False,
        "write_statistics": keyed,
    }

    def write(beside: Path) -> None:
        with pq.ParquetWriter(
            beside, schema.with_metadata({"lulc": json.dumps(about)}), **options
        ) as writer:
            for row in rows:
                writer.write_table(pa.Table.from_pylist([dict(row)], schema))

    files.write_atomic(path, write)


def read_footer(path: Path) -> dict[str, Any]:
    """What the writer of a file of rows said of it in the footer; InputError where it is not such a file."""
    try:
        found: dict[str, Any] = json.loads(pq.read_schema(path).metadata[b"lulc"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} was not written whole by this project: delete it and run the stage that makes it"
        ) from error
    return found


def read_rows(
    path: Path | str, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a file, one row group held at a time; some columns or row groups where given."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups) if groups is None else groups:
            yield from file.read_row_group(
                group, columns=list(columns) if columns else None
            ).to_pylist()

"""Tables under an output location: small ones of one file, and files of rows with pixels."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.location import Location, relative_name
from lulc.tables import files, geoparquet, layout, schemas
from lulc.tables.arrow_files import arrow_filesystem
from lulc.tables.files import open_parquet, write_atomic

_FOOTER_KEY = b"lulc"
_FOOTERS_READ = 16


def table_folder(out: Location, name: str) -> Location:
    """Return where the table of this name lies."""
    return out / layout.table(name)


@contextlib.contextmanager
def table_guard(location: Location | str) -> Iterator[None]:
    """Guard the reading of a file of a table, or of the table's folder."""
    with read_guard(location, "delete the damaged file and run the stage that makes it"):
        yield


def schema_of(out: Location, name: str) -> pa.Schema:
    """Return the schema of the table of this name there.

    `predictions` are of tiles, or of the image files of a folder.
    """
    of_items = name == "predictions" and files.exists(out / layout.items_file(name))
    return schemas.ITEM_CLASSES if of_items else schemas.ALL[name]


def write_table(
    out: Location, name: str, table: pa.Table, metadata: Mapping[str, str] | None = None
) -> Location:
    """Write a table of one file; the file before it is replaced in one step.

    Args:
        out: the output location.
        name: the table's name, a key of `schemas.ALL`.
        table: its rows, which are cast to the table's schema.
        metadata: further metadata of the file.

    Returns:
        Where the file lies.
    """
    location = out / layout.table_file(name)
    table = table.cast(schemas.ALL[name])
    write_atomic(location, lambda path: geoparquet.write_file(path, table, metadata))
    return location


def read_table(out: Location, name: str, columns: list[str] | None = None) -> pa.Table:
    """Return a table, or some of its columns; an empty one where nothing has been written.

    Raises:
        InputError: a file is damaged, or lacks columns of the table's schema.
    """
    schema = schema_of(out, name)
    folder = table_folder(out, name)
    tables = files.list_tables(folder)
    if not tables:
        return schema.empty_table().select(columns or schema.names)
    with table_guard(folder):
        dataset = open_dataset(folder, tables)
        schemas.check_schema(dataset.schema, schema, str(folder))
        wanted = columns or schema.names
        table = dataset.to_table(columns=[n for n in wanted if n in dataset.schema.names])
        for added in set(wanted) - set(table.column_names):
            nulls = pa.nulls(table.num_rows, schema.field(added).type)
            table = table.append_column(added, nulls)
        table = table.select(wanted)
        # What the first of many files says of itself is not said of all.
        fields = [f.with_metadata(schema.field(f.name).metadata) for f in table.schema]
        return table.cast(pa.schema(fields))


def open_dataset(folder: Location, tables: Sequence[Location] = ()) -> ds.Dataset:
    """Open the finished Parquet files of a table's folder as one dataset.

    Args:
        folder: the table's; folders `<column>=<value>` in it are a column.
        tables: its files, where they are listed already.
    """
    filesystem, root = arrow_filesystem(folder)
    names = [relative_name(file, folder) for file in tables or files.list_tables(folder)]
    return ds.dataset(
        [f"{root}/{name}" for name in names],
        format="parquet",
        partitioning="hive",
        partition_base_dir=root,
        filesystem=filesystem,
    )


def write_rows(
    location: Location,
    rows: Iterable[Mapping[str, Any]],
    schema: pa.Schema,
    footer: Mapping[str, Any],
) -> None:
    """Publish a Parquet file of one row group a row.

    Args:
        location: where the file is to lie.
        rows: rows of the schema, held one at a time.
        schema: the table's schema.
        footer: what `read_footer` gives back; plain values.
    """
    options = options_of_pixels(schema)
    metadata = {_FOOTER_KEY.decode(): json.dumps(footer)}

    def write_file(path: Path) -> None:
        with geoparquet.open_writer(path, schema, metadata, **options) as write:
            for row in rows:
                write(pa.Table.from_pylist([dict(row)], schema))

    write_atomic(location, write_file)


def options_of_pixels(schema: pa.Schema) -> dict[str, Any]:
    """Return how `geoparquet.open_writer` writes a table that holds pixels."""
    # They are differences already: a dictionary or statistics of them cost time and say nothing.
    with_statistics = [field.name for field in schema if not pa.types.is_binary(field.type)]
    return {
        "compression_level": 1,
        "use_dictionary": False,
        "write_statistics": with_statistics,
    }


def read_footer(location: Location) -> dict[str, Any]:
    """Return what the writer of a file of rows put in its footer.

    Raises:
        InputError: the file is not there, or was not written whole by `write_rows`.
    """
    try:
        schema = open_parquet(location).schema_arrow
        footer: dict[str, Any] = json.loads(schema.metadata[_FOOTER_KEY])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{location} is not a whole file of this project: "
            "delete it and run the stage that makes it"
        ) from error
    return footer


def read_some_footers(locations: Sequence[Location]) -> list[dict[str, Any]]:
    """Return the footers of some files, at most 16, spread evenly over those that are given.

    A file without one, which `write_rows` did not write, is left out.
    """
    footers = []
    for location in locations[:: -(-len(locations) // _FOOTERS_READ) or 1]:
        with contextlib.suppress(InputError):
            footers.append(read_footer(location))
    return footers


def read_rows(
    location: Location | str,
    columns: Sequence[str] | None = None,
    row_groups: Sequence[int] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file; one row group is held at a time.

    Args:
        location: a Parquet file.
        columns: the columns to read, all by default.
        row_groups: the row groups to read, all by default.

    Raises:
        InputError: the file is missing or damaged.
    """
    with table_guard(location), open_parquet(location) as file:
        for group in range(file.num_row_groups) if row_groups is None else row_groups:
            table = file.read_row_group(group, columns=list(columns) if columns else None)
            yield from table.to_pylist()

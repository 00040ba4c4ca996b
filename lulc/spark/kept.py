"""What tasks of an unfinished stage gave: a run that is killed need not do them again.

A stage that makes a table of all that its tasks give has nothing to show until the last has ended.
Each task keeps what it gave in a file of its own, which the next run reads instead of doing it.
The files are removed once the stage is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from lulc.location import Location
from lulc.spark.workers import Row
from lulc.tables import files
from lulc.tables.files import fingerprint_of


def keep_rows[Key](
    work: Callable[[Key], Iterable[Row]], folder: Location, schema: pa.Schema
) -> Callable[[Key], list[Row]]:
    """Return work that keeps what it gives for a key, and gives it again instead of doing it again.

    Args:
        work: gets a key and returns rows; those with an `error` are not kept.
        folder: holds what was kept for the same stage of the same fingerprint; it need not be
            there.
        schema: of the rows.
    """
    return partial(_rows, keep_table(partial(_table, work, schema), folder))


def keep_table[Key](work: Callable[[Key], pa.Table], folder: Location) -> Callable[[Key], pa.Table]:
    """Return work that keeps the table that it gives for a key, as `keep_rows` keeps rows."""
    return partial(_recall, work=work, folder=folder, is_resumed=folder.is_dir())


def _recall[Key](
    key: Key, work: Callable[[Key], pa.Table], folder: Location, is_resumed: bool
) -> pa.Table:
    name = fingerprint_of(key)
    location = folder / name[:2] / f"{name}.parquet"
    if is_resumed and files.exists(location):
        return files.open_parquet(location).read()
    table = work(key)
    if "error" not in table.column_names or table["error"].null_count == len(table):
        files.write_atomic(location, lambda path: pq.write_table(table, path))
    return table


def _rows[Key](keep: Callable[[Key], pa.Table], key: Key) -> list[Row]:
    rows: list[Row] = keep(key).to_pylist()
    return rows


def _table[Key](work: Callable[[Key], Iterable[Row]], schema: pa.Schema, key: Key) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in work(key)], schema)

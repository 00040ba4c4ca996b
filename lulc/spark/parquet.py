"""Parquet files as frames of Spark: a folder on disk by Spark's reader, all else by workers.

Workers reach a store by `lulc.location`, with the credentials that all else is read by, so that a
cluster needs no connector to it. Files that the ledger names are read by workers on a disk, too:
their names travel as a table, where Spark's reader would look for each of them first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from pyspark.sql.pandas.types import from_arrow_schema

from lulc.location import Location, StorePath, parse_location
from lulc.spark.carried import carry
from lulc.tables import files
from lulc.tables.schemas import check_schema
from lulc.tables.store import table_guard

_OF_FILE = {
    "place": pa.string(),
    "file_path": pa.string(),
    "file_name": pa.string(),
    "row_index": pa.int64(),
}
"""What can be asked for besides a file's columns: `place` of files below an output location, its
path and name of others; `row_index` is the row's place in its file."""
_FILES_A_TASK = 64


def read_parquet(
    spark: SparkSession,
    locations: Iterable[Location],
    schema: pa.Schema | None = None,
    columns: Sequence[str] = (),
) -> DataFrame:
    """Return the rows of Parquet files, or of folders of them, whatever their names.

    Args:
        spark: the session.
        locations: of the files or folders.
        schema: of the rows; the files' own where None.
        columns: the columns to read, `file_path`, `file_name` and `row_index` among them; all of
            the schema's by default.
    """
    listed = list(locations)
    in_store = [location for location in listed if isinstance(location, StorePath)]
    if in_store:
        return _read_store(spark, in_store, schema, columns)
    # Whatever the folders in a table's folder are called, they are no column.
    reader = spark.read.option("recursiveFileLookup", True)
    if schema:
        reader = reader.schema(from_arrow_schema(schema))
    # Hadoop takes what is not escaped for a pattern of paths (org.apache.hadoop.fs.GlobPattern).
    frame = reader.parquet(*(re.sub(r"[][{}*?\\]", r"\\\g<0>", str(path)) for path in listed))
    names = (col(f"_metadata.{name}" if name in _OF_FILE else f"`{name}`") for name in columns)
    return frame.select(*names) if columns else frame


def read_files(
    spark: SparkSession,
    out: Location,
    paths: Iterable[str],
    schema: pa.Schema,
    columns: Sequence[str] = (),
) -> DataFrame:
    """Return the rows of Parquet files below an output location.

    However many they are, the driver handles their names alone.

    Args:
        spark: the session.
        out: the output location.
        paths: of the files, relative to it.
        schema: of the rows.
        columns: the columns to read, `place` and `row_index` among them; all of the schema's by
            default.

    Raises:
        InputError: within tasks: a file is damaged, or lacks one of the columns.
    """
    return _read_by_workers(spark, pa.array(paths, pa.string()), _select(schema, columns), out)


def _read_store(
    spark: SparkSession,
    locations: Sequence[StorePath],
    schema: pa.Schema | None,
    columns: Sequence[str],
) -> DataFrame:
    tables = [
        file
        for location in locations
        for file in ([location] if location.suffix == ".parquet" else files.list_tables(location))
    ]
    of_rows = schema or files.open_parquet(tables[0]).schema_arrow
    names = pa.array(map(str, tables), pa.string())
    return _read_by_workers(spark, names, _select(of_rows, columns))


def _select(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    return pa.schema(
        pa.field(name, _OF_FILE[name]) if name in _OF_FILE else schema.field(name)
        for name in columns or schema.names
    )


def _read_by_workers(
    spark: SparkSession, names: pa.Array, schema: pa.Schema, out: Location | None = None
) -> DataFrame:
    # `names` are places below `out`, or addresses where that is None.
    tasks = max(-(-len(names) // _FILES_A_TASK), spark.sparkContext.defaultParallelism)
    frame = spark.createDataFrame(pa.table({"name": names}))
    spread = frame.repartition(max(1, min(tasks, len(names))))
    return spread.mapInArrow(carry(partial(_read_batches, schema, out)), from_arrow_schema(schema))


def _read_batches(
    schema: pa.Schema, out: Location | None, incoming: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in incoming:
        for name in batch.column(0).to_pylist():
            location = parse_location(name) if out is None else out / name
            with table_guard(location), files.open_parquet(location) as file:
                if out is not None:
                    of_rows = [field for field in schema if field.name not in _OF_FILE]
                    check_schema(file.schema_arrow, pa.schema(of_rows), str(location))
                yield from _batches_of(file, location, name, schema)


def read_file(location: Location, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file.

    Args:
        location: of the file.
        schema: of the rows; columns that the file lacks are null.

    Raises:
        InputError: the file is damaged.
    """
    with table_guard(location), files.open_parquet(location) as file:
        yield from _batches_of(file, location, str(location), schema)


def _batches_of(
    file: pq.ParquetFile, location: Location, path: str, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    start = 0
    present = [name for name in schema.names if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=present):
        count = batch.num_rows
        of_file = {
            "place": pa.repeat(pa.scalar(path), count),
            "file_path": pa.repeat(pa.scalar(str(location)), count),
            "file_name": pa.repeat(pa.scalar(location.name), count),
            "row_index": pa.array(range(start, start + count), pa.int64()),
        }
        values = [
            batch.column(field.name).cast(field.type)
            if field.name in present
            else of_file.get(field.name, pa.nulls(count, field.type))
            for field in schema
        ]
        yield pa.RecordBatch.from_arrays(values, schema=schema)
        start += count

"""Parquet files as frames of Spark: of a disk by Spark's reader, of a store by workers with lulc.

Workers reach a store by `lulc.location`, with the credentials that all else is read by, so that a
cluster needs no connector to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col
from pyspark.sql.pandas.types import from_arrow_schema

from lulc.location import Location, StorePath, parse_location
from lulc.spark.carried import carry
from lulc.tables import files
from lulc.tables.store import table_guard

_OF_FILE = {"file_path": pa.string(), "file_name": pa.string(), "row_index": pa.int64()}
"""What can be asked for besides a file's columns; `row_index` is the row's place in its file."""


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
    in_store = [place for place in listed if isinstance(place, StorePath)]
    if in_store:
        return _read_store(spark, in_store, schema, columns)
    reader = spark.read.schema(from_arrow_schema(schema)) if schema else spark.read
    # Hadoop takes what is not escaped for a pattern of paths (org.apache.hadoop.fs.GlobPattern).
    frame = reader.parquet(*(re.sub(r"[][{}*?\\]", r"\\\g<0>", str(path)) for path in listed))
    names = (col(f"_metadata.{name}" if name in _OF_FILE else f"`{name}`") for name in columns)
    return frame.select(*names) if columns else frame


def _read_store(
    spark: SparkSession,
    locations: Sequence[StorePath],
    schema: pa.Schema | None,
    columns: Sequence[str],
) -> DataFrame:
    tables = [
        file
        for place in locations
        for file in ([place] if place.suffix == ".parquet" else files.list_tables(place))
    ]
    of_rows = schema or files.open_parquet(tables[0]).schema_arrow
    fields = [
        pa.field(name, _OF_FILE[name]) if name in _OF_FILE else of_rows.field(name)
        for name in columns or of_rows.names
    ]
    wanted = pa.schema(fields)
    paths = spark.createDataFrame(pa.table({"path": [str(file) for file in tables]}))
    read = partial(_read_batches, wanted)
    return paths.mapInArrow(carry(read), from_arrow_schema(wanted))


def _read_batches(
    wanted: pa.Schema, incoming: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in incoming:
        for path in batch.column(0).to_pylist():
            yield from _read_file(parse_location(path), wanted)


def _read_file(location: Location, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    start = 0
    with table_guard(location), files.open_parquet(location) as file:
        present = [name for name in schema.names if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=present):
            count = batch.num_rows
            of_file = {
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

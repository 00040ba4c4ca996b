"""A run's tables in any Spark session: `spark.read.format("lulc").option("table", NAME).load(OUT)`.

The rows are those of the views of `lulc sql`; geometries are WKB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from lulc.errors import UsageError
from lulc.location import Location, parse_location
from lulc.samples.pixels import pixel_schema, read_pixels
from lulc.samples.sample import list_sample_files
from lulc.spark.carried import carry
from lulc.spark.parquet import read_file
from lulc.spark.queries.features import FEATURES
from lulc.spark.queries.sql import SPLIT, check_has_tables, filled_tables, view_schema
from lulc.tables import files, store
from lulc.tables.ledger_files import list_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence


class RunTables(DataSource):
    """The tables of a run, and its labelled pixels (`features`)."""

    @classmethod
    def name(cls) -> str:
        """Return the name of the format."""
        return "lulc"

    def schema(self) -> StructType:
        """Return the columns of the table.

        Raises:
            UsageError: no output location or table is named, or there is no such table.
        """
        out, table = self._named()
        schema = pixel_schema(list_sample_files(out)) if table == FEATURES else _schema(out, table)
        if schema is None:
            raise UsageError(f"{out} has no {FEATURES}: its samples have no class a pixel")
        return from_arrow_schema(schema)

    def reader(self, schema: StructType) -> DataSourceReader:  # noqa: ARG002
        """Return the reader of the table's files."""
        out, table = self._named()
        if table == FEATURES:
            listed = list_sample_files(out)
            return _Reader(pixel_schema(listed), listed, of_pixels=True)
        if table == "samples":
            return _Reader(_schema(out, table), list_sample_files(out))
        places = (
            list_ledger(out)
            if table == "ledger"
            else files.list_tables(store.table_folder(out, table))
        )
        return _Reader(_schema(out, table), [("", place) for place in places])

    def _named(self) -> tuple[Location, str]:
        path, table = self.options.get("path"), self.options.get("table")
        if not path:
            raise UsageError('no output location is named: .load("OUT")')
        out = parse_location(path)
        check_has_tables(out)
        known = filled_tables(out)
        known += [FEATURES] if "samples" in known else []
        if table not in known:
            found = f"table {table!r} is none of" if table else 'no .option("table", NAME) of'
            raise UsageError(f"{found} {', '.join(known)}, the tables that have rows in {out}")
        return out, table


def _schema(out: Location, table: str) -> pa.Schema:
    schema = view_schema(out, table)
    return schema.append(pa.field(SPLIT, pa.string())) if table == "samples" else schema


class _File(InputPartition):
    def __init__(self, split: str, place: str) -> None:
        self.split, self.place = split, place


class _Reader(DataSourceReader):
    def __init__(
        self,
        schema: pa.Schema | None,
        listed: Sequence[tuple[str, Location]],
        of_pixels: bool = False,
    ) -> None:
        self._schema, self._files = schema, [(split, str(place)) for split, place in listed]
        self._read = carry(_read_pixels if of_pixels else _read_rows)

    def partitions(self) -> list[InputPartition]:
        return [_File(split, place) for split, place in self._files]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        assert isinstance(partition, _File)
        rows: Iterator[pa.RecordBatch] = self._read(partition.split, partition.place, self._schema)
        return rows


def _read_pixels(split: str, place: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    yield from read_pixels(split, parse_location(place), schema)


def _read_rows(split: str, place: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    of_file = pa.schema([field for field in schema if field.name != SPLIT or not split])
    for batch in read_file(parse_location(place), of_file):
        if split:
            batch = batch.append_column(SPLIT, pa.array([split] * batch.num_rows, pa.string()))
        yield batch

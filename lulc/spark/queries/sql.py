"""Spark SQL over a run's tables: one view a table, without pixels, geometries as Sedona's."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name every Spark user knows
from pyspark.sql.types import UserDefinedType

from lulc.config import SessionConf
from lulc.errors import UsageError
from lulc.location import Location
from lulc.spark import session
from lulc.spark.parquet import read_parquet
from lulc.spark.queries import explain, features, functions, rules
from lulc.tables import files, layout, schemas, store
from lulc.tables.columns import TEXT, Column, view_metadata
from lulc.tables.geoparquet import GEOMETRY_COLUMNS
from lulc.tables.ledger_files import list_ledger

GEOMETRY = b"geometry"
"""Marks the fields of a result that hold WKB."""
SPLIT = "split"
"""Column of the view of samples that is no column of the table."""
_SPLIT_FIELD = Column(SPLIT, TEXT, "train, validation or test").field


def check_has_tables(out: Location) -> None:
    """Check that a run's tables are there; UsageError where there are none."""
    if not files.exists(out / layout.TABLES):
        raise UsageError(f"{out} holds no tables: make them with `lulc run RUN.yaml --out {out}`")


def filled_tables(out: Location) -> list[str]:
    """Return the names of the tables that have rows."""
    return [name for name in schemas.ALL if files.list_tables(store.table_folder(out, name))]


def make_views(
    spark: SparkSession, out: Location, as_text: bool = False, statements: str | None = None
) -> list[str]:
    """Make a temporary view for every table that has rows, and return the tables' names.

    Views of other runs' tables are dropped. The session gets this project's functions, too. The
    comment of a column, which DESCRIBE shows, is its meaning and unit.

    Args:
        spark: the session that gets the views.
        out: the run's output location.
        as_text: `footprint` and `geometry` are WKT; else they are Sedona geometries.
        statements: that will be asked: tables that they do not name get no view.
    """
    geometry = "ST_AsText(ST_GeomFromWKB(`{}`))" if as_text else "ST_GeomFromWKB(`{}`)"
    tables = filled_tables(out)
    names = _named(statements, tables)
    for name in (*schemas.ALL, features.FEATURES):
        if name not in names:
            spark.catalog.dropTempView(name)
    for name in names:
        frame = read_view(spark, out, name)
        about = {f.name: f for f in (_SPLIT_FIELD, *store.schema_of(out, name))}
        columns = [
            F.expr((geometry if column in GEOMETRY_COLUMNS else "`{}`").format(column)).alias(
                column, metadata=view_metadata(about[column])
            )
            for column in frame.columns
        ]
        frame.select(*columns).createOrReplaceTempView(name)
    functions.add_functions(spark, out)
    return tables


def _named(statements: str | None, names: Sequence[str]) -> list[str]:
    # Those that statements may mean: a name is written as it is. All where they list views.
    if statements is None or re.search(r"\bSHOW\b", statements, re.IGNORECASE):
        return list(names)
    return [name for name in names if re.search(rf"\b{name}\b", statements, re.IGNORECASE)]


def _needs_sedona(statements: str | None, out: Location) -> bool:
    if statements is None or re.search(r"\b(SHOW\b|ST_)", statements, re.IGNORECASE):
        return True
    named = _named(statements, filled_tables(out))
    return any(set(GEOMETRY_COLUMNS) & set(store.schema_of(out, name).names) for name in named)


def view_schema(out: Location, name: str) -> pa.Schema:
    """Return the columns of a table without its pixels; geometries are WKB."""
    # Arrays are bytes, as geometries are.
    return pa.schema(
        field
        for field in store.schema_of(out, name)
        if field.name in GEOMETRY_COLUMNS or not pa.types.is_binary(field.type)
    )


def read_view(spark: SparkSession, out: Location, name: str) -> DataFrame:
    """Return a table without its pixels; geometries are WKB."""
    schema, columns = store.schema_of(out, name), view_schema(out, name).names
    folder = store.table_folder(out, name)
    if name == "ledger":
        return read_parquet(spark, list_ledger(out), schema, columns)
    if name != "samples":
        return read_parquet(spark, [folder], schema, columns)
    frame = read_parquet(spark, [folder], schema, [*columns, "file_path"])
    split = F.regexp_extract("file_path", "split=([a-z]+)/[^/]*$", 1)
    return frame.withColumn(SPLIT, split).drop("file_path")


@dataclass(frozen=True)
class QueryResult:
    """What a query found."""

    rows: pa.Table
    """Geometries are WKB, marked in their field's metadata by GEOMETRY."""
    total: int
    """How many rows there are; `rows` may hold the first of them."""


@dataclass(frozen=True)
class QuerySession:
    """A session that answers queries of a run's views."""

    spark: SparkSession
    views: tuple[str, ...]
    """Of the run's tables."""
    out: Location
    """The run's output location."""

    def answer(
        self, query: str, parameters: Mapping[str, str], limit: int | None = None
    ) -> QueryResult:
        """Answer one statement.

        Args:
            query: Spark SQL with Sedona's functions; `:name` in it takes the parameter of that
                name.
            parameters: values by name.
            limit: most rows to return; all where None.

        Raises:
            UsageError: Spark cannot analyse the query, it fails on its values, or it is refused.
            InputError: a model that it names cannot map the run.
        """
        try:
            frame = self.spark.sql(query, args=dict(parameters))
            functions.check_models(self.spark, self.out)
            if limit is None:
                rows = _to_arrow(frame)
                return QueryResult(rows, rows.num_rows)
            rows = _to_arrow(frame.limit(limit + 1))
            if rows.num_rows <= limit:
                return QueryResult(rows, rows.num_rows)
            return QueryResult(rows.slice(0, limit), frame.count())
        except Exception as error:
            self._raise_explained(error)
            raise

    def cancel(self) -> None:
        """Cancel the statement that another thread waits for."""
        self.spark.sparkContext.cancelAllJobs()

    def columns(self) -> dict[str, list[str]]:
        """Return the columns of every view: of the tables, and of those that queries made."""
        shown = self.spark.sql("SHOW VIEWS").collect()
        return {row.viewName: self.spark.table(row.viewName).columns for row in shown}

    def list_views(self) -> pa.Table:
        """Return the names of all views, what each is, and what a row of it is."""
        shown = sorted(row.viewName for row in self.spark.sql("SHOW VIEWS").collect())
        return pa.Table.from_pylist([_about_view(name, name in self.views) for name in shown])

    def describe_view(self, name: str) -> pa.Table:
        """Return the columns of a view: name, type, unit and meaning.

        Raises:
            UsageError: there is no such view.
        """
        try:
            fields = self.spark.table(f"`{name}`")._jdf.schema().fields()
        except Exception as error:
            self._raise_explained(error)
            raise
        return pa.Table.from_pylist([_about_column(field) for field in fields])

    def words(self) -> list[str]:
        """Return Spark's key words, in capitals, and the names of its and Sedona's functions."""
        keywords = [
            row.keyword for row in self.spark.sql("SELECT keyword FROM sql_keywords()").collect()
        ]
        return keywords + self._functions()

    def _functions(self) -> list[str]:
        shown = [row.function for row in self.spark.sql("SHOW FUNCTIONS").collect()]
        return sorted(name for name in shown if name[0].isalpha())

    def _raise_explained(self, error: Exception) -> None:
        if explained := explain.explain_query(error, self.views, self._functions):
            raise explained from error


def _about_view(name: str, is_of_run: bool) -> dict[str, str]:
    if not is_of_run:
        return {"view": name, "kind": "yours", "a row is": ""}
    if name == features.FEATURES:
        return {"view": name, "kind": "computed", "a row is": features.ROW}
    table = schemas.TABLES[name]
    return {"view": name, "kind": f"table of {table.made_by}", "a row is": table.row}


def _about_column(field: Any) -> dict[str, str]:
    about = json.loads(field.metadata().json())
    names = {"unit": about.get("unit", ""), "meaning": about.get("description", "")}
    return {"column": field.name(), "type": field.dataType().simpleString(), **names}


def query_views(
    out: Location, query: str, parameters: Mapping[str, str], settings: SessionConf
) -> pa.Table:
    """Answer a query in a session that is kept for the next one.

    Args:
        out: the run's output location.
        query: Spark SQL; `:name` in it takes the parameter of that name.
        parameters: values by name.
        settings: of the session, where it has not started.

    Raises:
        UsageError: the run has no tables, or as `QuerySession.answer` says.
    """
    check_has_tables(out)
    spark = session.start_session(settings)
    return _restrict(spark, out, query).answer(query, parameters).rows


@contextlib.contextmanager
def open_session(
    out: Location, statements: str | None, unsafe: bool = False, debug: bool = False
) -> Iterator[QuerySession]:
    """Start a session with a run's views, which is stopped at the end.

    Args:
        out: the run's output location.
        statements: that will be asked: what they do not need is not prepared. None: any.
        unsafe: allow what `lulc.spark.queries.rules` refuses.
        debug: let Spark log.

    Raises:
        UsageError: the run has no tables.
    """
    check_has_tables(out)
    with_sedona = unsafe or _needs_sedona(statements, out)
    spark = session.start_session(SessionConf(), debug, quick=True, with_sedona=with_sedona)
    try:
        yield _restrict(spark, out, statements, unsafe)
    finally:
        spark.stop()


def _restrict(
    spark: SparkSession, out: Location, statements: str | None, unsafe: bool = False
) -> QuerySession:
    views = make_views(spark, out, statements=statements)
    if _named(statements, [features.FEATURES]):
        views += features.make_view(spark, out)
    if not unsafe:
        rules.enforce(spark)
        spark = spark.newSession()
    return QuerySession(spark, tuple(views), out)


def _to_arrow(frame: DataFrame) -> pa.Table:
    geometries = _geometries(frame)
    for name in geometries:
        frame = frame.withColumn(name, F.expr(f"ST_AsBinary(`{name}`)"))
    # What cannot be planned, or told, fails here: the thread that sends the rows would end without
    # a word.
    modes = frame.sparkSession._jvm.org.apache.spark.sql.execution.ExplainMode  # type: ignore[union-attr]
    frame._jdf.queryExecution().explainString(modes.fromString("formatted"))
    table = frame.toArrow()
    fields = [
        field.with_metadata({GEOMETRY: "WKB"}) if field.name in geometries else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _geometries(frame: DataFrame) -> list[str]:
    fields = [field for field in frame.schema if isinstance(field.dataType, UserDefinedType)]
    if not fields:
        return []
    # Sedona's Python half takes longer to load than most queries to answer.
    from sedona.spark.sql.types import GeometryType

    return [field.name for field in fields if isinstance(field.dataType, GeometryType)]

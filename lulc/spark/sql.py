"""Spark SQL over a run's tables: one view a table, pixels left out, geometries as Sedona's, units in the columns' names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the name every Spark user knows
from pyspark.sql.pandas.types import from_arrow_schema
from sedona.spark.sql.types import GeometryType

from lulc.config import SessionConf
from lulc.errors import UsageError
from lulc.spark import session
from lulc.tables import schemas, store

GEOMETRY = b"geometry"
"""Marks the fields of a table that hold WKB."""
_HEAVY = (
    "pixels",
    "valid",
    "label",
    "classes",
    "confidence",
    "probabilities",
    "percent_counts",
    "runs",
    "shares",
)


def need_tables(out: Path) -> None:
    """Nothing where the folder holds a run's tables, else UsageError."""
    if not (out / "tables").is_dir():
        raise UsageError(f"{out} holds no tables: make them with `lulc run RUN.yaml --out {out}`")


def make_views(spark: SparkSession, out: Path) -> list[str]:
    """The names of the views made, one for every table that stands; `footprint` and `geometry` are Sedona geometries."""
    made = []
    for name in filled_tables(out):
        frame = read_view(spark, out, name)
        for column in ("footprint", "geometry"):
            if column in frame.columns:
                frame = frame.withColumn(column, F.expr(f"ST_GeomFromWKB({column})"))
        frame.createOrReplaceTempView(name)
        made.append(name)
    return made


def filled_tables(out: Path) -> list[str]:
    """The tables that have rows."""
    return [
        name for name in schemas.ALL if any(store.table_folder(out, name).rglob("[!.]*.parquet"))
    ]


def read_view(spark: SparkSession, out: Path, name: str) -> DataFrame:
    """A table without its pixels; geometries are WKB."""
    schema = from_arrow_schema(store.schema_of(out, name))
    frame = spark.read.schema(schema).parquet(str(store.table_folder(out, name)))
    if name == "samples":
        frame = frame.withColumn(
            "split", F.regexp_extract(F.input_file_name(), "split=([a-z]+)", 1)
        )
    return frame.select([c for c in frame.columns if c not in _HEAVY])


def ask(out: Path, query: str, values: Mapping[str, str], debug: bool = False) -> pa.Table:
    """What a query on the run's views gives; `:name` in it takes the bound value. Geometries are WKB, marked in their field.

    UsageError when the run has no tables or the query no sense.
    """
    from pyspark.errors import AnalysisException, ParseException

    need_tables(out)
    spark = session.start_session(SessionConf(), debug)
    try:
        views = make_views(spark, out)
        found = spark.sql(query, args=dict(values))
        shapes = [f.name for f in found.schema if isinstance(f.dataType, GeometryType)]
        for name in shapes:
            found = found.withColumn(name, F.expr(f"ST_AsBinary(`{name}`)"))
        table = found.toArrow()
        marked = [
            f.with_metadata({GEOMETRY: "WKB"}) if f.name in shapes else f for f in table.schema
        ]
        return table.cast(pa.schema(marked))
    except (AnalysisException, ParseException) as error:
        text = str(error).split("JVM stacktrace")[0].strip()
        raise UsageError(
            f"the query cannot be understood: {text}\nviews here: {', '.join(views)}"
        ) from error
    finally:
        spark.stop()

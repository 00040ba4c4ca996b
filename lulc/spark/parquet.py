"""Parquet files as frames of Spark, by paths that are no patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from lulc.location import Location


def read_parquet(
    spark: SparkSession, locations: Iterable[Location], schema: pa.Schema | None = None
) -> DataFrame:
    """Return the rows of Parquet files, or of folders of them, whatever their names.

    Args:
        spark: the session.
        locations: of the files or folders.
        schema: of the rows; the files' own where None.
    """
    reader = spark.read.schema(from_arrow_schema(schema)) if schema else spark.read
    # Hadoop takes what is not escaped for a pattern of paths (org.apache.hadoop.fs.GlobPattern).
    return reader.parquet(*(re.sub(r"[][{}*?\\]", r"\\\g<0>", str(path)) for path in locations))

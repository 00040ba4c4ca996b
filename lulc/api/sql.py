"""A Spark session of one's own: the project's SQL functions, and the tables of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lulc.errors import extras_named
from lulc.location import Location, parse_location


@extras_named()
def register(spark: Any, out: str | Path | Location | None = None) -> None:
    """Give a Spark session the functions of `lulc sql`, and the format `lulc` of tables.

    `spark.read.format("lulc").option("table", NAME).load(OUT)` reads any run's tables and its
    labelled pixels (`features`), with the rows of the views of `lulc sql`; geometries are WKB.
    docs/sql.md lists the functions. They need no JARs, but where the session has Sedona's, they
    take its geometries, too.

    Args:
        spark: a SparkSession of Spark 4.0, not of Spark Connect.
        out: a run's output folder; `lulc_classify`, `lulc_probabilities` and `lulc_legend`, and the
            periods of `lulc_class_histogram`, are of this run. Without it there are none of these.

    Raises:
        UsageError: the session is one of Spark Connect.
        InputError: `out` holds no run.

    Examples:
        >>> import lulc
        >>> lulc.register(spark, "out/zion")  # doctest: +SKIP
        >>> areas = spark.read.format("lulc").option("table", "class_areas")  # doctest: +SKIP
        >>> areas.load("out/zion").groupBy("class_name").sum("area_m2")  # doctest: +SKIP
    """
    from lulc.spark.queries.functions import register_in_own

    register_in_own(spark, None if out is None else parse_location(out).resolve())

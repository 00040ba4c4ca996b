"""The view `features`: every labelled pixel of the samples, read by workers on a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.functions import col
from pyspark.sql.pandas.types import from_arrow_schema

from lulc.location import Location, parse_location
from lulc.spark.carried import carry
from lulc.tables.columns import view_metadata

FEATURES = "features"
ROW = "a labelled pixel of a sample on a date on which it is valid: its bands in physical values"
_MOST_TASKS = 1000


def make_view(spark: SparkSession, out: Location) -> list[str]:
    """Make the view of the labelled pixels of a run's samples.

    Args:
        spark: the session that gets it.
        out: the run's output location.

    Returns:
        The view's name; none where no sample has a class a pixel.

    Raises:
        InputError: the first of the samples cannot be read, or a band is named as a column is.
    """
    # Few queries ask for it, and what reads samples takes longer to load than most to answer.
    from lulc.samples.pixels import pixel_schema
    from lulc.samples.sample import list_sample_files

    listed = list_sample_files(out)
    schema = pixel_schema(listed)
    if schema is None:
        return []
    splits, names = zip(*((split, str(file)) for split, file in listed), strict=True)
    frame = spark.createDataFrame(pa.table({"split": list(splits), "name": list(names)}))
    spread = frame.repartition(min(len(listed), _MOST_TASKS))
    rows = spread.mapInArrow(carry(partial(_read_files, schema)), from_arrow_schema(schema))
    columns = [col(f"`{f.name}`").alias(f.name, metadata=view_metadata(f)) for f in schema]
    rows.select(*columns).createOrReplaceTempView(FEATURES)
    return [FEATURES]


def _read_files(schema: pa.Schema, incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from lulc.samples.pixels import read_pixels

    for batch in incoming:
        for file in batch.to_pylist():
            yield from read_pixels(file["split"], parse_location(file["name"]), schema)

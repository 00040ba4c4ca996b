"""What every stage shares: what it is asked to do, what it reports, and how keys are worked on by executors."""

from __future__ import annotations

import gc
import sys
import time
import zipimport
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from lulc import progress
from lulc.config import Config
from lulc.tables import ledger
from lulc.tables.schemas import LEDGER

Row = dict[str, Any]
Work = Callable[[dict[str, Any]], list[dict[str, Any]]]

_MANY = 50_000
"""Objects that take the garbage collector some milliseconds."""


@dataclass(frozen=True)
class Selection:
    """The part of a run that is asked for: `bbox` in degrees, tile ids, a SQL condition on the scenes table.

    retry_bad: read scenes again that the ledger holds as bad.
    """

    bbox: tuple[float, float, float, float] | None = None
    tiles: tuple[str, ...] = ()
    where: str | None = None
    retry_bad: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.bbox is None and not self.tiles and self.where is None


@dataclass(frozen=True)
class StageContext:
    """One stage of one run: the run file, the output folder, the choice, and a function that starts (once) the session."""

    config: Config
    out: Path
    selection: Selection
    spark: Callable[[], SparkSession]


@dataclass(frozen=True)
class StageResult:
    """What a stage did: units that stood already, were done, were found empty, inputs that were bad, and what to tell the user.

    inputs: how many there were, where they are no scenes.
    """

    stage: str
    stood: int = 0
    done: int = 0
    empty: int = 0
    bad: int = 0
    note: str = ""
    seconds: float = 0.0
    inputs: int = 0


def timed(stage: Callable[[StageContext], StageResult], context: StageContext) -> StageResult:
    """The stage's outcome with the seconds it took."""
    start = time.monotonic()
    outcome = stage(context)
    return replace(outcome, seconds=time.monotonic() - start)


def map_keys(
    context: StageContext,
    keys: Sequence[Mapping[str, Any]],
    work: Work,
    schema: pa.Schema,
    label: str,
) -> list[dict[str, Any]]:
    """The rows (of `schema`) that `work` gives for every key, one Spark task a key.

    `keys` are flat mappings with the same names; `work` is a module's function, or a partial of one, so that executors
    can import it.
    """
    if not keys:
        return []
    spark = context.spark()
    # A range has exactly one row a partition; the keys themselves travel once a worker, as Arrow.
    sent = spark.sparkContext.broadcast(pa.Table.from_pylist([dict(k) for k in keys]))

    def batches(incoming: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in incoming:
            for number in batch.column(0).to_pylist():
                yield pa.RecordBatch.from_pylist(
                    work(sent.value.slice(number, 1).to_pylist()[0]), schema
                )
        _forget_archives()
        _spare_collector()

    try:
        with progress.spark(spark.sparkContext, len(keys), label):
            frame = spark.range(0, len(keys), 1, len(keys)).mapInArrow(
                batches, from_arrow_schema(schema)
            )
            rows: list[dict[str, Any]] = frame.toArrow().to_pylist()
            return rows
    finally:
        sent.destroy()


def _forget_archives() -> None:
    # Before every task PySpark invalidates Python's import caches, and Python 3.12 then reads the whole directory of each
    # archive on the path again (pyspark.zip, Spark's JARs): 0.2 s a task. Forgotten importers are made anew when needed.
    for path, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimport.zipimporter):
            del sys.path_importer_cache[path]


def _spare_collector() -> None:
    # After every task PySpark collects garbage, and goes through all that is alive for it: 0.2 s a task beside torch. What
    # modules hold is taken out once; what tasks leave behind is still collected.
    if len(gc.get_objects()) > _MANY:
        gc.collect()
        gc.freeze()


def run_units(
    context: StageContext, keys: Sequence[Mapping[str, Any]], work: Work, label: str
) -> list[dict[str, Any]]:
    """The ledger rows that `work` gives for every key, already appended to the ledger."""
    rows = map_keys(context, keys, work, LEDGER, label)
    ledger.append_ledger(context.out, rows)
    return rows

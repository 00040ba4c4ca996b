"""Keys to executors and rows back: Spark carries keys, workers read and write pixels.

Keys are dealt in waves, one Spark job each. The first is short, and shows soon whether the workers
can do what they are sent; those after it last so long that starting them costs little, and not so
long that much is lost with a driver that is killed.
"""

from __future__ import annotations

import gc
import sys
import time
import uuid
import zipimport
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import from_arrow_schema

from lulc import progress
from lulc.models.gpus import work_as_task
from lulc.raster.stores import read_afresh
from lulc.spark.carried import carry
from lulc.spark.context import StageContext
from lulc.spark.gpus import gpu_profile, task_gpus, task_has_gpu
from lulc.tables.files import keep_copies
from lulc.tables.ledger import LedgerRow
from lulc.tables.schemas import LEDGER

type Row = Mapping[str, Any]
type UnitWork[Key] = Callable[[Key], list[LedgerRow]]
"""Does the unit that a key names and returns its ledger rows; a module's function or a partial of
one, so that executors can import it."""
type UnitsWork[Key] = Callable[[Iterator[Key]], Iterator[LedgerRow]]
"""Does the units that some keys name and returns their ledger rows, otherwise as UnitWork."""

_KEYS_A_GPU_TASK = 4
_FIRST_TASKS, _TASKS = 8, 32
"""Tasks of the first wave, and of each later one, for each that runs at once."""
_WAVE_S = 20.0
"""How long a wave lasts whose keys are short."""
_GROWTH = 4
_MANY_OBJECTS = 50_000
"""The garbage collector takes some milliseconds to go through so many."""


def map_keys[Key](
    context: StageContext,
    keys: Sequence[Key],
    work: Callable[[Key], Iterable[Row]],
    schema: pa.Schema,
    label: str,
    gpu: float | None = 0,
) -> list[dict[str, Any]]:
    """Return the rows that `work` gives for every key, one Spark task a key.

    Args:
        context: the stage's context; Spark is started if there is a key.
        keys: flat mappings with the same names, or records of one class with flat fields.
        work: a module's function or a partial of one; it gets a key and returns rows of `schema`.
        schema: the schema of the rows.
        label: what the progress bar says.
        gpu: share of a GPU that Spark reserves for a task, as `gpu_profile` takes it.

    Raises:
        UsageError: a share of a GPU is asked for of executors without.
    """
    waves = _map_waves(context, keys, partial(_map_each, work), schema, label, gpu, len)
    return [row for rows in waves for row in rows]


def map_units[Key](
    context: StageContext, keys: Sequence[Key], work: UnitWork[Key], label: str
) -> Iterator[list[LedgerRow]]:
    """Yield, wave by wave, the ledger rows that `work` gives for every key.

    A Spark task has one key, or several where keys are many and short.

    Args:
        context: the stage's context.
        keys: as `map_keys` takes them.
        work: see UnitWork; the number of the task's attempt is added to its rows.
        label: what the progress bar says.
    """

    def count_tasks(wave: Sequence[Key]) -> int:
        return min(len(wave), _TASKS * _at_once(context))

    def rows_of_units(task_keys: Iterator[Key]) -> Iterator[Iterable[Row]]:
        return (_rows_of_unit(work, key) for key in task_keys)

    waves = _map_waves(context, keys, rows_of_units, LEDGER, label, 0, count_tasks)
    return (list(map(LedgerRow.from_row, rows)) for rows in waves)


def map_units_on_gpus[Key](
    context: StageContext,
    keys: Sequence[Key],
    work: UnitsWork[Key],
    label: str,
    gpu: float | None,
) -> Iterator[list[LedgerRow]]:
    """Yield, wave by wave, the ledger rows that `work` gives for every key.

    A Spark task has one key, or several where keys are many and short; one that a GPU is reserved
    for has several, the next of which is read while the network works.

    Args:
        context: the stage's context.
        keys: as `map_keys` takes them.
        work: see UnitsWork; the number of the task's attempt is added to its rows.
        label: what the progress bar says.
        gpu: as `map_keys` takes it.

    Raises:
        UsageError: a share of a GPU is asked for of executors without.
    """

    def count_tasks(wave: Sequence[Key]) -> int:
        at_once, tasks = _at_once(context), len(wave)
        if task_has_gpu(context.spark(), gpu):
            tasks = max(-(-tasks // _KEYS_A_GPU_TASK), min(tasks, at_once))
        return min(tasks, _TASKS * at_once)

    def rows_of_units(task_keys: Iterator[Key]) -> Iterator[Iterable[Row]]:
        return ([_with_attempt(row)] for row in work(task_keys))

    waves = _map_waves(context, keys, rows_of_units, LEDGER, label, gpu, count_tasks)
    return (list(map(LedgerRow.from_row, rows)) for rows in waves)


def _map_each[Key](
    work: Callable[[Key], Iterable[Row]], task_keys: Iterator[Key]
) -> Iterator[Iterable[Row]]:
    return map(work, task_keys)


def _at_once(context: StageContext) -> int:
    # It grows where a cluster gives more machines to who has more tasks.
    return context.spark().sparkContext.defaultParallelism


def _map_waves[Key](
    context: StageContext,
    keys: Sequence[Key],
    work: Callable[[Iterator[Key]], Iterator[Iterable[Row]]],
    schema: pa.Schema,
    label: str,
    gpu: float | None,
    count_tasks: Callable[[Sequence[Key]], int],
) -> Iterator[list[dict[str, Any]]]:
    # The rows that `work` gives for the keys of each wave; those of a key may be sent together.
    if not keys:
        return
    with progress.spark(context.spark().sparkContext, len(keys), label) as begin:
        done, count = 0, _FIRST_TASKS * _at_once(context)
        while done < len(keys):
            wave = keys[done : done + count]
            tasks = count_tasks(wave)
            begin(done, len(wave) / tasks)
            start = time.monotonic()
            yield _map_tasks(context, wave, tasks, work, schema, gpu)
            done += len(wave)
            as_long = int(len(wave) * _WAVE_S / (time.monotonic() - start))
            count = max(min(as_long, _GROWTH * count), _TASKS * _at_once(context))


def _map_tasks[Key](
    context: StageContext,
    keys: Sequence[Key],
    tasks: int,
    work: Callable[[Iterator[Key]], Iterator[Iterable[Row]]],
    schema: pa.Schema,
    gpu: float | None,
) -> list[dict[str, Any]]:
    # The rows that `work` gives for the keys of each task.
    spark = context.spark()
    profile = gpu_profile(spark, gpu)
    record: Any = type(keys[0]) if is_dataclass(keys[0]) else None
    # A task is sent the numbers of its keys; the keys themselves, rows of a table, travel once a
    # worker, as Arrow.
    sent = spark.sparkContext.broadcast(pa.Table.from_pylist([_flatten(key) for key in keys]))
    call = uuid.uuid4().hex

    def read_keys(incoming: Iterable[pa.RecordBatch]) -> Iterator[Any]:
        for batch in incoming:
            for number in batch.column(0).to_pylist():
                key = sent.value.slice(number, 1).to_pylist()[0]
                yield record(**key) if record else key

    def batches(incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        read_afresh(call)
        with work_as_task(task_gpus()), keep_copies():
            for rows in work(read_keys(incoming)):
                yield pa.RecordBatch.from_pylist([dict(row) for row in rows], schema)
        _forget_archives()
        _spare_collector()

    try:
        numbers = spark.range(0, len(keys), 1, tasks)
        frame = numbers.mapInArrow(carry(batches), from_arrow_schema(schema), profile=profile)
        rows: list[dict[str, Any]] = frame.toArrow().to_pylist()
        return rows
    finally:
        sent.destroy()


def _rows_of_unit[Key](work: UnitWork[Key], key: Key) -> list[Row]:
    # With the seconds that the unit took, where its work does not tell them.
    start = time.monotonic()
    rows = work(key)
    seconds = time.monotonic() - start
    return [
        _with_attempt(replace(row, seconds=seconds) if _is_untimed(row) else row) for row in rows
    ]


def _is_untimed(row: LedgerRow) -> bool:
    return row.seconds is None and row.status in ("done", "empty")


def _with_attempt(row: LedgerRow) -> Row:
    task = TaskContext.get()
    return replace(row, attempt=task.attemptNumber() if task else 0).to_row()


def map_frame(
    frame: DataFrame, work: Callable[[dict[str, Any]], Iterable[Row]], schema: pa.Schema
) -> DataFrame:
    """Return a frame of the rows that `work` gives for every row of a frame.

    Args:
        frame: rows that are sent to workers.
        work: gets a row as a mapping and returns rows of `schema`.
        schema: the schema of the frame returned.
    """

    def batches(incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in incoming:
            rows = [dict(result) for row in batch.to_pylist() for result in work(row)]
            yield pa.RecordBatch.from_pylist(rows, schema)

    return frame.mapInArrow(carry(batches), from_arrow_schema(schema))


def _flatten(key: Any) -> dict[str, Any]:
    if is_dataclass(key):
        return {field.name: getattr(key, field.name) for field in fields(key)}
    return dict(key)


def _forget_archives() -> None:
    # Before every task PySpark invalidates Python's import caches, and Python 3.12 then reads the
    # whole directory of each archive on the path again (pyspark.zip, Spark's JARs): 0.2 s a task.
    # Forgotten importers are made anew when needed.
    for path, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimport.zipimporter):
            del sys.path_importer_cache[path]


def _spare_collector() -> None:
    # After every task PySpark collects garbage, and goes through all that is alive for it: 0.2 s a
    # task beside torch. What modules hold is taken out once; what tasks leave is still collected.
    if len(gc.get_objects()) > _MANY_OBJECTS:
        gc.collect()
        gc.freeze()

"""A run: its stages in order in one session, and the limit on bad inputs."""

from __future__ import annotations

import contextlib
import importlib
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import pyarrow.compute as pc
from pyspark.sql import SparkSession

from lulc import progress
from lulc.config import Config, allowed_bad
from lulc.errors import TooManyBad, kept_work_named
from lulc.location import Location
from lulc.raster.stores import read_afresh
from lulc.spark.context import StageContext, StageResult
from lulc.stages import Selection
from lulc.tables.files import keep_copies
from lulc.tables.lease import hold
from lulc.tables.ledger import read_latest, retire_old_rows
from lulc.tables.ledger_files import read_once
from lulc.tables.store import read_table


def run_stages(context: StageContext, stages: Sequence[str]) -> list[StageResult]:
    """Carry out stages in order; Spark starts only when one needs it.

    Args:
        context: of the run.
        stages: names of `lulc.stages.STAGES`.

    Returns:
        What each stage did.

    Raises:
        TooManyBad: a stage met more bad inputs than the run allows; later stages do not start.
    """
    results = []
    for name in stages:
        result = run_stage(name, context)
        results.append(result)
        progress.say(format_result(result))
        check_max_bad(context.config.max_bad, result, context.out)
    return results


def run_stage(name: str, context: StageContext) -> StageResult:
    """Carry out one stage and return what it did, with the seconds it took."""
    module = importlib.import_module(f"lulc.spark.stages.{name}")
    stage: Callable[[StageContext], StageResult] = getattr(module, name)
    start = time.monotonic()
    read_afresh(f"{name} {uuid.uuid4()}")
    with keep_copies(), kept_work_named():
        result = stage(context)
    return replace(result, seconds=time.monotonic() - start)


@contextlib.contextmanager
def stage_context(
    config: Config, out: Location, selection: Selection, verb: str, debug: bool = False
) -> Iterator[StageContext]:
    """Give the context of a run's stages; a session that they start is stopped at the end.

    Args:
        config: the run.
        out: the output location, which is made; no other process may write to it meanwhile.
        selection: the part of the run to work on.
        verb: of the command line that asks for it.
        debug: let Spark log.

    Raises:
        SetupError: another process works on the output location; names it.
    """
    from lulc.spark import session

    publish = config.publish
    jars = session.ICEBERG if publish and publish.warehouse else ()
    session.restart_with_jars(config.spark, jars)
    started: list[SparkSession] = []

    @cache
    def spark() -> SparkSession:
        started.append(session.start_session(config.spark, debug, jars))
        return started[0]

    with hold(out, f"lulc {verb}") as lease, read_once(out):
        if retire_old_rows(out):
            progress.say(
                f"{out} was made by lulc 0.1: every stage is done again, "
                "and its files are replaced as they are"
            )
        try:
            yield StageContext(config, out.resolve(), selection, spark, lease.check)
        finally:
            for session_ in started:
                session_.stop()


def format_result(result: StageResult) -> str:
    """Return one line on what a stage did."""
    counts = f"{result.skipped:,} up to date, nothing to do"
    if result.done or result.empty:
        empty = f", {result.empty:,} empty" if result.empty else ""
        counts = f"{result.done:,} done{empty}, {result.skipped:,} up to date"
    bad = f", WARNING: {result.bad:,} bad (see the ledger)" if result.bad else ""
    note = f": {result.note}" if result.note else ""
    return f"{result.stage:<9} {counts}{bad} [{result.seconds:.1f} s]{note}"


def check_max_bad(limit: str | None, result: StageResult, out: Location) -> None:
    """Check that a stage's bad inputs are within the limit.

    Args:
        limit: a count, or a share of the stage's inputs such as 5%; None allows any.
        result: what the stage did.
        out: the output location, whose ledger names the bad inputs.

    Raises:
        TooManyBad: they are not; names the first five.
    """
    if limit is None or not result.bad:
        return
    # The scenes table lacks the bad ones of the stage that writes it.
    scenes = read_table(out, "scenes", ["scene_id"]).num_rows
    scenes += result.bad if result.stage == "index" else 0
    if result.bad > allowed_bad(limit, result.inputs or scenes):
        rows = read_latest(out, result.stage).where(pc.field("status") == "bad").records()
        first_rows = "".join(f"\n  {row.key}: {row.error}" for row in rows[:5])
        raise TooManyBad(
            f"{result.bad} bad inputs in stage {result.stage}, "
            f"and --max-bad is {limit}:{first_rows}"
        )

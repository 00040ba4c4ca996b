"""A run: its stages in order in one warm session, the limit on bad inputs, the pictures and the report at the end."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from pyspark.sql import SparkSession

from lulc import progress
from lulc.config import Config
from lulc.errors import TooManyBad
from lulc.spark.incremental import Selection, StageContext, StageResult, timed
from lulc.tables import ledger, store


def run_stages(
    config: Config, out: Path, stages: Sequence[str], choice: Selection, debug: bool
) -> list[StageResult]:
    """What each stage did; TooManyBad as soon as more inputs are bad than the run allows.

    Spark starts only when a stage needs it.
    """
    outcomes = []
    with stage_context(config, out, choice, debug) as context:
        for name in stages:
            stage: Callable[[StageContext], StageResult] = getattr(
                importlib.import_module(f"lulc.spark.stages.{name}"), name
            )
            outcome = timed(stage, context)
            outcomes.append(outcome)
            progress.say(format_result(outcome))
            check_max_bad(config.max_bad, outcome, context.out)
    return outcomes


@contextlib.contextmanager
def stage_context(
    config: Config, out: Path, choice: Selection, debug: bool
) -> Iterator[StageContext]:
    """The context of a run's stages; a session that they started is stopped in the end."""
    out.mkdir(parents=True, exist_ok=True)
    started: list[SparkSession] = []

    @cache
    def spark() -> SparkSession:
        from lulc.spark import session

        started.append(
            session.start_session(config.spark, debug, session.ICEBERG if config.publish else ())
        )
        return started[0]

    try:
        yield StageContext(config, out.resolve(), choice, spark)
    finally:
        for session_ in started:
            session_.stop()


def format_result(outcome: StageResult) -> str:
    """One line on what a stage did."""
    total = outcome.stood + outcome.done + outcome.empty
    if outcome.done or outcome.empty:
        empty = f", {outcome.empty:,} empty" if outcome.empty else ""
        did = f"{outcome.stood:,} of {total:,} stood, {outcome.done:,} done{empty}"
    else:
        did = f"{outcome.stood:,} of {total:,} stand, nothing to do"
    bad = f", WARNING: {outcome.bad:,} bad (see the ledger)" if outcome.bad else ""
    note = f": {outcome.note}" if outcome.note else ""
    return f"{outcome.stage:<9} {did}{bad} [{outcome.seconds:.1f} s]{note}"


def check_max_bad(limit: str | None, outcome: StageResult, out: Path) -> None:
    """Nothing while a stage's bad inputs are within the limit (a count, or a share of them all such as 5%), else TooManyBad."""
    if limit is None or not outcome.bad:
        return
    scenes = store.read_table(out, "scenes", ["scene_id"]).num_rows + (
        outcome.bad if outcome.stage == "index" else 0
    )
    allowed = (
        float(limit[:-1]) / 100 * (outcome.inputs or scenes) if limit.endswith("%") else int(limit)
    )
    if outcome.bad > allowed:
        rows = [r for r in ledger.latest(out, outcome.stage).values() if r["status"] == "bad"]
        named = "".join(f"\n  {r['key']}: {r['error']}" for r in rows[:5])
        raise TooManyBad(
            f"{outcome.bad} bad inputs in stage {outcome.stage}, and --max-bad is {limit}:{named}"
        )

"""A run: its stages in order in one warm session, the limit on bad inputs, the pictures and the report at the end."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from pyspark.sql import SparkSession

from lulc import progress, store
from lulc.conf import Run
from lulc.errors import TooManyBad, UsageError
from lulc.spark.stage import Choice, Outcome, Request, timed

STAGES = ("index", "tile", "samples", "train", "predict", "rasters", "stats", "evaluate", "publish")
_LEARNING = ("samples", "train", "evaluate")


def stages_of(run: Run) -> tuple[str, ...]:
    """The stages a run file asks for.

    Those that learn only where it has labels or datasets, training only where it names no model, those that map only where it has
    scenes, evaluation only where its own labels are; any number of classes a square make tables, and no raster; publication
    only where it says where to.
    """
    if run.maps:
        return ("stats", "publish") if run.publish else ("stats",)
    learns = run.labels is not None or bool(run.datasets)
    if not learns and run.predict.model is None:
        raise UsageError("the run file has no labels or datasets to learn from, nor predict.model to map with: give one of them")
    left_out = set(_LEARNING) if not learns else {"train"} if run.predict.model else set()
    left_out |= set() if run.scenes else set(STAGES) - {"samples", "train", "publish"}
    left_out |= set() if run.publish else {"publish"}
    left_out |= set() if run.labels or not run.datasets else {"evaluate"}
    left_out |= {"rasters"} if run.task == "multilabel" else set()
    return tuple(s for s in STAGES if s not in left_out)


def carry_out(run: Run, out: Path, stages: Sequence[str], choice: Choice, debug: bool) -> list[Outcome]:
    """What each stage did; TooManyBad as soon as more inputs are bad than the run allows.

    Spark starts only when a stage needs it.
    """
    outcomes = []
    with opened(run, out, choice, debug) as request:
        for name in stages:
            stage: Callable[[Request], Outcome] = getattr(importlib.import_module(f"lulc.spark.{name}"), name)
            outcome = timed(stage, request)
            outcomes.append(outcome)
            progress.say(describe(outcome))
            hold(run.max_bad, outcome, request.out)
    return outcomes


@contextlib.contextmanager
def opened(run: Run, out: Path, choice: Choice, debug: bool) -> Iterator[Request]:
    """The request of a run's stages; a session that they started is stopped in the end."""
    out.mkdir(parents=True, exist_ok=True)
    started: list[SparkSession] = []

    @cache
    def spark() -> SparkSession:
        from lulc.spark import session

        started.append(session.start(run.spark, debug, session.ICEBERG if run.publish else ()))
        return started[0]

    try:
        yield Request(run, out.resolve(), choice, spark)
    finally:
        for session_ in started:
            session_.stop()


def describe(outcome: Outcome) -> str:
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


def hold(limit: str | None, outcome: Outcome, out: Path) -> None:
    """Nothing while a stage's bad inputs are within the limit (a count, or a share of them all such as 5%), else TooManyBad."""
    if limit is None or not outcome.bad:
        return
    scenes = store.read_table(out, "scenes", ["scene_id"]).num_rows + (outcome.bad if outcome.stage == "index" else 0)
    allowed = float(limit[:-1]) / 100 * (outcome.inputs or scenes) if limit.endswith("%") else int(limit)
    if outcome.bad > allowed:
        rows = [r for r in store.standing(out, outcome.stage).values() if r["status"] == "bad"]
        named = "".join(f"\n  {r['key']}: {r['error']}" for r in rows[:5])
        raise TooManyBad(f"{outcome.bad} bad inputs in stage {outcome.stage}, and --max-bad is {limit}:{named}")

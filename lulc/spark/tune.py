"""Trials: a run's training with other settings or on other folds, each a Spark task."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lulc.config import Config
from lulc.errors import InputError, LulcError, StoreError, UsageError
from lulc.spark.context import StageContext
from lulc.spark.folds import deal_fold, make_job
from lulc.spark.stages.samples import samples
from lulc.spark.workers import map_keys
from lulc.tables import files, schemas, store

if TYPE_CHECKING:
    from lulc.training.setup import TrainJob


@dataclass(frozen=True)
class Trial:
    """One training with other settings."""

    settings: str
    """The settings, as `--set` takes them."""
    fold: int | None
    """The fold held out; None for the run's own split."""
    job: TrainJob


def tune(
    context: StageContext, candidates: Sequence[tuple[str, Config]], folds: int | None
) -> pa.Table:
    """Train every candidate on the run's split, or on each of some spatial folds.

    A trial of before with the same settings and samples is not repeated.

    Args:
        context: the run.
        candidates: settings as `--set` takes them, and the run with these.
        folds: how many folds; None for the run's own split.

    Returns:
        The trials table, which is also written and logged to MLflow.

    Raises:
        UsageError: a candidate changes more than how a model is trained.
        InputError: every trial fails.
    """
    from lulc.models.tracking import log_trials

    for settings, candidate in candidates:
        if replace(candidate, train=context.config.train) != context.config:
            raise UsageError(
                f"--over {settings}: only settings under train.* can be tried, on the same samples"
            )
    trials: list[Trial] = []
    for fold in range(folds) if folds else (None,):
        of_fold = context
        if fold is None or folds is None:
            samples(context)
        else:
            of_fold = deal_fold(context, fold, folds)
        trials += [
            Trial(settings, fold, make_job(of_fold, candidate.train, context.out / "trials"))
            for settings, candidate in candidates
        ]
    keys = [{"number": number} for number in range(len(trials))]
    work = partial(_try, trials=trials)
    rows = map_keys(context, keys, work, schemas.TRIALS, "trials", gpu=None)
    table = pa.Table.from_pylist(rows, schemas.TRIALS)
    store.write_table(context.out, "trials", table)
    log_trials(context.config, context.out, rows)
    if all(row["error"] for row in rows):
        raise InputError(f"every trial failed; the first: {rows[0]['error']}")
    return table


def rank_trials(table: pa.Table) -> list[dict[str, Any]]:
    """Return the settings of a trials table, the best first.

    Returns:
        A mapping for each: `settings`, `metric`, `mean` and `spread` (sample standard deviation)
        of its score over the folds, and `trials`, how many there are.
    """
    ranking = []
    rows = sorted(table.to_pylist(), key=lambda row: row["settings"])
    for settings, group in itertools.groupby(rows, key=lambda row: row["settings"]):
        trials = list(group)
        scores = [row["score"] for row in trials if row["score"] is not None]
        entry = {
            "settings": settings,
            "metric": trials[0]["metric"],
            "mean": statistics.fmean(scores) if scores else None,
            "spread": statistics.stdev(scores) if len(scores) > 1 else None,
            "trials": len(scores),
        }
        ranking.append(entry)
    lowest = float("-inf")
    return sorted(ranking, key=lambda e: -(lowest if e["mean"] is None else e["mean"]))


def _try(key: Mapping[str, Any], trials: Sequence[Trial]) -> list[dict[str, Any]]:
    trial = trials[key["number"]]
    score_file = trial.job.folder / "score.json"
    row: dict[str, Any] = dict.fromkeys(schemas.TRIALS.names)
    row |= {"settings": trial.settings, "fold": trial.fold, "metric": trial.job.best_metric}
    start = time.monotonic()
    try:
        if not files.exists(score_file):
            text = json.dumps(_score(trial))
            files.write_atomic(score_file, lambda path: path.write_text(text))
    except StoreError:  # it tells nothing about the settings
        raise
    except LulcError as error:
        return [row | {"error": str(error), "seconds": time.monotonic() - start}]
    score = json.loads(score_file.read_text())
    return [row | score | {"metrics": list(score["metrics"].items())}]


def _score(trial: Trial) -> dict[str, Any]:
    from lulc.inference.predictor import use_one_core
    from lulc.training import fit, scoring

    use_one_core()  # trials share the machine's
    start = time.monotonic()
    result = fit.fit(trial.job)
    metrics = fit.score_split(trial.job, result, "validation" if trial.fold is None else "test")
    for name in (fit.STATE, scoring.EXAMPLES):
        files.remove(trial.job.folder / name)
    return {
        "score": metrics.get(trial.job.best_metric),
        "metrics": metrics,
        "best_epoch": result.best,
        "seconds": time.monotonic() - start,
    }

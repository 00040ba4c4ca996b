"""Trials: a run's training with other settings, or on other folds, each a Spark task, all at once; compared and logged."""

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

if TYPE_CHECKING:
    from lulc.training.setup import TrainJob
from lulc.config import Config
from lulc.errors import InputError, LulcError, UsageError
from lulc.spark.incremental import StageContext, map_keys
from lulc.spark.stages.samples import samples
from lulc.tables import files, ledger, schemas, store

Row = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One training: what was laid over the run file, the fold held back (None: the run's own split), and the job."""

    settings: str
    fold: int | None
    job: TrainJob


def tune(
    context: StageContext, choices: Sequence[tuple[str, Config]], folds: int | None
) -> pa.Table:
    """The trials table: every choice of settings on the run's split, or on each of so many spatial folds. It is kept and logged.

    What was tried before with the same settings and samples is not tried again. UsageError where a choice changes more than
    how a model is trained; InputError where every trial fails.
    """
    from lulc.models import tracking
    from lulc.training import setup

    config, out = context.config, context.out
    for text, other in choices:
        if replace(other, train=config.train) != config:
            raise UsageError(
                f"--over {text}: only settings under train.* can be tried, on the same samples"
            )
    trials = []
    for fold in range(folds) if folds else (None,):
        inside = context if fold is None or folds is None else _fold(context, fold, folds)
        samples(inside)
        made = ledger.latest(inside.out, "samples")[""]["fingerprint"]
        for text, other in choices:
            fingerprint = files.fingerprint_of(
                made, config.task, other.train, config.make_legend(), config.bands
            )
            folder = out / "trials" / fingerprint
            kept = store.table_folder(inside.out, "samples")
            job = setup.TrainJob(
                replace(other.train, ranks=1),
                config.make_legend(),
                kept,
                folder,
                config.task or "segment",
            )
            setup.check_job(job, config.bands)
            trials.append(Trial(text, fold, job))
    rows = map_keys(
        context,
        [{"n": n} for n in range(len(trials))],
        partial(_try, trials=trials),
        schemas.TRIALS,
        "trials",
    )
    table = pa.Table.from_pylist(rows, schemas.TRIALS)
    store.write_table(out, "trials", table)
    tracking.log_trials(config, out, rows)
    if all(row["error"] for row in rows):
        raise InputError(f"every trial failed; the first: {rows[0]['error']}")
    return table


def _fold(context: StageContext, fold: int, folds: int) -> StageContext:
    """The context of the samples stage for one fold, in a folder of its own that sees the run's scenes and chips."""
    out = context.out / "folds" / f"{fold}_of_{folds}"
    for name in ("scenes", "chips"):
        link = store.table_folder(out, name)
        if store.table_folder(context.out, name).exists() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(
                store.table_folder(context.out, name).resolve(), target_is_directory=True
            )
    known = {
        (s, k): r["fingerprint"]
        for s in ("index", "tile")
        for k, r in ledger.latest(out, s).items()
    }
    stages = [row for s in ("index", "tile") for row in ledger.latest(context.out, s).values()]
    ledger.append_ledger(
        out, [r for r in stages if known.get((r["stage"], r["key"])) != r["fingerprint"]]
    )
    return replace(
        context,
        out=out,
        config=replace(
            context.config, samples=replace(context.config.samples, folds=folds, fold=fold)
        ),
    )


def _try(key: Mapping[str, Any], trials: Sequence[Trial]) -> list[Row]:
    from lulc.inference.predictor import use_one_core
    from lulc.training import fit

    trial, start = trials[key["n"]], time.monotonic()
    kept = trial.job.folder / "score.json"
    metric = trial.job.train.best or trial.job.task.best
    row: Row = dict.fromkeys(schemas.TRIALS.names) | {
        "settings": trial.settings,
        "fold": trial.fold,
        "metric": metric,
    }
    if kept.exists():
        told = json.loads(kept.read_text())
        return [row | told | {"metrics": list(told["metrics"].items())}]
    use_one_core()  # trials share the machine's
    try:
        result = fit.fit(trial.job)
        metrics = fit.score_split(trial.job, result, "validation" if trial.fold is None else "test")
    except LulcError as error:
        return [row | {"error": str(error), "seconds": time.monotonic() - start}]
    told = {
        "score": metrics.get(metric),
        "metrics": metrics,
        "best_epoch": result.best,
        "seconds": time.monotonic() - start,
    }
    files.write_atomic(kept, lambda beside: beside.write_text(json.dumps(told)))
    for file in (fit.STATE, fit.EXAMPLES):
        (trial.job.folder / file).unlink(missing_ok=True)
    return [row | told | {"metrics": list(metrics.items())}]


def ranked(table: pa.Table) -> list[Row]:
    """settings, metric, mean and spread (sample standard deviation) of its score over the folds, trials: the best first."""
    found = []
    rows = sorted(table.to_pylist(), key=lambda row: row["settings"])
    for settings, group in itertools.groupby(rows, key=lambda row: row["settings"]):
        own = list(group)
        scores = [row["score"] for row in own if row["score"] is not None]
        mean = statistics.fmean(scores) if scores else None
        spread = statistics.stdev(scores) if len(scores) > 1 else None
        found.append(
            {
                "settings": settings,
                "metric": own[0]["metric"],
                "mean": mean,
                "spread": spread,
                "trials": len(scores),
            }
        )
    return sorted(
        found, key=lambda row: -(row["mean"] if row["mean"] is not None else float("-inf"))
    )

"""The train stage: the ranks launched on the session's machines, their epochs echoed, the best weights registered."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from lulc.config import Config
    from lulc.training.fit import Result
    from lulc.training.loader import EpochPlan, Layout
    from lulc.training.setup import TrainJob
from lulc import errors, progress
from lulc.datasets.registry import describe_dataset
from lulc.errors import InputError, LulcError
from lulc.geo import areas, grid
from lulc.models import contract
from lulc.models.contract import Contract
from lulc.models.package import CONTRACT, WEIGHTS, ModelRef
from lulc.spark.incremental import StageContext, StageResult
from lulc.tables import files, ledger, store


def train(context: StageContext) -> StageResult:
    """What the stage did: nothing where a version with this fingerprint is registered, else a new version, made the champion."""
    from lulc.models import registry, tracking

    config, out = context.config, context.out
    samples = ledger.latest(out, "samples").get("")
    if samples is None:
        raise InputError(
            f"there are no samples in {store.table_folder(out, 'samples')} to train on: `lulc samples` makes them"
        )
    fingerprint = files.fingerprint_of(
        samples["fingerprint"], config.task, config.train, config.make_legend(), config.bands
    )
    found = registry.find_version(config, out, fingerprint)
    if found is not None:
        _record(out, config.name, fingerprint, found)
        return StageResult(
            "train",
            stood=1,
            note=_standing_note(found, registry.resolve(config.name, out, config.tracking.uri)),
        )
    tracking.reachable(config, out)
    job, layout, sides = _prepare(context, fingerprint)
    result = _launch(context, job)
    prints = {"samples": samples["fingerprint"], "train": fingerprint}
    folder = _package(job, result, Contract(
        config.name, job.asked, job.model.name, job.architecture, config.bands, result.mean, result.std, job.legend, sides[1],
        job.model.multiple(**job.architecture), layout.pixels.shape[-1], result.temperature,
        flips=config.predict.flips, score=config.predict.score, scales=layout.scales, offsets=layout.offsets, fingerprints=prints,
        gsd_range_m=(sides[0], sides[2]), file_bands=_file_bands(config),
    ))  # fmt: skip
    made = tracking.log_training(
        config,
        out,
        tracking.Training(
            prints, result.history, result.best, folder, _draw(job, result, config.bands)
        ),
    )
    _record(out, config.name, fingerprint, made)
    for other in job.folder.parent.iterdir():
        if other != job.folder:
            shutil.rmtree(other)
    return StageResult(
        "train", done=1, note=f"{made.name} version {made.version}, {_describe(result)}"
    )


def _prepare(
    context: StageContext, fingerprint: str
) -> tuple[TrainJob, Layout, tuple[float, float, float]]:
    """The job, checked before anything is launched, how the samples keep their pixels, and these pixels' sides in metres."""
    from lulc.training import setup

    config = context.config
    samples, kept = (
        store.table_folder(context.out, "samples"),
        context.out / "checkpoints" / fingerprint,
    )
    # Where the labels are the run's own, the map is held against the test split, in stage evaluate.
    job = setup.TrainJob(
        config.train,
        config.make_legend(),
        samples,
        kept,
        config.task or "segment",
        tested=config.labels is None,
    )
    plan, validation = setup.check_job(job, config.bands)
    checked = (
        f"{validation.rows:,} to choose the best epoch"
        if validation
        else "none to choose the best epoch: the last is kept"
    )
    progress.say(
        f"training on {plan.rows:,} samples, {checked}; {plan.steps * config.train.repeats:,} steps an epoch on {plan.ranks} ranks"
    )
    return job, plan.layout, _pixel_sides(plan, config)


def _pixel_sides(plan: EpochPlan, config: Config) -> tuple[float, float, float]:
    """The least, the median and the largest side in metres of the training samples' pixels, by some hundred row groups."""
    sides = []
    for group in plan.groups[:: max(1, len(plan.groups) // 200)]:
        table = pq.ParquetFile(group.path).read_row_group(group.index, ["crs", "transform"])
        for crs, transform in {(row["crs"], tuple(row["transform"])) for row in table.to_pylist()}:
            if crs:
                sides.append(
                    math.sqrt(float(np.mean(areas.pixel_areas(grid.Grid(crs, transform, 1, 1)))))
                )
    if not sides:  # plain pictures: what their publisher says of all
        sides = [describe_dataset(config.datasets[0]).gsd_m]
    return min(sides), float(np.median(sides)), max(sides)


def _file_bands(config: Config) -> tuple[tuple[str, ...], ...]:
    return tuple(dict.fromkeys(describe_dataset(conf).encoding.bands for conf in config.datasets))


def _launch(context: StageContext, job: TrainJob) -> Result:
    """The Result of the ranks: processes of this machine under a local master, else Spark tasks that run all at once.

    One rank on this machine's cores is this process: another takes as long to begin as a small training to end. The memory of a
    GPU is had back only when the process ends.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    from lulc.models.device import choose_device
    from lulc.training.fit import fit

    cluster = context.spark().sparkContext
    local = re.fullmatch(r"local(\[.*\])?", cluster.master or "") is not None
    if local and job.train.ranks == 1 and choose_device().type == "cpu":
        with _echo(job.folder):
            return fit(job)
    gpus = not local and int(cluster.getConf().get("spark.task.resource.gpu.amount", "0") or 0) > 0
    distributor = TorchDistributor(job.train.ranks, local_mode=local, use_gpu=gpus)
    logging.getLogger("TorchDistributor").setLevel(logging.WARNING)
    # What ranks print is repeated in the error when they fail; until then it is noise.
    with _echo(job.folder), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            found: Result | None = distributor.run(fit, job)
        except Exception as error:
            raise _explain(str(error)) from error
    assert found is not None  # rank 0 always returns one
    return found


def _explain(text: str) -> LulcError:
    """The error that a rank ended with, or the end of what the ranks printed."""
    for name, message in re.findall(r"lulc\.errors\.(\w+): (.*)", text):
        kind: type[LulcError] = getattr(errors, name, LulcError)
        return kind(message)
    tail = "\n  ".join(text.strip().splitlines()[-15:])
    return LulcError(
        f"training failed; a rerun goes on after the last complete epoch. The ranks' last words:\n  {tail}"
    )


@contextlib.contextmanager
def _echo(folder: Path) -> Iterator[None]:
    """Tells the user of every epoch that rank 0 writes to the log while the ranks run elsewhere."""
    from lulc.training.fit import read_log

    ended = threading.Event()
    said = len(read_log(folder))
    if said:
        progress.say(f"training goes on after epoch {said}")

    def watch(said: int) -> None:
        last = False
        while not last:
            last = ended.wait(1.0)
            for entry in read_log(folder)[said:]:
                progress.say(
                    f"epoch {entry['epoch']}/{entry['epochs']} {_figures(entry['metrics'])} ({entry['seconds']:.0f} s)"
                )
                said += 1

    watcher = threading.Thread(target=watch, args=(said,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _figures(metrics: Mapping[str, float]) -> str:
    names = {
        "loss": "loss",
        "accuracy": "accuracy",
        "miou": "mean IoU",
        "ap_macro": "mean AP",
        "ap50": "AP50",
        "recall30": "recall at IoU 0.3",
    }
    return ", ".join(
        f"{shown} {metrics[name]:.3f}" for name, shown in names.items() if name in metrics
    )


def _describe(result: Result) -> str:
    metrics = result.history[result.best - 1]["metrics"]
    tested = {
        name.removeprefix("test_"): value
        for name, value in metrics.items()
        if name.startswith("test_")
    }
    found = {name: value for name, value in metrics.items() if not name.startswith("test_")}
    where = " on validation" if set(found) - {"loss", "rate"} else ", no validation split"
    return f"best epoch {result.best}: {_figures(found)}{where}" + (
        f"; {_figures(tested)} on test" if tested else ""
    )


def _standing_note(found: ModelRef, champion: ModelRef) -> str:
    if champion.version == found.version:
        return f"{found.name} version {found.version} stands"
    return (
        f"{found.name} version {found.version} stands, but the champion, which maps, is version {champion.version}: "
        f"predict.model=models:/{found.name}/{found.version} maps with this one"
    )


def _package(job: TrainJob, result: Result, made: Contract) -> Path:
    """A folder with the best epoch's weights and the contract."""
    folder = job.folder / "model"
    files.write_atomic(folder / WEIGHTS, lambda beside: shutil.copyfile(result.weights, beside))
    files.write_atomic(folder / CONTRACT, lambda beside: contract.write_contract(made, beside))
    return folder


def _draw(job: TrainJob, result: Result, bands: tuple[str, ...]) -> list[Path]:
    from lulc.report import training
    from lulc.training.fit import EXAMPLES

    if not (job.folder / EXAMPLES).exists():
        return []
    with np.load(job.folder / EXAMPLES, allow_pickle=False) as arrays:
        drawn = [
            training.draw_examples(
                dict(arrays), job.task.kind, bands, job.legend, job.folder / "examples.png"
            )
        ]
    matrix = np.array(result.history[result.best - 1]["matrix"], np.int64)
    if matrix.size:
        drawn.append(
            training.draw_confusion(
                matrix, job.legend, f"validation, epoch {result.best}", job.folder / "confusion.png"
            )
        )
    return drawn


def _record(out: Path, name: str, fingerprint: str, made: ModelRef) -> None:
    known = ledger.latest(out, "train").get(name)
    path = str((made.folder / WEIGHTS).relative_to(out))
    if known is None or (known["fingerprint"], known["path"]) != (fingerprint, path):
        row = ledger.ledger_row("train", name, fingerprint, checksum=made.checksum, path=path)
        ledger.append_ledger(out, [row, ledger.ledger_row("train", "", fingerprint)])

"""A model trained on the session's machines, registered, with its pictures."""

from __future__ import annotations

import numpy as np

from lulc import progress
from lulc.config import Config
from lulc.location import Location
from lulc.models.package import ModelRef
from lulc.spark.context import StageContext
from lulc.spark.ranks import format_metrics, launch
from lulc.stats.confusion import hardly_mapped, summarise
from lulc.tables import files, layout
from lulc.tables.store import table_folder
from lulc.training.fit import TrainResult
from lulc.training.loader import EpochPlan
from lulc.training.setup import TrainJob


def train_and_register(
    context: StageContext, samples_fingerprint: str, fingerprint: str
) -> tuple[ModelRef, str]:
    """Train a model and register it as the champion.

    Args:
        context: the run.
        samples_fingerprint: of the samples table.
        fingerprint: of the training.

    Returns:
        The version, and a note for the user on its scores.
    """
    from lulc.models import tracking
    from lulc.report.training import draw_importances
    from lulc.training.packaging import write_package
    from lulc.training.trees import IMPORTANCES

    config, out = context.config, context.out
    tracking.reachable(config, out)
    job, plan = _prepare(context, fingerprint)
    result = launch(context, job)
    fingerprints = {"samples": samples_fingerprint, "train": fingerprint}
    folder = write_package(config, job, plan, result, fingerprints)
    pictures = _draw(job, result, config.bands)
    tables = [job.folder / IMPORTANCES] if job.model.is_trees else []
    pictures += [draw_importances(table, job.folder / "importances.png") for table in tables]
    training = tracking.Training(
        fingerprints,
        result.history,
        result.best,
        folder,
        pictures,
        weight_count=result.weight_count,
        tables=tables,
    )
    version = tracking.log_training(config, out, training)
    for other in job.folder.parent.iterdir():
        if other != job.folder:
            files.remove_folder(other)
    return version, f"{version.name} version {version.version}, {_describe(job, result)}"


def _prepare(context: StageContext, fingerprint: str) -> tuple[TrainJob, EpochPlan]:
    # The job, checked before anything is launched, and how its training split is read.
    from lulc.training.setup import TrainJob, check_job

    config, out = context.config, context.out
    job = TrainJob(
        config.train,
        config.make_legend(),
        table_folder(out, "samples"),
        out / layout.checkpoint_folder(fingerprint),
        config.task or "segment",
        score_test=True,
        bands=config.bands,
    )
    plan, validation = check_job(job)
    if job.model.is_trees:
        _tell_of_trees(config, job, plan)
        return job, plan
    choice = "none to choose the best epoch: the last is kept"
    if validation:
        choice = f"{validation.rows:,} to choose the best epoch"
    steps = plan.steps * config.train.repeats
    progress.say(
        f"training on {plan.rows:,} samples, {choice}; "
        f"{steps:,} steps an epoch on {plan.ranks} ranks"
    )
    return job, plan


def _tell_of_trees(config: Config, job: TrainJob, plan: EpochPlan) -> None:
    from lulc.training.trees import unused_settings

    unused = unused_settings(config.train)
    unused += ["predict.flips"] if config.predict.flips else []
    if unused:
        progress.say(f"of no use to model {job.model.name}, as for networks: {', '.join(unused)}")
    trees = config.train.trees
    progress.say(
        f"growing {trees.count} trees a class from {trees.rows:,} labels or fewer of "
        f"{plan.rows:,} samples"
    )


def _describe(job: TrainJob, result: TrainResult) -> str:
    best = result.history[result.best - 1]
    metrics = best["metrics"]
    # The loss of test samples is no validation loss: the scores say enough of them.
    test = {
        name.removeprefix("test_"): value
        for name, value in metrics.items()
        if name.startswith("test_") and name != "test_validation_loss"
    }
    validation = {k: v for k, v in metrics.items() if not k.startswith("test_")}
    split = " on validation" if set(validation) - {"loss", "rate"} else ", no validation split"
    on_test = f"; {format_metrics(test)} on test" if test else ""
    matrix = np.array(best["matrix"])
    names = hardly_mapped(summarise(matrix, job.legend)) if matrix.size else []
    warning = f"; WARNING: hardly mapped on validation: {', '.join(names)}" if names else ""
    epoch = "" if job.model.is_trees else f"best epoch {result.best}: "
    return f"{epoch}{format_metrics(validation)}{split}{on_test}{warning}"


def _draw(job: TrainJob, result: TrainResult, bands: tuple[str, ...]) -> list[Location]:
    from lulc.report.training import draw_confusion, draw_examples
    from lulc.training.scoring import EXAMPLES

    if not (job.folder / EXAMPLES).exists():
        return []
    with (
        (job.folder / EXAMPLES).open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        path = job.folder / "examples.png"
        pictures = [draw_examples(dict(arrays), job.task.kind, bands, job.legend, path)]
    matrix = np.array(result.history[result.best - 1]["matrix"], np.int64)
    if matrix.size:
        title, path = f"validation, epoch {result.best}", job.folder / "confusion.png"
        pictures.append(draw_confusion(matrix, job.legend, title, path))
    return pictures

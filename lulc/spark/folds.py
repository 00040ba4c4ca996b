"""Spatial folds: the run's samples dealt anew for each, and trainings on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lulc.config import TrainConf
from lulc.errors import InputError
from lulc.location import Location
from lulc.samples.sample import list_sample_files
from lulc.spark.context import StageContext
from lulc.spark.sample_origins import chips_of
from lulc.spark.stages.samples import samples
from lulc.tables import store
from lulc.tables.ledger import copy_rows, read_seal
from lulc.training.fingerprint import training_fingerprint

if TYPE_CHECKING:
    from lulc.training.setup import TrainJob


def fold_folder(out: Location, fold: int, folds: int) -> Location:
    """Return where the samples of one fold lie: a folder as an output location is."""
    return out / "folds" / f"{fold}_of_{folds}"


def deal_fold(context: StageContext, fold: int, folds: int) -> StageContext:
    """Write the samples of one fold, whose test split is the part that it holds out.

    Returns:
        The context of the fold, whose output location has the run's chips in its ledger.

    Raises:
        InputError: the run learns from its chips, and has none; or the fold holds no label out.
    """
    if context.config.labels:
        chips_of(context)
    out = fold_folder(context.out, fold, folds)
    copy_rows(context.out, out, ("index", "tile"))
    of_fold = replace(context.config.samples, folds=folds, fold=fold)
    fold_context = replace(context, out=out, config=replace(context.config, samples=of_fold))
    samples(fold_context)
    check_tested(out, fold, folds)
    return fold_context


def check_tested(out: Location, fold: int, folds: int) -> None:
    """Check that a fold holds labels out.

    Args:
        out: its output location, with its samples.
        fold: its number.
        folds: how many there are.

    Raises:
        InputError: it holds none, as where there are more folds than spatial blocks.
    """
    if not list_sample_files(out, "test"):
        raise InputError(
            f"fold {fold} of {folds} holds no label out: the samples lie in too few spatial "
            "blocks; give fewer --folds, or smaller blocks (samples.block)"
        )


def make_job(context: StageContext, train: TrainConf, folder: Location) -> TrainJob:
    """Return a training on one rank on the samples of a context, checked.

    Args:
        context: of the run, or of a fold, with its samples written.
        train: the settings of the training.
        folder: the training's own folder is made in it, named by its fingerprint.
    """
    from lulc.training.setup import TrainJob, check_job

    config, seal = context.config, read_seal(context.out, "samples")
    assert seal is not None
    fingerprint = training_fingerprint(config, train, seal.fingerprint)
    job = TrainJob(
        replace(train, ranks=1),
        config.make_legend(),
        store.table_folder(context.out, "samples"),
        folder / fingerprint,
        config.task or "segment",
        bands=config.bands,
    )
    check_job(job)
    return job

"""What the model card tells of a training."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from lulc import redact
from lulc.config import Archive, Config
from lulc.datasets.registry import find_dataset
from lulc.models.card import CardFacts
from lulc.models.networks.torchgeo_weights import find_published

if TYPE_CHECKING:
    from lulc.training.fit import TrainResult
    from lulc.training.loader import EpochPlan
    from lulc.training.setup import TrainJob

_SETTINGS = (
    "epochs", "repeats", "crop", "batch", "accumulate", "rate", "encoder_rate", "frozen",
    "trained_stages", "lora", "weight_decay", "schedule", "smoothing", "dice", "focal", "bootstrap",
    "ema", "augment", "class_weight", "seed",
)  # fmt: skip


def collect_facts(
    config: Config, job: TrainJob, plan: EpochPlan, result: TrainResult, days: str
) -> CardFacts:
    """Return what the card tells of a training besides the contract.

    Args:
        config: the run.
        job: the training.
        plan: how the training split is read.
        result: what the training gave.
        days: first and last day of the imagery, as far as it was looked at.
    """
    best = result.history[result.best - 1]
    train = asdict(config.train)
    settings = (
        asdict(config.train.trees) if job.model.is_trees else {n: train[n] for n in _SETTINGS}
    )
    if not job.model.is_trees:
        settings["best epoch"] = f"{result.best} of {len(result.history)}"
        settings["trained"] = result.weight_count
    return CardFacts(
        data=tuple(_describe_data(config)),
        datasets=tuple(dict.fromkeys(dataset.name for dataset in config.datasets)),
        days=days,
        samples=plan.rows,
        counts=result.counts,
        split=_describe_split(config),
        metrics=best["metrics"],
        matrix=np.array(best.get("matrix") or [], np.int64),
        test_matrix=np.array(best.get("test_matrix") or [], np.int64),
        licence=config.about.licence,
        attributions=config.about.attributions,
        start=_describe_start(config, job),
        settings={name: _text(value) for name, value in settings.items() if value is not None},
    )


def _describe_data(config: Config) -> list[str]:
    lines = [find_dataset(dataset.name).about for dataset in config.datasets]
    if config.labels:
        labels = redact.file_name(config.labels.path)
        periods = ", ".join(period.name for period in config.periods)
        lines.append(f"labels of the run {config.name} ({labels}), periods {periods}")
        lines += [f"imagery {_name_of(archive)}" for archive in config.scenes]
    return lines


def _name_of(archive: Archive) -> str:
    search = archive.search
    if search is None:
        return redact.file_name(archive.path)
    return f"{', '.join(search.collections)} of {redact.redact_url(search.catalogue)}"


def _describe_split(config: Config) -> str:
    samples = config.samples
    kept_apart = "as their publishers split them"
    if config.labels or any(dataset.splits == "blocks" for dataset in config.datasets):
        side = samples.block
        blocks = f"blocks of {side} × {side} samples" if side > 1 else "squares of one sample each"
        kept_apart = f"by place: {blocks} are split as a whole"
        if samples.buffer:
            kept_apart += f", {samples.buffer:g} m apart"
    if samples.folds:
        test = f"fold {samples.fold} of {samples.folds} is the test split"
    else:
        test = f"test {100 * samples.test:g} %"
    return f"{kept_apart}; validation {100 * samples.validation:g} %, {test}, seed {samples.seed}."


def _describe_start(config: Config, job: TrainJob) -> str:
    if job.model.is_trees:
        return ""
    published = find_published(config.train.encoder)
    file = redact.file_name(config.train.weights) if config.train.weights else ""
    return ", from ".join(filter(None, [published.describe() if published else "", file]))


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)

"""Training of trees: a table of labelled pixels drawn from the samples, trees grown from it."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from torch import nn

from lulc.config import TrainConf
from lulc.errors import InputError
from lulc.location import Location
from lulc.models.networks import trees
from lulc.models.package import TREES
from lulc.models.tasks.task import Scaling
from lulc.tables import files
from lulc.training import loader, scoring
from lulc.training.distributed import World
from lulc.training.setup import (
    SampleStatistics,
    ScoreState,
    TrainJob,
    class_weights,
    make_loss_settings,
    measure,
    plan_splits,
    prepare,
)

IMPORTANCES = "importances.csv"
"""Of a training's folder: a row for every feature, feature, gain and splits."""

_STATISTICS = "statistics.json"

_ROWS_OF_LOSS = 50_000

_LEAF = 20

_ALONE = World(0, 1, torch.device("cpu"))

# Settings of train that say how trees are grown, read and scored. All others are for networks.
_SETTINGS = {"model", "trees", "class_weight", "seed", "batch", "cache", "best"}


@dataclass(frozen=True)
class LabelledTable:
    """What trees are grown from."""

    features: np.ndarray
    """(rows, features) float32, a row for a pixel or an image."""
    label: np.ndarray
    """(rows,) uint8 positions in the legend."""
    weight: np.ndarray
    """(rows,) float64, their mean 1."""


def unused_settings(train: TrainConf) -> list[str]:
    """Return the settings that were given and mean nothing to the model, by their dotted names."""
    usual = TrainConf()
    return [
        f"train.{field.name}"
        for field in dataclasses.fields(TrainConf)
        if field.name not in _SETTINGS and getattr(train, field.name) != getattr(usual, field.name)
    ]


def grow(job: TrainJob) -> tuple[dict[str, Any], Location, SampleStatistics, float]:
    """Grow the trees of a job, by this process alone, and write them into its folder.

    Returns:
        The entry of the history, the text of the trees, the statistics of the training split, and
        the temperature.

    Raises:
        InputError: there is no label, no pixel is valid, or no band tells the classes apart.
    """
    start = time.monotonic()
    plan, _ = plan_splits(job, 1)
    cache = loader.SampleCache(job.cache_bytes)
    statistics = measure(job, plan, _ALONE, cache)
    table = draw_table(job, plan, statistics, cache)
    dates = plan.layout.pixels.shape[0] if job.task.series else 1
    names = trees.feature_names(job.task_name, plan.layout.bands, dates)
    grown = _grow(job, table, names)
    path = job.folder / TREES
    _write(path, trees.write_trees(grown.booster))
    _write(job.folder / IMPORTANCES, _list_importances(grown, names))
    _write(job.folder / _STATISTICS, json.dumps(statistics.to_lists()).encode())
    state = _score_state(job, grown, statistics, cache)
    metrics, matrix = scoring.validate(state)
    temperature, scores, test_matrix = scoring.evaluate_best(state)
    entry = {
        "epoch": 1,
        "epochs": 1,
        "seconds": time.monotonic() - start,
        "finished": int(time.time() * 1000),
        "precision": "float32",
        "metrics": {"loss": _loss(grown, table), **metrics, **scores},
        "matrix": matrix,
        "test_matrix": test_matrix,
    }
    return entry, path, statistics, temperature


def load_state(job: TrainJob, text: Location) -> ScoreState:
    """Return the state of a job whose trees are grown, to score them.

    Args:
        job: the training, whose folder still has its statistics.
        text: of the trees.
    """
    lists = json.loads((job.folder / _STATISTICS).read_text())
    bands = plan_splits(job, 1)[0].layout.bands
    classes = len(job.legend.classes)
    grown = trees.read_trees(text.read_bytes(), job.model.name, job.task_name, bands, classes)
    statistics = SampleStatistics.from_lists(lists)
    return _score_state(job, grown, statistics, loader.SampleCache(0))


def draw_table(
    job: TrainJob, plan: loader.EpochPlan, statistics: SampleStatistics, cache: loader.SampleCache
) -> LabelledTable:
    """Draw labelled pixels or images from the training split, `train.trees.rows` of them or less.

    Every class has the same share in them; where one has fewer labels, all of it is taken, and the
    others have more. Which are drawn depends on the seed, the sample and the place in it alone. A
    row's weight makes up for what was not drawn, so that the classes weigh as they do undrawn, by
    `train.class_weight`.

    Args:
        job: the training.
        plan: how the training split is read.
        statistics: of the training split.
        cache: of decoded samples.

    Returns:
        The table.
    """
    counts = np.array(statistics.counts)
    shares = np.zeros(256)
    shares[: len(counts)] = draw_shares(counts, job.train.trees.rows)
    weights = np.zeros(256)
    weights[: len(counts)] = class_weights(counts, job.train.class_weight)
    state = _score_state(job, nn.Module(), statistics, cache)
    features, labels, row_weights = [], [], []
    for batch in loader.batches(plan, 0, 0, 0, shuffle=False, cache=cache):
        samples = prepare(state, batch)
        label = samples.label.numpy()
        drawn = np.stack(
            [
                _uniform(job.train.seed, sample_id, of_sample.shape) < shares[of_sample]
                for sample_id, of_sample in zip(batch.sample_ids, label, strict=True)
            ]
        )
        table = trees.tabulate(samples.pixels, samples.valid, job.task_name)
        # Labels stand only where a pixel is valid.
        rows = drawn[samples.valid.any(1).numpy()] if drawn.ndim > 1 else drawn
        features.append(table[rows])
        labels.append(label[drawn].astype(np.uint8))
        sample_weight = samples.weight.numpy().reshape(-1, *[1] * (label.ndim - 1))
        row_weights.append(np.broadcast_to(sample_weight, label.shape)[drawn])
    label = np.concatenate(labels)
    weight = np.concatenate(row_weights) * weights[label] / shares[label]
    return LabelledTable(np.concatenate(features), label, weight / weight.mean())


def draw_shares(counts: np.ndarray, most: int) -> np.ndarray:
    """Return the share of the labels of every class that is drawn.

    Args:
        counts: (K,) labels of every class.
        most: how many may be drawn of all together, about.

    Returns:
        (K,) from 0 to 1, 1 for a class that has less than its equal part of `most`.
    """
    shares = np.ones(len(counts))
    left = float(most)
    order = np.argsort(counts, kind="stable")
    for position, index in enumerate(order):
        taken = min(counts[index], left / (len(order) - position))
        shares[index] = taken / max(counts[index], 1)
        left -= taken
    return shares


def _uniform(seed: int, sample_id: str, shape: tuple[int, ...]) -> np.ndarray:
    digest = hashlib.sha256(f"{seed} {sample_id}".encode()).digest()
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16])))
    return rng.random(shape)


def _grow(job: TrainJob, table: LabelledTable, names: list[str]) -> trees.Trees:
    import lightgbm

    settings, model, classes = job.train.trees, job.model.name, len(job.legend.classes)
    leaf = settings.leaf or max(1, min(_LEAF, len(table.label) // 10))
    params: dict[str, Any] = {
        "objective": "multiclass",
        "num_class": classes,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": leaf,
        "bagging_freq": 1,
        "bagging_fraction": settings.sampling,
        "feature_fraction_bynode": settings.bands or len(names) ** -0.5,
        "seed": job.train.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": torch.get_num_threads(),
        "verbosity": -1,
    }
    if model == "forest":
        # Values of leaves are then the classes' shares: lulc.models.networks.trees.
        params |= {"boosting": "rf", "boost_from_average": False}
    else:
        params["learning_rate"] = settings.rate
    quoted = [trees.quote_name(name) for name in names]
    rows = lightgbm.Dataset(table.features, table.label, weight=table.weight, feature_name=quoted)
    booster = lightgbm.train(params, rows, settings.count)
    labelled = len(np.unique(table.label))
    if labelled > 1 and not booster.feature_importance("split").any():
        raise InputError(
            f"no band tells the {labelled} classes of {len(table.label):,} labels apart, in leaves "
            f"of {leaf} or more: give more labels or other bands, or a smaller train.trees.leaf"
        )
    return trees.Trees(booster, range(len(names)), model, job.task_name, classes)


def _loss(grown: trees.Trees, table: LabelledTable) -> float:
    # The mean loss of a row, of some thousand of those that the trees were grown from.
    some = slice(None, None, max(1, len(table.label) // _ROWS_OF_LOSS))
    logits, label, weight = (
        grown.logits(table.features[some]),
        table.label[some],
        table.weight[some],
    )
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(label)), label]
    return float(np.average(losses, weights=weight))


def _list_importances(grown: trees.Trees, names: list[str]) -> bytes:
    gains = grown.booster.feature_importance("gain").tolist()
    splits = grown.booster.feature_importance("split").tolist()
    rows = sorted(zip(names, gains, splits, strict=True), key=lambda row: -float(row[1]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("feature", "gain", "splits"))
    writer.writerows(rows)
    return text.getvalue().encode()


def _score_state(
    job: TrainJob, net: nn.Module, statistics: SampleStatistics, cache: loader.SampleCache
) -> ScoreState:
    plan, validation = plan_splits(job, 1)
    scaling = Scaling(plan.layout.scales, plan.layout.offsets, statistics.mean, statistics.std)
    settings = make_loss_settings(job.train, statistics, _ALONE.device)
    return ScoreState(job, _ALONE, validation, scaling, settings, net, cache)


def _write(location: Location, content: bytes) -> None:
    files.write_atomic(location, lambda path: path.write_bytes(content))

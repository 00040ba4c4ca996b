"""A trained model scored on its samples: metrics, calibration and examples of what it gives."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lulc.legend import NODATA
from lulc.models.device import autocast
from lulc.models.tasks import augment
from lulc.models.tasks.task import Batch
from lulc.models.windows import fixed_windows
from lulc.tables import files
from lulc.training import calibration, loader
from lulc.training.distributed import World
from lulc.training.setup import ScoreState, prepare

EXAMPLES = "examples.npz"

# Labels of the validation split that the temperature is fitted to.
_CALIBRATION_LABELS = 200_000

# Validation samples that are kept as examples.
_EXAMPLES = 6


def evaluate_best(state: ScoreState) -> tuple[float, dict[str, float], list[list[int]]]:
    """Calibrate and score the averaged weights, and save examples of what they give.

    Returns:
        The temperature; calibration error and metrics on the test split by name; and its (K, K + 1)
        confusion matrix, empty where it is not scored.
    """
    temperature = 1.0
    scores: dict[str, float] = {}
    if state.validation is not None:
        _save_examples(state, state.validation)
        temperature, scores = _calibrate(state, state.validation)
    test_folder = state.job.samples / "split=test"
    if state.job.score_test and files.list_tables(test_folder):
        test_scores, matrix = score_split(state, "test")
        scores |= {f"test_{name}": value for name, value in test_scores.items()}
        return temperature, scores, matrix
    return temperature, scores, []


def _calibrate(state: ScoreState, plan: loader.EpochPlan) -> tuple[float, dict[str, float]]:
    """Fit the temperature to a part of the labels of the validation split.

    Returns:
        The temperature, and the calibration error by name: `ece_raw` without it, `ece` with it.
    """
    if state.job.task.kind not in ("pixels", "image"):
        return 1.0, {}
    rng = np.random.default_rng(0)
    logit_parts, label_parts = [], []
    one_rank_plan = replace(plan, ranks=1)
    labels_a_sample = max(1, _CALIBRATION_LABELS // one_rank_plan.rows)
    for batch in loader.batches(one_rank_plan, 0, 0, 0, cache=state.cache):
        samples, output = forward(state, batch)
        labelled = samples.label != NODATA
        batch_logits = output.movedim(1, -1)[labelled].cpu().numpy()
        batch_labels = samples.label[labelled].cpu().numpy()
        chosen = rng.permutation(len(batch_labels))[: labels_a_sample * len(batch.label)]
        logit_parts.append(batch_logits[chosen])
        label_parts.append(batch_labels[chosen])
    logits, labels = np.concatenate(logit_parts), np.concatenate(label_parts)
    temperature = calibration.fit_temperature(logits, labels)
    return temperature, {
        "ece_raw": calibration.calibration_error(logits, labels, 1.0),
        "ece": calibration.calibration_error(logits, labels, temperature),
    }


def score_split(state: ScoreState, split: str) -> tuple[dict[str, float], list[list[int]]]:
    """Score a model on a split, by this process alone, as `validate` does."""
    plan = loader.plan_epoch(state.job.samples / f"split={split}", 1, state.job.train.batch)
    alone = World(0, 1, state.world.device)
    # The split is read once: nothing is worth caching.
    cache = loader.SampleCache(0)
    return validate(replace(state, world=alone, validation=plan, cache=cache))


def validate(state: ScoreState) -> tuple[dict[str, float], list[list[int]]]:
    """Score the averaged weights on the validation split, over all ranks.

    Returns:
        Metrics by name and the (K, K + 1) confusion matrix; both empty where there is no split.
    """
    task, world, plan = state.job.task, state.world, state.validation
    if plan is None:
        return {}, []
    evidence: list[Any] = []
    losses = torch.zeros(2, dtype=torch.float64)
    reads = world.rank < plan.ranks
    for batch in loader.batches(plan, world.rank, 0, 0, cache=state.cache) if reads else ():
        samples, output = forward(state, batch)
        evidence.append(task.evidence(output, samples.label, state.job.legend))
        if task.kind != "boxes":  # a detector has a loss only while it is trained
            loss = _loss_of(state, output, samples)
            losses += torch.stack([loss.double(), augment.count_labels(samples, task.kind)]).cpu()
    losses = world.sum(losses.to(world.device)).cpu()
    metrics, matrix = task.summarise(world.gather(evidence), state.job.legend)
    loss_metrics = {"validation_loss": float(losses[0] / losses[1])} if losses[1] else {}
    return loss_metrics | metrics, matrix.tolist()


def _loss_of(state: ScoreState, output: Tensor, samples: Batch) -> Tensor:
    """Return the loss of an output that is computed already, every sample weighing the same."""

    def net(*_: Tensor) -> Tensor:
        return output

    task, weight = state.job.task, torch.ones_like(samples.weight)
    return task.loss(net, (), samples.label, weight, state.loss_settings)  # type: ignore[arg-type]


@torch.inference_mode()
def forward(state: ScoreState, batch: loader.SampleBatch) -> tuple[Batch, Tensor]:
    """Return a batch as the model takes it, and its output."""
    samples, job, net = prepare(state, batch), state.job, state.scored_net
    net.eval()
    side = samples.pixels.shape[-1]
    window = job.fixed_window(net.state_dict(), side)
    with autocast(job.train.precision, state.world.device):
        if 0 < window < side:
            return samples, forward_windows(state, samples, window)
        return samples, job.task.forward(net, inputs_of(state, samples))


def forward_windows(state: ScoreState, samples: Batch, window: int) -> Tensor:
    """Return the output of a network that learned from crops, as maps are made of it.

    Args:
        state: whose network would say other things of an image of another size.
        samples: larger than the crops.
        window: side of the crops in pixels.
    """
    output = None
    axes = (list(fixed_windows(slice(0, n), n, window)) for n in samples.pixels.shape[-2:])
    for (rows, kept_rows), (cols, kept_cols) in itertools.product(*axes):
        pixels, valid = samples.pixels[..., rows, cols], samples.valid[..., rows, cols]
        inputs = inputs_of(state, replace(samples, pixels=pixels, valid=valid))
        part = state.job.task.forward(state.scored_net, inputs)
        if output is None:
            output = part.new_empty(*part.shape[:2], *samples.pixels.shape[-2:])
        top, left = kept_rows.start - rows.start, kept_cols.start - cols.start
        kept = output[..., kept_rows, kept_cols]
        kept.copy_(part[..., top : top + kept.shape[-2], left : left + kept.shape[-1]])
    assert output is not None
    return output


def inputs_of(state: ScoreState, samples: Batch) -> tuple[Tensor, ...]:
    """Return what the model is called with; images channels last, which is faster."""
    return tuple(
        tensor.contiguous(memory_format=torch.channels_last)
        if tensor.ndim == 4 and tensor.is_floating_point()
        else tensor
        for tensor in state.job.inputs(samples)
    )


def _save_examples(state: ScoreState, plan: loader.EpochPlan) -> None:
    """Save a few validation samples beside the weights.

    `images` are standardised, `labels` and `maps` (the outputs) are in positions of the legend.
    """
    task = state.job.task
    samples, output = forward(state, next(loader.batches(plan, 0, 0, 0)))
    images = samples.pixels[:_EXAMPLES].cpu().numpy()
    labels = samples.label[:_EXAMPLES].cpu().numpy()
    predictions = task.probabilities(output)[:_EXAMPLES]
    if task.kind in ("pixels", "image"):
        predictions = predictions.argmax(1)
    maps = predictions.cpu().numpy()
    files.write_atomic(
        state.job.folder / EXAMPLES,
        lambda path: np.savez(path, images=images, labels=labels, maps=maps),
    )

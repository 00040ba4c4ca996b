"""Training as every rank runs it: epochs, checkpoints, validation and calibration."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lulc.errors import LulcError
from lulc.location import Location
from lulc.models.device import autocast, choose_device, choose_precision, reused_memory
from lulc.models.networks.trained_parts import WeightCount, count_weights, train_mode
from lulc.models.tasks import augment
from lulc.models.tasks.task import Batch
from lulc.tables import files
from lulc.training import loader, scoring
from lulc.training.distributed import World, join_ranks
from lulc.training.setup import (
    SampleStatistics,
    ScoreState,
    TrainJob,
    TrainState,
    build_state,
    join_batches,
    measure,
    plan_splits,
    prepare,
    rate_factor,
)

STATE, LOG = "last.pt", "log.jsonl"

type History = list[dict[str, Any]]
"""A mapping for every complete epoch: epoch, epochs, seconds, finished, precision, metrics and
matrix."""


@dataclass(frozen=True)
class TrainResult:
    """The result of a training."""

    history: tuple[dict[str, Any], ...]
    """A mapping for every epoch, as `read_log` returns them."""
    best: int
    """The best epoch, from 1."""
    weights: Location
    """The weights of the best epoch."""
    mean: tuple[float, ...]
    """Of the physical values of every band in the training split."""
    std: tuple[float, ...]
    temperature: float = 1.0
    """What logits are divided by so that confidence is calibrated on the validation split; 1 where
    there is none."""
    weight_count: WeightCount | None = None
    """Of the network; None of trees."""
    counts: tuple[float, ...] = ()
    """Labelled pixels, images or boxes of every class in the training split."""

    @property
    def precision(self) -> str:
        """The precision that the best epoch was computed in; empty where it was not recorded."""
        precision: str = self.history[self.best - 1].get("precision", "")
        return precision


@reused_memory()
def fit(job: TrainJob) -> TrainResult:
    """Train, alone or as one of the ranks that torchrun's environment describes.

    A training goes on after the last complete epoch in the job's folder. Trees are grown at once,
    by one rank.

    Returns:
        The result. Its history and best epoch are the same on every rank; temperature, calibration
        error and scores on the test split are those of rank 0.
    """
    if job.model.is_trees:
        return _grow(job)
    world = join_ranks()
    try:
        return _fit(job, world)
    finally:
        if world.size > 1:
            dist.destroy_process_group()


def read_log(folder: Location) -> History:
    """Read the log of a checkpoint folder.

    Returns:
        A mapping for every complete epoch: epoch, epochs, seconds, finished (ms since 1970),
        precision of the network, metrics by name, and the (K, K + 1) confusion matrix as lists.
    """
    try:
        text = (folder / LOG).read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def best_epoch(history: Sequence[dict[str, Any]], metric: str) -> int:
    """Return the best epoch, from 1.

    Args:
        history: a mapping for every epoch.
        metric: the name of the validation score that is compared.

    Returns:
        The epoch with the highest score; of equal ones that with the lowest validation loss, and
        then the first. The last epoch where none was validated.
    """
    candidates = []
    for entry in history:
        metrics = entry["metrics"]
        score = metrics.get(metric, math.nan)
        if not math.isnan(score):
            candidates.append((score, -metrics.get("validation_loss", 0.0), -entry["epoch"]))
    return -max(candidates)[2] if candidates else len(history)


@reused_memory()
def score_split(job: TrainJob, result: TrainResult, split: str) -> dict[str, float]:
    """Score the best weights of a training on a split of its samples, on this process alone.

    Args:
        job: the training.
        result: of the training.
        split: name of the split.

    Returns:
        Metrics by name.
    """
    return scoring.score_split(load_best(job, result), split)[0]


def load_best(job: TrainJob, result: TrainResult) -> ScoreState:
    """Return the state of a training with its best weights, on this process alone.

    Args:
        job: the training, whose folder still has its checkpoint.
        result: of the training.
    """
    if job.model.is_trees:
        from lulc.training import trees

        return trees.load_state(job, result.weights)
    world = World(0, 1, choose_device())
    checkpoint = _load_state(job.folder / STATE)
    statistics = SampleStatistics.from_lists(checkpoint["figures"])
    state = build_state(job, world, plan_splits(job, 1), statistics, loader.SampleCache(0))
    state.averaged_net.module.load_state_dict(load(result.weights.read_bytes()))
    return state


def _grow(job: TrainJob) -> TrainResult:
    from lulc.training import trees

    entry, text, statistics, temperature = trees.grow(job)
    _write_log(job, [entry])
    return TrainResult(
        (entry,),
        1,
        text,
        statistics.mean,
        statistics.std,
        temperature,
        counts=statistics.counts,
    )


def _fit(job: TrainJob, world: World) -> TrainResult:
    train = job.train
    state, statistics, history = _start(job, world)
    for epoch in range(len(history) + 1, train.epochs + 1):
        epochs_since_best = len(history) - best_epoch(history, job.best_metric)
        if train.patience and epochs_since_best >= train.patience:
            break
        history.append(_run_epoch(state, epoch))
        if world.rank == 0:
            _save_epoch(state, history, statistics)
    best = best_epoch(history, job.best_metric)
    weights = job.folder / _weights_name(best)
    temperature = 1.0
    if world.rank == 0:
        state.averaged_net.module.load_state_dict(load(weights.read_bytes()))
        temperature, scores, test_matrix = scoring.evaluate_best(state)
        history[best - 1]["metrics"] |= scores
        history[best - 1]["test_matrix"] = test_matrix
    mean, std = state.scaling.mean, state.scaling.std
    count = count_weights(state.net)
    counts = statistics.counts
    return TrainResult(tuple(history), best, weights, mean, std, temperature, count, counts)


def _start(job: TrainJob, world: World) -> tuple[TrainState, SampleStatistics, History]:
    """Return the state of a training, new or from its checkpoint, and the epochs it has done."""
    path = job.folder / STATE
    checkpoint = _load_state(path) if path.exists() else None
    plans = plan_splits(job, world.size)
    cache = loader.SampleCache(job.cache_bytes)
    if checkpoint is None:
        statistics = measure(job, plans[0], world, cache)
        state = build_state(job, world, plans, statistics, cache, begins=True)
        return state, statistics, []
    statistics = SampleStatistics.from_lists(checkpoint["figures"])
    state = build_state(job, world, plans, statistics, cache)
    state.net.load_state_dict(checkpoint["net"])
    state.averaged_net.load_state_dict(checkpoint["average"])
    state.optimizer.load_state_dict(checkpoint["optimizer"])
    return state, statistics, json.loads(checkpoint["history"])


def _run_epoch(state: TrainState, epoch: int) -> dict[str, Any]:
    """Train and validate for one epoch, and return its entry of the history."""
    start = time.monotonic()
    loss = _train_epoch(state, epoch)
    _average_buffers(state)
    _check_equal_weights(state, epoch)
    metrics, matrix = scoring.validate(state)
    rate = state.optimizer.param_groups[-1]["lr"]
    return {
        "epoch": epoch,
        "epochs": state.job.train.epochs,
        "seconds": time.monotonic() - start,
        "finished": int(time.time() * 1000),
        "precision": choose_precision(state.job.train.precision, state.world.device),
        "metrics": {"loss": loss, "rate": rate, **metrics},
        "matrix": matrix,
    }


def _train_epoch(state: TrainState, epoch: int) -> float:
    """Train for an epoch, in which every sample is seen `repeats` times.

    Returns:
        The mean loss of a label.
    """
    train = state.job.train
    train_mode(state.net)
    updates = math.ceil(state.plan.steps * train.repeats / train.accumulate)
    total = torch.zeros(2, dtype=torch.float64, device=state.world.device)
    batches = _prepared_batches(state, epoch)
    for number, accumulated in enumerate(itertools.batched(batches, train.accumulate)):
        _set_rates(state, epoch, number, updates)
        total += update(state, accumulated)
    state.world.sum(total)
    return float(total[0] / total[1])


def _prepared_batches(state: TrainState, epoch: int) -> Iterator[Batch]:
    """Yield this rank's batches of an epoch; what is random in them depends on seed and lane."""
    train, rank = state.job.train, state.world.rank
    passes = range((epoch - 1) * train.repeats, epoch * train.repeats)
    steps = itertools.chain.from_iterable(
        loader.rank_steps(state.plan, rank, number, train.seed, state.cache) for number in passes
    )
    for step, lane_batches in enumerate(steps):
        yield join_batches(
            [prepare(state, batch, (train.seed, epoch, step, lane)) for lane, batch in lane_batches]
        )


def _set_rates(state: TrainState, epoch: int, number: int, updates: int) -> None:
    """Set the learning rates of update `number` (from 0) of the `updates` of an epoch."""
    train = state.job.train
    # The epochs in which the encoder is frozen, and those after them, are a cycle each.
    is_frozen = epoch <= train.frozen
    first, last = (0, train.frozen) if is_frozen else (train.frozen, train.epochs)
    progress = ((epoch - 1 - first) * updates + number) / ((last - first) * updates)
    factor = rate_factor(train.schedule, train.warmup, progress)
    for parameters in state.optimizer.param_groups:
        if parameters["encoder"] and is_frozen:
            parameters["lr"] = 0.0
        else:
            parameters["lr"] = train.rate * parameters["share"] * factor


def update(state: TrainState, batches: tuple[Batch, ...]) -> Tensor:
    """Take one step of the optimizer, over all ranks.

    Args:
        state: of the training.
        batches: this rank's samples; their gradients are accumulated.

    Returns:
        (2,) float64: the sum of this rank's losses, and the sum of weights it was counted over.
    """
    job, world = state.job, state.world
    kind = job.task.kind
    counted = torch.stack([augment.count_labels(samples, kind) for samples in batches]).sum()
    # Ranks have unequal numbers of labelled pixels: each divides by the mean number, so that the
    # averaged gradient is that of all pixels.
    mean_count = (world.sum(counted.clone()) / world.size).clamp(min=1e-6).float()
    total = torch.zeros((), dtype=torch.float64, device=world.device)
    for number, samples in enumerate(batches, 1):
        is_last = number == len(batches)
        with _gradient_sync(state, is_last):
            with autocast(job.train.precision, world.device):
                loss = job.task.loss(
                    state.shared_net,
                    scoring.inputs_of(state, samples),
                    samples.label,
                    samples.weight,
                    state.loss_settings,
                )
            (loss / mean_count).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.averaged_net.update_parameters(state.net)
    return torch.stack([total, counted])


def _gradient_sync(state: TrainState, is_last: bool) -> contextlib.AbstractContextManager[None]:
    # Accumulated gradients are averaged over the ranks once, with the last batch.
    if is_last or not isinstance(state.shared_net, DistributedDataParallel):
        return contextlib.nullcontext()
    return state.shared_net.no_sync()


@torch.no_grad()
def _average_buffers(state: TrainState) -> None:
    if state.world.size > 1:
        for module in (state.net, state.averaged_net.module):
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    state.world.sum(buffer).div_(state.world.size)


def _check_equal_weights(state: TrainState, epoch: int) -> None:
    # One gradient for all keeps the weights equal; if they ever differ, the model would be that of
    # one rank's samples alone.
    total = torch.stack([p.detach().double().sum() for p in state.net.parameters()]).sum()
    if state.world.spread(total) > 1e-6 * float(total.abs()):
        raise LulcError(
            f"the ranks' weights differ after epoch {epoch}: check the machines and their "
            "network, then run again"
        )


def _weights_name(epoch: int) -> str:
    return f"weights-{epoch:04d}.safetensors"


def _save_epoch(state: TrainState, history: History, statistics: SampleStatistics) -> None:
    # Weights, then state, then log: whatever a kill leaves behind, the state names an epoch whose
    # files are complete.
    job, averaged_net = state.job, state.averaged_net
    best = best_epoch(history, job.best_metric)
    if best == len(history):
        weights = {
            name: value.contiguous() for name, value in averaged_net.module.state_dict().items()
        }
        files.write_atomic(
            job.folder / _weights_name(best), lambda path: path.write_bytes(save(weights))
        )
    checkpoint = {
        "history": json.dumps(history),
        "figures": statistics.to_lists(),
        "net": state.net.state_dict(),
        "average": averaged_net.state_dict(),
        "optimizer": state.optimizer.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    # Not `getbuffer`: Python crashes at its end where the trace of a failed write holds the view.
    content = buffer.getvalue()
    files.write_atomic(job.folder / STATE, lambda path: path.write_bytes(content))
    _write_log(job, history)
    for path in job.folder.glob("weights-*.safetensors"):
        if path.name != _weights_name(best):
            files.remove(path)


def _write_log(job: TrainJob, history: Sequence[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(entry) + "\n" for entry in history)
    files.write_atomic(job.folder / LOG, lambda path: path.write_text(lines))


def _load_state(location: Location) -> dict[str, Any]:
    with location.open("rb") as file:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state

"""Training as every rank runs it: equal steps, one gradient, a checkpoint each epoch, the best epoch on the validation split."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lulc.errors import LulcError
from lulc.legend import NODATA
from lulc.models.device import autocast, choose_device, reused_memory
from lulc.models.tasks import augment
from lulc.models.tasks.task import Batch
from lulc.tables import files
from lulc.training import calibration, loader
from lulc.training.distributed import World, join_ranks
from lulc.training.setup import (
    TrainJob,
    TrainState,
    build_state,
    measure,
    merge_counts,
    plans,
    prepare,
    rate_factor,
)

STATE, LOG, EXAMPLES = "last.pt", "log.jsonl", "examples.npz"

# Labels of the validation split that the temperature is fitted to.
_CALIBRATED = 200_000


@dataclass(frozen=True)
class Result:
    """What training gave: a mapping an epoch, the best epoch (from 1), its weights, mean and std of physical values a band.

    temperature: what logits are divided by so that confidence is calibrated on the validation split, 1 where there is none.
    """

    history: tuple[dict[str, Any], ...]
    best: int
    weights: Path
    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float = 1.0


@reused_memory()
def fit(job: TrainJob) -> Result:
    """The Result, the same on every rank; goes on after the last complete epoch that the job's folder holds.

    Runs alone, or as one rank of those that torchrun's environment tells of.
    """
    world = join_ranks()
    try:
        return _fit(job, world)
    finally:
        if world.size > 1:
            dist.destroy_process_group()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """A mapping for every complete epoch of a checkpoint folder: epoch, epochs, seconds, finished, metrics, (K, K + 1) matrix."""
    path = folder / LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def best_epoch(history: Sequence[dict[str, Any]], by: str) -> int:
    """The epoch (from 1) whose validation score is highest; the last one where nothing was validated.

    Of equals the one with the least validation loss, and then the first.
    """
    scores = (
        (entry["metrics"], entry["metrics"].get(by, math.nan), -entry["epoch"]) for entry in history
    )
    known = [
        (score, -metrics.get("validation_loss", 0.0), number)
        for metrics, score, number in scores
        if not math.isnan(score)
    ]
    return -max(known)[2] if known else len(history)


@reused_memory()
def score_split(job: TrainJob, result: Result, split: str) -> dict[str, float]:
    """Metrics by name of a training's best weights on a split of its samples, on this process alone."""
    world = World(0, 1, choose_device())
    figures = torch.load(job.folder / STATE, map_location="cpu", weights_only=True)["figures"]
    learner = build_state(job, world, plans(job, 1), figures, loader.Kept(0))
    learner.average.module.load_state_dict(load_file(result.weights))
    return _score(learner, split)


def _score(learner: TrainState, split: str) -> dict[str, float]:
    # Of the averaged weights, by this rank alone.
    plan = loader.plan_epoch(learner.job.samples / f"split={split}", 1, learner.job.train.batch)
    alone = World(0, 1, learner.world.device)
    return _validate(replace(learner, world=alone, validation=plan, kept=loader.Kept(0)))[
        0
    ]  # read once: nothing to keep


def _fit(job: TrainJob, world: World) -> Result:
    conf = job.train
    path = job.folder / STATE
    saved = torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
    learn, check = plans(job, world.size)
    kept = loader.Kept(job.cache)
    figures = saved["figures"] if saved else measure(job, learn, world, kept)
    learner = build_state(job, world, (learn, check), figures, kept)
    history: list[dict[str, Any]] = []
    if saved:
        history = json.loads(saved["history"])
        learner.net.load_state_dict(saved["net"])
        learner.average.load_state_dict(saved["average"])
        learner.optimizer.load_state_dict(saved["optimizer"])
    for epoch in range(len(history) + 1, conf.epochs + 1):
        if (
            conf.patience
            and len(history) - best_epoch(history, conf.best or job.task.best) >= conf.patience
        ):
            break
        start = time.monotonic()
        loss = _learn(learner, epoch)
        _share_buffers(learner)
        _hold_together(learner, epoch)
        metrics, matrix = _validate(learner)
        metrics = {"loss": loss, "rate": learner.optimizer.param_groups[-1]["lr"], **metrics}
        times = {"seconds": time.monotonic() - start, "finished": int(time.time() * 1000)}
        history.append(
            {"epoch": epoch, "epochs": conf.epochs, **times, "metrics": metrics, "matrix": matrix}
        )
        if world.rank == 0:
            _keep(learner, history, figures)
    best = best_epoch(history, conf.best or job.task.best)
    weights = job.folder / _weights_name(best)
    temperature = 1.0
    if world.rank == 0:
        learner.average.module.load_state_dict(load_file(weights))
        if check is not None:
            _keep_examples(learner, check)
            temperature, errors = _calibrate(learner, check)
            history[best - 1]["metrics"] |= errors
        if job.tested and any((job.samples / "split=test").rglob("[!.]*.parquet")):
            history[best - 1]["metrics"] |= {
                f"test_{name}": value for name, value in _score(learner, "test").items()
            }
    return Result(
        tuple(history), best, weights, learner.scaling.mean, learner.scaling.std, temperature
    )


def _calibrate(learner: TrainState, plan: loader.EpochPlan) -> tuple[float, dict[str, float]]:
    """The temperature fitted to a part of the validation split's labels, and the calibration error before and after, by name."""
    if learner.job.task.kind not in ("pixels", "image"):
        return 1.0, {}
    rng, logits, labels = np.random.default_rng(0), [], []
    whole = replace(plan, ranks=1)
    few = max(1, _CALIBRATED // whole.rows)
    for batch in loader.batches(whole, 0, 0, 0, kept=learner.kept):
        samples, answer = _map(learner, batch)
        known = samples.label != NODATA
        found, truth = (
            answer.movedim(1, -1)[known].cpu().numpy(),
            samples.label[known].cpu().numpy(),
        )
        chosen = rng.permutation(len(truth))[: few * len(batch.label)]
        logits.append(found[chosen])
        labels.append(truth[chosen])
    said, right = np.concatenate(logits), np.concatenate(labels)
    temperature = calibration.fit_temperature(said, right)
    named = {"ece_raw": 1.0, "ece": temperature}
    return temperature, {
        name: calibration.calibration_error(said, right, t) for name, t in named.items()
    }


def _learn(learner: TrainState, epoch: int) -> float:
    """The mean loss of a label over an epoch in which every sample was seen `repeats` times."""
    conf, rank = learner.job.train, learner.world.rank
    learner.net.train()
    passes = range((epoch - 1) * conf.repeats, epoch * conf.repeats)
    steps = itertools.chain.from_iterable(
        loader.keep_mask(learner.plan, rank, number, conf.seed, learner.kept) for number in passes
    )
    ready = (
        merge_counts(
            [prepare(learner, batch, (conf.seed, epoch, step, lane)) for lane, batch in parts]
        )
        for step, parts in enumerate(steps)
    )
    updates = math.ceil(learner.plan.steps * conf.repeats / conf.accumulate)
    total = torch.zeros(2, dtype=torch.float64, device=learner.world.device)
    for number, group in enumerate(itertools.batched(ready, conf.accumulate)):
        # The epochs in which the encoder is held, and those after them, are a cycle each.
        first, last = (0, conf.frozen) if epoch <= conf.frozen else (conf.frozen, conf.epochs)
        done = ((epoch - 1 - first) * updates + number) / ((last - first) * updates)
        for parameters in learner.optimizer.param_groups:
            held = parameters["encoder"] and epoch <= conf.frozen
            parameters["lr"] = (
                0.0
                if held
                else conf.rate * parameters["share"] * rate_factor(conf.schedule, conf.warmup, done)
            )
        total += update(learner, group)
    learner.world.sum(total)
    return float(total[0] / total[1])


def update(learner: TrainState, group: tuple[Batch, ...]) -> Tensor:
    """(sum of losses, what they were counted over) of this rank's part of one step of the optimizer."""
    job, world = learner.job, learner.world
    counted = torch.stack([augment.count_dates(samples, job.task.kind) for samples in group]).sum()
    # Ranks hold unequal numbers of labelled pixels: each divides by their mean, so that the averaged gradient is that of all.
    share = (world.sum(counted.clone()) / world.size).clamp(min=1e-6).float()
    total = torch.zeros((), dtype=torch.float64, device=world.device)
    for number, samples in enumerate(group, 1):
        waits = number < len(group) and isinstance(learner.shared, DistributedDataParallel)
        with learner.shared.no_sync() if waits else contextlib.nullcontext():  # type: ignore[operator]
            with autocast(job.train.precision, world.device):
                loss = job.task.loss(
                    learner.shared,
                    _inputs(learner, samples),
                    samples.label,
                    samples.weight,
                    learner.penalty,
                )
            (loss / share).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
    learner.average.update_parameters(learner.net)
    return torch.stack([total, counted])


def _inputs(learner: TrainState, samples: Batch) -> tuple[Tensor, ...]:
    # Images channels last, which is faster.
    found = learner.job.task.inputs(samples)
    return tuple(
        x.contiguous(memory_format=torch.channels_last)
        if x.ndim == 4 and x.is_floating_point()
        else x
        for x in found
    )


@torch.no_grad()
def _share_buffers(learner: TrainState) -> None:
    if learner.world.size > 1:
        for module in (learner.net, learner.average.module):
            for buffer in (b for b in module.buffers() if b.is_floating_point()):
                learner.world.sum(buffer).div_(learner.world.size)


def _hold_together(learner: TrainState, epoch: int) -> None:
    # One gradient for all keeps the weights equal; if it ever does not, the model would be that of one rank's samples alone.
    total = torch.stack([p.detach().double().sum() for p in learner.net.parameters()]).sum()
    if learner.world.spread(total) > 1e-6 * float(total.abs()):
        raise LulcError(
            f"the ranks' weights differ after epoch {epoch}: check the machines and their network, then run again"
        )


def _validate(learner: TrainState) -> tuple[dict[str, float], list[list[int]]]:
    """Metrics by name and the confusion matrix of the averaged weights on the validation split; nothing where there is none."""
    task, world, plan = learner.job.task, learner.world, learner.validation
    if plan is None:
        return {}, []
    found: list[Any] = []
    losses = torch.zeros(2, dtype=torch.float64)
    for batch in (
        loader.batches(plan, world.rank, 0, 0, kept=learner.kept) if world.rank < plan.ranks else ()
    ):
        samples, answer = _map(learner, batch)
        found.append(task.judge(answer, samples.label, learner.job.legend))
        if task.kind != "boxes":  # a detector's loss is known while it learns alone
            loss = _loss_of(learner, answer, samples)
            losses += torch.stack([loss.double(), augment.count_dates(samples, task.kind)]).cpu()
    losses = world.sum(losses.to(world.device)).cpu()
    metrics, matrix = task.summarise(world.gather(found), learner.job.legend)
    known = {"validation_loss": float(losses[0] / losses[1])} if losses[1] else {}
    return known | metrics, matrix.tolist()


def _loss_of(learner: TrainState, answer: Tensor, samples: Batch) -> Tensor:
    """The loss of an answer that is there already, every sample weighing the same."""

    def say(*_: Tensor) -> Tensor:
        return answer

    task = learner.job.task
    return task.loss(say, (), samples.label, torch.ones_like(samples.weight), learner.penalty)  # type: ignore[arg-type]


@torch.inference_mode()
def _map(learner: TrainState, batch: loader.SampleBatch) -> tuple[Batch, Tensor]:
    """A batch as the network takes it, and the answer of the averaged weights."""
    samples = prepare(learner, batch)
    learner.average.eval()
    with autocast(learner.job.train.precision, learner.world.device):
        return samples, learner.job.task.answer(learner.average, _inputs(learner, samples))


def _weights_name(epoch: int) -> str:
    return f"weights-{epoch:04d}.safetensors"


def _keep(
    learner: TrainState, history: list[dict[str, Any]], figures: dict[str, list[float]]
) -> None:
    # Weights, then state, then log: whatever a kill leaves behind, the state names an epoch whose files are whole.
    job, average = learner.job, learner.average
    best = best_epoch(history, job.train.best or job.task.best)
    if best == len(history):
        kept = {name: value.contiguous() for name, value in average.module.state_dict().items()}
        files.write_atomic(
            job.folder / _weights_name(best), lambda beside: beside.write_bytes(save(kept))
        )
    state = {"history": json.dumps(history), "figures": figures, "net": learner.net.state_dict()}
    state |= {"average": average.state_dict(), "optimizer": learner.optimizer.state_dict()}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files.write_atomic(job.folder / STATE, lambda beside: beside.write_bytes(buffer.getbuffer()))
    lines = "".join(json.dumps(entry) + "\n" for entry in history)
    files.write_atomic(job.folder / LOG, lambda beside: beside.write_text(lines))
    for path in job.folder.glob("weights-*.safetensors"):
        if path.name != _weights_name(best):
            path.unlink()


def _keep_examples(learner: TrainState, plan: loader.EpochPlan) -> None:
    """Image (standardised), label and answer (in positions of the legend) of a few validation samples, beside the weights."""
    samples, answer = _map(learner, next(loader.batches(plan, 0, 0, 0)))
    images, labels = samples.pixels[:6].cpu().numpy(), samples.label[:6].cpu().numpy()
    said = answer if learner.job.task.kind == "boxes" else learner.job.task.share(answer)
    said = said[:6].argmax(1) if learner.job.task.kind in ("pixels", "image") else said[:6]
    maps = said.cpu().numpy()
    files.write_atomic(
        learner.job.folder / EXAMPLES,
        lambda beside: np.savez(beside, images=images, labels=labels, maps=maps),
    )

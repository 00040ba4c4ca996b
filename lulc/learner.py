"""What one rank of a training holds: the job, its place among the ranks, the network, the optimizer; and how they are made."""

from __future__ import annotations

import math
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from lulc import stream
from lulc.conf import Train
from lulc.errors import InputError, UsageError
from lulc.legend import NODATA, Legend
from lulc.models import MODELS
from lulc.models.device import choose_device
from lulc.tasks import TASKS, Penalty, Scaling


@dataclass(frozen=True)
class Job:
    """All that a rank is told: settings, legend, the folder of the samples table, the folder of the checkpoint."""

    train: Train
    legend: Legend
    samples: Path
    folder: Path
    task: str = "segment"

    @property
    def architecture(self) -> dict[str, Any]:
        """Keyword arguments of the model's `build`."""
        conf = self.train
        return {"encoder": conf.encoder, "depth": conf.depth, "decoder": list(conf.decoder), "dropout": conf.dropout}


@dataclass(frozen=True)
class World:
    """This process among the `size` ranks that train together."""

    rank: int
    size: int
    device: torch.device

    def sum(self, values: Tensor) -> Tensor:
        """The values, replaced by their sum over all ranks."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def spread(self, value: Tensor) -> float:
        """How far a number differs between the ranks."""
        ends = torch.stack([value, -value])
        if self.size > 1:
            dist.all_reduce(ends, dist.ReduceOp.MAX)
        return float(ends.sum())


@dataclass(frozen=True)
class Learner:
    """One rank's state. shared: net, its gradients averaged over the ranks; average: the weights that are validated and kept."""

    job: Job
    world: World
    plan: stream.Plan
    validation: stream.Plan | None
    scaling: Scaling
    penalty: Penalty
    net: nn.Module
    shared: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer


def join() -> World:
    """This process's place among the ranks that torchrun's environment tells of (alone without it), given its cores."""
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = choose_device()
    names: list[Any] = [socket.gethostname()] * size
    if size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        dist.all_gather_object(names, socket.gethostname())
    if "WORLD_SIZE" in os.environ:
        # Launchers ask for one thread a process; the ranks of one machine share all its cores.
        cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // names.count(socket.gethostname())))
    return World(rank, size, device)


def plans(job: Job, ranks: int) -> tuple[stream.Plan, stream.Plan | None]:
    """How the training split and the validation split (None where it is empty) are read by so many ranks.

    InputError when the training split cannot feed them; a small validation split is read by the first of them alone.
    """
    batch, folder = job.train.batch, job.samples / "split=validation"
    learn = stream.plan(job.samples / "split=train", ranks, batch)
    if not any(folder.rglob("[!.]*.parquet")):
        return learn, None
    check = stream.plan(folder, 1, batch)
    return learn, replace(check, ranks=min(ranks, len(check.groups)))


def check(job: Job, bands: tuple[str, ...]) -> tuple[stream.Plan, stream.Plan | None]:
    """The plans of a job that can run, found out before any launch; else UsageError or InputError says what to change."""
    conf, (learn, validation) = job.train, plans(job, job.train.ranks)
    if conf.model not in MODELS:
        raise UsageError(f"train.model {conf.model!r} is not known: {', '.join(MODELS)} are")
    if learn.layout.bands != bands:
        raise InputError(
            f"{job.samples} holds bands {list(learn.layout.bands)}, the run file asks for {list(bands)}: run `lulc samples`"
        )
    side = learn.layout.label.shape[-1]
    used, multiple = min(conf.crop or side, side), MODELS[conf.model].multiple(**job.architecture)
    # Below two cells at the deepest level, batch norm has nothing to average over.
    if side % multiple or used % multiple or used < 2 * multiple:
        raise UsageError(
            f"samples of {side} pixels, cropped to {used}, do not suit train.depth {conf.depth}: both must be multiples of "
            f"{multiple} and at least {2 * multiple}; change samples.size, train.crop or train.depth"
        )
    MODELS[conf.model].build(len(bands), len(job.legend.classes), **job.architecture)
    return learn, validation


def measure(job: Job, plan: stream.Plan, world: World) -> dict[str, list[float]]:
    """mean and std of physical values a band, counts of labelled pixels a class, over all valid pixels of the training split.

    Sums in float64. InputError when no pixel has a label.
    """
    scales, offsets = (torch.tensor(x, dtype=torch.float64)[:, None] for x in (plan.layout.scales, plan.layout.offsets))
    sums = torch.zeros(2 * len(scales) + 1, dtype=torch.float64)
    counts = torch.zeros(256, dtype=torch.float64)
    for batch in stream.batches(plan, world.rank, 0, 0):
        pixels, valid, label = tensors(job, batch)
        image, seen = TASKS[job.task].composite(pixels, valid)
        values = image.movedim(1, 0)[:, seen].double() * scales + offsets
        sums += torch.cat([values.sum(1), values.square().sum(1), seen.sum(dtype=torch.float64)[None]])
        counts += torch.bincount(label[seen], minlength=256)
    sums, counts = (world.sum(x.to(world.device)).cpu() for x in (sums, counts))
    counts = counts[: len(job.legend.classes)]
    if not counts.sum():
        raise InputError(f"{job.samples} holds no labelled pixel to train on: see labels and samples in the run file")
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    std = (square - mean.square()).clamp(min=0).sqrt()
    # A band that never varies tells nothing: it becomes zero, not infinite.
    std[std <= 1e-7 * mean.abs()] = 1.0
    return {"mean": mean.tolist(), "std": std.tolist(), "counts": counts.tolist()}


def build(job: Job, world: World, plans: tuple[stream.Plan, stream.Plan | None], figures: dict[str, list[float]]) -> Learner:
    """The Learner before its first step, the same on every rank; `figures` are those of `measure`."""
    conf, layout = job.train, plans[0].layout
    torch.manual_seed(conf.seed)
    net = MODELS[conf.model].build(len(layout.bands), len(job.legend.classes), **job.architecture)
    net = net.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Batch norm's running figures are averaged once an epoch, not sent at every step.
    shared = DistributedDataParallel(net, forward_sync_buffers=False) if world.size > 1 else net

    def update(kept: list[Tensor], new: list[Tensor], count: Tensor) -> None:
        done = int(count)
        if kept[0].is_floating_point():
            torch._foreach_lerp_(kept, new, 1 - min(conf.ema, (1 + done) / (10 + done)))
        else:
            torch._foreach_copy_(kept, new)

    average = AveragedModel(net, multi_avg_fn=update, use_buffers=True)  # type: ignore[arg-type]
    # Norms and biases are not decayed: it would pull them to zero, not towards simpler functions.
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": conf.weight_decay},
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=conf.rate, fused=True)
    weights = class_weights(np.array(figures["counts"]), conf.class_weight)
    penalty = Penalty(torch.tensor(weights, dtype=torch.float32, device=world.device), conf.smoothing, conf.dice)
    scaling = Scaling(layout.scales, layout.offsets, tuple(figures["mean"]), tuple(figures["std"]))
    return Learner(job, world, *plans, scaling, penalty, net, shared, average, optimizer)


def tensors(job: Job, batch: stream.Batch) -> tuple[Tensor, Tensor, Tensor]:
    """A batch as it was read: DN, valid, label as positions in the legend (uint8)."""
    label = job.legend.to_index()[batch.label]
    return torch.from_numpy(batch.pixels), torch.from_numpy(batch.valid), torch.from_numpy(label)


def prepare(learner: Learner, batch: stream.Batch, place: tuple[int, ...] | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Network input (N, C, H, W), label (255 where not valid) and weight (N,) of a batch, on the device.

    With a `place` (seed, epoch, step, rank) it is cropped and augmented: what is random in it, and in the step that follows,
    depends on the place alone.
    """
    job, device = learner.job, learner.world.device
    task, raw = TASKS[job.task], tensors(job, batch)
    if place:
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        raw = task.crop(raw, job.train.crop) if job.train.crop else raw
    pixels, valid, label = (x.to(device, non_blocking=True) for x in raw)
    image, seen = task.prepare(pixels, valid, learner.scaling)
    if place:
        image, seen, label = task.augment((image, seen, label), job.train.augment)
    weight = torch.from_numpy(batch.weight).to(device, torch.float32)
    return image.contiguous(memory_format=torch.channels_last), label.long().masked_fill(~seen, NODATA), weight


def rate_factor(schedule: str, warmup: float, done: float) -> float:
    """The share of the highest learning rate after a share `done` of all steps.

    onecycle: cosine from 1/25 up over the warm-up, cosine down to 1/250,000 (Smith and Topin 2018, arXiv:1708.07120);
    cosine and constant: linear up over the warm-up, then cosine to zero or level.
    """
    if done < warmup:
        rise = done / warmup
        return 0.04 + 0.96 * (1 - math.cos(math.pi * rise)) / 2 if schedule == "onecycle" else max(rise, 0.01)
    if schedule == "constant":
        return 1.0
    fall = (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2
    return max(fall, 4e-6) if schedule == "onecycle" else fall


def class_weights(counts: np.ndarray, power: float) -> np.ndarray:
    """(K,) weights (1 / frequency) ** power, their mean over the counted pixels 1; 0 for a class without pixels."""
    present = counts > 0
    weights = np.where(present, 1 / np.maximum(counts, 1), 0.0) ** power * present
    return np.asarray(weights * counts.sum() / (weights * counts).sum())

"""What one rank of a training holds: the job, its place among the ranks, the network, the optimizer; and how they are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lulc.config import TrainConf
from lulc.errors import InputError, UsageError
from lulc.legend import Legend
from lulc.models.networks import pretrained
from lulc.models.networks.model import Model
from lulc.models.networks.registry import choose_model
from lulc.models.tasks import augment
from lulc.models.tasks.registry import TASKS
from lulc.models.tasks.task import Batch, LossConf, Scaling, Task
from lulc.training import loader
from lulc.training.distributed import World, share_gradients


@dataclass(frozen=True)
class TrainJob:
    """All that a rank is told: settings, legend, the folder of the samples table, the folder of the checkpoint, the task.

    tested: whether the best weights are scored on the test split, where there is one, when all is learned.
    """

    train: TrainConf
    legend: Legend
    samples: Path
    folder: Path
    asked: str = "segment"
    tested: bool = False

    @property
    def task(self) -> Task:
        """What the model is to learn."""
        return TASKS[self.asked]

    @property
    def model(self) -> Model:
        """The kind of network; UsageError where it cannot serve the task."""
        return choose_model(self.train.model, self.asked)

    @property
    def cache(self) -> int:
        """Bytes of decoded samples that a rank keeps."""
        return int(self.train.cache[:-1]) << {"m": 20, "g": 30}[self.train.cache[-1]]

    @property
    def architecture(self) -> dict[str, Any]:
        """Keyword arguments of the model's `build`."""
        conf = self.train
        found = {
            "encoder": conf.encoder,
            "depth": conf.depth,
            "decoder": list(conf.decoder),
            "dropout": conf.dropout,
        }
        return found | ({"shrink": conf.shrink} if conf.shrink > 1 else {})


@dataclass(frozen=True)
class TrainState:
    """One rank's state. shared: net, its gradients averaged over the ranks; average: the weights that are validated and kept.

    kept: the samples that stay in memory.
    """

    job: TrainJob
    world: World
    plan: loader.EpochPlan
    validation: loader.EpochPlan | None
    scaling: Scaling
    penalty: LossConf
    net: nn.Module
    shared: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    kept: loader.Kept


def plans(job: TrainJob, ranks: int) -> tuple[loader.EpochPlan, loader.EpochPlan | None]:
    """How the training split and the validation split (None where it is empty) are read by so many ranks.

    InputError when the training split cannot feed them; a small validation split is read by the first of them alone.
    """
    batch, folder = job.train.batch, job.samples / "split=validation"
    learn = loader.plan_epoch(job.samples / "split=train", ranks, batch)
    if not any(folder.rglob("[!.]*.parquet")):
        return learn, None
    check = loader.plan_epoch(folder, 1, batch)
    return learn, replace(check, ranks=min(ranks, len(check.groups)))


def check_job(
    job: TrainJob, bands: tuple[str, ...]
) -> tuple[loader.EpochPlan, loader.EpochPlan | None]:
    """The plans of a job that can run, found out before any launch; else UsageError or InputError says what to change."""
    conf, (learn, validation) = job.train, plans(job, job.train.ranks)
    layout = learn.layout
    if layout.task != job.asked:
        raise InputError(
            f"{job.samples} holds samples for {layout.task}, the run file's task is {job.asked}: run `lulc samples`"
        )
    if layout.bands != bands:
        raise InputError(
            f"{job.samples} holds bands {list(layout.bands)}, the run file asks for {list(bands)}: run `lulc samples`"
        )
    if job.asked == "change" and layout.pixels.shape[0] < 2:
        raise InputError(
            f"{job.samples} holds one date a sample, change is seen between two: set `dates: 2`, then run `lulc samples`"
        )
    if conf.shrink > 1 and job.model.name not in ("unet", "classifier"):
        raise UsageError(
            f"train.shrink is for models unet and classifier, not for {job.model.name}: leave it out"
        )
    side, multiple = layout.pixels.shape[-1], job.model.multiple(**job.architecture)
    used = min(conf.crop or side, side)
    # Below two cells at the deepest level, batch norm has nothing to average over.
    if side % multiple or used % multiple or used < 2 * multiple:
        raise UsageError(
            f"samples of {side} pixels, cropped to {used}, do not suit train.depth {conf.depth}: both must be multiples of "
            f"{multiple} and at least {2 * multiple}; change samples.size, train.crop or train.depth"
        )
    job.model.build(len(bands), len(job.legend.classes), **job.architecture)
    return learn, validation


def measure(
    job: TrainJob, plan: loader.EpochPlan, world: World, kept: loader.Kept
) -> dict[str, list[float]]:
    """mean and std of physical values a band over all valid pixels of the training split; counts of its labels a class.

    Sums in float64. InputError when there is no label, or no pixel is valid.
    """
    scales, offsets = (
        torch.tensor(x, dtype=torch.float64)[:, None]
        for x in (plan.layout.scales, plan.layout.offsets)
    )
    sums = torch.zeros(2 * len(scales) + 1, dtype=torch.float64)
    counts = torch.zeros(256, dtype=torch.float64)
    for batch in loader.batches(plan, world.rank, 0, 0, kept=kept):
        found = augment.reduce(tensors(job, batch), job.task)
        values = found.pixels.movedim(2, 0)[:, found.valid].double() * scales + offsets
        sums += torch.cat(
            [values.sum(1), values.square().sum(1), found.valid.sum(dtype=torch.float64)[None]]
        )
        counts += augment.class_counts(found, job.task.kind)
    sums, counts = (world.sum(x.to(world.device)).cpu() for x in (sums, counts))
    counts = counts[: len(job.legend.classes)]
    if not counts.sum() or not sums[-1]:
        raise InputError(
            f"{job.samples} holds no label to train on, or no valid pixel: see labels and samples in the run file"
        )
    if not torch.isfinite(sums).all():
        raise InputError(
            f"{job.samples} holds pixels that are not numbers where it says they are valid: run `lulc samples` again"
        )
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    std = (square - mean.square()).clamp(min=0).sqrt()
    # A band that never varies tells nothing: it becomes zero, not infinite.
    std[std <= 1e-7 * mean.abs()] = 1.0
    return {"mean": mean.tolist(), "std": std.tolist(), "counts": counts.tolist()}


def build_state(
    job: TrainJob,
    world: World,
    plans: tuple[loader.EpochPlan, loader.EpochPlan | None],
    figures: dict[str, list[float]],
    kept: loader.Kept,
) -> TrainState:
    """The Learner before its first step, the same on every rank; `figures` are those of `measure`."""
    conf, layout = job.train, plans[0].layout
    torch.manual_seed(conf.seed)
    net = job.model.build(len(layout.bands), len(job.legend.classes), **job.architecture)
    if conf.weights:
        pretrained.load_weights(net, conf.weights, conf.encoder, layout.bands)
    net = net.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    shared = share_gradients(net, world)

    def update(kept: list[Tensor], new: list[Tensor], count: Tensor) -> None:
        done = int(count)
        if kept[0].is_floating_point():
            torch._foreach_lerp_(kept, new, 1 - min(conf.ema, (1 + done) / (10 + done)))
        else:
            torch._foreach_copy_(kept, new)

    average = AveragedModel(net, multi_avg_fn=update, use_buffers=True)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(_groups(net, conf), lr=conf.rate, fused=True)
    weights = class_weights(np.array(figures["counts"]), conf.class_weight)
    weighing = torch.tensor(weights, dtype=torch.float32, device=world.device)
    penalty = LossConf(weighing, conf.smoothing, conf.dice, conf.focal, conf.bootstrap)
    scaling = Scaling(layout.scales, layout.offsets, tuple(figures["mean"]), tuple(figures["std"]))
    return TrainState(job, world, *plans, scaling, penalty, net, shared, average, optimizer, kept)


def _groups(net: nn.Module, conf: TrainConf) -> list[dict[str, Any]]:
    """The optimizer's groups of parameters; `share`: of the learning rate; `encoder`: whether they are held in frozen epochs."""
    stages: list[tuple[list[nn.Parameter], float, bool]] = []
    known: set[int] = set()
    if conf.frozen or conf.encoder_rate < 1:
        parts = [list(stage.parameters()) for stage in pretrained.encoder_of(net).children()]
        parts = [part for part in parts if part]
        for number, part in enumerate(parts):
            stages.append((part, conf.encoder_rate ** (1 - (number + 1) / len(parts)), True))
            known |= {id(p) for p in part}
    stages.append(([p for p in net.parameters() if id(p) not in known], 1.0, False))
    groups = []
    for part, share, encoder in stages:
        # Norms and biases are not decayed: it would pull them to zero, not towards simpler functions.
        for decayed in (True, False):
            chosen = [p for p in part if (p.ndim > 1) == decayed]
            groups.append(
                {
                    "params": chosen,
                    "weight_decay": conf.weight_decay * decayed,
                    "share": share,
                    "encoder": encoder,
                }
            )
    return [group for group in groups if group["params"]]


def tensors(job: TrainJob, batch: loader.SampleBatch) -> Batch:
    """A batch as it was read: DN, valid, days, and the label with positions in the legend for ids."""
    label, at = batch.label, job.legend.to_index()
    if job.task.kind == "boxes":
        label = np.concatenate(
            [at[label[..., :1].astype(np.uint8)], label[..., 1:]], axis=-1, dtype=np.float32
        )
    elif job.task.kind != "tags":
        label = at[label]
    arrays = (batch.pixels, batch.valid, batch.days, label, batch.weight.astype(np.float32))
    return Batch(*map(torch.from_numpy, arrays))


def merge_counts(parts: Sequence[Batch]) -> Batch:
    """The samples of all parts, one after another."""
    if len(parts) == 1:
        return parts[0]
    joined = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Batch)}
    return Batch(**joined)


def prepare(
    learner: TrainState, batch: loader.SampleBatch, place: tuple[int, ...] | None = None
) -> Batch:
    """A batch as the network takes it, on the device: standardised, a label a pixel 255 where not valid.

    With a `place` (seed, epoch, step, lane) it is cropped and augmented: what is random in it, and in the step that follows,
    depends on the place alone.
    """
    job, task = learner.job, learner.job.task
    samples = tensors(job, batch)
    if place:
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        samples = augment.crop(samples, job.train.crop, task.kind) if job.train.crop else samples
    moved = {
        f.name: getattr(samples, f.name).to(learner.world.device, non_blocking=True)
        for f in fields(samples)
    }
    ready = augment.standardise(augment.reduce(Batch(**moved), task), learner.scaling)
    return augment.augment(ready, job.train.augment, task.kind, learner.scaling) if place else ready


def rate_factor(schedule: str, warmup: float, done: float) -> float:
    """The share of the highest learning rate after a share `done` of all steps.

    onecycle: cosine from 1/25 up over the warm-up, cosine down to 1/250,000 (Smith and Topin 2018, arXiv:1708.07120);
    cosine and constant: linear up over the warm-up, then cosine to zero or level.
    """
    if done < warmup:
        rise = done / warmup
        return (
            0.04 + 0.96 * (1 - math.cos(math.pi * rise)) / 2
            if schedule == "onecycle"
            else max(rise, 0.01)
        )
    if schedule == "constant":
        return 1.0
    fall = (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2
    return max(fall, 4e-6) if schedule == "onecycle" else fall


def class_weights(counts: np.ndarray, power: float) -> np.ndarray:
    """(K,) weights (1 / frequency) ** power, their mean over the counted pixels 1; 0 for a class without pixels."""
    present = counts > 0
    weights = np.where(present, 1 / np.maximum(counts, 1), 0.0) ** power * present
    return np.asarray(weights * counts.sum() / (weights * counts).sum())

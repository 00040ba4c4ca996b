"""What a rank trains with: the job, its network and optimizer, and how they are made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lulc import progress
from lulc.bands import COMMON
from lulc.config import TrainConf, TreesConf
from lulc.errors import InputError, UsageError
from lulc.legend import Legend
from lulc.location import Location
from lulc.models.networks import pretrained
from lulc.models.networks.architecture import TORCHGEO, architecture_of
from lulc.models.networks.model import Model, knows_positions
from lulc.models.networks.registry import choose_model
from lulc.models.networks.torchgeo_backbones import Backbone
from lulc.models.networks.torchgeo_weights import find_published
from lulc.models.networks.trained_parts import count_weights, encoder_stages, hold_encoder
from lulc.models.tasks import augment
from lulc.models.tasks.registry import TASKS
from lulc.models.tasks.task import Batch, LossConf, Scaling, Task
from lulc.tables import files
from lulc.training import loader
from lulc.training.distributed import World, share_gradients

type SplitPlans = tuple[loader.EpochPlan, loader.EpochPlan | None]
"""Plans of the training split and of the validation split; None where the latter is empty."""


@dataclass(frozen=True)
class TrainJob:
    """A training as every rank gets it."""

    train: TrainConf
    legend: Legend
    samples: Location
    """Folder of the samples table."""
    folder: Location
    """Folder of the checkpoint."""
    task_name: str = "segment"
    score_test: bool = False
    """Whether the best weights are scored at the end on the test split, if there is one."""
    bands: tuple[str, ...] = ()
    """Bands of the run file, in order."""

    @property
    def task(self) -> Task:
        """The task that the network learns."""
        return TASKS[self.task_name]

    @property
    def model(self) -> Model:
        """The kind of model; UsageError where it cannot serve the task."""
        return choose_model(self.train.model, self.task_name)

    def inputs(self, samples: Batch) -> tuple[Tensor, ...]:
        """Return what the model is called with, of prepared samples."""
        return (self.model.inputs or self.task.inputs)(samples)

    @property
    def best_metric(self) -> str:
        """The validation metric that the best epoch is chosen by."""
        return self.train.best or self.task.best

    @property
    def ranks(self) -> int:
        """Number of processes that train."""
        return 1 if self.model.is_trees else self.train.ranks

    @property
    def cache_bytes(self) -> int:
        """Bytes of decoded samples that a rank keeps in memory."""
        return int(self.train.cache[:-1]) << {"m": 20, "g": 30}[self.train.cache[-1]]

    @property
    def architecture(self) -> dict[str, Any]:
        """Keyword arguments of the network's `build`, or how trees are grown."""
        if self.model.is_trees:
            return asdict(self.train.trees)
        return architecture_of(self.train, self.bands)

    def fixed_window(self, names: Iterable[str], side: int) -> int:
        """Return the side of the windows that the network must see; 0 where any size will do.

        Args:
            names: of the network's weights.
            side: of the samples in pixels.
        """
        if not knows_positions(names):
            return 0
        # Only maps are made of windows: an image that has one class is as large as a sample.
        is_cut = self.task.kind == "pixels"
        return min(self.train.crop or side, side) if is_cut else side


@dataclass(frozen=True)
class SampleStatistics:
    """Statistics of the training split."""

    mean: tuple[float, ...]
    """Of the physical values of every band."""
    std: tuple[float, ...]
    counts: tuple[float, ...]
    """Labelled pixels, images or boxes of every class of the legend."""

    def to_lists(self) -> dict[str, list[float]]:
        """Return them as a checkpoint keeps them."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_lists(cls, lists: dict[str, list[float]]) -> SampleStatistics:
        """Return the statistics that a checkpoint keeps."""
        return cls(**{name: tuple(values) for name, values in lists.items()})


@dataclass(frozen=True)
class ScoreState:
    """What a model under training is scored with, on one rank."""

    job: TrainJob
    world: World
    validation: loader.EpochPlan | None
    scaling: Scaling
    loss_settings: LossConf
    scored_net: nn.Module
    """What is validated and saved: of a network the moving average of its weights."""
    cache: loader.SampleCache


@dataclass(frozen=True)
class TrainState(ScoreState):
    """One rank's state in the training of a network."""

    plan: loader.EpochPlan
    net: nn.Module
    shared_net: nn.Module
    """`net`, its gradients averaged over the ranks."""
    averaged_net: AveragedModel
    """The moving average of the weights."""
    optimizer: torch.optim.Optimizer


def plan_splits(job: TrainJob, ranks: int) -> SplitPlans:
    """Plan how so many ranks read the training and the validation split.

    Of a validation split with fewer row groups than ranks, each row group is read by one rank.

    Returns:
        The plan of the training split, and that of the validation split, None where it is empty.

    Raises:
        InputError: the training split has too few samples for the ranks.
    """
    batch, folder = job.train.batch, job.samples / "split=validation"
    plan = loader.plan_epoch(job.samples / "split=train", ranks, batch)
    if not files.list_tables(folder):
        return plan, None
    validation = loader.plan_epoch(folder, 1, batch)
    return plan, replace(validation, ranks=min(ranks, len(validation.groups)))


def check_job(job: TrainJob) -> SplitPlans:
    """Check before any launch that a job can run.

    Returns:
        The plans of `plan_splits`.

    Raises:
        InputError: the samples are not those that the run file describes.
        UsageError: the settings of the training do not suit the samples.
    """
    plan, validation = plan_splits(job, job.ranks)
    _check_layout(job, plan.layout)
    if job.train.trees != TreesConf() and not job.model.is_trees:
        raise UsageError(
            f"train.trees is for models boosting and forest, not for {job.model.name}: leave it out"
        )
    if job.model.is_trees:
        job.model.build(len(job.bands), len(job.legend.classes))
        return plan, validation
    _check_encoder(job)
    _check_sides(job, plan.layout.pixels.shape[-1])
    _check_start(job, plan.layout.pixels.shape[-1])
    return plan, validation


def _check_layout(job: TrainJob, layout: loader.Layout) -> None:
    if layout.task != job.task_name:
        raise InputError(
            f"{job.samples} holds samples for {layout.task}, the run file's task is "
            f"{job.task_name}: run `lulc samples`"
        )
    if layout.bands != job.bands:
        raise InputError(
            f"{job.samples} holds bands {list(layout.bands)}, the run file's bands are "
            f"{list(job.bands)}: run `lulc samples`"
        )
    if job.task_name == "change" and layout.pixels.shape[0] < 2:
        raise InputError(
            f"{job.samples} holds one date a sample, and change needs two: set `dates: 2`, then "
            "run `lulc samples`"
        )


def _check_encoder(job: TrainJob) -> None:
    train, models = job.train, ("unet", "upernet", "classifier")
    if job.model.name in models:
        return
    if train.encoder.startswith(TORCHGEO) or train.lora:
        name = f"train.lora {train.lora}" if train.lora else f"train.encoder {train.encoder}"
        raise UsageError(
            f"{name} is for models {', '.join(models)}, not for {job.model.name}: choose one of "
            "them, or leave it out"
        )


def _check_start(job: TrainJob, side: int) -> None:
    # Builds the network as it begins, and says what it begins with.
    train = job.train
    net = job.model.build(len(job.bands), len(job.legend.classes), **job.architecture)
    if published := find_published(train.encoder):
        progress.say(f"train.encoder {train.encoder}: {published.describe()}")
    if text := _describe_input(job, net, side):
        progress.say(f"train.encoder {train.encoder}: {text}")
    if choice := pretrained.load_weights(net, train.weights, train.encoder, job.bands):
        progress.say(choice)
    hold_encoder(net, train.trained_stages, train.lora)
    weights = count_weights(net)
    if weights.trained < weights.all:
        progress.say(f"{weights} are trained")


def _describe_input(job: TrainJob, net: nn.Module, side: int) -> str:
    # How a backbone of torchgeo, or one with positions, sees the samples.
    parts, encoder = [], getattr(net, "encoder", None)
    if isinstance(encoder, Backbone) and encoder.patch:
        count = -(-(min(job.train.crop or side, side) // job.train.shrink) // encoder.patch)
        parts.append(f"learns from {count} x {count} patches of {encoder.patch} pixels")
    if wavelengths := job.architecture.get("wavelengths"):
        pairs = zip(job.bands, wavelengths, strict=True)
        of_bands = (f"{band} {um:g} µm" if band in COMMON else band for band, um in pairs)
        parts.append(
            f"sees bands, standardised by the samples, by wavelength: {', '.join(of_bands)}"
        )
    if window := job.fixed_window(net.state_dict(), side):
        parts.append(f"has positions, and is mapped in windows of {window} pixels")
    return "; ".join(parts)


def _check_sides(job: TrainJob, side: int) -> None:
    train = job.train
    if train.shrink > 1 and job.model.name not in ("unet", "classifier"):
        raise UsageError(
            f"train.shrink is for models unet and classifier, not for {job.model.name}: leave it "
            "out"
        )
    multiple = job.model.multiple(**job.architecture)
    cropped = min(train.crop or side, side)
    # Below two cells at the deepest level, batch norm has nothing to average over.
    if side % multiple or cropped % multiple or cropped < 2 * multiple:
        raise UsageError(
            f"samples of {side} pixels, cropped to {cropped}, do not suit train.depth "
            f"{train.depth}: both must be multiples of {multiple} and at least {2 * multiple}; "
            "change samples.size, train.crop or train.depth"
        )


def measure(
    job: TrainJob, plan: loader.EpochPlan, world: World, cache: loader.SampleCache
) -> SampleStatistics:
    """Measure the training split over all ranks, with sums in float64.

    Args:
        job: the training.
        plan: of the training split.
        world: this rank and the number of ranks.
        cache: keeps the samples that are read.

    Returns:
        Mean and std of physical values (DN * scale + offset) of every band over all valid pixels,
        and counts of the labels of every class.

    Raises:
        InputError: there is no label, or no pixel is valid.
    """
    scales, offsets = (
        torch.tensor(factors, dtype=torch.float64)[:, None]
        for factors in (plan.layout.scales, plan.layout.offsets)
    )
    sums = torch.zeros(2 * len(scales) + 1, dtype=torch.float64)
    counts = torch.zeros(256, dtype=torch.float64)
    for batch in loader.batches(plan, world.rank, 0, 0, cache=cache):
        samples = augment.reduce(to_tensors(job, batch), job.task)
        values = samples.pixels.movedim(2, 0)[:, samples.valid].double() * scales + offsets
        valid_count = samples.valid.sum(dtype=torch.float64)[None]
        sums += torch.cat([values.sum(1), values.square().sum(1), valid_count])
        counts += augment.class_counts(samples, job.task.kind)
    sums, counts = (world.sum(totals.to(world.device)).cpu() for totals in (sums, counts))
    counts = counts[: len(job.legend.classes)]
    if not counts.sum() or not sums[-1]:
        raise InputError(
            f"{job.samples} holds no label to train on, or no valid pixel: see labels and samples "
            "in the run file"
        )
    if not torch.isfinite(sums).all():
        raise InputError(
            f"{job.samples} holds valid pixels that are not finite numbers: run `lulc samples` "
            "again"
        )
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    std = (square - mean.square()).clamp(min=0).sqrt()
    # A band that never varies holds no information: it becomes zero, not infinite.
    std[std <= 1e-7 * mean.abs()] = 1.0
    return SampleStatistics(tuple(mean.tolist()), tuple(std.tolist()), tuple(counts.tolist()))


def build_state(
    job: TrainJob,
    world: World,
    plans: SplitPlans,
    statistics: SampleStatistics,
    cache: loader.SampleCache,
    *,
    begins: bool = False,
) -> TrainState:
    """Build the state of a training, the same on every rank.

    Args:
        job: the training.
        world: this rank and the number of ranks.
        plans: of the training and the validation split.
        statistics: of the training split, as `measure` gives them.
        cache: of decoded samples.
        begins: whether the weights are those before the first step; else the encoder's are random,
            as they are replaced by a checkpoint's.

    Returns:
        The state.
    """
    train, layout = job.train, plans[0].layout
    torch.manual_seed(train.seed)
    net = job.model.build(len(layout.bands), len(job.legend.classes), **job.architecture)
    if begins:
        pretrained.load_weights(
            net, train.weights, train.encoder, layout.bands, statistics.mean, statistics.std
        )
    hold_encoder(net, train.trained_stages, train.lora)
    net = net.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    shared_net = share_gradients(net, world)
    averaged_net = _average_weights(net, train.ema)
    optimizer = torch.optim.AdamW(_parameter_groups(net, train), lr=train.rate, fused=True)
    return TrainState(
        job,
        world,
        validation=plans[1],
        plan=plans[0],
        scaling=Scaling(layout.scales, layout.offsets, statistics.mean, statistics.std),
        loss_settings=make_loss_settings(train, statistics, world.device),
        net=net,
        shared_net=shared_net,
        averaged_net=averaged_net,
        scored_net=averaged_net,
        optimizer=optimizer,
        cache=cache,
    )


def make_loss_settings(
    train: TrainConf, statistics: SampleStatistics, device: torch.device
) -> LossConf:
    """Return the settings of the loss, its class weights by the counts of the training split."""
    weights = class_weights(np.array(statistics.counts), train.class_weight)
    return LossConf(
        torch.tensor(weights, dtype=torch.float32, device=device),
        train.smoothing,
        train.dice,
        train.focal,
        train.bootstrap,
    )


def _average_weights(net: nn.Module, ema: float) -> AveragedModel:
    """Return the exponential moving average of a network's weights, which starts faster."""

    def update(averages: list[Tensor], values: list[Tensor], count: Tensor) -> None:
        updates = int(count)
        if averages[0].is_floating_point():
            decay = min(ema, (1 + updates) / (10 + updates))
            torch._foreach_lerp_(averages, values, 1 - decay)
        else:
            torch._foreach_copy_(averages, values)

    return AveragedModel(net, multi_avg_fn=update, use_buffers=True)  # type: ignore[arg-type]


def _parameter_groups(net: nn.Module, train: TrainConf) -> list[dict[str, Any]]:
    """Return the optimizer's groups of parameters.

    `share` is a group's share of the learning rate, `encoder` whether it is held in frozen epochs.
    """
    stages: list[tuple[list[nn.Parameter], float, bool]] = []
    encoder_ids: set[int] = set()
    if train.frozen or train.encoder_rate < 1:
        parts = encoder_stages(net)
        for number, parameters in enumerate(parts):
            share = train.encoder_rate ** (1 - (number + 1) / len(parts))
            stages.append((parameters, share, True))
            encoder_ids |= {id(parameter) for parameter in parameters}
    others = [parameter for parameter in net.parameters() if id(parameter) not in encoder_ids]
    stages.append((others, 1.0, False))
    groups = []
    for parameters, share, encoder in stages:
        # Norms and biases are not decayed: it would pull them to zero, not to simpler functions.
        for decayed in (True, False):
            group = {
                "params": [p for p in parameters if p.requires_grad and (p.ndim > 1) == decayed],
                "weight_decay": train.weight_decay * decayed,
                "share": share,
                "encoder": encoder,
            }
            groups.append(group)
    return [group for group in groups if group["params"]]


def to_tensors(job: TrainJob, batch: loader.SampleBatch) -> Batch:
    """Return a batch as it was read, its label in positions of the legend instead of ids."""
    label, positions = batch.label, job.legend.to_index()
    if job.task.kind == "boxes":
        classes = positions[label[..., :1].astype(np.uint8)]
        label = np.concatenate([classes, label[..., 1:]], axis=-1, dtype=np.float32)
    elif job.task.kind != "tags":
        label = positions[label]
    arrays = (batch.pixels, batch.valid, batch.days, label, batch.weight.astype(np.float32))
    return Batch(*map(torch.from_numpy, arrays))


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Return the samples of all batches, one after another."""
    if len(batches) == 1:
        return batches[0]
    names = [field.name for field in fields(Batch)]
    return Batch(**{name: torch.cat([getattr(batch, name) for batch in batches]) for name in names})


def prepare(
    state: ScoreState, batch: loader.SampleBatch, step_key: tuple[int, ...] | None = None
) -> Batch:
    """Prepare a batch for the model, on its device.

    Args:
        state: of the training.
        batch: the samples as they were read.
        step_key: (seed, epoch, step, lane) of a batch to train on, which is cropped and augmented.
            All that is random in it, and in the step that follows, depends on this key alone.

    Returns:
        The samples, standardised; a label a pixel is 255 where no date is valid.
    """
    job, task = state.job, state.job.task
    samples = to_tensors(job, batch)
    if step_key:
        torch.manual_seed(int(np.random.SeedSequence(step_key).generate_state(1)[0]))
        if job.train.crop:
            samples = augment.crop(samples, job.train.crop, task.kind, job.train.class_crops)
    on_device = {
        field.name: getattr(samples, field.name).to(state.world.device, non_blocking=True)
        for field in fields(samples)
    }
    prepared = augment.standardise(augment.reduce(Batch(**on_device), task), state.scaling)
    if not step_key:
        return prepared
    return augment.augment(prepared, job.train.augment, task.kind, state.scaling)


def rate_factor(schedule: str, warmup: float, progress: float) -> float:
    """Return the learning rate as a share of the highest.

    Args:
        schedule: `onecycle`: cosine from 1/25 up over the warm-up, cosine down to 1/250,000 (Smith
            and Topin 2018, arXiv:1708.07120); `cosine` and `constant`: linear up over the warm-up,
            then cosine to zero, or level.
        warmup: share of all steps in which the rate rises.
        progress: share of all steps that are done.

    Returns:
        The share, above 0 and at most 1.
    """
    if progress < warmup:
        rise = progress / warmup
        if schedule == "onecycle":
            return 0.04 + 0.96 * (1 - math.cos(math.pi * rise)) / 2
        return max(rise, 0.01)
    if schedule == "constant":
        return 1.0
    fall = (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
    return max(fall, 4e-6) if schedule == "onecycle" else fall


def class_weights(counts: np.ndarray, power: float) -> np.ndarray:
    """Return the weights of classes in the loss.

    Args:
        counts: (K,) labelled pixels, images or boxes of every class.
        power: 0 weighs all classes alike, 1 by the inverse of their frequency.

    Returns:
        (K,) weights (1 / frequency) ** power, their mean over the counted pixels 1; 0 for a class
        without pixels.
    """
    present = counts > 0
    weights = np.where(present, 1 / np.maximum(counts, 1), 0.0) ** power * present
    return np.asarray(weights * counts.sum() / (weights * counts).sum())

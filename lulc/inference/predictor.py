"""A model at work: chips to classes and confidence, the network loaded once a process."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.chips import composites
from lulc.config import PredictConf
from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.inference.folded_norms import fold_norms
from lulc.inference.image_maps import ImageMap, make_box_map, make_pixel_map, make_square_map
from lulc.inference.patch_batches import ImagePatch, PatchBatches, batches_for
from lulc.inference.windows import Area, WindowedImage
from lulc.location import Location
from lulc.models.contract import Contract, read_contract
from lulc.models.device import (
    autocast,
    choose_device,
    choose_precision,
    compute_mixed,
    reuse_memory,
)
from lulc.models.networks.adapters import merge_adapters
from lulc.models.networks.model import Model
from lulc.models.networks.registry import MODELS
from lulc.models.package import CONTRACT, TREES, WEIGHTS, find_weights
from lulc.models.tasks.registry import TASKS
from lulc.models.tasks.task import Batch, Task

_TIE = 1e-3  # weight of the mean beside votes


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model ready to map, with the contract it was trained under.

    Which method serves depends on the kind of the network's task: `segment` for pixels, `classify`
    for image and tags, `detect` for boxes.
    """

    contract: Contract
    net: nn.Module
    device: torch.device
    batches: PatchBatches
    """How many patches the network computes at once."""
    others: tuple[Predictor, ...] = ()
    """Predictors of the same legend and bands; probabilities are the mean over all of them."""

    @property
    def task(self) -> Task:
        """The task of the model."""
        return TASKS[self.contract.task]

    @property
    def model(self) -> Model:
        """The kind of the model."""
        return MODELS[self.contract.model]

    @property
    def trained_in(self) -> str:
        """The precision that the network was trained in, of several networks joined by `+`.

        It is empty where it was not recorded.
        """
        precisions = {predictor.contract.precision for predictor in (self, *self.others)}
        return "+".join(sorted(precisions - {""}))

    def precision(self, settings: PredictConf) -> str:
        """Return the precision that the model is computed in, as settings and device have it."""
        if self.model.is_trees:
            return "float32"
        return choose_precision(settings.precision, self.device, self._needs_range)

    @property
    def _needs_range(self) -> bool:
        # In float16 a score that is no number would lose its box.
        return self.task.kind == "boxes"

    def segment(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        settings: PredictConf | None = None,
        core: Area | None = None,
        days: Sequence[int] = (),
        percents: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the class of every pixel and how confident the model is of it.

        Windows within the core have as wide a margin as the core has. A network's strides count
        from the first row and column. Windows without a valid pixel are not computed.

        Args:
            pixels: (T, C, H, W) DN.
            valid: (T, H, W) bool.
            scales: one a band: physical value = DN * scale + offset.
            offsets: one a band.
            settings: window, flips and precision.
            core: rows and columns that are mapped, all where not given.
            days: days of the year of the dates, from 1; 0 where not known.
            percents: (K, H, W) uint8 of 255, filled with the percentages of all classes if given.

        Returns:
            Classes, (H, W) uint8 legend ids, and confidence, (H, W) uint8 percent; both are 255
            outside the core and where no date is valid.
        """
        settings = replace(settings or PredictConf(), spread=False)
        image = self.prepare(pixels, valid, scales, offsets, days)
        empty = make_pixel_map(image, self.contract, settings.window, core, percents)
        (filled,) = self.fill([empty], settings)
        return filled.classes, filled.confidence

    __call__ = segment
    """The name of `segment` for copies of `pyfunc.py` that release 0.1 wrote beside models."""

    def classify(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        settings: PredictConf | None = None,
        core: Area | None = None,
    ) -> np.ndarray:
        """Return the probabilities of the squares, as large as a sample, that make up the core.

        The arguments are those of `segment`. The core's sides are multiples of a sample's side.

        Returns:
            (rows, cols, K) float32; NaN where no date is valid anywhere in a square.
        """
        image = self.prepare(pixels, valid, scales, offsets)
        empty = make_square_map(image, self.contract, core)
        (filled,) = self.fill([empty], settings or PredictConf())
        return filled.probabilities

    def detect(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        settings: PredictConf | None = None,
        core: Area | None = None,
    ) -> np.ndarray:
        """Return the boxes whose centre lies in the core.

        The arguments are those of `segment`. Boxes that overlap more than `settings.overlap` are
        one.

        Returns:
            (N, 6) float32: legend id, score, left, top, right and bottom in pixels.
        """
        settings = settings or PredictConf()
        image = self.prepare(pixels, valid, scales, offsets)
        empty = make_box_map(image, self.contract, settings.window, core, settings.overlap)
        (filled,) = self.fill([empty], settings)
        return filled.boxes()

    def prepare(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        days: Sequence[int] = (),
    ) -> WindowedImage:
        """Return an image, reduced to the dates that the network sees.

        The arguments are those of `segment`.
        """
        if not self.task.series:
            image, image_valid = composites.median_composite(pixels, valid)
            pixels, valid = image[None], image_valid[None]
        date_days = np.zeros(len(pixels), np.int64)
        date_days[: len(days)] = days[: len(pixels)]
        scales, offsets = tuple(scales), tuple(offsets)
        return WindowedImage(pixels, valid, date_days, scales, offsets, self.device)

    def fill[Map: ImageMap](self, maps: Iterable[Map], settings: PredictConf) -> Iterator[Map]:
        """Fill maps of images; patches of several images make one batch.

        Args:
            maps: empty maps, of the kind of the network's task.
            settings: flips and precision.

        Yields:
            The maps, filled, in their order.

        Raises:
            SetupError: the GPU's memory does not hold one patch.
            InputError: the spread is asked for, and there is one probability alone.
        """
        find = self._boxes if self.task.kind == "boxes" else self._mean_probabilities
        yield from self.batches.fill(maps, partial(find, settings))

    def _mean_probabilities(self, settings: PredictConf, patches: Sequence[ImagePatch]) -> Tensor:
        # Probabilities (N, K, h, w) of the patches' crop, or (N, K) of whole images: the mean over
        # all predictors, and of each over its flips. With the spread as one more where asked for.
        predictors = (self, *self.others)
        by_predictor = [predictor._probabilities(settings, patches) for predictor in predictors]
        of_predictors = [_mean(by_flip) for by_flip in by_predictor]
        mean = _mean(of_predictors)
        if settings.combine == "vote" and len(predictors) > 1:
            mean = _vote(of_predictors, mean)
        if not settings.spread or self.task.kind != "pixels":
            return mean
        each = [probabilities for by_flip in by_predictor for probabilities in by_flip]
        return torch.cat([mean, _spread(each, mean)], 1)

    @torch.inference_mode()
    def _probabilities(self, settings: PredictConf, patches: Sequence[ImagePatch]) -> list[Tensor]:
        # Probabilities of the patches, one tensor, or one a flip where the settings have four.
        padded, crop = self.pad(self._cut(patches)), patches[0][1].crop
        if self.model.is_trees and crop is not None:
            padded, crop = _crop(padded, crop), None
        flips: tuple[tuple[int, ...], ...] = ((),)
        if settings.flips and not self.model.is_trees:
            flips = ((), (-1,), (-2,), (-2, -1))
        mixed = autocast(settings.precision, self.device, self._needs_range)
        by_flip = []
        for axes in flips:
            flipped = replace(
                padded, pixels=_flip(padded.pixels, axes), valid=_flip(padded.valid, axes)
            )
            logits = compute_mixed(self.net, channels_last(self._inputs(flipped)), mixed)
            logits = logits if crop is None else _flip(logits, axes)[..., *crop]
            # The next steps go through it plane by plane.
            planes = logits.to(torch.float32, memory_format=torch.contiguous_format)
            by_flip.append(self.task.probabilities(planes / self.contract.temperature))
        return by_flip

    @torch.inference_mode()
    def _boxes(self, settings: PredictConf, patches: Sequence[ImagePatch]) -> Tensor:
        # Boxes (N, M, 6) of the patches.
        inputs = channels_last(self.task.inputs(self.pad(self._cut(patches))))
        with autocast(settings.precision, self.device, self._needs_range):
            return self.task.forward(self.net, inputs)

    def _inputs(self, samples: Batch) -> tuple[Tensor, ...]:
        return (self.model.inputs or self.task.inputs)(samples)

    def _cut(self, patches: Sequence[ImagePatch]) -> Batch:
        # The samples of the patches, which are of one size.
        batches: list[Batch] = [
            image.cut([patch.computed for _, patch in of_image], self.contract)
            for image, of_image in itertools.groupby(patches, key=lambda pair: pair[0])
        ]
        if len(batches) == 1:
            return batches[0]
        names = (field.name for field in fields(Batch))
        return Batch(*(torch.cat([getattr(batch, name) for batch in batches]) for name in names))

    def pad(self, samples: Batch) -> Batch:
        """Return samples whose sides are those, or multiples of those, that the network takes."""
        contract, (height, width) = self.contract, samples.pixels.shape[-2:]
        down, right = (
            max(contract.window - side, -side % contract.multiple) for side in (height, width)
        )
        if not (down or right):
            return samples
        valid = _pad(samples.valid.float(), down, right) > 0.5
        pixels = _pad(samples.pixels.flatten(0, 1), down, right)
        pixels = pixels.reshape(*samples.pixels.shape[:3], *pixels.shape[-2:])
        return replace(samples, pixels=pixels, valid=valid)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(list(tensors)).mean(0)


def _vote(each: Sequence[Tensor], mean: Tensor) -> Tensor:
    # Of each class the share of predictors that find it likeliest; those that are equal are told
    # apart by the mean, which takes less than half a per cent.
    votes = torch.zeros_like(mean)
    for probabilities in each:
        likeliest = probabilities.argmax(1, keepdim=True)
        votes.scatter_add_(1, likeliest, torch.ones_like(probabilities[:, :1]))
    return (votes / len(each) + _TIE * mean) / (1 + _TIE)


def _spread(each: Sequence[Tensor], mean: Tensor) -> Tensor:
    # (N, 1, h, w): the standard deviation of the probability of the likeliest class.
    if len(each) == 1:
        raise InputError(
            "predict.spread is of several models or mirror images, and there is one: name more "
            "models in predict.model; trees have no use of predict.flips"
        )
    likeliest = mean.argmax(1, keepdim=True)
    of_class = torch.stack([probabilities.gather(1, likeliest) for probabilities in each])
    return of_class.std(0, correction=0)


def _crop(samples: Batch, crop: Area) -> Batch:
    return replace(samples, pixels=samples.pixels[..., *crop], valid=samples.valid[..., *crop])


def _flip(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    # torch copies even along no axis.
    return tensor.flip(axes) if axes else tensor


def channels_last(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a network's inputs, images channels last, which is faster."""
    return tuple(
        tensor.contiguous(memory_format=torch.channels_last)
        if tensor.ndim == 4 and tensor.is_floating_point()
        else tensor
        for tensor in inputs
    )


def use_one_core() -> None:
    """Make this process compute on one thread, as one of many, and reuse its memory."""
    torch.set_num_threads(1)
    reuse_memory()


def load(folder: Location) -> Predictor:
    """Load the predictor of a model folder, on the GPU that this process computes on.

    The process keeps it until the files change.

    Scripts beside registered models call it, also as `lulc.predict.load`: its name must stay.

    Args:
        folder: of the weights and the contract.

    Returns:
        The predictor.

    Raises:
        InputError: the files are no model that can be loaded.
    """
    try:
        paths = (find_weights(folder), folder / CONTRACT)
        stamps = tuple(path.stat().st_mtime_ns for path in paths)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} holds no model: it must have {CONTRACT} and the {WEIGHTS} or {TREES} of its "
            "model; `lulc train` makes one"
        ) from error
    return _load(folder, stamps, choose_device())


def load_all(folders: Sequence[Location]) -> Predictor:
    """Load the predictor whose probabilities are the mean of those of some models.

    Args:
        folders: of the models; one will do.

    Returns:
        The predictor.

    Raises:
        InputError: the models' tasks, bands, legends or sizes differ, or they detect boxes, which
            have no mean.
    """
    first, *others = (load(folder) for folder in folders)
    if not others:
        return first
    for other in others:
        _check_same(first.contract, other.contract)
    if first.task.kind == "boxes":
        raise InputError(
            "models for detection cannot be joined, since boxes have no mean: give one of them"
        )
    contracts = [predictor.contract for predictor in (first, *others)]
    joined = replace(
        first.contract,
        multiple=math.lcm(*(contract.multiple for contract in contracts)),
        window=max(contract.window for contract in contracts),
    )
    return replace(first, contract=joined, others=tuple(others))


def _check_same(first: Contract, other: Contract) -> None:
    is_same = {
        "task": first.task == other.task,
        "bands": first.bands == other.bands,
        "legend": first.legend.classes == other.legend.classes,
        "size": first.size == other.size,
        "units": not (first.units and other.units) or first.units == other.units,
    }
    for name, same in is_same.items():
        if not same:
            raise InputError(
                f"models {first.name!r} and {other.name!r} differ in {name}: they have no mean"
            )


@lru_cache(maxsize=8)
def _load(folder: Location, _stamps: tuple[int, ...], device: torch.device) -> Predictor:
    contract = read_contract(folder / CONTRACT)
    if contract.model not in MODELS:
        raise InputError(
            f"model {contract.name!r} in {folder} is a {contract.model!r}; this release has: "
            f"{', '.join(MODELS)}"
        )
    if contract.task not in TASKS:
        raise InputError(
            f"model {contract.name!r} in {folder} is for task {contract.task!r}; this release "
            f"has: {', '.join(TASKS)}"
        )
    model = MODELS[contract.model]
    remedy = "its weights are not those of its contract; fetch it anew, or train it again"
    with read_guard(f"the model in {folder}", remedy):
        net = model.open(contract, find_weights(folder).read_bytes())
        merge_adapters(net)
    net.eval()
    if model.is_trees:
        return Predictor(contract, net, device, batches_for(device))
    folded = fold_norms(net, len(contract.bands), contract.multiple, contract.task)
    folded = folded.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Predictor(contract, folded, device, batches_for(device))


def _pad(image: Tensor, down: int, right: int) -> Tensor:
    # By reflection, as far as the image reaches; a strip narrower than its padding is repeated.
    if not (down or right):
        return image
    mode = "reflect" if down < image.shape[-2] and right < image.shape[-1] else "replicate"
    return functional.pad(image, (0, right, 0, down), mode=mode)

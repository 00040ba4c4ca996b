"""A model at work: chips to classes and confidence, the network loaded once a process."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from safetensors.torch import load as load_weights
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lulc.chips import composites
from lulc.config import PredictConf
from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.inference.windows import Area, WindowedImage, area_windows, full_area, shift_area
from lulc.legend import NODATA
from lulc.location import Location
from lulc.models.contract import Contract, read_contract
from lulc.models.device import autocast, choose_device, reuse_memory
from lulc.models.networks.registry import MODELS
from lulc.models.package import CONTRACT, WEIGHTS
from lulc.models.tasks.registry import TASKS
from lulc.models.tasks.task import Batch, Task
from lulc.stats.boxes import suppress_boxes

PIXELS_AT_ONCE = 1 << 18
"""Pixels of the squares that are classified at once: one by one, small squares leave most of a
processor idle."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network ready to map, with the contract it was trained under.

    Which method serves depends on the kind of the network's task: `segment` for pixels, `classify`
    for image and tags, `detect` for boxes.
    """

    contract: Contract
    net: nn.Module
    device: torch.device
    others: tuple[Predictor, ...] = ()
    """Predictors of the same legend and bands; probabilities are the mean over all of them."""

    @property
    def task(self) -> Task:
        """The task of the network."""
        return TASKS[self.contract.task]

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
            percents: (K, H, W) uint8, filled with the percentages of all classes if given.

        Returns:
            Classes, (H, W) uint8 legend ids, and confidence, (H, W) uint8 percent; both are 255
            outside the core and where no date is valid.
        """
        settings = settings or PredictConf()
        image = self._image(pixels, valid, scales, offsets, days)
        any_valid = image.valid.any(0)
        classes, confidence = (np.full(any_valid.shape, NODATA, np.uint8) for _ in range(2))
        ids = self.contract.legend.to_id()
        for computed, target in self._windows(any_valid.shape, core, settings):
            if not any_valid[target].any():
                continue
            crop = shift_area(target, computed)
            probabilities = self._probabilities(image, [computed], crop, settings)
            if percents is not None:
                percents[:, *target] = _to_percent(probabilities[0])
            highest, index = _largest(probabilities)
            classes[target] = ids[index[0].cpu().numpy()]
            confidence[target] = _to_percent(highest[0])
        classes[~any_valid], confidence[~any_valid] = NODATA, NODATA
        if percents is not None:
            percents[:, ~any_valid] = NODATA
        return classes, confidence

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
        settings, side = settings or PredictConf(), self.contract.size
        image = self._image(pixels, valid, scales, offsets, ())
        tops, lefts = (
            range(axis.start, axis.stop, side) for axis in core or full_area(image.valid.shape[1:])
        )
        class_count = len(self.contract.legend.classes)
        probabilities = np.full((len(tops), len(lefts), class_count), np.nan, np.float32)
        squares: dict[tuple[int, int], Area] = {
            (row, col): (slice(top, top + side), slice(left, left + side))
            for row, top in enumerate(tops)
            for col, left in enumerate(lefts)
        }
        valid_cells = [cell for cell, square in squares.items() if image.valid[:, *square].any()]
        for cells in itertools.batched(valid_cells, max(1, PIXELS_AT_ONCE // side**2)):
            windows = [squares[cell] for cell in cells]
            cell_probabilities = self._probabilities(image, windows, None, settings)
            probabilities[tuple(zip(*cells, strict=True))] = cell_probabilities.cpu().numpy()
        return probabilities

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
        image = self._image(pixels, valid, scales, offsets, ())
        box_parts = []
        for computed, target in self._windows(image.valid.shape[1:], core, settings):
            if image.valid[:, *computed].any():
                boxes = self._detect_window(image.cut([computed], self.contract), settings)
                top, left = computed[0].start, computed[1].start
                boxes = boxes + np.array([0, 0, left, top, left, top], np.float32)
                box_parts.append(boxes[_is_centred_in(boxes, target)])
        boxes = np.concatenate(box_parts) if box_parts else np.zeros((0, 6), np.float32)
        boxes[:, 0] = self.contract.legend.to_id()[boxes[:, 0].astype(np.uint8)]
        if len(box_parts) > 1:
            edges, scores, class_ids = boxes[:, 2:], boxes[:, 1], boxes[:, 0]
            boxes = boxes[suppress_boxes(edges, scores, class_ids, settings.overlap)]
        return boxes

    def _image(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        days: Sequence[int],
    ) -> WindowedImage:
        if not self.task.series:
            image, image_valid = composites.median_composite(pixels, valid)
            pixels, valid = image[None], image_valid[None]
        date_days = np.zeros(len(pixels), np.int64)
        date_days[: len(days)] = days[: len(pixels)]
        scales, offsets = tuple(scales), tuple(offsets)
        return WindowedImage(pixels, valid, date_days, scales, offsets, self.device)

    def _windows(
        self, shape: tuple[int, ...], core: Area | None, settings: PredictConf
    ) -> Iterator[tuple[Area, Area]]:
        core = core or full_area(shape)
        return area_windows(core, shape, settings.window, self.contract.multiple)

    def _probabilities(
        self,
        image: WindowedImage,
        windows: Sequence[Area],
        crop: Area | None,
        settings: PredictConf,
    ) -> Tensor:
        # What `_own_probabilities` gives of the windows, the mean over all predictors.
        by_predictor = [
            predictor._own_probabilities(image.cut(windows, predictor.contract), crop, settings)
            for predictor in (self, *self.others)
        ]
        return by_predictor[0] if len(by_predictor) == 1 else torch.stack(by_predictor).mean(0)

    @torch.inference_mode()
    def _own_probabilities(
        self, samples: Batch, crop: Area | None, settings: PredictConf
    ) -> Tensor:
        # Probabilities (N, K, h, w) of the crop, or (N, K) of whole images; the mean over four
        # flips where the settings have them.
        padded = self._pad(samples)
        flips: tuple[tuple[int, ...], ...] = ((),)
        if settings.flips:
            flips = ((), (-1,), (-2,), (-2, -1))
        by_flip = []
        with autocast(settings.precision, self.device):
            for axes in flips:
                flipped = replace(
                    padded, pixels=_flip(padded.pixels, axes), valid=_flip(padded.valid, axes)
                )
                logits = self.net(*_channels_last(self.task.inputs(flipped)))
                logits = logits if crop is None else _flip(logits, axes)[..., *crop]
                # The next steps go through it plane by plane.
                planes = logits.to(torch.float32, memory_format=torch.contiguous_format)
                by_flip.append(self.task.probabilities(planes / self.contract.temperature))
        return by_flip[0] if len(by_flip) == 1 else torch.stack(by_flip).mean(0)

    @torch.inference_mode()
    def _detect_window(self, samples: Batch, settings: PredictConf) -> np.ndarray:
        inputs = _channels_last(self.task.inputs(self._pad(samples)))
        with autocast(settings.precision, self.device):
            boxes: np.ndarray = self.task.forward(self.net, inputs)[0].cpu().numpy()
        return boxes[boxes[:, 1] > 0]

    def _pad(self, samples: Batch) -> Batch:
        height, width = samples.pixels.shape[-2:]
        down, right = -height % self.contract.multiple, -width % self.contract.multiple
        if not (down or right):
            return samples
        valid = _pad(samples.valid.float(), down, right) > 0.5
        pixels = _pad(samples.pixels.flatten(0, 1), down, right)
        pixels = pixels.reshape(*samples.pixels.shape[:3], *pixels.shape[-2:])
        return replace(samples, pixels=pixels, valid=valid)


def _to_percent(probabilities: Tensor) -> np.ndarray:
    percents: np.ndarray = (probabilities * 100).round().to(torch.uint8).cpu().numpy()
    return percents


def _is_centred_in(boxes: np.ndarray, area: Area) -> np.ndarray:
    rows, cols = area
    x, y = (boxes[:, 2] + boxes[:, 4]) / 2, (boxes[:, 3] + boxes[:, 5]) / 2
    in_rows = (y >= rows.start) & (y < rows.stop)
    in_cols = (x >= cols.start) & (x < cols.stop)
    is_in: np.ndarray = in_rows & in_cols
    return is_in


def _largest(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    # (the largest along axis 1, its position as uint8, the first of equal ones); `max` with an
    # index takes thrice as long on cores.
    largest = probabilities[:, 0]
    index = torch.zeros_like(largest, dtype=torch.uint8)
    for k in range(1, probabilities.shape[1]):
        # A position found later is larger than those before.
        index = torch.maximum(index, (probabilities[:, k] > largest).to(torch.uint8) * k)
        largest = torch.maximum(largest, probabilities[:, k])
    return largest, index


def _flip(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    # torch copies even along no axis.
    return tensor.flip(axes) if axes else tensor


def _channels_last(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # Images channels last, which is faster.
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
    stamps = tuple(
        (folder / name).stat().st_mtime_ns
        for name in (WEIGHTS, CONTRACT)
        if (folder / name).exists()
    )
    if len(stamps) < 2:
        raise InputError(
            f"{folder} holds no model: it must have {WEIGHTS} and {CONTRACT}; `lulc train` makes "
            "one"
        )
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
    multiple = math.lcm(*(predictor.contract.multiple for predictor in (first, *others)))
    return replace(first, contract=replace(first.contract, multiple=multiple), others=tuple(others))


def _check_same(first: Contract, other: Contract) -> None:
    is_same = {
        "task": first.task == other.task,
        "bands": first.bands == other.bands,
        "legend": first.legend.classes == other.legend.classes,
        "size": first.size == other.size,
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
    band_count, class_count = len(contract.bands), len(contract.legend.classes)
    remedy = "its weights are not those of its contract; fetch it anew, or train it again"
    with read_guard(f"the model in {folder}", remedy):
        net = MODELS[contract.model].build(band_count, class_count, **contract.architecture)
        net.load_state_dict(load_weights((folder / WEIGHTS).read_bytes()))
    folded = fold_norms(net.eval(), band_count, contract.multiple, contract.task)
    folded = folded.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Predictor(contract, folded, device)


def fold_norms(net: nn.Module, bands: int, multiple: int, task: str = "segment") -> nn.Module:
    """Fold batch norms into the convolutions before them.

    Args:
        net: in eval mode.
        bands: of its input.
        multiple: what the sizes of its input must be multiples of.
        task: its name.

    Returns:
        A copy of the network; the network itself where folding would change its output.
    """
    # Which of two alike boxes is kept depends on the last digit.
    if TASKS[task].kind == "boxes":
        return net
    folded = copy.deepcopy(net)
    for module in list(folded.modules()):
        for (name, conv), (next_name, norm) in itertools.pairwise(module.named_children()):
            if (
                isinstance(conv, nn.Conv2d)
                and type(norm) is nn.BatchNorm2d
                and norm.num_features == conv.out_channels
            ):
                module.set_submodule(name, fuse_conv_bn_eval(conv, norm))
                module.set_submodule(next_name, nn.Identity())
    # Neighbours in the list of modules need not be neighbours in the computation: the outputs of
    # both networks are compared.
    side = max(2 * multiple, 64)
    pixels = torch.rand(1, 2, bands, side, side, generator=torch.Generator().manual_seed(0))
    valid, days = torch.ones(1, 2, side, side, dtype=torch.bool), torch.tensor([[100, 200]])
    samples = Batch(pixels, valid, days, torch.full((1,), NODATA), torch.ones(1))
    inputs = TASKS[task].inputs(samples)
    with torch.inference_mode():
        expected, output = net(*inputs), folded(*inputs)
    tolerance = 1e-3 * float(expected.abs().max())
    return folded if torch.allclose(expected, output, 1e-3, tolerance) else net


def _pad(image: Tensor, down: int, right: int) -> Tensor:
    # By reflection, as far as the image reaches; a strip narrower than its padding is repeated.
    if not (down or right):
        return image
    mode = "reflect" if down < image.shape[-2] and right < image.shape[-1] else "replicate"
    return functional.pad(image, (0, right, 0, down), mode=mode)

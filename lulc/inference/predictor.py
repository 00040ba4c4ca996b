"""A model at work: chips to classes and confidence, the network made ready once a process."""

from __future__ import annotations

import copy
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lulc.chips import composites
from lulc.config import PredictConf
from lulc.errors import InputError
from lulc.inference.windows import Area, Window, _flip, shift_slice, windows
from lulc.legend import NODATA
from lulc.models.contract import Contract, read_contract
from lulc.models.device import autocast, choose_device, reuse_memory
from lulc.models.networks.registry import MODELS
from lulc.models.package import CONTRACT, WEIGHTS
from lulc.models.tasks.registry import TASKS
from lulc.models.tasks.task import Batch, Task
from lulc.stats.boxes import suppress_boxes

TOGETHER = 1 << 18
"""Pixels of the squares that are classified at once: one by one, small squares leave most of a processor idle."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network ready to map, with the contract it was trained under.

    Everywhere: DN (T, C, H, W), valid (T, H, W), and days of the year (T,), 0 where not known; physical value = DN * scale +
    offset, one of each a band. Where a core is given only it is mapped. others: predictors of the same legend and bands; what is
    said is then the mean of what all say.
    """

    contract: Contract
    net: nn.Module
    device: torch.device
    others: tuple[Predictor, ...] = ()

    @property
    def task(self) -> Task:
        """What the network was asked."""
        return TASKS[self.contract.task]

    def __call__(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        how: PredictConf | None = None,
        core: Area | None = None,
        days: Sequence[int] = (),
        shares: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Classes (H, W) uint8 legend ids and confidence (H, W) uint8 in percent, both 255 where no date is valid.

        Windows within the core have as wide a margin as lies around it. A network's strides count from the first row and column.
        Windows without a valid pixel are not computed. shares (K, H, W) uint8, where given, is filled with the percentages of all
        classes.
        """
        how = how or PredictConf()
        scene = self._scene(pixels, valid, scales, offsets, days)
        seen = scene.valid.any(0)
        classes, confidence = (np.full(seen.shape, NODATA, np.uint8) for _ in range(2))
        ids = self.contract.legend.to_id()
        for whole, kept in self._windows(seen.shape, core, how):
            if seen[kept].any():
                within = tuple(shift_slice(k, -w.start) for k, w in zip(kept, whole, strict=True))
                agreed = self._agree(scene, [whole], (within[0], within[1]), how)
                if shares is not None:
                    shares[:, *kept] = (agreed[0] * 100).round().to(torch.uint8).cpu().numpy()
                share, place = _largest(agreed)
                classes[kept] = ids[place[0].cpu().numpy()]
                confidence[kept] = (share[0] * 100).round().to(torch.uint8).cpu().numpy()
        classes[~seen], confidence[~seen] = NODATA, NODATA
        if shares is not None:
            shares[:, ~seen] = NODATA
        return classes, confidence

    def cells(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        how: PredictConf | None = None,
        core: Area | None = None,
    ) -> np.ndarray:
        """(rows, cols, K) float32 probabilities of the squares, as large as a sample, that the core consists of.

        NaN where no date is valid anywhere in a square. The core's sides are multiples of the sample's.
        """
        how, side = how or PredictConf(), self.contract.size
        scene = self._scene(pixels, valid, scales, offsets, ())
        rows, cols = (
            range(part.start, part.stop, side) for part in core or whole_of(scene.valid.shape[1:])
        )
        out = np.full((len(rows), len(cols), len(self.contract.legend.classes)), np.nan, np.float32)
        places = {
            (i, j): (slice(y, y + side), slice(x, x + side))
            for i, y in enumerate(rows)
            for j, x in enumerate(cols)
        }
        seen = [place for place, part in places.items() if scene.valid[:, *part].any()]
        for some in itertools.batched(seen, max(1, TOGETHER // side**2)):
            out[tuple(zip(*some, strict=True))] = (
                self._agree(scene, [places[p] for p in some], None, how).cpu().numpy()
            )
        return out

    def boxes(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        how: PredictConf | None = None,
        core: Area | None = None,
    ) -> np.ndarray:
        """(N, 6) float32: legend id, score, left, top, right, bottom in pixels of what is found with its centre in the core."""
        how = how or PredictConf()
        scene = self._scene(pixels, valid, scales, offsets, ())
        found = []
        for whole, kept in self._windows(scene.valid.shape[1:], core, how):
            if scene.valid[:, *whole].any():
                part = self._boxes(scene.cut([whole], self.contract), how) + np.array(
                    [0, 0, *(whole[i].start for i in (1, 0, 1, 0))], np.float32
                )
                x, y = (part[:, 2] + part[:, 4]) / 2, (part[:, 3] + part[:, 5]) / 2
                inside = (
                    (y >= kept[0].start)
                    & (y < kept[0].stop)
                    & (x >= kept[1].start)
                    & (x < kept[1].stop)
                )
                found.append(part[inside])
        rows = np.concatenate(found) if found else np.zeros((0, 6), np.float32)
        rows[:, 0] = self.contract.legend.to_id()[rows[:, 0].astype(np.uint8)]
        return (
            rows
            if len(found) < 2
            else rows[suppress_boxes(rows[:, 2:], rows[:, 1], rows[:, 0], how.overlap)]
        )

    def _scene(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        days: Sequence[int],
    ) -> Window:
        if not self.task.series:
            image, seen = composites.median_composite(pixels, valid)
            pixels, valid = image[None], seen[None]
        told = np.zeros(len(pixels), np.int64)
        told[: len(days)] = days[: len(pixels)]
        return Window(pixels, valid, told, tuple(scales), tuple(offsets), self.device)

    def _windows(
        self, shape: tuple[int, ...], core: Area | None, how: PredictConf
    ) -> Iterator[tuple[Area, Area]]:
        # What is computed, and what of it is kept.
        multiple = self.contract.multiple
        axes = (
            list(windows(part, n, how.window, multiple))
            for part, n in zip(core or whole_of(shape), shape, strict=True)
        )
        for (rows, kept_rows), (cols, kept_cols) in itertools.product(*axes):
            yield (rows, cols), (kept_rows, kept_cols)

    def _agree(
        self, scene: Window, parts: Sequence[Area], kept: Area | None, how: PredictConf
    ) -> Tensor:
        # What `_share` gives of the parts, the mean over all predictors.
        shares = [
            one._share(scene.cut(parts, one.contract), kept, how) for one in (self, *self.others)
        ]
        return shares[0] if len(shares) == 1 else torch.stack(shares).mean(0)

    @torch.inference_mode()
    def _share(self, samples: Batch, kept: Area | None, how: PredictConf) -> Tensor:
        # Probabilities (N, K, h, w) of the kept part, or (N, K) of whole images; the mean over four flips where asked for.
        padded = self._pad(samples)
        turns: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1)) if how.flips else ((),)
        shares = []
        with autocast(how.precision, self.device):
            for axes in turns:
                turned = replace(
                    padded, pixels=_flip(padded.pixels, axes), valid=_flip(padded.valid, axes)
                )
                logits = self.net(*_fast(self.task.inputs(turned)))
                logits = logits if kept is None else _flip(logits, axes)[..., *kept]
                # Plane by plane is how the next steps go through it.
                planes = logits.to(torch.float32, memory_format=torch.contiguous_format)
                shares.append(self.task.share(planes / self.contract.temperature))
        return shares[0] if len(shares) == 1 else torch.stack(shares).mean(0)

    @torch.inference_mode()
    def _boxes(self, samples: Batch, how: PredictConf) -> np.ndarray:
        with autocast(how.precision, self.device):
            found: np.ndarray = (
                self.task.answer(self.net, _fast(self.task.inputs(self._pad(samples))))[0]
                .cpu()
                .numpy()
            )
        return found[found[:, 1] > 0]

    def _pad(self, samples: Batch) -> Batch:
        high, wide = samples.pixels.shape[-2:]
        down, right = -high % self.contract.multiple, -wide % self.contract.multiple
        if not (down or right):
            return samples
        valid = _pad(samples.valid.float(), down, right) > 0.5
        pixels = _pad(samples.pixels.flatten(0, 1), down, right)
        pixels = pixels.reshape(*samples.pixels.shape[:3], *pixels.shape[-2:])
        return replace(samples, pixels=pixels, valid=valid)


def _largest(shares: Tensor) -> tuple[Tensor, Tensor]:
    # (the largest, its place along axis 1 as uint8, the first of equal ones); `max` with an index takes thrice as long on cores.
    top, place = shares[:, 0], torch.zeros_like(shares[:, 0], dtype=torch.uint8)
    for k in range(1, shares.shape[1]):
        place = torch.maximum(
            place, (shares[:, k] > top).to(torch.uint8) * k
        )  # a later one is larger than those before
        top = torch.maximum(top, shares[:, k])
    return top, place


def whole_of(shape: Sequence[int]) -> Area:
    """All rows and columns."""
    return slice(0, shape[0]), slice(0, shape[1])


def _fast(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # Images channels last.
    return tuple(
        x.contiguous(memory_format=torch.channels_last)
        if x.ndim == 4 and x.is_floating_point()
        else x
        for x in inputs
    )


def use_one_core() -> None:
    """Nothing; from now on this process computes on one thread, as one of many, and reuses its memory."""
    torch.set_num_threads(1)
    reuse_memory()


def load(folder: Path) -> Predictor:
    """The predictor of a model folder, kept by this process while the files stay the same. InputError when they are no model."""
    stamps = tuple(
        os.stat(folder / name).st_mtime_ns
        for name in (WEIGHTS, CONTRACT)
        if (folder / name).exists()
    )
    if len(stamps) < 2:
        raise InputError(
            f"{folder} holds no model: it must have {WEIGHTS} and {CONTRACT}; `lulc train` makes one"
        )
    return _load(folder, stamps)


def load_all(folders: Sequence[Path]) -> Predictor:
    """The predictor that says the mean of what the models of these folders say, like `load` of one.

    InputError when their tasks, bands or legends differ, or they look for boxes, which have no mean.
    """
    first, *others = (load(folder) for folder in folders)
    if not others:
        return first
    for one in others:
        for what in ("task", "bands", "legend", "size"):
            mine, theirs = (getattr(p.contract, what) for p in (first, one))
            if (mine.classes if what == "legend" else mine) != (
                theirs.classes if what == "legend" else theirs
            ):
                raise InputError(
                    f"models {first.contract.name!r} and {one.contract.name!r} differ in {what}: they have no mean"
                )
    if first.task.kind == "boxes":
        raise InputError(
            "models for detection cannot be joined: boxes have no mean; give one of them"
        )
    multiple = math.lcm(*(p.contract.multiple for p in (first, *others)))
    return replace(first, contract=replace(first.contract, multiple=multiple), others=tuple(others))


@lru_cache(maxsize=8)
def _load(folder: Path, _stamps: tuple[int, ...]) -> Predictor:
    asks = read_contract(folder / CONTRACT)
    if asks.model not in MODELS:
        raise InputError(
            f"model {asks.name!r} in {folder} is a {asks.model!r}; known here: {', '.join(MODELS)}"
        )
    if asks.task not in TASKS:
        raise InputError(
            f"model {asks.name!r} in {folder} is for task {asks.task!r}; known here: {', '.join(TASKS)}"
        )
    net = MODELS[asks.model].build(len(asks.bands), len(asks.legend.classes), **asks.architecture)
    try:
        net.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise InputError(
            f"the weights in {folder} are not those of its contract: {str(error)[:300]}"
        ) from error
    device = choose_device()
    ready = fold_norms(net.eval(), len(asks.bands), asks.multiple, asks.task)
    return Predictor(asks, ready.to(device, memory_format=torch.channels_last), device)  # type: ignore[call-overload]


def fold_norms(net: nn.Module, bands: int, multiple: int, task: str = "segment") -> nn.Module:
    """The network with batch norms folded into the convolutions before them, or the network itself where that would change it."""
    if TASKS[task].kind == "boxes":  # which of two like boxes is kept hangs on the last digit
        return net
    folded = copy.deepcopy(net)
    for module in list(folded.modules()):
        for (name, conv), (following, norm) in itertools.pairwise(module.named_children()):
            if (
                isinstance(conv, nn.Conv2d)
                and type(norm) is nn.BatchNorm2d
                and norm.num_features == conv.out_channels
            ):
                module.set_submodule(name, fuse_conv_bn_eval(conv, norm))
                module.set_submodule(following, nn.Identity())
    # Neighbours in the list of modules need not be neighbours in the computation: what comes out tells.
    side = max(2 * multiple, 64)
    pixels = torch.rand(1, 2, bands, side, side, generator=torch.Generator().manual_seed(0))
    valid, days = torch.ones(1, 2, side, side, dtype=torch.bool), torch.tensor([[100, 200]])
    inputs = TASKS[task].inputs(Batch(pixels, valid, days, torch.full((1,), NODATA), torch.ones(1)))
    with torch.inference_mode():
        before, after = net(*inputs), folded(*inputs)
    return folded if torch.allclose(before, after, 1e-3, 1e-3 * float(before.abs().max())) else net


def _pad(image: Tensor, down: int, right: int) -> Tensor:
    # By reflection, as far as the image reaches; a strip narrower than its padding is repeated instead.
    if not (down or right):
        return image
    mode = "reflect" if down < image.shape[-2] and right < image.shape[-1] else "replicate"
    return functional.pad(image, (0, right, 0, down), mode=mode)

"""A model at work: chips to classes and confidence, the network made ready once a process."""

from __future__ import annotations

import copy
import ctypes
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lulc import chips, contract
from lulc.conf import Predict
from lulc.contract import Contract
from lulc.errors import InputError
from lulc.legend import NODATA
from lulc.modelfiles import CONTRACT, WEIGHTS
from lulc.models import MODELS
from lulc.models.device import autocast, choose_device
from lulc.tasks import Scaling

MARGIN = 64
"""Pixels around a window that are computed and left, where nothing says how many: what is kept needs its surroundings."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network ready to map, with the contract it was trained under."""

    contract: Contract
    net: nn.Module
    device: torch.device

    def __call__(
        self,
        pixels: np.ndarray,
        valid: np.ndarray,
        scales: Sequence[float],
        offsets: Sequence[float],
        how: Predict | None = None,
        core: tuple[slice, slice] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Classes (H, W) uint8 legend ids and confidence (H, W) uint8 in percent, both 255 where no date is valid.

        From DN (T, C, H, W) and valid (T, H, W); physical value = DN * scale + offset, one of each a band. Where a core is given
        only it is mapped, and windows within it have as wide a margin as lies around it. A network's strides count from the first
        row and column. Windows without a valid pixel are not computed.
        """
        how = how or Predict()
        image, seen = chips.composite(pixels, valid)
        core = core or (slice(0, seen.shape[0]), slice(0, seen.shape[1]))
        axes = [list(windows(part, n, how.window, self.contract.multiple)) for part, n in zip(core, seen.shape, strict=True)]
        classes, confidence = (np.full(seen.shape, NODATA, np.uint8) for _ in range(2))
        scaling = Scaling(tuple(scales), tuple(offsets), self.contract.mean, self.contract.std)
        ids = self.contract.legend.to_id()
        for (rows, kept_rows), (cols, kept_cols) in itertools.product(*axes):
            kept = kept_rows, kept_cols
            if seen[kept].any():
                ready = self._prepare(image[:, rows, cols], seen[rows, cols], scaling)
                share, index = self._share(ready, (shift(kept_rows, -rows.start), shift(kept_cols, -cols.start)), how).max(1)
                classes[kept] = ids[index[0].to(torch.uint8).cpu().numpy()]
                confidence[kept] = (share[0] * 100).round().to(torch.uint8).cpu().numpy()
        classes[~seen], confidence[~seen] = NODATA, NODATA
        return classes, confidence

    def _prepare(self, image: np.ndarray, seen: np.ndarray, scaling: Scaling) -> Tensor:
        # The network's input (1, C, H, W), as the task prepares it for training; numbers become floats on the device.
        gain, offset = (x.to(self.device)[:, None, None] for x in scaling.factors())
        part, empty = (torch.from_numpy(x).to(self.device) for x in (np.ascontiguousarray(image), ~seen))
        return torch.addcmul(offset, part.float(), gain).masked_fill_(empty, 0)[None]

    @torch.inference_mode()
    def _share(self, image: Tensor, kept: tuple[slice, slice], how: Predict) -> Tensor:
        # Probabilities (1, K, h, w) of the kept part of an image (1, C, H, W); the mean over four flips where asked for.
        high, wide = image.shape[-2:]
        padded = _pad(image, -high % self.contract.multiple, -wide % self.contract.multiple)
        turns: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1)) if how.flips else ((),)
        shares = []
        with autocast(how.precision, self.device):
            for axes in turns:
                logits = self.net(padded.flip(axes).contiguous(memory_format=torch.channels_last)).flip(axes)
                shares.append(logits[..., *kept].float().softmax(1))
        return shares[0] if len(shares) == 1 else torch.stack(shares).mean(0)


def windows(core: slice, length: int, side: int, multiple: int) -> Iterator[tuple[slice, slice]]:
    """(what is computed, what of it is kept) along an axis of `length`: the kept parts partition the core, `side` at most.

    Each is computed with the margin that the core has in the axis, MARGIN where it has none; and from a multiple of `multiple`,
    so that a network's strides fall on the same pixels in all of them.
    """
    margin = max(core.start, length - core.stop) or MARGIN
    count = -(-(core.stop - core.start) // side)
    step = -(-(core.stop - core.start) // (count * multiple)) * multiple
    for start in range(core.start, core.stop, step):
        stop = min(start + step, core.stop)
        first = max(0, start - margin) // multiple * multiple
        yield slice(first, min(length, first - (first - stop - margin) // multiple * multiple)), slice(start, stop)


def shift(part: slice, by: int) -> slice:
    """The slice so many places further on."""
    return slice(part.start + by, part.stop + by)


def use_one_core() -> None:
    """Nothing; from now on this process computes on one thread, as one of many, and reuses its memory: a sixth less time.

    Every layer asks for tens of megabytes, which by default are mapped anew and cleared page by page.
    """
    torch.set_num_threads(1)
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):  # glibc alone has it
        threshold, trim = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
        allocator.mallopt(threshold, 1 << 30)
        allocator.mallopt(trim, 2**31 - 1)


def load(folder: Path) -> Predictor:
    """The predictor of a model folder, kept by this process while the files stay the same. InputError when they are no model."""
    stamps = tuple(os.stat(folder / name).st_mtime_ns for name in (WEIGHTS, CONTRACT) if (folder / name).exists())
    if len(stamps) < 2:
        raise InputError(f"{folder} holds no model: it must have {WEIGHTS} and {CONTRACT}; `lulc train` makes one")
    return _load(folder, stamps)


@lru_cache(maxsize=2)
def _load(folder: Path, _stamps: tuple[int, ...]) -> Predictor:
    asks = contract.read(folder / CONTRACT)
    if asks.model not in MODELS:
        raise InputError(f"model {asks.name!r} in {folder} is a {asks.model!r}; known here: {', '.join(MODELS)}")
    net = MODELS[asks.model].build(len(asks.bands), len(asks.legend.classes), **asks.architecture)
    try:
        net.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise InputError(f"the weights in {folder} are not those of its contract: {str(error)[:300]}") from error
    device = choose_device()
    ready = fold_norms(net.eval(), len(asks.bands), asks.multiple)
    return Predictor(asks, ready.to(device, memory_format=torch.channels_last), device)  # type: ignore[call-overload]


def fold_norms(net: nn.Module, bands: int, multiple: int) -> nn.Module:
    """The network with batch norms folded into the convolutions before them, or the network itself where that would change it."""
    folded = copy.deepcopy(net)
    for module in list(folded.modules()):
        for (name, conv), (following, norm) in itertools.pairwise(module.named_children()):
            if isinstance(conv, nn.Conv2d) and type(norm) is nn.BatchNorm2d and norm.num_features == conv.out_channels:
                module.set_submodule(name, fuse_conv_bn_eval(conv, norm))
                module.set_submodule(following, nn.Identity())
    # Neighbours in the list of modules need not be neighbours in the computation: what comes out tells.
    side = 2 * multiple
    probe = torch.rand(1, bands, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before, after = net(probe), folded(probe)
    return folded if torch.allclose(before, after, 1e-3, 1e-3 * float(before.abs().max())) else net


def _pad(image: Tensor, down: int, right: int) -> Tensor:
    # By reflection, as far as the image reaches; a strip narrower than its padding is repeated instead.
    if not (down or right):
        return image
    mode = "reflect" if down < image.shape[-2] and right < image.shape[-1] else "replicate"
    return functional.pad(image, (0, right, 0, down), mode=mode)

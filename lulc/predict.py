"""A model at work: chips to classes and confidence, the network made ready once a process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
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
"""Pixels around a window that are computed and thrown away, where an image is larger than one window."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network ready to map, with the contract it was trained under."""

    contract: Contract
    net: nn.Module
    device: torch.device

    def __call__(
        self, pixels: np.ndarray, valid: np.ndarray, scales: Sequence[float], offsets: Sequence[float], how: Predict | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Classes (H, W) uint8 legend ids and confidence (H, W) uint8 in percent, both 255 where no date is valid.

        From DN (T, C, H, W) and valid (T, H, W); physical value = DN * scale + offset, one of each a band. An image larger than
        a window is mapped in windows that overlap; those without a valid pixel are not computed.
        """
        how = how or Predict()
        image, seen = chips.composite(pixels, valid)
        classes, confidence = (np.full(seen.shape, NODATA, np.uint8) for _ in range(2))
        scaling = Scaling(tuple(scales), tuple(offsets), self.contract.mean, self.contract.std)
        gain, shift = (x.to(self.device)[:, None, None] for x in scaling.factors())
        table = self.contract.legend.to_id()
        side = max(how.window, 4 * MARGIN)
        for rows, kept_rows in windows(seen.shape[0], side, self.contract.multiple):
            for cols, kept_cols in windows(seen.shape[1], side, self.contract.multiple):
                if not seen[kept_rows, kept_cols].any():
                    continue
                part = torch.from_numpy(np.ascontiguousarray(image[:, rows, cols])).to(self.device)
                empty = torch.from_numpy(~seen[rows, cols]).to(self.device)
                ready = torch.addcmul(shift, part.float(), gain).masked_fill(empty, 0)[None]
                share, index = self._share(ready, how).max(1)
                inner = (
                    slice(kept_rows.start - rows.start, kept_rows.stop - rows.start),
                    slice(kept_cols.start - cols.start, kept_cols.stop - cols.start),
                )
                classes[kept_rows, kept_cols] = table[index[0].to(torch.uint8).cpu().numpy()[inner]]
                confidence[kept_rows, kept_cols] = (share[0] * 100).round().to(torch.uint8).cpu().numpy()[inner]
        classes[~seen], confidence[~seen] = NODATA, NODATA
        return classes, confidence

    def _share(self, image: torch.Tensor, how: Predict) -> torch.Tensor:
        # Probabilities (1, K, H, W) of a standardised image (1, C, H, W); the mean over four flips where asked for.
        high, wide = image.shape[-2:]
        multiple = self.contract.multiple
        padded = _pad(image, -high % multiple, -wide % multiple)
        total = torch.zeros((), device=self.device)
        turns: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1)) if how.flips else ((),)
        with torch.inference_mode(), autocast(how.precision, self.device):
            for axes in turns:
                logits = self.net(padded.flip(axes).contiguous(memory_format=torch.channels_last))
                total = total + logits.float().softmax(1).flip(axes)
        return (total / len(turns))[..., :high, :wide]


def windows(length: int, side: int, multiple: int) -> Iterator[tuple[slice, slice]]:
    """(what is computed, what of it is kept) along one axis: the kept parts partition 0…length, MARGIN inside what is computed.

    Windows start at multiples of `multiple`, so that a network's strides fall on the same pixels in all of them.
    """
    if length <= side:
        yield slice(0, length), slice(0, length)
        return
    step = (side - 2 * MARGIN) // multiple * multiple
    for start in range(0, length - 2 * MARGIN, step):
        stop = min(start + side, length)
        last = start + step >= length - 2 * MARGIN
        yield slice(start, stop), slice(start + MARGIN if start else 0, stop if last else start + step + MARGIN)


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
    """The network with every batch norm that follows a convolution folded into it: the same function, less to compute."""
    made: dict[int, str] = {}
    pairs: list[tuple[str, str]] = []
    alive: list[torch.Tensor] = []
    hooks = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):

            def note(_m: nn.Module, _i: object, output: torch.Tensor, name: str = name) -> None:
                made[id(output)] = name
                alive.append(output)  # or its id would be given again

            hooks.append(module.register_forward_hook(note))
        elif isinstance(module, nn.BatchNorm2d):

            def pair(_m: nn.Module, inputs: tuple[torch.Tensor, ...], name: str = name) -> None:
                if id(inputs[0]) in made:
                    pairs.append((made[id(inputs[0])], name))

            hooks.append(module.register_forward_pre_hook(pair))
    with torch.inference_mode():
        net(torch.zeros(1, bands, 2 * multiple, 2 * multiple))
    for hook in hooks:
        hook.remove()
    for conv, norm in pairs:
        fused: nn.Module = fuse_conv_bn_eval(net.get_submodule(conv), net.get_submodule(norm))  # type: ignore[type-var,arg-type]
        net.set_submodule(conv, fused)
        net.set_submodule(norm, nn.Identity())
    return net


def _pad(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    # By reflection, as far as the image reaches; a strip narrower than its padding is repeated instead.
    if not (down or right):
        return image
    mode = "reflect" if down < image.shape[-2] and right < image.shape[-1] else "replicate"
    return functional.pad(image, (0, right, 0, down), mode=mode)

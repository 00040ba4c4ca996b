"""One class for every pixel: T dates become one image, the network's logits become a map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lulc.legend import NODATA
from lulc.tasks.task import Penalty, Raw, Scaling, Task, Tensors


def composite(pixels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) and (N, H, W) bool: the lower median of the valid dates of every pixel and band; 0 where no date is valid.

    From pixels (N, T, C, H, W) and valid (N, T, H, W): the rule of `lulc.chips.composite`, for a whole batch.
    """
    if not pixels.is_floating_point():
        pixels = pixels.to(torch.int32)  # torch cannot sort uint16
    if pixels.shape[1] == 1:
        image = pixels[:, 0]
    else:
        top = torch.inf if pixels.is_floating_point() else torch.iinfo(pixels.dtype).max
        ordered = pixels.masked_fill(~valid[:, :, None], top).sort(dim=1).values
        middle = (valid.sum(1, keepdim=True)[:, :, None] - 1).clamp(min=0) // 2
        image = ordered.gather(1, middle.expand(-1, -1, pixels.shape[2], -1, -1))[:, 0]
    seen = valid.any(1)
    return image.masked_fill(~seen[:, None], 0), seen


def prepare(pixels: Tensor, valid: Tensor, scaling: Scaling) -> tuple[Tensor, Tensor]:
    """Network input (N, C, H, W) float32, standardised, 0 where no date is valid, and valid (NHW); from DN (N, T, C, H, W)."""
    image, seen = composite(pixels, valid)
    gain, shift = (x.to(image.device)[:, None, None] for x in scaling.factors())
    return torch.addcmul(shift, image.float(), gain).masked_fill(~seen[:, None], 0), seen


def crop(raw: Raw, side: int) -> Raw:
    """A square of `side` pixels from a random place of every sample; the sample itself where it is no larger.

    Labels are often sparse, and a square without them teaches nothing: of four places drawn it is the first with a label on a
    quarter of its pixels, or else the one with most.
    """
    pixels, valid, label = raw
    free = label.shape[-1] - side
    if free <= 0:
        return raw

    def choose(known: Tensor) -> tuple[int, int]:
        drawn: list[tuple[int, int]] = [(y, x) for y, x in torch.randint(free + 1, (4, 2)).tolist()]
        counts = [int(known[y : y + side, x : x + side].sum()) for y, x in drawn]
        enough = (place for place, count in zip(drawn, counts, strict=True) if count >= side * side // 4)
        return next(enough, drawn[counts.index(max(counts))])

    places = [choose(known) for known in label != NODATA]

    def cut(array: Tensor) -> Tensor:
        return torch.stack([a[..., y : y + side, x : x + side] for a, (y, x) in zip(array, places, strict=True)])

    return cut(pixels), cut(valid), cut(label)


def augment(tensors: Tensors, kinds: Sequence[str]) -> Tensors:
    """The batch with every sample flipped, turned by quarters, made brighter or darker and noisier, as `kinds` names."""
    image, valid, label = tensors
    n = len(image)
    turns = torch.randint(4, (n,)) if "rotate" in kinds else torch.zeros(n, dtype=torch.int64)
    flips = torch.randint(2, (n,)) if "flip" in kinds else torch.zeros(n, dtype=torch.int64)

    def move(array: Tensor) -> Tensor:
        moved = (torch.rot90(a, t, (-2, -1)) for a, t in zip(array, turns.tolist(), strict=True))
        return torch.stack([a.flip(-1) if f else a for a, f in zip(moved, flips.tolist(), strict=True)])

    if "rotate" in kinds or "flip" in kinds:
        image, valid, label = move(image), move(valid), move(label)
    if "brightness" in kinds:
        # Standardised input: a gain of the contrast and a shift, the same for all pixels of a band.
        gain = 1 + 0.1 * torch.randn(n, 1, 1, 1)
        image = image * gain.to(image.device) + (0.1 * torch.randn(n, image.shape[1], 1, 1)).to(image.device)
    if "noise" in kinds:
        image = image + 0.05 * torch.randn(image.shape).to(image.device)
    return image.masked_fill(~valid[:, None], 0), valid, label


def loss(logits: Tensor, label: Tensor, penalty: Penalty, weight: Tensor) -> Tensor:
    """The sum over all pixels with a label: their sample's weight (N,) times class-weighted cross entropy plus `dice` soft dice.

    Soft dice (Milletari et al. 2016, doi:10.1109/3DV.2016.79) is averaged over the classes that occur in the batch and counted
    once a pixel.
    """
    logits = logits.float()
    counted = (label != NODATA) * weight[:, None, None]
    each = functional.cross_entropy(
        logits, label, penalty.weights, ignore_index=NODATA, reduction="none", label_smoothing=penalty.smoothing
    )
    total = (each * weight[:, None, None]).sum()
    if penalty.dice:
        likely = logits.softmax(1)
        truth = functional.one_hot(label.where(label != NODATA, 0), logits.shape[1]).movedim(-1, 1) * counted[:, None]
        both, there = (likely * truth).sum((0, 2, 3)), (likely * counted[:, None] + truth).sum((0, 2, 3))
        occurs = truth.sum((0, 2, 3)) > 0
        dice = 1 - (2 * both / there.clamp(min=1e-6))[occurs].sum() / occurs.sum().clamp(min=1)
        total = total + penalty.dice * dice * counted.sum()
    return total


def decode(logits: Tensor) -> Tensor:
    """(N, H, W) uint8 positions in the legend of the likeliest class."""
    return logits.argmax(1).to(torch.uint8)


SEGMENT = Task("segment", crop, composite, prepare, augment, loss, decode)

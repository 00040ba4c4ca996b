"""Samples before a network sees them: cropped, made one image of T dates, standardised, varied; whatever the label is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lulc.legend import NODATA
from lulc.models.tasks.task import Batch, Kind, Scaling, Task


def lower_median(pixels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
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


def reduce(samples: Batch, task: Task) -> Batch:
    """The samples with the dates that the task's network sees: all of them, or the median of the valid ones as one (DN)."""
    if task.series:
        return samples
    image, seen = lower_median(samples.pixels, samples.valid)
    return dataclasses.replace(
        samples, pixels=image[:, None], valid=seen[:, None], days=samples.days[:, :1]
    )


def standardise(samples: Batch, scaling: Scaling) -> Batch:
    """The samples with pixels as float32, standardised, 0 where not valid; a label a pixel is 255 where no date is."""
    gain, shift = (x.to(samples.pixels.device)[:, None, None] for x in scaling.factors())
    pixels = torch.addcmul(shift, samples.pixels.float(), gain).masked_fill_(
        ~samples.valid[:, :, None], 0
    )
    label = samples.label if samples.label.is_floating_point() else samples.label.long()
    if label.ndim == 3 and label.shape[1:] == samples.valid.shape[2:]:
        label = label.masked_fill(~samples.valid.any(1), NODATA)
    return dataclasses.replace(samples, pixels=pixels, label=label)


def count_dates(samples: Batch, kind: Kind) -> Tensor:
    """What a loss is divided by: labelled pixels, or images with a label, each times its sample's weight."""
    if kind in ("tags", "boxes"):
        return samples.weight.double().sum()
    known = (
        (samples.label != NODATA).flatten(1).sum(1)
        if samples.label.ndim > 1
        else samples.label != NODATA
    )
    return known.double() @ samples.weight.double()


def class_counts(samples: Batch, kind: Kind) -> Tensor:
    """(256,) float64: how many pixels, images or boxes of each class there are; pixels where a date is valid alone."""
    if kind == "tags":
        found = samples.label.double().sum(0)
        return functional.pad(found, (0, 256 - len(found)))
    ids = {
        "pixels": lambda: samples.label[samples.valid.any(1)],
        "boxes": lambda: samples.label[..., 0],
    }.get(kind, lambda: samples.label)()
    return torch.bincount(ids.flatten().long(), minlength=256).double()


def crop(samples: Batch, side: int, kind: Kind) -> Batch:
    """A square of `side` pixels from a random place of every sample; the samples themselves where they are no larger.

    Labels are often sparse, and a square without them teaches nothing: of four places drawn it is the first with a label on a
    quarter of its pixels (or a box), or else the one with most.
    """
    free = samples.pixels.shape[-1] - side
    if free <= 0:
        return samples

    def choose(known: Callable[[int, int], int], enough: int) -> tuple[int, int]:
        drawn: list[tuple[int, int]] = [(y, x) for y, x in torch.randint(free + 1, (4, 2)).tolist()]
        counts = [known(y, x) for y, x in drawn]
        good = (place for place, count in zip(drawn, counts, strict=True) if count >= enough)
        return next(good, drawn[counts.index(max(counts))])

    def labelled(label: Tensor) -> tuple[Callable[[int, int], int], int]:
        if kind == "pixels":
            known = label != NODATA
            return lambda y, x: int(known[y : y + side, x : x + side].sum()), side * side // 4
        if kind == "boxes":
            return lambda y, x: int((_inside(label, y, x, side)[:, 0] != NODATA).sum()), 1
        return lambda *_: 1, 1

    places = [choose(*labelled(label)) for label in samples.label]

    def cut(array: Tensor) -> Tensor:
        return torch.stack(
            [a[..., y : y + side, x : x + side] for a, (y, x) in zip(array, places, strict=True)]
        )

    label = samples.label
    if kind == "pixels":
        label = cut(label)
    elif kind == "boxes":
        label = torch.stack(
            [_inside(boxes, y, x, side) for boxes, (y, x) in zip(label, places, strict=True)]
        )
    return dataclasses.replace(
        samples, pixels=cut(samples.pixels), valid=cut(samples.valid), label=label
    )


def _inside(boxes: Tensor, y: int, x: int, side: int) -> Tensor:
    # Boxes (M, 5) whose centre lies in the square, counted from its corner and cut at its edges; the others become none.
    moved = boxes - boxes.new_tensor([0, x, y, x, y])
    centre = (moved[:, 1:3] + moved[:, 3:5]) / 2
    outside = ((centre < 0) | (centre >= side)).any(1)
    kept = torch.cat([boxes[:, :1], moved[:, 1:].clamp(0, side)], 1)
    kept[outside, 0] = NODATA
    return kept


def augment(samples: Batch, kinds: Sequence[str], kind: Kind, scaling: Scaling) -> Batch:
    """The standardised samples turned by quarters, flipped, zoomed, of another light and noisier, as `kinds` names."""
    if "zoom" in kinds and kind != "boxes":
        samples = _zoom(samples, kind)
    if "rotate" in kinds or "flip" in kinds:
        samples = _turn(samples, "rotate" in kinds, "flip" in kinds, kind)
    pixels = samples.pixels
    if "brightness" in kinds:
        # A gain of the contrast and a shift of every band, the same for all pixels and dates.
        gain = 1 + _normal(pixels, 0.1, each_band=False)
        pixels = pixels * gain + _normal(pixels, 0.1, each_band=True)
    if "colour" in kinds:
        pixels = _relight(pixels, scaling)
    if "noise" in kinds:
        pixels = pixels + 0.05 * torch.randn(pixels.shape).to(pixels.device)
    return dataclasses.replace(samples, pixels=pixels.masked_fill(~samples.valid[:, :, None], 0))


def _relight(pixels: Tensor, scaling: Scaling) -> Tensor:
    # Sun, season and sensor multiply a reflectance, and haze adds the same to every band: a scene of another day differs from
    # this one by values counted from no light at all, not from their mean. Haze is counted in the middle one of the bands'
    # means, so that a band of another unit among them (metres, decibels) does not set it.
    mean, std = (
        torch.tensor(x, dtype=torch.float32, device=pixels.device)
        for x in (scaling.mean, scaling.std)
    )
    dark, haze = (-mean / std)[:, None, None], (mean.abs().median() / std)[:, None, None]
    gain = torch.exp(_normal(pixels, 0.4, each_band=False) + _normal(pixels, 0.2, each_band=True))
    return (pixels - dark) * gain + dark + _normal(pixels, 0.2, each_band=False) * haze


def _normal(pixels: Tensor, spread: float, *, each_band: bool) -> Tensor:
    # (N, 1, C or 1, 1, 1): one for every sample and band, or sample; drawn on the CPU: a seed says the same on every device.
    return (spread * torch.randn(len(pixels), 1, pixels.shape[2] if each_band else 1, 1, 1)).to(
        pixels.device
    )


def _turn(samples: Batch, rotate: bool, flip: bool, kind: Kind) -> Batch:
    n, side = len(samples.pixels), samples.pixels.shape[-1]
    turns = torch.randint(4, (n,)).tolist() if rotate else [0] * n
    flips = torch.randint(2, (n,)).tolist() if flip else [0] * n

    def move(array: Tensor) -> Tensor:
        moved = (torch.rot90(a, t, (-2, -1)) for a, t in zip(array, turns, strict=True))
        return torch.stack([a.flip(-1) if f else a for a, f in zip(moved, flips, strict=True)])

    def move_boxes(boxes: Tensor, turns: int, flipped: int) -> Tensor:
        left, top, right, bottom = boxes[:, 1:].unbind(1)
        for _ in range(turns):
            left, top, right, bottom = top, side - right, bottom, side - left
        if flipped:
            left, right = side - right, side - left
        return torch.stack([boxes[:, 0], left, top, right, bottom], 1)

    label = samples.label
    if kind == "pixels":
        label = move(label)
    elif kind == "boxes":
        label = torch.stack([move_boxes(*given) for given in zip(label, turns, flips, strict=True)])
    return dataclasses.replace(
        samples, pixels=move(samples.pixels), valid=move(samples.valid), label=label
    )


def _zoom(samples: Batch, kind: Kind) -> Batch:
    # A part of every sample, 0.6 to 1 of its side, from a random place and slightly turned, brought back to the full side.
    n = len(samples.pixels)
    scale = torch.empty(n).uniform_(0.6, 1.0)
    angle = torch.empty(n).uniform_(-0.25, 0.25)
    shift = (torch.rand(n, 2) * 2 - 1) * (1 - scale)[:, None]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    shape = samples.pixels.shape
    grid = functional.affine_grid(theta, [n, 1, *shape[-2:]], align_corners=False).to(
        samples.pixels.device
    )

    def take(array: Tensor, mode: str) -> Tensor:
        flat = array.reshape(n, -1, *shape[-2:]).float()
        # What the label or image does not reach is filled from its edge; it is not valid where the edge is not.
        return functional.grid_sample(flat, grid, mode, "border", align_corners=False).reshape(
            array.shape
        )

    label = (
        take(samples.label, "nearest").to(samples.label.dtype)
        if kind == "pixels"
        else samples.label
    )
    valid = take(samples.valid, "nearest") > 0.5
    return dataclasses.replace(
        samples, pixels=take(samples.pixels, "bilinear"), valid=valid, label=label
    )

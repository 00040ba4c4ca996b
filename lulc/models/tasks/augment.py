"""Samples prepared for a network: cropped, reduced to one image, standardised, augmented.

The verbs serve every kind of label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lulc.legend import NODATA
from lulc.models.tasks.task import Batch, Kind, Scaling, Task


def lower_median(pixels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the lower median of the valid dates of every pixel and band.

    The rule of `lulc.chips.composites.median_composite`, for a whole batch.

    Args:
        pixels: (N, T, C, H, W).
        valid: (N, T, H, W) bool.

    Returns:
        The image (N, C, H, W), 0 where no date is valid, and (N, H, W) bool: where one is.
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
    image_valid = valid.any(1)
    return image.masked_fill(~image_valid[:, None], 0), image_valid


def reduce(batch: Batch, task: Task) -> Batch:
    """Reduce the dates to those that the task's network sees.

    Returns:
        The batch with all its dates, or with the median (DN) of the valid ones as its one date.
    """
    if task.series:
        return batch
    image, valid = lower_median(batch.pixels, batch.valid)
    return dataclasses.replace(
        batch, pixels=image[:, None], valid=valid[:, None], days=batch.days[:, :1]
    )


def standardise(batch: Batch, scaling: Scaling) -> Batch:
    """Standardise the pixels.

    Returns:
        The batch with float32 pixels, 0 where not valid; a label a pixel is 255 where no date is
        valid.
    """
    gain, shift = (factor.to(batch.pixels.device)[:, None, None] for factor in scaling.factors())
    pixels = torch.addcmul(shift, batch.pixels.float(), gain).masked_fill_(
        ~batch.valid[:, :, None], 0
    )
    label = batch.label if batch.label.is_floating_point() else batch.label.long()
    if label.ndim == 3 and label.shape[1:] == batch.valid.shape[2:]:
        label = label.masked_fill(~batch.valid.any(1), NODATA)
    return dataclasses.replace(batch, pixels=pixels, label=label)


def count_labels(batch: Batch, kind: Kind) -> Tensor:
    """Count what a loss is divided by.

    Returns:
        Labelled pixels, or images with a label, each times its sample's weight; a float64 scalar.
    """
    if kind in ("tags", "boxes"):
        return batch.weight.double().sum()
    labelled = batch.label != NODATA
    counts = labelled.flatten(1).sum(1) if batch.label.ndim > 1 else labelled
    return counts.double() @ batch.weight.double()


def class_counts(batch: Batch, kind: Kind) -> Tensor:
    """Count the pixels, images or boxes of each class.

    Returns:
        (256,) float64 by position in the legend, 255 for no label; of pixels those where a date is
        valid.
    """
    if kind == "tags":
        counts = batch.label.double().sum(0)
        return functional.pad(counts, (0, 256 - len(counts)))
    positions = batch.label
    if kind == "pixels":
        positions = batch.label[batch.valid.any(1)]
    elif kind == "boxes":
        positions = batch.label[..., 0]
    return torch.bincount(positions.flatten().long(), minlength=256).double()


def crop(batch: Batch, side: int, kind: Kind, class_crops: float = 0.0) -> Batch:
    """Crop every sample to a square at random.

    Labels are often sparse, and a square without them teaches nothing: of four squares drawn it is
    the first with a label on a quarter of its pixels (or a box), or else the one with most. Where
    none has a label, as of a few points, it is drawn around a labelled pixel.

    Args:
        batch: samples.
        side: of the squares, in pixels.
        kind: of the labels.
        class_crops: share of the squares that are drawn around a pixel of a class instead, each
            class of the sample as often as the others; for a class a pixel.

    Returns:
        The cropped batch; the batch itself where it is no larger.
    """
    max_offset = batch.pixels.shape[-1] - side
    if max_offset <= 0:
        return batch
    corners = []
    for label in batch.label:
        present = label[label != NODATA].unique() if class_crops and kind == "pixels" else label[:0]
        if len(present) and torch.rand(()) < class_crops:
            drawn = present[int(torch.randint(len(present), ()))]
            corners.append(_corner_around(label == drawn, side, max_offset))
        else:
            corners.append(_draw_corner(label, side, max_offset, kind))

    def cut(array: Tensor) -> Tensor:
        return torch.stack(
            [a[..., y : y + side, x : x + side] for a, (y, x) in zip(array, corners, strict=True)]
        )

    label = batch.label
    if kind == "pixels":
        label = cut(label)
    elif kind == "boxes":
        label = torch.stack(
            [_crop_boxes(boxes, y, x, side) for boxes, (y, x) in zip(label, corners, strict=True)]
        )
    return dataclasses.replace(batch, pixels=cut(batch.pixels), valid=cut(batch.valid), label=label)


def _draw_corner(label: Tensor, side: int, max_offset: int, kind: Kind) -> tuple[int, int]:
    # Upper row and left column of the square.
    corners: list[tuple[int, int]] = [
        (y, x) for y, x in torch.randint(max_offset + 1, (4, 2)).tolist()
    ]
    counts = [_count_labelled(label, y, x, side, kind) for y, x in corners]
    enough = side * side // 4 if kind == "pixels" else 1
    for corner, count in zip(corners, counts, strict=True):
        if count >= enough:
            return corner
    if kind == "pixels" and not any(counts) and (label != NODATA).any():
        return _corner_around(label != NODATA, side, max_offset)
    return corners[counts.index(max(counts))]


def _corner_around(mask: Tensor, side: int, max_offset: int) -> tuple[int, int]:
    # Of a square somewhere around one of a mask's pixels.
    pixels = torch.nonzero(mask)
    pixel = pixels[int(torch.randint(len(pixels), ()))]
    y, x = (pixel - torch.randint(side, (2,))).clamp(0, max_offset).tolist()
    return y, x


def _count_labelled(label: Tensor, y: int, x: int, side: int, kind: Kind) -> int:
    if kind == "pixels":
        return int((label[y : y + side, x : x + side] != NODATA).sum())
    if kind == "boxes":
        return int((_crop_boxes(label, y, x, side)[:, 0] != NODATA).sum())
    return 1


def _crop_boxes(boxes: Tensor, y: int, x: int, side: int) -> Tensor:
    # Boxes (M, 5) whose centre lies in the square, relative to its corner and clipped at its edges;
    # the others become none.
    moved = boxes - boxes.new_tensor([0, x, y, x, y])
    centre = (moved[:, 1:3] + moved[:, 3:5]) / 2
    is_outside = ((centre < 0) | (centre >= side)).any(1)
    clipped = torch.cat([boxes[:, :1], moved[:, 1:].clamp(0, side)], 1)
    clipped[is_outside, 0] = NODATA
    return clipped


def augment(batch: Batch, kinds: Sequence[str], kind: Kind, scaling: Scaling) -> Batch:
    """Vary standardised samples at random.

    Args:
        batch: standardised samples.
        kinds: the augmentations, as in `train.augment`: quarter turns, flips, zoom, brightness,
            colour and noise.
        kind: of the labels.
        scaling: how the samples were standardised.

    Returns:
        The varied batch; pixels are 0 where not valid.
    """
    if "zoom" in kinds and kind != "boxes":
        batch = _zoom(batch, kind)
    if "rotate" in kinds or "flip" in kinds:
        batch = _turn(batch, "rotate" in kinds, "flip" in kinds, kind)
    pixels = batch.pixels
    if "brightness" in kinds:
        # A gain of the contrast and a shift of every band, the same for all pixels and dates.
        gain = 1 + _normal(pixels, 0.1, each_band=False)
        pixels = pixels * gain + _normal(pixels, 0.1, each_band=True)
    if "colour" in kinds:
        pixels = _relight(pixels, scaling)
    if "noise" in kinds:
        pixels = pixels + 0.05 * torch.randn(pixels.shape).to(pixels.device)
    return dataclasses.replace(batch, pixels=pixels.masked_fill(~batch.valid[:, :, None], 0))


def _relight(pixels: Tensor, scaling: Scaling) -> Tensor:
    # Sun, season and sensor multiply a reflectance, and haze adds the same to every band: a scene
    # of another day differs from this one by values counted from no light at all, not from their
    # mean. The unit of haze is the median of the bands' means, so that a band of another unit among
    # them (metres, decibels) does not set it.
    mean, std = (
        torch.tensor(numbers, dtype=torch.float32, device=pixels.device)
        for numbers in (scaling.mean, scaling.std)
    )
    dark, haze = (-mean / std)[:, None, None], (mean.abs().median() / std)[:, None, None]
    gain = torch.exp(_normal(pixels, 0.4, each_band=False) + _normal(pixels, 0.2, each_band=True))
    return (pixels - dark) * gain + dark + _normal(pixels, 0.2, each_band=False) * haze


def _normal(pixels: Tensor, spread: float, *, each_band: bool) -> Tensor:
    # (N, 1, C or 1, 1, 1): one for every sample and band, or every sample; drawn on the CPU, so
    # that a seed gives the same on every device.
    bands = pixels.shape[2] if each_band else 1
    return (spread * torch.randn(len(pixels), 1, bands, 1, 1)).to(pixels.device)


def _turn(batch: Batch, rotate: bool, flip: bool, kind: Kind) -> Batch:
    n, side = len(batch.pixels), batch.pixels.shape[-1]
    turns = torch.randint(4, (n,)).tolist() if rotate else [0] * n
    flips = torch.randint(2, (n,)).tolist() if flip else [0] * n

    def turn(array: Tensor) -> Tensor:
        rotated = (torch.rot90(a, t, (-2, -1)) for a, t in zip(array, turns, strict=True))
        return torch.stack([a.flip(-1) if f else a for a, f in zip(rotated, flips, strict=True)])

    label = batch.label
    if kind == "pixels":
        label = turn(label)
    elif kind == "boxes":
        label = torch.stack(
            [_turn_boxes(b, t, f, side) for b, t, f in zip(label, turns, flips, strict=True)]
        )
    return dataclasses.replace(
        batch, pixels=turn(batch.pixels), valid=turn(batch.valid), label=label
    )


def _turn_boxes(boxes: Tensor, turns: int, flipped: int, side: int) -> Tensor:
    left, top, right, bottom = boxes[:, 1:].unbind(1)
    for _ in range(turns):
        left, top, right, bottom = top, side - right, bottom, side - left
    if flipped:
        left, right = side - right, side - left
    return torch.stack([boxes[:, 0], left, top, right, bottom], 1)


def _zoom(batch: Batch, kind: Kind) -> Batch:
    # A window of every sample, 0.6 to 1 of its side, placed at random and slightly turned, is
    # resampled to the full side.
    n = len(batch.pixels)
    scale = torch.empty(n).uniform_(0.6, 1.0)
    angle = torch.empty(n).uniform_(-0.25, 0.25)
    shift = (torch.rand(n, 2) * 2 - 1) * (1 - scale)[:, None]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    shape = batch.pixels.shape
    grid = functional.affine_grid(theta, [n, 1, *shape[-2:]], align_corners=False)
    grid = grid.to(batch.pixels.device)

    def resample(array: Tensor, mode: str) -> Tensor:
        planes = array.reshape(n, -1, *shape[-2:]).float()
        # Beyond the label or image its edge is repeated; it is not valid where the edge is not.
        zoomed = functional.grid_sample(planes, grid, mode, "border", align_corners=False)
        return zoomed.reshape(array.shape)

    label = batch.label
    if kind == "pixels":
        label = resample(label, "nearest").to(label.dtype)
    valid = resample(batch.valid, "nearest") > 0.5
    return dataclasses.replace(
        batch, pixels=resample(batch.pixels, "bilinear"), valid=valid, label=label
    )

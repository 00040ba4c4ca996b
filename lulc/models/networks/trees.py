"""Trees for the bands of a pixel, or for statistics over an image, in LightGBM's text.

`boosting` is gradient boosting (Friedman 2001, doi:10.1214/aos/1013203451), `forest` a random
forest (Breiman 2001, doi:10.1023/A:1010933404324) of regression trees for every class. Both are
LightGBM's (Ke et al. 2017, NeurIPS 30), written and read as its text, never as a pickle.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np
import torch
from torch import Tensor, nn

from lulc.errors import InputError, UsageError
from lulc.features.in_window import window_mean_sd
from lulc.models.contract import Contract
from lulc.models.networks.model import Model
from lulc.models.tasks.task import Batch

if TYPE_CHECKING:
    import lightgbm

_STATISTICS = ("mean", "std", "p10", "p50", "p90")
_TEXTURES = (3, 7, 15)  # sides in pixels of the windows whose standard deviations an image has
_LEAST_PROBABILITY = 1e-6


def feature_names(task: str, bands: Sequence[str], dates: int) -> list[str]:
    """Return the names of what trees see, in the order of `tabulate`'s columns.

    Args:
        task: its name.
        bands: names of the bands.
        dates: of a sample, as the task's models see it.

    Returns:
        For segment the bands; for series the bands of every date, such as `red@0`; for classify
        statistics over the image of the bands and of their texture, such as `red@p90` and
        `red:sd7@mean`.
    """
    if task == "classify":
        textures = [f"{band}:sd{side}" for side in _TEXTURES for band in bands]
        return [f"{band}@{statistic}" for band in (*bands, *textures) for statistic in _STATISTICS]
    if task == "series":
        return [f"{band}@{date}" for date in range(dates) for band in bands]
    return list(bands)


def tabulate(pixels: Tensor, valid: Tensor, task: str) -> np.ndarray:
    """Return what trees see, a row for each pixel that is valid on a date, or for each image.

    Args:
        pixels: (N, T, C, H, W), standardised.
        valid: (N, T, H, W) bool.
        task: its name.

    Returns:
        (rows, features) float32, the pixels in the order of (N, H, W); NaN where a date is not
        valid, and where an image is valid nowhere.
    """
    if task == "classify":
        images = zip(pixels.cpu().numpy(), valid.cpu().numpy(), strict=True)
        return np.stack([_image_row(*image) for image in images])
    seen = valid.any(1)
    table = pixels.permute(0, 3, 4, 1, 2)[seen]
    if valid.shape[1] > 1:
        is_missing = ~valid.permute(0, 2, 3, 1)[seen]
        table = table.masked_fill(is_missing[..., None], torch.nan)
    return np.ascontiguousarray(table.flatten(1).cpu().numpy())


def _image_row(pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    # pixels: (T, C, H, W); the task gives its samples one date.
    bands, is_valid = pixels[0], valid[0]
    if not is_valid.any():
        count = len(bands) * (1 + len(_TEXTURES)) * len(_STATISTICS)
        return np.full(count, np.nan, np.float32)
    textures = [
        window_mean_sd(band.astype(np.float64), is_valid, side)[1]
        for side in _TEXTURES
        for band in bands
    ]
    values = np.stack([*bands, *textures])[:, is_valid]
    percentiles = np.percentile(values, (10, 50, 90), axis=1)
    return np.stack([values.mean(1), values.std(1), *percentiles], axis=1, dtype=np.float32).ravel()


class Trees(nn.Module):
    """Grown trees, called as a network is."""

    def __init__(
        self, booster: lightgbm.Booster, columns: Sequence[int], model: str, task: str, classes: int
    ) -> None:
        """Take trees grown from some columns of `tabulate`, in the order that they have them."""
        super().__init__()
        self.booster, self.columns = booster, list(columns)
        self.model, self.task, self.classes = model, task, classes

    def forward(self, pixels: Tensor, valid: Tensor) -> Tensor:
        """Return logits, (N, K, H, W), 0 where no date is valid; or (N, K) of images.

        Args:
            pixels: (N, T, C, H, W), standardised.
            valid: (N, T, H, W) bool.

        Raises:
            InputError: there are more or fewer dates than the trees were grown from.
        """
        table = tabulate(pixels, valid, self.task)
        if table.shape[1] != len(self.columns):
            raise InputError(
                f"the image has {pixels.shape[1]} dates, and the trees were grown from "
                f"{len(self.columns) // pixels.shape[2]}: give the period as many, or train anew"
            )
        if self.columns != sorted(self.columns):
            table = np.ascontiguousarray(table[:, self.columns])
        rows = torch.from_numpy(self.logits(table)).to(pixels.device, torch.float32)
        if self.task == "classify":
            return rows
        seen = valid.any(1)
        logits = torch.zeros(*seen.shape, self.classes, device=pixels.device)
        logits[seen] = rows
        return logits.movedim(-1, 1)

    def logits(self, table: np.ndarray) -> np.ndarray:
        """Return logits (rows, K) of rows of features, in the order that the trees have them."""
        if not len(table):
            return np.zeros((0, self.classes))
        values = np.asarray(
            self.booster.predict(table, raw_score=True, num_threads=torch.get_num_threads())
        )
        if self.model != "forest":
            return values
        # Of a forest every tree adds (share of the class among a leaf's rows - 1/K) * K.
        shares = (values / self.booster.current_iteration() + 1) / self.classes
        return np.log(np.maximum(shares, _LEAST_PROBABILITY))


def read_trees(content: bytes, model: str, task: str, bands: Sequence[str], classes: int) -> Trees:
    """Return the trees of a text.

    Args:
        content: LightGBM's text, as UTF-8.
        model: `boosting` or `forest`.
        task: its name.
        bands: of the image, in order.
        classes: how many there are.

    Raises:
        ValueError: it is no such text, is damaged, or is of other bands or classes.
    """
    import lightgbm

    if not content.startswith(b"tree\n"):
        raise ValueError("trees are read from LightGBM's text alone, never from a pickle")
    text = content.decode()
    try:
        names = _check_text(text, classes)
    except KeyError as error:
        raise ValueError(f"the text lacks a line {error}") from error
    expected = feature_names(task, bands, len(names) // len(bands))
    if sorted(names) != sorted(expected):
        raise ValueError(f"its trees see {names}, and its contract says {expected}")
    columns = [expected.index(name) for name in names]
    return Trees(lightgbm.Booster(model_str=text), columns, model, task, classes)


def _check_text(text: str, classes: int) -> list[str]:
    # The names of the features. LightGBM itself would follow a child that is not there out of its
    # memory, or in a circle.
    body, end, _ = text.partition("end of trees\n")
    start, *blocks = re.split(r"^(?=Tree=\d+\n)", body, flags=re.MULTILINE)
    head = _fields(start)
    if not end or head["tree_sizes"].split() != [str(len(block)) for block in blocks]:
        raise ValueError("the text is not whole")
    if not head["num_class"] == head["num_tree_per_iteration"] == str(classes):
        raise ValueError(f"it tells {head['num_class']} classes apart, and its contract {classes}")
    names = [unquote(name) for name in head["feature_names"].split()]
    for number, block in enumerate(blocks):
        _check_tree(_fields(block), len(names), f"tree {number}")
    return names


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines())
    return {name: value for name, _, value in pairs}


def _check_tree(tree: dict[str, str], features: int, subject: str) -> None:
    leaves = int(tree["num_leaves"])
    values = np.array(tree["leaf_value"].split(), float)
    if len(values) != leaves or not np.isfinite(values).all() or tree["is_linear"] != "0":
        raise ValueError(f"{subject} has not the finite values of {leaves} leaves")
    if leaves == 1:
        return
    split, *children = (
        np.array(tree[name].split(), int) for name in ("split_feature", "left_child", "right_child")
    )
    thresholds = np.array(tree["threshold"].split(), float)
    kinds = np.array(tree["decision_type"].split(), int)
    # Nodes from 0, leaves from -1 down: each but the root is the child of one node before it.
    below = np.sort(np.concatenate(children))
    is_whole = np.array_equal(below, np.r_[-leaves:0, 1 : leaves - 1])
    nodes = np.arange(leaves - 1)
    is_whole = is_whole and all(
        len(numbers) == len(nodes) for numbers in (split, thresholds, kinds)
    )
    is_whole = is_whole and all(((side < 0) | (side > nodes)).all() for side in children)
    if not is_whole or np.isnan(thresholds).any() or (kinds & 1).any():
        raise ValueError(f"{subject} has nodes that do not make a tree of numbers")
    if split.min() < 0 or split.max() >= features:
        raise ValueError(f"{subject} asks for a band that is not there")


def write_trees(booster: lightgbm.Booster) -> bytes:
    """Return grown trees as a text, the same whatever number of threads grew them."""
    text: str = booster.model_to_string()
    return re.sub(r"^\[num_threads: \d+\]$", "[num_threads: 0]", text, flags=re.M).encode()


def quote_name(name: str) -> str:
    """Return the name of a feature without the characters that LightGBM does not take."""
    return quote(name, safe="")


def _inputs(batch: Batch) -> tuple[Tensor, ...]:
    return batch.pixels, batch.valid


def _read(contract: Contract, content: bytes) -> nn.Module:
    classes = len(contract.legend.classes)
    return read_trees(content, contract.model, contract.task, contract.bands, classes)


def _build(in_channels: int, classes: int, **_: Any) -> nn.Module:  # noqa: ARG001
    """Return a module without weights: trees are grown, not built. UsageError for one class."""
    if classes < 2:
        raise UsageError("trees tell classes apart: the legend has one, give it two or more")
    return nn.Module()


def _multiple(**_: object) -> int:
    """Return 1: images of any size are taken."""
    return 1


def _model(name: str) -> Model:
    tasks = ("segment", "series", "classify")
    return Model(name, tasks, _build, _multiple, _read, _inputs, is_trees=True)


BOOSTING, FOREST = _model("boosting"), _model("forest")

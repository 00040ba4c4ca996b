"""Pictures of a training: its confusion matrix and examples of what it maps, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lulc import store
from lulc.legend import NODATA, Legend


def draw_confusion(matrix: np.ndarray, legend: Legend, title: str, path: Path) -> Path:
    """The picture's path: a (K, K + 1) confusion matrix with its counts, shaded by the share of each label's pixels."""
    names = [c.name for c in legend.classes]
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 2.5 + 0.7 * len(names)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(names) + 1), [*names, "no class"], rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="map", ylabel="label", title=title)
    for (row, col), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[row, col] > 0.5 else "black"
            axes.text(col, row, f"{count:,}\n{shares[row, col]:.0%}", ha="center", va="center", fontsize=7, color=colour)
    return _save(figure, path)


def draw_examples(arrays: dict[str, np.ndarray], bands: Sequence[str], legend: Legend, path: Path) -> Path:
    """The picture's path: image, label and map of every example side by side, with the legend.

    arrays: images (N, C, H, W) of any values, labels and maps (N, H, W) legend ids.
    """
    images, labels, maps = arrays["images"], arrays["labels"], arrays["maps"]
    figure = Figure(figsize=(7.5, 2.4 * len(images) + 0.8), layout="constrained")
    rows = figure.subplots(len(images), 3, squeeze=False)
    for axes, image, label, found in zip(rows, images, labels, maps, strict=True):
        for axis, picture in zip(axes, (_composite(image, bands), paint(label, legend), paint(found, legend)), strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(rows[0], ("image", "label", "map"), strict=True):
        axis.set_title(title)
    keys = [Patch(facecolor=c.colour, edgecolor="grey", label=c.name) for c in legend.classes]
    figure.legend(handles=keys, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return _save(figure, path)


def paint(ids: np.ndarray, legend: Legend) -> np.ndarray:
    """(H, W, 3) float colours of an array of legend ids; white where there is no class."""
    table = np.ones((256, 3))
    for entry in legend.classes:
        table[entry.id] = to_rgb(entry.colour)
    table[NODATA] = 1.0
    return np.asarray(table[ids])


def _composite(image: np.ndarray, bands: Sequence[str]) -> np.ndarray:
    """(H, W, 3) in 0–1, stretched from 2 to 98 %: red, green and blue where bands have these names, else the first three."""
    wanted = ("red", "green", "blue")
    chosen = [bands.index(n) for n in wanted] if set(wanted) <= set(bands) else [min(i, len(bands) - 1) for i in range(3)]
    colours = image[chosen].astype(np.float64)
    low, high = (np.percentile(colours, q, axis=(1, 2), keepdims=True) for q in (2, 98))
    return np.clip((colours - low) / np.maximum(high - low, 1e-9), 0, 1).transpose(1, 2, 0)


def _save(figure: Figure, path: Path) -> Path:
    store.publish(path, lambda beside: figure.savefig(beside, dpi=110))
    return path

"""Pictures of a training: its confusion matrix and examples of what it maps, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from lulc.legend import NODATA, Legend
from lulc.tables import files


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
            axes.text(
                col,
                row,
                f"{count:,}\n{shares[row, col]:.0%}",
                ha="center",
                va="center",
                fontsize=7,
                color=colour,
            )
    return _save(figure, path)


def draw_examples(
    arrays: dict[str, np.ndarray], kind: str, bands: Sequence[str], legend: Legend, path: Path
) -> Path:
    """The picture's path: examples with their labels and what the model says of them.

    arrays: images (N, T, C, H, W) of any values; labels as a task of this kind has them, maps likewise, both in positions of the
    legend: a class a pixel or an image, probabilities (N, K), boxes (N, M, 6).
    """
    draw = {"pixels": _draw_maps, "boxes": _draw_boxes}.get(kind, _draw_answers)
    return _save(draw(arrays["images"], arrays["labels"], arrays["maps"], bands, legend), path)


def _draw_maps(
    images: np.ndarray, labels: np.ndarray, maps: np.ndarray, bands: Sequence[str], legend: Legend
) -> Figure:
    # The first and the last date, the label, the map; with the legend.
    dates = ["image"] if images.shape[1] == 1 else ["first date", "last date"]
    figure = Figure(figsize=(2.5 * (len(dates) + 2), 2.4 * len(images) + 0.8), layout="constrained")
    rows = figure.subplots(len(images), len(dates) + 2, squeeze=False)
    to_id = legend.to_id()
    for axes, image, label, found in zip(rows, images, labels, maps, strict=True):
        pictures = [_composite(image[i], bands) for i in (0, -1)[: len(dates)]]
        pictures += [paint(to_id[ids.astype(np.uint8)], legend) for ids in (label, found)]
        for axis, picture in zip(axes, pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(rows[0], [*dates, "label", "map"], strict=True):
        axis.set_title(title)
    keys = [Patch(facecolor=c.colour, edgecolor="grey", label=c.name) for c in legend.classes]
    figure.legend(handles=keys, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _draw_answers(
    images: np.ndarray, labels: np.ndarray, maps: np.ndarray, bands: Sequence[str], legend: Legend
) -> Figure:
    # Every image under its label, and under it what the model says, in green where that is right.
    figure, axes = _sheet(images, bands)
    for axis, label, found in zip(axes, labels, maps, strict=True):
        right, told, said = np.array_equal(label, found), [label], [found]
        if label.ndim:
            right = np.array_equal(label > 0, found >= 0.5)
            told = np.flatnonzero(label).tolist()
            said = np.flatnonzero(found >= 0.5).tolist()
        names = [
            ", ".join(legend.classes[int(i)].name for i in ids) or "none" for ids in (told, said)
        ]
        axis.set_title(names[0], fontsize=8)
        axis.text(
            0.5,
            -0.03,
            names[1],
            transform=axis.transAxes,
            ha="center",
            va="top",
            fontsize=8,
            color="green" if right else "red",
        )
    return figure


def _draw_boxes(
    images: np.ndarray, labels: np.ndarray, maps: np.ndarray, bands: Sequence[str], legend: Legend
) -> Figure:
    # Labels dashed in white; what was found with a score of a quarter or more in its class's colour.
    figure, axes = _sheet(images, bands)
    for axis, label, found in zip(axes, labels, maps, strict=True):
        drawn = [(box[1:], "white", "--") for box in label if box[0] != NODATA]
        drawn += [
            (box[2:], legend.classes[int(box[0])].colour, "-") for box in found if box[1] >= 0.25
        ]
        for (left, top, right, bottom), colour, style in drawn:
            axis.add_patch(
                Rectangle(
                    (left - 0.5, top - 0.5),
                    right - left,
                    bottom - top,
                    fill=False,
                    edgecolor=colour,
                    linestyle=style,
                )
            )
    return figure


def _sheet(images: np.ndarray, bands: Sequence[str]) -> tuple[Figure, list[Axes]]:
    columns = min(3, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.8 * columns, 3.1 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set_axis_off()
    for axis, image in zip(axes, images, strict=False):
        axis.imshow(_composite(image[0], bands), interpolation="nearest")
    return figure, axes[: len(images)]


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
    chosen = (
        [bands.index(n) for n in wanted]
        if set(wanted) <= set(bands)
        else [min(i, len(bands) - 1) for i in range(3)]
    )
    colours = image[chosen].astype(np.float64)
    low, high = (np.percentile(colours, q, axis=(1, 2), keepdims=True) for q in (2, 98))
    return np.clip((colours - low) / np.maximum(high - low, 1e-9), 0, 1).transpose(1, 2, 0)


def _save(figure: Figure, path: Path) -> Path:
    files.write_atomic(path, lambda beside: figure.savefig(beside, dpi=110))
    return path

"""Pictures of a training as PNG files: the confusion matrix and examples of predictions."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from lulc.legend import NODATA, Legend
from lulc.location import Location
from lulc.tables import files

_RGB = ("red", "green", "blue")
_MOST_FEATURES = 40  # whose importance is drawn
_MIN_SCORE = 0.25  # of the predicted boxes that are drawn


def draw_confusion(matrix: np.ndarray, legend: Legend, title: str, path: Location) -> Location:
    """Draw a confusion matrix with its counts, shaded by the share of each label's pixels.

    Args:
        matrix: (K, K + 1) counts, rows are labels, the last column is no class.
        legend: the K classes.
        title: title of the picture.
        path: PNG file to write.

    Returns:
        The path.
    """
    names = [entry.name for entry in legend.classes]
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
            share = shares[row, col]
            colour = "white" if share > 0.5 else "black"
            text = f"{count:,}\n{share:.0%}"
            axes.text(col, row, text, ha="center", va="center", fontsize=7, color=colour)
    return _save(figure, path)


def draw_examples(
    arrays: dict[str, np.ndarray], kind: str, bands: Sequence[str], legend: Legend, path: Location
) -> Location:
    """Draw images with their labels and predictions.

    Args:
        arrays: `images` (N, T, C, H, W) of any unit, `labels` and `maps` (the predictions) as a
            task of this kind has them, both in positions of the legend.
        kind: `pixels` for class maps (N, H, W), `boxes` for labels (N, M, 5) and predictions
            (N, M, 6), others for classes (N,) or labels and probabilities (N, K).
        bands: names of the C bands.
        legend: the classes.
        path: PNG file to write.

    Returns:
        The path.
    """
    draw = {"pixels": _draw_maps, "boxes": _draw_boxes}.get(kind, _draw_classes)
    return _save(draw(arrays["images"], arrays["labels"], arrays["maps"], bands, legend), path)


def draw_importances(table: Location, path: Location) -> Location:
    """Draw how much the features of trees are worth, the best ones first.

    Args:
        table: CSV file of feature, gain and splits.
        path: PNG file to write.

    Returns:
        The path.
    """
    rows = list(csv.DictReader(table.read_text().splitlines()))[:_MOST_FEATURES][::-1]
    total = sum(float(row["gain"]) for row in rows) or 1.0
    figure = Figure(figsize=(6, 1 + 0.25 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.barh([row["feature"] for row in rows], [float(row["gain"]) / total for row in rows])
    axes.set(xlabel="share of the gain of all splits", title="importance of the features")
    return _save(figure, path)


def _draw_maps(
    images: np.ndarray, labels: np.ndarray, maps: np.ndarray, bands: Sequence[str], legend: Legend
) -> Figure:
    # The first and the last date, the label and the map of every image; with the legend.
    dates = ["image"] if images.shape[1] == 1 else ["first date", "last date"]
    figure = Figure(figsize=(2.5 * (len(dates) + 2), 2.4 * len(images) + 0.8), layout="constrained")
    rows = figure.subplots(len(images), len(dates) + 2, squeeze=False)
    to_id = legend.to_id()
    for axes, image, label, prediction in zip(rows, images, labels, maps, strict=True):
        pictures = [_composite(image[date], bands) for date in (0, -1)[: len(dates)]]
        pictures += [
            paint(to_id[classes.astype(np.uint8)], legend) for classes in (label, prediction)
        ]
        for axis, picture in zip(axes, pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
    for axis, title in zip(rows[0], [*dates, "label", "map"], strict=True):
        axis.set_title(title)
    handles = [
        Patch(facecolor=entry.colour, edgecolor="grey", label=entry.name)
        for entry in legend.classes
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _draw_classes(
    images: np.ndarray, labels: np.ndarray, maps: np.ndarray, bands: Sequence[str], legend: Legend
) -> Figure:
    # Every image with its label above and its prediction below, which is green where it is right.
    figure, axes = _draw_sheet(images, bands)
    for axis, label, prediction in zip(axes, labels, maps, strict=True):
        if label.ndim:
            labelled, predicted = np.flatnonzero(label), np.flatnonzero(prediction >= 0.5)
        else:
            labelled, predicted = np.atleast_1d(label), np.atleast_1d(prediction)
        colour = "green" if np.array_equal(labelled, predicted) else "red"
        axis.set_title(_class_names(labelled, legend), fontsize=8)
        below = axis.text(0.5, -0.03, _class_names(predicted, legend), transform=axis.transAxes)
        below.set(ha="center", va="top", fontsize=8, color=colour)
    return figure


def _class_names(positions: Iterable[int], legend: Legend) -> str:
    return ", ".join(legend.classes[int(position)].name for position in positions) or "none"


def _draw_boxes(
    images: np.ndarray, labels: np.ndarray, maps: np.ndarray, bands: Sequence[str], legend: Legend
) -> Figure:
    # Labels dashed in white; predictions with a sufficient score in their class's colour.
    figure, axes = _draw_sheet(images, bands)
    for axis, label, prediction in zip(axes, labels, maps, strict=True):
        outlines = [(box[1:], "white", "--") for box in label if box[0] != NODATA]
        outlines += [
            (box[2:], legend.classes[int(box[0])].colour, "-")
            for box in prediction
            if box[1] >= _MIN_SCORE
        ]
        for (left, top, right, bottom), colour, line in outlines:
            corner, width, height = (left - 0.5, top - 0.5), right - left, bottom - top
            axis.add_patch(
                Rectangle(corner, width, height, fill=False, edgecolor=colour, linestyle=line)
            )
    return figure


def _draw_sheet(images: np.ndarray, bands: Sequence[str]) -> tuple[Figure, list[Axes]]:
    # The first date of every image, three side by side.
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
    """Colour an array of class ids (H, W).

    Returns:
        (H, W, 3) float64 in 0–1; white where there is no class.
    """
    table = np.ones((256, 3))
    for entry in legend.classes:
        table[entry.id] = to_rgb(entry.colour)
    table[NODATA] = 1.0
    return np.asarray(table[ids])


def _composite(image: np.ndarray, bands: Sequence[str]) -> np.ndarray:
    # (H, W, 3) in 0–1, each band stretched from 2 to 98 %: red, green and blue where bands have
    # these names, else the first three, of which the last is repeated if there are fewer.
    if set(_RGB) <= set(bands):
        positions = [bands.index(name) for name in _RGB]
    else:
        positions = [min(i, len(bands) - 1) for i in range(3)]
    colours = image[positions].astype(np.float64)
    low, high = (np.percentile(colours, percent, axis=(1, 2), keepdims=True) for percent in (2, 98))
    return np.clip((colours - low) / np.maximum(high - low, 1e-9), 0, 1).transpose(1, 2, 0)


def _save(figure: Figure, path: Location) -> Location:
    files.write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=110))
    return path

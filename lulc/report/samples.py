"""A contact sheet of a samples table: some samples with their labels, and where all of them lie."""

from __future__ import annotations

import json
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from lulc.chips import composites
from lulc.datasets.dataset import DENSE
from lulc.errors import InputError
from lulc.legend import NODATA, LandClass, Legend
from lulc.report.chips import choose_rgb, stretch
from lulc.tables import arrays, store

_SHOWN, _ACROSS = 40, 8
_LINES = 16  # of the legend
_COLOURS = {"train": "#4d4d4d", "validation": "#2166ac", "test": "#d6604d"}


def draw_samples(folder: Path) -> bytes:
    """PNG of up to 40 samples, spread over splits and classes, each with its label; and a map of the table's splits.

    All are stretched alike, so that a lake is dark beside a field. A label a pixel is shown beside its image in the legend's
    colours, boxes in the image, classes by name. InputError: there is no sample.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    files = sorted(folder.rglob("[!.]*.parquet"))
    rows = _choose_rows(files)
    if not rows:
        raise InputError(f"{folder} holds no samples: run `lulc samples`")
    legend = _legend(files)
    # A label a pixel doubles the width of a picture.
    tall = 1.25 if rows[0]["task"] in DENSE else 2.25
    lines = math.ceil(len(rows) / _ACROSS)
    centres = _centres(ds.dataset(folder, format="parquet", partitioning="hive"))
    low = 4.4 if len(centres) else 0.8 + 0.2 * min(len(legend.classes), _LINES)
    figure = Figure(figsize=(2 * _ACROSS, tall * lines + low), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[tall * lines, low])[:, 0]
    pictures = stretch(np.stack([_image(row) for row in rows]))
    for axes, row, picture in zip(
        above.subplots(lines, _ACROSS, squeeze=False).ravel(), rows, pictures, strict=False
    ):
        _show(axes, row, picture, legend)
    for axes in above.axes[len(rows) :]:
        axes.set_axis_off()
    _map(below.subplots(), centres)
    patches = [Patch(color=c.colour, label=f"{c.id} {c.name}") for c in legend.classes]
    below.legend(
        handles=patches,
        loc="outside right center",
        ncols=math.ceil(len(patches) / _LINES),
        fontsize=8,
        title=legend.name,
    )
    made = BytesIO()
    figure.savefig(made, format="png", dpi=90)
    return made.getvalue()


def _choose_rows(files: list[Path]) -> list[dict[str, Any]]:
    # Places that follow each other file by file, so that every split and, as files are shuffled, most classes are seen.
    light = [(file, i) for file in files for i in range(pq.read_metadata(file).num_rows)]
    wanted: dict[Path, set[int]] = {}
    for at in np.linspace(0, len(light) - 1, min(_SHOWN, len(light))).astype(int):
        wanted.setdefault(light[at][0], set()).add(light[at][1])
    rows = []
    for file, places in wanted.items():
        found = list(store.read_rows(file))
        rows += [
            found[i] | {"split": file.parent.name.removeprefix("split=")} for i in sorted(places)
        ]
    return rows


def _legend(files: list[Path]) -> Legend:
    raw = json.loads(pq.read_schema(files[0]).metadata[b"lulc"])["legend"]
    return Legend(raw["name"], tuple(LandClass(**c) for c in raw["classes"]))


def _image(row: dict[str, Any]) -> np.ndarray:
    # (C, H, W), NaN where nothing is valid.
    array = arrays.array_from(row, "pixels")
    valid = arrays.unpack(row["valid"], (len(array), *array.shape[2:]))
    image, seen = composites.median_composite(array[:, choose_rgb(row["bands"])], valid)
    return np.where(seen, image.astype(float), np.nan)


def _show(axes: Any, row: dict[str, Any], shown: np.ndarray, legend: Legend) -> None:
    label = arrays.array_from(row, "label")
    if row["task"] in DENSE:
        palette = np.full((256, 3), 235, np.uint8)
        for c in legend.classes:
            palette[c.id] = c.rgb
        shown = np.concatenate(
            [shown, np.full((len(shown), 4, 3), 255, np.uint8), palette[label]], axis=1
        )
    axes.imshow(shown, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(color=_COLOURS[row["split"]], linewidth=2)
    axes.set_title(_caption(row, label, legend), fontsize=7)
    if row["task"] == "detect":
        from matplotlib.patches import Rectangle

        colours = {c.id: c.colour for c in legend.classes}
        for id_, left, top, right, bottom in label:
            axes.add_patch(
                Rectangle(
                    (left, top), right - left, bottom - top, fill=False, edgecolor=colours[int(id_)]
                )
            )


def _caption(row: dict[str, Any], label: np.ndarray, legend: Legend) -> str:
    names = {c.id: c.name for c in legend.classes}
    if row["task"] == "classify":
        return names[int(label)]
    if row["task"] == "multilabel":
        return "\n".join(c.name for c, there in zip(legend.classes, label, strict=True) if there)[
            :80
        ]
    if row["task"] == "detect":
        return f"{len(label)} box{'es' * (len(label) != 1)}"
    missing = float((label == NODATA).mean())
    return f"{missing:.0%} without a label" if missing else ""


def _centres(table: ds.Dataset) -> pd.DataFrame:
    # Longitude, latitude and split of the samples that say where they lie.
    found = table.to_table(columns=["xmin", "ymin", "xmax", "ymax", "split"]).to_pandas().dropna()
    x, y = ((found[f"{axis}min"] + found[f"{axis}max"]) / 2 for axis in "xy")
    return pd.DataFrame({"x": x, "y": y, "split": found["split"]})


def _map(axes: Any, centres: pd.DataFrame) -> None:
    axes.set_title(
        "where the samples lie, by split"
        if len(centres)
        else "the samples do not say where they lie",
        fontsize=9,
    )
    if centres.empty:
        axes.set_axis_off()
    for split, colour in _COLOURS.items():
        mine = centres[centres["split"] == split]
        axes.scatter(mine["x"], mine["y"], s=6, color=colour, label=f"{split} {len(mine):,}")
    axes.set(xlabel="longitude (degrees)", ylabel="latitude (degrees)")
    if len(centres):
        axes.set_aspect(1 / max(math.cos(math.radians(float(centres["y"].mean()))), 0.05))
        axes.ticklabel_format(useOffset=False)
        axes.margins(0.1)
        axes.legend(fontsize=8)

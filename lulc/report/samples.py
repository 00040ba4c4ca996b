"""A contact sheet of a samples table: some samples with their labels, and a map of all samples."""

from __future__ import annotations

import json
import math
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from lulc.chips import composites
from lulc.datasets.dataset import DENSE
from lulc.errors import InputError
from lulc.legend import NODATA, LandClass, Legend
from lulc.location import Location
from lulc.raster.show import choose_rgb, stretch
from lulc.tables import arrays, files, store
from lulc.tables.files import open_parquet

_SAMPLES, _COLUMNS = 40, 8
_LEGEND_LINES = 16
_COLOURS = {"train": "#4d4d4d", "validation": "#2166ac", "test": "#d6604d"}


def draw_samples(folder: Location) -> bytes:
    """Draw up to 40 samples with their labels, and a map of the table's splits.

    The samples are spread over splits and classes, and stretched alike, so that a lake is dark
    compared with a field. Dense labels are drawn next to the image in the legend's colours, boxes
    in the image, classes are named.

    Args:
        folder: the samples table.

    Returns:
        The picture as PNG.

    Raises:
        InputError: the table has no samples.
    """
    from matplotlib.figure import Figure

    paths = files.list_tables(folder)
    rows = _choose_rows(paths)
    if not rows:
        raise InputError(f"{folder} holds no samples: run `lulc samples`")
    legend = _read_legend(paths[0])
    # A dense label doubles the width of a picture.
    row_height = 1.25 if rows[0]["task"] in DENSE else 2.25
    sheet_height = row_height * math.ceil(len(rows) / _COLUMNS)
    centres = _read_centres(store.open_dataset(folder))
    legend_height = 0.8 + 0.2 * min(len(legend.classes), _LEGEND_LINES)
    map_height = 4.4 if len(centres) else legend_height
    figure = Figure(figsize=(2 * _COLUMNS, sheet_height + map_height), layout="constrained")
    heights = [sheet_height, map_height]
    sheet, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    _draw_sheet(sheet, rows, legend)
    _draw_centres(bottom.subplots(), centres)
    _draw_legend(bottom, legend)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=90)
    return png.getvalue()


def _choose_rows(paths: list[Location]) -> list[dict[str, Any]]:
    # Rows evenly spread over all files, so that every split and, as files are shuffled, most
    # classes are drawn.
    positions = [(path, i) for path in paths for i in range(open_parquet(path).metadata.num_rows)]
    chosen: dict[Location, set[int]] = {}
    count = min(_SAMPLES, len(positions))
    for number in np.linspace(0, len(positions) - 1, count).astype(int):
        path, position = positions[number]
        chosen.setdefault(path, set()).add(position)
    rows = []
    for path, file_positions in chosen.items():
        file_rows = list(store.read_rows(path))
        split = path.parent.name.removeprefix("split=")
        rows += [file_rows[position] | {"split": split} for position in sorted(file_positions)]
    return rows


def _read_legend(path: Location) -> Legend:
    raw = json.loads(open_parquet(path).schema_arrow.metadata[b"lulc"])["legend"]
    return Legend(raw["name"], tuple(LandClass(**entry) for entry in raw["classes"]))


def read_image(row: dict[str, Any]) -> np.ndarray:
    """Return what is shown of a sample: (3, H, W) medians of its dates, NaN where not valid."""
    pixels = arrays.array_from(row, "pixels")
    valid = arrays.unpack(row["valid"], (len(pixels), *pixels.shape[2:]))
    bands = choose_rgb(row["bands"])
    image, image_valid = composites.median_composite(pixels[:, bands], valid)
    return np.where(image_valid, image.astype(float), np.nan)


def _draw_sheet(sheet: Any, rows: list[dict[str, Any]], legend: Legend) -> None:
    pictures = stretch(np.stack([read_image(row) for row in rows]))
    panels = sheet.subplots(math.ceil(len(rows) / _COLUMNS), _COLUMNS, squeeze=False).ravel()
    for axes, row, picture in zip(panels, rows, pictures, strict=False):
        _draw_sample(axes, row, picture, legend)
    for axes in panels[len(rows) :]:
        axes.set_axis_off()


def _draw_sample(axes: Any, row: dict[str, Any], picture: np.ndarray, legend: Legend) -> None:
    label = arrays.array_from(row, "label")
    if row["task"] in DENSE:
        palette = np.full((256, 3), 235, np.uint8)
        for entry in legend.classes:
            palette[entry.id] = entry.rgb
        gap = np.full((len(picture), 4, 3), 255, np.uint8)
        picture = np.concatenate([picture, gap, palette[label]], axis=1)
    axes.imshow(picture, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(color=_COLOURS[row["split"]], linewidth=2)
    axes.set_title(_caption(row, label, legend), fontsize=7)
    if row["task"] == "detect":
        _draw_boxes(axes, label, legend)


def _draw_boxes(axes: Any, boxes: np.ndarray, legend: Legend) -> None:
    from matplotlib.patches import Rectangle

    colours = {entry.id: entry.colour for entry in legend.classes}
    for class_id, left, top, right, bottom in boxes:
        width, height = right - left, bottom - top
        colour = colours[int(class_id)]
        axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour))


def _caption(row: dict[str, Any], label: np.ndarray, legend: Legend) -> str:
    names = {entry.id: entry.name for entry in legend.classes}
    if row["task"] == "classify":
        return names[int(label)]
    if row["task"] == "multilabel":
        pairs = zip(legend.classes, label, strict=True)
        return "\n".join(entry.name for entry, is_present in pairs if is_present)[:80]
    if row["task"] == "detect":
        return f"{len(label)} box{'es' * (len(label) != 1)}"
    missing = float((label == NODATA).mean())
    return f"{missing:.0%} without a label" if missing else ""


def _read_centres(table: ds.Dataset) -> pd.DataFrame:
    # Longitude, latitude and split of the samples that are georeferenced.
    columns = ["xmin", "ymin", "xmax", "ymax", "split"]
    rows = table.to_table(columns=columns).to_pandas().dropna()
    x, y = ((rows[f"{axis}min"] + rows[f"{axis}max"]) / 2 for axis in "xy")
    return pd.DataFrame({"x": x, "y": y, "split": rows["split"]})


def _draw_centres(axes: Any, centres: pd.DataFrame) -> None:
    title = "locations of the samples, by split"
    axes.set_title(title if len(centres) else "the samples have no locations", fontsize=9)
    if centres.empty:
        axes.set_axis_off()
    for split, colour in _COLOURS.items():
        rows = centres[centres["split"] == split]
        axes.scatter(rows["x"], rows["y"], s=6, color=colour, label=f"{split} {len(rows):,}")
    axes.set(xlabel="longitude (degrees)", ylabel="latitude (degrees)")
    if len(centres):
        axes.set_aspect(1 / max(math.cos(math.radians(float(centres["y"].mean()))), 0.05))
        axes.ticklabel_format(useOffset=False)
        axes.margins(0.1)
        axes.legend(fontsize=8)


def _draw_legend(figure: Any, legend: Legend) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=entry.colour, label=f"{entry.id} {entry.name}") for entry in legend.classes
    ]
    columns = math.ceil(len(handles) / _LEGEND_LINES)
    position = {"loc": "outside right center", "ncols": columns}
    figure.legend(handles=handles, fontsize=8, title=legend.name, **position)

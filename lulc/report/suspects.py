"""Contact sheet of the labels that a review finds most doubtful."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.datasets.dataset import DENSE
from lulc.legend import NODATA, Legend
from lulc.location import Location
from lulc.raster.show import stretch
from lulc.report.samples import read_image
from lulc.tables import arrays, files, store

_LABELS, _COLUMNS = 40, 8
_OTHER, _NONE = 190, 235  # greys of pixels with another label, and with none


def draw_suspects(suspects: pa.Table, folds: Sequence[Location], legend: Legend) -> bytes:
    """Draw the first 40 labels of a review, each with what it says and what the model answers.

    Beside the image of a window are the pixels that have the label, in its colour.

    Args:
        suspects: the labels (`schemas.SUSPECTS`), the most doubtful first.
        folds: the samples tables of the folds.
        legend: the classes.

    Returns:
        The picture as PNG.
    """
    from matplotlib.figure import Figure

    rows = suspects.slice(0, _LABELS).to_pylist()
    samples = _read_samples(rows, folds)
    is_dense = samples[rows[0]["sample_id"]]["task"] in DENSE
    count = math.ceil(len(rows) / _COLUMNS)
    figure = Figure(figsize=(2 * _COLUMNS, (1.5 if is_dense else 2.4) * count + 0.4))
    figure.set_layout_engine("constrained")
    figure.suptitle("the most doubtful labels: label → answer, score", fontsize=9)
    panels = figure.subplots(count, _COLUMNS, squeeze=False).ravel()
    pictures = stretch(np.stack([read_image(samples[row["sample_id"]]) for row in rows]))
    for axes in panels:
        axes.set_axis_off()
    for axes, row, picture in zip(panels, rows, pictures, strict=False):
        if is_dense:
            label = _paint_label(samples[row["sample_id"]], row["label_id"], legend)
            gap = np.full((len(picture), 4, 3), 255, np.uint8)
            picture = np.concatenate([picture, gap, label], axis=1)
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(f"{row['label']} →\n{row['answer']}, {row['score']:.2f}", fontsize=7)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=90)
    return png.getvalue()


def _read_samples(
    rows: Sequence[dict[str, Any]], folds: Sequence[Location]
) -> dict[str, dict[str, Any]]:
    # The samples of some suspects by id; of files no more than their row groups are read.
    wanted = defaultdict(set)
    for row in rows:
        wanted[row["fold"]].add(row["sample_id"])
    samples: dict[str, dict[str, Any]] = {}
    for fold, ids in wanted.items():
        for path in files.list_tables(folds[fold] / "split=test"):
            with store.table_guard(path), files.open_parquet(path) as file:
                for group in range(file.num_row_groups):
                    in_group = file.read_row_group(group, ["sample_id"])["sample_id"].to_pylist()
                    if ids.intersection(in_group):
                        group_rows = file.read_row_group(group).to_pylist()
                        samples |= {r["sample_id"]: r for r in group_rows if r["sample_id"] in ids}
    return samples


def _paint_label(sample: dict[str, Any], class_id: int, legend: Legend) -> np.ndarray:
    # (H, W, 3) uint8: the pixels of one class in its colour, of others grey.
    label = arrays.array_from(sample, "label")
    colour = next(entry.rgb for entry in legend.classes if entry.id == class_id)
    picture = np.full((*label.shape, 3), _OTHER, np.uint8)
    picture[label == NODATA] = _NONE
    picture[label == class_id] = colour
    return picture

"""The labelled pixels of samples as a table: class, period and place beside the value of each band.

A row is a labelled pixel on one date, or in one composite, on which it is valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.legend import NODATA
from lulc.location import Location
from lulc.tables import arrays
from lulc.tables.columns import Column
from lulc.tables.store import read_footer, read_rows

PIXEL_TASKS = ("segment", "change", "series")
"""The tasks whose labels are a class a pixel."""
_COLUMNS = pa.schema(
    [
        Column(name, kind, note, unit).field
        for name, kind, note, unit in (
            ("sample_id", pa.string(), "the sample that the pixel is of", ""),
            ("split", pa.string(), "train, validation or test", ""),
            ("dataset", pa.string(), "where the label is from", ""),
            ("block", pa.string(), "block of samples that are in one split", ""),
            ("period", pa.string(), "name of the period", ""),
            ("datetime", pa.timestamp("us", "UTC"), "of the date; null of a composite", ""),
            ("pixel_row", pa.int32(), "row in the sample, from its top", "pixels"),
            ("pixel_col", pa.int32(), "column in the sample, from its left", "pixels"),
            (
                "longitude",
                pa.float64(),
                "of the pixel's centre, WGS 84; null without place",
                "degrees",
            ),
            (
                "latitude",
                pa.float64(),
                "of the pixel's centre, WGS 84; null without place",
                "degrees",
            ),
            ("class_id", pa.int32(), "the label", ""),
            ("class_name", pa.string(), "name of the label's class", ""),
        )
    ]
)
_OF_SAMPLE = ("sample_id", "dataset", "block", "period")
_READ = (
    *_OF_SAMPLE, "task", "bands", "scales", "offsets", "datetimes", "crs", "transform", "height",
    "width", "valid", *(f"{array}{part}" for array in ("pixels", "label")
                        for part in ("", "_shape", "_dtype", "_codec")),
)  # fmt: skip


def pixel_schema(sample_files: Iterable[tuple[str, Location]]) -> pa.Schema | None:
    """Return the columns of the labelled pixels of samples: the same for all, then a band each.

    Returns:
        The schema, the bands as float32 in their physical values; None where there are no samples,
        or their labels are not of pixels.

    Raises:
        InputError: a band is named as another column is.
    """
    for _, file in sample_files:
        for row in read_rows(file, ("bands", "task"), [0]):
            if row["task"] not in PIXEL_TASKS:
                return None
            # Spark tells no capitals from others.
            taken = sorted(band for band in row["bands"] if band.lower() in _COLUMNS.names)
            if taken:
                raise InputError(
                    f"{file}: band {taken[0]} is named as a column of the labelled pixels is "
                    f"({', '.join(_COLUMNS.names)}): give it another name in the run file, and "
                    "run `lulc run` anew"
                )
            bands = [
                Column(band, pa.float32(), f"physical value of band {band}").field
                for band in row["bands"]
            ]
            return pa.schema([*_COLUMNS, *bands])
    return None


def read_pixels(split: str, file: Location, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the labelled pixels of a samples file, a batch a sample.

    Args:
        split: of the file.
        file: its location.
        schema: see `pixel_schema`.

    Raises:
        InputError: the file is damaged.
    """
    names = {c["id"]: c["name"] for c in read_footer(file)["legend"]["classes"]}
    for row in read_rows(file, _READ):
        yield _pixels_of(row, split, names, schema)


def _pixels_of(
    row: Mapping[str, Any], split: str, class_names: Mapping[int, str], schema: pa.Schema
) -> pa.RecordBatch:
    pixels, label = arrays.array_from(row, "pixels"), arrays.array_from(row, "label")
    valid = arrays.unpack(row["valid"], (len(pixels), *label.shape))
    date, at_row, at_col = np.nonzero(valid & (label != NODATA))
    count, ids = len(date), label[at_row, at_col]
    moments = list(row["datetimes"] or ())
    moments += [None] * (len(pixels) - len(moments))
    columns: dict[str, Any] = {
        name: pa.repeat(pa.scalar(row[name], pa.string()), count) for name in _OF_SAMPLE
    }
    columns |= {
        "split": pa.repeat(pa.scalar(split), count),
        "datetime": pa.array(moments, pa.timestamp("us", "UTC")).take(pa.array(date)),
        "pixel_row": at_row,
        "pixel_col": at_col,
        "class_id": ids,
        "class_name": [class_names.get(int(id_), "") for id_ in ids],
    }
    if row["crs"]:
        columns["longitude"], columns["latitude"] = _place(arrays.grid_from(row), at_row, at_col)
    scaling = zip(row["bands"], row["scales"], row["offsets"], strict=True)
    for position, (band, scale, offset) in enumerate(scaling):
        columns[band] = pixels[date, position, at_row, at_col] * scale + offset
    filled = [_column(columns.get(field.name), field.type, count) for field in schema]
    return pa.RecordBatch.from_arrays(filled, schema=schema)


def _place(grid: Grid, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = grid.transform
    x, y = a * (col + 0.5) + b * (row + 0.5) + c, d * (col + 0.5) + e * (row + 0.5) + f
    longitude, latitude = transformer(grid.crs, WGS84).transform(x, y)
    return np.asarray(longitude), np.asarray(latitude)


def _column(values: Any, kind: pa.DataType, count: int) -> pa.Array:
    if values is None:
        return pa.nulls(count, kind)
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values).cast(kind)

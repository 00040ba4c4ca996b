"""Tables that label images: their rows by image, their boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.location import Location
from lulc.tables.csv_files import read_csv_records
from lulc.tables.files import for_arrow
from lulc.tables.vector_files import texts_of

type TableRow = Mapping[str, str]
"""Column → text, the empty one where there is none."""

_COLUMNS = ("item", "class")
_BOX_COLUMNS = ("left", "top", "right", "bottom")


def read_label_rows(path: Location) -> Mapping[str, Sequence[TableRow]]:
    """Read a table of labels.

    Args:
        path: CSV or Parquet with columns `item` and `class`.

    Returns:
        Image → its rows, in the order of the table.

    Raises:
        InputError: the table cannot be read, or lacks a column.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"images: table {path} cannot be read ({error.strerror})") from error
    return _read_rows(path, changed)


@lru_cache(maxsize=4)
def _read_rows(path: Location, _changed: int) -> Mapping[str, Sequence[TableRow]]:
    rows = defaultdict(list)
    for row in _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path):
        rows[row["item"]].append(row)
    return rows


def _csv_rows(path: Location) -> list[TableRow]:
    return [row for _, row in read_csv_records(path, _COLUMNS)]


def _parquet_rows(path: Location) -> list[TableRow]:
    try:
        table = pq.read_table(for_arrow(path))
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"images: table {path} cannot be read ({error}): a CSV or Parquet file is accepted"
        ) from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise InputError(
            f"images: table {path} has no column {', '.join(missing)}: it has "
            f"{', '.join(table.column_names)}"
        )
    columns = {
        name: texts_of(table[name].to_pandas().to_numpy(object)) for name in table.column_names
    }
    return [dict(zip(columns, texts, strict=True)) for texts in zip(*columns.values(), strict=True)]


def read_boxes(
    path: Location, image_path: str, names: Sequence[str], shape: tuple[int, int]
) -> np.ndarray:
    """Return the boxes of an image.

    Args:
        path: of the table.
        image_path: the image, as the table names it.
        names: of the classes, in the order of their ids.
        shape: (H, W) of the image.

    Returns:
        (N, 5) float32 rows of id, left, top, right, bottom in pixels.

    Raises:
        InputError: a box is none of pixels, or none of them meets the image.
    """
    rows = [row for row in read_label_rows(path).get(image_path, ()) if row["class"]]
    try:
        corners = np.array([[float(row[name]) for name in _BOX_COLUMNS] for row in rows], float)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"images: table {path}, boxes of {image_path}: columns {', '.join(_BOX_COLUMNS)} must "
            f"hold pixels ({type(error).__name__}: {error})"
        ) from error
    corners = corners.reshape(-1, 4)
    left, top, right, bottom = corners.T
    if not np.isfinite(corners).all() or not ((left < right) & (top < bottom)).all():
        raise InputError(
            f"images: table {path}, boxes of {image_path}: left must be less than right, top less "
            "than bottom; widths and heights are not read"
        )
    if len(corners) and corners.max() <= 1:
        raise InputError(
            f"images: table {path}, boxes of {image_path}: all are within one pixel: write them in "
            "pixels, not in shares of the image"
        )
    meets = (left < shape[1]) & (right > 0) & (top < shape[0]) & (bottom > 0)
    if len(corners) and not meets.any():
        raise InputError(
            f"images: table {path}: none of {len(corners)} boxes of {image_path} meets its "
            f"{shape[1]}x{shape[0]} pixels"
        )
    ids = [names.index(row["class"]) for row in rows]
    return np.column_stack([ids, corners]).astype(np.float32).reshape(-1, 5)

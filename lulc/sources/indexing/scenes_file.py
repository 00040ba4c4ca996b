"""The scenes table, written from rows of which a part is held at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from lulc.location import Location
from lulc.sources.scenes_table import ROWS_A_GROUP, number_outlines, order_by_place
from lulc.tables import files, layout, schemas
from lulc.tables.columns import TIME
from lulc.tables.ordered import write_in_order


def write_scenes(out: Location, read: Callable[[], Iterable[pa.RecordBatch]]) -> None:
    """Write the scenes table of a run in the order of `order_by_place`.

    Args:
        out: the output location.
        read: gives the scenes' rows in any order, the same each time.
    """
    ids: list[pa.Array] = []
    times: list[pa.Array] = []
    outline_numbers: list[np.ndarray] = []
    numbers: dict[bytes, int] = {}
    for batch in read():
        ids.append(batch["scene_id"])
        times.append(batch["datetime"])
        outline_numbers.append(number_outlines(batch["footprint"], numbers))
    order = order_by_place(
        pa.chunked_array(ids, pa.string()),
        pa.chunked_array(times, TIME),
        np.concatenate(outline_numbers),
        list(numbers),
    ).to_numpy()
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    schema = schemas.SCENES

    def write(path: Path) -> None:
        # Of lists statistics say nothing, and every task reads the footer.
        plain = [field.name for field in schema if not pa.types.is_nested(field.type)]
        write_in_order(path, read(), ranks, schema, ROWS_A_GROUP, write_statistics=plain)

    files.write_atomic(out / layout.table_file("scenes"), write)

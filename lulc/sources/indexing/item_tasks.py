"""Items to be read by tasks: a table of them, of which a task reads some groups of rows."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lulc.location import Location
from lulc.sources.items import READ_ITEM, ListedItem, Reading, read_items
from lulc.tables import files

_ITEMS_A_GROUP = 32  # the least that a task is given
_LISTED = pa.schema(
    [("archive", pa.int32())]
    + [(name, pa.string()) for name in ("path", "key", "text", "name", "fingerprint")]
)


def write_listed_items(items: Iterator[ListedItem], location: Location) -> int:
    """Write items to be read by tasks; return the number of groups that they were written in.

    Nothing is written where there is no item.
    """
    first = next(items, None)
    if first is None:
        return 0
    groups = 0

    def write(path: Path) -> None:
        nonlocal groups
        with pq.ParquetWriter(path, _LISTED, compression="zstd") as writer:
            for group in itertools.batched(itertools.chain([first], items), _ITEMS_A_GROUP):
                rows = [{name: getattr(item, name) for name in _LISTED.names} for item in group]
                writer.write_table(pa.Table.from_pylist(rows, _LISTED))
                groups += 1

    files.write_atomic(location, write)
    return groups


@dataclass(frozen=True)
class ItemsTask:
    """Some groups of a file of items, for one task."""

    first: int
    groups: int


def read_task(
    task: ItemsTask, items: Location, folder: Location, reading: Reading
) -> list[dict[str, int]]:
    """Read the items of a task, and write what they gave to a file of its own.

    Args:
        task: which items.
        items: the file of all items to read.
        folder: of the tasks' files.
        reading: how scenes are read.

    Returns:
        One row: how many items there were.
    """
    count = 0

    def write(path: Path) -> None:
        nonlocal count
        with (
            pq.ParquetWriter(path, READ_ITEM, compression="zstd") as writer,
            files.open_parquet(items) as opened,
        ):
            for number in range(task.first, task.first + task.groups):
                group = opened.read_row_group(number).to_pylist()
                rows = list(read_items((ListedItem(**row) for row in group), reading))
                writer.write_table(pa.Table.from_pylist(rows, READ_ITEM))
                count += len(rows)

    files.write_atomic(folder / f"{uuid.uuid4().hex}.parquet", write)
    return [{"items": count}]

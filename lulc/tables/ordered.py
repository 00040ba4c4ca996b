"""Parquet files of rows in another order than they come in, a part of them held at a time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lulc.tables.geoparquet import open_writer
from lulc.tables.scratch import scratch_folder

_GROUPS_AT_ONCE = 8
_RANK = "(rank)"


def write_in_order(
    path: Path,
    batches: Iterable[pa.RecordBatch],
    ranks: np.ndarray,
    schema: pa.Schema,
    row_group_size: int,
    **options: Any,
) -> None:
    """Write a Parquet file.

    Rows lie in files of this machine's disk, each of some row groups, before they are put in order.

    Args:
        path: of the file.
        batches: the N rows.
        ranks: (N,) int64 position of each row in the file, 0 to N - 1.
        schema: of the file.
        row_group_size: rows of a row group.
        **options: of `geoparquet.open_writer`.
    """
    rows_at_once = row_group_size * _GROUPS_AT_ONCE
    file_count = max(1, -(-len(ranks) // rows_at_once))
    with_rank = schema.append(pa.field(_RANK, pa.int64()))
    with scratch_folder() as folder:
        scratch_files = [Path(folder) / f"{number}.arrow" for number in range(file_count)]
        with ExitStack() as files:
            writers = [files.enter_context(pa.ipc.new_file(p, with_rank)) for p in scratch_files]
            first = 0
            for batch in batches:
                of_batch = ranks[first : first + len(batch)]
                first += len(batch)
                arrays = [*batch.columns, pa.array(of_batch, pa.int64())]
                ranked = pa.RecordBatch.from_arrays(arrays, schema=with_rank)
                for number in np.unique(of_batch // rows_at_once).tolist():
                    chosen = np.flatnonzero(of_batch // rows_at_once == number)
                    writers[number].write_batch(ranked.take(pa.array(chosen)))
        with open_writer(path, schema, row_group_size=row_group_size, **options) as write:
            for scratch_file in scratch_files:
                with pa.ipc.open_file(scratch_file) as opened:
                    table = opened.read_all()
                table = table.sort_by(_RANK).drop_columns(_RANK)
                write(table.cast(schema))

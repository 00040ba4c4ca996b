"""Parquet files of rows in another order than they come in, a part of them held at a time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
        **options: of pyarrow's ParquetWriter.
    """
    rows_at_once = row_group_size * _GROUPS_AT_ONCE
    parts = max(1, -(-len(ranks) // rows_at_once))
    with_rank = schema.append(pa.field(_RANK, pa.int64()))
    with scratch_folder() as folder:
        places = [Path(folder) / f"{part}.arrow" for part in range(parts)]
        with ExitStack() as files:
            writers = [files.enter_context(pa.ipc.new_file(p, with_rank)) for p in places]
            first = 0
            for batch in batches:
                of_batch = ranks[first : first + len(batch)]
                first += len(batch)
                arrays = [*batch.columns, pa.array(of_batch, pa.int64())]
                ranked = pa.RecordBatch.from_arrays(arrays, schema=with_rank)
                for part in np.unique(of_batch // rows_at_once).tolist():
                    chosen = np.flatnonzero(of_batch // rows_at_once == part)
                    writers[part].write_batch(ranked.take(pa.array(chosen)))
        with pq.ParquetWriter(path, schema, **options) as writer:
            for place in places:
                with pa.ipc.open_file(place) as opened:
                    table = opened.read_all()
                table = table.sort_by(_RANK).drop_columns(_RANK).replace_schema_metadata(None)
                writer.write_table(table.cast(schema), row_group_size)

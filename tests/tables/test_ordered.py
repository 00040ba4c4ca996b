"""Rows in another order: whatever the order, and however many parts they lie in meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lulc.tables.ordered import write_in_order

SCHEMA = pa.schema([("number", pa.int64()), ("texts", pa.list_(pa.string()))])


@pytest.mark.parametrize("count", [0, 1, 7, 8, 200])
def test_rows_lie_by_their_rank(tmp_path: Path, count: int) -> None:
    ranks = np.random.default_rng(count).permutation(count)
    rows = [{"number": number, "texts": [str(number)] * (number % 3)} for number in range(count)]
    table = pa.Table.from_pylist(rows, SCHEMA)
    path, schema = tmp_path / "x.parquet", SCHEMA.with_metadata({"about": "them"})
    write_in_order(path, table.to_batches(max_chunksize=3), ranks, schema, 2, compression="zstd")
    found = pq.read_table(path)
    assert found.to_pylist() == [rows[number] for number in np.argsort(ranks)]
    assert found.schema.metadata == {b"about": b"them"}
    groups = pq.ParquetFile(path).metadata
    sizes = [groups.row_group(group).num_rows for group in range(groups.num_row_groups)]
    assert all(size == 2 for size in sizes[:-1])

"""Results are whole or absent; fingerprints follow inputs; the ledger keeps the latest row."""

from __future__ import annotations

import dataclasses
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lulc.config import TrainConf
from lulc.errors import InputError, SetupError
from lulc.stages import OUTPUT_VERSIONS, STAGES
from lulc.tables import files, layout, ledger, schemas, store


def test_a_write_that_fails_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "x.bin"

    def fills_the_disk(beside: Path) -> None:
        beside.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(SetupError, match=str(target)):
        files.write_atomic(target, fills_the_disk)
    assert list(target.parent.iterdir()) == []
    files.write_atomic(target, lambda p: p.write_bytes(b"old"))
    with pytest.raises(SetupError):
        files.write_atomic(target, fills_the_disk)
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_fingerprints_follow_every_part() -> None:
    base = files.fingerprint_of(TrainConf(), ["a", 1], {"x": 1.5})
    assert base == files.fingerprint_of(TrainConf(), ["a", 1], {"x": 1.5})
    others = [
        (TrainConf(epochs=3), ["a", 1], {"x": 1.5}),
        (TrainConf(), ["a", 2], {"x": 1.5}),
        (TrainConf(), ["a", 1], {"x": 1.25}),
    ]
    assert len({base, *(files.fingerprint_of(*o) for o in others)}) == 4
    inputs = [TrainConf(), ("a", 1), {"x": {2, 1}, "y": None}, Path("/p"), 1.5]
    assert files.fingerprint_of(*files.plain_inputs(inputs)) == files.fingerprint_of(*inputs)


def test_what_release_0_2_0_made_stands() -> None:
    # Its fingerprints began with its version; every stage wrote then what it writes now, or says
    # otherwise in OUTPUT_VERSIONS.
    assert files.fingerprint_of("0.2.0", "tile", ["a", 1], {"x": 1.5}) == "2158df503601dfd3"
    assert set(OUTPUT_VERSIONS) >= set(STAGES)


def test_the_newest_ledger_row_of_a_key_counts(tmp_path: Path) -> None:
    ledger.append_ledger(
        tmp_path,
        [
            ledger.LedgerRow("tile", "a", "1"),
            ledger.LedgerRow("tile", "b", "1"),
            ledger.LedgerRow("predict", "a", "9"),
        ],
    )
    ledger.append_ledger(
        tmp_path, [ledger.LedgerRow("tile", "a", "2", status="bad", error="cut short")]
    )
    found = ledger.read_latest(tmp_path, "tile")
    assert {k: (r.fingerprint, r.status) for k, r in found.items()} == {
        "a": ("2", "bad"),
        "b": ("1", "done"),
    }


def test_rows_are_ordered_by_the_ledger_and_not_by_clocks(tmp_path: Path) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    ledger.append_ledger(tmp_path, [ledger.LedgerRow("tile", "a", "1", finished=ahead)])
    ledger.append_ledger(tmp_path, [ledger.LedgerRow("tile", "a", "2")])
    assert ledger.read_latest(tmp_path, "tile")["a"].fingerprint == "2"
    # In one file rows follow one another.
    again = [ledger.LedgerRow("tile", "a", "3", finished=ahead), ledger.LedgerRow("tile", "a", "4")]
    ledger.append_ledger(tmp_path, again)
    assert ledger.read_latest(tmp_path, "tile")["a"].fingerprint == "4"
    assert [row["number"] for row in ledger.read_ledger(tmp_path).to_pylist()] == [1, 2, 3, 3]


def test_rows_of_earlier_releases_come_first_by_their_time(tmp_path: Path) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    for name, fingerprint, finished in (("20260102T-b", "1", soon), ("20260103T-a", "0", None)):
        row = ledger.LedgerRow("tile", "a", fingerprint)
        row = row if finished is None else dataclasses.replace(row, finished=finished)
        table = pa.Table.from_pylist([row.to_row()], schemas.LEDGER).drop_columns("number")
        folder = store.table_folder(tmp_path, "ledger")
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / f"{name}.parquet")
    assert ledger.read_latest(tmp_path, "tile")["a"].fingerprint == "1"
    ledger.append_ledger(tmp_path, [ledger.LedgerRow("tile", "a", "2")])
    assert ledger.read_latest(tmp_path, "tile")["a"] == dataclasses.replace(
        ledger.read_latest(tmp_path, "tile")["a"], fingerprint="2", number=1
    )
    assert [r["fingerprint"] for r in ledger.read_ledger(tmp_path).to_pylist()] == ["0", "1", "2"]


def test_many_processes_append_to_one_ledger(tmp_path: Path) -> None:
    def append(writer: int) -> None:
        for n in range(20):
            ledger.append_ledger(tmp_path, [ledger.LedgerRow("tile", f"{writer}/{n}", "f")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
    rows = ledger.read_ledger(tmp_path).to_pylist()
    assert [row["number"] for row in rows] == list(range(1, 81))
    for writer in range(4):
        mine = [row["key"] for row in rows if row["key"].startswith(f"{writer}/")]
        assert mine == [f"{writer}/{n}" for n in range(20)]


def test_tables_are_checked_column_by_column(tmp_path: Path) -> None:
    assert store.read_table(tmp_path, "accuracy").num_rows == 0
    wrong = schemas.ACCURACY.set(0, pa.field("period", pa.int32())).remove(1)
    with pytest.raises(
        InputError,
        match=r"period: expected string, found int32\n"
        r"  model: expected string, found no such column",
    ):
        schemas.check_schema(wrong, schemas.ACCURACY, "accuracy")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_damaged_file_of_a_table_is_named_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / layout.table_file("regions")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"part-0\.parquet.*delete the damaged file and run"):
        store.read_table(tmp_path, "regions")
    with pytest.raises(InputError, match=r"part-0\.parquet.*delete the damaged file and run"):
        next(store.read_rows(path))

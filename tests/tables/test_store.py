"""Results are whole or absent; fingerprints follow inputs; the ledger keeps the latest row."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from lulc.config import TrainConf
from lulc.errors import InputError, SetupError
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

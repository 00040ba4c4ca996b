"""Results are whole or absent; fingerprints follow what they cover; the ledger keeps the newest word."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from lulc import store, tables
from lulc.conf import Train
from lulc.errors import InputError, SetupError


def test_a_write_that_fails_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "x.bin"

    def fills_the_disk(beside: Path) -> None:
        beside.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(SetupError, match=str(target)):
        store.publish(target, fills_the_disk)
    assert list(target.parent.iterdir()) == []
    store.publish(target, lambda p: p.write_bytes(b"old"))
    with pytest.raises(SetupError):
        store.publish(target, fills_the_disk)
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_fingerprints_follow_every_part() -> None:
    base = store.fingerprint(Train(), ["a", 1], {"x": 1.5})
    assert base == store.fingerprint(Train(), ["a", 1], {"x": 1.5})
    others = [(Train(epochs=3), ["a", 1], {"x": 1.5}), (Train(), ["a", 2], {"x": 1.5}), (Train(), ["a", 1], {"x": 1.25})]
    assert len({base, *(store.fingerprint(*o) for o in others)}) == 4


def test_the_newest_ledger_row_of_a_key_counts(tmp_path: Path) -> None:
    store.append_ledger(
        tmp_path, [store.entry("tile", "a", "1"), store.entry("tile", "b", "1"), store.entry("predict", "a", "9")]
    )
    store.append_ledger(tmp_path, [store.entry("tile", "a", "2", status="bad", error="cut short")])
    found = store.standing(tmp_path, "tile")
    assert {k: (r["fingerprint"], r["status"]) for k, r in found.items()} == {"a": ("2", "bad"), "b": ("1", "done")}


def test_tables_are_checked_column_by_column(tmp_path: Path) -> None:
    assert store.read_table(tmp_path, "accuracy").num_rows == 0
    wrong = tables.ACCURACY.set(0, pa.field("period", pa.int32())).remove(1)
    with pytest.raises(InputError, match=r"period: expected string, found int32\n  model: expected string, found no such column"):
        tables.check(wrong, tables.ACCURACY, "accuracy")

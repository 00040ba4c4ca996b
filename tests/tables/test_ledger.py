"""The ledger's table: the last row of a key counts, and compaction loses and doubles nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.location import Location, StorePath
from lulc.tables import files, layout, ledger, ledger_files, store
from lulc.tables.ledger import LedgerRow, append_ledger, read_latest, read_ledger
from lulc.tables.ledger_files import list_ledger, read_once
from tests.helpers.object_stores import faulty_store, fill_bucket, store_variables

ROWS = st.lists(
    st.builds(
        LedgerRow,
        st.sampled_from(["tile", "predict"]),
        st.sampled_from("abcdé"),
        st.sampled_from("123"),
        st.sampled_from(["done", "empty", "bad", "dropped"]),
    ),
    min_size=1,
    max_size=5,
)


class Killed(BaseException):
    """Ends the process as a signal would: nothing of ours catches it."""


def keys_of(out: Location) -> list[str]:
    keys: list[str] = read_ledger(out)["key"].to_pylist()
    return keys


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is compacted after a few files."""
    monkeypatch.setattr(ledger_files, "_FILES_AT_MOST", 3)


@pytest.fixture(scope="module")
def bucket() -> Iterator[StorePath]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        place, _ = stack.enter_context(faulty_store())
        fill_bucket(place, {})
        for name, value in store_variables(place).items():
            patch.setenv(name, value)
        yield StorePath("s3://bucket", "compacted")


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(ROWS, max_size=9), alone=st.booleans(), at_most=st.integers(1, 4))
def test_the_last_row_of_each_key_is_that_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[LedgerRow]],
    alone: bool,
    at_most: int,
) -> None:
    out = tmp_path_factory.mktemp("ledger")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(ledger_files, "_FILES_AT_MOST", at_most)
        if alone:
            stack.enter_context(read_once(out))
        expected: dict[str, dict[str, LedgerRow]] = {"tile": {}, "predict": {}}
        for batch in batches:
            append_ledger(out, batch)
            for row in batch:
                expected[row.stage].pop(row.key, None)
                expected[row.stage][row.key] = row
            for stage, of_stage in expected.items():
                latest = read_latest(out, stage)
                assert [row.finished for row in latest.records()] == [
                    row.finished for row in of_stage.values()
                ]
                assert {key: (row.fingerprint, row.status) for key, row in latest.items()} == {
                    key: (row.fingerprint, row.status) for key, row in of_stage.items()
                }
        kept = read_ledger(out)
    assert read_ledger(out).equals(kept)
    assert kept.num_rows == sum(map(len, batches))
    assert len(list_ledger(out)) <= at_most


@pytest.mark.parametrize("kind", ["disk", "store"])
@pytest.mark.usefixtures("small_files")
def test_compaction_killed_at_any_step_loses_and_doubles_nothing(
    kind: str, tmp_path: Path, bucket: StorePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = itertools.count()
    limit = 0

    def or_be_killed(act: Any) -> Any:
        def step(*arguments: Any) -> Any:
            if next(steps) == limit:
                raise Killed
            return act(*arguments)

        return step

    for name in ("create_exclusive", "remove"):
        monkeypatch.setattr(files, name, or_be_killed(getattr(files, name)))
    for limit in range(7) if kind == "disk" else (1, 3):
        out = (tmp_path if kind == "disk" else bucket) / str(limit)
        steps = itertools.count(100)
        for key in "abc":
            append_ledger(out, [LedgerRow("tile", key, "1")])
        # The fourth file is one too many: all are published as one, and four removed.
        steps = itertools.count()
        try:
            append_ledger(out, [LedgerRow("tile", "d", "1")])
            assert limit > 5
        except Killed:
            pass
        steps = itertools.count(100)
        expected = list("abcd" if limit else "abc")
        assert keys_of(out) == expected
        with read_once(out):
            assert keys_of(out) == expected
            append_ledger(out, [LedgerRow("tile", "e", "1")])
        append_ledger(out, [LedgerRow("tile", "f", "1")])
        assert keys_of(out) == [*expected, "e", "f"]
        numbers = read_ledger(out)["number"].to_pylist()
        assert numbers == sorted(set(numbers))
        assert len(files.list_tables(store.table_folder(out, "ledger"))) <= 4


@pytest.mark.usefixtures("small_files")
def test_readers_and_writers_beside_compaction_see_every_row_once(tmp_path: Path) -> None:
    def append(writer: int) -> None:
        for number in range(25):
            append_ledger(tmp_path, [LedgerRow("tile", f"{writer}/{number}", "f")])

    def read(_: int) -> None:
        seen: Sequence[str] = []
        for _ in range(40):
            now = keys_of(tmp_path)
            assert len(set(now)) == len(now)
            assert set(now) >= set(seen)
            seen = now

    with ThreadPoolExecutor(4) as pool:
        written = [pool.submit(append, writer) for writer in range(2)]
        looked_at = [pool.submit(read, reader) for reader in range(2)]
        for ended in (*written, *looked_at):
            ended.result()
    keys = keys_of(tmp_path)
    for writer in range(2):
        mine = [key for key in keys if key.startswith(f"{writer}/")]
        assert mine == [f"{writer}/{number}" for number in range(25)]
    assert len(list_ledger(tmp_path)) <= 3


@pytest.mark.usefixtures("small_files")
def test_a_row_under_a_number_that_was_compacted_away_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_ledger(tmp_path, [LedgerRow("tile", "a", "1")])
    publish = ledger_files._publish

    def publish_late(out: Location, rows: Any, last: int) -> Any:
        # Since this process looked, others have appended so much that all was compacted.
        monkeypatch.setattr(ledger_files, "_publish", publish)
        for key in "bcd":
            append_ledger(out, [LedgerRow("tile", key, "1")])
        return publish(out, rows, last)

    monkeypatch.setattr(ledger_files, "_publish", publish_late)
    append_ledger(tmp_path, [LedgerRow("tile", "e", "1")])
    assert keys_of(tmp_path) == list("abcde")


def test_rows_are_chosen_by_their_columns(tmp_path: Path) -> None:
    append_ledger(
        tmp_path, [LedgerRow("tile", k, "1", "bad" if k == "b" else "done") for k in "abc"]
    )
    rows = ledger.read_latest(tmp_path, "tile")
    assert list(rows.where(pc.field("status") == "bad")) == ["b"]
    assert [row.key for row in rows.select(["c", "a"]).records()] == ["c", "a"]
    assert rows.state_of("b") == ("1", "bad", None)
    assert rows.state_of("x") == (None, None, None)
    assert "x" not in rows


def test_blocks_of_a_run_are_told_from_others_and_their_keys_are_read(tmp_path: Path) -> None:
    keys = ["p/q/t/4_-8", "p/t/0_12", "q/t/0_0", "p/t/t/1_1", "p/u/2_2", "item:a"]
    append_ledger(tmp_path, [LedgerRow("tile", key, "1") for key in keys])
    rows = ledger.read_latest(tmp_path, "tile").of_blocks(["p", "p/q"], "t")
    assert list(rows) == ["p/q/t/4_-8", "p/t/0_12"]
    blocks = [layout.parse_block_key(key) for key in rows]
    assert list(rows.cells()) == [(block.period, *block.cell) for block in blocks]

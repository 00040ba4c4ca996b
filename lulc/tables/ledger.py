"""The ledger: one row for every unit of work and every bad input, appended by every stage.

The row of a stage and key that was recorded last counts. Which was last is told by the numbers of
the ledger's files, which follow one another whatever the clocks of the machines say. Each stage
ends with a row of key STAGE_KEY, its seal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.location import Location, StorePath, relative_name
from lulc.tables import files, layout, schemas
from lulc.tables.store import read_footer, read_table, table_folder, table_guard

STAGE_KEY = "(stage)"
"""The key of the row that seals a stage: all its units are there, for the row's fingerprint."""
_KEY_OF_RELEASE_0_1 = ""
_REQUESTS = 16  # at a time
_kept: dict[Location, pa.Table] = {}
"""Output location → its ledger, within `read_once`."""

Status = Literal["done", "empty", "bad", "dropped"]


@dataclass(frozen=True)
class LedgerRow:
    """What was done with one key of one stage."""

    stage: str
    key: str
    """A unit of work, a bad input, or STAGE_KEY."""
    fingerprint: str
    """What the unit's output depends on."""
    status: Status = "done"
    """`empty`: nothing to write. `bad`: see error. `dropped`: earlier rows no longer hold."""
    path: str | None = None
    """The published file, relative to the output location."""
    checksum: str | None = None
    """sha256 of the published file."""
    valid_pixels: int | None = None
    seconds: float | None = None
    attempt: int = 0
    error: str | None = None
    finished: datetime = field(default_factory=lambda: datetime.now(UTC))
    """By the clock of the machine that did it; nothing is ordered by it."""
    number: int = 0
    """Of the ledger's file that recorded it; 0 before that, and of rows of earlier releases."""

    def to_row(self) -> dict[str, Any]:
        """Return the row of the ledger table."""
        return {name: getattr(self, name) for name in schemas.LEDGER.names}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the record of a row of the ledger table."""
        return cls(**{f.name: row[f.name] for f in fields(cls)} | {"number": row["number"] or 0})


def append_ledger(out: Location, rows: Iterable[LedgerRow]) -> None:
    """Append rows to the ledger, in one file of their own, whose number is the next one."""
    recorded = list(rows)
    if not recorded:
        return
    kept = _kept.get(out.resolve())
    number = _last_number(out) if kept is None else pc.max(kept["number"]).as_py() or 0
    while True:
        number += 1
        numbered = [replace(row, number=number).to_row() for row in recorded]
        table = pa.Table.from_pylist(numbered, schemas.LEDGER)
        content = pa.BufferOutputStream()
        pq.write_table(table, content)
        # Another process may have taken the number meanwhile.
        if files.create_exclusive(
            out / layout.ledger_file(number), content.getvalue().to_pybytes()
        ):
            break
    if kept is not None:
        _kept[out.resolve()] = pa.concat_tables([kept, table])


def _last_number(out: Location) -> int:
    names = [file.name for file in files.list_tables(table_folder(out, "ledger"))]
    return max(map(layout.ledger_number, names), default=0)


@contextlib.contextmanager
def read_once(out: Location) -> Iterator[None]:
    """Within, the ledger is read once; what this process appends is added to what it read.

    For a process that works alone on an output location, or wants one state of it.
    """
    out = out.resolve()
    if out in _kept:
        yield
        return
    _kept[out] = read_ledger(out)
    try:
        yield
    finally:
        del _kept[out]


def read_ledger(out: Location, stage: str | None = None) -> pa.Table:
    """Return the rows of the ledger, or those of a stage, in the order they were recorded in."""
    kept = _kept.get(out.resolve())
    table = _read_in_order(out) if kept is None else kept
    return table if stage is None else table.filter(pc.field("stage") == stage)


def _read_in_order(out: Location) -> pa.Table:
    table = _read_store(out) if isinstance(out, StorePath) else read_table(out, "ledger")
    number = pc.fill_null(table["number"], 0)
    # Earlier releases had nothing but the time.
    time = pc.if_else(pc.equal(number, 0), table["finished"], None)
    keys = pa.table({"number": number, "time": time})
    order = pc.sort_indices(keys, sort_keys=[("number", "ascending"), ("time", "ascending")])
    return table.take(order)


def _read_store(out: StorePath) -> pa.Table:
    # One listing and one request for each file that this process has not read: files of the ledger
    # do not change.
    listed = [
        (location, stat.etag)
        for location, stat in (out / layout.table("ledger")).walk()
        if location.suffix == ".parquet"
    ]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        tables = list(pool.map(_read_object, *zip(*listed, strict=True))) if listed else []
    return pa.concat_tables([schemas.LEDGER.empty_table(), *tables])


@lru_cache(maxsize=4096)
def _read_object(location: StorePath, etag: str | None) -> pa.Table:  # noqa: ARG001 - of the cache
    with table_guard(location):
        table = pq.read_table(pa.BufferReader(location.read_bytes()))
        if "number" not in table.column_names:  # earlier releases had none
            table = table.append_column("number", pa.nulls(len(table), pa.int64()))
        return table.select(schemas.LEDGER.names).cast(schemas.LEDGER)


def read_latest(out: Location, stage: str) -> dict[str, LedgerRow]:
    """Return key → the last row of a stage, the stage's own row among them."""
    rows = map(LedgerRow.from_row, read_ledger(out, stage).to_pylist())
    return {row.key: row for row in rows}


def read_done(out: Location, stage: str) -> dict[str, LedgerRow]:
    """Return key → row of the units of a stage that are done and whose file is there."""
    rows = {
        key: row
        for key, row in sorted(read_latest(out, stage).items())
        if key != STAGE_KEY and row.status == "done" and row.path
    }
    there = files.which_exist(out, {row.path for row in rows.values() if row.path})
    return {key: row for key, row in rows.items() if row.path in there}


def read_seal(out: Location, stage: str) -> LedgerRow | None:
    """Return the row that seals a stage; None where it was never completed."""
    seal = read_latest(out, stage).get(STAGE_KEY)
    return seal if seal and seal.status == "done" else None


def row_of_file(out: Location, footer: Mapping[str, Any]) -> LedgerRow:
    """Return the ledger row of a published unit, with the checksum of its file if it has one.

    Args:
        out: the output location.
        footer: `stage`, `key`, `fingerprint`, and any of `status`, `valid_pixels`, `path`, as
            the unit's writer keeps them in the file's footer.
    """
    optional = {name: footer[name] for name in ("status", "valid_pixels", "path") if name in footer}
    path = optional.get("path")
    return LedgerRow(
        footer["stage"],
        footer["key"],
        footer["fingerprint"],
        checksum=files.checksum(out / path) if path else None,
        **optional,
    )


def rows_of_file(out: Location, footer: Mapping[str, Any]) -> list[LedgerRow]:
    """Return the ledger rows of a published unit and of the bad inputs that are not in it.

    Args:
        out: the output location.
        footer: as `row_of_file` takes it, and `bad`: the key and error of each bad input, if any.
    """
    unit = row_of_file(out, footer)
    bad = footer.get("bad", {})
    return [
        unit,
        *(
            LedgerRow(unit.stage, key, unit.fingerprint, "bad", path=unit.path, error=error)
            for key, error in bad.items()
        ),
    ]


def recover_rows(out: Location, path: str) -> list[LedgerRow]:
    """Return the ledger rows of a file that a killed run published but did not record.

    Returns:
        Empty where the file is not there or not whole.
    """
    try:
        return rows_of_file(out, read_footer(out / path))
    except InputError:
        return []


def copy_rows(out: Location, target: Location, stages: Iterable[str]) -> None:
    """Append the last rows of some stages to the ledger of a folder below, as far as it lacks them.

    The files of these rows stay where they are: their paths lead up to them.
    """
    up = "../" * len(PurePosixPath(relative_name(target, out)).parts)
    for stage in stages:
        theirs = read_latest(target, stage)
        append_ledger(
            target,
            [
                replace(row, path=row.path and up + row.path)
                for key, row in read_latest(out, stage).items()
                if key not in theirs or theirs[key].fingerprint != row.fingerprint
            ],
        )


def retire_old_rows(out: Location) -> bool:
    """Drop all rows that release 0.1 wrote, so that every stage is done again.

    Returns:
        Whether there were such rows that still held.
    """
    newest: dict[tuple[str, str], LedgerRow] = {}
    for row in map(LedgerRow.from_row, read_ledger(out).to_pylist()):
        newest[row.stage, row.key] = row
    stages = {
        stage
        for (stage, key), row in newest.items()
        if key == _KEY_OF_RELEASE_0_1 and row.status != "dropped"
    }
    dropped = [
        LedgerRow(row.stage, row.key, row.fingerprint, "dropped")
        for row in newest.values()
        if row.stage in stages and row.status != "dropped"
    ]
    append_ledger(out, dropped)
    return bool(dropped)

"""The ledger: one row for every unit of work and every bad input, appended by every stage.

The row of a stage and key that was recorded last counts. Which was last is told by the numbers of
the ledger's files (`lulc.tables.ledger_files`), which follow one another whatever the clocks of the
machines say. Each stage ends with a row of key STAGE_KEY, its seal.

Rows are columns of a table; one becomes a record when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc

from lulc.location import Location, relative_name
from lulc.tables import files, schemas
from lulc.tables.ledger_files import append_rows, latest_rows, read_ledger_rows, which_exist
from lulc.tables.store import read_footer

STAGE_KEY = "(stage)"
"""The key of the row that seals a stage: all its units are there, for the row's fingerprint."""
_KEY_OF_RELEASE_0_1 = ""

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
    """sha256 of the published file; None where it was taken up after a kill, by name and size."""
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


type State = tuple[str, Status, str | None]
_STATE = ("fingerprint", "status", "path")
_BLOCK = r"^(?P<period>.*)/[^/]*/(?P<col>-?\d+)_(?P<row>-?\d+)$"


class LatestRows(Mapping[str, LedgerRow]):
    """Key → the last row of a stage, in the order they were recorded in."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {key: at for at, key in enumerate(self.table["key"].to_pylist())}

    @cached_property
    def states(self) -> dict[str, State]:
        """Key → fingerprint, status and path."""
        return dict(zip(self, zip(*map(self.column, _STATE), strict=True), strict=True))

    def __getitem__(self, key: str) -> LedgerRow:
        return LedgerRow.from_row(self.table.slice(self._positions[key], 1).to_pylist()[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        row_count: int = self.table.num_rows
        return row_count

    def state_of(self, key: str) -> State | tuple[None, None, None]:
        """Return fingerprint, status and path of a key's row; None each where it has none."""
        return self.states.get(key, (None, None, None))

    def path_of(self, key: str) -> str | None:
        """Return the path of a key's row, if there is one."""
        return self.state_of(key)[2]

    def select(self, keys: Iterable[str]) -> LatestRows:
        """Return the rows of some keys, all of which are there."""
        positions = [self._positions[key] for key in keys]
        return LatestRows(self.table.take(pa.array(positions, pa.int64())))

    def where(self, condition: pc.Expression) -> LatestRows:
        """Return the rows for which a condition on their columns holds."""
        return LatestRows(self.table.filter(condition))

    def of_blocks(self, periods: Iterable[str], tiling: str) -> LatestRows:
        """Return the rows of the blocks of some periods in a tiling, in order of their keys."""
        names = "|".join(map(re.escape, periods))
        pattern = f"^({names})/{re.escape(tiling)}/[^/]*$"
        is_block = pc.match_substring_regex(self.table["key"], pattern)
        return LatestRows(self.table.filter(is_block).sort_by("key"))

    def cells(self) -> Iterator[tuple[str, int, int]]:
        """Yield period, column and row of the block that is each row's key."""
        key_fields = pc.extract_regex(self.table["key"], _BLOCK).combine_chunks()
        columns = [key_fields.field(name) for name in ("period", "col", "row")]
        lists = (columns[0], *(column.cast(pa.int64()) for column in columns[1:]))
        return zip(*(column.to_pylist() for column in lists), strict=True)

    def records(self) -> list[LedgerRow]:
        """Return all rows as records."""
        return [LedgerRow.from_row(row) for row in self.table.to_pylist()]

    def column(self, name: str) -> list[Any]:
        """Return the values of a column."""
        values: list[Any] = self.table[name].to_pylist()
        return values


def append_ledger(out: Location, rows: Iterable[LedgerRow]) -> None:
    """Append rows to the ledger."""
    recorded = [row.to_row() for row in rows]
    if recorded:
        append_rows(out, pa.Table.from_pylist(recorded, schemas.LEDGER))


def read_ledger(out: Location, stage: str | None = None) -> pa.Table:
    """Return the rows of the ledger, or those of a stage, in the order they were recorded in."""
    table = read_ledger_rows(out)
    return table if stage is None else table.filter(pc.field("stage") == stage)


def read_latest(out: Location, stage: str) -> LatestRows:
    """Return key → the last row of a stage, the stage's own row among them."""
    return LatestRows(latest_rows(out, stage))


def read_done(out: Location, stage: str) -> LatestRows:
    """Return key → row of the units of a stage that are done and whose file is there, by key."""
    is_done = (pc.field("status") == "done") & (pc.field("key") != STAGE_KEY)
    rows = read_latest(out, stage).where(is_done & pc.field("path").is_valid())
    existing = which_exist(out, rows.column("path"))
    table = rows.table.sort_by("key")
    if len(existing) < len(rows):
        table = table.filter(pc.field("path").isin(list(existing)))
    return LatestRows(table)


def read_seal(out: Location, stage: str) -> LedgerRow | None:
    """Return the row that seals a stage; None where it was never completed."""
    return find_seal(read_ledger(out, stage), stage)


def find_seal(rows: pa.Table, stage: str) -> LedgerRow | None:
    """Return as `read_seal` does what rows of the ledger say."""
    seals = rows.filter((pc.field("stage") == stage) & (pc.field("key") == STAGE_KEY))
    seal = (
        LedgerRow.from_row(seals.slice(seals.num_rows - 1).to_pylist()[0]) if len(seals) else None
    )
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
    return [unit, *_bad_rows(unit, footer)]


def bad_rows_of_file(out: Location, unit: LedgerRow) -> list[LedgerRow]:
    """Return the ledger rows of the bad inputs that a published unit's file names.

    Args:
        out: the output location.
        unit: the ledger row of the unit.
    """
    return _bad_rows(unit, read_footer(out / str(unit.path)))


def _bad_rows(unit: LedgerRow, footer: Mapping[str, Any]) -> list[LedgerRow]:
    return [
        LedgerRow(unit.stage, key, unit.fingerprint, "bad", path=unit.path, error=error)
        for key, error in footer.get("bad", {}).items()
    ]


def copy_rows(out: Location, target: Location, stages: Iterable[str]) -> None:
    """Append the last rows of some stages to the ledger of a folder below, as far as it lacks them.

    The files of these rows stay where they are: their paths lead up to them.
    """
    up = "../" * len(PurePosixPath(relative_name(target, out)).parts)
    for stage in stages:
        latest = read_latest(target, stage)
        target_fingerprints = dict(zip(latest, latest.column("fingerprint"), strict=True))
        append_ledger(
            target,
            [
                replace(row, path=row.path and up + row.path)
                for row in read_latest(out, stage).records()
                if target_fingerprints.get(row.key) != row.fingerprint
            ],
        )


def retire_old_rows(out: Location) -> bool:
    """Drop all rows that release 0.1 wrote, so that every stage is done again.

    Returns:
        Whether there were such rows that still held.
    """
    old = read_ledger(out).filter(pc.field("key") == _KEY_OF_RELEASE_0_1)
    dropped: list[LedgerRow] = []
    for stage in pc.unique(old["stage"]).to_pylist():
        latest = read_latest(out, stage)
        if latest[_KEY_OF_RELEASE_0_1].status != "dropped":
            dropped += latest.where(pc.field("status") != "dropped").records()
    append_ledger(
        out, [LedgerRow(row.stage, row.key, row.fingerprint, "dropped") for row in dropped]
    )
    return bool(dropped)

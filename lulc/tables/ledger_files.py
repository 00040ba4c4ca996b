"""The files of the ledger: rows recorded at a time, and now and then all rows so far in one.

A file is named by its number, which is one more than that of the file before. Where many have
gathered, all their rows are published once more in one file, `<number>.state.parquet`, whose number
is that of the last; then the others are removed. Whoever reads takes the newest such file and
those of higher numbers, so that no row is missed or counted twice, whenever a process is killed.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.location import Location, StorePath
from lulc.tables import files, layout, schemas
from lulc.tables.store import table_folder, table_guard

_FILES_AT_MOST = 16
_READ_AT_ONCE = 16
_TRIES = 10
_FEW = 16
"""Fewer files than this are looked for one by one on a disk."""
_LISTED = re.compile(r"(\.\./)*(tables/)?[^/]*")
"""What is listed at once: a table, or a folder of rasters."""

type _File = tuple[Location, str | None]


@dataclass(frozen=True)
class _Listing:
    """The ledger's files; each with its etag where it lies in a store."""

    current: Sequence[_File]
    """Those that hold all rows once, in order."""
    superseded: Sequence[_File]
    """Those whose rows are in the first of the current ones."""
    last: int
    """The highest number of a file; 0 where there is none."""
    state: int
    """The number of the newest file of all rows so far; -1 where there is none."""

    @property
    def file_count(self) -> int:
        """How many files there are."""
        return len(self.current) + len(self.superseded)


@dataclass(frozen=True)
class _Kept:
    """The ledger as this process read it, with what it has appended since."""

    rows: pa.Table
    last: int
    file_count: int
    latest: dict[str, pa.Table] = field(default_factory=dict)
    """Stage → the last row of each of its keys."""
    listed: dict[str, set[str]] = field(default_factory=dict)
    """Folder → the files in it and below, since something was last appended."""


_kept: dict[Location, _Kept] = {}
"""Output location → its ledger, within `read_once`."""


def list_ledger(out: Location) -> list[Location]:
    """Return the files that hold all rows of the ledger once, in order."""
    return [file for file, _ in _list(out).current]


@contextlib.contextmanager
def read_once(out: Location) -> Iterator[None]:
    """Within, the ledger is read once; what this process appends is added to what it read.

    For a process that works alone on an output location, or wants one state of it.
    """
    out = out.resolve()
    if out in _kept:
        yield
        return
    listing, rows = _read_files(out)
    _kept[out] = _Kept(rows, listing.last, listing.file_count)
    try:
        yield
    finally:
        del _kept[out]


def read_ledger_rows(out: Location) -> pa.Table:
    """Return all rows of the ledger in the order they were recorded in."""
    cached = _kept.get(out.resolve())
    return cached.rows if cached else _read_files(out)[1]


def latest_rows(out: Location, stage: str) -> pa.Table:
    """Return the last row of each key of a stage, in the order they were recorded in."""
    cached = _kept.get(out.resolve())
    latest = cached.latest if cached else {}
    if stage not in latest:
        rows = read_ledger_rows(out).filter(pc.field("stage") == stage)
        positions = pa.table({"key": rows["key"], "at": np.arange(rows.num_rows)})
        last = positions.group_by("key").aggregate([("at", "max")])["at_max"]
        latest[stage] = rows.take(last.combine_chunks().sort())
    return latest[stage]


def which_exist(out: Location, paths: Iterable[str]) -> set[str]:
    """Return the places below an output location where a file is.

    A store is asked once for a folder, not once for a file; within `read_once` not again before
    something is appended to the ledger: it is appended to whenever files come or go.
    """
    cached = _kept.get(out.resolve())
    listed = cached.listed if cached else {}
    in_folder: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        in_folder[path.rpartition("/")[0]].add(path)
    existing: set[str] = set()
    for folder, folder_paths in in_folder.items():
        root = _listed_with(folder)
        if root not in listed:
            if isinstance(out, Path) and len(folder_paths) < _FEW:
                existing |= {path for path in folder_paths if (out / path).exists()}
                continue
            listed[root] = files.list_places(out, root)
        existing |= folder_paths & listed[root]
    return existing


def _listed_with(folder: str) -> str:
    match = _LISTED.match(folder)
    return match[0] if match else folder


def append_rows(out: Location, rows: pa.Table) -> None:
    """Append rows to the ledger in one file of their own, whose number is the next one.

    Args:
        out: the output location.
        rows: of the ledger's schema; their numbers are set.
    """
    if cached := _kept.get(out.resolve()):
        # Nobody else makes files here: neither the number nor the state need be looked up.
        last, numbered = _publish(out, rows, cached.last)
        all_rows = pa.concat_tables([cached.rows, numbered])
        cached = _kept[out.resolve()] = _Kept(all_rows, last, cached.file_count + 1)
        if cached.file_count > _FILES_AT_MOST:
            _compact(out, all_rows, last)
            _kept[out.resolve()] = _Kept(all_rows.combine_chunks(), last, 1)
        return
    last = _list(out).last
    for _ in range(_TRIES):
        last, _numbered = _publish(out, rows, last)
        listing = _list(out)
        # Where others compacted meanwhile, this number may have been theirs and free again: a
        # file that the state passes over is as good as none.
        if listing.state < last:
            break
        last = listing.last
    if listing.file_count > _FILES_AT_MOST:
        listing, all_rows = _read_files(out)
        _compact(out, all_rows, listing.last)


def _publish(out: Location, rows: pa.Table, last: int) -> tuple[int, pa.Table]:
    column = rows.schema.get_field_index("number")
    while True:
        last += 1
        numbers = pa.array(np.full(rows.num_rows, last, np.int64))
        numbered = rows.set_column(column, schemas.LEDGER.field("number"), numbers)
        # Another process may have taken the number meanwhile.
        if files.create_exclusive(out / layout.ledger_file(last), _encode(numbered)):
            return last, numbered


def _compact(out: Location, rows: pa.Table, last: int) -> None:
    # Two that compact at once up to the same number write the same: files never change.
    files.create_exclusive(out / layout.ledger_state(last), _encode(rows))
    for file, _ in _list(out).superseded:
        files.remove(file)


def _encode(rows: pa.Table) -> bytes:
    content = pa.BufferOutputStream()
    pq.write_table(rows, content, compression="zstd")
    encoded: bytes = content.getvalue().to_pybytes()
    return encoded


def _list(out: Location) -> _Listing:
    numbered: list[tuple[int, _File]] = []
    states: list[tuple[int, _File]] = []
    for file in _scan(table_folder(out, "ledger")):
        number, is_state = layout.parse_ledger_name(file[0].name)
        (states if is_state else numbered).append((number, file))
    numbered.sort(key=lambda entry: entry[0])
    states.sort(key=lambda entry: entry[0])
    state, newest = states[-1] if states else (-1, None)
    current = [file for number, file in numbered if number > state]
    superseded = [file for _, file in states[:-1]]
    superseded += [file for number, file in numbered if number <= state]
    last = max([state, 0, *(number for number, _ in numbered[-1:])])
    return _Listing([newest, *current] if newest else current, superseded, last, state)


def _scan(folder: Location) -> list[_File]:
    if isinstance(folder, StorePath):
        return [(file, stat.etag) for file, stat in folder.walk() if file.suffix == ".parquet"]
    return [(file, None) for file in files.list_tables(folder)]


def _read_files(out: Location) -> tuple[_Listing, pa.Table]:
    for _ in range(_TRIES):
        listing = _list(out)
        try:
            with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
                tables = list(pool.map(_read_file, listing.current))
        except FileNotFoundError:  # compacted meanwhile
            continue
        rows = pa.concat_tables([schemas.LEDGER.empty_table(), *tables])
        return listing, rows if listing.state >= 0 else _in_order(rows)
    folder = table_folder(out, "ledger")
    raise InputError(f"{folder} changes again and again while it is read: rerun")


def _in_order(rows: pa.Table) -> pa.Table:
    # Files are in order already, but for those of earlier releases, which had nothing but the time.
    of_earlier = pc.equal(rows["number"], 0)
    if not pc.any(of_earlier).as_py():
        return rows
    earlier = rows.filter(of_earlier).sort_by("finished")
    return pa.concat_tables([earlier, rows.filter(pc.invert(of_earlier))])


def _read_file(file: _File) -> pa.Table:
    location, etag = file
    return _read_object(location, etag) if etag else _read_table(location)


@lru_cache(maxsize=1024)
def _read_object(location: Location, etag: str) -> pa.Table:  # noqa: ARG001 - of the cache
    return _read_table(location)


def _read_table(location: Location) -> pa.Table:
    content = location.read_bytes()
    with table_guard(location):
        rows = pq.read_table(pa.BufferReader(content))
        names = rows.column_names
        if "number" not in names:  # earlier releases had none
            rows = rows.append_column("number", pa.nulls(len(rows), pa.int64()))
        schemas.check_schema(rows.schema, schemas.LEDGER, str(location))
        rows = rows.select(schemas.LEDGER.names).cast(schemas.LEDGER)
        number = rows.schema.get_field_index("number")
        return rows.set_column(number, "number", pc.fill_null(rows["number"], 0))

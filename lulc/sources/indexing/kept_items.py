"""Items of archives as they were read, kept from one index to the next.

What an item gave is a row of `items.READ_ITEM` in a file under `items/`. It stands as long as the
item, the files that it is made of and how it is read are the same.
"""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.location import Location, StorePath, parse_location
from lulc.sources.items import READ_ITEM, ListedItem, Reading, check_names
from lulc.sources.listing import Listing, knowing, list_archive, list_file
from lulc.sources.product import is_packed
from lulc.sources.source import SceneItem, Source
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import files, layout
from lulc.tables.files import fingerprint_of

_ROWS_A_GROUP = 1000  # of what they gave
_MOST_FILES = 32  # of items kept
_REMEDY = "delete it and run `lulc index`"
_GONE = "0"  # the state of what no listing has


type _Identify = Callable[[SceneItem], str]


@dataclass(frozen=True)
class Changes:
    """How many items are not as they were at the index before."""

    new: int = 0
    changed: int = 0
    gone: int = 0

    def __str__(self) -> str:
        """Return the counts in words."""
        counts = f"{self.new} new, {self.changed} changed and {self.gone} gone items"
        return f"{counts}; no other was opened"


@dataclass(frozen=True)
class _Rows:
    """Where the rows of items lie, by fingerprint."""

    fingerprints: np.ndarray
    """(N,) uint64, ascending."""
    files: np.ndarray
    """(N,) int64 position of the file."""
    numbers: np.ndarray
    """(N,) int64 of the row in the file."""
    states: np.ndarray
    """(N,) uint64 of the files that the item's content names."""

    def find(self, fingerprints: np.ndarray) -> np.ndarray:
        """Return the position of each fingerprint, -1 where it is not there."""
        return _find(self.fingerprints, fingerprints)


class KeptItems:
    """The rows of the items that a run lists, and where they lie: some numbers for each."""

    def __init__(self, out: Location, listings: Sequence[Listing]) -> None:
        self.listings = listings
        self._out = out
        self._files: list[Location] = []
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._names: list[np.ndarray] = []
        self._listed, self._archives = array("Q"), array("Q")

    def load(self, retry_bad: bool) -> None:
        """Find the rows that stand.

        Args:
            retry_bad: leave out those of errors.
        """
        for file in self._written():
            self._load_file(file, retry_bad)

    def _written(self) -> list[Location]:
        # A file of another name is none of them.
        written = files.list_tables(self._out / layout.READ_ITEMS)
        return [file for file in written if file.stem.isdecimal()]

    def _load_file(self, file: Location, retry_bad: bool = False, just_read: bool = False) -> None:
        columns = ["fingerprint", "name", "path", "files", "state", "error"]
        first = 0
        for batch in _read_batches(file, columns):
            states = batch["state"].to_pylist()
            stands = np.ones(len(batch), bool)
            if not just_read:
                paths, file_names = batch["path"].to_pylist(), batch["files"].to_pylist()
                now = map(self._state, paths, file_names)
                stands[:] = [a == b for a, b in zip(now, states, strict=True)]
            if retry_bad:
                stands &= batch["error"].is_null().to_numpy(zero_copy_only=False)
            numbers = np.arange(first, first + len(batch))
            of_file = np.full(len(batch), len(self._files))
            fingerprints = _integers(batch["fingerprint"].to_pylist())
            self._parts.append((fingerprints, of_file, numbers, _integers(states), stands))
            self._names.append(_integers(batch["name"].to_pylist()))
            first += len(batch)
        self._files.append(file)
        self.__dict__.pop("_rows", None)

    @cached_property
    def _rows(self) -> _Rows:
        if not self._parts:
            nothing = np.zeros(0, np.int64)
            return _Rows(nothing.astype(np.uint64), nothing, nothing, nothing.astype(np.uint64))
        fingerprints, of_file, numbers, states, stands = map(
            np.concatenate, zip(*self._parts, strict=True)
        )
        # Of one fingerprint the row that was read last counts.
        _, from_end = np.unique(fingerprints[::-1], return_index=True)
        last = len(fingerprints) - 1 - from_end
        last = last[stands[last]]
        return _Rows(fingerprints[last], of_file[last], numbers[last], states[last])

    @property
    def has_any(self) -> bool:
        """Whether any item was kept."""
        return bool(self._names)

    @property
    def count(self) -> int:
        """How many items the run lists."""
        return len(self._listed)

    def find_new(
        self, items: Iterable[ListedItem], count: Callable[[Changes], None]
    ) -> Iterator[ListedItem]:
        """List the items of the run; yield those without a row that stands, each once.

        Args:
            items: of the run.
            count: gets the changes at the end.
        """
        before = np.unique(np.concatenate([np.zeros(0, np.uint64), *self._names]))
        names = array("Q")
        yielded: set[int] = set()
        new = changed = 0
        for group in itertools.batched(items, _ROWS_A_GROUP):
            fingerprints = _integers([item.fingerprint for item in group])
            of_group = _integers([item.name for item in group])
            self._listed.extend(fingerprints.tolist())
            self._archives.extend(item.archive for item in group)
            names.extend(of_group.tolist())
            was_kept = _find(before, of_group) >= 0
            for position in np.flatnonzero(self._rows.find(fingerprints) < 0).tolist():
                if fingerprints[position] in yielded:
                    continue
                yielded.add(int(fingerprints[position]))
                changed += int(was_kept[position])
                new += int(not was_kept[position])
                yield group[position]
        count(Changes(new, changed, len(np.setdiff1d(before, _view(names)))))

    def stands(self, fingerprint: str) -> bool:
        """Return whether an item has a row that stands."""
        return bool(self._rows.find(_integers([fingerprint]))[0] >= 0)

    def _state(self, path: str, file_names: Sequence[str] | None) -> str:
        if not file_names:
            return ""
        for listing in self.listings:
            if path.startswith(listing.root):
                return listing.state(file_names)
        return _GONE

    def resume(self, folder: Location) -> None:
        """Keep the scenes that tasks of a killed run wrote to a folder; errors are tried again."""
        self._collect(folder, keep_errors=False)

    def take(self, folder: Location) -> int:
        """Keep the rows that the tasks of this run wrote to a folder; count the scenes."""
        target = self._collect(folder, keep_errors=True)
        if target is None:
            return 0
        self._load_file(target, just_read=True)
        return sum(batch["error"].null_count for batch in _read_batches(target, ["error"]))

    def _collect(self, folder: Location, keep_errors: bool) -> Location | None:
        written = files.list_tables(folder) if folder.is_dir() else []
        if not written:
            return None

        def batches() -> Iterator[pa.RecordBatch]:
            for file in written:
                for batch in _read_batches(file):
                    yield batch if keep_errors else batch.filter(pc.is_null(batch["error"]))

        target = self._append(map(self._with_states, batches()))
        for file in written:
            files.remove(file)
        return target

    def _append(self, batches: Iterable[pa.RecordBatch]) -> Location:
        numbers = [int(file.stem) for file in self._written()]
        target = self._out / layout.read_items_file(max(numbers, default=0) + 1)

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, READ_ITEM, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch, _ROWS_A_GROUP)

        files.write_atomic(target, write)
        return target

    def _with_states(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # A worker does not ask a store for each file: the listing has what it says of all.
        if not any(isinstance(listing.folder, StorePath) for listing in self.listings):
            return batch
        rows = batch.select(["path", "files", "state"]).to_pylist()
        states = [row["state"] or self._state(row["path"], row["files"]) for row in rows]
        position = batch.schema.get_field_index("state")
        return batch.set_column(position, "state", pa.array(states, pa.string()))

    def compact(self, has_gone: bool) -> None:
        """Write the rows that are listed into one file, where they lie in many or among others.

        Args:
            has_gone: whether items are gone, whose rows would be taken for items gone once more.
        """
        written = self._written()
        count = sum(map(len, self._names))
        used = len(np.unique(_view(self._listed)))
        if not has_gone and len(written) < _MOST_FILES and count <= 2 * used:
            return
        target = self._append(batch for batch, _ in self.read(READ_ITEM.names))
        for file in written:
            files.remove(file)
        self._load_file(target, just_read=True)

    def read(self, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, list[list[int]]]]:
        """Yield these columns of the rows of the items that are listed, each row once.

        Yields:
            Some rows, and for each of them the positions of the archives that list its item.
        """
        rows = self._rows
        order = np.argsort(_view(self._listed), kind="stable")
        listed, archives = _view(self._listed)[order], _view(self._archives)[order]
        positions = rows.find(np.unique(listed))
        for of_file, file in enumerate(self._files):
            in_file = positions[rows.files[positions] == of_file]
            in_file = in_file[np.argsort(rows.numbers[in_file])]
            numbers = rows.numbers[in_file]
            first = 0
            for batch in _read_batches(file, columns) if len(in_file) else ():
                start, end = np.searchsorted(numbers, (first, first + len(batch)))
                if start < end:
                    fingerprints = rows.fingerprints[in_file[start:end]]
                    starts = np.searchsorted(listed, fingerprints, "left")
                    ends = np.searchsorted(listed, fingerprints, "right")
                    of_rows = [archives[a:b].tolist() for a, b in zip(starts, ends, strict=True)]
                    yield batch.take(pa.array(numbers[start:end] - first)), of_rows
                first += len(batch)

    @property
    def fingerprint(self) -> str:
        """Changes when an item is not as it was, or another archive has it."""
        states = self._rows.states[self._rows.find(_view(self._listed))]
        digest = hashlib.sha256()
        for numbers in (self._listed.tobytes(), self._archives.tobytes(), states.tobytes()):
            digest.update(numbers)
        return digest.hexdigest()[:16]


def _find(ordered: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    # The position of each number among some in order, -1 where it is not there.
    positions = np.searchsorted(ordered, numbers)
    clamped = np.minimum(positions, max(len(ordered) - 1, 0))
    is_there = ordered[clamped] == numbers if len(ordered) else np.zeros(len(numbers), bool)
    return np.where(is_there, positions, -1)


def _integers(digits: Sequence[str]) -> np.ndarray:
    # Of hex digits; "" is 0.
    return np.array([int(text or "0", 16) for text in digits], np.uint64)


def _view(numbers: array[int]) -> np.ndarray:
    return np.frombuffer(numbers, np.uint64) if numbers else np.zeros(0, np.uint64)


def _read_batches(file: Location, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    with read_guard(file, _REMEDY), files.open_parquet(file) as opened:
        missing = set(columns or READ_ITEM.names) - set(opened.schema_arrow.names)
        if missing:
            names = ", ".join(sorted(missing))
            raise InputError(f"{file} lacks the columns {names} of items: {_REMEDY}")
        yield from opened.iter_batches(_ROWS_A_GROUP, columns=columns)


def list_run(
    sources: Sequence[Source], reading: Reading, kept_items: KeptItems
) -> Iterator[ListedItem]:
    """Yield the items of a run's archives in order; files of items that are kept are not opened.

    Raises:
        InputError: an archive cannot be listed.
    """
    for number, (source, archive) in enumerate(zip(sources, reading.archives, strict=True)):
        settings = archive, source.name, reading.bands, reading.needs_dates
        settings_digest = fingerprint_of(OUTPUT_VERSIONS["index"], *settings)
        identify = partial(_identify, settings_digest, source, kept_items.listings[number])

        def is_known(path: str, key: str, identify: _Identify = identify) -> bool:
            return kept_items.stands(identify(SceneItem(path, key)))

        with read_guard(f"archive {archive.path}"), knowing(is_known):
            for item in map(check_names, source.items(archive)):
                name = _digest(archive.path, item.path, item.key)
                yield ListedItem(number, item.path, item.key, item.text, name, identify(item))


def _identify(settings_digest: str, source: Source, listing: Listing, item: SceneItem) -> str:
    # The item's fingerprint.
    identity = listing.identity(source.prefixes(item))
    return _digest(settings_digest, item.path, item.key, item.text, identity)


def _digest(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()[:16]


def list_archives(reading: Reading) -> list[Listing]:
    """Return the files of each archive of a run, then those beside the tables that were searched.

    The answer of such a search is an archive whose items lie beside the table.
    """
    searches = [a.search for a in reading.archives if a.search and a.search.is_of_table]
    tables = [parse_location(search.catalogue).absolute() for search in searches]
    archives = [_list(parse_location(archive.path).absolute()) for archive in reading.archives]
    return [*archives, *(_list_beside(table) for table in tables if table.exists())]


def _list_beside(table: Location) -> Listing:
    # Files of a disk are asked one by one.
    if isinstance(table, StorePath):
        return _list(table)
    return Listing(table if table.is_dir() else table.parent, [], {})


def _list(path: Location) -> Listing:
    if path.is_dir():
        return list_archive(path)
    return list_file(path) if is_packed(str(path)) else list_archive(path.parent)

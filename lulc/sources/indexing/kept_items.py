"""Items of archives as they were read, kept from one index to the next.

What an item gave is a row of `items.READ_ITEM` in a file under `items/`. It stands as long as the
item, the files that it is made of and how it is read are the same.
"""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lulc.guard import read_guard
from lulc.location import Location, StorePath, parse_location
from lulc.sources.items import READ_ITEM, ListedItem, Reading, read_items
from lulc.sources.listing import Listing, list_archive, list_file
from lulc.sources.product import is_packed
from lulc.sources.source import Source
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import files, layout
from lulc.tables.files import fingerprint_of

_ITEMS_A_GROUP = 32  # of a file of items to read: the least that a task is given
_ROWS_A_GROUP = 1000  # of what they gave
_MOST_FILES = 32  # of items kept
_LISTED = pa.schema(
    [("archive", pa.int32())]
    + [(name, pa.string()) for name in ("path", "key", "text", "name", "fingerprint")]
)


@dataclass(frozen=True)
class Changes:
    """How many items are not as they were at the index before."""

    new: int = 0
    changed: int = 0
    gone: int = 0

    def __str__(self) -> str:
        """Return the counts in words."""
        return f"{self.new} new, {self.changed} changed and {self.gone} gone items"


@dataclass
class KeptItems:
    """The rows of the items that a run lists, and where they lie."""

    out: Location
    listings: Sequence[Listing]
    """Of the run's archives."""
    places: dict[str, tuple[Location, int, str]] = field(default_factory=dict)
    """Fingerprint of an item → the file with its row, the row's number, and its files' state."""
    names: set[str] = field(default_factory=set)
    """Of all items that were kept."""
    listed: list[tuple[str, int]] = field(default_factory=list)
    """Fingerprint of every item of the run and its archive, in order."""

    def load(self, retry_bad: bool) -> None:
        """Find the rows that stand.

        Args:
            retry_bad: leave out those of errors.
        """
        for file in files.list_tables(self.out / layout.READ_ITEMS):
            self._load_file(file, retry_bad)

    def _load_file(self, file: Location, retry_bad: bool = False, just_read: bool = False) -> None:
        first = 0
        columns = ["fingerprint", "name", "path", "files", "state", "error"]
        for batch in _read_batches(file, columns):
            for number, row in enumerate(batch.to_pylist(), first):
                self.names.add(row["name"])
                self.places.pop(row["fingerprint"], None)
                is_left_out = retry_bad and row["error"] is not None
                stands = just_read or self._state(row["path"], row["files"]) == row["state"]
                if stands and not is_left_out:
                    self.places[row["fingerprint"]] = file, number, row["state"]
            first += len(batch)

    def _state(self, path: str, named: Sequence[str] | None) -> str:
        if not named:
            return ""
        for listing in self.listings:
            if path.startswith(str(listing.folder)):
                return listing.state(named)
        return "gone"

    def resume(self, folder: Location) -> None:
        """Keep the scenes that tasks of a killed run wrote to a folder; errors are tried again."""
        self._collect(folder, keep_errors=False)

    def take(self, folder: Location) -> None:
        """Keep the rows that the tasks of this run wrote to a folder."""
        if target := self._collect(folder, keep_errors=True):
            self._load_file(target, just_read=True)

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
        numbers = [int(f.stem) for f in files.list_tables(self.out / layout.READ_ITEMS)]
        target = self.out / layout.read_items_file(max(numbers, default=0) + 1)

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
        written = files.list_tables(self.out / layout.READ_ITEMS)
        count = sum(files.open_parquet(file).metadata.num_rows for file in written)
        used = {fingerprint for fingerprint, _ in self.listed}
        if not has_gone and len(written) < _MOST_FILES and count <= 2 * len(used):
            return
        target = self._append(self.read(READ_ITEM.names))
        for file in written:
            files.remove(file)
        self._load_file(target, just_read=True)

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield these columns of the rows of the items that are listed, each row once."""
        rows: dict[Location, set[int]] = {}
        for fingerprint in dict.fromkeys(fingerprint for fingerprint, _ in self.listed):
            file, number, _ = self.places[fingerprint]
            rows.setdefault(file, set()).add(number)
        for file, numbers in sorted(rows.items()):
            first = 0
            for batch in _read_batches(file, columns):
                chosen = [i for i in range(len(batch)) if first + i in numbers]
                first += len(batch)
                if chosen:
                    yield batch.take(pa.array(chosen, pa.int64()))

    @property
    def fingerprint(self) -> str:
        """Changes when an item is not as it was, or another archive has it."""
        digest = hashlib.sha256()
        for fingerprint, archive in self.listed:
            digest.update(f"{fingerprint} {archive} {self.places[fingerprint][2]};".encode())
        return digest.hexdigest()[:16]


def _read_batches(file: Location, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    with read_guard(file, "delete it and run `lulc index`"), files.open_parquet(file) as opened:
        yield from opened.iter_batches(_ROWS_A_GROUP, columns=columns)


def list_run(
    sources: Sequence[Source], reading: Reading, listings: Sequence[Listing]
) -> Iterator[ListedItem]:
    """Yield the items of a run's archives in order.

    Raises:
        InputError: an archive cannot be listed.
    """
    for number, (source, archive) in enumerate(zip(sources, reading.archives, strict=True)):
        settings = archive, source.name, reading.bands, reading.needs_dates
        how = fingerprint_of(OUTPUT_VERSIONS["index"], *settings)
        with read_guard(f"archive {archive.path}"):
            for item in source.items(archive):
                identity = listings[number].identity(source.prefixes(item))
                name = _digest(archive.path, item.path, item.key)
                fingerprint = _digest(how, item.path, item.key, item.text, identity)
                yield ListedItem(number, item.path, item.key, item.text, name, fingerprint)


def _digest(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()[:16]


def find_new(
    kept: KeptItems, items: Iterable[ListedItem], count: Callable[[Changes], None]
) -> Iterator[ListedItem]:
    """Yield the items without a row that stands, each once; `count` gets the changes at the end."""
    names: set[str] = set()
    asked: set[str] = set()
    new = changed = 0
    for item in items:
        names.add(item.name)
        kept.listed.append((item.fingerprint, item.archive))
        if item.fingerprint in kept.places or item.fingerprint in asked:
            continue
        asked.add(item.fingerprint)
        changed += item.name in kept.names
        new += item.name not in kept.names
        yield item
    count(Changes(new, changed, len(kept.names - names)))


def write_items(items: Iterator[ListedItem], location: Location) -> int:
    """Write items to be read by tasks; return the number of groups that they were written in.

    Nothing is written where there is no item.
    """
    first = next(items, None)
    if first is None:
        return 0
    groups = 0

    def write(path: Path) -> None:
        nonlocal groups
        with pq.ParquetWriter(path, _LISTED, compression="zstd") as writer:
            for group in itertools.batched(itertools.chain([first], items), _ITEMS_A_GROUP):
                rows = [{name: getattr(item, name) for name in _LISTED.names} for item in group]
                writer.write_table(pa.Table.from_pylist(rows, _LISTED))
                groups += 1

    files.write_atomic(location, write)
    return groups


@dataclass(frozen=True)
class ItemsTask:
    """Some groups of a file of items, for one task."""

    first: int
    groups: int


def read_task(
    task: ItemsTask, items: Location, folder: Location, reading: Reading
) -> list[dict[str, int]]:
    """Read the items of a task, and write what they gave to a file of its own.

    Args:
        task: which items.
        items: the file of all items to read.
        folder: of the tasks' files.
        reading: how scenes are read.

    Returns:
        One row: how many items there were.
    """
    count = 0

    def write(path: Path) -> None:
        nonlocal count
        with (
            pq.ParquetWriter(path, READ_ITEM, compression="zstd") as writer,
            files.open_parquet(items) as opened,
        ):
            for number in range(task.first, task.first + task.groups):
                group = opened.read_row_group(number).to_pylist()
                rows = list(read_items((ListedItem(**row) for row in group), reading))
                writer.write_table(pa.Table.from_pylist(rows, READ_ITEM))
                count += len(rows)

    files.write_atomic(folder / f"{uuid.uuid4().hex}.parquet", write)
    return [{"items": count}]


def list_archives(reading: Reading) -> list[Listing]:
    """Return the files of each archive of a run."""
    return [_list(parse_location(archive.path).absolute()) for archive in reading.archives]


def _list(path: Location) -> Listing:
    if path.is_dir():
        return list_archive(path)
    return list_file(path) if is_packed(str(path)) else list_archive(path.parent)

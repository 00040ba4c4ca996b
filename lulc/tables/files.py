"""Files that are whole or absent, and all that is done to them: written, listed, removed.

Code outside this module names a place (see `lulc.tables.layout`) and calls a function of this one:
on disk a file is written beside its place and moved in by one rename, in a store it is written on
this machine's disk and put there by one request.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import hashlib
import json
import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lulc.errors import InputError, LulcError, SetupError
from lulc.location import Location, StorePath, parse_location, relative_name
from lulc.object_store import ObjectStat
from lulc.paths import is_hidden_below, list_files
from lulc.tables.scratch import scratch_folder

# A leading dot hides unfinished files from Spark, pyarrow and globs.
_TABLE_FILES = ("[!.]*.parquet", "*=*/[!.]*.parquet")
_HIDDEN_FILES, _UNFINISHED = (".*", "*=*/.*"), re.compile(r"\.[0-9a-f]{32}(\.[\w.-]+)?")
# What file systems say that know no hard links, such as a bucket that is mounted.
_WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_PIECE = 8 << 20
_sent: dict[StorePath, str] = {}
"""The object that this process put last, and its checksum."""


def fingerprint_of(*inputs: Any) -> str:
    """Return 16 hex digits that depend on every input, and on nothing else.

    Args:
        inputs: records, mappings, sequences, texts and numbers; of what a stage writes, the first
            is its version (`lulc.stages.OUTPUT_VERSIONS`). Of a record, fields with `compare=False`
            are left out: they change nothing in what is made.
    """
    text = json.dumps(inputs, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain_inputs(inputs: Sequence[Any]) -> list[Any]:
    """Return inputs of `fingerprint_of` as mappings, lists, texts and numbers.

    Many fingerprints of the same inputs, and something else each, cost less of these.
    """

    def flatten(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: flatten(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [flatten(inner) for inner in value]
        if value is None or isinstance(value, str | int | float):
            return value
        return flatten(_plain(value))

    return [flatten(value) for value in inputs]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value) if f.compare}
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def checksum(location: Location | str) -> str:
    """Return the sha256 of a file in hex.

    What this process has just put in a store is not fetched again for it.
    """
    location = parse_location(location)
    if isinstance(location, StorePath) and (sent := _sent.pop(location, None)):
        return sent
    digest = hashlib.sha256()
    with location.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def file_identity(location: Location | str) -> list[object]:
    """Return what changes when a file is replaced; its content is not read.

    Returns:
        Name, size in bytes, and time of modification in nanoseconds; of an object its etag too.
    """
    return _identity(location, parse_location(location).stat())


def _identity(location: Location | str, stat: os.stat_result | ObjectStat) -> list[object]:
    etag = [stat.etag] if isinstance(stat, ObjectStat) else []
    return [str(location), stat.st_size, stat.st_mtime_ns, *etag]


def identities_below(folder: Location) -> list[list[object]]:
    """Return the `file_identity` of a file, or of every file below a folder but hidden ones.

    A store is asked by one listing, not once for a file.
    """
    if folder.is_file():
        return [file_identity(folder)]
    if isinstance(folder, StorePath):
        walked = [(file, stat) for file, stat in folder.walk() if not is_hidden_below(file, folder)]
        return [_identity(file, stat) for file, stat in walked]
    return [file_identity(file) for file in list_files(folder) if file.is_file()]


def identities_beside(location: Location) -> list[list[object]]:
    """Return the `file_identity` of every file in a file's folder that begins with its stem.

    A dot follows the stem. A store is asked by one listing of the folder.
    """
    stem = f"{location.stem}."
    if isinstance(location, StorePath):
        objects = location.parent.scan()
        return [_identity(file, stat) for file, stat in objects if file.name.startswith(stem)]
    siblings = sorted(file for file in location.parent.iterdir() if file.name.startswith(stem))
    return [file_identity(file) for file in siblings if file.is_file()]


def exists(location: Location) -> bool:
    """Return whether a file or folder is there."""
    return location.exists()


def list_places(out: Location, folder: str) -> set[str]:
    """Return the places below an output location of all files in a folder and below it.

    A store is asked by one listing, and a disk by one a folder.

    Args:
        out: the output location.
        folder: below it; it need not be there.
    """
    if isinstance(out, StorePath):
        root = out / folder
        files = (relative_name(location, root) for location, _ in root.walk())
        return {posixpath.join(folder, name) for name in files}
    base = out / folder
    paths: set[str] = set()
    for parent, _, names in os.walk(base):
        below = posixpath.normpath(posixpath.join(folder, os.path.relpath(parent, base)))
        paths.update(f"{below}/{name}" for name in names)
    return paths


def is_filled(location: Location) -> bool:
    """Return whether a file that is there was published whole.

    A disk whose machine lost its power may show files without their content; a store does not.
    """
    return isinstance(location, StorePath) or location.stat().st_size > 0


def for_arrow(location: Location | str) -> Path | pa.PythonFile:
    """Return what pyarrow opens a file by."""
    location = parse_location(location)
    return location if isinstance(location, Path) else pa.PythonFile(location.open("rb"))


def open_parquet(location: Location | str) -> pq.ParquetFile:
    """Open a Parquet file for reading."""
    return pq.ParquetFile(for_arrow(location))


@contextlib.contextmanager
def local_copy(location: Location | str, siblings: bool = False) -> Iterator[Path]:
    """Yield the path on this machine's disk of a file, or of all files below a folder.

    What lies in a store is fetched, and removed at the end; within `keep_copies` at the end of
    that.

    Args:
        location: of the file or folder.
        siblings: fetch the files beside it, too, that differ from it in their suffix alone.

    Raises:
        InputError: an object and a folder are of this name.
    """
    location = parse_location(location)
    if isinstance(location, Path):
        yield location
        return
    with keep_copies() as copies:
        if location not in copies.paths:
            folder = copies.folders.enter_context(scratch_folder())
            path = folder / (location.name or "bucket")
            fetch(location, path)
            for sibling in _siblings(location) if siblings else ():
                _fetch_object(sibling, path.with_name(sibling.name))
            copies.paths[location] = path
        yield copies.paths[location]


@dataclass(frozen=True)
class _Copies:
    folders: contextlib.ExitStack
    paths: dict[StorePath, Path]


_copies: contextvars.ContextVar[_Copies | None] = contextvars.ContextVar("copies", default=None)


@contextlib.contextmanager
def keep_copies() -> Iterator[_Copies]:
    """Within, what `local_copy` fetches is kept for the next time; all is removed at the end."""
    outer = _copies.get()
    if outer is not None:
        yield outer
        return
    with contextlib.ExitStack() as folders:
        copies = _Copies(folders, {})
        token = _copies.set(copies)
        try:
            yield copies
        finally:
            _copies.reset(token)


def _siblings(location: StorePath) -> list[StorePath]:
    stem, objects = f"{location.stem}.", (file for file, _ in location.parent.scan())
    return [file for file in objects if file.name.startswith(stem) and file != location]


def fetch(location: StorePath, copy: Path) -> None:
    """Copy an object, or all objects below a folder, to this machine's disk.

    Raises:
        InputError: an object and a folder are of this name.
        FileNotFoundError: neither is.
    """
    objects = [file for file, _ in location.walk()]
    if objects and location.is_file() and location.stat().st_size:  # else a folder's own object
        raise InputError(
            f"{location} is an object and a folder, of {objects[0]} among others: which is meant "
            "cannot be told; rename one of the two"
        )
    for file in objects or [location]:
        path = copy / file.relative_to(location)
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch_object(file, path)


def _fetch_object(location: StorePath, copy: Path) -> None:
    with location.open("rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, _PIECE)


def copy(source: Location, target: Location) -> None:
    """Publish a copy of a file, whole or not at all."""

    def write(path: Path) -> None:
        with source.open("rb") as content, path.open("wb") as file:
            shutil.copyfileobj(content, file, _PIECE)

    write_atomic(target, write)


def make_folder(location: Location) -> None:
    """Make a folder and those above it; a store needs none.

    Raises:
        SetupError: it cannot be made; names the location.
    """
    if isinstance(location, StorePath):
        return
    try:
        location.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(location, error) from error


def create_exclusive(location: Location, content: bytes) -> bool:
    """Publish a file whole unless there is one: of several that try at once, one succeeds.

    Args:
        location: where the file is to lie; its folder is made.
        content: of the file.

    Returns:
        Whether it was published; False where there is a file of this name.

    Raises:
        SetupError: the disk is full or the folder cannot be written; names the location.
    """
    try:
        if isinstance(location, StorePath):
            return location.put_new(content)
        return _link(location, content)
    except OSError as error:
        raise write_error(location, error) from error


def _link(location: Path, content: bytes) -> bool:
    unfinished = location.with_name(f".{uuid.uuid4().hex}{location.suffix}")
    location.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.write_bytes(content)
        try:  # of several machines on one file system, too, one succeeds
            os.link(unfinished, location)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _WITHOUT_LINKS:
                raise
            # The next best that such a file system has: another process may come in between.
            if location.exists():
                return False
            os.replace(unfinished, location)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return True


def list_tables(location: Location) -> list[Location]:
    """Return the finished Parquet files of a table in order; none where it is not there.

    They lie in the table's folder, or in one of its folders `<column>=<value>`.
    """
    if isinstance(location, StorePath):
        # One listing, whatever the number of folders.
        files = (file for file, _ in location.walk() if file.suffix == ".parquet")
        return [file for file in files if _is_table_file(file.relative_to(location).parts)]
    return sorted(file for pattern in _TABLE_FILES for file in location.glob(pattern))


def _is_table_file(names: Sequence[str]) -> bool:
    *folders, name = names
    return not name.startswith(".") and len(folders) < 2 and all("=" in name for name in folders)


def remove_unfinished(location: Location) -> None:
    """Remove what killed writers left in a folder or table; in a store they leave nothing."""
    if isinstance(location, StorePath):
        return
    for pattern in _HIDDEN_FILES:
        for file in location.glob(pattern):
            if _UNFINISHED.fullmatch(file.name):
                remove(file)


def remove(location: Location) -> None:
    """Remove a file; nothing where it is not there."""
    if isinstance(location, StorePath):
        location.delete()
    else:
        location.unlink(missing_ok=True)


def remove_folder(location: Location) -> None:
    """Remove a folder and all below it; nothing where it is not there."""
    if isinstance(location, StorePath):
        location.delete_below()
    elif location.exists():
        shutil.rmtree(location)


def remove_empty(location: Location) -> None:
    """Remove a folder that is empty; a store has no such."""
    if isinstance(location, Path):
        with contextlib.suppress(OSError):
            location.rmdir()


def keep_folders(location: Location, folders: Iterable[Location]) -> None:
    """Remove the folders below a folder that are not among those kept."""
    keep = set(folders)
    for folder in location.glob("*"):
        if folder not in keep:
            remove_folder(folder)


def write_atomic(location: Location, write: Callable[[Path], object]) -> None:
    """Publish a file whole or not at all.

    Args:
        location: where the file is to lie; its folder is made.
        write: writes the file at the path on this machine's disk that it is given.

    Raises:
        SetupError: the disk is full or the folder cannot be written; names the location.
        InputError: what is written cannot be read; names the location.
    """
    if isinstance(location, StorePath):
        _put(location, write)
        return
    # Some writers look at the suffix.
    unfinished = location.with_name(f".{uuid.uuid4().hex}{location.suffix}")
    try:
        location.parent.mkdir(parents=True, exist_ok=True)
        write(unfinished)
        os.replace(unfinished, location)
    except OSError as error:
        raise write_error(location, error) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _put(location: StorePath, write: Callable[[Path], object]) -> None:
    try:
        with scratch_folder() as folder:
            path = folder / location.name
            write(path)
            sent = checksum(path)
            location.put(path)
        _sent.clear()
        _sent[location] = sent
    except OSError as error:
        raise write_error(location, error) from error


def write_error(location: Location, error: OSError) -> LulcError:
    """Return what to raise where a file or folder could not be written.

    Returns:
        A SetupError with the remedy; an InputError where a library failed to read what was to be
        written.
    """
    # GDAL's errors have no number; what it says itself is their cause.
    reason = error.strerror or str(error.__cause__ or error)
    if error.errno is None and str(error).startswith("Read failed"):
        return InputError(
            f"{location} is not written, as what goes into it cannot be read ({reason}): replace "
            "the damaged file"
        )
    if error.errno in (None, errno.ENOSPC, errno.EDQUOT):
        remedy = "free space or "
    else:
        denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        remedy = "make its folder writable or " if denied else ""
    return SetupError(f"{location} could not be written ({reason}): {remedy}choose another --out")

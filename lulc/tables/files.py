"""Files that are whole or absent, and all that is done to them: written, listed, removed.

Code outside this module names a place (see `lulc.tables.layout`) and calls a function of this one,
so that another kind of store needs changes here alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import lulc
from lulc.errors import InputError, LulcError, SetupError

type Location = Path
"""Where something lies; `location / place` joins a name with forward slashes to it."""

# A leading dot hides unfinished files from Spark, pyarrow and globs.
_TABLE_FILES = ("{}*.parquet", "*=*/{}*.parquet")
_FINISHED, _UNFINISHED = "[!.]", "."


def fingerprint_of(*inputs: Any) -> str:
    """Return 16 hex digits that depend on every input and on the code's version.

    Args:
        inputs: records, mappings, sequences, texts and numbers. Of a record, fields with
            `compare=False` are left out: they change nothing in what is made.
    """

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return {f.name: getattr(value, f.name) for f in fields(value) if f.compare}
        if isinstance(value, set | frozenset):
            return sorted(value)
        return str(value)

    text = json.dumps([lulc.__version__, *inputs], sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checksum(location: Location | str) -> str:
    """Return the sha256 of a file in hex."""
    with open(location, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_identity(location: Location | str) -> list[object]:
    """Return what changes when a file is replaced; its content is not read.

    Returns:
        Name, size in bytes, and time of modification in nanoseconds.
    """
    stat = os.stat(location)
    return [str(location), stat.st_size, stat.st_mtime_ns]


def exists(location: Location) -> bool:
    """Return whether a file or folder is there."""
    return location.exists()


def list_tables(location: Location) -> list[Location]:
    """Return the finished Parquet files of a table in order; none where it is not there.

    They lie in the table's folder, or in one of its folders `<column>=<value>`.
    """
    return sorted(
        file for pattern in _TABLE_FILES for file in location.glob(pattern.format(_FINISHED))
    )


def remove_unfinished(location: Location) -> None:
    """Remove what killed writers of a table left."""
    for pattern in _TABLE_FILES:
        for file in location.glob(pattern.format(_UNFINISHED)):
            remove(file)


def remove(location: Location) -> None:
    """Remove a file; nothing where it is not there."""
    location.unlink(missing_ok=True)


def keep_folders(location: Location, kept: Iterable[Location]) -> None:
    """Remove the folders below a folder that are not among those kept."""
    keep = set(kept)
    for folder in location.glob("*"):
        if folder not in keep:
            shutil.rmtree(folder)


def write_atomic(location: Location, write: Callable[[Path], object]) -> None:
    """Publish a file whole or not at all.

    It is written beside its place and moved in by one rename.

    Args:
        location: where the file is to lie; its folder is made.
        write: writes the file at the local path that it is given.

    Raises:
        SetupError: the disk is full or the folder cannot be written; names the location.
        InputError: what is written cannot be read; names the location.
    """
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
    unfinished = location.with_name(f".{uuid.uuid4().hex}{location.suffix}")
    try:
        location.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        try:  # of several machines on one file system, too, one succeeds
            os.link(unfinished, location)
        except FileExistsError:
            return False
    except OSError as error:
        raise write_error(location, error) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return True


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

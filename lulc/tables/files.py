"""Files that are whole or absent: atomic publishing, checksums and fingerprints."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import lulc
from lulc.errors import SetupError


def fingerprint_of(*parts: Any) -> str:
    """16 hex digits that depend on every part (records, mappings, texts, numbers) and on the code's version.

    Of records what tells two of them apart: fields with `compare=False` change nothing in what is made.
    """

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return {f.name: getattr(value, f.name) for f in fields(value) if f.compare}
        if isinstance(value, set | frozenset):
            return sorted(value)
        return str(value)

    text = json.dumps([lulc.__version__, *parts], sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def checksum(path: Path | str) -> str:
    """sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_identity(path: Path | str) -> list[object]:
    """What changes when a local file is replaced: name, size, modification time in ns. The content is not read."""
    stat = os.stat(path)
    return [str(path), stat.st_size, stat.st_mtime_ns]


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """`path` holding all that `write(temporary path)` wrote, or nothing new: written beside its place, moved in by one rename.

    SetupError names the path when the disk is full or the folder cannot be written.
    """
    # A leading dot keeps unfinished files out of sight of Spark, pyarrow and globs; the suffix stays for writers that look at it.
    beside = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        os.replace(beside, path)
    except OSError as error:
        raise SetupError(
            f"{path} could not be written ({error.strerror or error}): free space or choose another --out"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)

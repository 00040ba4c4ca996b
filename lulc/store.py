"""How results are kept: atomic publishing, fingerprints, small tables and the ledger, all under one output folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

import lulc
from lulc import tables
from lulc.errors import SetupError

ITEMS_FILE = "items.parquet"
"""The file of a table that tells of the image files of a folder."""


def fingerprint(*parts: Any) -> str:
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


def identity(path: Path | str) -> list[object]:
    """What changes when a local file is replaced: name, size, modification time in ns. The content is not read."""
    stat = os.stat(path)
    return [str(path), stat.st_size, stat.st_mtime_ns]


def publish(path: Path, write: Callable[[Path], object]) -> None:
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


def table_folder(out: Path, name: str) -> Path:
    """Where the table of this name lies under an output folder."""
    return out / "tables" / name


def schema_of(out: Path, name: str) -> pa.Schema:
    """The schema of the table of this name there: `predictions` are of tiles, or of the image files of a folder."""
    items = name == "predictions" and (table_folder(out, name) / ITEMS_FILE).exists()
    return tables.ITEM_CLASSES if items else tables.ALL[name]


def write_table(out: Path, name: str, table: pa.Table, metadata: Mapping[str, str] | None = None) -> Path:
    """Path of the small table's one file, which replaces what stood there in one step."""
    table = table.cast(tables.ALL[name])
    if metadata:
        table = table.replace_schema_metadata(dict(metadata))
    path = table_folder(out, name) / "part-0.parquet"
    publish(path, lambda beside: pq.write_table(table, beside, compression="zstd"))
    return path


def read_table(out: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    """The table (or some of its columns), checked against its schema; an empty one where nothing has been written."""
    schema = schema_of(out, name)
    folder = table_folder(out, name)
    if not folder.is_dir() or not any(folder.rglob("[!.]*.parquet")):
        return schema.empty_table().select(columns or schema.names)
    found = ds.dataset(folder, format="parquet", partitioning="hive")
    tables.check(found.schema, schema, str(folder))
    return found.to_table(columns=columns or schema.names)


def entry(stage: str, key: str, print_: str, *, status: str = "done", **rest: Any) -> dict[str, Any]:
    """A ledger row; whatever is not given stays null."""
    row = dict.fromkeys(tables.LEDGER.names) | {"stage": stage, "key": key, "fingerprint": print_, "status": status}
    return row | {"attempt": 0, "finished": datetime.now(UTC)} | rest


def append_ledger(out: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """The rows added to the ledger, in one file of their own."""
    found = list(rows)
    if found:
        table = pa.Table.from_pylist([dict(r) for r in found], tables.LEDGER)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}.parquet"
        publish(table_folder(out, "ledger") / name, lambda beside: pq.write_table(table, beside))


def standing(out: Path, stage: str) -> dict[str, dict[str, Any]]:
    """key → the newest ledger row of a stage."""
    table = read_table(out, "ledger")
    rows = [r for r in table.to_pylist() if r["stage"] == stage]
    return {r["key"]: r for r in sorted(rows, key=lambda r: r["finished"])}

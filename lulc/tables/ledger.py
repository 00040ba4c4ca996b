"""The ledger: one row for every unit of work, appended by every stage."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.tables import files, schemas
from lulc.tables.files import write_atomic
from lulc.tables.store import read_footer, read_table, table_folder


def ledger_row(
    stage: str, key: str, fingerprint: str, *, status: str = "done", **rest: Any
) -> dict[str, Any]:
    """A ledger row; whatever is not given stays null."""
    row = dict.fromkeys(schemas.LEDGER.names) | {
        "stage": stage,
        "key": key,
        "fingerprint": fingerprint,
        "status": status,
    }
    return row | {"attempt": 0, "finished": datetime.now(UTC)} | rest


def append_ledger(out: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """The rows added to the ledger, in one file of their own."""
    found = list(rows)
    if found:
        table = pa.Table.from_pylist([dict(r) for r in found], schemas.LEDGER)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}.parquet"
        write_atomic(
            table_folder(out, "ledger") / name, lambda beside: pq.write_table(table, beside)
        )


def latest(out: Path, stage: str) -> dict[str, dict[str, Any]]:
    """key → the newest ledger row of a stage."""
    table = read_table(out, "ledger")
    rows = [r for r in table.to_pylist() if r["stage"] == stage]
    return {r["key"]: r for r in sorted(rows, key=lambda r: r["finished"])}


def published_row(out: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The ledger row of a published unit, from what its writer said of it, with the checksum of its file if it has one."""
    given = {name: about[name] for name in ("status", "valid_pixels", "path") if name in about}
    path = given.get("path")
    return ledger_row(
        about["stage"],
        about["key"],
        about["fingerprint"],
        checksum=path and files.checksum(out / path),
        **given,
    )


def recover(out: Path, path: str) -> dict[str, Any] | None:
    """The ledger row of a file that a killed run published but could not note; None where it is not there, or not whole."""
    try:
        return published_row(out, read_footer(out / path))
    except InputError:
        return None

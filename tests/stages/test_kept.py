"""What tasks of an unfinished stage gave is kept, and is not done again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lulc.errors import InputError
from lulc.spark.kept import keep_rows

SCHEMA = pa.schema(
    [("number", pa.int64()), ("areas", pa.list_(pa.float64())), ("error", pa.string())]
)


class Tasks:
    """Work that counts how often it is done; of number 3 it fails once."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def __call__(self, key: Mapping[str, Any]) -> list[dict[str, Any]]:
        number = key["number"]
        self.done.append(number)
        if number == 3 and self.done.count(3) == 1:
            raise InputError("number 3 cannot be read")
        error = "not now" if number == 2 else None
        return [{"number": number, "areas": [number / 3, 0.1], "error": error}]


def test_a_rerun_does_what_was_not_kept(tmp_path: Path) -> None:
    tasks, keys = Tasks(), [{"number": number} for number in range(5)]
    first = keep_rows(tasks, tmp_path / "kept", SCHEMA)
    made = [first(key) for key in keys[:3]]
    with pytest.raises(InputError):
        first(keys[3])
    again = keep_rows(tasks, tmp_path / "kept", SCHEMA)
    rows = [again(key) for key in keys]
    assert rows[:3] == made
    # Those with an error are tried again, as is the one that failed.
    assert tasks.done == [0, 1, 2, 3, 2, 3, 4]
    assert len(list((tmp_path / "kept").rglob("*.parquet"))) == 4


def test_what_is_kept_of_other_work_is_not_taken(tmp_path: Path) -> None:
    tasks = Tasks()
    keep_rows(tasks, tmp_path / "one", SCHEMA)({"number": 1})
    keep_rows(tasks, tmp_path / "other", SCHEMA)({"number": 1})
    assert tasks.done == [1, 1]

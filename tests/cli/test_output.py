"""Results on standard output: what is null, what is no number, and integers as they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from lulc.cli.output import print_json
from lulc.cli.rows import format_rows


def test_null_is_told_from_what_is_no_number() -> None:
    moment = datetime(2024, 5, 1, tzinfo=UTC)
    columns = {
        "average": [None, float("nan"), 0.25],
        "count": [12345678901, None, 2],
        "name": ["a", None, "None"],
        "day": [moment, None, moment],
    }
    # A join may give two columns one name.
    table = pa.table(list(columns.values()), names=list(columns)).append_column("name", [["x"] * 3])
    lines = format_rows(table, "table").splitlines()
    assert lines[0].split() == [*columns, "name"]
    assert lines[1].split() == ["NULL", "12345678901", "a", "2024-05-01", "00:00:00+00:00", "x"]
    assert lines[2].split() == ["NaN", "NULL", "NULL", "NULL", "x"]
    assert lines[3].split()[:3] == ["0.25", "2", "None"]
    assert "average" in format_rows(table.slice(0, 0), "table")


def test_printed_json_has_finite_numbers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"a": [1.5, float("nan")], "b": {"c": (float("inf"), None)}, "d": float("-inf")}
    print_json(result)
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert printed == {"a": [1.5, None], "b": {"c": [None, None]}, "d": None}

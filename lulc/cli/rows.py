"""Rows of a query as text."""

from __future__ import annotations

import io
import math
import textwrap
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from lulc.cli.output import format_frame, format_json, format_number
from lulc.tables.export import nested_as_text


def format_rows(table: pa.Table, form: str) -> str:
    """Return the rows of a query as text.

    Args:
        table: the rows.
        form: a text format: `table`, its integers in all digits, NULL where there is no value,
            values longer than 60 characters cut; `markdown`, a table of it with all of each value;
            `csv`, lists in it as JSON; or `json`.
    """
    if form == "json":
        return format_json(table.to_pylist())
    if form == "csv":
        sink = io.BytesIO()
        pa.csv.write_csv(nested_as_text(table), sink)
        text: str = sink.getvalue().decode()
        return text.removesuffix("\n")
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    rows: list[tuple[str, ...]] = list(zip(*columns, strict=True))
    if form == "markdown":
        lines = [table.column_names, ["---"] * table.num_columns, *rows]
        return "\n".join("| " + " | ".join(map(_in_markdown, line)) + " |" for line in lines)
    if len(columns) == 1 and len(rows) == 1 and "\n" in rows[0][0]:
        return rows[0][0].rstrip("\n")  # a text of its own, as EXPLAIN gives it
    return format_frame(pd.DataFrame(rows, columns=table.column_names), max_colwidth=60)


def format_listing(table: pa.Table, width: int) -> str:
    """Return rows of texts as lines, of which the last column is wrapped at a width."""
    rows = [table.column_names, *zip(*(c.to_pylist() for c in table.columns), strict=True)]
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)][:-1]
    lines = []
    for *cells, last in rows:
        first = "".join(cell.ljust(size) for cell, size in zip(cells, widths, strict=True))
        indent = " " * len(first)
        wrapped = textwrap.wrap(
            last, max(width, len(first) + 30), initial_indent=first, subsequent_indent=indent
        )
        lines += wrapped or [first.rstrip()]
    return "\n".join(lines)


def _in_markdown(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", "<br>")


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else format_number(value)
    return str(value)

"""CSV files read: every cell is the text that stands there, and nothing else is guessed."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from typing import IO, Any

from lulc.errors import InputError
from lulc.location import Location

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_csv_records(
    path: Location, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the records of a CSV file with a header.

    Args:
        path: the file, as `read_csv_rows` takes it.
        columns: the columns that it must have.

    Yields:
        Line number and column → text of each record, of all columns; an empty cell is "". Blanks
        around names and cells are no part of them.

    Raises:
        InputError: as of `read_csv_rows`; a column is missing or there twice, or a record has other
            cells than the header.
    """
    rows = read_csv_rows(path)
    line, header = next(rows, (1, []))
    names = [name for name in header if name]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path} has column {', '.join(twice)} twice: rename or drop one")
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}: it has {', '.join(names) or 'none'}"
        )
    for line, row in rows:
        # Spreadsheets write empty columns after the last one.
        spare = [cell for cell, name in zip(row, header, strict=False) if not name]
        if len(row) < len(header) or any(spare) or any(row[len(header) :]):
            raise InputError(
                f"{path} line {line} has {len(row)} cells where the header names {len(names)} "
                "columns: quote cells that hold a comma"
            )
        yield line, {name: cell for name, cell in zip(header, row, strict=False) if name}


def read_csv_rows(path: Location) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, without blank lines.

    Args:
        path: the file, in UTF-8, with commas; a name that ends in .gz is of a compressed one.

    Yields:
        Line number and cells of each row, without blanks around them.

    Raises:
        InputError: the file is missing, in another encoding, parted by something else than commas,
            or damaged.
    """
    try:
        with _open(path) as lines:
            reader = csv.reader(lines, strict=True)
            first = True
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                if first:
                    _check_commas(path, cells)
                    first = False
                yield reader.line_num, cells
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not in UTF-8 ({error}): save it as CSV UTF-8") from error
    except (OSError, EOFError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({error})") from error


def _open(path: Location) -> IO[str]:
    file: Any = path.open("rb")
    content = io.BufferedReader(gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file
    if content.peek(2)[:2] in _UTF16:
        raise InputError(f"{path} is in UTF-16: save it as CSV UTF-8")
    return io.TextIOWrapper(content, encoding="utf-8-sig", newline="")


def _check_commas(path: Location, cells: Sequence[str]) -> None:
    for name, mark in (("semicolons", ";"), ("tabs", "\t")):
        if len(cells) == 1 and mark in cells[0]:
            raise InputError(f"{path} is parted by {name}: save it with commas")

"""CSV: cells are the texts that stand there; what would have to be guessed is refused by name."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lulc.errors import InputError
from lulc.tables.csv_files import read_csv_records, read_csv_rows


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_words_of_nothing_and_leading_zeros_are_texts(tmp_path: Path) -> None:
    path = write(tmp_path, "item,class\na,None\n007,NA\nnull,nan\n1e3,\n")
    assert list(read_csv_records(path, ["item", "class"])) == [
        (2, {"item": "a", "class": "None"}),
        (3, {"item": "007", "class": "NA"}),
        (4, {"item": "null", "class": "nan"}),
        (5, {"item": "1e3", "class": ""}),
    ]


def test_marks_blanks_and_empty_lines_of_spreadsheets_are_no_content(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffitem , class,,\r\n\r\na b ,ü,,\r\n , ,,\r\n")
    assert list(read_csv_records(path, ["item"])) == [(3, {"item": "a b", "class": "ü"})]


def test_a_list_without_a_header_is_read_also_compressed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n\nc,d\n"))
    assert list(read_csv_rows(path)) == [(1, ["a", "b"]), (3, ["c", "d"])]


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("item,class\na,ü\n", "latin-1", "not in UTF-8"),
        ("item,class\na,b\n", "utf-16", "UTF-16"),
        ("item;class\na;b\n", "utf-8", "semicolons"),
        ("item\tclass\na\tb\n", "utf-8", "tabs"),
        ("item,class,item\na,b,c\n", "utf-8", "column item twice"),
        ("item,klass\na,b\n", "utf-8", "no column class: it has item, klass"),
        ("", "utf-8", "no column item, class: it has none"),
        ("item,class\na,b,c\n", "utf-8", "line 2 has 3 cells"),
        ("item,class\na,b\nc\n", "utf-8", "line 3 has 1 cells"),
        ('item,class\na,"b"c\n', "utf-8", "cannot be read as CSV"),
    ],
)
def test_what_would_be_a_guess_is_refused(
    tmp_path: Path, text: str, encoding: str, message: str
) -> None:
    path = write(tmp_path, text, encoding)
    with pytest.raises(InputError, match=rf"t\.csv.*{message}"):
        list(read_csv_records(path, ["item", "class"]))


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        list(read_csv_rows(tmp_path / "nowhere.csv"))
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" * 100)[:20])
    with pytest.raises(InputError, match=r"t\.csv\.gz cannot be read"):
        list(read_csv_rows(path))


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8).map(str.strip)


@given(st.lists(st.tuples(CELLS.filter(bool), CELLS), min_size=1))
def test_what_python_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("item", "class"), *records])
    read = [tuple(record.values()) for _, record in read_csv_records(path, ["item", "class"])]
    assert read == records

"""Text taken apart into statements."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lulc.cli import shell
from lulc.cli.statements import split_statements


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("SELECT 1", [], "SELECT 1"),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"], ""),
        ("SELECT ';' AS a; SELECT 2", ["SELECT ';' AS a"], "SELECT 2"),
        ("SELECT 'it\\'s; so';", ["SELECT 'it\\'s; so'"], ""),
        ('SELECT "a;b", `c``;d`;', ['SELECT "a;b", `c``;d`'], ""),
        ("SELECT 1 -- one; two\n;", ["SELECT 1 -- one; two"], ""),
        ("/* a; b */ SELECT 1;", ["/* a; b */ SELECT 1"], ""),
        ("-- nothing; at all\n;; /* ; */", [], ""),
        ("SELECT 'open; SELECT 2;", [], "SELECT 'open; SELECT 2;"),
        ("SELECT 1; /* open; SELECT 2;", ["SELECT 1"], "/* open; SELECT 2;"),
    ],
)
def test_a_semicolon_ends_a_statement_but_in_texts_names_and_comments(
    text: str, statements: list[str], rest: str
) -> None:
    assert split_statements(text) == (statements, rest)


_STATEMENTS = st.sampled_from(["SELECT 1", "SELECT ';'", "TABLE `a;b`", 'SELECT "\\";"'])


@given(st.lists(_STATEMENTS), st.sampled_from([";", " ;\n", ";;"]))
def test_statements_joined_are_taken_apart_again(statements: list[str], separator: str) -> None:
    text = "".join(statement + separator for statement in statements)
    assert split_statements(text) == (statements, "")


def test_a_shell_needs_no_place_for_its_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for state, typed in ((tmp_path / "file", []), (tmp_path / "folder", ["SELECT 1"])):
        monkeypatch.setenv("XDG_STATE_HOME", str(state))
        shell._open_history().store_string("SELECT 1")
        assert list(shell._open_history().load_history_strings()) == typed

"""Text with SQL statements, taken apart at its semicolons."""

from __future__ import annotations

import re

# A semicolon in a quoted text, a quoted name or a comment ends nothing.
_PIECES = re.compile(
    r"""(?P<quoted>'(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*" | `(?:``|[^`])*`)
    | (?P<comment>--[^\n]* | /\*.*?\*/)
    | (?P<open>['"`] | /\*)
    | (?P<end>;)""",
    re.DOTALL | re.VERBOSE,
)


def list_statements(text: str) -> list[str]:
    """Return all statements of a text; its end ends the last one."""
    statements, rest = split_statements(text)
    return [*statements, *filter(None, [rest])]


def split_statements(text: str) -> tuple[list[str], str]:
    """Return the statements that a semicolon ends, and what follows the last one.

    Args:
        text: SQL.

    Returns:
        The statements without semicolons, none of them empty or of comments alone; and the rest,
        empty where nothing but comments follows.
    """
    statements, start, is_filled = [], 0, False
    position = 0
    while piece := _PIECES.search(text, position):
        is_filled |= bool(text[position : piece.start()].strip())
        is_filled |= piece.lastgroup in ("quoted", "open")
        position = piece.end()
        if piece.lastgroup == "open":
            break
        if piece.lastgroup == "end":
            if is_filled:
                statements.append(text[start : piece.start()].strip())
            start, is_filled = position, False
    is_filled |= bool(text[position:].strip())
    return statements, text[start:].strip() if is_filled else ""

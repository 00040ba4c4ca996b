"""The shell of `lulc sql`: statements typed at a terminal, answered by one warm session."""

from __future__ import annotations

import itertools
import os
import pydoc
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle

from lulc import errors
from lulc.cli.output import TEXT_FORMATS
from lulc.cli.query import with_text_geometries
from lulc.cli.rows import format_listing, format_rows
from lulc.cli.statements import list_statements, split_statements

if TYPE_CHECKING:
    import pyarrow as pa

    from lulc.spark.queries.sql import QuerySession

_LEAVING = ("\\q", "quit", "exit")
_HELP = """\
SQL            a statement, to its semicolon; EXPLAIN SELECT … shows how Spark would run it
\\d             the views        \\d NAME   the columns of one: type, unit, meaning
\\df            the functions of lulc
\\format NAME   how results are shown: {formats}
\\timing        tell how long a statement takes, or no longer
\\? \\q          this help; leave (or quit, exit, Ctrl-D)
Tab completes, Ctrl-C cancels a statement, Ctrl-R searches what was typed before."""
_BEFORE_VIEWS = ("from", "join", "table", "describe", "view", "\\d")
_CANCEL_EVERY_S = 0.3


def run_shell(session: QuerySession, limit: int | None, form: str) -> int:
    """Answer what is typed, until Ctrl-D.

    Args:
        session: that answers.
        limit: most rows of a result to show; all where None.
        form: one of TEXT_FORMATS, how results are shown at first.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: a terminal cannot show the format.
    """
    _check_format(form)
    print(f"{len(session.views)} views: \\d lists them, \\? helps, Ctrl-D leaves")
    with ThreadPoolExecutor(1) as worker:
        shell = _Shell(session, worker, limit, form)
        while (text := shell.read()) is not None:
            shell.carry_out(text)
            if shell.is_left:
                break
    return 0


class _Shell:
    # What a person set, and the one thread that queries: Ctrl-C must not meet it half-way in an
    # answer of Java, of which the next query would get the rest.
    def __init__(
        self, session: QuerySession, worker: ThreadPoolExecutor, limit: int | None, form: str
    ) -> None:
        self.session, self.worker, self.limit, self.form = session, worker, limit, form
        self.tells_time, self.is_left = True, False
        self.names = _Names(session)
        self.prompt: PromptSession[str] = PromptSession(
            history=_open_history(),
            completer=self.names,
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation="   -> ",
        )

    def read(self) -> str | None:
        """Return what was typed, empty where Ctrl-C gave it up; None at the end."""
        try:
            return self.prompt.prompt("lulc> ").strip()
        except KeyboardInterrupt:
            return ""
        except EOFError:
            return None

    def carry_out(self, text: str) -> None:
        if text.rstrip(";").lower() in _LEAVING:
            self.is_left = True
            return
        try:
            if text.startswith("\\"):
                self._command(*text.rstrip(";").split(maxsplit=1))
                return
            for statement in list_statements(text):
                self._answer(statement)
        except Exception as error:
            print(errors.explain(error)[1], file=sys.stderr)

    def _command(self, name: str, argument: str = "") -> None:
        if name == "\\?":
            print(_HELP.format(formats=", ".join(TEXT_FORMATS)))
        elif name == "\\timing":
            self.tells_time = not self.tells_time
            print(f"timing is {'on' if self.tells_time else 'off'}")
        elif name == "\\format":
            _check_format(argument)
            self.form = argument
        elif name == "\\d" and argument:
            self._list(partial(self.session.describe_view, argument.strip("`")))
        elif name == "\\d":
            self._list(self.session.list_views)
        elif name == "\\df":
            from lulc.spark.queries.functions import FUNCTIONS

            print("\n".join(function.usage for function in FUNCTIONS))
        else:
            raise errors.UsageError(f"{name} is no command: \\? lists them")

    def _list(self, ask: Callable[[], pa.Table]) -> None:
        if (rows := self._wait_for(ask)) is None:
            print("cancelled", file=sys.stderr)
        elif self.form == "table":
            _show(format_listing(rows, shutil.get_terminal_size().columns))
        else:
            _show(format_rows(rows, self.form))

    def _answer(self, statement: str) -> None:
        start = time.monotonic()
        answer = self._wait_for(partial(self.session.answer, statement, {}, self.limit))
        if re.search(r"\bview\b", statement, re.IGNORECASE):
            self.names.forget_views()
        if answer is None:
            print("cancelled", file=sys.stderr)
            return
        took = f", {time.monotonic() - start:.2f} s" if self.tells_time else ""
        _show(format_rows(with_text_geometries(answer.rows), self.form))
        shown, rows = answer.rows.num_rows, f"{answer.total:,} row{'s'[: answer.total != 1]}"
        if answer.total > shown:
            rows = f"the first {shown:,} of {rows} (lulc sql --limit N shows more)"
        print(f"{rows}{took}", file=sys.stderr)

    def _wait_for[T](self, ask: Callable[[], T]) -> T | None:
        # None where Ctrl-C cancelled it. Jobs that a query starts after that are cancelled, too.
        answer = self.worker.submit(ask)
        is_cancelled = False
        while True:
            try:
                answer.exception(_CANCEL_EVERY_S if is_cancelled else None)
                return None if is_cancelled else answer.result()
            except KeyboardInterrupt:
                is_cancelled = True
                self.session.cancel()
            except NotYet:
                self.session.cancel()


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def end_or_continue(event: KeyPressEvent) -> None:
        text = event.current_buffer.text.strip()
        if (
            not text
            or text.startswith("\\")
            or text.lower() in _LEAVING
            or (text.endswith(";") and not split_statements(text)[1])
        ):
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    return keys


class _Names(Completer):
    # Columns of the views that a statement names, views, keywords and functions.
    def __init__(self, session: QuerySession) -> None:
        self._session = session
        self._words: list[str] = []
        self._views: dict[str, list[str]] = {}

    def views(self) -> dict[str, list[str]]:
        """Return the columns of every view; Spark is asked for them once."""
        self._views = self._views or self._session.columns()
        return self._views

    def forget_views(self) -> None:
        """Ask Spark again: a statement may have made or dropped one."""
        self._views = {}

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor
        found = re.search(r"(?:(\w+)\.)?(\w*)$", before)
        assert found is not None
        qualifier, word = found.groups()
        views = self.views()
        earlier = before[: found.start()].split()
        if qualifier:
            views = {view: views[view] for view in _views_of(qualifier, document.text, views)}
            names: Iterable[str] = itertools.chain.from_iterable(views.values())
        elif earlier and earlier[-1].lower() in _BEFORE_VIEWS:
            names = sorted(views)
        else:
            names = self._any_name(views, document.text)
        seen = set()
        for name in names:
            if name.lower().startswith(word.lower()) and name not in seen:
                seen.add(name)
                yield Completion(name, -len(word))

    def _any_name(self, views: dict[str, list[str]], text: str) -> Iterator[str]:
        named = set(re.findall(r"\w+", text.lower()))
        for view in [view for view in views if view.lower() in named] or views:
            yield from views[view]
        yield from sorted(views)
        self._words = self._words or self._session.words()
        yield from self._words


def _views_of(name: str, text: str, views: Iterable[str]) -> list[str]:
    # The view of this name, else that to which a statement gives it; all where there is none yet.
    given = re.findall(rf"(\w+)\s+(?:as\s+)?{re.escape(name)}\b", text, re.IGNORECASE)
    return [view for view in views if view in (name, *given)] or list(views)


def _show(text: str) -> None:
    # Page by page where it is larger than the terminal.
    size = shutil.get_terminal_size()
    lines = text.splitlines()
    fits = len(lines) < size.lines and all(len(line) <= size.columns for line in lines)
    pager = os.environ.get("PAGER") or shutil.which("less")
    if not fits and pager and sys.stdout.isatty():
        # Unless the user has options of less: what was looked at last stays on the screen.
        pydoc.pipepager(text, f'LESS="${{LESS-FRSX}}" {pager}')
    else:
        print(text)


def _check_format(form: str) -> None:
    if form not in TEXT_FORMATS:
        raise errors.UsageError(
            f"a terminal cannot show {form or 'a format without a name'}: "
            f"choose {', '.join(TEXT_FORMATS)}"
        )


def _open_history() -> History:
    # Where nothing can be written there, what is typed is known until the shell ends.
    root = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    file = Path(root) / "lulc" / "sql_history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        with file.open("ab"):
            return FileHistory(str(file))
    except OSError:
        return InMemoryHistory()

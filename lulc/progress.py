"""Progress messages: the `lulc` logger, and a bar on a terminal or a line every 5 % elsewhere.

A library user sees nothing unless he configures logging; the command line shows everything on
standard error (`console`).
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

_logger = logging.getLogger("lulc")
_logger.addHandler(logging.NullHandler())

_LINES = 20  # progress lines of a whole bar where there is no terminal
_POLL_S = 0.5


def say(text: str) -> None:
    """Log one line for the user, at level INFO of the logger `lulc`."""
    _logger.info("%s", text)


@contextlib.contextmanager
def console() -> Iterator[None]:
    """Show the progress of everything inside on standard error, as plain lines and bars."""
    if _has_console():
        yield
        return
    handler = _Console()
    level, propagate = _logger.level, _logger.propagate
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    _logger.propagate = False  # a root handler would show each line twice
    try:
        yield
    finally:
        _logger.removeHandler(handler)
        _logger.setLevel(level)
        _logger.propagate = propagate


class _Console(logging.Handler):
    # Writes to what is standard error at the time of each message.
    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


def _has_console() -> bool:
    return any(isinstance(handler, _Console) for handler in _logger.handlers)


@contextlib.contextmanager
def bar(total: int, label: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of a count towards `total`: a bar on a terminal, else a line every 5 %.

    Yields:
        A function `show(done, failed)` that updates the two counts.
    """
    on_terminal = _has_console() and sys.stderr.isatty()
    with _terminal_bar(total, label) if on_terminal else _log_lines(total, label) as show:
        yield show


@contextlib.contextmanager
def _terminal_bar(total: int, label: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(f"{label:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[bad]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(label, total=total, bad="")
        yield lambda done, failed: display.update(
            task, completed=done, bad=f"{failed} failed" if failed else ""
        )


@contextlib.contextmanager
def _log_lines(total: int, label: str) -> Iterator[Callable[[int, int], None]]:
    start = time.monotonic()
    step = 0

    def show(done: int, failed: int) -> None:
        nonlocal step
        if total and done * _LINES // total > step:
            step = done * _LINES // total
            seconds_left = (time.monotonic() - start) / max(done, 1) * (total - done)
            say(
                f"{label}: {done} of {total} ({100 // _LINES * step} %), {failed} failed attempts, "
                f"about {seconds_left:.0f} s left"
            )

    yield show


@contextlib.contextmanager
def spark(context: Any, total: int, label: str) -> Iterator[Callable[[int, float], None]]:
    """Show the progress of what the Spark tasks that are started inside do.

    Args:
        context: the SparkContext; it is polled twice a second.
        total: how much there is to do; by default one for each task.
        label: what it is, such as the name of the stage.

    Yields:
        A function `begin(done, per_task)`, to be called before the tasks of the next wave are
        started: how much is done, and how much each of these tasks does.
    """
    ended = threading.Event()
    wave: tuple[str, int, float] = ("", 0, 1.0)

    def begin(done: int, per_task: float) -> None:
        nonlocal wave
        group = f"lulc-{uuid.uuid4().hex[:8]}"
        context.setJobGroup(group, label)
        wave = (group, done, per_task)

    def count() -> tuple[int, int]:
        group, before, per_task = wave
        tracker = context.statusTracker()
        infos = [
            tracker.getStageInfo(stage)
            for job in tracker.getJobIdsForGroup(group)
            for stage in getattr(tracker.getJobInfo(job), "stageIds", ())
        ]
        stages = [info for info in infos if info is not None]
        tasks = max((stage.numCompletedTasks for stage in stages), default=0)
        failed = sum(stage.numFailedTasks for stage in stages)
        return min(total, before + int(tasks * per_task)), failed

    def watch(show: Callable[[int, int], None]) -> None:
        while not ended.wait(_POLL_S):
            show(*count())

    begin(0, 1.0)
    with bar(total, label) as show:
        watcher = threading.Thread(target=watch, args=(show,), daemon=True)
        watcher.start()
        try:
            yield begin
            show(total, count()[1])
        finally:
            ended.set()
            watcher.join()

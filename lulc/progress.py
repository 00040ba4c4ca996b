"""What a user sees while it runs: a bar on a terminal, a line every 5 % elsewhere; all on standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any


def say(text: str) -> None:
    """One line to the user."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def bar(total: int, label: str) -> Iterator[Callable[[int, int], None]]:
    """A function `show(done, failed)` that draws how far a count of `total` has come."""
    start = time.monotonic()
    if sys.stderr.isatty():
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
        with Progress(*columns, console=Console(stderr=True)) as drawn:
            line = drawn.add_task(label, total=total, bad="")
            yield lambda done, failed: drawn.update(
                line, completed=done, bad=f"{failed} failed" if failed else ""
            )
        return
    shown = 0

    def show(done: int, failed: int) -> None:
        nonlocal shown
        if total and done * 20 // total > shown:
            shown = done * 20 // total
            left = (time.monotonic() - start) / max(done, 1) * (total - done)
            say(
                f"{label}: {done} of {total} ({5 * shown} %), {failed} failed attempts, about {left:.0f} s left"
            )

    yield show


@contextlib.contextmanager
def spark(context: Any, total: int, label: str) -> Iterator[None]:
    """Shows how many of the Spark tasks started inside have ended, asking a SparkContext twice a second."""
    group = f"lulc-{uuid.uuid4().hex[:8]}"
    context.setJobGroup(group, label)
    ended = threading.Event()

    def watch(show: Callable[[int, int], None]) -> None:
        tracker = context.statusTracker()
        while not ended.wait(0.5):
            stages = [
                tracker.getStageInfo(stage)
                for job in tracker.getJobIdsForGroup(group)
                for stage in getattr(tracker.getJobInfo(job), "stageIds", ())
            ]
            found = [s for s in stages if s is not None]
            if found:
                show(
                    min(total, max(s.numCompletedTasks for s in found)),
                    sum(s.numFailedTasks for s in found),
                )

    with bar(total, label) as show:
        watcher = threading.Thread(target=watch, args=(show,), daemon=True)
        watcher.start()
        try:
            yield
            show(total, 0)
        finally:
            ended.set()
            watcher.join()
            context.setJobGroup("", "")

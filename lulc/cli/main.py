"""The entry point of the command line: parses arguments, calls the verb, returns the exit code."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from lulc import errors, progress
from lulc.cli import accuracy, ask, query, run, services
from lulc.cli.options.parser import parse_arguments
from lulc.location import StorePath, check_location, check_output
from lulc.stages import STAGES

_STOPPING = (signal.SIGINT, signal.SIGTERM)
"""What Ctrl-C sends, and what schedulers send to end a program."""

_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    **dict.fromkeys(("run", *STAGES), run.run_pipeline),
    "predict": run.run_prediction,
    "submit": run.submit_run,
    "demo": run.run_demo,
    "tune": run.tune_training,
    "review": run.review_labels,
    "rate": run.find_rate,
    "evaluate": accuracy.run_evaluation,
    "design": accuracy.draw_points,
    "compare": accuracy.compare_maps,
    "init": ask.write_template,
    "plan": ask.show_plan,
    "info": ask.show_info,
    "report": ask.renew_report,
    "sql": query.query_tables,
    "serve": services.serve_tables,
    "view": services.view_map,
    "models": ask.list_models,
    "doctor": ask.check_machine,
}

_ELSEWHERE = ("submit", "doctor")
"""Verbs whose work is done on a cluster, whose machines may reach what this one does not."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: the verb and its arguments; the program's own where None.

    Returns:
        The exit code: 0, or 2 usage, 3 input, 4 too many bad inputs, 5 environment, 1 any other
        error, 130 interrupted, 143 terminated.
    """
    args = parse_arguments(arguments)
    if args.verb is None:
        args.parser.print_help()
        return 2
    with command(args.debug) as outcome:
        if args.verb not in _ELSEWHERE:
            _check_locations(args)
        outcome.code = _VERBS[args.verb](args)
    return outcome.code


def _check_locations(args: argparse.Namespace) -> None:
    # Told at once, not when a stage first writes there or asks a store.
    out = getattr(args, "out", None)
    if out is not None:
        check_output(out)
    lists = (value if isinstance(value, list) else [value] for value in vars(args).values())
    for location in {v for values in lists for v in values if isinstance(v, StorePath)} - {out}:
        check_location(location)


@dataclass
class Outcome:
    """What a command came to."""

    code: int = 0


class _Stopped(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def command(debug: bool = False) -> Iterator[Outcome]:
    """Carry out a command: show its progress, and print an error as one message.

    SIGINT (Ctrl-C) and SIGTERM end it with a message, and with the code that a shell gives them.

    Args:
        debug: print the traceback of an error, too.

    Yields:
        The outcome, whose code is that of the error, if there was one.
    """
    outcome = Outcome()
    with progress.console(), _stop_at_signals(), _without_traces_of_stops():
        try:
            try:
                yield outcome
            except Exception as error:
                if stop := _find_stop(error):
                    raise stop from error
                if debug:
                    traceback.print_exc()
                outcome.code, message = errors.explain(error)
                print(f"lulc: {message}", file=sys.stderr)
        except KeyboardInterrupt as stop:
            print(
                "lulc: stopped; finished work is kept; rerun the same command to resume",
                file=sys.stderr,
            )
            # As a shell reports a program that a signal ended.
            outcome.code = 128 + getattr(stop, "number", signal.SIGINT)


@contextlib.contextmanager
def _stop_at_signals() -> Iterator[None]:
    # A signal that is ignored, as Ctrl-C is in the background of a shell script, stays ignored.
    def stop(number: int, _: FrameType | None) -> None:
        raise _Stopped(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _STOPPING}
    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _without_traces_of_stops() -> Iterator[None]:
    # py4j logs a stop that meets it while it waits for Spark, and what fails on the way out of it
    # as the JVM got the same signal, with the whole trace.
    def is_no_stop(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        is_told = str(record.msg).startswith("KeyboardInterrupt while")
        return not is_told and _find_stop(error) is None

    root = logging.getLogger()
    root.addFilter(is_no_stop)
    try:
        yield
    finally:
        root.removeFilter(is_no_stop)


def _find_stop(error: BaseException | None) -> KeyboardInterrupt | None:
    # Of a stop, Spark often shows nothing but the job that was cancelled by it.
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return error
        error = error.__cause__ or error.__context__
    return None


if __name__ == "__main__":
    sys.exit(main())

"""The entry point of the command line: parses arguments, calls the verb, returns the exit code."""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lulc import errors, progress
from lulc.cli import accuracy, ask, options, run
from lulc.stages import STAGES

_INTERRUPTED = 130  # as a shell reports a program that Ctrl-C ended

_VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    **dict.fromkeys(("run", *STAGES), run.run_pipeline),
    "predict": run.run_prediction,
    "submit": run.submit_run,
    "demo": run.run_demo,
    "tune": run.tune_training,
    "rate": run.find_rate,
    "evaluate": accuracy.run_evaluation,
    "design": accuracy.draw_points,
    "compare": accuracy.compare_maps,
    "init": ask.write_template,
    "plan": ask.show_plan,
    "info": ask.show_info,
    "report": ask.renew_report,
    "sql": ask.query_tables,
    "serve": ask.serve_tables,
    "models": ask.list_models,
    "doctor": ask.check_machine,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: the verb and its arguments; the program's own where None.

    Returns:
        The exit code: 0, or 2 usage, 3 input, 4 too many bad inputs, 5 environment, 1 any other
        error, 130 interrupted.
    """
    parser = options.make_parser()
    args = parser.parse_args(arguments)
    if not hasattr(args, "verb"):
        parser.print_help()
        return 2
    with command(args.debug) as outcome:
        outcome.code = _VERBS[args.verb](args)
    return outcome.code


@dataclass
class Outcome:
    """What a command came to."""

    code: int = 0


@contextlib.contextmanager
def command(debug: bool = False) -> Iterator[Outcome]:
    """Carry out a command: show its progress, and print an error as one message.

    Args:
        debug: print the traceback of an error, too.

    Yields:
        The outcome, whose code is that of the error, if there was one.
    """
    outcome = Outcome()
    with progress.console():
        try:
            yield outcome
        except KeyboardInterrupt:
            print(
                "lulc: stopped; finished work is kept; rerun the same command to resume",
                file=sys.stderr,
            )
            outcome.code = _INTERRUPTED
        except Exception as error:
            if debug:
                traceback.print_exc()
            outcome.code, message = errors.explain(error)
            print(f"lulc: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

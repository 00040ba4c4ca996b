"""The parser of the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lulc import __version__
from lulc.cli.options import questions, runs, trials


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Returns:
        The parser; its result has the verb's name in `verb`, None where none is given, and the
        verb's own parser in `parser`.
    """
    parser = argparse.ArgumentParser(
        prog="lulc",
        description="Map land use and land cover from archives of scenes, and measure areas with "
        "their accuracy.",
        epilog="example: lulc demo\nexample: lulc run conf/zion.yaml --out out/zion",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lulc {__version__}")
    parser.set_defaults(debug=False, verb=None, parser=parser)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")

    def add(name: str, summary: str, *examples: str) -> argparse.ArgumentParser:
        verb = verbs.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog="\n".join(f"example: {example}" for example in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_argument(
            "--debug", action="store_true", help="show Spark's log and full tracebacks"
        )
        verb.add_argument("--json", action="store_true", help="print the result as JSON")
        verb.set_defaults(verb=name, parser=verb)
        return verb

    runs.add_start(add)
    runs.add_stages(add)
    questions.add_inspection(add)
    questions.add_queries(add)
    trials.add_accuracy(add)
    trials.add_training(add)
    questions.add_doctor(add)
    return parser


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; what a verb does not know is refused with the verb's own usage.

    Args:
        arguments: the verb and its arguments; the program's own where None.

    Returns:
        The arguments; `verb` is None where there is none.
    """
    parser = make_parser()
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def stage_arguments(stage: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of a program that runs one stage; they are those of `lulc STAGE`.

    Args:
        stage: the stage's name.
        arguments: without the stage; the program's own where None.
    """
    own_arguments = sys.argv[1:] if arguments is None else arguments
    return parse_arguments([stage, *own_arguments])

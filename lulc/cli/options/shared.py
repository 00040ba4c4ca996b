"""Options that several verbs have, and what their texts mean."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from math import inf

from lulc import errors
from lulc.location import Location, parse_location

AddVerb = Callable[..., argparse.ArgumentParser]
"""add(name, help, *examples): add a verb, and return its parser."""


def location(text: str) -> Location:
    """Return the path or address that an argument names."""
    try:
        return parse_location(text)
    except errors.UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """Return an argument that is a number of cores."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of cores: give 1 or more")
    return int(text)


def price(text: str) -> float:
    """Return an argument that is a price."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is no price: give a number, 0 or more")


def unit_of_band(text: str) -> tuple[str, str]:
    """Return band and unit of an argument BAND=UNIT."""
    band, equals, unit = text.partition("=")
    if not (band and equals and unit):
        raise argparse.ArgumentTypeError(f"{text!r}: write BAND=UNIT, such as vv=sigma0")
    return band, unit


def add_settings(verb: argparse.ArgumentParser, origin: str) -> None:
    """Add --set, for settings of `origin`."""
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=1",
        help=f"replace a setting {origin}; may be repeated",
    )


def add_run_options(verb: argparse.ArgumentParser, run_is_optional: bool = False) -> None:
    """Add a run file, and settings that replace its own."""
    count = "?" if run_is_optional else None
    verb.add_argument("run", type=location, nargs=count, help="run file (YAML)")
    add_settings(verb, "of the run file")


def add_overlap(
    verb: argparse.ArgumentParser | argparse._ArgumentGroup, default: str | None, meaning: str
) -> None:
    """Add --overlap, what becomes of class rasters that overlap.

    Args:
        verb: gets it.
        default: its value where it is not given.
        meaning: what its help says of the default.
    """
    verb.add_argument(
        "--overlap",
        choices=("refuse", "first"),
        default=default,
        help="class rasters that overlap: refuse them, or take the first by name "
        f"(default {meaning})",
    )

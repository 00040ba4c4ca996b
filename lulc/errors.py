"""The errors that reach a user: each says what, where, what was accepted and the remedy, and carries its exit code."""

from __future__ import annotations

import re
import traceback
from pathlib import Path


class LulcError(Exception):
    """Any failure this project explains; `exit_code` is what the command line returns for it."""

    exit_code = 1


class UsageError(LulcError):
    """A command or a run file that cannot mean anything: unknown key, wrong type, contradictory settings."""

    exit_code = 2


class InputError(LulcError):
    """Input that cannot be used: a missing file, an unreadable scene, a contract that does not hold."""

    exit_code = 3


class TooManyBad(LulcError):
    """More bad inputs than the user allows (`--max-bad`)."""

    exit_code = 4


class SetupError(LulcError):
    """A machine that cannot run this: no Java, no JARs, no room on the disk."""

    exit_code = 5


def explain(error: Exception) -> tuple[int, str]:
    """The exit code of any error, and what it says to a user."""
    if isinstance(error, LulcError):
        return error.exit_code, str(error)
    # An error of ours that was raised on an executor arrives as text inside Spark's.
    found = re.findall(
        r"lulc\.errors\.(\w+): (.*?)(?:\n\s*\n|\n\tat |\nDriver stacktrace|\Z)",
        str(error),
        re.DOTALL,
    )
    if found:
        codes = {kind.__name__: kind.exit_code for kind in LulcError.__subclasses__()}
        return codes.get(found[-1][0], LulcError.exit_code), found[-1][1].strip()
    if _is_without_spark(error):
        text = "Spark has ended (killed, or out of memory: spark.memory): the same command goes on from what stands"
        return SetupError.exit_code, f"{text}; --debug shows its log"
    lines = [
        line
        for line in str(error).splitlines()
        if line.strip() and not line.lstrip().startswith("at ")
    ]
    python = [line for line in lines if re.match(r"\w+(\.\w+)*(Error|Exception|Exit): ", line)]
    text = (python or lines or [""])[-1 if python else 0]
    return 1, f"{type(error).__name__}: {text[:600]}\nGive --debug to see where."


def _is_without_spark(error: Exception) -> bool:
    # py4j's own errors tell nothing of the JVM being gone but by what they leave out: a trace of Java's.
    if not any(
        Path(frame.filename).parent.name == "py4j"
        for frame in traceback.extract_tb(error.__traceback__)
    ):
        return False
    kind = type(error).__name__
    return (
        isinstance(error, ConnectionError)
        or kind == "Py4JNetworkError"
        or (kind == "Py4JError" and "Trace" not in str(error))
    )

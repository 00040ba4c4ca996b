"""Several command lines of `lulc` in one process: they share a JVM, which takes long to start."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Answer:
    """What a command line came to."""

    code: int
    printed: str
    """On standard output."""


def run_verbs(
    commands: Sequence[Sequence[object]],
    environment: Mapping[str, str],
    folder: Path,
    ended: Callable[[], object] = lambda: None,
) -> tuple[list[Answer], str]:
    """Carry out command lines one after another in a process of their own.

    Args:
        commands: verbs and their arguments.
        environment: variables besides those of this process.
        folder: the process's working folder.
        ended: called when a command line has ended.

    Returns:
        The answer of each, and all that went to standard error.
    """
    asked = json.dumps([[str(word) for word in command] for command in commands])
    program = [sys.executable, "-m", __name__, asked]
    paths = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            program,
            env={**os.environ, "PYTHONPATH": paths, **environment},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        answers = []
        for line in process.stdout:
            answers.append(Answer(*json.loads(line)))
            ended()
        code = process.wait()
        errors.seek(0)
        told = errors.read()
    assert code == 0, told
    return answers, told


def _main() -> None:
    from lulc.cli.main import main

    for arguments in json.loads(sys.argv[1]):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = main(arguments)
        print(json.dumps([code, printed.getvalue()]), flush=True)


if __name__ == "__main__":
    _main()

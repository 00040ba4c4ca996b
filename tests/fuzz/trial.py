"""One damaged input, read in a process of its own, and what is wrong with what came of it."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lulc import errors
from tests.fuzz.mutations import Mutation
from tests.fuzz.targets import Target

_EXIT_CODES = (0, 2, 3, 4, 5)
_MAX_SECONDS = 2.0
_MAX_BYTES = 200 << 20
_KILLED_AFTER_S = 30
# A ledger row as the targets print it, or a count of bad inputs in JSON.
_BAD = re.compile(r'^bad |"bad[^"]*": [{[]\s*"', re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What came of reading an input."""

    code: int
    """The exit code; minus a signal's number where the process was killed."""
    text: str
    """What was printed, results and messages."""
    seconds: float
    """Of computing, in the process."""
    memory: int
    """Bytes that the process grew by."""


def prepare(target: Target, folder: Path) -> tuple[Path, Outcome]:
    """Make a target's sound input and read it.

    Returns:
        The file to damage, and the outcome that its damaged forms are held against.
    """
    folder.mkdir(parents=True)
    code, text, *_ = _fork(lambda: (0, str(target.make(folder))))
    if code:
        raise RuntimeError(text)
    outcome = read(target, folder)
    if outcome.code or re.search(_BAD.pattern + "|^0 arrays", outcome.text):
        raise RuntimeError(f"the sound {target.name} is not read: {outcome.text}")
    return Path(text), outcome


def read(target: Target, folder: Path) -> Outcome:
    """Read a target's input in a process of its own."""

    def use() -> tuple[int, str]:
        os.chdir(folder)
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            try:
                code = target.use()
            except SystemExit as error:
                code = int(error.code or 0)
            except Exception as error:
                code, message = errors.explain(error)
                told.write(message if isinstance(error, errors.LulcError) else "")
                if not isinstance(error, errors.LulcError):
                    traceback.print_exc(file=told)
        return code, told.getvalue()

    return Outcome(*_fork(use))


def _fork(work: Callable[[], tuple[int, str]]) -> tuple[int, str, float, int]:
    # A code, a text, seconds of computing and growth in bytes; the libraries are loaded already.
    receiver, sender = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receiver)
        signal.alarm(_KILLED_AFTER_S)
        before, start = _peak_bytes(), time.process_time()
        try:
            code, text = work()
        except BaseException:  # what is not caught must not return into the parent's code
            code, text = 1, traceback.format_exc()
        told = (code, text, time.process_time() - start, _peak_bytes() - before)
        with os.fdopen(sender, "wb") as pipe:
            pickle.dump(told, pipe)
        sys.stdout.flush()
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not content:
        return -os.WTERMSIG(status), "", 0.0, 0
    told: tuple[int, str, float, int] = pickle.loads(content)
    return told


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def try_mutation(
    target: Target, sound: tuple[Path, Outcome], mutation: Mutation, folder: Path
) -> list[str]:
    """Read a damaged input.

    Args:
        target: the form of the input.
        sound: what `prepare` gave.
        mutation: the damaged file.
        folder: where a copy of the sound inputs is damaged; it must not exist.

    Returns:
        What is wrong with what came of it.
    """
    path, expected = sound
    root = path.parents[len(path.parts) - len(folder.parts) - 1]
    shutil.copytree(root, folder)
    (folder / path.relative_to(root)).write_bytes(mutation.content)
    try:
        return list(_judge(target, path, expected, mutation, read(target, folder)))
    finally:
        shutil.rmtree(folder)


def _judge(
    target: Target, path: Path, expected: Outcome, mutation: Mutation, outcome: Outcome
) -> list[str]:
    faults = []
    told = outcome.text
    names = {path.name, path.stem, re.sub(r"\..*|_MTL", "", path.name)}
    is_named = any(name in told for name in names) or any(
        part.endswith(".SAFE") and part.removesuffix(".SAFE") in told for part in path.parts
    )
    is_bad = bool(_BAD.search(told))
    if outcome.code not in _EXIT_CODES:
        faults.append(f"exit code {outcome.code}")
    if "Traceback (most recent call last)" in told:
        faults.append("traceback")
    if (outcome.code or is_bad) and not is_named:
        faults.append("the message does not name the file")
    is_same = outcome.text == expected.text
    if mutation.is_loss and target.notices_loss and not outcome.code and not is_bad and not is_same:
        faults.append("another result without a word")
    if outcome.seconds > _MAX_SECONDS + expected.seconds:
        faults.append(f"{outcome.seconds:.1f} s")
    if outcome.memory > _MAX_BYTES + expected.memory:
        faults.append(f"{outcome.memory >> 20} MiB")
    return faults and [*faults, told.strip()[-400:]]

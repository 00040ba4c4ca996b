"""A program: carries out a command, and prints what that took of it and of all below it (JSON).

    python -m tests.benchmarks._counted COMMAND [ARGUMENT…]

`answer_s`: seconds to its first line on standard output; `seconds`: to its end; `cpu_s`: of all
cores, also of processes that outlive it, such as the JVM of a driver that has ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

_PR_SET_CHILD_SUBREAPER = 36


def count(
    command: Sequence[object], variables: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Carry out a command in a process of its own, and return what it took.

    Args:
        command: its words; it must print something and end with 0.
        variables: its environment variables; those of this process by default.
    """
    program = [sys.executable, "-m", __name__, *map(str, command)]
    ended = subprocess.run(program, env=variables, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(ended.stdout)
    return figures


def _count(command: list[str]) -> dict[str, float]:
    # Orphans below this process become its own children, and are counted once they are waited for.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.readline()
    answered = time.perf_counter()
    process.stdout.read()
    code = process.wait()
    ended = time.perf_counter()
    assert code == 0 and first, f"{' '.join(command)} ended with {code}"
    while _wait_for_orphan():
        pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    return {"answer_s": answered - start, "seconds": ended - start, "cpu_s": cpu}


def _wait_for_orphan() -> bool:
    try:
        os.wait()
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    print(json.dumps(_count(sys.argv[1:])))

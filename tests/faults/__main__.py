"""python -m tests.faults [CASE…]: injects every fault and prints the table; 1 if one fails.

--keep FOLDER keeps the clean run and what the cases left, and takes the clean run up again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.bench import Bench, Line
from tests.faults.cases import CASES
from tests.helpers import short_jvms, small_world

_COLUMNS = (24, 10, 8, 22, 6)
_HEADER = ("fault", "stage", "store", "work redone", "equal")


def main() -> int:
    """Print a line of the table for every fault, and below it what is wrong."""
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*names, []], help="which (default: all)")
    parser.add_argument("--keep", type=Path, help="a folder that is kept")
    given = parser.parse_args()
    os.environ.setdefault("SPARK_SUBMIT_OPTS", short_jvms.options())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers and commands are ended
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        world, clean = small_world.clean_run(folder)
        print(_format(_HEADER, "passed"), flush=True)
        failed = count = 0
        for case in CASES:
            if given.cases and case.name not in given.cases:
                continue
            start = time.monotonic()
            room = folder / f"{case.name}-{time.time_ns()}"
            bench = Bench(world, clean, room)
            with contextlib.closing(case.lines(bench)) as lines, contextlib.ExitStack() as stack:
                stack.callback(bench.end_all)
                for line in lines:
                    _print_line(line)
                    failed += not line.passed
                    count += 1
            print(f"  ({case.name}: {time.monotonic() - start:.0f} s)", flush=True)
        print(f"{count} lines, {failed} not passed")
    return int(failed > 0)


def _print_line(line: Line) -> None:
    print(_format(_cells(line), "yes" if line.passed else "NO"))
    for text in line.wrong[:6]:
        print(f"    {text[:600]}")
    sys.stdout.flush()


def _cells(line: Line) -> tuple[str, ...]:
    equal = {None: "-", True: "yes", False: "no"}[line.equal]
    return line.fault, line.stage, line.store, line.redone, equal


def _format(cells: tuple[str, ...], passed: str) -> str:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, _COLUMNS, strict=True))
    return "  ".join((*padded, passed))


if __name__ == "__main__":
    sys.exit(main())

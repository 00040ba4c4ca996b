"""A program: a warm session that carries out stages as it is told, line by line (JSON).

    python -m tests.benchmarks._session MASTER

A line asks for stages of a run; the answer tells what they took.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from lulc.config import SessionConf
from lulc.runfile import parse_run
from lulc.spark.context import StageContext
from lulc.spark.pipeline import run_stage
from lulc.spark.session import start_session
from lulc.stages import Selection

_GLANCE_S = 0.2
_DRIVER, _JVM, _WORKER = "driver", "jvm", "worker"


@dataclass(frozen=True)
class Carried:
    """What stages took."""

    seconds: dict[str, float]
    """Stage → by the clock."""
    cpu: dict[str, float]
    """Stage → CPU seconds of all processes of the session."""
    done: dict[str, int]
    """Stage → units of work."""
    memory: dict[str, float]
    """MB held at most meanwhile: of the `driver`, the `jvm`, and the `worker` that held most."""
    start_cpu: float
    """CPU seconds in which the session started."""


class CarryOut(Protocol):
    """Carries out stages of a run, of all tiles or of some."""

    def __call__(
        self, run: dict[str, Any], out: Path, stages: Sequence[str], tiles: Sequence[str] = ()
    ) -> Carried:
        """Return what they took; relative paths of the run are those of `out`'s folder."""


@contextmanager
def warm_session(master: str) -> Iterator[CarryOut]:
    """Start a session in a process of its own, and yield what carries out stages in it."""
    command = [sys.executable, "-m", __name__, master]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:  # type: ignore[call-overload]

        def carry_out(
            run: dict[str, Any], out: Path, stages: Sequence[str], tiles: Sequence[str] = ()
        ) -> Carried:
            # JSON would make texts of the legend's ids.
            asked = {"run": repr(run), "out": str(out), "stages": stages, "tiles": tiles}
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, f"the session ended in {', '.join(stages)}"
            return Carried(**json.loads(answer))

        yield carry_out


def _serve(master: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what stages print
    spark = start_session(SessionConf(master=master, memory="1g"))
    start = _cpu_seconds()
    for line in sys.stdin:
        asked = json.loads(line)
        out = Path(asked["out"])
        config = parse_run(ast.literal_eval(asked["run"]), out.parent)
        context = StageContext(config, out, Selection(tiles=tuple(asked["tiles"])), lambda: spark)
        results, cpu = [], {}
        with _peaks() as memory:
            for stage in asked["stages"]:
                before = _cpu_seconds()
                results.append(run_stage(stage, context))
                cpu[stage] = _cpu_seconds() - before
        assert not any(result.bad for result in results), results
        seconds = {result.stage: result.seconds for result in results}
        done = {result.stage: result.done for result in results}
        answers.write(json.dumps(asdict(Carried(seconds, cpu, done, memory, start))) + "\n")
        answers.flush()
    spark.stop()


def _processes() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def _cpu_seconds() -> float:
    # Of this process and of all below it, the ended ones included.
    seconds = 0.0
    for process in _processes():
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


@contextmanager
def _peaks() -> Iterator[dict[str, float]]:
    # MB that the driver, the JVM and a worker hold at most from now to the end of the block.
    memory = dict.fromkeys((_DRIVER, _JVM, _WORKER), 0.0)
    for process in _processes():
        with suppress(OSError):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # resets VmHWM
    ended = threading.Event()

    def look() -> None:
        for process in _processes():
            with suppress(psutil.NoSuchProcess, OSError):
                kind = _JVM if process.name() == "java" else _WORKER
                kind = _DRIVER if process.pid == os.getpid() else kind
                memory[kind] = max(memory[kind], _peak_mb(process.pid))

    def watch() -> None:
        while not ended.wait(_GLANCE_S):
            look()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield memory
    finally:
        ended.set()
        watching.join()
        look()


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    _serve(sys.argv[1])

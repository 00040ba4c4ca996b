"""`lulc` as a process that is watched, and harmed at a chosen moment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.helpers import small_world

LONGEST_S = 300
_DAEMON = "pyspark.daemon"


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it told on both streams."""

    code: int
    text: str
    seconds: float

    @property
    def last_line(self) -> str:
        """What the user reads last."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


class Running:
    """A command that runs in a process group of its own."""

    def __init__(self, log: Path, *command: object, environment: Mapping[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.started = time.monotonic()
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=file,
                stderr=file,
                env=small_world.environment() | {"PYTHONFAULTHANDLER": "1"} | dict(environment),
                start_new_session=True,
                cwd=log.parent,
            )
        self._daemon: int | None = None

    def text(self) -> str:
        """Return what it has told so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, moment: Callable[[], bool]) -> bool:
        """Return True when the moment has come; False where the command ended before."""
        while self.process.poll() is None:
            if moment():
                return True
            assert time.monotonic() - self.started < LONGEST_S, self.text()[-2000:]
            time.sleep(0.005)
        return False

    def told(self, pattern: str) -> bool:
        """Return whether a line of what it told matches."""
        return re.search(pattern, self.text(), re.MULTILINE) is not None

    def workers(self) -> list[psutil.Process]:
        """Return the Python workers of Spark, those that have used the processor most first."""
        if self._daemon is None or not psutil.pid_exists(self._daemon):
            self._daemon = next((p.pid for p in self.family() if _DAEMON in _command_of(p)), None)
        if self._daemon is None:
            return []
        try:
            workers = psutil.Process(self._daemon).children()
            return sorted(workers, key=_seconds_used, reverse=True)
        except psutil.NoSuchProcess:
            return []

    def family(self) -> list[psutil.Process]:
        """Return the processes that it started."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """Kill the driver alone, as out-of-memory killers do; wait until all it started ends."""
        self.end_with(signal.SIGKILL)

    def end_with(self, number: signal.Signals, group: bool = False) -> Ended:
        """Send a signal to the driver, or to its whole group; wait until all it started ends."""
        family = self.family()
        (os.killpg if group else os.kill)(self.process.pid, number)
        ended = self.end()
        _, left = psutil.wait_procs(family, timeout=60)
        assert not left, f"left running: {[p.cmdline()[:3] for p in left]}"
        return ended

    def end_now(self) -> None:
        """Kill it and all that it started, if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def end(self) -> Ended:
        """Wait for its end."""
        try:
            code = self.process.wait(LONGEST_S)
        finally:
            self.end_now()
        return Ended(code, self.text(), time.monotonic() - self.started)


def environment_of(process: psutil.Process) -> Mapping[str, str]:
    """Return the environment of a process; empty where it has ended."""
    try:
        return process.environ()
    except psutil.NoSuchProcess:
        return {}


def _command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _seconds_used(process: psutil.Process) -> float:
    try:
        return float(process.cpu_times().user)
    except psutil.NoSuchProcess:
        return -1.0

"""A stage that is killed when half of its keys are done, and how many each of its waves has."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from lulc.tables.ledger import read_latest

_LOOK_S = 0.05


def kill_at_half(
    process: subprocess.Popen[Any], out: Path, stage: str, count: int, later_s: float = 0.0
) -> None:
    """Kill a process some seconds after half of a stage's keys are in the ledger.

    Args:
        process: what carries out the stage; all processes below it have ended on return.
        out: its output location.
        stage: the stage.
        count: how many keys the stage has.
        later_s: how far into the wave after that it is killed, in seconds.
    """
    while len(read_latest(out, stage)) < count / 2:
        assert process.poll() is None, f"{stage} ended with code {process.returncode} before half"
        time.sleep(_LOOK_S)
    time.sleep(later_s)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(below, timeout=60)
    assert len(read_latest(out, stage)) < count, f"{stage} was done before it was killed"


def count_by_wave(out: Path, stage: str) -> dict[int, int]:
    """Return how many rows each of the ledger's files has, by its number and in its order."""
    return dict(sorted(Counter(read_latest(out, stage).column("number")).items()))

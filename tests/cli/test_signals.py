"""Signals end a command with a sentence and the code that a shell gives them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

COMMAND = """
import logging, signal, sys, time
from lulc.cli.main import command

def as_spark_does():
    try:
        time.sleep(60)
    finally:
        raise ValueError("the job was cancelled")

def as_py4j_does():
    try:
        time.sleep(60)
    finally:
        try:
            raise ConnectionResetError("by peer")
        except OSError:
            logging.exception("Exception while sending command.")

with command() as outcome:
    print("started", flush=True)
    {wait}
sys.exit(outcome.code)
"""


def started(wait: str, before: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", before + COMMAND.format(wait=wait)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.parametrize("wait", ["time.sleep(60)", "as_spark_does()", "as_py4j_does()"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_says_so(number: signal.Signals, code: int, wait: str) -> None:
    process = started(wait)
    process.send_signal(number)
    _, text = process.communicate()
    assert process.returncode == code
    assert text == "lulc: stopped; finished work is kept; rerun the same command to resume\n"


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    ignore = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    process = started("time.sleep(60)", before=ignore)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143

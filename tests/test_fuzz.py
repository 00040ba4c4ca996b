"""Damaged inputs of every form keep their promises, and the run that tries them sees who does not.

`python -m tests.fuzz` tries many more.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.fuzz.mutations import Mutation
from tests.fuzz.targets import Target
from tests.fuzz.trial import prepare, try_mutation


def test_every_form_of_input_is_held() -> None:
    # In a process of its own: it forks, which one with a JVM or threads must not.
    command = [sys.executable, "-m", "tests.fuzz", "--rounds", "2", "--seed", "26"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


NAMES = Path("names.txt")


def _make(folder: Path) -> Path:
    (folder / NAMES).write_text("water\ntrees\n")
    return folder / NAMES


def _find_faults(folder: Path, use: Callable[[], int], mutation: Mutation) -> list[str]:
    target = Target("names", _make, use, ())
    sound = prepare(target, folder / "sound")
    return try_mutation(target, sound, mutation, folder / "trial")


def test_errors_of_libraries_are_faults(tmp_path: Path) -> None:
    def use() -> int:
        return {b"water\ntrees\n": 0}[NAMES.read_bytes()]

    faults = _find_faults(tmp_path, use, Mutation("changed", b"crops\n"))
    assert faults[:-1] == ["exit code 1", "traceback", "the message does not name the file"]


@pytest.mark.parametrize("is_told", [False, True])
def test_only_a_loss_that_is_told_may_change_the_result(tmp_path: Path, is_told: bool) -> None:
    def use() -> int:
        names = NAMES.read_text().split()
        print(names, *["\nbad names.txt: cut short"] * (is_told and len(names) < 2))
        return 0

    faults = _find_faults(tmp_path, use, Mutation("cut", b"water\n", is_loss=True))
    assert faults[:-1] == ([] if is_told else ["another result without a word"])


def test_what_takes_too_much_is_a_fault(tmp_path: Path) -> None:
    def use() -> int:
        size = 300 << 20 if NAMES.read_bytes() == b"large\n" else 1
        print(len(b"\1" * size) > 0)
        return 0

    faults = _find_faults(tmp_path, use, Mutation("changed", b"large\n"))
    assert [fault.split()[1] for fault in faults[:-1]] == ["MiB"]

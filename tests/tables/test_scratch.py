"""Temporary folders: gone with what is done in them, and after a kill with the next process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lulc.tables import scratch

_KILLED = """
import os, signal
from lulc.tables.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "half").write_bytes(b"half")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
_ALIVE = """
import sys
from lulc.tables.scratch import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    left = Path(killed.stdout.strip())
    assert (left / "half").exists()
    with subprocess.Popen(
        [sys.executable, "-c", _ALIVE],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as alive:
        assert alive.stdin is not None
        assert alive.stdout is not None
        used = Path(alive.stdout.readline().strip())
        monkeypatch.setattr(scratch, "_YOUNG_S", 0.0)
        scratch._remove_ownerless(tmp_path)
        assert not left.exists()
        assert used.exists()
        alive.stdin.close()
    assert list(tmp_path.iterdir()) == []

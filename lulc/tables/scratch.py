"""Temporary folders of this machine's disk, which a process that is killed does not leave for good.

A process has one folder among the temporary files, and a lock on it that ends with the process,
however it ends. Whoever makes the next folder removes those that nobody locks.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_PREFIX = "lulc-scratch-"
_YOUNG_S = 60.0  # a folder that was made just now is not locked yet


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder that is removed at the end."""
    of_process = _process_folder(os.getpid(), tempfile.gettempdir())
    with tempfile.TemporaryDirectory(dir=of_process) as folder:
        yield Path(folder)


@cache
def _process_folder(process: int, parent: str) -> Path:
    _remove_ownerless(Path(parent))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    _lock(folder)  # held until the process ends: nothing closes it
    atexit.register(_remove, folder, process)
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not a fork of it
        shutil.rmtree(folder, ignore_errors=True)


def _remove_ownerless(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if time.time() - folder.stat().st_mtime < _YOUNG_S:
                continue
            handle = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def _lock(folder: Path) -> int:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle

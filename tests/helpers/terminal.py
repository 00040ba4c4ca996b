"""A program at a terminal: keys in, and what it shows out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence

_CODES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[=>]|\][^\x07]*\x07)")


class Terminal:
    """A terminal with a program."""

    def __init__(self, end: int) -> None:
        """Hold this program's end of the terminal."""
        self._end = end
        self.shown = ""

    def type(self, keys: str) -> None:
        """Send keys: `\\r` Enter, `\\t` Tab, `\\x03` Ctrl-C, `\\x04` Ctrl-D."""
        os.write(self._end, keys.encode())

    def wait_for(self, pattern: str, seconds: float = 240) -> str:
        """Return what is shown since the last wait, once it has the pattern.

        Raises:
            TimeoutError: it never has.
        """
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown)):
            ready, _, _ = select.select([self._end], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{pattern} is not shown: {self.shown}")
            try:
                part = os.read(self._end, 1 << 16).decode(errors="replace")
            except OSError:  # the program has ended
                raise TimeoutError(f"{pattern} is not shown: {self.shown}") from None
            self.shown = _CODES.sub("", self.shown + part)
        before, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return before


@contextlib.contextmanager
def at_terminal(
    command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """Run a command at a terminal of 80 × 24 characters; it is killed at the end."""
    end, programs_end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        command,
        stdin=programs_end,
        stdout=programs_end,
        stderr=programs_end,
        preexec_fn=take_terminal,  # noqa: PLW1509 - it takes no lock
        env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **environment},
    )
    os.close(programs_end)
    try:
        yield Terminal(end), process
    finally:
        process.kill()
        process.wait()
        os.close(end)

"""spark-submit as a process, and how the program that it submitted ended."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Literal

type Driver = Literal["here", "pod", "yarn"]
"""Where the driver is started: by spark-submit itself, in a pod, or in a container of YARN."""

_PHASE = re.compile(r"phase: (\w+)")
_EXIT_CODE = re.compile(r"(?:^\s*exit code:|application exited with status) (\d+)")
# Of a driver elsewhere: its name in spark-submit's log, and how its own log is read.
_LOGS = {
    "pod": (re.compile(r"pod name: (\S+)"), "kubectl logs {}"),
    "yarn": (re.compile(r"\b(application_\d+_\d+)\b"), "yarn logs -applicationId {}"),
}


def run_to_end(command: Sequence[str], environment: Mapping[str, str], driver: Driver) -> int:
    """Run spark-submit to its end, its output passed on.

    Where a driver elsewhere fails, how to read its own log is told.

    Args:
        command: the command.
        environment: environment variables.
        driver: where the driver is started. Of a pod spark-submit ends with 0 however the driver
            ended, and of YARN with 1 where it failed: its log alone tells more.

    Returns:
        The exit code of the program that was submitted; 1 where a driver elsewhere is known not to
        have succeeded, and no more.
    """
    if driver == "here":
        return subprocess.run(command, env=environment, check=False).returncode
    name_pattern, log_command = _LOGS[driver]
    patterns = {"name": name_pattern, "phase": _PHASE, "code": _EXIT_CODE}
    newest: dict[str, str] = {}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            sys.stderr.write(line)
            newest |= {word: m[1] for word, p in patterns.items() for m in p.finditer(line)}
    if process.returncode == 0 and (driver == "yarn" or newest.get("phase") == "Succeeded"):
        return 0
    if "name" in newest:
        print(f"lulc: the driver's own log: {log_command.format(newest['name'])}", file=sys.stderr)
    return int(newest.get("code", 0)) or process.returncode or 1

"""spark-submit as a process, and how the program that it submitted ended."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

_PHASE = re.compile(r"phase: (\w+)")
_EXIT_CODE = re.compile(r"^\s*exit code: (\d+)", re.MULTILINE)


def run(command: Sequence[str], environment: Mapping[str, str], is_pod: bool) -> int:
    """Run spark-submit to its end, its output passed on.

    Args:
        command: the command.
        environment: environment variables.
        is_pod: whether Kubernetes starts the driver. spark-submit then ends with 0 however the
            driver ended, which its log alone tells.

    Returns:
        The exit code of the program that was submitted; 1 where a driver's pod is known not to
        have succeeded, and no more.
    """
    if not is_pod:
        return subprocess.run(command, env=environment, check=False).returncode
    phase, exit_code = "", 0
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            sys.stderr.write(line)
            phase = found[-1] if (found := _PHASE.findall(line)) else phase
            exit_code = int(found[-1]) if (found := _EXIT_CODE.findall(line)) else exit_code
    if process.returncode or phase == "Succeeded":
        return process.returncode
    return exit_code or 1

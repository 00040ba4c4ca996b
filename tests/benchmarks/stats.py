"""stats: what planning costs that reads 79,000 prediction files, against Spark's own reader."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

_FILES = 79_000
_COMPARED = 5_000  # Spark's reader takes minutes for more


def measure(quick: bool) -> dict[str, float]:
    """Figures by name.

    stats.plan: CPU seconds of the driver and its JVM until tasks may read, by paths ÷ by a
    manifest, of 5,000 files; stats.files.<figure>: those of planning 79,000 by a manifest.
    """
    compared, files = (400, 800) if quick else (_COMPARED, _FILES)
    with tempfile.TemporaryDirectory() as folder:
        _run("make", compared, folder)
        paths, manifest = (_run(how, compared, folder) for how in ("paths", "manifest"))
    figures = {"stats.plan": _planning(paths) / _planning(manifest)}
    with tempfile.TemporaryDirectory() as folder:
        _run("make", files, folder)
        many = _run("plan", files, folder)
    return figures | {f"stats.files.{name}": value for name, value in many.items()}


def _planning(figures: dict[str, float]) -> float:
    return figures["plan_cpu_s"] + figures["plan_jvm_s"]


def _run(how: str, count: int, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks._reading", how, str(count), folder]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(ran.stdout or "{}")
    return figures

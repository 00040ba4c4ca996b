"""plan: what the driver takes to plan a continent's blocks and samples, and a task to begin."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from typing import Any

SCENES = "LULC_PLAN_SCENES"
"""Environment variable: numbers of scenes to plan in place of the usual ones, by commas."""


def measure(quick: bool) -> dict[str, float]:
    """Figures by name, of made-up Sentinel-2-like scenes over Africa, blocks of 20.48 km.

    plan.cpu: CPU seconds of the driver for the most scenes; plan.rss: GB that it holds at most;
    plan.jvm: GB of its JVM, which joins footprints and blocks.
    plan.cpu.exponent, plan.rss.exponent: growth of both from the second most scenes to the most.
    plan.windows.cpu, plan.windows.rss: CPU seconds and GB of the driver for the samples of 18
    million label windows, with what tasks tell of them made up.
    plan.task.read: MB of tables that a task reads at most; plan.task.held: MB that it holds so.
    """
    usual = "100,1000" if quick else "1000,10000,145000"
    counts = [int(count) for count in os.environ.get(SCENES, usual).split(",")]
    measured = [_measure(count) for count in counts]
    *_, before, last = [measured[0], *measured]
    figures = {
        "plan.cpu": last["cpu_s"],
        "plan.rss": last["rss_gb"],
        "plan.jvm": last["jvm_rss_gb"],
        "plan.task.read": last["task_mb"],
        "plan.task.held": last["task_rss_mb"],
    }
    if len(counts) > 1:
        ratio = math.log(last["scenes"] / before["scenes"])
        for name, key in (("plan.cpu", "cpu_s"), ("plan.rss", "rss_gb")):
            figures[f"{name}.exponent"] = math.log(last[key] / before[key]) / ratio
    with tempfile.TemporaryDirectory() as folder:
        windows = _run("_windows", str(100_000 if quick else 18_000_000), folder)
    print(json.dumps(windows), flush=True)
    return figures | {
        "plan.windows.cpu": windows["windows_cpu_s"],
        "plan.windows.rss": windows["windows_rss_gb"],
    }


def _measure(scenes: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = {}
        for what in ("make", "plan", "task"):
            figures |= _run("_planning", what, str(scenes), folder)
    print(json.dumps(figures), flush=True)
    return figures


def _run(program: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"tests.benchmarks.{program}", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return figures

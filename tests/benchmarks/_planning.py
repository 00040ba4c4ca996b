"""A program: plans the tile stage of made-up scenes and prints what it took (JSON).

    python -m tests.benchmarks._planning make|plan|task SCENES FOLDER

`make` writes the scenes table, `plan` plans blocks of it and keeps some, `task` does what tile
tasks do with these before they read a pixel.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from lulc import runfile
from lulc.chips import blocks
from lulc.config import SessionConf
from lulc.sources.indexing.scenes_file import write_scenes
from lulc.sources.scenes_table import read_scenes
from lulc.spark.context import StageContext
from lulc.spark.incremental import StageWork
from lulc.spark.session import start_session
from lulc.spark.stages import tile
from lulc.stages import Selection
from tests.helpers.continent import make_scenes

RUN = {
    "name": "africa",
    "scenes": [{"path": "archive"}],
    "bands": ["blue", "green", "red", "nir"],
    "legend": {1: {"name": "a", "colour": "#000000"}},
    "tiling": {"crs": "ESRI:102022", "resolution": 10, "size": 512, "halo": 32, "block": 4},
    "periods": [{"name": "2020", "start": "2020-01-01", "end": "2020-12-31"}],
}
_TASKS = 64


def plan(scenes: int, out: Path) -> dict[str, Any]:
    """Return what planning took: CPU seconds and peak memory of the driver and its JVM."""
    spark = start_session(SessionConf(master="local[2]"))
    (jvm,) = [p for p in psutil.Process().children(recursive=True) if p.name() == "java"]
    context = StageContext(runfile.parse_run(RUN, out), out, Selection(), lambda: spark)
    before, start = (time.process_time(), _cpu_seconds(jvm)), time.monotonic()
    with patch.object(tile, "run_incremental", _plan_only):
        units: Any = tile.tile(context)
    figures = {
        "scenes": scenes,
        "blocks": len(units),
        "clock_s": time.monotonic() - start,
        "cpu_s": time.process_time() - before[0],
        "jvm_cpu_s": _cpu_seconds(jvm) - before[1],
        "rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "jvm_rss_gb": _peak(jvm.pid) / 2**20,
    }
    spark.stop()
    some = [unit.task for unit in units[:: max(1, len(units) // _TASKS)]]
    (out / "tasks.json").write_text(json.dumps(some))
    return figures


def do_tasks(out: Path) -> dict[str, Any]:
    """Return what tile tasks read of tables, and hold of them, at most."""
    tasks = json.loads((out / "tasks.json").read_text())
    before, read, scenes = psutil.Process().memory_info().rss, [], []
    for task in tasks:
        start = _bytes_read()
        scenes.append(len(read_scenes(out, blocks.rows_of(task))))
        read.append(_bytes_read() - start)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before / 2**20
    return {"task_mb": max(read) / 1e6, "task_rss_mb": held, "task_scenes": max(scenes)}


def _plan_only(_: StageContext, work: StageWork) -> Any:
    return work.plan({})


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak(pid: int) -> int:
    # KiB of memory that a process held at most.
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


if __name__ == "__main__":
    what, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if what == "make":
        write_scenes(folder, make_scenes(count).to_batches)
        print("{}")
    else:
        print(json.dumps(plan(count, folder) if what == "plan" else do_tasks(folder)))

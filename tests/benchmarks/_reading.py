"""A program: reads what `stats` plans by of many prediction files, and prints what it took (JSON).

    python -m tests.benchmarks._reading make|plan|manifest|paths FILES FOLDER

`make` writes the files, `manifest` reads them as `stats` does, `paths` as Spark's reader does that
is given their paths; `plan` ends where `manifest` would begin to read.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from lulc.config import SessionConf
from lulc.geo.tiling import Tiling
from lulc.spark.areas.measure import TILE_COLUMNS
from lulc.spark.parquet import read_files
from lulc.spark.session import start_session
from lulc.tables import layout, schemas
from lulc.tables.layout import BlockKey
from tests.helpers.synthetic_predictions import random_tile, write_block

_TILING = Tiling("t", "EPSG:6933", 10.0, 8)
_ORIGINALS = 20  # files that all others are links to


def make(count: int, out: Path) -> None:
    """Write blocks of 16 small tiles, as many a folder as a map has."""
    rng = np.random.default_rng(0)
    cells = [(col, row) for col in range(4) for row in range(4)]
    rows = [random_tile(rng, _TILING.grid(*cell), _TILING.tile_id(*cell)) for cell in cells]
    originals = [write_block(out, rows, f"{number}") for number in range(_ORIGINALS)]
    for number in range(count):
        row, col = divmod(number, round(count**0.5))
        key = BlockKey("p", "t", 4 * col, 4 * row)
        link = out / layout.block_file("predictions", key, "f")
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(originals[number % _ORIGINALS], link)


def read(how: str, out: Path) -> dict[str, float]:
    """Return what planning and reading took of the driver, its JVM, and the clock."""
    spark = start_session(SessionConf(master="local[2]"))
    spark.range(1).count()
    (jvm,) = [p for p in psutil.Process().children(recursive=True) if p.name() == "java"]
    files = sorted(path for path in (out / layout.table("predictions")).rglob("*.parquet"))
    start, cpu, jvm_cpu = time.monotonic(), time.process_time(), _cpu_seconds(jvm)
    if how != "paths":
        places = [file.relative_to(out).as_posix() for file in files]
        columns = ("place", "row_index", *TILE_COLUMNS)
        frame = read_files(spark, out, places, schemas.PREDICTIONS, columns)
    else:
        frame = spark.read.parquet(*map(str, files)).select(*TILE_COLUMNS)
    planned = {"plan_cpu_s": time.process_time() - cpu, "plan_jvm_s": _cpu_seconds(jvm) - jvm_cpu}
    planned["plan_clock_s"] = time.monotonic() - start
    if how != "plan":
        rows = frame.groupBy("period").count().collect()[0]["count"]
        if rows != 16 * len(files):
            raise AssertionError(f"{rows} rows of {len(files)} files")
    figures = {
        **planned,
        "cpu_s": time.process_time() - cpu,
        "jvm_s": _cpu_seconds(jvm) - jvm_cpu,
        "clock_s": time.monotonic() - start,
        "rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "jvm_rss_gb": jvm.memory_info().rss / 2**30,
    }
    spark.stop()
    return figures


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    wanted, number, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if wanted == "make":
        make(number, folder)
    else:
        print(json.dumps(read(wanted, folder)))

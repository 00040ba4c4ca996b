"""restart: a continent's keys through the runner, without pixels; killed at half, and run again."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from lulc.runfile import parse_run
from lulc.spark.context import StageContext
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.pipeline import stage_context
from lulc.spark.workers import map_units
from lulc.stages import Selection
from lulc.tables.ledger import LedgerRow, read_latest
from tests.benchmarks._killing import count_by_wave, kill_at_half

_KEYS = 79_000  # blocks of Africa at 10 m
_INTO_WAVE_S = 5.0  # a wave takes some twenty
_SETTINGS = {
    "name": "keys",
    "scenes": [{"path": "x"}],
    "bands": ["red"],
    "legend": {1: {"name": "a", "colour": "#000000"}},
    "predict": {"model": "m"},
    "spark": {"master": "local[2]", "memory": "1g"},
}


def measure(quick: bool) -> dict[str, float]:
    """Figures by name, of keys that are empty blocks: each a ledger row, and no more.

    restart.key: milliseconds a key of a whole run on two cores, by the clock; restart.key.cpu: of
    all cores. restart.hours: of the whole run.
    restart.redone: keys done twice where the driver is killed at half ÷ keys of the longest wave.
    restart.start: seconds from the command that runs again to the first key done.
    """
    # So few that half of them are done a wave before the last.
    count = 2_000 if quick else _KEYS
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        whole = json.loads(_carry_out(folder / "whole", count))
        out = folder / "killed"
        killed = subprocess.Popen(_command(out, count), stdout=subprocess.DEVNULL)
        kill_at_half(killed, out, "tile", count, 0.0 if quick else _INTO_WAVE_S)
        recorded = max(count_by_wave(out, "tile"))
        start = time.time()
        _carry_out(out, count)
        rows = read_latest(out, "tile")
        assert len(rows) == count + 1
        first = min(row.finished.timestamp() for row in rows.records() if row.number > recorded)
        waves = count_by_wave(folder / "whole", "tile")
        return {
            "restart.key": 1e3 * whole["seconds"] / count,
            "restart.key.cpu": 1e3 * whole["cpu"] / count,
            "restart.hours": whole["seconds"] / 3600,
            "restart.waves": len(waves),
            "restart.redone": (_touched(out) - count) / max(waves.values()),
            "restart.start": first - start,
        }


def _command(out: Path, count: int) -> list[str]:
    return [sys.executable, "-m", __name__, str(out), str(count)]


def _carry_out(out: Path, count: int) -> str:
    ended = subprocess.run(_command(out, count), check=True, stdout=subprocess.PIPE, text=True)
    return ended.stdout


def _touched(out: Path) -> int:
    return sum(file.stat().st_size for file in out.with_suffix(".done").iterdir())


def _do_nothing(key: Mapping[str, Any], folder: Path) -> list[LedgerRow]:
    # One byte says that the key was done, whoever may be killed.
    with (folder / str(os.getpid())).open("ab", buffering=0) as file:
        file.write(b"x")
    return [LedgerRow("tile", key["key"], key["fingerprint"], "empty", seconds=0.0)]


def _units(count: int) -> list[Unit]:
    keys = [f"2024/6933-10m-512/{4 * (n % 300)}_{4 * (n // 300)}" for n in range(count)]
    tasks = [{"key": key, "fingerprint": f"{n:016x}"} for n, key in enumerate(keys)]
    return [Unit(t["key"], t["fingerprint"], task=t) for t in tasks]


def _run(out: Path, count: int) -> None:
    done = out.with_suffix(".done")
    done.mkdir(exist_ok=True)
    start = time.monotonic()
    config = parse_run(_SETTINGS, out.parent)
    with stage_context(config, out, Selection(), "tile") as context, _cpu_of_all() as cpu:
        run_incremental(context, _work(context, count, done))
        seconds = time.monotonic() - start
    print(json.dumps({"seconds": seconds, "cpu": cpu[0]}))


def _work(context: StageContext, count: int, done: Path) -> StageWork:
    units = _units(count)

    def work(todo: Sequence[Unit]) -> Iterator[list[LedgerRow]]:
        return map_units(context, [u.task for u in todo], partial(_do_nothing, folder=done), "keys")

    return StageWork("tile", "f", lambda bad: units, work, table="chips")  # noqa: ARG005


@contextlib.contextmanager
def _cpu_of_all() -> Iterator[list[float]]:
    # CPU seconds of this process and of all below it, the ended ones included.
    seconds: list[float] = []
    yield seconds
    this = psutil.Process()
    times = [process.cpu_times() for process in (this, *this.children(recursive=True))]
    seconds.append(sum(t.user + t.system + t.children_user + t.children_system for t in times))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    _run(given.out, given.count)

"""scale.*: time and memory of the tile and predict jobs as the area and the cores grow."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lulc.chips.tiling import make_tiling
from lulc.models.package import LOCAL
from lulc.runfile import parse_run
from lulc.sources.scene import scenes_to_table
from lulc.tables import layout, ledger, store
from tests.benchmarks import infer, tile
from tests.benchmarks._session import Carried, CarryOut, warm_session

AREA = 8
"""Blocks of the smallest area, A."""


@dataclass(frozen=True)
class _Job:
    """A stage on blocks, and a bare process that does the like."""

    stage: str
    table: str
    run: dict[str, Any]
    out: Path
    blocks: list[list[str]]
    """Tiles of each block."""
    bare: Callable[[int], Any]
    """A picklable piece of work, given the number of the process."""

    def carry_out(self, session: CarryOut, count: int) -> Carried:
        """Do so many blocks anew."""
        shutil.rmtree(self.out / layout.table(self.table), ignore_errors=True)
        tiles = [name for block in self.blocks[:count] for name in block]
        carried = session(self.run, self.out, [self.stage], tiles)
        assert carried.done[self.stage] == count, (carried, count)
        return carried

    def seconds(self, session: CarryOut, count: int) -> float:
        """By the clock, of so many blocks done anew."""
        return self.carry_out(session, count).seconds[self.stage]

    def start(self, session: CarryOut) -> float:
        """What one block takes but for the block itself."""
        seconds = self.seconds(session, 1)
        rows = ledger.read_latest(self.out, self.stage).records()
        newest = max((row for row in rows if row.path), key=lambda row: row.number)
        return seconds - float(newest.seconds or 0.0)


def measure(quick: bool) -> dict[str, float]:
    """Figures by name, of jobs `tile` and `predict`, on areas A of 8 blocks of 1024 pixels.

    scale.area.JOB: T(4A) ÷ T(A), both less the fixed start; scale.start.JOB: that start, seconds.
    scale.memory.JOB: peak memory of 8A ÷ of A, of the driver or of a worker, the larger ratio;
    scale.memory.JOB.jvm: of the JVM, which collects when its heap is full.
    scale.cores.JOB: speed-up from one core to two ÷ that of bare processes that do the like.
    """
    figures: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory() as name,
        warm_session("local[2,3]") as two,
        warm_session("local[1,3]") as one,
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
    ):
        for job in (_make_tile(Path(name) / "t", quick), _make_predict(Path(name) / "p", quick)):
            figures |= _grow(job, two, quick)
            figures[f"scale.cores.{job.stage}"] = _cores(job, one, two, pool, quick)
    return figures


def _grow(job: _Job, session: CarryOut, quick: bool) -> dict[str, float]:
    job.carry_out(session, 2)  # warm
    least = job.carry_out(session, AREA)
    most = job.carry_out(session, 8 * AREA)
    rounds = [
        [job.start(session), job.seconds(session, AREA), job.seconds(session, 4 * AREA)]
        for _ in range(1 if quick else 2)
    ]
    start, small, large = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(json.dumps({f"{job.stage} start, A and 4A s": rounds}), flush=True)
    memory = {name: most.memory[name] / least.memory[name] for name in most.memory}
    return {
        f"scale.area.{job.stage}": (large - start) / (small - start),
        f"scale.start.{job.stage}": start,
        f"scale.memory.{job.stage}": max(memory["driver"], memory["worker"]),
        f"scale.memory.{job.stage}.jvm": memory["jvm"],
    }


def _cores(
    job: _Job, one: CarryOut, two: CarryOut, pool: ProcessPoolExecutor, quick: bool
) -> float:
    job.carry_out(one, 2)  # warm
    list(pool.map(job.bare, range(2)))
    ours, theirs = [], []
    for _ in range(1 if quick else 2):
        ours.append(job.seconds(one, 2 * AREA) / job.seconds(two, 2 * AREA))
        alone = _seconds(lambda: list(pool.map(job.bare, range(1))))
        theirs.append(2 * alone / _seconds(lambda: list(pool.map(job.bare, range(2)))))
    print(json.dumps({f"{job.stage} speed-up": ours, "bare": theirs}), flush=True)
    return statistics.median(ours) / statistics.median(theirs)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _make_tile(folder: Path, quick: bool) -> _Job:
    folder.mkdir()
    dates, scene = (1 if quick else 4), tile.make_scene(folder, 5632 if quick else 10980)
    days = [datetime(2024, 6, day, tzinfo=UTC) for day in range(1, 1 + dates)]
    scenes = [replace(scene, scene_id=f"s{day.day}", datetime=day) for day in days]
    run = {
        "name": "scale",
        "scenes": [{"path": "archive"}],
        "bands": tile.BANDS,
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "periods": [{"name": "2024", "start": "2024-01-01", "end": "2024-12-31"}],
        "dates": dates,
        "tiling": {"crs": tile.CRS, "resolution": 10, "size": 512, "block": 1 if quick else 2},
    }
    out = folder / "out"
    store.write_table(out, "scenes", scenes_to_table(scenes))
    tiling, span = make_tiling(parse_run(run, folder)), run["tiling"]["block"]  # type: ignore[index]
    corners = [(x // 512, y // 512) for x, y in tile.inner_windows(scene, 512 * span)]
    cells = [(i, j) for i in range(span) for j in range(span)]
    blocks = [[tiling.tile_id(col + i, row + j) for i, j in cells] for col, row in corners]
    assert len(blocks) >= 8 * AREA, len(blocks)
    whole = tile.inner_windows(scene, 2048)[: 1 if quick else 4]
    bare = partial(_warp, scene.bands[0].href, whole, folder)
    return _Job("tile", "chips", run, out, blocks, bare)


def _warp(href: str, windows: list[tuple[int, int]], folder: Path, number: int) -> None:
    tile.warp_bare((href, windows, 2048, str(folder / f"bare{number}.parquet")))


def _make_predict(folder: Path, quick: bool) -> _Job:
    folder.mkdir()
    out = folder / "out"
    run = infer.RUN | {"tiling": {"size": 256 if quick else 512, "block": 2}}
    config = parse_run(run, folder)
    side = config.tiling.size * config.tiling.block
    model = infer.learn(out / layout.model_folder(config.name, LOCAL), 0)
    keys = infer.write_blocks(out, config, side, 8 * AREA)
    blocks = [[key["key"].partition("/")[2]] for key in keys]
    bare = partial(_forward, model, 2 if quick else 8)
    return _Job("predict", "predictions", run, out, blocks, bare)


def _forward(model: Path, count: int, _: int) -> None:
    infer.run_bare(model, count)

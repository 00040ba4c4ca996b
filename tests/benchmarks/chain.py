"""chain: a whole run in a warm session, against bare loops over the same pixels."""

from __future__ import annotations

import json
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lulc.runfile import parse_run
from lulc.stages import stages_of
from lulc.tables import layout
from tests.benchmarks._bare_training import train
from tests.benchmarks._floors import do_parts
from tests.benchmarks._part import split_map
from tests.benchmarks._session import CarryOut, warm_session
from tests.benchmarks._world import make_large_world, run_of
from tests.helpers.small_world import World, make_world

_TINY = {"depth": 3, "decoder": [8, 8, 8], "epochs": 1, "batch": 8}


def measure(quick: bool) -> dict[str, float]:
    """Figures by name, of the made-up world: three cloudy dates, samples, a U-Net, two regions.

    chain: seconds of all stages in a warm session on two cores ÷ those of bare loops, two processes
    for what is divided by pixels and one of two threads for the training, in turns.
    chain.start: seconds of the same stages on a world of 0.1 million pixels with a tiny network,
    which is their fixed start; chain.pixels: chain less this start. chain.STAGE: a stage alone ÷
    its loops.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        warm_session("local[2,3]") as carry_out,
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
    ):
        large = make_large_world(Path(name) / "large", quick)
        small = make_world(Path(name) / "small")
        chains, floors, starts = [], [], []
        tiny = run_of(small) | {"train": _TINY}
        _carry_out(carry_out, small, tiny, "warm")
        for number in range(1 if quick else 2):
            starts.append(_carry_out(carry_out, small, tiny, f"out{number}"))
            chains.append(_carry_out(carry_out, large, run_of(large), f"out{number}"))
            floors.append(_floor(large, large.run.parent / f"out{number}", pool))
        print(json.dumps({"chain": chains, "floor": floors, "start": starts}), flush=True)
    start = statistics.median(sum(seconds.values()) for seconds in starts)
    took, floor = (_medians(rounds) for rounds in (chains, floors))
    whole = sum(floor.values())
    return {
        "chain": sum(took.values()) / whole,
        "chain.pixels": (sum(took.values()) - start) / whole,
        "chain.start": start,
        **{f"chain.{stage}": took[stage] / floor[stage] for stage in floor if floor[stage]},
    }


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(times[name] for times in rounds) for name in rounds[0]}


def _carry_out(
    carry_out: CarryOut, world: World, run: dict[str, Any], name: str
) -> dict[str, float]:
    out = world.run.parent / name
    stages = stages_of(parse_run(run, out.parent))
    return carry_out(run, out, stages).seconds


def _floor(world: World, out: Path, pool: ProcessPoolExecutor) -> dict[str, float]:
    # Seconds of the bare loops by stage: those of the slower process.
    config = parse_run(run_of(world), out.parent)
    parts = split_map(out.parent, config, out)
    samples = out / layout.table("samples")
    trained = pool.submit(train, samples, parts[0], config, 2).result()
    done = do_parts(pool, parts)
    slowest = max(done, key=lambda seconds: sum(seconds.values()))
    return {**slowest, "train": trained}

"""A program: one of two ranks that train.

`fit` trains two epochs and prints the seconds of the second. `turns` trains with the other rank
and alone in turns, and prints the seconds of each (JSON).
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist

from lulc.config import TrainConf
from lulc.legend import LandClass, Legend
from lulc.training import distributed, fit, setup
from lulc.training.distributed import World
from lulc.training.loader import SampleCache
from lulc.training.setup import TrainJob, TrainState

LEGEND = Legend("bench", tuple(LandClass(i, f"class {i}", "#888888") for i in range(9)))

BATCH = 8
"""Samples a step and process."""


def make_job(samples: Path, folder: Path) -> TrainJob:
    """Two epochs of the default U-Net on two ranks, long enough that what is written is nothing."""
    return TrainJob(
        TrainConf(batch=2 * BATCH, epochs=2, repeats=4, ema=0.9), LEGEND, samples, folder
    )


def take_turns(job: TrainJob, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each round over as many samples: with the other rank, and alone."""
    world = distributed.join_ranks()
    kept = SampleCache(job.cache_bytes)
    statistics = setup.measure(job, setup.plan_splits(job, 2)[0], world, kept)

    def build(batch: int, repeats: int, where: World) -> TrainState:
        own = replace(
            job, train=replace(job.train, batch=batch, repeats=repeats, epochs=1 + rounds)
        )
        return setup.build_state(own, where, setup.plan_splits(own, where.size), statistics, kept)

    # Ranks share the samples of an epoch, by itself a process sees all.
    both = build(2 * BATCH, 2, world), build(BATCH, 1, World(0, 1, world.device))
    durations: tuple[list[float], list[float]] = [], []
    for epoch in range(1, 2 + rounds):
        for one, seconds in zip(both, durations, strict=True):
            dist.barrier()
            start = time.perf_counter()
            fit._train_epoch(one, epoch)
            seconds.append(time.perf_counter() - start)
    return durations[0][1:], durations[1][1:]


if __name__ == "__main__":
    job = make_job(Path(sys.argv[2]), Path(sys.argv[3]))
    if sys.argv[1] == "fit":
        print(fit.fit(job).history[-1]["seconds"])
    else:
        print(json.dumps(take_turns(job, int(sys.argv[4]))))

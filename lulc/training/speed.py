"""How long a step of training takes on this machine."""

from __future__ import annotations

import time

import numpy as np
import torch

from lulc.training import loader
from lulc.training.distributed import World
from lulc.training.fit import update
from lulc.training.loader import EpochPlan, Layout, SampleBatch, StoredArray
from lulc.training.setup import SampleStatistics, TrainJob, build_state, prepare

_PIXELS = 300_000
"""Of a step; more would take long, and each costs the same."""
_STEPS = 2


def train_ns(job: TrainJob, bands: int, dates: int, side: int) -> float:
    """Return nanoseconds of CPU time to train on a pixel, on one thread.

    Several threads wait for each other, and so take more the busier the machine is.

    Args:
        job: the training; its samples and folder are not touched.
        bands: of a sample.
        dates: of a sample.
        side: of a sample in pixels.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _time_steps(job, (dates, bands, side, side))
    finally:
        torch.set_num_threads(threads)


def _time_steps(job: TrainJob, shape: tuple[int, int, int, int]) -> float:
    dates, bands, _, side = shape
    count = max(1, min(job.train.batch, _PIXELS // (job.train.crop or side) ** 2))
    label = (side, side) if job.task.kind == "pixels" else ()
    layout = Layout(
        job.task_name,
        tuple(f"b{number}" for number in range(bands)),
        (1.0,) * bands,
        (0.0,) * bands,
        StoredArray(shape, "uint16", "raw"),
        StoredArray(label, "uint8", "raw"),
    )
    classes = len(job.legend.classes)
    statistics = SampleStatistics((2000.0,) * bands, (700.0,) * bands, (1.0,) * classes)
    alone = World(0, 1, torch.device("cpu"))
    plans = (EpochPlan((), layout, 1, count), None)
    state = build_state(job, alone, plans, statistics, loader.SampleCache(0))
    state.net.train()
    rng = np.random.default_rng(0)
    ids = np.array(job.legend.ids, np.uint8)
    batch = SampleBatch(
        rng.integers(1000, 3000, (count, *shape)).astype(np.uint16),
        np.ones((count, dates, side, side), bool),
        np.ones((count, dates), np.int64),
        rng.choice(ids, (count, *label)),
        np.ones(count),
        ("",) * count,
    )
    seconds = []
    for step in range(_STEPS + 1):
        start = time.process_time()
        samples = prepare(state, batch, (0, 1, step, 0))
        update(state, (samples,))
        seconds.append(time.process_time() - start)
    return min(seconds[1:]) / samples.pixels[:, 0, 0].numel() * 1e9

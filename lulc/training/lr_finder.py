"""The learning-rate finder: one short pass with a rising rate (Smith 2017, arXiv:1506.01186)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from lulc.errors import UsageError
from lulc.location import Location
from lulc.tables import files
from lulc.training import loader
from lulc.training.distributed import join_ranks
from lulc.training.fit import update
from lulc.training.setup import (
    TrainJob,
    TrainState,
    build_state,
    measure,
    plan_splits,
    prepare,
)

LOWEST, HIGHEST = 1e-6, 1.0
_SMOOTHING = 0.9
# A loss so many times the smallest one ends the pass: at higher rates training diverges.
_DIVERGED = 3.0


def try_rates(job: TrainJob, steps: int = 100) -> list[tuple[float, float]]:
    """Train for up to so many steps at rates that rise evenly in their logarithm.

    The job's checkpoint is neither read nor written.

    Returns:
        (rate, smoothed loss) of every step; fewer than `steps` where the loss diverges.

    Raises:
        UsageError: the model is of trees.
    """
    if job.model.is_trees:
        raise UsageError(
            f"a rate is found for networks, and {job.model.name} is of trees: try some values of "
            "train.trees.rate by `lulc tune`"
        )
    world = join_ranks()
    plan, _ = plan_splits(job, world.size)
    cache = loader.SampleCache(job.cache_bytes)
    statistics = measure(job, plan, world, cache)
    state = build_state(job, world, (plan, None), statistics, cache, begins=True)
    state.net.train()
    batches = itertools.islice(_endless_batches(state), steps)
    curve: list[tuple[float, float]] = []
    average, lowest = 0.0, np.inf
    rates = np.geomspace(LOWEST, HIGHEST, steps)
    for step, (batch, rate) in enumerate(zip(batches, rates, strict=True)):
        for parameters in state.optimizer.param_groups:
            parameters["lr"] = rate * parameters["share"]
        samples = prepare(state, batch, (job.train.seed, 0, step, 0))
        total, counted = update(state, (samples,)).tolist()
        average = _SMOOTHING * average + (1 - _SMOOTHING) * total / counted
        loss = average / (1 - _SMOOTHING ** (step + 1))
        if not np.isfinite(loss) or (step > steps // 10 and loss > _DIVERGED * lowest):
            break
        lowest = min(lowest, loss)
        curve.append((float(rate), loss))
    return curve


def _endless_batches(state: TrainState) -> Iterator[loader.SampleBatch]:
    for epoch in itertools.count():
        yield from loader.batches(state.plan, 0, epoch, state.job.train.seed, cache=state.cache)


def suggest(curve: Sequence[tuple[float, float]]) -> float:
    """Return the rate at which the loss falls fastest, before its minimum.

    Args:
        curve: (rate, smoothed loss) of every step, as `try_rates` returns them.
    """
    rates, losses = np.array(curve).T
    end = max(int(losses.argmin()) + 1, 3)
    return float(rates[np.gradient(losses[:end], np.log(rates[:end])).argmin()])


def draw_rates(curve: Sequence[tuple[float, float]], path: Location) -> Location:
    """Draw the losses over the rates, with the suggested rate marked.

    Args:
        curve: (rate, smoothed loss) of every step, as `try_rates` returns them.
        path: of the picture.

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.subplots()
    axis.semilogx(*np.array(curve).T)
    rate = suggest(curve)
    axis.axvline(rate, color="#c4281b", linestyle="--", label=f"falls fastest at {rate:.1e}")
    axis.set(xlabel="learning rate", ylabel="loss, smoothed")
    axis.legend()
    files.write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=120))
    return path

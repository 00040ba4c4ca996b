"""The learning-rate finder: one short pass in which the rate rises from step to step (Smith 2017, arXiv:1506.01186)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lulc.training import loader
from lulc.training.distributed import join_ranks
from lulc.training.fit import update
from lulc.training.setup import TrainJob, build_state, measure, plans, prepare

LOWEST, HIGHEST = 1e-6, 1.0
_SMOOTH = 0.9
# Losses so many times the least one end the pass: beyond there is nothing to learn.
_TOO_MUCH = 3.0


def try_rates(job: TrainJob, steps: int = 100) -> list[tuple[float, float]]:
    """(rate, smoothed loss) of up to so many steps, whose rate rises evenly in its logarithm; ends early where the loss explodes.

    The job's checkpoint is neither read nor written.
    """
    world = join_ranks()
    learn, _ = plans(job, world.size)
    kept = loader.Kept(job.cache)
    learner = build_state(job, world, (learn, None), measure(job, learn, world, kept), kept)
    learner.net.train()
    passes = (
        loader.batches(learner.plan, 0, number, job.train.seed, kept=kept)
        for number in itertools.count()
    )
    batches = itertools.islice(itertools.chain.from_iterable(passes), steps)
    found: list[tuple[float, float]] = []
    average, least = 0.0, np.inf
    for step, (batch, rate) in enumerate(
        zip(batches, np.geomspace(LOWEST, HIGHEST, steps), strict=True)
    ):
        for parameters in learner.optimizer.param_groups:
            parameters["lr"] = rate * parameters["share"]
        total, counted = update(
            learner, (prepare(learner, batch, (job.train.seed, 0, step, 0)),)
        ).tolist()
        average = _SMOOTH * average + (1 - _SMOOTH) * total / counted
        loss = average / (1 - _SMOOTH ** (step + 1))
        if not np.isfinite(loss) or (step > steps // 10 and loss > _TOO_MUCH * least):
            break
        least = min(least, loss)
        found.append((float(rate), loss))
    return found


def suggest(found: Sequence[tuple[float, float]]) -> float:
    """The rate at which the smoothed loss falls fastest, before its least value."""
    rates, losses = np.array(found).T
    upto = max(int(losses.argmin()) + 1, 3)
    return float(rates[np.gradient(losses[:upto], np.log(rates[:upto])).argmin()])


def draw_rates(found: Sequence[tuple[float, float]], path: Path) -> Path:
    """A picture of the losses over the rates, with the suggested one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.subplots()
    axis.semilogx(*np.array(found).T)
    chosen = suggest(found)
    axis.axvline(chosen, color="#c4281b", linestyle="--", label=f"falls fastest at {chosen:.1e}")
    axis.set(xlabel="learning rate", ylabel="loss, smoothed")
    axis.legend()
    figure.savefig(path, dpi=120)
    return path

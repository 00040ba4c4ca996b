"""A program: one rank that trains a network without batch norm and prints each step's loss (JSON).

Arguments: SAMPLES FOLDER MEMORY, the folder in which the ranks' shared memory is made; whether they
used it is printed too. The environment gives the ranks (RANK, WORLD_SIZE, …).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

from torch import Tensor

from lulc.config import TrainConf
from lulc.models.tasks.task import Batch
from lulc.training import distributed, fit
from lulc.training.setup import TrainJob, TrainState
from tests.helpers import tiny_samples as toy


def learn(samples: Path, folder: Path) -> list[float]:
    """Train, and return every step's loss over all ranks."""
    losses, plain = [], fit.update

    def update(state: TrainState, batches: tuple[Batch, ...]) -> Tensor:
        sums = plain(state, batches)
        total, counted = state.world.sum(sums.clone()).tolist()
        losses.append(total / counted)
        return sums

    augment = ("flip", "rotate", "brightness", "noise")
    conf = TrainConf(
        model="tempcnn",
        batch=8,
        epochs=1,
        repeats=7,
        rate=3e-3,
        precision="float32",
        augment=augment,
    )
    with mock.patch.object(fit, "update", update):
        fit.fit(TrainJob(conf, toy.LEGEND, samples, folder, "series"))
    return losses


def main(samples: Path, folder: Path, memory: Path) -> None:
    distributed._MEMORY_FOLDER = memory
    with mock.patch.object(
        distributed, "_average_gradients", autospec=True, side_effect=distributed._average_gradients
    ) as average:
        losses = learn(samples, folder)
    print(json.dumps({"losses": losses, "in_memory": average.called}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""A program, one rank of those the environment tells of: trains a network without batch norm, and prints each step's loss.

SAMPLES FOLDER MEMORY: where the ranks' common memory is to be made, and whether they had it is printed too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch import Tensor

from lulc import ranks, train
from lulc.conf import Train
from lulc.learner import Job, Learner
from lulc.ranks import World
from lulc.tasks import Samples
from tests import toy


def main(samples: Path, folder: Path, memory: Path) -> None:
    losses, ranks._MEMORY = [], memory
    opened, plain = [], train.update
    open_memory = ranks._open_memory

    def open_(size: int, world: World) -> Tensor | None:
        opened.append(open_memory(size, world))
        return opened[-1]

    ranks._open_memory = open_

    def update(learner: Learner, group: tuple[Samples, ...]) -> Tensor:
        found = plain(learner, group)
        total, counted = learner.world.sum(found.clone()).tolist()
        losses.append(total / counted)
        return found

    train.update = update
    augment = ("flip", "rotate", "brightness", "noise")
    conf = Train(model="tempcnn", batch=8, epochs=1, repeats=7, rate=3e-3, precision="float32", augment=augment)
    train.fit(Job(conf, toy.LEGEND, samples, folder, "series"))
    print(json.dumps({"losses": losses, "in_memory": any(found is not None for found in opened)}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

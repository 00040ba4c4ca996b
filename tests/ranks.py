"""A program, one rank of those the environment tells of: trains a network without batch norm, and prints each step's loss."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch import Tensor

from lulc import train
from lulc.conf import Train
from lulc.learner import Job, Learner
from lulc.tasks import Samples
from tests import toy


def main(samples: Path, folder: Path) -> None:
    losses = []
    plain = train.update

    def update(learner: Learner, group: tuple[Samples, ...]) -> Tensor:
        found = plain(learner, group)
        total, counted = learner.world.sum(found.clone()).tolist()
        losses.append(total / counted)
        return found

    train.update = update
    augment = ("flip", "rotate", "brightness", "noise")
    conf = Train(model="tempcnn", batch=8, epochs=1, repeats=7, rate=3e-3, precision="float32", augment=augment)
    train.fit(Job(conf, toy.LEGEND, samples, folder, "series"))
    print(json.dumps(losses))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

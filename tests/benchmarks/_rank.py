"""A program, one rank of those the environment tells of: trains two epochs, and prints the seconds of the second."""

from __future__ import annotations

import sys
from pathlib import Path

from lulc.conf import Train
from lulc.learner import Job
from lulc.legend import LandClass, Legend
from lulc.train import fit

LEGEND = Legend("bench", tuple(LandClass(i, f"class {i}", "#888888") for i in range(9)))


def make_job(samples: Path, folder: Path, batch: int) -> Job:
    """Two epochs of the default U-Net, long enough that what is written between them does not count."""
    return Job(Train(batch=batch, epochs=2, repeats=4, ema=0.9), LEGEND, samples, folder)


if __name__ == "__main__":
    result = fit(make_job(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
    print(result.history[-1]["seconds"])

"""A program, one rank of those the environment tells of: trains two epochs, and prints the seconds of the second."""

from __future__ import annotations

import sys
from pathlib import Path

from lulc.conf import Train
from lulc.learner import Job
from lulc.legend import LandClass, Legend
from lulc.train import fit

LEGEND = Legend("bench", tuple(LandClass(i, f"class {i}", "#888888") for i in range(9)))

if __name__ == "__main__":
    samples, folder, batch = sys.argv[1:]
    result = fit(Job(Train(batch=int(batch), epochs=2, ema=0.9), LEGEND, Path(samples), Path(folder)))
    print(result.history[-1]["seconds"])

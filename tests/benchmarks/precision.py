"""precision.*: trainings in bfloat16 beside trainings in float32, on three sets of real images."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import lulc
from lulc.stages import stages_of
from lulc.tables import layout
from lulc.training.fit import fit
from lulc.training.setup import TrainJob
from tests.lint import ROOT

# Run file, the score that is compared, and what is set beside the run file: labels to score on, and
# so many steps that a training takes about a minute.
SUBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "boadella": ("iou/water", {"train.repeats": 50}),
    "ucmerced": ("accuracy", {"samples.validation": 0.33, "train.repeats": 15}),
    "gewata": ("miou", {"samples.validation": 0.3, "samples.test": 0, "train.repeats": 30}),
}

# The date of Boadella that is scored on has its outline in another year than the one trained on.
_SECOND_DATE = {
    "datasets.0.options.images": "Boadella_2021-{item}.tif",
    "datasets.0.options.polygons": "Boadella_2021-{item}_labels.geojson",
}


def measure(quick: bool) -> dict[str, float]:
    """Scores on held-out labels, one figure a set of images.

    precision.<set>: score in bfloat16 less that in float32, the mean over three seeds.
    precision.<set>.float32, precision.<set>.bfloat16: the mean scores.
    precision.<set>.seeds: standard deviation of the scores over the seeds, from both precisions. A
    difference of less than twice as much may be chance.
    """
    figures, seeds = {}, (0,) if quick else (0, 1, 2)
    for name, (metric, settings) in SUBJECTS.items():
        given = settings | {"train.epochs": 1} | ({"train.repeats": 1} if quick else {})
        with tempfile.TemporaryDirectory() as folder:
            run = _make_samples(name, given, Path(folder))
            scores = {
                precision: [_train(run, precision, seed, metric) for seed in seeds]
                for precision in ("float32", "bfloat16")
            }
        means = {precision: statistics.mean(each) for precision, each in scores.items()}
        figures[f"precision.{name}"] = means["bfloat16"] - means["float32"]
        figures |= {f"precision.{name}.{precision}": mean for precision, mean in means.items()}
        if not quick:
            variances = map(statistics.variance, scores.values())
            figures[f"precision.{name}.seeds"] = statistics.mean(variances) ** 0.5
    return figures


def _make_samples(name: str, settings: dict[str, Any], folder: Path) -> lulc.Run:
    # The run, its samples made, some of them held out as the validation split.
    run = _carry_out(name, settings, folder / "run")
    if name == "boadella":
        second = _carry_out(name, settings | _SECOND_DATE, folder / "second")
        shutil.move(_samples(second) / "split=train", _samples(run) / "split=validation")
    return run


def _carry_out(name: str, settings: dict[str, Any], out: Path) -> lulc.Run:
    run_file = ROOT / "conf" / f"{name}.yaml"
    stages = stages_of(lulc.load_config(run_file, settings))
    before = [stage for stage in stages if stage in ("index", "tile", "samples")]
    return lulc.run(run_file, out, set=settings, stages=before)


def _samples(run: lulc.Run) -> Path:
    folder = run.out / layout.table("samples")
    assert isinstance(folder, Path)
    return folder


def _train(run: lulc.Run, precision: Any, seed: int, metric: str) -> float:
    train = replace(run.config.train, precision=precision, seed=seed)
    folder = run.out / f"{precision}-{seed}"
    job = TrainJob(train, run.legend, _samples(run), folder, run.config.task or "segment")
    return float(fit(job).history[-1]["metrics"][metric])

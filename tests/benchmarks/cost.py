"""cost: what `lulc plan` says of a run, against what the run then takes."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from unittest.mock import patch

from lulc.cost.calibrate import calibrate
from lulc.cost.plan import RunPlan, make_plan
from lulc.cost.taken import Comparison
from lulc.runfile import parse_run
from lulc.stages import stages_of
from tests.benchmarks._session import Carried, warm_session
from tests.benchmarks._world import make_large_world, run_of

_CORES = 2
_OF_MEMORY = ("index", "tile", "samples", "train", "predict")


def measure(quick: bool) -> dict[str, float]:
    """Figures by name, of the made-up world, planned before anything is indexed.

    cost.hours: core-hours planned ÷ taken, of all stages and one session's start, with rates
    measured on this machine; cost.shipped: with those that are shipped.
    cost.STAGE: the same of a stage; cost.memory.STAGE: memory of a task, planned ÷ taken at most,
    to `predict`, after which workers hold the network.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = make_large_world(folder / "world", quick)
        run, out = run_of(world), folder / "world" / "out"
        config = parse_run(run, out.parent)
        with patch.dict(os.environ, {"XDG_CACHE_HOME": str(folder / "cache")}):
            shipped = make_plan(config, cores=_CORES)
            calibrate(config)
            plan = make_plan(config, cores=_CORES)
        with warm_session(f"local[{_CORES},3]") as carry_out:
            taken = {stage: carry_out(run, out, [stage]) for stage in stages_of(config)}
        return _figures(plan, shipped, taken)


def _figures(plan: RunPlan, shipped: RunPlan, taken: dict[str, Carried]) -> dict[str, float]:
    seconds = {stage: carried.cpu[stage] for stage, carried in taken.items()}
    total = sum(seconds.values()) + next(iter(taken.values())).start_cpu
    figures = {
        "cost.hours": plan.core_seconds / total,
        "cost.shipped": shipped.core_seconds / total,
    }
    compared = {
        f"cost.{stage}": Comparison(plan.costs[stage].core_seconds, seconds[stage])
        for stage in plan.costs
    }
    for stage in _OF_MEMORY:
        # One rank of a training is the driver.
        held = taken[stage].memory["driver" if stage == "train" else "worker"]
        compared[f"cost.memory.{stage}"] = Comparison(plan.memory[stage] / 2**20, held)
    told = {name: (round(both.planned, 1), round(both.took, 1)) for name, both in compared.items()}
    print(json.dumps({"planned, took (s, MB)": told, "took s": round(total, 1)}), flush=True)
    return figures | {name: both.planned / both.took for name, both in compared.items()}

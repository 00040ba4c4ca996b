"""store: a whole run in an object store on this machine, against the same run on its disk."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from lulc.runfile import read_run
from lulc.stages import stages_of
from tests.helpers.many_verbs import run_verbs
from tests.helpers.object_stores import faulty_store, fill_bucket, store_variables
from tests.helpers.small_world import World, make_world


def measure(quick: bool) -> dict[str, float]:
    """Ratios by name, and numbers of requests.

    store: the clock of all stages of the small world in the store ÷ on the disk, in processes of
    their own; the server's work, on the same cores, counts as well.
    store.<stage>: requests of a stage; store.<stage>.unit: those for each unit that it did.
    store.idle: requests of all stages when nothing is to do.
    """
    rounds = 1 if quick else 3
    with tempfile.TemporaryDirectory() as temporary, faulty_store() as (place, faults):
        folder = Path(temporary)
        fill_bucket(place, {})
        variables = store_variables(place) | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/runs.db"}
        world = make_world(folder / "world")
        on_disk, in_store = [], []
        for number in range(rounds):
            on_disk.append(_time(world, f"{folder}/out {number}", variables, folder))
            in_store.append(_time(world, f"s3://bucket/out {number}", variables, folder))
        figures = {"store": statistics.median(in_store) / statistics.median(on_disk)}
        out, counts, stages = "s3://bucket/counted", [faults.asked], stages_of(read_run(world.run))
        answers, _ = run_verbs(
            [(stage, world.run, "--out", out, "--json") for stage in stages],
            variables | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/counted.db"},
            folder,
            lambda: counts.append(faults.asked),
        )
        for stage, answer, before, after in zip(stages, answers, counts, counts[1:], strict=False):
            done = json.loads(answer.printed)["stages"][0]["done"]
            figures[f"store.{stage}"] = after - before
            figures[f"store.{stage}.unit"] = (after - before) / max(1, done)
        run = ("run", world.run, "--out", out)
        run_verbs([run], variables, folder)  # it writes the report
        before = faults.asked
        run_verbs([run], variables, folder)
        return figures | {"store.idle": faults.asked - before}


def _time(world: World, out: str, variables: dict[str, str], folder: Path) -> float:
    start = time.perf_counter()
    answers, told = run_verbs([("run", world.run, "--out", out)], variables, folder)
    assert answers[0].code == 0, told
    return time.perf_counter() - start

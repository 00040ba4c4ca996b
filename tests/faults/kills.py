"""Processes killed in the middle of every stage, and signals that ask a run to stop."""

from __future__ import annotations

import json
import math
import re
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lulc.stages import STAGES
from tests.faults.bench import CORES, Bench, Line, half_written
from tests.faults.commands import Running, environment_of
from tests.faults.places import Place

_FILES: Mapping[str, tuple[str, int]] = {
    "tile": ("tables/chips/*/[!.]*", 4),
    "samples": ("tables/samples/*/[!.]*", 3),
    "predict": ("tables/predictions/*/[!.]*", 4),
    "embed": ("tables/embeddings/*/[!.]*", 4),
    "rasters": ("rasters/2024/*/*.tif", 1),
}
"""Stages that publish a file a unit: which, and how many are there in the middle of the stage."""

_TRIES = 3

RUN_STAGES = tuple(s for s in STAGES if s not in ("refine", "embed", "polygons", "publish"))


def middle_of(stage: str, running: Running, place: Place) -> Callable[[], bool]:
    """Return whether a part of a stage's work is done, and a part is not."""
    if stage in _FILES:
        pattern, count = _FILES[stage]
        return lambda: len(place.names(pattern)) >= count
    if stage == "train":
        return lambda: running.told(r"^epoch 2/")
    if stage == "index":
        return lambda: bool(running.workers())
    return lambda: bool(place.names(f"unfinished/{stage}/*.parquet"))


@dataclass(frozen=True)
class _Kill:
    """What there was when the driver was killed."""

    is_in_time: bool
    stamps: Mapping[str, object]
    epochs: Sequence[str]
    workers: int
    """Python workers: each had a task under way."""
    text: str


def driver_killed(
    bench: Bench, place: Place, stages: Sequence[str], verb: str = "run"
) -> Generator[Line]:
    """`kill -9` of the driver in the middle of each stage in turn; the next run completes it."""
    bench.seed(place, stages[0])
    kills: dict[str, _Kill] = {}
    for stage in stages:
        running = bench.start(place, verb)
        is_in_time = running.wait_for(middle_of(stage, running, place))
        workers = len(running.workers())
        running.kill()
        kills[stage] = _Kill(is_in_time, place.stamps(), _epochs(place), workers, running.text())
    ended = bench.carry_out(place, verb)
    broken = (f"exit {ended.code}: {ended.last_line}",) if ended.code else ()
    for stage, kill in kills.items():
        redone = _redone(stage, kill, place)
        differences = bench.differences(place, (stage,))
        wrong = [*broken, *differences, *half_written(place)]
        if not kill.is_in_time:
            wrong.append(f"ended before it was killed: {kill.text[-300:]}")
        if redone > CORES:
            wrong.append(f"{redone} tasks may be done again, more than one a core")
        unit = "epoch" if stage == "train" else "task"
        what = f"<= {redone} {unit}s"
        yield Line("driver killed", stage, place.store, what, not differences, tuple(wrong))


def _redone(stage: str, kill: _Kill, place: Place) -> int:
    # Tasks that were done and are done again, and those that were under way at the kill.
    if stage == "train":
        return len(set(kill.epochs) - set(_epochs(place))) + 1
    if stage not in _FILES:  # one table, of what tasks give; they keep it until the table is there
        done = max(map(int, re.findall(rf"^{stage}: (\d+) of", kill.text, re.MULTILINE)), default=0)
        kept = sum(name.startswith(f"unfinished/{stage}/") for name in kill.stamps)
        return max(0, done - kept) + kill.workers
    pattern, after = _FILES[stage][0], place.stamps()
    again = [
        n for n, stamp in kill.stamps.items() if fnmatchcase(n, pattern) and after.get(n) != stamp
    ]
    return len(again) + kill.workers


def _epochs(place: Place) -> list[str]:
    # The lines of the log of epochs: an epoch that is trained again has another time.
    return [
        line
        for name in place.names("checkpoints/*/log.jsonl")
        for line in place.read(name).decode().splitlines()
    ]


def failed_attempts(text: str, stage: str) -> int:
    """Return how many tasks of a stage failed and were tried again, as the command told."""
    label = "(?:labels|samples)" if stage == "samples" else stage
    failed = re.findall(rf"^{label}: .* (\d+) failed attempts", text, re.MULTILINE)
    return max(map(int, failed), default=0)


def worker_killed(bench: Bench, place: Place) -> Generator[Line]:
    """`kill -9` of a Python worker in every stage of one run, which goes on.

    A worker that had just ended its task when it was killed is no fault: that stage is tried again
    by itself.
    """
    bench.seed_model(place)
    running = bench.start(place, "run")
    stages = [stage for stage in RUN_STAGES if stage != "train"]
    previous = ""
    for stage in stages:
        _kill_busy_worker(running, stage, previous)
        previous = "train" if stage == "samples" else stage
    ended = running.end()
    for stage in stages:
        hit_place, hit_end = place, ended
        for number in range(_TRIES):
            if failed_attempts(hit_end.text, stage):
                break
            hit_place = bench.folder(f"{stage} {number}")
            bench.seed(hit_place, stage)
            running = bench.start(hit_place, stage)
            _kill_busy_worker(running, stage)
            hit_end = running.end()
        redone = failed_attempts(hit_end.text, stage)
        differences = bench.differences(hit_place, (stage,))
        wrong = (*differences, *half_written(hit_place))
        if hit_end.code:
            wrong = (f"exit {hit_end.code}: {hit_end.last_line}", *wrong)
        if not redone:
            wrong = ("no task failed: the worker was idle", *wrong)
        if redone > CORES:
            wrong = (f"{redone} tasks failed", *wrong)
        yield Line(
            "Python worker killed", stage, place.store, f"{redone} tasks", not differences, wrong
        )


def _kill_busy_worker(running: Running, stage: str, previous: str = "") -> None:
    # The busiest, when the stage before has ended; of stats, which reads its tiles first, when it
    # has begun to measure.
    begun = rf"^{previous} +\d" if previous else ""
    if stage == "stats":
        begun = r"^stats: \d"
    if running.wait_for(
        lambda: running.told(begun) and any(p.cpu_percent(0.02) > 20 for p in running.workers())
    ):
        max(running.workers(), key=lambda worker: worker.cpu_percent(0.02)).kill()


def stopped(bench: Bench, place: Place) -> Generator[Line]:
    """SIGTERM, Ctrl-C of a terminal, and SIGINT to the driver alone, in the middle of `tile`."""
    kinds = (
        ("SIGTERM", signal.SIGTERM, False, 143),
        ("Ctrl-C", signal.SIGINT, True, 130),
        ("SIGINT", signal.SIGINT, False, 130),
    )
    bench.seed(place, "tile")
    pattern, _ = _FILES["tile"]
    for fault, number, group, code in kinds:
        there = len(place.names(pattern))
        running = bench.start(place, "tile")
        hit = running.wait_for(lambda there=there: len(place.names(pattern)) >= there + 2)
        under_way = len(running.workers())
        ended = running.end_with(number, group)
        published = place.stamps()
        wrong = [] if hit else ["ended before the signal"]
        if ended.code != code:
            wrong.append(f"exit {ended.code}, not {code}: {ended.text[-500:]}")
        if "rerun the same command to resume" not in ended.text:
            wrong.append(f"does not say how to resume: {ended.last_line}")
        if "Traceback" in ended.text or "Py4J" in ended.text:
            wrong.append("shows a trace")
        wrong += half_written(place, is_complete=False)
        yield Line(fault, "tile", place.store, f"{under_way} tasks at most", None, tuple(wrong))
    ended = bench.carry_out(place, "tile")
    differences = bench.differences(place, ("tile",))
    after = place.stamps()
    again = sum(after.get(n) != s for n, s in published.items() if fnmatchcase(n, pattern))
    broken = () if ended.code == 0 else (f"exit {ended.code}: {ended.last_line}",)
    yield Line(
        "rerun after signals",
        "tile",
        place.store,
        f"{again} tasks",
        not differences,
        (*broken, *differences, *half_written(place)),
    )


def trainer_killed(bench: Bench, place: Place) -> Generator[Line]:
    """`kill -9` of one of two ranks after epoch 2; the next run goes on with epoch 3."""
    ranks = ("--set", "train.ranks=2")
    whole = bench.folder("whole")
    bench.seed(whole, "train")
    expected = bench.carry_out(whole, "train", *ranks)
    bench.seed(place, "train")
    running = bench.start(place, "train", *ranks)
    hit = running.wait_for(lambda: len(_epochs(place)) >= 2)
    for process in running.family():
        if environment_of(process).get("LOCAL_RANK") == "1":
            process.kill()
            break
    else:
        hit = False
    told = running.end()
    before = _epochs(place)
    ended = bench.carry_out(place, "train", *ranks)
    wrong = [] if hit else ["no rank was killed"]
    wrong += [f"exit {run.code}: {run.last_line}" for run in (expected, ended) if run.code]
    if told.code != 1 or "a rerun continues after the last complete epoch" not in told.text:
        wrong.append(f"exit {told.code}, and not how to go on: {told.text[-500:]}")
    again = len(set(before) - set(_epochs(place)))
    if again:
        wrong.append(f"{again} complete epochs were trained again")
    different = _different_losses(whole, place)
    wrong += (*different, *half_written(place))
    yield Line(
        "trainer killed",
        "train",
        place.store,
        f"{again + 1} epochs at most",
        not different,
        tuple(wrong),
    )


def _different_losses(expected: Place, found: Place) -> list[str]:
    # Of a training on one machine they are the same to 1e-6.
    one, other = ([json.loads(line)["metrics"] for line in _epochs(p)] for p in (expected, found))
    if len(one) != len(other):
        return [f"{len(other)} epochs, not {len(one)}"]
    return [
        f"epoch {number}: loss {b['loss']}, not {a['loss']}"
        for number, (a, b) in enumerate(zip(one, other, strict=True), 1)
        if not math.isclose(a["loss"], b["loss"], abs_tol=1e-6)
    ]

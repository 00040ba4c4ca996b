"""Executors of a standalone cluster killed in every stage."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from types import MappingProxyType

import psutil

from tests.faults.bench import CORES, Bench, Line, half_written, later_attempts
from tests.faults.commands import Running
from tests.faults.kills import RUN_STAGES, failed_attempts, middle_of
from tests.faults.places import Place
from tests.helpers.spark_cluster import Cluster, standalone

_CHIPS = "tables/chips/*/[!.]*"
_SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "50ms",
    "spark.speculation.quantile": "0.2",
    "spark.speculation.multiplier": "1.2",
    "spark.speculation.minTaskRuntime": "200ms",
}


def executor_killed(bench: Bench, place: Place) -> Generator[Line]:
    """`kill -9` of an executor in the middle of every stage of one run, which goes on.

    The model is the clean run's.
    """
    bench.seed_model(place)
    stages = [stage for stage in RUN_STAGES if stage != "train"]
    with standalone(bench.room / "cluster") as cluster:
        running = bench.start(place, "run", *_asked(cluster))
        hits = {stage: _kill_one(cluster, stage, running, place) for stage in stages}
        ended = running.end()
    for stage in stages:
        redone = failed_attempts(ended.text, stage)
        differences = bench.differences(place, (stage,))
        wrong = [] if hits[stage] else ["no executor was killed"]
        wrong += [f"exit {ended.code}: {ended.text[-600:]}"] if ended.code else []
        wrong += [f"{redone} tasks failed"] if redone > CORES else []
        wrong += (*differences, *half_written(place))
        what = f"{redone} tasks"
        yield Line("executor killed", stage, place.store, what, not differences, tuple(wrong))


def _kill_one(cluster: Cluster, stage: str, running: Running, place: Place) -> bool:
    if stage == "index":
        hit = running.wait_for(lambda: bool(_executors(cluster)))
    else:
        hit = running.wait_for(middle_of(stage, running, place))
    victims = _executors(cluster)
    if hit and victims:
        victims[0].kill()
    return hit and bool(victims)


def attempts_at_once(bench: Bench, place: Place) -> Generator[Line]:
    """A worker stands still, so that Spark starts its task a second time; then both go on."""
    bench.seed(place, "tile")
    with standalone(bench.room / "cluster") as cluster:
        running = bench.start(place, "tile", *_asked(cluster, _SPECULATION))
        hit = running.wait_for(middle_of("tile", running, place))
        stopped = _python_workers(cluster, 0)
        for process in stopped:
            process.suspend()
        there = len(place.names(_CHIPS))
        hit = hit and bool(stopped) and running.wait_for(lambda: running.told(r"^tile: 1[3-9] of"))
        for process in stopped:
            process.resume()
        ended = running.end()
    wrong = [] if hit else [f"no task was started twice: {there} files, {len(stopped)} stopped"]
    wrong += [f"exit {ended.code}: {ended.text[-600:]}"] if ended.code else []
    differences = bench.differences(place, ("tile",))
    wrong += (*differences, *half_written(place))
    name = "two attempts at a task"
    redone = f"{later_attempts(place, 'tile')} tasks"
    yield Line(name, "tile", place.store, redone, not differences, tuple(wrong))


def _asked(cluster: Cluster, conf: Mapping[str, str] = MappingProxyType({})) -> tuple[str, ...]:
    settings = {"spark.driver.host": "127.0.0.1", **conf}
    master = f"spark.master={cluster.address}"
    as_yaml = f"spark.conf={json.dumps(settings)}"
    return tuple(x for s in (master, "spark.memory=700m", as_yaml) for x in ("--set", s))


def _python_workers(cluster: Cluster, number: int) -> list[psutil.Process]:
    daemons = [child for jvm in cluster.executors(number) for child in jvm.children()]
    return [worker for daemon in daemons for worker in daemon.children()]


def _executors(cluster: Cluster) -> list[psutil.Process]:
    return [jvm for number in range(len(cluster.workers)) for jvm in cluster.executors(number)]

"""Executors of a standalone cluster killed in every stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import psutil

from tests.faults.bench import CORES, Bench, Line, half_written
from tests.faults.kills import RUN_STAGES, failed_attempts, middle_of
from tests.faults.places import Place
from tests.helpers.spark_cluster import Cluster, standalone

_CHIPS = "tables/chips/[!.]*"
_SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "50ms",
    "spark.speculation.quantile": "0.2",
    "spark.speculation.multiplier": "1.2",
    "spark.speculation.minTaskRuntime": "200ms",
}


def executor_killed(bench: Bench, place: Place) -> Iterator[Line]:
    """`kill -9` of an executor in the middle of every stage of one run, which goes on.

    The training of the run is the clean one's: in that of a cluster each rank has one core, and
    sums of another order.
    """
    before, after = RUN_STAGES[: RUN_STAGES.index("train")], RUN_STAGES[4:]
    with standalone(bench.room / "cluster") as cluster:
        yield from _killed(bench, place, cluster, before)
        later = bench.folder("later")
        bench.seed(later, "predict")
        yield from _killed(bench, later, cluster, after)


def attempts_at_once(bench: Bench, place: Place) -> Iterator[Line]:
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
    yield Line(name, "tile", place.store, "1 tasks", not differences, tuple(wrong))


def _killed(
    bench: Bench, place: Place, cluster: Cluster, stages: tuple[str, ...]
) -> Iterator[Line]:
    for stage in stages:
        running = bench.start(place, stage, *_asked(cluster))
        hit = running.wait_for(
            (lambda: bool(_executors(cluster)))
            if stage == "index"
            else middle_of(stage, running, place)
        )
        victims = _executors(cluster)
        if hit and victims:
            victims[0].kill()
        ended = running.end()
        redone = failed_attempts(ended.text, stage)
        differences = bench.differences(place, (stage,))
        wrong = [] if hit and victims else ["no executor was killed"]
        if ended.code:
            wrong.append(f"exit {ended.code}: {ended.text[-600:]}")
        if redone > CORES:
            wrong.append(f"{redone} tasks failed")
        wrong += (*differences, *half_written(place))
        yield Line(
            "executor killed", stage, place.store, f"{redone} tasks", not differences, tuple(wrong)
        )


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

"""The cases: what is harmed, where it writes, and whether the ordinary run of the tests has it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial

from tests.faults import clusters, disks, kills, runs, stores, tracking, vectors
from tests.faults.bench import Bench, Line
from tests.faults.places import bucket
from tests.helpers.faulty_proxy import Kind

type Lines = Callable[[Bench], Generator[Line]]


@dataclass(frozen=True)
class Case:
    """A case: commands on one output location, and the lines of the table they give."""

    name: str
    lines: Lines
    is_ordinary: bool = False
    """Whether it is part of the ordinary run of the tests."""


def _in_folder(lines: Callable[..., Generator[Line]], **how: object) -> Lines:
    return lambda bench: lines(bench, bench.folder(), **how)


def _in_bucket(lines: Callable[..., Generator[Line]], **how: object) -> Lines:
    def in_bucket(bench: Bench) -> Generator[Line]:
        with bucket() as place:
            yield from lines(bench, place, **how)

    return in_bucket


_FREE_ON_DISK = {"tile": 700_000, "train": 8_000_000, "predict": 120_000, "rasters": 60_000}
"""Stage → the bytes that are free when it starts: some of what it writes has room."""

_EACH_FAILS: Mapping[Kind, int] = {"busy": 10, "slow": 3, "cut": 10, "lost": 10, "short": 10}

CASES = (
    Case("driver-first", _in_folder(kills.driver_killed, stages=("index", "samples", "train"))),
    Case(
        "driver-tile",
        _in_folder(kills.driver_killed, stages=("tile",), verb="tile"),
        is_ordinary=True,
    ),
    Case("driver-last", _in_folder(kills.driver_killed, stages=kills.RUN_STAGES[4:])),
    Case("embed", vectors.embed_harmed),
    Case("worker", _in_folder(kills.worker_killed)),
    Case("trainer", _in_folder(kills.trainer_killed)),
    Case("executor", _in_folder(clusters.executor_killed)),
    Case("attempts", _in_folder(clusters.attempts_at_once)),
    Case("signals", _in_folder(kills.stopped)),
    *(
        Case(f"disk-full-{stage}", partial(disks.disk_full, stage=stage, free=free))
        for stage, free in _FREE_ON_DISK.items()
    ),
    Case("disk-read-only", disks.read_only),
    Case("mlflow", _in_folder(tracking.tracking_down)),
    Case("two-at-once", _in_folder(runs.two_at_once)),
    Case("clocks", _in_folder(runs.clocks_differ)),
    Case("upgrade", _in_folder(runs.upgraded)),
    Case("other-release", _in_folder(runs.workers_of_another_release)),
    Case("replaced", _in_folder(runs.input_replaced)),
    *(
        Case(f"store-{kind}", partial(stores.store_trembles, kind=kind, each=each))
        for kind, each in _EACH_FAILS.items()
    ),
    *(
        Case(f"store-all-{kind}", partial(stores.store_refuses, kind=kind))
        for kind in ("busy", "expired", "full", "read-only")
    ),
    Case("driver-tile-s3", _in_bucket(kills.driver_killed, stages=("tile",), verb="tile")),
    Case("signals-s3", _in_bucket(kills.stopped)),
    Case("two-at-once-s3", _in_bucket(runs.two_at_once)),
    Case("replaced-s3", _in_bucket(runs.input_replaced)),
)

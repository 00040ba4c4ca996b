"""The executors of a cluster, looked at from inside: one task on each tells what it finds there.

The tasks import nothing of this project, and their code travels with them: what they are to tell
is just where the project is missing or of another version.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pyspark import SparkContext, cloudpickle

from lulc.errors import SetupError
from lulc.redact import redact_text

PACKAGES = ("lulc", "pyspark", "apache-sedona", "numpy", "pyarrow", "rasterio", "shapely", "torch")
"""Distributions whose versions are told."""

SETTINGS = {
    "spark.task.maxFailures": "1",
    "spark.excludeOnFailure.enabled": "false",
    # Executors that are not asked for do not come.
    "spark.dynamicAllocation.enabled": "false",
}
"""What a session needs for `look`; besides, a task should take all cores of an executor."""

_HOLD_S = 2.0
_STEADY_S = 4.0
_PATIENCE_S = 180.0
_ROUNDS = 10


@dataclass(frozen=True)
class Node:
    """What one executor told."""

    executor: str
    host: str
    error: str = ""
    """Why its task failed; nothing else is known then."""
    python: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    """Distribution → version, of those that are installed."""
    gdal: str = ""
    free_disk: int = 0
    """Bytes free where the executor works."""
    free_memory: int = 0
    """Bytes that the machine, or the limit of the container, has free."""
    gpus: int = 0
    """GPUs in view."""
    location: str = ""
    """Why the location cannot be used."""
    written: str = ""
    """File that was written in the location."""


def look(spark: SparkContext, out: str = "", token: str = "") -> list[Node]:
    """Return what the executors tell, in the order of their hosts.

    Args:
        spark: a context with SETTINGS.
        out: a location that every executor is to read and write; "" for none.
        token: name of a file in it that holds the name itself; executors write theirs beside it,
            as `<token>-<number>`.

    Raises:
        SetupError: no executor came.
    """
    slots = _await_executors(spark)
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    nodes: dict[str, Node] = {}
    try:
        # An executor whose tasks fail at once may take those of the others: they get new ones.
        for number in range(_ROUNDS):
            first = number * slots
            with ThreadPoolExecutor(slots) as pool:
                ask = partial(_ask, spark, out, token)
                descriptions = list(pool.map(ask, range(first, first + slots)))
            nodes |= {node.executor: node for node in descriptions if node}
            if _executors(spark) <= nodes.keys():
                break
    finally:
        cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call]
    missing = [Node(name, "", error="took no task") for name in _executors(spark) - nodes.keys()]
    return sorted([*nodes.values(), *missing], key=lambda node: (node.host, node.executor))


def describe_driver() -> dict[str, Any]:
    """Return what `look` tells of an executor for this process."""
    return _describe()


def _await_executors(spark: SparkContext) -> int:
    # Number of tasks that run at once, as soon as no more executors come.
    jvm = spark._jsc.sc()
    started = steady_since = time.monotonic()
    slots = 0
    while time.monotonic() - steady_since < _STEADY_S or not slots:
        now_slots = jvm.maxNumConcurrentTasks(jvm.resourceProfileManager().defaultResourceProfile())
        if now_slots != slots:
            slots, steady_since = now_slots, time.monotonic()
        if not slots and time.monotonic() - started > _PATIENCE_S:
            raise SetupError(
                f"no executor came within {_PATIENCE_S:.0f} s: the cluster has no workers, no room "
                "for spark.executor.memory and spark.executor.cores, or they cannot reach "
                "this machine (spark.driver.host)"
            )
        if str(spark.master).startswith("local"):
            break
        time.sleep(0.2)
    return slots


def _executors(spark: SparkContext) -> set[str]:
    # Ids of the executors that are alive; under a local master the driver is one.
    summaries = spark._jsc.sc().statusStore().executorList(True)
    ids = {summaries.apply(number).id() for number in range(summaries.size())}
    return ids - {"driver"} or ids


def _ask(spark: SparkContext, out: str, token: str, number: int) -> Node | None:
    # What the executor tells that a job of one task went to; None where its end is not known.
    group = f"{token}-{number}"
    spark.setJobGroup(group, "look at an executor")
    description: dict[str, Any] = {}
    failure = ""
    try:
        task = spark.parallelize([number], 1).mapPartitions(partial(_tell, out, token))
        description = task.collect()[0]
    except Exception as error:  # the task's own end says why
        failure = redact_text(error, 300)
    jvm = spark._jsc.sc()
    jvm.listenerBus().waitUntilEmpty()
    tracker = spark.statusTracker()
    for job in tracker.getJobIdsForGroup(group):
        info = tracker.getJobInfo(job)
        for stage in info.stageIds if info else ():
            tasks = jvm.statusStore().taskList(stage, 0, 1)
            if tasks.size():
                end = tasks.apply(0)
                message = end.errorMessage()
                if message.isDefined():
                    failure = _cause(message.get())
                return Node(end.executorId(), end.host(), failure, **description)
    return None


def _cause(message: str) -> str:
    # The line of a Java or Python trace that says what was wrong.
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    messages = [line for line in lines if not line.startswith(("at ", "File ", "Traceback", "..."))]
    python = [line for line in messages if line.startswith(("ModuleNotFoundError", "ImportError"))]
    mismatch = [line for line in messages if "PYTHON_VERSION_MISMATCH" in line]
    return redact_text((python or mismatch or messages or ["unknown"])[0], 300)


def _tell(out: str, token: str, numbers: Iterator[int]) -> Iterator[dict[str, Any]]:
    import time

    # Held so long that every other executor has got a task of its own.
    time.sleep(_HOLD_S)
    name = f"{token}-{next(iter(numbers))}"
    yield {
        **_describe(),
        "location": _use_location(out, token, name) if out else "",
        "written": name,
    }


def _use_location(out: str, token: str, name: str) -> str:
    # Why the location cannot be read or written, "" where it can.
    import importlib
    from pathlib import Path

    folder: Any = Path(out)
    try:
        if "://" in out:
            folder = importlib.import_module("lulc.location").parse_location(out)
        if (folder / token).read_bytes().decode() != token:
            return f"{out} holds another file than the driver wrote"
        if "://" in out:
            files = importlib.import_module("lulc.tables.files")
            files.create_exclusive(folder / name, name.encode())
        else:
            (folder / name).write_bytes(name.encode())
        back = (folder / name).read_bytes().decode()
        return "" if back == name else f"{name} is not read back as written"
    except FileNotFoundError:
        return "is not the driver's folder: its file is not there"
    except Exception as error:  # whatever a store's library raises is told
        return f"{type(error).__name__}: {error}"[:300]


def _describe() -> dict[str, Any]:
    import contextlib
    import glob
    import importlib
    import importlib.metadata
    import os
    import platform
    import shutil
    import sys
    from pathlib import Path

    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    # Spark brings its own pyspark, which is no distribution of the environment.
    if "pyspark" in sys.modules:
        versions["pyspark"] = sys.modules["pyspark"].__version__
    gdal = ""
    with contextlib.suppress(Exception):  # whatever a broken library raises is told as absence
        gdal = importlib.import_module("rasterio").__gdal_version__
    free_memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free_memory = next(int(x.split()[1]) << 10 for x in lines if x.startswith("MemAvailable"))
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free_memory = min(free_memory, limit - used)
    return {
        "python": platform.python_version(),
        "versions": versions,
        "gdal": gdal,
        "free_disk": shutil.disk_usage(os.getcwd()).free,
        "free_memory": free_memory,
        "gpus": len(glob.glob("/dev/nvidia[0-9]*")),
    }

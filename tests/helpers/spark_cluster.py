"""A standalone Spark cluster on this machine: a master and workers, each on an address of its own.

The addresses are of the loopback network (127.0.0.2, 127.0.0.3 …), so that to Spark each worker is
a host, with a folder, an environment and resources of its own.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyspark

from tests.helpers import short_jvms, small_world
from tests.helpers.jdbc import free_port

_PATIENCE_S = 120
_MASTER = "127.0.0.1"


@dataclass(frozen=True)
class Machine:
    """Where a worker runs: the command that runs another there, and Spark's home there."""

    enter: Sequence[str] = ()
    spark: str = str(Path(pyspark.__file__).parent)


@dataclass(frozen=True)
class Worker:
    """What a worker offers; `settings` are Spark's own (spark.worker.…), `environment` is added."""

    cores: int = 1
    memory: str = "1g"
    machine: Machine = Machine()
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its address spark://…, its folder of logs, its workers' processes.

    An executor's own log and files lie below `folder/worker<number>/app-…/<executor>/`.
    """

    address: str
    folder: Path
    workers: tuple[subprocess.Popen[bytes], ...]

    def executors(self, number: int) -> list[psutil.Process]:
        """Return the JVMs of the executors that a worker runs now."""
        children = psutil.Process(self.workers[number].pid).children(recursive=True)
        return [child for child in children if "CoarseGrainedExecutorBackend" in _line(child)]


@contextmanager
def standalone(folder: Path, workers: Sequence[Worker] = (Worker(), Worker())) -> Iterator[Cluster]:
    """Run a master and its workers until the block ends.

    Args:
        folder: an empty folder for logs and the workers' files.
        workers: what each worker offers.
    """
    master_port = free_port()
    address = f"spark://{_MASTER}:{master_port}"
    with ExitStack() as processes:
        options = ("--port", str(master_port))
        processes.enter_context(_started(folder / "master", "master.Master", _MASTER, options))
        running = []
        for number, worker in enumerate(workers):
            options = ("--cores", str(worker.cores), "--memory", worker.memory, address)
            host = f"127.0.0.{number + 2}"
            place = folder / f"worker{number}"
            started = _started(place, "worker.Worker", host, options, worker)
            running.append(processes.enter_context(started))
        _await_workers(folder / "master.log", len(workers))
        yield Cluster(address, folder, tuple(running))


def with_gpus(addresses: Sequence[str], folder: Path, cores: int = 2) -> Worker:
    """Return a worker whose discovery script reports made-up GPUs.

    Args:
        addresses: the GPUs' addresses, such as `("0", "1")`.
        folder: where the script is written.
        cores: tasks that the worker runs at once.
    """
    script = folder / f"gpus-{'-'.join(addresses)}.sh"
    listed = ", ".join(f'"{address}"' for address in addresses)
    script.write_text(f"""#!/bin/sh\necho '{{"name": "gpu", "addresses": [{listed}]}}'\n""")
    script.chmod(0o755)
    settings = {
        "spark.worker.resource.gpu.amount": str(len(addresses)),
        "spark.worker.resource.gpu.discoveryScript": str(script),
    }
    return Worker(cores=cores, memory="2g", settings=settings)


@contextmanager
def _started(
    place: Path, name: str, host: str, options: Sequence[str], worker: Worker | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    place.mkdir(parents=True)
    place.chmod(0o777)  # on a machine of its own a worker may be another user
    environment = small_world.environment() | {"SPARK_LOCAL_IP": host, "SPARK_NO_DAEMONIZE": "1"}
    environment["SPARK_DAEMON_JAVA_OPTS"] = short_jvms.of_this_process()
    if worker:
        settings = " ".join(f"-D{key}={value}" for key, value in worker.settings.items())
        environment |= {"SPARK_WORKER_DIR": str(place), "SPARK_WORKER_OPTS": settings}
        environment |= worker.environment
    machine = worker.machine if worker else Machine()
    command = [
        *machine.enter,
        f"{machine.spark}/bin/spark-class",
        f"org.apache.spark.deploy.{name}",
        *("--host", host, "--webui-port", "0"),
        *options,
    ]
    with place.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=place)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _await_workers(log: Path, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while log.read_text().count("Registering worker") < count:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""

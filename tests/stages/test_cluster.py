"""The same run by spark-submit on a local standalone cluster of a master and two workers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers import small_world as world
from tests.lint import ROOT

JOBS = ("index", "tile", "predict", "rasters")


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a standalone master on loopback with two workers of one core each."""
    import pyspark

    folder = tmp_path_factory.mktemp("cluster")
    command = [f"{Path(pyspark.__file__).parent}/bin/spark-class"]
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    inner = world.environment() | {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_WORKER_DIR": str(folder)}

    def run(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("wb") as log:
            full = [
                *command,
                f"org.apache.spark.deploy.{arguments[0]}",
                "--host",
                "127.0.0.1",
                *arguments[1:],
            ]
            return subprocess.Popen(full, env=inner, stdout=log, stderr=log)

    processes = [
        run("master", "master.Master", "--port", str(port), "--webui-port", str(free_port()))
    ]
    try:
        for number in range(2):
            options = ("--cores", "1", "--memory", "1g", "--webui-port", str(free_port()))
            processes.append(run(f"worker{number}", "worker.Worker", *options, address))
        deadline = time.monotonic() + 120
        while (folder / "master.log").read_text().count("Registering worker") < 2:
            assert time.monotonic() < deadline, (folder / "master.log").read_text()
            time.sleep(0.3)
        yield address
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=60)


def test_the_submitted_stages_make_the_same_rasters(
    master: str, small: world.World, done: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cluster"
    shutil.copytree(done / "models", out / "models")
    for name in ("mlflow.db", "mlartifacts"):
        source = done / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, out / name)
    options = [
        "--master",
        master,
        "--executor-memory",
        "700m",
        "--conf",
        "spark.driver.host=127.0.0.1",
    ]
    for job in JOBS:
        # The first is a bare spark-submit, which finds Sedona's JARs by
        # itself; the others get them as README describes.
        given = (
            [] if job == JOBS[0] else ["--properties-file", str(ROOT / "conf" / "spark.properties")]
        )
        command = [
            "spark-submit",
            *options,
            *given,
            str(ROOT / "jobs" / f"{job}.py"),
            str(small.run),
            "--out",
            str(out),
        ]
        ran = subprocess.run(
            command,
            env=world.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert ran.returncode == 0, ran.stderr
    rasters = world.files(done, "rasters/**/*.tif")
    assert rasters
    assert world.files(out, "rasters/**/*.tif") == rasters
    assert world.files(out, "tables/predictions/*.parquet") == world.files(
        done, "tables/predictions/*.parquet"
    )

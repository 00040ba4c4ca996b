"""`lulc submit --on yarn` on a real YARN of two nodes: the map is the local one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.helpers import small_world as world
from tests.helpers.jvm import SPARK_JARS
from tests.helpers.yarn_cluster import YarnCluster, yarn
from tests.lint import ROOT

MADE = ("rasters/**/*.tif", "tables/predictions/*/*.parquet")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[YarnCluster]:
    with yarn(tmp_path_factory.mktemp("yarn")) as running:
        yield running


def submit(
    cluster: YarnCluster, run: Path, out: Path, stages: str, deploy_mode: str = "client"
) -> subprocess.CompletedProcess[str]:
    """Submit stages with conf/yarn.properties and what an operator would add to it."""
    added = {
        "spark.submit.deployMode": deploy_mode,
        "spark.pyspark.python": sys.executable,
        "spark.yarn.jars": f"local:{SPARK_JARS}/*",
        "spark.yarn.stagingDir": (cluster.folder / "staging").as_uri(),
    }
    properties = cluster.folder / f"{deploy_mode}.properties"
    lines = [f"{name} {value}" for name, value in added.items()]
    properties.write_text("\n".join([(ROOT / "conf" / "yarn.properties").read_text(), *lines]))
    command = ["lulc", "submit", str(run), "--on", str(properties), "--out", str(out)]
    return subprocess.run(
        [*command, "--stages", stages],
        env=cluster.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def with_full_paths(run: Path, folder: Path) -> Path:
    """Copy a run file so that it may be sent to a driver elsewhere."""
    settings = yaml.safe_load(run.read_text())
    for entry in (*settings["scenes"], settings["labels"], *settings["regions"]):
        entry["path"] = str(run.parent / entry["path"])
    sent = folder / "run.yaml"
    sent.write_text(yaml.safe_dump(settings))
    return sent


def test_a_driver_on_the_cluster_makes_the_local_rasters(
    cluster: YarnCluster, small: world.World, done: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    shutil.rmtree(out / "rasters")
    ran = submit(cluster, with_full_paths(small.run, tmp_path), out, "rasters", "cluster")
    assert ran.returncode == 0, ran.stdout + ran.stderr + cluster.logs()
    assert world.files(out, MADE[0]) == world.files(done, MADE[0]) != {}


@pytest.mark.cluster
def test_a_run_on_yarn_makes_the_local_map(
    cluster: YarnCluster, small: world.World, done: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    world.copy_model(done, out)
    for stages in ("index,tile", "predict,rasters"):
        ran = submit(cluster, small.run, out, stages)
        assert ran.returncode == 0, ran.stdout + ran.stderr + cluster.logs()
    for pattern in MADE:
        assert world.files(out, pattern) == world.files(done, pattern) != {}

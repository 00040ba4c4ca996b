"""`lulc submit --on yarn` on a real YARN of two nodes: tables and map are the local ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lulc.tables import store
from tests.helpers import short_jvms
from tests.helpers import small_world as world
from tests.helpers.jvm import SPARK_JARS
from tests.helpers.yarn_cluster import YarnCluster, yarn
from tests.lint import ROOT

pytestmark = pytest.mark.cluster

MADE = ("tables/[!lcr]*/**/*.parquet", "tables/c[!l]*/**/*.parquet", "rasters/**/*.tif")
"""What is equal byte for byte: all but the ledger, which has times, and sums."""
PREDICTIONS = "tables/predictions/**/*.parquet"
SUMS = ("class_areas", "regions")
"""Tables of sums, in an order of the partitions."""
ELSEWHERE = {"spark.submit.deployMode": "cluster"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[YarnCluster]:
    with yarn(tmp_path_factory.mktemp("yarn")) as running:
        yield running


def submit(
    cluster: YarnCluster, run: Path, out: Path, stages: str, **added: object
) -> subprocess.CompletedProcess[str]:
    """Submit stages with conf/yarn.properties and what an operator would add to it."""
    settings = {
        "spark.pyspark.python": sys.executable,
        "spark.yarn.jars": f"local:{SPARK_JARS}/*",
        "spark.yarn.stagingDir": (cluster.folder / "staging").as_uri(),
        "spark.dynamicAllocation.maxExecutors": 2,  # the nodes share this machine's cores
        "spark.executor.extraJavaOptions": short_jvms.LIGHT,
        "spark.yarn.am.extraJavaOptions": short_jvms.LIGHT,
        **added,
    }
    properties = cluster.folder / "my.properties"
    lines = [f"{name} {value}" for name, value in settings.items()]
    properties.write_text("\n".join([(ROOT / "conf" / "yarn.properties").read_text(), *lines]))
    command = ("lulc", "submit", run, "--on", properties, "--out", out, "--stages", stages)
    return world.run_command(*command, variables=cluster.environment(), cwd=ROOT)


def with_full_paths(run: Path, folder: Path) -> Path:
    """Copy a run file so that it may be sent to a driver elsewhere."""
    settings = yaml.safe_load(run.read_text())
    for entry in (*settings["scenes"], settings["labels"], *settings["regions"]):
        entry["path"] = str(run.parent / entry["path"])
    sent = folder / "run.yaml"
    sent.write_text(yaml.safe_dump(settings))
    return sent


def check_sums(out: Path, expected: Path) -> None:
    """Hold tables of sums against those of another output folder, to 1e-9 of a value."""
    for name in SUMS:
        ours, theirs = (store.read_table(folder, name).to_pandas() for folder in (out, expected))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=1e-9)


def test_a_run_on_yarn_makes_the_local_tables_and_map(
    cluster: YarnCluster, small: world.World, done: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = submit(cluster, small.run, out, "index,tile,samples,train,predict")
    assert ran.returncode == 0, ran.stdout + ran.stderr + cluster.logs()
    sent = with_full_paths(small.run, tmp_path)
    ran = submit(cluster, sent, out, "rasters,stats,evaluate", **ELSEWHERE)
    assert ran.returncode == 0, ran.stdout + ran.stderr + cluster.logs()
    for pattern in MADE:
        assert world.files(out, pattern) == world.files(done, pattern) != {}
    check_sums(out, done)


def test_a_container_killed_for_its_memory_says_what_to_raise(
    cluster: YarnCluster, small: world.World, done: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(done, tmp_path / "out")
    shutil.rmtree(out / "tables" / "predictions")
    too_little = {"spark.executor.memory": "512m", "spark.executor.memoryOverhead": "64m"}
    ran = submit(cluster, small.run, out, "predict", **too_little)
    assert ran.returncode == 5, ran.stdout + ran.stderr
    assert "exceeding physical memory limits" in ran.stdout
    assert "raise spark.executor.memoryOverhead" in ran.stdout
    ran = submit(cluster, small.run, out, "predict")
    assert ran.returncode == 0, ran.stdout + ran.stderr + cluster.logs()
    assert world.files(out, PREDICTIONS) == world.files(done, PREDICTIONS) != {}

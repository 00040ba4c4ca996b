"""What every executor of a cluster has and lacks, told by a task on each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import lulc
from lulc.cli import main, node_checks
from lulc.cli.node_checks import NodeCheck, format_node_checks
from lulc.errors import SetupError
from lulc.location import parse_location
from lulc.spark import nodes
from tests.helpers import small_world as world
from tests.helpers.jdbc import free_port
from tests.helpers.object_stores import fill_bucket, object_store, store_variables
from tests.helpers.spark_cluster import Worker, standalone
from tests.lint import ROOT


def write_properties(folder: Path, address: str, python: str) -> Path:
    file = folder / "my.properties"
    file.write_text(
        (ROOT / "conf" / "standalone.properties").read_text()
        + f"spark.master {address}\nspark.executor.memory 512m\nspark.driver.host 127.0.0.1\n"
        f"spark.pyspark.python {python}\n"
    )
    return file


def test_each_executor_is_a_row_and_another_version_fails(tmp_path: Path) -> None:
    old = tmp_path / "old" / "lulc-0.1.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: lulc\nVersion: 0.1.0\n")
    path = f"{old.parent}:{world.environment().get('PYTHONPATH', '')}"
    workers = [Worker(), Worker(environment={"PYTHONPATH": path})]
    with standalone(tmp_path / "cluster", workers) as cluster:
        file = write_properties(tmp_path, cluster.address, sys.executable)
        out = tmp_path / "out"
        found = world.lulc("doctor", "--cluster", file, "--out", out, "--json")
    assert found.returncode == 1, found.stderr
    new, differing = json.loads(found.stdout)
    assert (new["host"], differing["host"]) == ("127.0.0.2", "127.0.0.3")
    assert (new["state"], new["location"], new["failures"]) == ("works", "written", {})
    assert (differing["state"], differing["location"]) == ("fails", "written")
    assert differing["failures"] == {"versions": f"lulc 0.1.0, here {lulc.__version__}"}
    assert list(out.iterdir()) == []


@pytest.mark.cluster
def test_a_python_that_is_not_there_is_told_by_host(tmp_path: Path) -> None:
    with standalone(tmp_path / "cluster", [Worker()]) as cluster:
        file = write_properties(tmp_path, cluster.address, "/nowhere/python")
        found = world.lulc("doctor", "--cluster", file)
    assert found.returncode == 1, found.stderr
    assert "127.0.0.2, executor 0: its task failed" in found.stdout
    assert "/nowhere/python" in found.stdout
    assert "spark.pyspark.python" in found.stdout


def test_a_master_that_does_not_answer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"spark://127.0.0.1:{free_port()}"
    assert main.main(["doctor", "--cluster", address]) == SetupError.exit_code
    error = capsys.readouterr().err
    assert f"no Spark master answers at {address}" in error
    assert "lulc doctor" not in error


def test_the_table_ends_with_what_fails_and_its_remedy() -> None:
    works = nodes.Node("0", "a", python="3.12.1", gdal="3.12.1", free_disk=2**33, written="t-0")
    lost = nodes.Node("1", "long.host", error="Cannot run program")
    checks = [NodeCheck(works, {}), NodeCheck(lost, {"task": "its task failed (no program)"})]
    header, first, second, failure, remedy, summary = format_node_checks(checks).splitlines()
    assert header.startswith("host       executor  python")
    assert first.split()[:2] == ["a", "0"]
    assert first.endswith("works")
    assert second.endswith("fails")
    assert failure == "long.host, executor 1: its task failed (no program)"
    assert remedy.startswith("  → start its worker where Python 3.12 is")
    assert summary == "1 of 2 executors fail"
    assert format_node_checks(checks[:1]).endswith("1 executor can run lulc")


@pytest.mark.parametrize("address", ["", "s3://bucket/out"])
def test_what_an_executor_writes_is_seen_by_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with object_store() as place:
        fill_bucket(place, {})
        for name, value in store_variables(place).items():
            monkeypatch.setenv(name, value)
        out = parse_location(address or str(tmp_path / "out"))
        with node_checks._marked(out) as token:
            written = f"{token}-0"
            assert nodes._use_location(str(out), token, written) == ""
            assert node_checks._is_back(out / written)
            assert not node_checks._is_back(out / f"{token}-1")
            other = nodes._use_location(str(out / "other"), token, written)
            assert other == "is not the driver's folder: its file is not there"
        assert list(out.glob(".lulc*")) == []

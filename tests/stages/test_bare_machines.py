"""Workers that see nothing of this checkout: by a packed environment, and by the image's script.

Whole by `pytest -m cluster`, as root.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lulc.tables import store
from tests.helpers import small_world as world
from tests.helpers.bare_machines import (
    PREFIX,
    bare_debian,
    inside_debian,
    machine_without_lulc,
    packed,
)
from tests.helpers.spark_cluster import Cluster, Worker, standalone
from tests.lint import ROOT

pytestmark = pytest.mark.cluster

RASTERS = "rasters/**/*.tif"
CHIPS = "tables/chips/**/*.parquet"
PREDICTIONS = "tables/predictions/*/*.parquet"


def submit(cluster: Cluster, run: Path, out: Path, stages: str, *added: str) -> None:
    """Submit stages with conf/standalone.properties and the lines that an operator adds."""
    lines = [f"spark.master {cluster.address}", "spark.driver.host 127.0.0.1", *added]
    properties = cluster.folder / "my.properties"
    properties.write_text(
        "\n".join([(ROOT / "conf" / "standalone.properties").read_text(), *lines])
    )
    command = ["lulc", "submit", run, "--on", properties, "--out", out, "--stages", stages]
    ran = subprocess.run(
        [*map(str, command)],
        env=world.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        umask=0,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for gigabytes, which are not left behind."""
    folder = tmp_path_factory.mktemp("machines")
    yield folder
    shutil.rmtree(folder)


def test_a_packed_environment_makes_the_local_chips_and_rasters(
    small: world.World, done: Path, place: Path, tmp_path: Path
) -> None:
    pex = place / "lulc.pex"
    packed(pex)
    machines = [machine_without_lulc(place / name) for name in ("one", "two")]
    for machine in machines:
        python = [*machine.enter, "python3.12", "-c", "import lulc"]
        seen = subprocess.run(python, capture_output=True, text=True, check=False)
        assert "No module named 'lulc'" in seen.stderr
    shipped = (f"spark.files {pex}", "spark.pyspark.python ./lulc.pex")
    out, mapped = tmp_path / "out", tmp_path / "mapped"
    shutil.copytree(done, mapped)  # what needs torch, which is not packed, is done
    shutil.rmtree(mapped / "rasters")
    workers = [Worker(memory="2g", machine=machine) for machine in machines]
    with standalone(place / "cluster", workers) as cluster:
        submit(cluster, small.run, out, "index,tile", *shipped)
        submit(cluster, small.run, mapped, "rasters", *shipped)
    assert world.files(out, CHIPS) == world.files(done, CHIPS) != {}
    assert world.files(mapped, RASTERS) == world.files(done, RASTERS) != {}


@pytest.fixture(scope="module")
def debian(place: Path) -> Path:
    """The root of a bare Debian that the image's script made ready."""
    bare_debian(place / "debian")
    return place / "debian"


def test_a_bare_debian_is_a_node_by_the_script_of_the_image(
    small: world.World, done: Path, debian: Path, tmp_path: Path
) -> None:
    out, folder = tmp_path / "out", tmp_path / "cluster"
    world.copy_model(done, out)
    subprocess.run(["chmod", "-R", "a+rwX", out], check=True)
    machine = inside_debian(debian, [small.run.parent, out, folder])
    workers = [Worker(memory="2g", machine=machine)] * 2
    python = f"spark.pyspark.python {PREFIX}/env/bin/python"
    with standalone(folder, workers) as cluster:
        submit(cluster, small.run, out, "index,tile,predict,rasters", python)
    for pattern in (CHIPS, PREDICTIONS, RASTERS):
        assert world.files(out, pattern) == world.files(done, pattern) != {}


def test_a_bare_debian_starts_a_driver_without_a_network(
    small: world.World, done: Path, debian: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    bind = "SPARK_DRIVER_BIND_ADDRESS=127.0.0.1"
    driver = ["env", bind, f"{PREFIX}/entrypoint.sh", "driver", "--master", "local[1]"]
    driver += ["--conf", "spark.driver.host=127.0.0.1", f"{PREFIX}/jobs/index.py"]
    machine = inside_debian(debian, [small.run.parent, out], is_offline=True)
    ran = subprocess.run(
        [*machine.enter, *driver, str(small.run), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "resolving dependencies" not in ran.stderr
    assert not list((debian / "home" / "lulc").glob(".ivy*"))
    assert store.read_table(out, "scenes").equals(store.read_table(done, "scenes"))

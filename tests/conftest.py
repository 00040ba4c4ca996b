"""Fixtures that many tests share: the real data beside the project, and one real Spark session."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from lulc.guard import RAISE_FAULTS
from tests.helpers import short_jvms, small_world
from tests.helpers.small_world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[1]

# The same examples in every run, so that a test fails by what was changed.
settings.register_profile("tests", derandomize=True, deadline=None)
settings.load_profile("tests")

if "SPARK_SUBMIT_OPTS" not in os.environ:  # else of the process that shares its tests out
    os.environ["SPARK_SUBMIT_OPTS"] = short_jvms.options()

# Threads of a training that wait for each other by spinning take the cores from the other process
# of these tests. Set before torch is loaded, which reads it once.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A fault of the program must not pass for input that cannot be read.
os.environ.setdefault(RAISE_FAULTS, "1")

_FIRST = (
    "stages/test_run.py",
    "stages/test_tasks.py",
    "stages/test_incremental.py",
    "stages/test_run_on_store.py",
    "stages/test_searched_run.py",
    "test_notebooks.py",
    "test_api.py",
    "stages/test_train.py",
    "test_examples.py",
    "inference/test_predictor.py",
    "stages/test_gpus.py",
    "stages/test_cluster.py",
    "stages/test_publish.py",
    "training/test_fit.py",
    "test_lint.py",
    "test_docs.py",
)
"""Long files first, so that no process is left with one at the end; the cluster when the run that
it needs is made."""

_SPARK_FIXTURES = {"spark", "done"}
_SPARK_FILES = {
    "stages/test_cluster.py",
    "stages/test_nodes.py",
    "stages/test_gpus.py",
    "stages/test_kubernetes.py",
    "stages/test_tune.py",
    "stages/test_yarn.py",
    "test_examples.py",
    "test_notebooks.py",
}
_SERVER_FILES = {
    "models/test_tracking.py",
    "raster/test_object_store.py",
    "sources/test_linz.py",
    "sources/test_search.py",
    "stages/test_run_on_store.py",
    "stages/test_searched_run.py",
    "stages/test_serve.py",
    "test_inputs_in_stores.py",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by what they start, and put long files first."""
    for name in ("faults", "cluster", "browser"):
        if name in config.option.markexpr:
            continue
        long = {i for i in items if (m := i.get_closest_marker(name)) and not m.kwargs}
        config.hook.pytest_deselected(items=sorted(long, key=lambda item: item.nodeid))
        items[:] = [item for item in items if item not in long]
    for item in items:
        file = item.path.relative_to(ROOT / "tests").as_posix()
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & _SPARK_FIXTURES or file in _SPARK_FILES:
            item.add_marker(pytest.mark.spark)
        if file in _SERVER_FILES:
            item.add_marker(pytest.mark.server)
        if file in _FIRST:
            item.add_marker(pytest.mark.slow)
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    file = item.path.relative_to(ROOT / "tests").as_posix()
    return _FIRST.index(file) if file in _FIRST else len(_FIRST)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real imagery beside the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real imagery: {folder} is not there")
    return folder


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A real session with Sedona on two local cores, tasks retried."""
    from lulc.config import SessionConf
    from lulc.spark import session

    started = session.start_session(SessionConf(master="local[2,3]", memory="1g"))
    yield started
    started.stop()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Put torch on one thread and its seed: what is computed depends on the test alone."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of these tests share."""
    of_process = tmp_path_factory.getbasetemp()
    return of_process.parent if "PYTEST_XDIST_WORKER" in os.environ else of_process


@pytest.fixture(scope="session")
def small(common: Path) -> World:
    """A small archive with labels, regions and run file."""
    folder = common / "world"
    with _turn(common / "world.lock"):
        if folder.exists():
            return small_world.open_world(folder)
        return small_world.make_world(folder)


@pytest.fixture(scope="session")
def done(small: World) -> Path:
    """The output folder of one clean run of the small world; copied before harm is done to it."""
    out = small.run.parent / "out"
    with _turn(small.run.with_name("out.lock")):
        if not out.exists():
            command = (small_world.SCRIPTS / "lulc", "run", small.run, "--out", out)
            variables = os.environ | short_jvms.archiving()
            process = small_world.run_command(*command, variables=variables)
            assert process.returncode == 0, process.stderr
    return out


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    # What takes minutes to make is made by one process, while others wait for it.
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

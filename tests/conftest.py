"""Fixtures that many tests share: the real data beside the project, and one real Spark session."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import world
from tests.world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[1]


# Sessions here live for a minute: a JVM that compiles lightly and collects simply is ready sooner and leaves the cores free.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

_FIRST = (
    "test_run.py",
    "test_tasks.py",
    "test_searched_run.py",
    "test_train_stage.py",
    "test_predict.py",
    "test_cluster.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no process is left with one at the end; the cluster when the run that it needs is made."""
    items.sort(
        key=lambda item: _FIRST.index(item.path.name) if item.path.name in _FIRST else len(_FIRST)
    )


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
    """torch on one thread and from its seed: what is computed depends on the test alone."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of these tests share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def small(common: Path) -> World:
    """A small archive with labels, regions and run file."""
    with _turn(common / "world.lock"):
        return (
            world.open_world(common / "world")
            if (common / "world").exists()
            else world.make_world(common / "world")
        )


@pytest.fixture(scope="session")
def done(small: World) -> Path:
    """The output folder of one clean run of the small world; tests copy it before they do harm to it."""
    out = small.run.parent / "out"
    with _turn(small.run.with_name("out.lock")):
        if not out.exists():
            ran = world.lulc("run", small.run, "--out", out)
            assert ran.returncode == 0, ran.stderr
    return out


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    # What takes minutes to make is made by one process, while others wait for it.
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

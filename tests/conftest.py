"""Fixtures that many tests share: the real data beside the project, and one real Spark session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[1]


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
    from lulc.conf import Spark
    from lulc.spark import session

    started = session.start(Spark(master="local[2,3]", memory="1g"))
    yield started
    started.stop()

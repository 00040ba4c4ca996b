"""Workers that cannot do what they are sent: the message names the machine and the remedy."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import lulc
from lulc import errors
from lulc.config import Config
from lulc.spark.context import StageContext
from lulc.spark.workers import map_keys
from lulc.stages import Selection

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = pa.schema([("host", pa.string())])


@pytest.fixture
def context(spark: SparkSession, tmp_path: Path) -> StageContext:
    return StageContext(
        Config(name="r", scenes=(), bands=("red",)), tmp_path, Selection(), lambda: spark
    )


@contextmanager
def workers_of(spark: SparkSession, python: str | Path) -> Iterator[None]:
    """Let another Python run the tasks."""
    before, spark.sparkContext.pythonExec = spark.sparkContext.pythonExec, str(python)
    try:
        yield
    finally:
        spark.sparkContext.pythonExec = before


def python_with_path(folder: Path, path: str) -> Path:
    """A Python that looks for modules there first."""
    program = folder / "python"
    # Where it stands would come first.
    start = f'cd {folder}\nPYTHONPATH="{path}:$PYTHONPATH" exec {sys.executable} "$@"\n'
    program.write_text(f"#!/bin/sh\n{start}")
    program.chmod(0o755)
    return program


def publish(key: Mapping[str, Any]) -> list[dict[str, Any]]:
    Path(key["path"]).touch()
    return [{"host": "here"}]


def lack_a_module(_: Mapping[str, Any]) -> list[dict[str, Any]]:
    import no_such_module  # type: ignore[import-not-found]

    return [no_such_module]


def be_killed(_: Mapping[str, Any]) -> list[dict[str, Any]]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def failure(context: StageContext, work: Any, folder: Path) -> tuple[int, str]:
    keys = [{"path": str(folder / str(number))} for number in range(2)]
    with pytest.raises(Exception, match=r".") as caught:
        map_keys(context, keys, work, SCHEMA, "tasks")
    return errors.explain(caught.value)


def test_a_worker_of_another_version_fails_before_it_does_anything(
    context: StageContext, spark: SparkSession, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(Path(lulc.__file__).parent, other / "lulc")
    version = other / "lulc" / "__init__.py"
    version.write_text(version.read_text().replace(f'"{lulc.__version__}"', '"0.1.9"'))
    # What the driver's version sends need not be there.
    (other / "lulc" / "spark" / "workers.py").unlink()
    with workers_of(spark, python_with_path(tmp_path, str(other))):
        code, message = failure(context, publish, tmp_path)
    assert code == 5
    assert "has lulc 0.1.9" in message
    assert f"the driver has {lulc.__version__}: install the same on all machines" in message
    assert not list(tmp_path.glob("[0-9]"))
    assert map_keys(context, [{"path": str(tmp_path / "0")}], publish, SCHEMA, "tasks")


def test_a_machine_without_lulc_is_named(
    context: StageContext, spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "lulc.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'lulc'\")"
    )
    with workers_of(spark, python_with_path(tmp_path, str(tmp_path / "bare"))):
        code, message = failure(context, publish, tmp_path)
    assert code == 5
    assert message.startswith("module lulc is not installed on ")
    assert "PYSPARK_PYTHON" in message


def test_a_module_that_is_missing_is_named(context: StageContext, tmp_path: Path) -> None:
    code, message = failure(context, lack_a_module, tmp_path)
    assert code == 5
    assert message.startswith("module no_such_module is not installed on ")


def test_a_missing_python_is_named(
    context: StageContext, spark: SparkSession, tmp_path: Path
) -> None:
    with workers_of(spark, "/no/such/python"):
        code, message = failure(context, publish, tmp_path)
    assert code == 5
    assert message.startswith("/no/such/python cannot be run on ")
    assert "PYSPARK_PYTHON" in message


def test_a_worker_that_is_killed_again_and_again_is_told(
    context: StageContext, tmp_path: Path
) -> None:
    code, message = failure(context, be_killed, tmp_path)
    assert code == 5
    assert "memory" in message
    assert "rerun" in message

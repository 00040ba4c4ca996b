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
from lulc.errors import InputError, SetupError
from lulc.spark import workers
from lulc.spark.context import StageContext
from lulc.spark.incremental import StageWork, Unit, run_incremental
from lulc.spark.workers import map_keys, map_units
from lulc.stages import Selection
from lulc.tables import ledger
from lulc.tables.ledger import LedgerRow

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


def be_done(key: Mapping[str, Any]) -> list[LedgerRow]:
    made = key["made"] or key["fingerprint"]
    if made == "broken":
        raise InputError("a layer cannot be read")
    return [LedgerRow("tile", key["key"], made, "empty")]


@pytest.fixture
def short_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wave has a task a core, those after it two."""
    monkeypatch.setattr(workers, "_FIRST_TASKS", 1)
    monkeypatch.setattr(workers, "_TASKS", 2)
    monkeypatch.setattr(workers, "_WAVE_S", 0)


def stage_of(context: StageContext, made: Mapping[int, str]) -> StageWork:
    """A stage of a key a number, some of which workers make otherwise than planned."""
    tasks = [{"key": f"{n:02d}", "fingerprint": "f", "made": made.get(n)} for n in range(12)]
    units = [Unit(str(task["key"]), "f", task=task) for task in tasks]
    return StageWork(
        "tile",
        "f",
        lambda bad: units,  # noqa: ARG005
        lambda todo: map_units(context, [unit.task for unit in todo], be_done, "keys"),
    )


@pytest.mark.usefixtures("short_waves")
def test_what_ended_is_recorded_wave_by_wave(context: StageContext) -> None:
    with pytest.raises(Exception, match="a layer cannot be read"):
        run_incremental(context, stage_of(context, {9: "broken"}))
    recorded = ledger.read_latest(context.out, "tile")
    first, wave = context.spark().sparkContext.defaultParallelism, 2
    assert list(recorded)[:first] == [f"{n:02d}" for n in range(first)]
    assert 0 < len(recorded) <= 9
    assert len(recorded) % first == 0
    numbers = recorded.column("number")
    assert max(map(numbers.count, numbers)) == wave * first
    result = run_incremental(context, stage_of(context, {}))
    assert (result.skipped, result.empty) == (len(recorded), 12 - len(recorded))


@pytest.mark.usefixtures("short_waves")
def test_another_fingerprint_than_planned_ends_the_stage_in_the_first_wave(
    context: StageContext,
) -> None:
    with pytest.raises(SetupError, match=r"planned 00 as f, and a worker made g of it"):
        run_incremental(context, stage_of(context, {0: "g"}))
    first = context.spark().sparkContext.defaultParallelism
    assert len(ledger.read_latest(context.out, "tile")) == first


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


def test_a_unit_that_does_not_tell_how_long_it_took_is_timed() -> None:
    told = LedgerRow("s", "b", "f", seconds=7.0)
    rows = workers._rows_of_unit(
        lambda key: [LedgerRow("s", key, "f"), told, LedgerRow("s", "c", "f", "bad")], "a"
    )
    untold, kept, bad = (row["seconds"] for row in rows)
    assert 0 <= untold < 60
    assert (kept, bad) == (7.0, None)

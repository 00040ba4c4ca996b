"""The command line: help with an example, errors with remedy and exit code, inspection by name."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from lulc import errors
from lulc.cli import main
from lulc.geo.grid import Grid
from lulc.stages import STAGES
from tests.cli.test_runfile import SMALL
from tests.helpers.synthetic_scenes import write_raster

LULC = Path(sys.executable).with_name("lulc")


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        found = subprocess.run([LULC, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - start)
    assert "lulc run conf/zion.yaml" in found.stdout
    assert min(seconds) < 0.5


VERBS = [
    "init",
    "demo",
    "run",
    "submit",
    *STAGES,
    "plan",
    "info",
    "report",
    "view",
    "sql",
    "serve",
    "design",
    "compare",
    "tune",
    "review",
    "rate",
    "models",
    "doctor",
]


def test_every_verb_is_carried_out() -> None:
    assert set(main._VERBS) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verbs_help_ends_with_an_example(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main.main([verb, "--help"])
    assert stopped.value.code == 0
    assert f"example: lulc {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["run", "absent.yaml", "--out", "o"], 2, "lulc init absent.yaml"),
        (["run", "run.yaml", "--out", "o", "--set", "trian.epochs=1"], 2, "did you mean 'train'"),
        (["run", "run.yaml", "--out", "o"], 2, "no labels or datasets to learn from"),
        (
            ["index", "run.yaml", "--out", "o", "--bbox", "5,7,6,6"],
            2,
            "xmin,ymin,xmax,ymax in degrees",
        ),
        (["run", "run.yaml", "--out", "run.yaml"], 2, "run.yaml is a file: give a folder"),
        (["predict", "--model", "m", "--out", "o"], 2, "--model and --input go together"),
        (["predict", "--units", "vv=sigma0", "--out", "o"], 2, "--units is for --input"),
        (["stats", "--rasters", "a.tif", "--out", "o"], 2, "--regions FILE go together"),
        (
            ["stats", "--rasters", "a.tif", "--regions", "r.gpkg", "--out", "o"],
            2,
            "--rasters '2020=a.tif'",
        ),
        (
            ["stats", "r.yaml", "--rasters", "1=a.tif", "--regions", "r.gpkg", "--out", "o"],
            2,
            "exclude each other",
        ),
        (["predict", "--out", "o"], 2, "give a run file"),
        (["info", "nothing"], 3, "nothing is not there"),
        (["sql", "o", "SELECT 1"], 2, "o holds no tables"),
    ],
)
def test_mistakes_exit_with_their_code_and_remedy(
    arguments: list[str],
    code: int,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(SMALL))
    assert main.main(arguments) == code
    assert text in capsys.readouterr().err


def test_init_writes_a_run_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    assert main.main(["init", str(path)]) == 0
    assert main.main(["init", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert yaml.safe_load(path.read_text())["name"] == "my_map"


def test_an_executors_error_keeps_its_code_and_words() -> None:
    text = (
        "An exception was thrown from the Python worker:\n  File x\n"
        "lulc.errors.InputError: scene S2A of band red cannot be read: cut short\n"
        "\tat org.apache.spark.X"
    )
    assert errors.explain(RuntimeError(text)) == (
        3,
        "scene S2A of band red cannot be read: cut short",
    )


@pytest.mark.parametrize(
    "reason",
    [
        "Container killed by YARN for exceeding physical memory limits. 2.1 GB of 2 GB physical "
        "memory used. Consider boosting spark.executor.memoryOverhead.",
        "The executor with id 4 exited with exit code 137(SIGKILL, possible container OOM).",
    ],
)
def test_an_executor_that_was_killed_for_its_memory_is_told_with_the_remedy(reason: str) -> None:
    text = (
        "Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times, most recent failure:"
        " Lost task 0.3 in stage 1.0 (TID 7) (node5 executor 4): ExecutorLostFailure (executor 4 "
        f"exited caused by one of the running tasks) Reason: {reason}\nDriver stacktrace:"
    )
    code, message = errors.explain(RuntimeError(text))
    assert code == 5
    assert message.startswith("an executor on node5 was killed again and again for the memory")
    assert "raise spark.executor.memoryOverhead" in message


def test_a_task_without_memory_is_told_with_the_remedy() -> None:
    text = (
        "Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times, most recent failure:"
        " Lost task 0.3 in stage 1.0 (TID 7) (here executor driver): java.lang.OutOfMemoryError: "
        "Java heap space\n\tat java.util.Arrays.copyOf\nDriver stacktrace:"
    )
    code, message = errors.explain(RuntimeError(text))
    assert code == 5
    assert message.startswith("a task on here asked Java for more memory than there is (Java heap")
    assert "raise spark.memory" in message


def test_info_tells_a_raster(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["info", str(shared / "zion" / "nlcd_train.tif"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["crs"] == "EPSG:26912"
    assert found["pixels"] == "1073 × 1359"
    assert sum(found["classes"].values()) + found["no class"] == 1073 * 1359


def test_info_counts_classes_where_the_raster_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 4, 6)
    path = write_raster(tmp_path / "map.tif", np.full(grid.shape, 2, np.uint8), grid)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(24).reshape(grid.shape) % 6 > 1)
        file.update_tags(CLASS_2="forest")
    assert main.main(["info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["classes"], found["no class"]) == ({"forest": 16}, 8)
    # What holds other numbers is a raster all the same.
    write_raster(path, np.full(grid.shape, 255, np.uint8), grid, nodata=0)
    assert main.main(["info", str(path), "--json"]) == 0
    assert "classes" not in json.loads(capsys.readouterr().out)


def test_a_run_whose_spark_was_killed_says_so(tmp_path: Path) -> None:
    code = """if True:
        import psutil
        from lulc import errors
        from lulc.config import SessionConf
        from lulc.spark import session

        spark = session.start_session(SessionConf(master="local[1]", memory="512m"))
        java = psutil.Process(spark.sparkContext._gateway.proc.pid)
        for process in (*java.children(recursive=True), java):
            process.kill()
        for _ in range(2):  # the first error differs from the later ones
            try:
                spark.range(3).count()
            except Exception as error:
                print(*errors.explain(error))
    """
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    messages = [line for line in found.stdout.splitlines() if line.startswith("5 Spark has ended")]
    assert len(messages) == 2, found.stderr
    assert all("rerun the same command to resume" in line for line in messages)

"""The whole chain as a user runs it: outputs, reruns, killed workers and damaged files."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
import rasterio.warp

from lulc.models.package import CARD
from lulc.runfile import read_run
from lulc.spark.context import StageContext
from lulc.spark.stages.index import index
from lulc.spark.stages.tile import tile
from lulc.stages import Selection
from lulc.tables import ledger, store
from tests.helpers import small_world as world
from tests.helpers.small_world import World

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the clean run to do harm to."""
    out = tmp_path / "out"
    shutil.copytree(done, out)
    yield out
    shutil.rmtree(out)


def stages(ran: subprocess.CompletedProcess[str]) -> dict[str, dict[str, object]]:
    assert ran.returncode == 0, ran.stderr
    return {s["stage"]: s for s in json.loads(ran.stdout)["stages"]}


def test_the_run_leaves_map_tables_report_and_runs(done: Path, small: World) -> None:
    assert all((done / name).exists() for name in ("report.html", "map.png", "mlflow.db"))
    accuracy = [
        r
        for r in store.read_table(done, "accuracy").to_pylist()
        if r["split"] == "test" and r["class_id"] is None
    ]
    assert accuracy[0]["overall_accuracy"] > 0.8
    agree = total = 0
    for path in sorted(done.glob("rasters/**/*.tif")):
        with rasterio.open(path) as file:
            classes = file.read(1)
            row, col = np.nonzero(classes != file.nodata)
            x, y = file.transform @ (col + 0.5, row + 0.5)
            x, y = (np.asarray(v) for v in rasterio.warp.transform(file.crs, world.GRID.crs, x, y))
            inside_col, inside_row = (np.floor(v).astype(int) for v in ~world.GRID.affine @ (x, y))
            ok = (
                (inside_col >= 0)
                & (inside_row >= 0)
                & (inside_col < world.GRID.width)
                & (inside_row < world.GRID.height)
            )
            agree += int(
                (classes[row, col][ok] == small.truth[inside_row[ok], inside_col[ok]]).sum()
            )
            total += int(ok.sum())
    assert total > 0.95 * small.truth.size
    assert agree / total > 0.8


def test_the_model_card_tells_what_the_run_learned(done: Path) -> None:
    card = (done / "models/world-1" / CARD).read_text()
    assert "labels of the run world" in card
    assert "2024-06-01 to 2024-06-21" in card
    assert re.search(r"^\| 2 \| trees \| [\d,]+ \| \d\d\.\d % \|$", card, re.MULTILINE)
    assert "blocks of 2 × 2 samples are split as a whole; validation 20 %, test 20 %" in card
    assert re.search(r"\*\*Training regime:\*\* (float32|bfloat16)$", card, re.MULTILINE)


def test_areas_balance_and_regions_side_by_side_sum(done: Path) -> None:
    rows = store.read_table(done, "class_areas").to_pylist()
    regions = {r["region_id"]: r for r in store.read_table(done, "regions").to_pylist()}
    assert set(regions) == {"west", "east"}
    for name, region in regions.items():
        assert sum(r["area_m2"] for r in rows if r["region_id"] == name) == pytest.approx(
            region["area_m2"], rel=1e-5
        )
    west = next(r for r in rows if r["region_id"] == "west" and r["class_id"] is None)
    assert west["area_m2"] > 300 * 2500


def test_a_second_run_does_nothing_and_says_so(copied: Path, small: World) -> None:
    def times() -> dict[Path, int]:
        files = [p for p in copied.rglob("*") if p.is_file()]
        changing = ("mlflow.db", "lease")
        return {p: p.stat().st_mtime_ns for p in files if not {*p.parts} & {*changing}}

    before = times()
    ran = world.lulc("run", small.run, "--out", copied)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("nothing to do") == 8
    assert times() == before


def test_of_two_at_once_one_goes_on_and_the_other_is_told(copied: Path, small: World) -> None:
    clean = world.files(copied, "tables/chips/*/*.parquet")
    for table in ("chips", "predictions"):
        sorted((copied / "tables" / table).glob("*/*.parquet"))[1].unlink()
    command = [world.SCRIPTS / "lulc", "run", small.run, "--out", copied]
    pair = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    while all(process.poll() is None for process in pair):
        time.sleep(0.02)
    told, going = sorted(pair, key=lambda process: process.poll() is None)
    assert told.communicate()[1].startswith(f"lulc: {copied} is worked on by `lulc run` of ")
    assert told.returncode == 5
    # Neither another stage nor a run with other settings undoes what it makes.
    other = [("index",), ("tile", "--set", "dates=1"), ("train", "--set", "train.epochs=1")]
    for verb, *settings in other:
        refused = world.lulc(verb, small.run, "--out", copied, *settings)
        assert (refused.returncode, f"process {going.pid} " in refused.stderr) == (5, True)
    assert world.lulc("info", copied).returncode == 0  # those that read go on
    text = going.communicate()[1]
    assert going.returncode == 0, text
    ran = world.lulc("run", small.run, "--out", copied)
    assert ran.stderr.count("nothing to do") == 8
    assert world.files(copied, "tables/chips/*/*.parquet") == clean


def test_deleted_files_are_redone_alone(copied: Path, small: World) -> None:
    before = world.files(copied, "rasters/**/*.tif") | world.files(copied, "tables/**/*.parquet")
    for table in ("chips", "predictions"):
        sorted((copied / "tables" / table).glob("*/*.parquet"))[1].unlink()
    found = stages(world.lulc("run", small.run, "--out", copied, "--json"))
    assert {name: s["done"] for name, s in found.items() if s["done"]} == {"tile": 1, "predict": 1}
    after = world.files(copied, "rasters/**/*.tif") | world.files(copied, "tables/**/*.parquet")
    assert {n: b for n, b in after.items() if "ledger" not in n} == {
        n: b for n, b in before.items() if "ledger" not in n
    }


def test_a_new_model_version_redoes_what_it_made(copied: Path, small: World) -> None:
    before = world.files(copied, "tables/predictions/*/*.parquet")
    found = stages(
        world.lulc("run", small.run, "--out", copied, "--json", "--set", "train.epochs=1")
    )
    assert {name for name, s in found.items() if s["done"]} == {
        "train",
        "predict",
        "rasters",
        "stats",
        "evaluate",
    }
    assert not set(before) & set(world.files(copied, "tables/predictions/*/*.parquet"))


def test_a_killed_worker_changes_nothing(copied: Path, small: World) -> None:
    clean = world.files(copied, "tables/predictions/*/*.parquet")
    shutil.rmtree(copied / "tables" / "predictions")
    command = [world.SCRIPTS / "lulc", "predict", small.run, "--out", copied]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    killed = 0
    while running.poll() is None and not killed:
        for process in psutil.Process(running.pid).children(recursive=True):
            try:
                # The daemon's own children are the workers; one that has used
                # the processor is busy.
                if (
                    "pyspark.daemon" in " ".join(process.parent().cmdline())
                    and process.cpu_times().user > 1
                ):  # type: ignore[union-attr]
                    process.send_signal(signal.SIGKILL)
                    killed = process.pid
                    break
            except (psutil.NoSuchProcess, AttributeError):
                continue
        time.sleep(0.02)
    text = running.communicate()[1]
    assert killed
    assert running.returncode == 0, text
    assert world.files(copied, "tables/predictions/*/*.parquet") == clean


def test_a_file_cut_short_is_left_out_counted_and_limited(
    small: World, tmp_path: Path, spark: SparkSession
) -> None:
    archive, without, out = tmp_path / "archive", tmp_path / "without", tmp_path / "out"
    shutil.copytree(small.archive, archive)
    shutil.copytree(small.archive, without)
    cut = archive / f"S_{world.DAYS[0]}_nir.tif"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for path in without.glob(f"S_{world.DAYS[0]}_*"):
        path.unlink()
    index(
        StageContext(
            read_run(small.run, [f"scenes.0.path={archive}"]), out, Selection(), lambda: spark
        )
    )
    ran = world.lulc("tile", small.run, "--out", out, "--set", f"scenes.0.path={archive}")
    assert ran.returncode == 0, ran.stderr
    assert "WARNING: 1 bad" in ran.stderr
    bad = [r for r in ledger.read_latest(out, "tile").values() if r.status == "bad"]
    assert len(bad) == 1
    assert "nir" in str(bad[0].error)
    expected = StageContext(
        read_run(small.run, [f"scenes.0.path={without}"]),
        tmp_path / "expected",
        Selection(),
        lambda: spark,
    )
    index(expected)
    tile(expected)
    made, clean = (
        [
            (c["tile_id"], c["pixels"], c["valid"])
            for c in store.read_table(o, "chips").sort_by("tile_id").to_pylist()
        ]
        for o in (out, expected.out)
    )
    assert made == clean
    limited = world.lulc(
        "tile", small.run, "--out", out, "--set", f"scenes.0.path={archive}", "--max-bad", 0
    )
    assert limited.returncode == 4
    assert world.DAYS[0] in limited.stderr

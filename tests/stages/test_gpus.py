"""Spark decides which GPU a task and a rank use: made-up GPUs of a real cluster."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lulc.inference import blocks
from lulc.models import package
from lulc.tables.ledger import read_latest
from tests.helpers import small_world
from tests.helpers import untrained_model as untrained
from tests.helpers.spark_cluster import standalone, with_gpus
from tests.helpers.synthetic_chips import (
    cut_chips,
    make_run,
    make_spec,
    note_block,
    texture,
    write_chips,
)
from tests.lint import ROOT

ADDRESSES = ("0", "1")


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with six blocks of chips and a model."""
    out = tmp_path_factory.mktemp("gpus") / "out"
    untrained.make_model(package.local_folder(out, "untrained"))
    image, valid = texture(64, 384)
    for col in range(6):
        note_block(out, write_chips(out, f"{2 * col}_0", cut_chips(image, valid, [(col, 0)], 16)))
    return out


@pytest.fixture(scope="module")
def seen(chips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tasks and ranks see on a worker with four cores and two made-up GPUs."""
    folder = tmp_path_factory.mktemp("cluster")
    with standalone(folder, [with_gpus(ADDRESSES, folder, cores=4)]) as cluster:
        command = (sys.executable, "-m", "tests.helpers.gpu_program", cluster.address, chips)
        ran = small_world.run_command(*command, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def most_at_once(views: list[dict[str, Any]]) -> int:
    events = sorted([(v["start"], 1) for v in views] + [(v["stop"], -1) for v in views])
    running = [sum(step for _, step in events[: n + 1]) for n in range(len(events))]
    return max(running)


@pytest.mark.parametrize(("share", "tasks_a_gpu"), [("1", 1), ("0.5", 2)])
def test_each_gpu_is_used_and_by_no_more_tasks_at_once_than_share_it(
    seen: dict[str, Any], share: str, tasks_a_gpu: int
) -> None:
    views = seen["views"][share]
    assert Counter(tuple(view["addresses"]) for view in views) == {("0",): 2, ("1",): 2}
    for address in ADDRESSES:
        assert most_at_once([v for v in views if v["addresses"] == [address]]) == tasks_a_gpu
    # The GPU that torch would be asked for is the one that Spark reserved.
    assert all(view["gpu"] == int(view["addresses"][0]) for view in views)


def test_a_stage_without_a_network_keeps_no_gpu_from_others(seen: dict[str, Any]) -> None:
    views = seen["views"]["0"]
    assert all(view["addresses"] == [] for view in views)
    assert most_at_once(views) == 4
    # GPUs that are in view all the same are taken in turn.
    assert sorted(view["gpu"] for view in views) == [0, 0, 1, 1]


def test_each_rank_sees_its_own_gpu_and_later_tasks_see_all(seen: dict[str, Any]) -> None:
    assert sorted(seen["ranks"]) == ["0", "1"]
    assert [view["variable"] for view in seen["views"]["0"]] == [None] * 4


def test_predict_reserves_the_share_that_the_run_file_gives(
    seen: dict[str, Any], chips: Path
) -> None:
    assert seen["mapped"] == 6
    (log,) = chips.glob("app-*")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    profiles = {
        event["Resource Profile Id"]: event["Task Resource Requests"]
        for event in events
        if event["Event"] == "SparkListenerResourceProfileAdded"
    }
    stages = [
        event["Stage Info"]
        for event in events
        if event["Event"] == "SparkListenerStageSubmitted"
        and event["Properties"].get("spark.job.description") == "predict"
    ]
    assert stages
    for stage in stages:
        assert profiles[stage["Resource Profile Id"]]["gpu"]["Amount"] == 0.5


@pytest.mark.usefixtures("one_thread")
def test_blocks_that_share_a_task_are_mapped_as_each_alone(
    seen: dict[str, Any], chips: Path, tmp_path: Path
) -> None:
    assert seen["mapped"] == 6
    shutil.copytree(chips / "tables" / "chips", tmp_path / "tables" / "chips")
    settings = make_run(predict={"precision": "float32"}).predict
    spec = make_spec(tmp_path, package.local_folder(chips, "untrained"), settings)
    for tile in read_latest(chips, "tile").values():
        (row,) = blocks.map_blocks([{**vars(tile)}], spec)
        assert (tmp_path / str(row.path)).read_bytes() == (chips / str(row.path)).read_bytes()

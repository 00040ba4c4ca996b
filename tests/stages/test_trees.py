"""A run by trees, end to end: told, logged with importances, mapped as one process maps."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest

import lulc
from lulc.cli import main
from lulc.models import registry
from lulc.models.package import CARD, CONTRACT, MLM_ITEM, TREES
from lulc.tables import store
from lulc.tables.arrays import array_from
from tests.helpers import small_world as world
from tests.helpers.small_world import World

_SETTINGS = ("train.model=boosting", "train.trees.count=20", "predict.flips=true")


def test_a_run_by_boosting(
    small: World, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    # Chips and samples stand; runs are logged to a database of its own.
    own = shutil.ignore_patterns("mlflow.db*", "mlartifacts", "models", "checkpoints")
    shutil.copytree(done, out, ignore=own)
    asked = [part for setting in _SETTINGS for part in ("--set", setting)]
    ran = world.lulc("run", small.run, "--out", out, *asked)
    assert ran.returncode == 0, ran.stderr
    assert "of no use to model boosting, as for networks: train.depth" in ran.stderr
    assert "predict.flips" in ran.stderr
    assert "growing 20 trees a class from 1,000,000 labels or fewer" in ran.stderr
    accuracy = [
        row["overall_accuracy"]
        for row in store.read_table(out, "accuracy").to_pylist()
        if row["split"] == "test" and row["class_id"] is None
    ]
    assert accuracy[0] > 0.8
    found = registry.resolve("world", out)
    assert sorted(path.name for path in found.folder.iterdir()) == [CARD, CONTRACT, MLM_ITEM, TREES]
    assert "boosting, trees (LightGBM)" in (found.folder / CARD).read_text()

    client = mlflow.MlflowClient(registry.store_uri(None, out))
    run_id = client.get_model_version_by_alias("world", "champion").run_id
    assert client.get_run(run_id).data.params["train.trees.count"] == "20"
    logged = {
        artifact.path
        for folder in ("pictures", "tables")
        for artifact in client.list_artifacts(run_id, folder)
    }
    assert {"pictures/importances.png", "tables/importances.csv"} <= logged

    run = lulc.open_run(out)
    model, rows = run.model(), store.read_table(out, "predictions").to_pylist()
    tiles = {row["tile_id"]: array_from(row, "classes") for row in rows}
    chips = list(itertools.islice(run.chips(), 4))
    for chip in chips:
        core = slice(chip.halo, -chip.halo)
        assert np.array_equal(model.segment(chip).classes[core, core], tiles[chip.tile_id])
    assert chips
    assert main.main(["info", str(found.folder)]) == 0
    assert "boosting" in capsys.readouterr().out

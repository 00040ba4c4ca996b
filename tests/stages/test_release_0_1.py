"""What release 0.1 left is taken up: its model maps, its run folder is done again with one line."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pytest

from lulc.config import Config
from lulc.errors import InputError
from lulc.inference import predictor
from lulc.models import registry
from lulc.runfile import parse_run
from lulc.spark import pipeline
from lulc.spark.context import Selection
from lulc.spark.stages.predict import predict
from lulc.tables import ledger, store
from tests.helpers import tiny_samples as toy

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ARCHIVE = Path(__file__).parents[1] / "data" / "release_0_1.zip"
MADE_IN = "/release_0_1"  # the folder that stands for the one they were made in


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders `model` and `run` of release 0.1, where its MLflow store names them."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    with sqlite3.connect(tmp_path / "model" / "mlflow.db") as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for column in [row[1] for row in database.execute(f"PRAGMA table_info('{table}')")]:
                database.execute(
                    f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                    f'WHERE typeof("{column}") = \'text\' AND "{column}" LIKE ?',
                    (MADE_IN, str(tmp_path), f"%{MADE_IN}%"),
                )
    database.close()
    return tmp_path


def test_its_registered_model_is_found_and_maps_the_same(old: Path) -> None:
    sample = toy.make_sample(2000, dates=3)
    expected = np.load(old / "classes.npy")
    model = registry.resolve("toy", old / "model")
    scales, offsets = (toy.SCALE,) * 2, (toy.OFFSET,) * 2
    loaded = predictor.load(model.folder)
    classes, _ = loaded.segment(sample["pixels"], sample["valid"], scales, offsets)
    assert (classes == expected).all()
    assert loaded.contract.legend == toy.LEGEND


def test_the_script_that_it_kept_beside_the_model_still_maps(old: Path) -> None:
    sample = toy.make_sample(2000, dates=3)
    physical = sample["pixels"] * toy.SCALE + toy.OFFSET
    physical = np.where(sample["valid"][:, None], physical, np.nan).astype(np.float32)
    mlflow.set_tracking_uri(registry.store_uri(None, old / "model"))
    try:
        model = mlflow.pyfunc.load_model("models:/toy@champion")
    finally:
        mlflow.set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    (classes,) = model.predict(physical[None])
    valid = sample["valid"].all(0)
    assert (classes == np.load(old / "classes.npy"))[valid].mean() > 0.99


def _config(**changes: object) -> Config:
    classes = {c.id: {"name": c.name, "colour": c.colour} for c in toy.LEGEND.classes}
    raw = {
        "name": "toy",
        "scenes": [{"path": "archive"}],
        "bands": list(toy.BANDS),
        "legend": classes,
        "tiling": {"crs": "EPSG:3035", "resolution": 10, "size": 64, "halo": 16, "block": 2},
        "samples": {"size": 64},
        "periods": [{"name": "june", "start": "2024-06-01", "end": "2024-06-30"}],
    }
    return parse_run(raw | changes, Path("/"))


def test_its_run_folder_is_done_again_with_one_line_and_never_half_used(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lulc import progress

    out, config = old / "run", _config(task="series")
    shutil.copytree(old / "model" / "mlartifacts", out / "mlartifacts")
    shutil.copy(old / "model" / "mlflow.db", out / "mlflow.db")
    assert list((out / "tables/chips").glob("*.parquet"))
    with progress.console(), pipeline.stage_context(config, out, Selection(), "run") as context:
        assert "was made by lulc 0.1: every stage is done again" in capsys.readouterr().err
        # Its chips are not mapped; the message names the stage to run.
        with pytest.raises(InputError, match="run `lulc tile` first"):
            predict(context)
    with progress.console(), pipeline.stage_context(config, out, Selection(), "run"):
        assert capsys.readouterr().err == ""
    assert ledger.read_done(out, "tile") == {}
    # What it wrote can still be read.
    assert store.read_table(out, "scenes").num_rows == 4


def test_its_files_are_replaced_by_the_first_run(old: Path, spark: SparkSession) -> None:
    from lulc.sources.scene import scenes_to_table
    from lulc.spark.context import StageContext
    from lulc.spark.stages.tile import tile
    from tests.stages.test_tile import _archive, _run

    out = old / "run"
    before = {p.name for p in (out / "tables/chips").glob("*.parquet")}
    with pipeline.stage_context(_run(), out, Selection(), "run"):
        pass
    store.write_table(out, "scenes", scenes_to_table(_archive(old / "archive")))
    result = tile(StageContext(_run(), out, Selection(), lambda: spark))
    assert (result.skipped, result.bad) == (0, 0)
    assert result.done > 0
    assert not before & {p.name for p in (out / "tables/chips").rglob("*.parquet")}

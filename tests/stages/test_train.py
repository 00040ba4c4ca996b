"""The train stage: ranks under TorchDistributor, a registered version, idle the second time."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from lulc import progress
from lulc.config import Config, TrainConf
from lulc.errors import InputError, UsageError
from lulc.legend import NODATA
from lulc.models import registry
from lulc.models.contract import read_contract
from lulc.models.package import CONTRACT
from lulc.runfile import parse_run
from lulc.spark.context import StageContext
from lulc.spark.ranks import _error_of_rank
from lulc.spark.stages.train import train
from lulc.stages import Selection
from lulc.tables import ledger, store
from lulc.training.fit import read_log
from tests.helpers import tiny_samples as toy


def _never() -> SparkSession:
    raise AssertionError("Spark is not needed here")


def make_run(**settings: object) -> Config:
    classes = {c.id: {"name": c.name, "colour": c.colour} for c in toy.LEGEND.classes}
    config = parse_run(
        {
            "name": "toy",
            "scenes": [{"path": "archive"}],
            "bands": list(toy.BANDS),
            "legend": classes,
        },
        Path("/"),
    )
    small = {
        "depth": 3,
        "decoder": (16, 8, 8),
        "batch": 4,
        "accumulate": 2,
        "epochs": 2,
        "rate": 3e-3,
        "precision": "float32",
    }
    return dataclasses.replace(config, train=TrainConf(**{**small, **settings}))


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    toy.write_samples(store.table_folder(tmp_path, "samples"), training=11, validation=3, group=3)
    ledger.append_ledger(tmp_path, [ledger.LedgerRow("samples", ledger.STAGE_KEY, "s1")])
    return tmp_path


def test_two_uneven_ranks_make_a_version_that_stands(
    out: Path,
    spark: SparkSession,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = make_run(ranks=2)
    with progress.console():
        made = train(StageContext(run, out, Selection(), lambda: spark))
    assert (made.done, made.skipped) == (1, 0)
    assert "toy version 1, best epoch" in made.note
    assert "training loss" in made.note and "validation loss" in made.note
    captured = capsys.readouterr()
    assert [f"epoch {i}/2" in captured.err for i in (1, 2)] == [True, True]
    assert captured.out == ""
    found = registry.resolve("toy", out)
    learned = read_contract(found.folder / CONTRACT)
    assert (learned.bands, learned.legend, learned.gsd_m, learned.multiple) == (
        toy.BANDS,
        toy.LEGEND,
        pytest.approx(10),
        8,
    )
    assert learned.precision == "float32"
    # Every labelled valid pixel of the validation split, unevenly shared, is counted once.
    expected = sum(
        int(((s := toy.make_sample(1000 + i))["label"] != NODATA)[s["valid"][0]].sum())
        for i in range(3)
    )
    assert [
        np.sum(entry["matrix"]) for entry in read_log(next((out / "checkpoints").iterdir()))
    ] == [expected] * 2
    row = ledger.read_latest(out, "train")["toy"]
    assert (out / row.path).exists()
    assert row.checksum == found.checksum

    # Nor is torch loaded, which takes seconds.
    monkeypatch.setitem(sys.modules, "lulc.spark.training", None)
    again = train(StageContext(run, out, Selection(), _never))
    assert (again.done, again.skipped, again.note) == (0, 1, "toy version 1 is registered")
    assert ledger.read_latest(out, "train")["toy"] == row


def test_what_cannot_run_is_said_before_spark_starts(
    out: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(InputError, match=r"train\.ranks"):
        train(StageContext(make_run(ranks=8), out, Selection(), _never))
    with pytest.raises(UsageError, match=r"train\.depth"):
        train(StageContext(make_run(depth=5, decoder=()), out, Selection(), _never))
    with pytest.raises(InputError, match="lulc samples"):
        train(StageContext(make_run(), tmp_path_factory.mktemp("empty"), Selection(), _never))


def test_a_rank_s_error_reaches_the_user_as_it_was() -> None:
    text = (
        "…\n[rank1]: lulc.errors.InputError: "
        "/data/x.parquet has samples that differ: rebuild it\nother"
    )
    with pytest.raises(InputError, match=r"^/data/x.parquet has samples that differ: rebuild it$"):
        raise _error_of_rank(text)
    assert "MemoryError" in str(_error_of_rank("a\nb\nMemoryError"))

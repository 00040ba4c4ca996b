"""Tuning trials: one split for all settings, folds hold back each sample once; all is logged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from PIL import Image

from lulc.cli import main
from lulc.errors import StoreError
from lulc.location import parse_location
from lulc.spark import tune
from lulc.tables import store
from lulc.training import lr_finder
from tests.helpers import small_world as world
from tests.helpers import tiny_samples as toy
from tests.helpers.object_stores import store_variables


@pytest.fixture(scope="module")
def run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two easy classes as a dataset, and a run file that learns them."""
    folder, rng = tmp_path_factory.mktemp("tune"), np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        (folder / "images" / name).mkdir(parents=True)
        for n in range(24):
            Image.fromarray(rng.normal(level, 15, (32, 32, 3)).clip(0, 255).astype("uint8")).save(
                folder / "images" / name / f"{n}.png"
            )
    options = {
        "task": "classify",
        "images": "{class}/{item}.png",
        "classes": "dark, light",
        "gsd_m": "10",
    }
    settings = {
        "name": "tune",
        "datasets": [{"name": "images", "root": "images", "options": options}],
        "samples": {"validation": 0.25, "test": 0.25, "block": 1},
        "train": {"epochs": 2, "batch": 8, "rate": 0.003, "precision": "float32"},
        "spark": {"master": "local[2]", "memory": "1g"},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_settings_and_folds_are_compared_and_logged_as_children(
    run_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = [
        "tune",
        run_file,
        "--out",
        out,
        "--over",
        "train.rate=1e-8,0.003",
        "--folds",
        "2",
        "--json",
    ]
    ran = world.lulc(*asked)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [row["settings"] for row in found] == ["train.rate=0.003", "train.rate=1e-08"]
    assert (found[0]["metric"], found[0]["trials"]) == ("accuracy", 2)
    assert found[0]["mean"] > 0.9 > found[1]["mean"]
    trials = store.read_table(out, "trials").to_pylist()
    assert {(row["settings"], row["fold"]) for row in trials} == {
        (r["settings"], f) for r in found for f in (0, 1)
    }
    assert found[0]["mean"] == pytest.approx(
        np.mean([r["score"] for r in trials if r["settings"] == found[0]["settings"]])
    )
    held = [ids(out / "folds" / f"{n}_of_2", "test") for n in range(2)]
    assert not set(held[0]) & set(held[1])
    assert len(held[0]) + len(held[1]) == 48
    client = mlflow.MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    logged = client.search_runs([client.get_experiment_by_name("tune").experiment_id])
    (parent,) = (r for r in logged if "mlflow.parentRunId" not in r.data.tags)
    children = [r for r in logged if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    trial_params = {(r.data.params["train.rate"], r.data.params["fold"]) for r in children}
    assert trial_params == {(rate, fold) for rate in ("1e-08", "0.003") for fold in "01"}
    assert "mean_accuracy" in parent.data.metrics


def ids(out: Path, split: str) -> list[str]:
    """Sample ids of a split."""
    import pyarrow.dataset as ds

    table = ds.dataset(store.table_folder(out, "samples"), partitioning="hive").to_table(
        columns=["sample_id", "split"]
    )
    return [
        i
        for i, s in zip(table["sample_id"].to_pylist(), table["split"].to_pylist(), strict=True)
        if s == split
    ]


def test_only_how_a_model_is_trained_may_vary(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main.main(["tune", str(run_file), "--out", str(tmp_path), "--over", "samples.seed=1,2"])
        == 2
    )
    assert "only settings under train" in capsys.readouterr().err


def test_folds_of_a_run_without_chips_name_its_own_folder(
    small: world.World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["tune", str(small.run), "--out", str(tmp_path), "--over", "train.rate=0.1"]
    assert main.main([*asked, "--folds", "2"]) == 3
    assert f"{tmp_path} holds no chips of tiling" in capsys.readouterr().err


def test_a_store_that_does_not_answer_is_no_result_of_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in store_variables("127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    job = replace(toy.make_job(tmp_path, tmp_path), folder=parse_location("s3://bucket/trial"))
    with pytest.raises(StoreError, match="does not answer"):
        tune._try({"number": 0}, [tune.Trial("train.rate=0.1", None, job)])


def test_the_rate_at_which_the_loss_falls_is_found(tmp_path: Path) -> None:
    job = toy.make_job(toy.write_samples(tmp_path / "samples"), tmp_path / "kept")
    found = lr_finder.try_rates(job, 60)
    tried, losses = np.array(found).T
    assert (np.diff(np.log(tried)) > 0).all()
    assert losses.min() < 0.9 * losses[0]
    assert tried[0] < lr_finder.suggest(found) < tried[losses.argmin()] * 1.01
    assert 1e-4 < lr_finder.suggest(found) < 0.3
    assert lr_finder.draw_rates(found, tmp_path / "rates.png").stat().st_size > 5000
    assert not (tmp_path / "kept").exists()

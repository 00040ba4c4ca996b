"""MLflow runs and models: registered, found by fingerprint, loaded without pickle; outages pass."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sqlalchemy import make_url

from lulc import progress
from lulc.config import Config, TrackingConf
from lulc.errors import InputError, SetupError, UsageError
from lulc.location import StorePath
from lulc.models import package, registry, tracking
from lulc.models.contract import Contract, read_contract, write_contract
from lulc.models.networks.registry import MODELS
from lulc.models.networks.trained_parts import WeightCount
from lulc.models.package import CARD, CONTRACT, MLM_ITEM, WEIGHTS
from lulc.report.training import draw_confusion
from lulc.runfile import parse_run
from tests.helpers import tiny_samples as toy
from tests.helpers.object_stores import faulty_store, fill_bucket, store_variables
from tests.helpers.tracking_server import tracking_server
from tests.test_paths import AWKWARD

ARCHITECTURE = {"encoder": "resnet18", "depth": 3, "decoder": [16, 8, 8], "dropout": 0.0}


@pytest.fixture(autouse=True)
def _no_store_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.chdir(tmp_path)


def make_run(uri: str | None = None, required: bool = False) -> Config:
    classes = {c.id: {"name": c.name, "colour": c.colour} for c in toy.LEGEND.classes}
    raw = {
        "name": "toy",
        "scenes": [{"path": "https://user:secret@host/scenes?X-Amz-Signature=abc"}],
        "bands": list(toy.BANDS),
        "legend": classes,
    }
    raw["spark"] = {"conf": {"spark.hadoop.fs.s3a.secret.key": "hidden"}}
    return dataclasses.replace(
        parse_run(raw, Path("/")), tracking=TrackingConf(uri, None, required)
    )


def make_training(folder: Path, fingerprint: str = "f1", seed: int = 0) -> tracking.Training:
    """A training of a network nobody trained: weights from the seed, two epochs of figures."""
    torch.manual_seed(seed)
    net = MODELS["unet"].build(2, 3, **ARCHITECTURE)
    folder.mkdir(parents=True)
    save_file(
        {name: value.contiguous() for name, value in net.state_dict().items()}, folder / WEIGHTS
    )
    prints = {"samples": "s1", "train": fingerprint}
    contract = Contract(
        "toy",
        "segment",
        "unet",
        ARCHITECTURE,
        toy.BANDS,
        (0.1, 0.3),
        (0.1, 0.2),
        toy.LEGEND,
        10.0,
        multiple=8,
        fingerprints=prints,
        precision="bfloat16",
        units=("toa_reflectance", ""),
    )
    write_contract(contract, folder / CONTRACT)
    (folder / CARD).write_text("# Model Card for toy\n")
    matrix = np.array([[9, 1, 0, 0], [2, 5, 0, 1], [3, 0, 0, 0]])
    history: list[dict[str, Any]] = [
        {
            "epoch": i,
            "matrix": matrix.tolist(),
            "finished": 1_700_000_000_000 + i,
            "metrics": {"loss": 1 / i, "miou": i / 4, "iou/water": float("nan")},
        }
        for i in (1, 2)
    ]
    return tracking.Training(
        prints,
        history,
        2,
        folder,
        [draw_confusion(matrix, toy.LEGEND, "toy", folder / "confusion.png")],
        weight_count=WeightCount(3, 12),
    )


@pytest.fixture(scope="module")
def logged(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Config, Path, package.ModelRef]]:
    """One training logged to the output folder's own SQLite store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        out = tmp_path_factory.mktemp("out") / AWKWARD
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        run = make_run()
        yield run, out, tracking.log_training(run, out, make_training(out / "made"))


def test_a_training_becomes_a_run_and_a_champion(
    logged: tuple[Config, Path, package.ModelRef],
) -> None:
    _, out, found = logged
    assert (found.name, found.version, found.folder) == ("toy", "1", out / "models" / "toy-1")
    assert sorted(p.name for p in found.folder.iterdir()) == [CARD, CONTRACT, MLM_ITEM, WEIGHTS]
    client = mlflow.MlflowClient(registry.store_uri(None, out))
    version = client.get_model_version_by_alias("toy", "champion")
    assert (str(version.version), version.tags["fingerprint"], version.tags["checksum"]) == (
        "1",
        "f1",
        found.checksum,
    )
    made = client.get_run(version.run_id)
    assert made.info.status == "FINISHED"
    assert made.data.params["train.encoder"] == "resnet18"
    assert made.data.params["train.precision"] == "auto"
    assert made.data.params["precision"] == "bfloat16"
    counts = [made.data.params[name] for name in ("trained_weights", "network_weights")]
    assert counts == ["3", "12"]
    assert [row["precision"] for row in registry.list_versions(out)] == ["bfloat16"]
    assert made.data.params["legend.7.name"] == "water"
    assert made.data.tags["fingerprint.samples"] == "s1"
    assert made.data.tags["units"] == f"{toy.BANDS[0]} (toa_reflectance), {toy.BANDS[1]}"
    assert made.data.tags["units"] == version.tags["units"]
    assert [m.value for m in client.get_metric_history(version.run_id, "miou")] == [0.25, 0.5]
    assert [a.path for a in client.list_artifacts(version.run_id, "pictures")] == [
        "pictures/confusion.png"
    ]
    assert "model/README.md" in [a.path for a in client.list_artifacts(version.run_id, "model")]
    assert not list((out / "mlartifacts").rglob("*.pkl"))
    assert not list(Path.cwd().iterdir()), "nothing is written where the user stands"


def test_classes_hardly_mapped_are_tags_of_the_version_and_its_run(
    logged: tuple[Config, Path, package.ModelRef], tmp_path: Path
) -> None:
    run, out, _ = logged
    for version, names in (("1", ["sand", "trees"]), ("7", ["sand"]), ("local", ["sand"])):
        tracking.tag_hardly_mapped(run, out, "toy", version, names)
    client = mlflow.MlflowClient(registry.store_uri(None, out))
    version = client.get_model_version("toy", "1")
    for tags in (version.tags, client.get_run(version.run_id).data.tags):
        assert tags["hardly_mapped.validation"] == "sand"
        assert tags["hardly_mapped.test"] == "sand, trees"
    tracking.tag_hardly_mapped(run, out, "toy", "1", [])
    assert client.get_model_version("toy", "1").tags["hardly_mapped.test"] == "none"
    tracking.tag_hardly_mapped(run, tmp_path, "toy", "1", ["sand"])
    assert not list(tmp_path.iterdir()), "no store is made for a tag"


def test_no_secret_reaches_the_store(logged: tuple[Config, Path, package.ModelRef]) -> None:
    _, out, _ = logged
    held = (out / "mlflow.db").read_bytes()
    assert b"https://host/scenes" in held
    for secret in (b"hidden", b"user:secret", b"X-Amz"):
        assert secret not in held


def test_a_model_is_found_by_name_alias_version_and_fingerprint(
    logged: tuple[Config, Path, package.ModelRef],
) -> None:
    run, out, first = logged
    for name in ("toy", "models:/toy@champion", "models:/toy/1", "toy@champion"):
        assert registry.resolve(name, out) == first
    assert registry.find_version(run, out, "f1") == first
    assert registry.find_version(run, out, "another") is None
    for name in ("models:/toy/9", "models:/toy@best", "other"):
        with pytest.raises(InputError, match="lulc train"):
            registry.resolve(name, out)
    with pytest.raises(UsageError, match="models:/"):
        registry.resolve("runs:/1/model", out)


def test_files_lost_or_changed_are_fetched_again(
    logged: tuple[Config, Path, package.ModelRef],
) -> None:
    _, out, first = logged
    whole = (first.folder / WEIGHTS).read_bytes()
    (first.folder / WEIGHTS).write_bytes(whole[:-1] + b"x")
    assert registry.resolve("toy", out) == first
    assert (first.folder / WEIGHTS).read_bytes() == whole
    (first.folder / CONTRACT).unlink()
    assert registry.resolve("toy", out) == first
    assert not [p for p in (out / "models").iterdir() if p.name.startswith(".")]


def test_an_artifact_changed_or_deleted_in_the_registry_is_refused(tmp_path: Path) -> None:
    run = make_run()
    first = tracking.log_training(run, tmp_path, make_training(tmp_path / "made"))
    second = tracking.log_training(run, tmp_path, make_training(tmp_path / "again", "f2", seed=1))
    assert (first.version, second.version) == ("1", "2")
    assert first.checksum != second.checksum
    assert registry.resolve("toy", tmp_path) == second
    assert registry.resolve("models:/toy/1", tmp_path) == first
    stored = sorted((tmp_path / "mlartifacts").rglob(WEIGHTS), key=lambda p: p.stat().st_mtime)
    stored[0].write_bytes(b"not the weights")
    stored[1].unlink()
    for ref in (first, second):
        (ref.folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match="checksum"):
        registry.resolve("models:/toy/1", tmp_path)
    with pytest.raises(InputError, match=WEIGHTS):
        registry.resolve("models:/toy/2", tmp_path)
    assert registry.find_version(run, tmp_path, "f2") is None


def test_the_logged_model_loads_without_pickle_and_maps_the_same(
    logged: tuple[Config, Path, package.ModelRef],
) -> None:
    predictor = pytest.importorskip("lulc.inference.predictor")
    _, out, found = logged
    sample = toy.make_sample(5, dates=2)
    physical = np.where(
        sample["valid"][:, None], sample["pixels"] * toy.SCALE + toy.OFFSET, np.nan
    ).astype(np.float32)
    mlflow.set_tracking_uri(registry.store_uri(None, out))
    try:
        model = mlflow.pyfunc.load_model("models:/toy@champion")
    finally:
        mlflow.set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, -1, 2, -1, -1)
    maps = model.predict(physical[None])
    assert (maps.shape, maps.dtype) == ((1, toy.SIDE, toy.SIDE), np.uint8)
    direct, _ = predictor.load(found.folder).segment(
        sample["pixels"], sample["valid"], (toy.SCALE,) * 2, (toy.OFFSET,) * 2
    )
    assert (maps[0] == direct).mean() > 0.999


@pytest.fixture
def dead() -> str:
    """The address of a server that is not there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://user:pass@127.0.0.1:{sock.getsockname()[1]}"


def test_a_dead_server_stops_nothing_unless_it_is_required(
    dead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(dead)
    with progress.console():
        assert not tracking.reachable(run, tmp_path)
        found = tracking.log_training(run, tmp_path, make_training(tmp_path / "made"))
    assert (found.version, found.folder) == ("local", tmp_path / "models" / "toy-local")
    assert registry.find_version(run, tmp_path, "f1") == found
    assert registry.find_version(run, tmp_path, "f2") is None
    assert registry.resolve("toy", tmp_path, dead) == found
    stderr = capsys.readouterr().err
    assert "training goes on" in stderr
    assert "pass@" not in stderr
    with pytest.raises(SetupError, match="required"):
        tracking.reachable(make_run(dead, required=True), tmp_path)
    # Nor is the model that was kept taken for one that is registered.
    with pytest.raises(SetupError, match=rf"{dead.partition('@')[2]}.*required.*start it") as held:
        registry.find_version(make_run(dead, required=True), tmp_path, "f1")
    assert "pass@" not in str(held.value)
    with pytest.raises(SetupError, match="cannot be reached"):
        registry.resolve("models:/toy@champion", tmp_path, dead)


def test_a_tracking_server_takes_the_model_that_was_kept_while_it_was_down(
    dead: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    training = make_training(tmp_path / "made")
    tracking.log_training(make_run(dead), out, training)
    with tracking_server(tmp_path) as uri:
        run = make_run(uri)
        assert tracking.reachable(run, out)
        assert registry.find_version(run, out, "f1") is None
        found = tracking.log_training(run, out, training)
        assert (found.version, found.folder) == ("1", out / "models" / "toy-1")
        assert not (out / "models" / "toy-local").exists()
        assert registry.resolve("toy", tmp_path / "other", uri).checksum == found.checksum
        assert registry.ui_command(run, out) == uri
    assert not (out / "mlflow.db").exists()


def test_a_contract_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = make_training(tmp_path / "made").folder / CONTRACT
    contract = read_contract(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"reduce": "median"}))
    assert read_contract(path) == contract
    raw = json.loads(path.read_text())
    del raw["precision"]
    path.write_text(json.dumps(raw))
    assert read_contract(path) == dataclasses.replace(contract, precision="")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"unknown": 1}))
    with pytest.raises(InputError, match="is not a model contract"):
        read_contract(path)


def test_the_command_that_shows_runs_names_the_store(tmp_path: Path) -> None:
    assert registry.ui_command(make_run(), tmp_path) is None  # nothing is kept there yet
    (tmp_path / "mlflow.db").touch()
    assert (
        registry.ui_command(make_run(), tmp_path)
        == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db"
    )
    assert registry.ui_command(make_run("http://user:pass@host:1/x"), tmp_path) == "http://host:1/x"


@pytest.mark.parametrize("name", ["a?b=c", "50%20", "100%", "a#b@c:d;e", AWKWARD])
def test_the_database_lies_in_the_output_folder_whatever_its_name(
    tmp_path: Path, name: str
) -> None:
    out = tmp_path / name
    out.mkdir()
    database = make_url(registry.store_uri(None, out)).database
    assert database is not None
    Path(database).write_text("the database")
    assert (out / "mlflow.db").read_text() == "the database"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert registry.store_uri(None, out) == registry.store_uri(None, out)


def test_a_store_without_a_server_keeps_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    with faulty_store() as (place, _):
        for name, value in store_variables(place).items():
            monkeypatch.setenv(name, value)
        fill_bucket(place, {})
        out, config = StorePath("s3://bucket") / "run", make_run()
        assert not tracking.reachable(config, out)
        assert "set MLFLOW_TRACKING_URI" in said[0]
        assert registry.find_version(config, out, "f1") is None
        with pytest.raises(InputError, match="no tracking server is set"):
            registry.resolve("toy", out)
        kept = tracking.log_training(config, out, make_training(tmp_path / "model"))
        assert (kept.version, kept.folder) == ("local", out / "models/toy-local")
        assert registry.find_version(config, out, "f1") == kept
        assert registry.find_version(config, out, "f2") is None
        assert registry.resolve("toy", out) == kept
        assert registry.resolve(str(kept.folder), tmp_path) == kept
        (listed,) = registry.list_versions(out)
        assert (listed["name"], listed["version"], listed["task"]) == ("toy", "local", "segment")
        assert listed["precision"] == "bfloat16"
        assert registry.ui_command(config, out) is None
        with pytest.raises(UsageError, match="required is set"):
            tracking.reachable(make_run(required=True), out)
        with pytest.raises(UsageError, match="required is set"):
            registry.find_version(make_run(required=True), out, "f1")

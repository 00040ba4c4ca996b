"""Inputs that are not there are told before anything starts; what fails at once leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import lulc
from lulc.api.inputs import find_missing
from lulc.cli import main
from lulc.errors import InputError, UsageError
from lulc.stages import STAGES
from tests.cli.test_runfile import SMALL
from tests.samples.test_from_datasets import write_eurosat

LATER: dict[str, Any] = {
    "labels": {"path": "truth.tif"},
    "layers": [
        {"path": "dem.tif", "band": "elevation"},
        {"path": "https://e.org/x.tif", "band": "web"},
    ],
    "regions": [{"path": "parks.gpkg"}, {"path": "packed.zip", "level": "park"}],
    "train": {"weights": "encoder.pth"},
    "area": "area.gpkg",
}


def make_config(folder: Path, **settings: Any) -> lulc.Config:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **settings}))
    return lulc.load_config(path)


def test_every_input_that_is_not_there_is_named_by_its_key(tmp_path: Path) -> None:
    (tmp_path / "packed.zip").touch()
    missing = find_missing(make_config(tmp_path, **LATER), STAGES)
    assert list(missing) == [
        "area",
        "layers.0.path",
        "labels.path",
        "train.weights",
        "regions.0.path",
    ]
    assert missing["labels.path"] == (
        f"{tmp_path}/truth.tif is not there, which stage samples reads"
    )
    published = make_config(tmp_path, train={"weights": "imagenet"}, area="1,2,3,4")
    assert not find_missing(published, STAGES)


def test_a_run_does_not_start_without_an_input_of_a_later_stage(tmp_path: Path) -> None:
    out, config = tmp_path / "out", make_config(tmp_path, labels=LATER["labels"])
    with pytest.raises(InputError, match=r"labels\.path: .*truth\.tif is not there.*samples"):
        lulc.run(config, out)
    assert not out.exists()
    # The stage that is asked for reads no labels: its own fault is told.
    with pytest.raises(InputError, match=r"archive .* is not there"):
        lulc.run(config, out, stages="index")
    assert not out.exists()


def test_what_fails_at_once_keeps_what_was_there(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    kept = tmp_path / "out" / "config.yaml"
    kept.parent.mkdir()
    kept.write_text("# mine\n")
    with pytest.raises(InputError, match="is not there"):
        lulc.run(config, kept.parent, stages="index")
    assert [path.name for path in kept.parent.iterdir()] == ["config.yaml"]


def test_an_output_that_is_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError, match="file is a file: give a folder"):
        lulc.run(make_config(tmp_path), file, stages="index")
    assert file.read_text() == "mine"


def test_a_plan_tells_of_inputs_that_a_later_stage_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_eurosat(tmp_path / "eurosat")
    run = tmp_path / "run.yaml"
    dataset = {"name": "eurosat", "root": "eurosat", "options": {"bands": "ms"}}
    weights = {"weights": "encoder.pth"}
    run.write_text(yaml.safe_dump({"name": "a", "datasets": [dataset], "train": weights}))
    assert main.main(["plan", str(run)]) == 0
    assert f"train.weights: {tmp_path}/encoder.pth is not there" in capsys.readouterr().out

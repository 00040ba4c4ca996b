"""A run file is understood whole, or the error names the key and the nearest known one."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import yaml

from lulc import runfile
from lulc.errors import UsageError
from tests.lint import ROOT

SMALL = {
    "name": "small",
    "scenes": [{"path": "archive"}],
    "bands": ["red", "nir"],
    "legend": {1: {"name": "water", "colour": "#0000ff"}, 2: {"name": "land", "colour": "#00ff00"}},
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def test_relative_paths_are_the_files_own(small: Path) -> None:
    config = runfile.read_run(
        small, ["labels.path=truth.tif", "area=area.gpkg", "tiling.like=a.tif"]
    )
    assert config.scenes[0].path == str(small.parent / "archive")
    assert config.labels is not None
    assert config.labels.path == str(small.parent / "truth.tif")
    assert (config.area, config.tiling.like) == (
        str(small.parent / "area.gpkg"),
        str(small.parent / "a.tif"),
    )


def test_settings_lie_over_the_file_and_boxes_stay_boxes(small: Path) -> None:
    config = runfile.read_run(
        small, ["train.epochs=3", "scenes.0.quality=SCL", "area=10,50,11,51", "tiling.size=256"]
    )
    assert (config.train.epochs, config.scenes[0].quality, config.area, config.tiling.size) == (
        3,
        "SCL",
        "10,50,11,51",
        256,
    )


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("trian.epochs=3", "'trian'; did you mean 'train'"),
        ("train.epoch=3", "'train.epoch'; did you mean 'epochs'"),
        ("scenes.0.qualty=x", "did you mean 'quality'"),
        ("train.epochs=many", "train.epochs"),
        ("train.epochs=0", "greater than or equal"),
        ("samples.size=96 labels.path=truth.tif", "must divide tiling.size"),
        ("max_bad=lots", "a count such as 3, or a share such as 5%"),
        ("bands=[red, red]", "names a band twice"),
        ("legend.255={name: x, colour: '#000000'}", "255"),
        ("bands=[red, observations]", "add `composite"),
        ("composite={method: best}", "composite.index is two bands"),
        ("composite={method: best, index: [nir, blue]}", "composite.index has"),
        ("train", "key=value"),
    ],
)
def test_mistakes_are_named(small: Path, setting: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        runfile.read_run(small, [setting] if "{" in setting or "[" in setting else setting.split())


def test_what_is_missing_is_named(small: Path) -> None:
    small.write_text("name: x\n")
    with pytest.raises(UsageError, match=r"'scenes' is missing.*'bands' is missing"):
        runfile.read_run(small)
    with pytest.raises(UsageError, match="lulc init"):
        runfile.read_run(small.with_name("other.yaml"))


def test_a_run_travels_to_executors(small: Path) -> None:
    config = runfile.read_run(small)
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "conf").glob("*.yaml")), ROOT / "lulc" / "cli" / "template.yaml"],
    ids=lambda p: p.stem,
)
def test_every_run_file_of_the_project_is_valid(path: Path) -> None:
    assert runfile.read_run(path).name

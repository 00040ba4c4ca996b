"""Inputs that are not there are told before anything starts; what fails at once leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import yaml

import lulc
from lulc.api.inputs import find_missing
from lulc.cli import main
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid
from lulc.stages import STAGES
from tests.cli.test_runfile import SMALL
from tests.helpers.synthetic_scenes import write_raster
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


def test_a_run_does_not_start_on_labels_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, survey = tmp_path / "out", tmp_path / "survey.csv"
    survey.write_text("class,longitude,latitude\n1,10,50\nlake,11,50\n")
    outlines = tmp_path / "outlines.geojson"
    box = shapely.box(10, 50, 11, 51)
    geopandas.GeoDataFrame({"class": ["sea"]}, geometry=[box], crs=4326).to_file(outlines)
    points = {"path": str(survey), "column": "class", "points": {}}
    polygons = {"path": str(outlines), "column": "class"}
    faults = [
        (points, r"values \['lake'\] of column 'class' have no class in legend"),
        (polygons, r"values \['sea'\] of column 'class' have no class in legend"),
        ({"path": str(survey), "column": "class"}, r"table without geometries.*`points: \{\}`"),
        (points | {"crosswalk": {"lake": 9}}, "leads to ids that are not in the legend"),
    ]
    for labels, message in faults:
        with pytest.raises((InputError, UsageError), match=message):
            lulc.run(make_config(tmp_path, labels=labels), out)
        assert not out.exists()
    # A plan tells it beside what the run would cost.
    grid = Grid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_600_000.0), 64, 64)
    for band in ("red", "nir"):
        pixels = np.ones(grid.shape, np.uint8)
        write_raster(tmp_path / f"archive/20200101_{band}.tif", pixels, grid)
    scenes = [{"path": "archive", "source": "geotiff", "pattern": "{date}_{band}.tif"}]
    make_config(tmp_path, scenes=scenes, labels=points)
    assert main.main(["plan", str(tmp_path / "run.yaml")]) == 0
    assert "bad labels                labels" in capsys.readouterr().out

"""A plan lists what a run then writes: tiles, sizes of chips, items; and why where it cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from shapely.geometry import shape

from lulc.cli import main
from lulc.cli.plan import summary
from lulc.cost.plan import make_plan
from lulc.datasets import registry
from lulc.geo import grid
from lulc.runfile import parse_run
from lulc.tables import store
from lulc.yaml12 import parse_yaml
from tests.cli.test_runfile import SMALL
from tests.datasets.test_bigearthnet import SECOND, write_metadata, write_s2
from tests.helpers.object_stores import store_variables
from tests.helpers.small_world import GRID, World, lulc
from tests.samples.test_from_datasets import write_eurosat


def test_a_plan_has_the_tiles_and_chips_that_the_run_made(
    small: World, done: Path, tmp_path: Path
) -> None:
    ran = lulc("plan", small.run, "--json", "--geojson", tmp_path / "tiles.geojson")
    assert ran.returncode == 0, ran.stderr
    planned, tiles = json.loads(ran.stdout), json.loads((tmp_path / "tiles.geojson").read_text())
    outlines = {tile["id"]: shape(tile["geometry"]) for tile in tiles["features"]}
    chips = store.read_table(done, "chips", ["tile_id", "pixels_shape", "pixels_dtype"])
    written = set(chips["tile_id"].to_pylist())
    assert written <= set(outlines)
    # What is planned and not written is at the edge: its pixels turned out to hold nothing.
    assert not any(outlines[tile].within(grid.footprint(GRID)) for tile in set(outlines) - written)
    assert planned["tiles"] == len(outlines)
    assert (
        planned["chip bytes"]
        == np.prod(chips["pixels_shape"][0].as_py())
        * np.dtype(chips["pixels_dtype"][0].as_py()).itemsize
    )
    assert (planned["scenes"], planned["bad scenes"]) == (
        store.read_table(done, "scenes").num_rows,
        {},
    )


def test_a_plan_names_scenes_that_cannot_be_read(small: World, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    shutil.copytree(small.archive, folder / "archive")
    shutil.copy(small.run, folder)
    for day in ("20240601", "20240611"):
        for file in (folder / "archive").glob(f"*{day}*"):
            file.write_bytes(b"not a raster")
    found = json.loads(lulc("plan", folder / "run.yaml", "--json").stdout)
    assert found["scenes"] == 1
    assert len(found["bad scenes"]) == 2
    for file in (folder / "archive").glob("*.tif"):
        file.write_bytes(b"not a raster")
    ran = lulc("plan", folder / "run.yaml")
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "none of 3 scenes" in ran.stderr
    assert "S_20240601" in ran.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"area": "100,0,101,1"}, "no scene reaches the area of the run; scenes lie at longitude"),
        (
            {"periods": [{"name": "1990", "start": "1990-01-01", "end": "1990-12-31"}]},
            "no scene is of a period of the run",
        ),
    ],
)
def test_a_plan_that_makes_no_tile_says_why(
    small: World, change: dict[str, Any], words: str
) -> None:
    raw = parse_yaml(small.run.read_text(), str(small.run))
    told = summary(make_plan(parse_run(raw | change, small.run.parent)))
    assert told["tiles"] == 0
    assert any(words in note for note in told["notes"])


def test_a_store_that_does_not_answer_makes_no_scene_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in store_variables("127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    images = {band: {"href": f"s3://bucket/{band}.tif"} for band in SMALL["bands"]}
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "a", "assets": images}
    item |= {"properties": {"datetime": "2024-06-01T00:00:00Z"}, "geometry": None}
    (tmp_path / "a.json").write_text(json.dumps(item))
    run_file = tmp_path / "run.yaml"
    scenes = [{"path": "a.json", "unmasked": "allow"}]
    run_file.write_text(yaml.safe_dump({**SMALL, "scenes": scenes}))
    assert main.main(["plan", str(run_file)]) == 5
    assert "127.0.0.1:1 does not answer" in capsys.readouterr().err


def test_a_plan_of_datasets_has_their_items(tmp_path: Path) -> None:
    written = write_eurosat(tmp_path / "one")
    write_eurosat(tmp_path / "two")
    confs = [
        {"name": "eurosat", "root": name, "options": {"bands": "ms"}} for name in ("one", "two")
    ]
    settings = {"name": "two", "datasets": confs, "train": {"epochs": 7}}
    run = tmp_path / "run.yaml"
    run.write_text(yaml.safe_dump(settings))
    found = json.loads(lulc("plan", run, "--json").stdout)
    size = sum(file.stat().st_size for file in (tmp_path / "one").rglob("*.tif"))
    # Of nothing but datasets no tiles are cut: a task of training needs most.
    memory = {stage: cost["memory bytes"] for stage, cost in found["stages"].items()}
    assert max(memory, key=memory.__getitem__) == "train"
    assert set(memory) == {"samples", "train"}
    expected = {
        "run": "two",
        "eurosat items": len(written),
        "eurosat files bytes": size,
        "eurosat-2 items": len(written),
        "eurosat-2 files bytes": size,
    }
    assert found.items() >= expected.items()
    assert found["training"].startswith(f"7 epochs, at most {2 * len(written)} samples")
    shown = lulc("plan", run, "--price", "0.0001")
    assert shown.returncode == 0, shown.stderr
    (money,) = [line for line in shown.stdout.splitlines() if line.startswith("money")]
    # Of little, as many digits as say how much; cores that are held and idle cost, too.
    of_work, held = (float(text.split()[0]) for text in money.removeprefix("money").split(","))
    assert 0 < of_work < held < 0.01
    assert f"eurosat items             {len(written)}" in shown.stdout
    shutil.rmtree(tmp_path / "two")
    lost = lulc("plan", run)
    assert lost.returncode == 3
    assert "is not a folder" in lost.stderr


def test_an_item_that_is_a_folder_has_the_bytes_of_its_files(tmp_path: Path) -> None:
    patch = tmp_path / f"BigEarthNet-S2/{SECOND}/{SECOND}_26_57"
    write_s2(patch)
    # A patch of the table whose folder is not there has none.
    write_metadata(
        tmp_path / "metadata.parquet",
        [(at, "train", ["Inland waters"], False) for at in ("26_57", "26_58")],
    )
    conf = {"name": "bigearthnet", "root": str(tmp_path)}
    config = registry.complete_from_datasets(
        parse_run({"name": "patches", "datasets": [conf]}, tmp_path)
    )
    size = sum(file.stat().st_size for file in patch.glob("*.tif"))
    assert size > 100_000
    assert make_plan(config).items == {"bigearthnet": (2, size)}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--cores=0", "0 is no number of cores"),
        ("--cores=2.5", "2.5 is no number of cores"),
        ("--price=-1", "-1 is no price"),
        ("--price=nan", "nan is no price"),
        ("--price=cheap", "cheap is no price"),
    ],
)
def test_a_figure_that_is_none_is_refused(
    option: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main.main(["plan", "run.yaml", option])
    assert words in capsys.readouterr().err

"""A run file is understood whole, or the error names the key and the nearest known one."""

from __future__ import annotations

import math
import pickle
import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from lulc import runfile
from lulc.api.config import load_config, save_config, saved_config
from lulc.cli.run import _combinations
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
        ("train.epochs=010", "is 010: write 10 for the number, '010' in quotes"),
        ("train.epochs=1_000", "train.epochs.*'1_000'"),
        ("train.epochs=true", "train.epochs.*True"),
        ("train.rate=1:30", "train.rate.*'1:30'"),
        ("predict.flips=yes", "predict.flips.*'yes'"),
        ("legend.true={name: x, colour: '#000000'}", "legend.true"),
        ("labels={path: a.tif, crosswalk: {11: 1.0}}", r"labels.crosswalk.11.*1\.0"),
        ("labels={path: a.tif, crosswalk: {1.0: 1}}", r"labels.crosswalk.*1\.0"),
        ("periods=[{name: a, start: 2020}]", "give a day as 2023-06-30"),
        ("periods=[{name: a, start: 2020-05-01, end: 2020-04-30}]", "a starts after its end"),
        ("periods=[{name: a, end: 2020-12-31}, {name: a}]", "names a period twice"),
        ("periods={name: a}", "periods: give a list"),
        ("tiling.resolution=.inf", "tiling.resolution.*finite"),
        ("scenes.0.scale=.nan", "scenes.0.scale.*finite"),
        ("train.rate=1e400", "train.rate.*finite"),
        ("periods=[2020]", "periods.0: give a mapping"),
        ("periods=[{name: 2020}]", "periods.0.name: 2020 is no text.*in quotes, '2020'"),
        ("legend.2.name=true", "legend.2.name: True is no text"),
        ("publish={warehouse: 's4://x'}", "publish.warehouse s4://x is of no store that is known"),
        ("publish={warehouse: 's3://x/y'}", "give publish.catalog its type"),
        ("publish={warehouse: 'hdfs://x/y'}", "give publish.catalog its type"),
        ("bands=[red, red", "--set 'bands=.* is not YAML"),
        (
            "scenes=[{path: a.parquet, search: {catalogue: linz, collections: [a]}}, "
            "{path: ./a.parquet, search: {catalogue: linz, collections: [b]}}]",
            "two searches keep their answers in scenes.path .*a.parquet: give each its own",
        ),
    ],
)
def test_mistakes_are_named(small: Path, setting: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        runfile.read_run(small, [setting] if "{" in setting or "[" in setting else setting.split())


def test_no_data_may_be_nan(small: Path) -> None:
    (archive,) = runfile.read_run(small, ["scenes.0.nodata=.nan"]).scenes
    assert archive.nodata is not None
    assert math.isnan(archive.nodata)


def test_what_is_missing_is_named(small: Path) -> None:
    small.write_text("name: x\n")
    with pytest.raises(UsageError, match=r"'scenes' is missing.*'bands' is missing"):
        runfile.read_run(small)
    with pytest.raises(UsageError, match="lulc init"):
        runfile.read_run(small.with_name("other.yaml"))


def test_ids_are_read_as_they_are_written_or_refused(small: Path) -> None:
    small.write_text(
        "name: t\nscenes: [{path: .}]\nbands: [red]\nlegend:\n"
        "  010: {name: crops, colour: '#e49635'}\n  020: {name: trees, colour: '#397d49'}\n"
    )
    with pytest.raises(UsageError, match=r"run\.yaml line 5, column 3 is 010"):
        runfile.read_run(small)
    small.write_text(small.read_text().replace("  0", "  "))
    assert list(runfile.read_run(small).legend) == [10, 20]
    small.write_text(small.read_text() + "  10: {name: water, colour: '#0000ff'}\n")
    with pytest.raises(UsageError, match=r"line 7, column 3 repeats key '10' of line 5"):
        runfile.read_run(small)


def test_settings_reach_classes_by_their_ids(small: Path) -> None:
    settings = ["legend.2.name=ground", "legend.7={name: ice, colour: '#ffffff'}"]
    settings += ["labels={path: a.tif}", "labels.crosswalk.41=2"]
    config = runfile.read_run(small, settings)
    assert {i: entry.name for i, entry in config.legend.items()} == {
        1: "water",
        2: "ground",
        7: "ice",
    }
    assert config.labels is not None
    assert config.labels.crosswalk == {41: 2}
    with pytest.raises(UsageError, match=r"legend\.01"):
        runfile.read_run(small, ["legend.01={name: ice, colour: '#ffffff'}"])


def test_what_a_run_keeps_of_its_run_file_is_read_back(small: Path) -> None:
    words = ["yes", "NA", "null", "1e3", "0x1F", "1:30", "2020-01-01", "~", "<<", "Ä ö: #", "1_000"]
    legend = {i: {"name": word, "colour": "#0000ff"} for i, word in enumerate(words)}
    labels = {
        "path": "a.gpkg",
        "column": "kind",
        "crosswalk": {"010": 1, **{f"{word} ": 2 for word in words}},
    }
    periods = [{"name": "2020", "start": date(2020, 1, 1)}, {"name": "1e3", "end": "2021-01-01"}]
    config = load_config(small, {"legend": legend, "labels": labels, "periods": periods})
    save_config(config, small.parent)
    assert saved_config(small.parent) == config


def test_values_to_compare_are_those_that_are_written() -> None:
    texts = ["train.rate=1e-3,0.01", "train.model=unet,null", 'name="010",yes,"1e3"']
    settings = [tuple(map(runfile.parse_setting, trial)) for trial in _combinations(texts)]
    assert len(settings) == 2 * 2 * 3
    assert settings[0] == (("train.rate", 0.001), ("train.model", "unet"), ("name", "010"))
    assert settings[-1] == (("train.rate", 0.01), ("train.model", None), ("name", "1e3"))


def test_a_crs_that_is_none_is_named_with_the_file(small: Path) -> None:
    with pytest.raises(UsageError, match=r"run\.yaml: tiling\.crs: CRS 'EPSG:6=33' is not known"):
        load_config(small, {"tiling.crs": "EPSG:6=33"})


def test_words_and_days_keep_their_sense(small: Path) -> None:
    small.write_text(
        small.read_text()
        + "labels: {path: a.gpkg, column: country, crosswalk: {NO: 1, on: 2, 2020-01-01: 1}}\n"
        "periods: [{name: '2020', start: 2020-01-01, end: '2020-12-31'}]\n"
    )
    config = runfile.read_run(small)
    assert config.labels is not None
    assert config.labels.crosswalk == {"NO": 1, "on": 2, "2020-01-01": 1}
    assert config.periods[0].start == date(2020, 1, 1)


def test_a_run_file_of_another_encoding_is_read_or_named(small: Path) -> None:
    text = small.read_text().replace("water", "Wässer")
    for encoding in ("utf-8-sig", "utf-16"):
        small.write_bytes(text.encode(encoding))
        assert runfile.read_run(small).legend[1].name == "Wässer"
    small.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"run\.yaml is not YAML: its text is not UTF-8"):
        runfile.read_run(small)
    with pytest.raises(UsageError, match="cannot be read"):
        runfile.read_run(small.parent)


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


def test_every_setting_that_the_template_offers_can_be_switched_on(tmp_path: Path) -> None:
    template = (ROOT / "lulc" / "cli" / "template.yaml").read_text()
    offered = re.findall(r"^( *)# (\w+)(: .*)$", template, re.MULTILINE)
    assert {"refine", "rasters", "stats", "embed", "features", "points", "train"} <= {
        key for _, key, _ in offered
    }
    file = tmp_path / "run.yaml"
    for indent, key, rest in offered:
        switched = template.replace(f"{indent}# {key}{rest}\n", f"{indent}{key}{rest}\n")
        # It takes the place of what the template sets.
        others = re.compile(rf"^{indent}{key}(?!{re.escape(rest)}$):.*\n", re.MULTILINE)
        file.write_text(others.sub("", switched))
        runfile.read_run(file)

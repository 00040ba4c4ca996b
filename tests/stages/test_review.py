"""Labels that were flipped are found by models that did not learn them, through the real verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lulc.api.config import load_config
from lulc.cli import main
from lulc.errors import InputError, UsageError
from lulc.legend import LandClass, Legend
from lulc.spark.context import StageContext
from lulc.spark.folds import check_tested
from lulc.spark.review import Review, review
from lulc.stages import Selection
from lulc.stats.confusion import summarise
from lulc.tables import schemas, store
from tests.helpers import small_world as world
from tests.helpers.labelled_pixels import publish_sample

NAMES = ("dark", "middle", "light")
FLIPPED = {"dark_3": "light", "middle_7": "dark", "light_11": "middle"}


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """Pictures of three easy classes, three of the 60 in the folder of another."""
    rng = np.random.default_rng(0)
    for name, level in zip(NAMES, (50, 120, 190), strict=True):
        for n in range(20):
            item = f"{name}_{n}"
            folder = tmp_path / "images" / FLIPPED.get(item, name)
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.normal(level, 15, (32, 32, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / f"{item}.png")
    options = {"task": "classify", "images": "{class}/{item}.png", "classes": ", ".join(NAMES)}
    settings = {
        "name": "flipped",
        "datasets": [
            {"name": "images", "root": "images", "options": options | {"gsd_m": "10"}},
        ],
        "samples": {"validation": 0.2, "block": 1},
        "train": {"epochs": 3, "repeats": 2, "batch": 8, "rate": 0.003, "precision": "float32"},
        "spark": {"master": "local[2]", "memory": "1g"},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_flipped_labels_are_the_most_doubtful(run_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = world.lulc("review", run_file, "--out", out, "--folds", "2", "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    suspects = store.read_table(out, "suspects").to_pylist()
    assert len(suspects) == found["labels"] == found["reviewed"] == 60
    assert {row["fold"] for row in suspects} == {0, 1}
    scores = [row["score"] for row in suspects]
    assert scores == sorted(scores)
    worst = {Path(row["sample_id"]).stem: row for row in suspects[:3]}
    assert set(worst) == set(FLIPPED)
    for item, row in worst.items():
        assert (row["label"], row["answer"]) == (FLIPPED[item], item.split("_")[0])
        assert row["doubted"]
    assert 3 <= found["doubted"] == sum(row["doubted"] for row in suspects) < 30
    assert found["accuracy"] > 0.85
    assert len(found["accuracy_of_folds"]) == 2
    assert min(found["accuracy_of_folds"]) <= found["accuracy"] <= max(found["accuracy_of_folds"])
    assert found["most_frequent"]["share"] == pytest.approx(1 / 3, abs=0.03)
    assert not found["warning"]
    with Image.open(found["picture"]) as picture:
        assert min(picture.size) > 300


@pytest.mark.parametrize(("right", "told"), [(49, "only 49.0%"), (50, "")])
def test_models_that_agree_with_few_labels_are_not_to_be_trusted(right: int, told: str) -> None:
    matrix = np.array([[right, 100 - right, 0], [0, 0, 0]])
    legend = Legend("two", (LandClass(1, "one", "#ff0000"), LandClass(2, "other", "#00ff00")))
    found = Review(schemas.SUSPECTS.empty_table(), summarise(matrix, legend), Path())
    assert told in found.warning
    assert bool(told) == bool(found.warning)


def test_models_that_say_the_frequent_class_alone_are_not_to_be_trusted() -> None:
    legend = Legend("two", (LandClass(1, "one", "#ff0000"), LandClass(2, "other", "#00ff00")))
    nothing = summarise(np.array([[80, 0, 0], [20, 0, 0]]), legend)
    much = summarise(np.array([[80, 0, 0], [10, 10, 0]]), legend)
    one_class = summarise(np.array([[100, 0, 0], [0, 0, 0]]), legend)
    empty = schemas.SUSPECTS.empty_table()
    told = Review(empty, nothing, Path(), (nothing,)).warning
    assert told.startswith("models agree with only 80.0%")
    assert "class 'one' alone is 80.0%" in told
    told = Review(empty, much, Path(), (much, nothing, one_class)).warning
    assert told.startswith("the models without folds 1, whose suspects are not to be trusted")
    assert Review(empty, much, Path(), (much, one_class)).warning == ""


def test_labels_that_cannot_be_reviewed_are_refused(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["review", str(run_file), "--out", str(tmp_path), "--folds", "1"]) == 2
    assert "two or more" in capsys.readouterr().err
    config = replace(load_config(run_file), task="detect")
    context = StageContext(config, tmp_path, Selection(), lambda: pytest.fail("Spark is asked for"))
    with pytest.raises(UsageError, match="one class a pixel or an image"):
        review(context, 2)


def test_a_fold_that_holds_nothing_out_is_told(tmp_path: Path) -> None:
    publish_sample(tmp_path, "train")
    with pytest.raises(InputError, match=r"fold 3 of 5 holds no label out.*fewer --folds"):
        check_tested(tmp_path, 3, 5)
    publish_sample(tmp_path, "test")
    check_tested(tmp_path, 3, 5)

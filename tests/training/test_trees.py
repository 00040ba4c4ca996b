"""Trees learn from a drawn table, map as they were grown, and are read from a whole text alone."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lulc.config import PredictConf, TrainConf, TreesConf
from lulc.errors import InputError, UsageError
from lulc.inference import predictor
from lulc.legend import NODATA
from lulc.models.contract import Contract, write_contract
from lulc.models.networks import trees as models
from lulc.models.package import CONTRACT, TREES, model_checksum, place_model
from lulc.training import loader, trees
from lulc.training.fit import TrainResult, fit, score_split
from lulc.training.setup import TrainJob, check_job, measure, plan_splits
from tests.helpers import tiny_samples as toy

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = TreesConf(count=8, leaves=8, rate=0.05, bands=0.5)


def make_job(samples: Path, folder: Path, model: str = "boosting", **settings: object) -> TrainJob:
    conf = TrainConf(**{"model": model, "trees": FEW, "batch": 8, **settings})
    return TrainJob(conf, toy.LEGEND, samples, folder, bands=toy.BANDS)


def package(job: TrainJob, result: TrainResult, folder: Path, **changes: object) -> Path:
    """Write the model folder of a training."""
    layout = plan_splits(job, 1)[0].layout
    plain = {
        "name": "toy",
        "task": job.task_name,
        "model": job.model.name,
        "architecture": job.architecture,
        "bands": layout.bands,
        "mean": result.mean,
        "std": result.std,
        "legend": job.legend,
        "gsd_m": 10.0,
        "multiple": 1,
        "size": toy.SIDE,
        "temperature": result.temperature,
    }
    folder.mkdir(parents=True)
    write_contract(Contract(**(plain | changes)), folder / CONTRACT)
    (folder / TREES).write_bytes(result.weights.read_bytes())
    return folder


@pytest.fixture(scope="module")
def grown(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of two small trees."""
    folder = tmp_path_factory.mktemp("grown")
    job = make_job(samples, folder, trees=TreesConf(count=2, leaves=5, rate=0.05, bands=0.5))
    return package(job, fit(job), folder / "model")


def segment(folder: Path, **settings: object) -> tuple[np.ndarray, np.ndarray]:
    sample = toy.make_sample(2000)
    factors = ((toy.SCALE,) * 2, (toy.OFFSET,) * 2)
    settings_of = PredictConf(**settings) if settings else None
    return predictor.load(folder).segment(sample["pixels"], sample["valid"], *factors, settings_of)


@pytest.mark.parametrize("model", ["boosting", "forest"])
def test_trees_learn_map_and_stand_for_what_they_say(
    samples: Path, tmp_path: Path, model: str
) -> None:
    job = make_job(samples, tmp_path / "job", model, trees=TreesConf(count=30, leaves=8, rate=0.1))
    result = fit(job)
    (entry,) = result.history
    assert entry["metrics"]["accuracy"] > 0.97
    assert entry["metrics"]["ece"] < 0.03
    assert score_split(job, result, "validation")["miou"] == entry["metrics"]["miou"]
    placed = tmp_path / "placed"
    place_model(package(job, result, tmp_path / "model"), placed)
    assert model_checksum(placed) == model_checksum(tmp_path / "model")
    sample = toy.make_sample(2000)
    classes, confidence = segment(placed)
    seen = sample["valid"][0]
    labelled = seen & (sample["label"] != NODATA)
    assert (classes == sample["label"])[labelled].mean() > 0.97
    assert (classes[~seen] == NODATA).all() and (confidence[~seen] == NODATA).all()
    # Neighbours tell nothing: neither windows nor mirror images change a pixel.
    for changed in (segment(placed, window=64), segment(placed, flips=True)):
        assert all(map(np.array_equal, changed, (classes, confidence)))


def test_a_forest_gives_the_shares_of_the_classes_in_its_leaves(
    samples: Path, tmp_path: Path
) -> None:
    # Of each class alone: a tree's mean over the rows is that of the labels.
    job = make_job(samples, tmp_path / "job", "forest", trees=TreesConf(count=200, leaves=2))
    text = fit(job).weights.read_bytes()
    grown = models.read_trees(text, "forest", "segment", toy.BANDS, 3)
    plan, _ = plan_splits(job, 1)
    cache = loader.SampleCache(1 << 30)
    statistics = measure(job, plan, trees._ALONE, cache)
    table = trees.draw_table(job, plan, statistics, cache)
    shares = np.exp(grown.logits(table.features))
    assert shares.min() >= 0 and shares.max() <= 1 + 1e-6
    labelled = np.array(statistics.counts) / sum(statistics.counts)
    assert shares.mean(0) == pytest.approx(labelled, abs=0.02)


def test_a_training_depends_on_its_seed_alone(samples: Path, tmp_path: Path) -> None:
    def text(folder: str, seed: int, threads: int) -> bytes:
        torch.set_num_threads(threads)
        return fit(make_job(samples, tmp_path / folder, seed=seed)).weights.read_bytes()

    first = text("a", 0, 1)
    assert text("b", 0, 2) == first
    assert text("c", 1, 1) != first


def test_a_drawn_table_weighs_as_all_labels_do(samples: Path, tmp_path: Path) -> None:
    few = replace(FEW, rows=3000)
    job = make_job(samples, tmp_path, trees=few, class_weight=0.5)
    plan, _ = plan_splits(job, 1)
    cache = loader.SampleCache(1 << 30)
    statistics = measure(job, plan, trees._ALONE, cache)
    drawn = trees.draw_table(job, plan, statistics, cache)
    again = trees.draw_table(job, plan, statistics, loader.SampleCache(0))
    whole = trees.draw_table(make_job(samples, tmp_path, class_weight=0.5), plan, statistics, cache)
    assert np.array_equal(drawn.features, again.features)
    assert np.bincount(drawn.label) == pytest.approx([1000] * 3, rel=0.15)
    assert len(whole.label) == sum(statistics.counts)
    weights = [
        np.bincount(table.label, table.weight) / table.weight.sum() for table in (drawn, whole)
    ]
    assert weights[0] == pytest.approx(weights[1], rel=0.1)
    counts = np.array(statistics.counts)
    assert weights[1] == pytest.approx(counts**0.5 / (counts**0.5).sum())


def test_rare_classes_are_drawn_whole() -> None:
    counts = np.array([10, 0, 1000, 5000])
    shares = trees.draw_shares(counts, 2010)
    assert shares * counts == pytest.approx([10, 0, 1000, 1000])
    assert trees.draw_shares(counts, 10_000) * counts == pytest.approx(counts)


@pytest.mark.parametrize("model", ["boosting", "forest"])
def test_few_labels_grow_trees_and_bands_that_tell_nothing_are_refused(
    samples: Path, tmp_path: Path, model: str
) -> None:
    few = make_job(samples, tmp_path / "few", model, trees=TreesConf(count=50, rows=40))
    assert fit(few).history[0]["metrics"]["accuracy"] > 0.8
    large = TreesConf(count=5, rows=40, leaf=40)
    with pytest.raises(
        InputError, match=r"no band tells the 3 classes.*smaller train\.trees\.leaf"
    ):
        fit(make_job(samples, tmp_path / "none", model, trees=large))


def test_series_and_images_have_named_features() -> None:
    pixels = torch.arange(2 * 2 * 2 * 2, dtype=torch.float32).reshape(1, 2, 2, 2, 2)
    valid = torch.tensor([[[[True, False], [True, False]], [[True, True], [False, False]]]])
    assert models.feature_names("series", toy.BANDS, 2) == ["red@0", "nir@0", "red@1", "nir@1"]
    expected = [[0, 4, 8, 12], [np.nan, np.nan, 9, 13], [2, 6, np.nan, np.nan]]
    assert np.array_equal(models.tabulate(pixels, valid, "series"), expected, equal_nan=True)
    names = models.feature_names("classify", toy.BANDS, 1)
    row = dict(zip(names, models.tabulate(pixels[:, :1], valid[:, :1], "classify")[0], strict=True))
    assert (row["red@mean"], row["nir@std"], row["red@p50"]) == (1, 1, 1)
    assert row["nir@p90"] == pytest.approx(5.8)
    # The valid pixels of a window are both, with 0 and 2.
    assert (row["red:sd3@mean"], row["red:sd3@std"], row["red:sd15@p10"]) == (1, 0, 1)
    nowhere = models.tabulate(pixels[:, :1], torch.zeros_like(valid[:, :1]), "classify")
    assert np.isnan(nowhere).all()
    assert nowhere.shape == (1, len(names))


def test_trees_map_a_series_of_as_many_dates(tmp_path: Path) -> None:
    samples = toy.write_samples(tmp_path / "samples", 8, 4, dates=2, task="series")
    job = replace(make_job(samples, tmp_path / "job"), task_name="series")
    result = fit(job)
    assert result.history[0]["metrics"]["accuracy"] > 0.95
    mapped = predictor.load(package(job, result, tmp_path / "model"))
    sample = toy.make_sample(2000, 2)
    factors = ((toy.SCALE,) * 2, (toy.OFFSET,) * 2)
    classes, _ = mapped.segment(sample["pixels"], sample["valid"], *factors)
    labelled = sample["label"] != NODATA
    assert (classes == sample["label"])[labelled].mean() > 0.95
    with pytest.raises(InputError, match="1 dates, and the trees were grown from 2"):
        mapped.segment(sample["pixels"][:1], sample["valid"][:1], *factors)


def test_bands_are_taken_by_name(samples: Path, tmp_path: Path) -> None:
    job = make_job(samples, tmp_path / "job")
    result = fit(job)
    swapped = {"bands": toy.BANDS[::-1], "mean": result.mean[::-1], "std": result.std[::-1]}
    usual = package(job, result, tmp_path / "model")
    other = package(job, result, tmp_path / "other", **swapped)
    sample = toy.make_sample(2000)
    factors = ((toy.SCALE,) * 2, (toy.OFFSET,) * 2)
    classes, _ = predictor.load(other).segment(sample["pixels"][:, ::-1], sample["valid"], *factors)
    assert np.array_equal(classes, segment(usual)[0])
    alien = package(job, result, tmp_path / "alien", bands=("red", "ndvi:p10"))
    with pytest.raises(InputError, match="ndvi:p10"):
        predictor.load(alien)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"end of trees", b""),
        (b"left_child=1", b"left_child=0"),
        (b"num_class=3", b"num_class=2"),
        (b"split_feature=1", b"split_feature=7"),
        (b"threshold=", b"threshold=nan "),
        (b"leaf_value=", b"leaf_value=1 "),
        (b"tree\n", pickle.dumps("tree")),
    ],
)
def test_a_damaged_text_is_refused(grown: Path, tmp_path: Path, old: bytes, new: bytes) -> None:
    folder = shutil.copytree(grown, tmp_path / "model")
    text = (folder / TREES).read_bytes()
    assert old in text
    (folder / TREES).write_bytes(text.replace(old, new, 1))
    with pytest.raises(InputError, match="cannot be read"):
        predictor.load(folder)


def test_settings_without_a_meaning_are_told_or_refused(samples: Path, tmp_path: Path) -> None:
    conf = TrainConf(model="forest", epochs=3, augment=("flip",), seed=4, class_weight=0.5)
    assert trees.unused_settings(conf) == ["train.epochs", "train.augment"]
    job = toy.make_job(samples, tmp_path, trees=FEW)
    with pytest.raises(UsageError, match=r"train\.trees is for models boosting and forest"):
        check_job(job)
    one = replace(
        make_job(samples, tmp_path), legend=replace(toy.LEGEND, classes=toy.LEGEND.classes[:1])
    )
    with pytest.raises(UsageError, match="two or more"):
        check_job(one)

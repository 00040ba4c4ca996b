"""Evidence of labels equals that of a plain pass over the pixels of every sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lulc.spark.review import _review_fold
from lulc.tables import store
from lulc.tables.arrays import array_from, unpack
from lulc.training import fit, loader, scoring
from lulc.training.label_evidence import EVIDENCE, collect_evidence
from tests.helpers import tiny_samples as toy


def valid_label(row: dict[str, Any]) -> np.ndarray:
    label = array_from(row, "label")
    return np.where(unpack(row["valid"], (1, *label.shape))[0], label, 255)


def test_evidence_is_the_mean_over_the_labels_of_a_class(tmp_path: Path) -> None:
    job = toy.make_job(toy.write_samples(tmp_path / "samples"), tmp_path / "job", epochs=1)
    result = fit.fit(job)
    table = collect_evidence(job, result, "validation")
    assert table.schema == EVIDENCE
    samples = store.read_rows(job.samples / "split=validation" / "00000.parquet")
    labels = {row["sample_id"]: valid_label(row) for row in samples}
    state = fit.load_best(job, result)
    plan = loader.plan_epoch(job.samples / "split=validation", 1, 8)
    (batch,) = loader.batches(plan, 0, 0, 0)
    _, logits = scoring.forward(state, batch)
    softmax = (logits / result.temperature).softmax(1).double().numpy()
    probabilities = dict(zip(batch.sample_ids, softmax, strict=True))
    rows = table.to_pylist()
    assert {(row["sample_id"], row["class_id"]) for row in rows} == {
        (name, int(i)) for name, label in labels.items() for i in np.unique(label) if i != 255
    }
    for row in rows:
        of_class = labels[row["sample_id"]] == row["class_id"]
        chosen = probabilities[row["sample_id"]][:, of_class]
        assert row["labels"] == of_class.sum() == sum(row["answers"])
        assert row["probabilities"] == pytest.approx(chosen.mean(1), abs=1e-6)
        assert row["answers"] == np.bincount(chosen.argmax(0), minlength=3).tolist()
    # By class and answer these are the confusion matrix that the split is scored by.
    right = sum(row["answers"][toy.LEGEND.ids.index(row["class_id"])] for row in rows)
    total = sum(row["labels"] for row in rows)
    assert fit.score_split(job, result, "validation")["accuracy"] == pytest.approx(right / total)


def test_trees_give_evidence_as_networks_do(tmp_path: Path) -> None:
    job = toy.make_job(toy.write_samples(tmp_path / "samples"), tmp_path / "job", model="boosting")
    result = fit.fit(job)
    rows = collect_evidence(job, result, "validation").to_pylist()
    assert all(sum(row["probabilities"]) == pytest.approx(1) for row in rows)
    right = sum(row["answers"][toy.LEGEND.ids.index(row["class_id"])] for row in rows)
    total = sum(row["labels"] for row in rows)
    assert total == sum(sum(row["answers"]) for row in rows) > 1000
    assert fit.score_split(job, result, "validation")["accuracy"] == pytest.approx(right / total)


def test_a_fold_reviewed_before_is_not_trained_again(tmp_path: Path) -> None:
    samples = toy.write_samples(tmp_path / "samples")
    (samples / "split=validation").rename(samples / "split=test")
    job = toy.make_job(samples, tmp_path / "job", epochs=1, repeats=1)
    first = _review_fold({"fold": 0}, [job])
    (evidence,) = job.folder.iterdir()
    assert {row["fold"] for row in first} == {0}
    written = evidence.stat().st_mtime_ns
    assert _review_fold({"fold": 0}, [job]) == first
    assert evidence.stat().st_mtime_ns == written

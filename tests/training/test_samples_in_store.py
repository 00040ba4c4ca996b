"""Samples in a store: read as those of a disk, fetched once, and trainings resumed from there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lulc.location import StorePath
from lulc.tables import files
from lulc.training import _sample_files, fit, lr_finder
from lulc.training.loader import SampleBatch, batches, plan_epoch
from tests.helpers.faulty_proxy import Faults
from tests.helpers.object_stores import faulty_store, fill_bucket, store_variables
from tests.helpers.tiny_samples import make_job, write_samples


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[StorePath, Faults]]:
    """A bucket of a store on this machine, and the proxy before it."""
    with faulty_store() as (place, faults), pytest.MonkeyPatch.context() as patch:
        for name, value in store_variables(place).items():
            patch.setenv(name, value)
        fill_bucket(place, {})
        yield StorePath("s3://bucket"), faults


@pytest.mark.usefixtures("one_thread")
def test_a_training_goes_on_from_a_checkpoint_in_the_store(
    served: tuple[StorePath, Faults], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, _ = served
    samples = _upload(write_samples(tmp_path / "samples"), bucket / "resumed/samples")
    job = make_job(samples, bucket / "resumed/checkpoint", epochs=2)

    def end_after_first(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    save = fit._save_epoch
    with monkeypatch.context() as patch:
        patch.setattr(fit, "_save_epoch", end_after_first)
        with pytest.raises(KeyboardInterrupt):
            fit.fit(job)
    assert [entry["epoch"] for entry in fit.read_log(job.folder)] == [1]
    in_store = fit.fit(job)
    on_disk = fit.fit(make_job(tmp_path / "samples", tmp_path / "checkpoint", epochs=2))
    assert [e["metrics"]["loss"] for e in in_store.history] == pytest.approx(
        [e["metrics"]["loss"] for e in on_disk.history]
    )
    assert in_store.weights.read_bytes()


def _upload(folder: Path, target: StorePath) -> StorePath:
    for file in sorted(folder.rglob("*.parquet")):
        files.copy(file, target / file.relative_to(folder).as_posix())
    return target


def _read(folder: Path | StorePath) -> list[SampleBatch]:
    plan = plan_epoch(folder / "split=train", 1, 8)
    return [batch for epoch in (1, 2) for batch in batches(plan, 0, epoch, seed=3)]


@pytest.mark.parametrize("has_room", [True, False])
def test_samples_of_a_store_are_those_of_a_disk(
    served: tuple[StorePath, Faults],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_room: bool,
) -> None:
    bucket, faults = served
    folder = write_samples(tmp_path / "samples")
    in_store = _upload(folder, bucket / f"room {has_room}")
    _sample_files._kept.cache_clear()
    if not has_room:
        monkeypatch.setattr(_sample_files, "_MOST_BYTES", 0)
    local, distant = _read(folder), _read(in_store)
    for mine, theirs in zip(local, distant, strict=True):
        assert mine.sample_ids == theirs.sample_ids
        for name in ("pixels", "valid", "days", "label", "weight"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    asked = faults.asked
    _read(in_store)
    # What is kept is not fetched again; only the plan asks for the files.
    assert (faults.asked - asked < 10) == has_room


def test_a_curve_of_rates_is_drawn_into_the_store(served: tuple[StorePath, Faults]) -> None:
    bucket, _ = served
    path = lr_finder.draw_rates([(1e-4, 1.0), (1e-3, 0.5), (1e-2, 0.9)], bucket / "rates.png")
    assert path.read_bytes().startswith(b"\x89PNG")

"""Training learns, resumes after a kill with the same losses, and prepares pixels as chips do."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from lulc.chips import composites
from lulc.errors import InputError, UsageError
from lulc.legend import NODATA
from lulc.models.device import autocast
from lulc.models.tasks.augment import augment, crop, lower_median, reduce, standardise
from lulc.models.tasks.classes import loss
from lulc.models.tasks.segment import SEGMENT
from lulc.models.tasks.task import Batch, LossConf, Scaling
from lulc.tables.files import fingerprint_of
from lulc.training import setup
from lulc.training.distributed import World
from lulc.training.fit import STATE, best_epoch, fit, read_log
from lulc.training.loader import SampleCache
from lulc.training.setup import class_weights, rate_factor
from tests.helpers import tiny_samples as toy
from tests.helpers.rank_program import learn
from tests.lint import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")


def _losses(folder: Path) -> list[float]:
    return [entry["metrics"]["loss"] for entry in read_log(folder)]


def test_a_separable_toy_is_learned(samples: Path, tmp_path: Path) -> None:
    settings = {
        "class_weight": 0.5,
        "smoothing": 0.05,
        "dice": 0.3,
        "ema": 0.8,
        "dropout": 0.1,
        "accumulate": 2,
        "repeats": 4,
    }
    own = tmp_path / "samples"
    shutil.copytree(samples, own)
    shutil.copytree(own / "split=validation", own / "split=test")
    job = toy.make_job(
        own, tmp_path, **settings, augment=("flip", "rotate", "brightness", "noise"), epochs=3
    )
    result = fit(replace(job, score_test=True))
    best = result.history[result.best - 1]["metrics"]
    assert best["test_miou"] == pytest.approx(best["miou"], abs=1e-6)  # the same samples
    assert not any(
        "test_miou" in entry["metrics"] for entry in result.history if entry["epoch"] != result.best
    )
    assert best["accuracy"] > 0.95
    assert best["miou"] > 0.9
    assert best["miou"] == max(entry["metrics"]["miou"] for entry in result.history)
    assert result.history[-1]["metrics"]["loss"] < result.history[0]["metrics"]["loss"]
    assert [p.name for p in tmp_path.glob("weights-*")] == [result.weights.name]
    with np.load(tmp_path / "examples.npz", allow_pickle=False) as examples:
        agree = (examples["labels"] == examples["maps"])[examples["labels"] != NODATA]
    assert agree.mean() > 0.95


def test_what_adds_up_is_float32_where_the_network_is_not(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lulc.training import fit as train

    step, states = train.update, []

    def watch(state: setup.TrainState, batches: tuple[Batch, ...]) -> torch.Tensor:
        states.append(state)
        return step(state, batches)

    monkeypatch.setattr(train, "update", watch)
    result = fit(toy.make_job(samples, tmp_path, precision="bfloat16", ema=0.9, epochs=1))
    assert result.precision == "bfloat16"
    assert [entry["precision"] for entry in read_log(tmp_path)] == ["bfloat16"]
    state, images = states[-1], torch.ones(2, 2, 32, 32)
    label, weight = torch.ones(2, 32, 32, dtype=torch.int64), torch.ones(2)
    how = replace(state.loss_settings, smoothing=0.1, dice=0.3, focal=1.0, bootstrap=0.3)
    with autocast("bfloat16", state.world.device):
        assert state.net(images).dtype == torch.bfloat16
        assert SEGMENT.loss(state.net, (images,), label, weight, how).dtype == torch.float32
        assert SEGMENT.forward(state.net, (images,)).dtype == torch.float32
    kept = [
        *state.net.state_dict().values(),
        *state.averaged_net.module.state_dict().values(),
        *(each for moments in state.optimizer.state.values() for each in moments.values()),
        *load_file(result.weights).values(),
    ]
    assert {tensor.dtype for tensor in kept if tensor.is_floating_point()} == {torch.float32}


def test_a_killed_training_goes_on_with_the_same_losses(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"crop": 32, "ema": 0.99, "augment": ("flip", "rotate", "noise"), "dropout": 0.2}
    whole, broken = (
        toy.make_job(samples, tmp_path / name, **settings) for name in ("whole", "broken")
    )
    fit(whole)
    from lulc.training import fit as train
    from lulc.training.fit import _save_epoch

    save = _save_epoch
    calls = 0

    def die(*given: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        save(*given)

    monkeypatch.setattr(train, "_save_epoch", die)
    with pytest.raises(KeyboardInterrupt):
        fit(broken)
    assert len(read_log(broken.folder)) == 1
    monkeypatch.undo()
    result = fit(broken)
    assert _losses(broken.folder) == pytest.approx(_losses(whole.folder), abs=1e-6)
    kept, other = load_file(result.weights), load_file(whole.folder / result.weights.name)
    assert all(torch.allclose(kept[name], other[name], atol=1e-6) for name in kept)
    # Nothing is left to do a third time, and the answer is the same.
    assert fit(broken).history == result.history


def test_what_stays_in_memory_changes_nothing(samples: Path, tmp_path: Path) -> None:
    jobs = [
        toy.make_job(samples, tmp_path / cache, cache=cache, epochs=2, augment=("flip", "noise"))
        for cache in ("0m", "1g")
    ]
    without, kept = (load_file(fit(job).weights) for job in jobs)
    assert _losses(jobs[0].folder) == _losses(jobs[1].folder)
    assert all(torch.equal(kept[name], without[name]) for name in kept)
    assert (
        fingerprint_of(jobs[0].train)
        == fingerprint_of(jobs[1].train)
        != fingerprint_of(replace(jobs[0].train, seed=1))
    )


def test_statistics_are_those_of_numpy_over_valid_pixels(tmp_path: Path) -> None:
    job = toy.make_job(toy.write_samples(tmp_path, training=7, validation=0, dates=3), tmp_path)
    plan, validation = setup.plan_splits(job, 1)
    assert validation is None
    found = setup.measure(job, plan, World(0, 1, torch.device("cpu")), SampleCache(0))
    values, labels = [], []
    for number in range(7):
        sample = toy.make_sample(number, 3)
        image, seen = composites.median_composite(sample["pixels"], sample["valid"])
        values.append(image[:, seen] * toy.SCALE + toy.OFFSET)
        labels.append(sample["label"][seen])
    together = np.concatenate(values, axis=1)
    assert found.mean == pytest.approx(together.mean(1), rel=1e-12)
    assert found.std == pytest.approx(together.std(1), rel=1e-9)
    assert found.counts == tuple(
        np.count_nonzero(np.concatenate(labels) == i) for i in toy.LEGEND.ids
    )


@settings(deadline=None)
@given(
    st.integers(1, 5), st.sampled_from([np.uint16, np.float32, np.int16]), st.integers(0, 2**32 - 1)
)
def test_dates_become_one_as_they_do_for_a_chip(dates: int, dtype: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 30000, (dates, 2, 3, 4)).astype(dtype)
    valid = rng.random((dates, 3, 4)) > 0.4
    pixels[~np.broadcast_to(valid[:, None], pixels.shape)] = 0  # as chips hold it
    image, seen = lower_median(torch.from_numpy(pixels)[None], torch.from_numpy(valid)[None])
    expected, there = composites.median_composite(pixels, valid)
    np.testing.assert_array_equal(image[0].numpy(), expected)
    np.testing.assert_array_equal(seen[0].numpy(), there)


def test_prepared_input_is_standardised_and_zero_where_not_valid() -> None:
    sample = {name: torch.from_numpy(array)[None] for name, array in toy.make_sample(3).items()}
    scaling = Scaling((0.0001, 0.0001), (-0.1, 0.2), (0.15, 0.3), (0.05, 0.2))
    days, one = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1)
    ready = standardise(
        reduce(Batch(sample["pixels"], sample["valid"], days, sample["label"], one), SEGMENT),
        scaling,
    )
    image, seen = ready.pixels[:, 0], ready.valid[:, 0]
    assert bool((ready.label[~seen] == NODATA).all())
    physical = sample["pixels"][:, 0].double() * 0.0001 + torch.tensor([-0.1, 0.2]).view(1, 2, 1, 1)
    expected = (physical - torch.tensor([0.15, 0.3]).view(1, 2, 1, 1)) / torch.tensor(
        [0.05, 0.2]
    ).view(1, 2, 1, 1)
    assert torch.allclose(image, torch.where(seen[:, None], expected, 0).float(), atol=1e-4)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_crops_and_turns_move_image_valid_and_label_together(seed: int) -> None:
    torch.manual_seed(seed)
    label = torch.arange(400).reshape(1, 20, 20).repeat(3, 1, 1)
    days, valid = torch.zeros(3, 2, dtype=torch.int64), label % 3 > 0
    whole = Batch(
        label[:, None, None].repeat(1, 2, 1, 1, 1).float(),
        valid[:, None].repeat(1, 2, 1, 1),
        days,
        label,
        torch.ones(3),
    )
    part = crop(whole, 8, "pixels")
    assert part.label.shape == (3, 8, 8)
    found = augment(part, ("flip", "rotate"), "pixels", Scaling((1.0,), (0.0,), (0.0,), (1.0,)))
    for date in range(2):
        assert torch.equal(found.valid[:, date], found.label % 3 > 0)
        assert torch.equal(
            found.pixels[:, date, 0], torch.where(found.valid[:, date], found.label, 0).float()
        )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_another_light_multiplies_every_band_and_hazes_all_alike(seed: int) -> None:
    torch.manual_seed(seed)
    mean, std = (0.05, 0.12, 0.3), (0.02, 0.05, 0.1)
    m, s = (torch.tensor(x)[:, None, None] for x in (mean, std))
    physical = m + s * torch.randn(4, 2, 3, 8, 8)
    valid = torch.rand(4, 2, 8, 8) > 0.2
    label, days = torch.zeros(4, 8, 8, dtype=torch.int64), torch.zeros(4, 2, dtype=torch.int64)
    given_ = Batch(
        ((physical - m) / s).masked_fill(~valid[:, :, None], 0), valid, days, label, torch.ones(4)
    )
    found = augment(given_, ("colour",), "pixels", Scaling((1.0,) * 3, (0.0,) * 3, mean, std))
    assert bool((found.pixels[~valid[:, :, None].expand_as(found.pixels)] == 0).all())
    relit = found.pixels * s + m
    hazes = []
    for i in range(4):
        for band in range(3):
            before, after = (
                physical[i, :, band][valid[i]].double().numpy(),
                relit[i, :, band][valid[i]].double().numpy(),
            )
            gain, haze = np.polyfit(before, after, 1)
            assert gain > 0
            np.testing.assert_allclose(after, gain * before + haze, atol=1e-5)
            hazes.append(haze)
    np.testing.assert_allclose(
        np.reshape(hazes, (4, 3)), np.repeat(hazes[::3], 3).reshape(4, 3), atol=1e-4
    )
    assert np.ptp(hazes[::3]) > 1e-4  # every sample has its own


def test_bootstrapping_holds_a_share_of_the_loss_against_what_the_network_says() -> None:
    torch.manual_seed(0)
    logits, label, one = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4)), torch.ones(2)
    label[0, 0] = NODATA
    weights = torch.tensor([0.5, 1.0, 2.0])
    # By hand: of a labelled pixel, its class's weight times the mean of the two cross entropies.
    surprise, predicted, expected = -logits.log_softmax(1), logits.argmax(1), 0.0
    for place in (label != NODATA).nonzero().tolist():
        n, y, x = place
        own, given_ = surprise[n, predicted[n, y, x], y, x], surprise[n, label[n, y, x], y, x]
        expected += float(weights[label[n, y, x]] * (0.3 * own + 0.7 * given_))
    assert float(loss(logits, label, one, LossConf(weights, bootstrap=0.3))) == pytest.approx(
        expected, rel=1e-5
    )
    # Where the network is sure that a label is wrong, the label pulls less.
    sure = torch.tensor([[[[6.0]], [[-6.0]]]])
    wrong = torch.ones(1, 1, 1, dtype=torch.int64)
    pulls = []
    for share in (0.0, 0.4):
        asked = sure.clone().requires_grad_()
        loss(asked, wrong, torch.ones(1), LossConf(torch.ones(2), bootstrap=share)).backward()
        pulls.append(float(asked.grad.abs().sum()))  # type: ignore[union-attr]
    assert pulls[1] == pytest.approx(0.6 * pulls[0], rel=1e-3)


def test_loss_counts_labelled_pixels_alone_each_by_its_samples_weight() -> None:
    torch.manual_seed(0)
    logits, label, one = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4)), torch.ones(2)
    penalty = LossConf(torch.tensor([0.5, 1.0, 2.0]), 0.1, 0.5)
    label[:, 2:] = NODATA
    part = loss(logits[:, :, :2], label[:, :2], one, penalty)
    assert torch.allclose(loss(logits, label, one, penalty), part, rtol=1e-5)
    perfect = 50.0 * torch.nn.functional.one_hot(label[:, :2], 3).movedim(-1, 1).float()
    assert float(
        loss(perfect, label[:, :2], one, LossConf(torch.ones(3), 0.0, 1.0))
    ) == pytest.approx(0, abs=1e-3)
    doubted = replace(penalty, bootstrap=0.4)
    for each in (penalty, doubted):
        assert float(loss(logits, torch.full_like(label, NODATA), one, each)) == 0
    # A sample of weight 2 is a sample that is there twice; one of weight 0 is not there.
    for weight, twin in (([2.0, 1.0], [0, 0, 1]), ([0.0, 1.0], [1])):
        weighted = loss(logits, label, torch.tensor(weight), penalty)
        assert torch.allclose(
            weighted, loss(logits[twin], label[twin], torch.ones(len(twin)), penalty), rtol=1e-4
        )


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=9).filter(any), st.floats(0, 1))
def test_class_weights_have_mean_one_over_the_pixels(counts: list[int], power: float) -> None:
    found, array = class_weights(np.array(counts, float), power), np.array(counts)
    assert (found * array).sum() / array.sum() == pytest.approx(1)
    assert (found[array == 0] == 0).all()
    if power == 0:
        assert found[array > 0] == pytest.approx(1)


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "constant"])
def test_the_rate_rises_over_the_warm_up_and_never_beyond_one(schedule: str) -> None:
    rates = [rate_factor(schedule, 0.2, i / 100) for i in range(101)]
    assert rates == sorted(rates[:21]) + sorted(rates[21:], reverse=True)
    assert max(rates) == pytest.approx(1)
    assert all(0 <= r <= 1 for r in rates)
    assert (rates[-1] < 1e-3) == (schedule != "constant")


def test_the_best_epoch_is_the_first_of_the_highest() -> None:
    def history(*values: float) -> list[dict[str, object]]:
        return [{"epoch": i, "metrics": {"miou": v}} for i, v in enumerate(values, 1)]

    assert best_epoch(history(0.1, 0.5, 0.5, math.nan), "miou") == 2
    assert best_epoch(history(math.nan, math.nan), "miou") == 2


def test_a_job_that_cannot_run_is_explained_before_it_starts(samples: Path, tmp_path: Path) -> None:
    def check(**settings: object) -> None:
        setup.check_job(toy.make_job(samples, tmp_path, **settings))

    check()
    with pytest.raises(UsageError, match=r"train\.depth"):
        check(depth=5, decoder=())
    with pytest.raises(UsageError, match=r"unet"):
        check(model="unit")
    with pytest.raises(InputError, match=r"train\.ranks"):
        check(ranks=7)
    with pytest.raises(InputError, match="nir"):
        setup.check_job(replace(toy.make_job(samples, tmp_path), bands=("nir", "red")))


def test_a_damaged_state_is_not_unpickled(samples: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"history": Evil()}, tmp_path / STATE)
    with pytest.raises(Exception, match="weights_only"):
        fit(toy.make_job(samples, tmp_path))
    assert not (tmp_path / "harm").exists()


def test_a_crop_is_taken_where_labels_are() -> None:
    label = torch.full((64, 96, 96), 255)
    label[:, :32, :32] = 1
    days, valid = torch.zeros(64, 1, dtype=torch.int64), torch.ones(64, 1, 96, 96, dtype=torch.bool)
    whole = Batch(torch.zeros(64, 1, 1, 96, 96), valid, days, label, torch.ones(64))
    torch.manual_seed(0)
    share = (crop(whole, 32, "pixels").label == 1).float().mean((1, 2))
    # A random place has a label with probability a quarter, the best of four with two thirds.
    assert (share > 0).float().mean() > 0.55
    assert (share < 1).any()
    label[:] = 255
    label[:, 95, 0] = 1
    assert (crop(whole, 32, "pixels").label == 1).any((1, 2)).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_crops_of_classes_lie_around_each_as_often(share: float) -> None:
    # A class of two pixels in the midst of another, and pixels without a label.
    label = torch.zeros(400, 96, 96, dtype=torch.int64)
    label[:, 40, 40:42], label[:, 90:] = 1, 255
    days = torch.zeros(400, 1, dtype=torch.int64)
    valid = torch.ones(400, 1, 96, 96, dtype=torch.bool)
    whole = Batch(torch.zeros(400, 1, 1, 96, 96), valid, days, label, torch.ones(400))
    torch.manual_seed(0)
    found = (crop(whole, 16, "pixels", share).label == 1).any(2).any(1).float().mean()
    # Anywhere, a square holds one of the two with probability 0.04.
    assert found == pytest.approx(share / 2 + (1 - share / 2) * 0.04, abs=0.06)
    label[:] = 255
    assert crop(whole, 16, "pixels", share).label.eq(255).all()


def test_two_ranks_learn_as_one_does(tmp_path: Path) -> None:
    samples = toy.write_samples(tmp_path / "samples", 24, 4, dates=3, task="series")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])

    def start(rank: int, memory: Path) -> subprocess.Popen[str]:
        variables = {
            "RANK": rank,
            "WORLD_SIZE": 2,
            "LOCAL_RANK": rank,
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": port,
        }
        command = [
            sys.executable,
            "-m",
            "tests.helpers.rank_program",
            str(samples),
            str(tmp_path / f"kept-{memory.name}"),
            str(memory),
        ]
        env = os.environ | {name: str(value) for name, value in variables.items()}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)

    one, found = learn(samples, tmp_path / "alone"), []
    files = tmp_path / "files"
    files.mkdir()
    # Files are memory, too, where nothing better is; where there is none, gradients are sent.
    for memory in (files, tmp_path / "nowhere"):
        ranks = [start(rank, memory) for rank in range(2)]
        outputs = [rank.communicate(timeout=300)[0] for rank in ranks]
        assert all(rank.returncode == 0 for rank in ranks)
        found.append(json.loads(outputs[0].splitlines()[-1]))
    two, sent = (report["losses"] for report in found)
    assert [report["in_memory"] for report in found] == [True, False]
    assert not list(files.iterdir())
    assert len(one) == len(two) == 21
    assert one[-1] < 0.8 * one[0]
    np.testing.assert_allclose(sent, one, atol=1e-4)
    np.testing.assert_allclose(two, one, atol=1e-4)

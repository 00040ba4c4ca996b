"""A network with positions is mapped in windows as large as the samples that it learned from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lulc.config import TrainConf
from lulc.errors import InputError
from lulc.geo.tiling import Tiling
from lulc.inference import blocks, windows
from lulc.inference.embedder import EmbeddedImage
from lulc.inference.network_embedder import NetworkEmbedder
from lulc.inference.predictor import Predictor, load, load_all
from lulc.inference.suitability import check_model
from lulc.inference.windows import Area
from lulc.models.networks.architecture import wavelengths_of
from lulc.models.package import ModelRef
from lulc.models.tasks.task import Scaling
from lulc.tables import arrays, store
from lulc.training import setup
from lulc.training.distributed import World
from lulc.training.loader import SampleCache
from lulc.training.scoring import forward_windows
from lulc.training.setup import SampleStatistics, ScoreState, TrainJob
from tests.helpers import untrained_model as untrained
from tests.helpers.synthetic_chips import (
    EXACT,
    cut_chips,
    make_run,
    make_spec,
    texture,
    write_chips,
)
from tests.helpers.tiny_backbones import use_tiny_backbones
from tests.helpers.tiny_samples import BANDS, LEGEND

SCALING = (1.0,) * 2, (0.0,) * 2
DOFA = "torchgeo:dofa_small_patch16_224"
ARCHITECTURE = {"encoder": DOFA, "depth": 3, "wavelengths": wavelengths_of(DOFA, BANDS)}
WINDOW = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_backbones(patch)
        yield untrained.make_model(
            tmp_path_factory.mktemp("models") / "dofa",
            architecture=ARCHITECTURE,
            size=WINDOW,
            window=WINDOW,
        )


def window_map(predictor: Predictor, image: np.ndarray) -> np.ndarray:
    """Classes of the middle half of every window, 0 around; from valid pixels (1, C, H, W)."""
    quarter, half = WINDOW // 4, WINDOW // 2
    inputs = torch.from_numpy((image.astype("float32") - untrained.MEAN) / untrained.STD)
    ids = predictor.contract.legend.to_id()
    classes = np.zeros(image.shape[2:], np.uint8)
    for row in range(half, image.shape[2] - half, half):
        for col in range(half, image.shape[3] - half, half):
            top, left = row - quarter, col - quarter
            with torch.inference_mode():
                logits = predictor.net(inputs[..., top : top + WINDOW, left : left + WINDOW])
            middle = logits[0, :, quarter:-quarter, quarter:-quarter].argmax(0).numpy()
            classes[row : row + half, col : col + half] = ids[middle]
    return classes


@pytest.mark.parametrize(("size", "span"), [(64, 1), (64, 2), (128, 1)])
def test_the_map_is_what_the_network_says_in_windows_of_the_samples_size(
    model: Path, tmp_path: Path, size: int, span: int
) -> None:
    side = 128
    image, valid = texture(side, side)
    valid[:] = True
    tiling, count = Tiling("t", "EPSG:6933", 10.0, size), side // size
    found = np.zeros((side, side), np.uint8)
    for top in range(0, count, span):
        for left in range(0, count, span):
            cells = [(left + i, top + j) for j in range(span) for i in range(span)]
            chips = cut_chips(image, valid, cells, 32, tiling)
            key = write_chips(tmp_path, f"{left}_{top}", chips)
            (row,) = blocks.map_blocks([key], make_spec(tmp_path, model))
            for tile in store.read_rows(tmp_path / str(row.path)):
                col, line = tiling.parse(tile["tile_id"])
                classes = arrays.array_from(tile, "classes")
                found[line * size : (line + 1) * size, col * size : (col + 1) * size] = classes
    expected = window_map(load(model), image)
    inner = np.s_[32:96, 32:96]
    assert (found[inner] == expected[inner]).mean() > 0.9999


def test_an_image_is_mapped_as_a_scene_and_one_of_a_samples_size_as_a_sample(model: Path) -> None:
    predictor = load(model)
    image, valid = texture(128, 96)
    valid[:] = True
    classes, _ = predictor.segment(image, valid, *SCALING, EXACT)
    expected = window_map(predictor, image)
    inner = np.s_[32:96, 32:64]
    assert (classes[inner] == expected[inner]).mean() > 0.9999
    # A network that is told nothing stretches its positions over the whole image.
    stretched = replace(predictor, contract=replace(predictor.contract, window=0))
    free, _ = stretched.segment(image, valid, *SCALING, EXACT)
    assert (free[inner] == expected[inner]).mean() < 0.99
    sample = image[..., :WINDOW, :WINDOW]
    alone, _ = predictor.segment(sample, valid[..., :WINDOW, :WINDOW], *SCALING, EXACT)
    with torch.inference_mode():
        inputs = torch.from_numpy((sample.astype("float32") - untrained.MEAN) / untrained.STD)
        index = predictor.net(inputs)[0].argmax(0).numpy()
    assert (alone == predictor.contract.legend.to_id()[index]).mean() > 0.9999


def test_a_smaller_image_is_filled_up_to_the_window(model: Path) -> None:
    predictor = load(model)
    shapes: list[torch.Size] = []
    hook = predictor.net.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape))
    classes, _ = predictor.segment(*texture(40, 100), *SCALING, EXACT)
    hook.remove()
    assert classes.shape == (40, 100)
    assert {tuple(shape[2:]) for shape in shapes} == {(WINDOW, WINDOW)}


def test_a_model_of_crops_is_scored_as_it_maps(model: Path, tmp_path: Path) -> None:
    predictor = load(model)
    train = TrainConf(encoder=DOFA, depth=3, crop=WINDOW, precision="float32")
    job = TrainJob(train, LEGEND, tmp_path, tmp_path, bands=BANDS)
    assert job.fixed_window(predictor.net.state_dict(), 128) == WINDOW
    assert replace(job, task_name="classify").fixed_window(predictor.net.state_dict(), 128) == 128
    image, valid = texture(128, 128)
    whole = windows.full_area((128, 128))
    samples = predictor.prepare(image, valid, *SCALING).cut([whole], predictor.contract)
    world, scaling = World(0, 1, predictor.device), Scaling(*SCALING, (0.0,) * 2, (1.0,) * 2)
    statistics = SampleStatistics((0.0,) * 2, (1.0,) * 2, (1.0,) * 3)
    losses = setup.make_loss_settings(train, statistics, predictor.device)
    state = ScoreState(job, world, None, scaling, losses, predictor.net, SampleCache(0))
    with torch.inference_mode():
        index = forward_windows(state, samples, WINDOW)[0].argmax(0).numpy()
    classes, _ = predictor.segment(image, valid, *SCALING, EXACT)
    scored = predictor.contract.legend.to_id()[index]
    assert (scored == classes)[valid[0]].mean() > 0.9999


def test_models_that_map_together_keep_the_window_of_the_one_that_needs_it(
    model: Path, tmp_path: Path
) -> None:
    plain = untrained.make_model(
        tmp_path / "plain", model="linear", architecture={}, multiple=1, size=WINDOW
    )
    joined = [load_all([model, plain]), load_all([plain, model])]
    assert [predictor.contract.window for predictor in joined] == [WINDOW, WINDOW]
    image, valid = texture(64, 96)
    one, other = (predictor.segment(image, valid, *SCALING, EXACT)[0] for predictor in joined)
    assert (one == other).mean() > 0.9999


def test_blocks_smaller_than_the_window_are_refused(tmp_path: Path) -> None:
    linear = {"model": "linear", "architecture": {}, "multiple": 1}
    for window in (160, 192):
        folder = untrained.make_model(tmp_path / str(window), **linear, window=window)
        reference = ModelRef("m", "1", folder, "x")
        if window == 160:  # two tiles of 64 pixels and a margin of 16
            check_model(make_run(), reference)
            continue
        with pytest.raises(InputError, match=r"windows of 192 pixels.*160.*tiling\.block"):
            check_model(make_run(), reference)


def test_vectors_are_of_the_same_windows_as_the_map(model: Path) -> None:
    predictor = load(model)
    pixels, valid = texture(160, 160)
    valid[:] = True
    area = slice(32, 128), slice(32, 128)
    image = EmbeddedImage(pixels, valid, *SCALING, area)
    vectors = NetworkEmbedder(predictor).map(image, 1)
    head = predictor.net.get_submodule("segmentation_head")
    with torch.inference_mode():
        index = head(torch.from_numpy(vectors)[None])[0].argmax(0).numpy()
    classes, _ = predictor.segment(pixels, valid, *SCALING, EXACT, area)
    # The head looks one pixel far: across the border of what is kept of two windows.
    inner = np.arange(96) % 32 % 31 > 0
    same = predictor.contract.legend.to_id()[index] == classes[area]
    assert same[np.ix_(inner, inner)].mean() > 0.999
    pooled = NetworkEmbedder(predictor).pool([image, image])
    np.testing.assert_allclose(pooled[0], pooled[1], rtol=1e-5)
    np.testing.assert_allclose(pooled[0], middle_features(predictor, pixels), rtol=1e-3, atol=1e-4)


def middle_features(predictor: Predictor, pixels: np.ndarray) -> np.ndarray:
    """The mean of the encoder's features in the middle of the 3 x 3 windows of the core."""
    inputs = torch.from_numpy((pixels.astype("float32") - untrained.MEAN) / untrained.STD)
    middles = []
    for top in (16, 48, 80):
        for left in (16, 48, 80):
            with torch.inference_mode():
                window = inputs[..., top : top + WINDOW, left : left + WINDOW]
                features = predictor.net.get_submodule("encoder")(window)[-1]
            middles.append(features[0, :, 1:3, 1:3].mean((1, 2)))
    return torch.stack(middles).mean(0).numpy()


@given(st.integers(1, 700), st.sampled_from([32, 64, 160, 512]), st.sampled_from([64, 300, 1024]))
def test_parts_of_an_image_have_the_windows_of_the_whole(
    length: int, window: int, side: int
) -> None:
    contract = untrained.make_contract(window=window)
    whole = list(windows.area_windows((slice(0, length), slice(0, 1)), (length, 1), side, contract))
    seen = dict(_rows(whole))
    kept = sorted(pixel for pixels in seen.values() for pixel in pixels)
    assert kept == list(range(length))
    assert {first.stop - first.start for first, _ in _axes(whole)} == {min(window, length)}
    of_parts: dict[int, list[int]] = {}
    for (read, _), (target, _) in windows.read_windows((length, 1), side, contract):
        rows = slice(target.start - read.start, target.stop - read.start)
        part = windows.area_windows(
            (rows, slice(0, 1)), (read.stop - read.start, 1), side, contract
        )
        for first, pixels in _rows(part):
            of_parts.setdefault(first + read.start, []).extend(p + read.start for p in pixels)
    assert of_parts == seen


def _axes(found: list[tuple[Area, Area]]) -> list[tuple[slice, slice]]:
    return [(computed[0], target[0]) for computed, target in found]


def _rows(found: object) -> Iterator[tuple[int, list[int]]]:
    for computed, target in _axes(list(found)):  # type: ignore[call-overload]
        yield computed.start, list(range(target.start, target.stop))

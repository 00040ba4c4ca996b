"""Patches of several images in one batch: the same maps, whatever memory holds; read meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lulc.errors import InputError, SetupError
from lulc.inference import blocks
from lulc.inference.image_maps import PixelMap, make_pixel_map
from lulc.inference.patch_batches import PatchBatches, read_ahead
from lulc.inference.predictor import Predictor, load
from lulc.models.device import compute_mixed
from tests.helpers import untrained_model as untrained
from tests.helpers.synthetic_chips import EXACT, cut_chips, make_spec, texture, write_chips

SCALING = (1.0,) * 2, (0.0,) * 2
HALO = 32

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained.make_model(tmp_path_factory.mktemp("models") / "untrained-local")


def maps_of(predictor: Predictor, sides: list[int], window: int) -> Iterator[PixelMap]:
    for seed, side in enumerate(sides):
        # As a chip has, a margin that is wide enough for windows of one size.
        pixels, valid = texture(side + 2 * HALO, 96 + 2 * HALO, seed=seed)
        image = predictor.prepare(pixels, valid, *SCALING)
        core = slice(HALO, HALO + side), slice(HALO, HALO + 96)
        yield make_pixel_map(image, predictor.contract, window, core, None)


def map_all(predictor: Predictor, sides: list[int], window: int = 64) -> list[PixelMap]:
    return list(predictor.fill(maps_of(predictor, sides, window), EXACT))


@given(
    st.lists(st.sampled_from([40, 96, 200]), max_size=4),
    st.sampled_from([64, 128]),
    st.sampled_from([30_000, 1 << 24]),
)
@settings(max_examples=12)
def test_maps_are_equal_whatever_makes_a_batch(
    model: Path, sides: list[int], window: int, pixels: int
) -> None:
    alone = map_all(replace(load(model), batches=PatchBatches(1)), sides, window)
    together = map_all(replace(load(model), batches=PatchBatches(pixels)), sides, window)
    assert len(alone) == len(together) == len(sides)
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.image.pixels, other.image.pixels)
        assert np.array_equal(one.classes, other.classes)
        # A batch may be summed in another order: a percent that lies between two may be either.
        assert np.abs(one.confidence.astype(int) - other.confidence).max() <= 1


class SmallMemory(nn.Module):
    """A network on a device whose memory holds so many patches."""

    def __init__(self, net: nn.Module, holds: int) -> None:
        super().__init__()
        self.net, self.holds = net, holds
        self.counts: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.counts.append(len(image))
        if len(image) > self.holds:
            raise torch.OutOfMemoryError(f"{len(image)} patches")
        return self.net(image)  # type: ignore[no-any-return]


def with_memory(model: Path, holds: int) -> tuple[Predictor, SmallMemory]:
    predictor = load(model)
    net = SmallMemory(predictor.net, holds)
    return replace(predictor, net=net, batches=PatchBatches(1 << 24)), net


@pytest.mark.parametrize(("holds", "found"), [(100, [12]), (5, [3] * 4), (1, [1] * 12)])
def test_a_batch_is_halved_until_memory_holds_it_and_that_is_remembered(
    model: Path, holds: int, found: list[int]
) -> None:
    predictor, net = with_memory(model, holds)
    sides = [96, 96, 96]
    expected = map_all(load(model), sides)
    for failures in ([12, 6, 3, 1], []):
        net.counts.clear()
        filled = map_all(predictor, sides)
        fitting = [count for count in net.counts if count <= holds]
        assert fitting == found
        assert net.counts[: -len(found)] == [n for n in failures if n > holds]
        for one, other in zip(filled, expected, strict=True):
            assert np.array_equal(one.classes, other.classes)


def test_memory_is_found_for_each_size_of_patch(model: Path) -> None:
    predictor, net = with_memory(model, 1)
    map_all(predictor, [96], window=64)
    net.counts.clear()
    map_all(predictor, [96], window=512)
    map_all(predictor, [96], window=64)
    assert net.counts == [1] * 5


def test_a_patch_that_does_not_fit_alone_is_an_error_with_its_remedy(model: Path) -> None:
    predictor, _ = with_memory(model, 0)
    with pytest.raises(SetupError, match=r"160 x 160 pixels.*predict\.window"):
        map_all(predictor, [96], window=512)


def test_another_fault_of_the_network_is_not_taken_for_a_lack_of_memory(model: Path) -> None:
    class Broken(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        map_all(replace(load(model), net=Broken()), [96])


def test_blocks_read_ahead_in_one_task_are_the_files_of_blocks_alone(
    model: Path, tmp_path: Path
) -> None:
    image, valid = texture(128, 384, dates=2)
    outs = [tmp_path / name for name in ("alone", "together")]
    keys = []
    for out in outs:
        keys = [
            write_chips(
                out,
                f"{col}_0",
                cut_chips(image, valid, [(c, r) for r in (0, 1) for c in (col, col + 1)], 16),
            )
            for col in (0, 2, 4)
        ]
        (out / keys[1]["path"]).write_bytes(b"damaged")
    alone = [row for key in keys for row in blocks.map_blocks([key], make_spec(outs[0], model))]
    together = list(blocks.map_blocks(keys, make_spec(outs[1], model), ahead=2))
    assert [row.status for row in together] == ["done", "bad", "done"]
    for one, other in zip(alone, together, strict=True):
        assert replace(one, seconds=0, finished=0) == replace(other, seconds=0, finished=0)
        if one.path:
            assert (outs[0] / one.path).read_bytes() == (outs[1] / one.path).read_bytes()


def test_a_fault_of_the_reader_is_raised_where_the_maps_are_made(
    model: Path, tmp_path: Path
) -> None:
    chips = cut_chips(*texture(64, 64), [(0, 0)], 16, bands=("x", "y"))
    key = write_chips(tmp_path, "0_0", chips)
    with pytest.raises(InputError, match="in this order"):
        list(blocks.map_blocks([key], make_spec(tmp_path, model), ahead=2))


@given(st.integers(0, 12), st.integers(0, 4), st.integers(0, 12))
def test_what_is_read_ahead_comes_in_order_and_bounded(total: int, count: int, taken: int) -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for number in range(total):
            made.append(number)
            yield number

    items = read_ahead(make(), count)
    got = [number for number, _ in zip(items, range(taken), strict=False)]
    assert got == list(range(min(taken, total)))
    assert len(made) <= min(taken, total) + count + 1
    items.close()  # type: ignore[attr-defined]
    before = len(made)
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]
    assert len(made) == before


def test_the_network_works_while_the_next_is_read() -> None:
    being_read = threading.Event()

    def make() -> Iterator[int]:
        yield 0
        being_read.set()
        yield 1

    for number in read_ahead(make(), 1):
        # With the first in hand, the second is being read by another thread.
        assert number == 1 or being_read.wait(timeout=60)


def test_numbers_too_large_for_float16_are_computed_again_in_float32() -> None:
    net = nn.Conv2d(1, 1, 1, bias=False).eval()
    image = torch.ones(1, 1, 8, 8)
    for weight, dtype in ((1.0, torch.float16), (1e5, torch.float32)):
        with torch.inference_mode():
            net.weight.fill_(weight)
            output = compute_mixed(net, (image,), torch.autocast("cpu", torch.float16))
        assert output.dtype == dtype
        assert bool((output == weight).all())

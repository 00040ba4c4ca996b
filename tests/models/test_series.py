"""Networks of time series: any dates, masked pixels never count, days tell what values cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lulc.models.networks.registry import MODELS

NAMES = ("utae", "ltae", "tempcnn")
BY_PIXEL = ("ltae", "tempcnn")
ATTENTIVE = ("utae", "ltae")
# Enough for each of several seeds to reach 0.98.
STEPS = {"utae": 160, "ltae": 80, "tempcnn": 80}
SMALL: dict[str, Any] = {"depth": 2, "decoder": (32, 16)}

Series = tuple[Tensor, Tensor, Tensor]


pytestmark = pytest.mark.usefixtures("one_thread")


def build(name: str, bands: int = 3, classes: int = 4, **architecture: Any) -> nn.Module:
    return MODELS[name].build(bands, classes, **SMALL, **architecture).eval()


def series(
    count: int = 2, dates: int = 5, bands: int = 3, shape: tuple[int, int] = (8, 12)
) -> Series:
    """Pixels, valid and days: a third missing, one pixel on all dates, one date of one sample."""
    valid = torch.rand(count, dates, *shape) > 0.3
    valid[:, :, 0, 0] = False
    valid[0, 0] = False
    days = torch.randint(1, 367, (count, dates)).sort(1).values
    return torch.randn(count, dates, bands, *shape) * valid[:, :, None], valid, days


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dates", [1, 2, 7, 40])
def test_every_pixel_of_any_dates_is_mapped(name: str, dates: int) -> None:
    with torch.inference_mode():
        logits = build(name)(*series(2, dates))
    assert logits.shape == (2, 4, 8, 12)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_the_smallest_image_of_any_depth_is_mapped(name: str, depth: int) -> None:
    side = MODELS[name].multiple(depth=depth)
    net = MODELS[name].build(2, 3, depth=depth).eval()
    with torch.inference_mode():
        assert net(*series(1, 3, 2, (side, 2 * side))).shape == (1, 3, side, 2 * side)


@pytest.mark.parametrize("name", NAMES)
def test_where_and_when_nothing_is_valid_the_answer_is_finite(name: str) -> None:
    pixels, valid, days = series()
    net = build(name).train()
    logits = net(torch.zeros_like(pixels), torch.zeros_like(valid), torch.zeros_like(days))
    assert logits.isfinite().all()
    logits.square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_all_weights_learn(name: str) -> None:
    net = build(name, dropout=0.2).train()
    net(*series()).square().mean().backward()
    for key, weight in net.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.any(), key


@pytest.mark.parametrize("name", NAMES)
def test_weights_follow_from_the_seed(name: str) -> None:
    def state(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return build(name, dropout=0.2).state_dict()

    first, again, other = state(1), state(1), state(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_drawn_only_while_it_learns(name: str) -> None:
    net, given = build(name, dropout=0.5), series()
    with torch.inference_mode():
        assert torch.equal(net(*given), net(*given))
        net.train()
        assert not torch.equal(net(*given), net(*given))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("learning", [False, True])
def test_what_stands_in_masked_pixels_is_never_seen(name: str, learning: bool) -> None:
    pixels, valid, days = series()
    net = build(name).train(learning)
    with torch.inference_mode():
        assert torch.equal(
            net(pixels, valid, days), net(pixels.where(valid[:, :, None], 99.0), valid, days)
        )


@pytest.mark.parametrize("name", ATTENTIVE)
@pytest.mark.parametrize("known", [True, False])
def test_dates_on_which_nothing_is_valid_change_nothing(name: str, known: bool) -> None:
    pixels, valid, days = series()
    days = days if known else torch.zeros_like(days)
    more = (2, 3, *valid.shape[2:])
    padded = (
        torch.cat([pixels, torch.zeros(2, 3, *pixels.shape[2:])], 1),
        torch.cat([valid, torch.zeros(more, dtype=torch.bool)], 1),
        torch.cat([days, torch.zeros(2, 3, dtype=torch.int64)], 1),
    )
    net = build(name)
    with torch.inference_mode():
        torch.testing.assert_close(net(*padded), net(pixels, valid, days), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ATTENTIVE)
def test_dates_of_known_days_may_come_in_any_order(name: str) -> None:
    given = series()
    order = torch.tensor([3, 0, 4, 2, 1])
    net = build(name)
    with torch.inference_mode():
        torch.testing.assert_close(
            net(*(x[:, order] for x in given)), net(*given), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_day_is_told_or_else_the_place_in_the_series(name: str) -> None:
    pixels, valid, days = series()
    net, unknown = build(name), torch.zeros_like(days)
    with torch.inference_mode():
        assert not torch.allclose(
            net(pixels, valid, days), net(pixels, valid, 367 - days), atol=1e-4
        )
        assert not torch.allclose(
            net(pixels, valid, unknown), net(pixels.flip(1), valid.flip(1), unknown), atol=1e-4
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_mapped_without_the_others_also_while_it_learns(name: str) -> None:
    pixels, valid, days = series()
    net = build(name).train()
    with torch.inference_mode():
        torch.testing.assert_close(
            net(pixels, valid, days)[:1], net(pixels[:1], valid[:1], days[:1]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", BY_PIXEL)
def test_a_pixel_is_mapped_without_its_neighbours(name: str) -> None:
    pixels, valid, days = series(2, 6, 3, (96, 160))
    net = build(name)
    with torch.inference_mode():
        whole = net(pixels, valid, days)
        part = net(pixels[..., 50:58, 60:70], valid[..., 50:58, 60:70], days)
    torch.testing.assert_close(whole[..., 50:58, 60:70], part, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BY_PIXEL)
def test_what_is_held_at_once_does_not_grow_with_the_series(name: str) -> None:
    net, seen = build(name, bands=1), []
    net.get_submodule("inner").register_forward_pre_hook(
        lambda _, given: seen.append(given[1].numel())
    )
    with torch.inference_mode():
        for dates, side in ((4, 256), (64, 80)):
            net(*series(1, dates, 1, (side, side)))
    # Pixels times dates: of each the widest layer holds 64 numbers.
    assert sum(seen) == 4 * 256**2 + 64 * 80**2
    assert max(seen) <= 1 << 17


# Two crops that are green once, for as long and as much as
# each other: one before and one after midsummer.
PEAKS = torch.tensor([130, 230])


def crops(count: int, known: bool, side: int = 16, dates: int = 10) -> tuple[Series, Tensor]:
    """Series with a third of the pixels missing, and the crops; days random, given if known."""
    label = functional.avg_pool2d(torch.randn(count, 2, side + 8, side + 8), 9, 1).argmax(1)
    days = torch.linspace(60, 300, dates).long().expand(count, dates)
    if known:
        days = torch.randint(60, 301, (count, dates)).sort(1).values
    green = torch.exp(-(((days[:, :, None, None] - PEAKS[label][:, None]) / 45) ** 2))
    valid = torch.rand(count, dates, side, side) > 0.3
    pixels = torch.stack([3 * green - 1, 1 - 2 * green], 2) + 0.3 * torch.randn(
        count, dates, 2, side, side
    )
    return (pixels * valid[:, :, None], valid, days if known else torch.zeros_like(days)), label


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("known", [True, False])
def test_crops_are_told_apart_by_when_they_are_green(name: str, known: bool) -> None:
    net = build(name, bands=2, classes=2).train()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(STEPS[name]):
        given, label = crops(4, known)
        optimizer.zero_grad()
        functional.cross_entropy(net(*given), label).backward()
        optimizer.step()
    (pixels, valid, days), label = crops(16, known)
    net.eval()
    with torch.inference_mode():
        assert (net(pixels, valid, days).argmax(1) == label).float().mean() > 0.95
        # Read backwards, one crop is the other.
        backwards = (pixels.flip(1), valid.flip(1), torch.where(days > 0, 360 - days, days).flip(1))
        assert (net(*backwards).argmax(1) == label).float().mean() < 0.05

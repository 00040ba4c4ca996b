"""Networks of two dates: they map every pixel, depend on the seed alone, and learn changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lulc.errors import UsageError
from lulc.models.networks.registry import MODELS

NAMES = ("siamese-difference", "siamese-concatenation", "early-fusion")
SMALL = {"depth": 2, "decoder": (32, 16)}

# Red and near infrared, standardised, of trees and of built ground.
SPECTRA = torch.tensor([[-1.0, 1.0], [1.0, -0.3]])


pytestmark = pytest.mark.usefixtures("one_thread")


def patches(count: int, side: int) -> Tensor:
    """(N, H, W) of 0 and 1 in patches."""
    return functional.avg_pool2d(torch.randn(count, 2, side + 14, side + 14), 15, 1).argmax(1)


def scenes(count: int, side: int = 32) -> tuple[Tensor, Tensor]:
    """Two dates (N, 2, 2, H, W) in different light; labels: none, trees to built, and back."""
    before, after = patches(count, side), patches(count, side)
    pixels = torch.stack([SPECTRA[before], SPECTRA[after]], 1).movedim(-1, 2) + 0.3 * torch.randn(
        count, 2, 2, side, side
    )
    pixels[:, 1] = 1.3 * pixels[:, 1] + 0.7
    return pixels, torch.where(before == after, 0, 1 + before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("bands", "encoder", "depth"), [(1, "resnet18", 3), (13, "mobilenet_v2", 4), (4, "mit_b0", 5)]
)
def test_every_pixel_of_any_bands_is_mapped(
    name: str, bands: int, encoder: str, depth: int
) -> None:
    model = MODELS[name]
    net = model.build(bands, 5, encoder=encoder, depth=depth).eval()
    high, wide = model.multiple(depth=depth), 3 * model.multiple(depth=depth)
    with torch.inference_mode():
        assert net(torch.randn(2, 2, bands, high, wide)).shape == (2, 5, high, wide)


@pytest.mark.parametrize("name", NAMES)
def test_weights_follow_from_the_seed(name: str) -> None:
    def state(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return MODELS[name].build(4, 3, dropout=0.2, **SMALL).state_dict()

    first, again, other = state(1), state(1), state(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_all_weights_learn_also_where_nothing_changed(name: str) -> None:
    net = MODELS[name].build(3, 4, dropout=0.2, **SMALL)
    net(torch.randn(2, 1, 3, 16, 16).expand(2, 2, 3, 16, 16)).square().mean().backward()
    for key, weight in net.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), key


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_has_its_place_for_weights_and_rates(name: str) -> None:
    assert list(MODELS[name].build(3, 4, **SMALL).get_submodule("encoder").parameters())


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("siamese")])
def test_both_dates_pass_the_same_encoder(name: str) -> None:
    # Its first convolution is as wide as one date.
    encoder = MODELS[name].build(3, 4, **SMALL).get_submodule("encoder")
    assert next(p for p in encoder.parameters() if p.ndim == 4).shape[1] == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_cannot_be_is_explained(name: str) -> None:
    with pytest.raises(UsageError, match="resnet18"):
        MODELS[name].build(4, 3, encoder="resnet19")
    with pytest.raises(UsageError, match=r"train\.decoder"):
        MODELS[name].build(4, 3, depth=4, decoder=(64, 32))


@pytest.mark.parametrize("name", NAMES)
def test_change_is_learned_from_what_to_what(name: str) -> None:
    net = MODELS[name].build(2, 3, **SMALL)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(60):
        pixels, label = scenes(8)
        optimizer.zero_grad()
        functional.cross_entropy(net(pixels), label).backward()
        optimizer.step()
    pixels, label = scenes(16)
    with torch.inference_mode():
        found = net.eval()(pixels).argmax(1)
        assert (found == label).float().mean() > 0.95
        # With the second date of another place it can but guess: it looks at both.
        other = torch.stack([pixels[:, 0], pixels[:, 1].roll(1, 0)], 1)
        assert (net(other).argmax(1) == label).float().mean() < 0.7

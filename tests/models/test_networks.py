"""Every model of the folder has a name; a network depends on its seed alone, takes any bands."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch

from lulc.errors import UsageError
from lulc.models import networks, tasks
from lulc.models.networks.model import Model
from lulc.models.networks.registry import MODELS
from lulc.models.tasks.registry import TASKS
from lulc.models.tasks.task import Task


@pytest.mark.parametrize(
    ("package", "kind", "known"), [(networks, Model, MODELS), (tasks, Task, TASKS)]
)
def test_no_file_is_forgotten(package: object, kind: type, known: dict[str, object]) -> None:
    found = []
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        found += [
            value
            for value in vars(importlib.import_module(module.name)).values()
            if isinstance(value, kind)
        ]
    assert found
    assert {id(value) for value in found} == {id(value) for value in known.values()}
    assert all(name == value.name for name, value in known.items())


@pytest.mark.parametrize(
    ("bands", "depth", "encoder"), [(1, 3, "resnet18"), (13, 4, "resnet34"), (4, 5, "mobilenet_v2")]
)
def test_unet_maps_every_pixel_of_any_bands(bands: int, depth: int, encoder: str) -> None:
    model = MODELS["unet"]
    side = 2 * model.multiple(depth=depth)
    net = model.build(bands, 5, encoder=encoder, depth=depth).eval()
    with torch.inference_mode():
        assert net(torch.zeros(2, bands, side, side)).shape == (2, 5, side, side)


def test_weights_follow_from_the_seed() -> None:
    def state(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return MODELS["unet"].build(4, 3, depth=3, dropout=0.2).state_dict()

    first, again, other = state(1), state(1), state(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_network_that_cannot_be_is_explained() -> None:
    with pytest.raises(UsageError, match="resnet18"):
        MODELS["unet"].build(4, 3, encoder="resnet19")
    with pytest.raises(UsageError, match=r"train\.decoder"):
        MODELS["unet"].build(4, 3, depth=4, decoder=(64, 32))


def test_a_shallow_network_holds_no_stage_it_does_not_use() -> None:
    net = MODELS["unet"].build(4, 3, depth=3)
    net(torch.zeros(2, 4, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    deep = MODELS["unet"].build(4, 3, depth=5)
    assert sum(p.numel() for p in net.parameters()) < 0.2 * sum(
        p.numel() for p in deep.parameters()
    )

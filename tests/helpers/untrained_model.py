"""A model folder with an untrained network whose classes appear all over the map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from lulc.models.contract import Contract, write_contract
from lulc.models.networks.registry import MODELS
from lulc.models.package import CONTRACT, WEIGHTS
from tests.helpers.tiny_samples import BANDS, LEGEND

MEAN, STD = 2000.0, 500.0


def make_contract(**changes: Any) -> Contract:
    """Make a contract: tiny_samples' bands and legend unless changed."""
    bands = changes.get("bands", BANDS)
    plain = {
        "name": "untrained",
        "task": "segment",
        "model": "unet",
        "architecture": {"encoder": "resnet18", "depth": 3},
        "bands": bands,
        "mean": (MEAN,) * len(bands),
        "std": (STD,) * len(bands),
        "legend": LEGEND,
        "gsd_m": 10.0,
        "multiple": 8,
    }
    return Contract(**(plain | changes))


def make_model(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write the contract of `make_contract` and untrained weights."""
    contract = make_contract(**changes)
    net = make_net(contract, seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.contiguous() for name, value in net.state_dict().items()}, folder / WEIGHTS
    )
    write_contract(contract, folder / CONTRACT)
    return folder


def make_net(contract: Contract, seed: int) -> nn.Module:
    """Build a network in eval mode, norms calibrated, classes equally likely on noise."""
    torch.manual_seed(seed)
    net = MODELS[contract.model].build(
        len(contract.bands), len(contract.legend.classes), **contract.architecture
    )
    dates = (2,) if contract.task == "change" else ()
    image = torch.randn(2, *dates, len(contract.bands), 64, 64)
    with torch.no_grad():
        for _ in range(8):
            net(image)
        net.eval()
        logits = net(image).movedim(1, -1).flatten(0, -2)
        head = net.get_submodule("segmentation_head.0")
        assert isinstance(head, nn.Conv2d)
        assert head.bias is not None
        head.weight.div_(logits.std(0)[:, None, None, None])
        head.bias.copy_((head.bias - logits.mean(0)) / logits.std(0))
    return net

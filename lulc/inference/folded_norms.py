"""A network with its batch norms folded into the convolutions before them."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lulc.legend import NODATA
from lulc.models.tasks.registry import TASKS
from lulc.models.tasks.task import Batch


def fold_norms(net: nn.Module, bands: int, multiple: int, task: str = "segment") -> nn.Module:
    """Fold batch norms into the convolutions before them.

    Args:
        net: in eval mode.
        bands: of its input.
        multiple: what the sizes of its input must be multiples of.
        task: its name.

    Returns:
        A copy of the network; the network itself where folding would change its output.
    """
    # Which of two alike boxes is kept depends on the last digit.
    if TASKS[task].kind == "boxes":
        return net
    folded = copy.deepcopy(net)
    for module in list(folded.modules()):
        for (name, conv), (next_name, norm) in itertools.pairwise(module.named_children()):
            if (
                isinstance(conv, nn.Conv2d)
                and type(norm) is nn.BatchNorm2d
                and norm.num_features == conv.out_channels
            ):
                module.set_submodule(name, fuse_conv_bn_eval(conv, norm))
                module.set_submodule(next_name, nn.Identity())
    # Neighbours in the list of modules need not be neighbours in the computation: the outputs of
    # both networks are compared.
    side = max(2 * multiple, 64)
    pixels = torch.rand(1, 2, bands, side, side, generator=torch.Generator().manual_seed(0))
    valid, days = torch.ones(1, 2, side, side, dtype=torch.bool), torch.tensor([[100, 200]])
    samples = Batch(pixels, valid, days, torch.full((1,), NODATA), torch.ones(1))
    inputs = TASKS[task].inputs(samples)
    with torch.inference_mode():
        expected, output = net(*inputs), folded(*inputs)
    tolerance = 1e-3 * float(expected.abs().max())
    return folded if torch.allclose(expected, output, 1e-3, tolerance) else net

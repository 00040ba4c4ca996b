"""How long a network takes to map a pixel on one core of this machine."""

from __future__ import annotations

import time

import torch

from lulc.inference.folded_norms import fold_norms
from lulc.models.device import autocast, compute_mixed, reused_memory
from lulc.models.tasks.registry import TASKS
from lulc.models.work import NetworkShape, random_samples

_SIDE = 512
_ROUNDS = 3


@reused_memory()
@torch.no_grad()
def predict_ns(shape: NetworkShape) -> float:
    """Return nanoseconds of CPU time for a pixel, the best of some rounds, on one thread."""
    task, threads = TASKS[shape.task], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = fold_norms(shape.build().eval(), shape.bands, shape.multiple, shape.task)
        net = net.to(memory_format=torch.channels_last)
        side = _SIDE // shape.multiple * shape.multiple
        mixed = autocast("auto", torch.device("cpu"), gradients=False)
        samples = random_samples(shape, 1, side)
        seconds = []
        for _ in range(_ROUNDS + 1):
            start = time.process_time()
            inputs = tuple(
                tensor.contiguous(memory_format=torch.channels_last)
                if tensor.ndim == 4 and tensor.is_floating_point()
                else tensor
                for tensor in task.inputs(samples)
            )
            if task.kind == "boxes":
                with mixed:
                    task.forward(net, inputs)
            else:
                task.probabilities(compute_mixed(net, inputs, mixed).float())
            seconds.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    return min(seconds[1:]) / side**2 * 1e9

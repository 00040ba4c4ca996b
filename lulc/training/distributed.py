"""This process among the ranks that train together: what they sum, and the one gradient of all."""

from __future__ import annotations

# Annotations stay what they are: torch looks at those of a hook.
import math
import mmap
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lulc.models.device import choose_device

# Where files are memory: Linux has it.
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class World:
    """This process among the `size` ranks that train together."""

    rank: int
    size: int
    device: torch.device

    def sum(self, values: Tensor) -> Tensor:
        """The values, replaced by their sum over all ranks."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, found: list[Any]) -> list[Any]:
        """What all ranks found, one after another."""
        if self.size == 1:
            return found
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, found)
        return [one for part in parts for one in part]

    def spread(self, value: Tensor) -> float:
        """How far a number differs between the ranks."""
        ends = torch.stack([value, -value])
        if self.size > 1:
            dist.all_reduce(ends, dist.ReduceOp.MAX)
        return float(ends.sum())


def join_ranks() -> World:
    """This process's place among the ranks that torchrun's environment tells of (alone without it), given its cores."""
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = choose_device()
    names: list[Any] = [socket.gethostname()] * size
    if size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        dist.all_gather_object(names, socket.gethostname())
    if "WORLD_SIZE" in os.environ:
        # Launchers ask for one thread a process; the ranks of one machine share all its cores.
        cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // names.count(socket.gethostname())))
    return World(rank, size, device)


def share_gradients(net: nn.Module, world: World) -> nn.Module:
    """The network, whose backward pass leaves the mean of the ranks' gradients in each; itself where this process is alone.

    Ranks on the cores of one machine pass gradients through memory they share: sent through sockets, which need the same cores,
    they cost several times as much.
    """
    if world.size == 1:
        return net
    sizes = [p.numel() * p.element_size() for p in net.parameters() if p.requires_grad]
    memory = _open_memory(sum(sizes), world) if world.device.type == "cpu" else None
    # In memory all gradients at once: each part would wait for the slowest rank. Else parts of torch's usual size.
    part_mb = None if memory is None else math.ceil(sum(sizes) / 2**20) + 1
    # Batch norm's running figures are averaged once an epoch, not sent at every step.
    shared = DistributedDataParallel(
        net, forward_sync_buffers=False, gradient_as_bucket_view=True, bucket_cap_mb=part_mb
    )
    if memory is not None:
        shared.register_comm_hook(memory, _average)
    return shared


def _open_memory(size: int, world: World) -> Tensor | None:
    """(ranks + 1, bytes) uint8, the same memory in every rank; None in all of them where one cannot have it."""
    size = -(-size // 64) * 64
    whole = (world.size + 1) * size
    place: list[str | None] = [None]
    if world.rank == 0:
        place = [_reserve(whole)]
    dist.broadcast_object_list(place, 0)
    opened = None
    if place[0] is not None:
        try:
            with open(place[0], "r+b") as file:
                opened = mmap.mmap(file.fileno(), whole)
        except OSError:  # on another machine
            pass
    everywhere = all(world.gather([opened is not None]))
    if world.rank == 0 and place[0] is not None:
        # It lasts as long as a rank has it open, and leaves nothing behind when they are killed.
        Path(place[0]).unlink()
    return (
        torch.frombuffer(opened, dtype=torch.uint8).view(-1, size)
        if opened is not None and everywhere
        else None
    )


def _reserve(size: int) -> str | None:
    # A new file of so many bytes of memory, None where there is not as much: used unreserved, its end would kill the process.
    try:
        handle, path = tempfile.mkstemp(prefix="lulc-", dir=_MEMORY)
    except OSError:
        return None
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError:
        Path(path).unlink()
        return None
    finally:
        os.close(handle)
    return path


def _average(memory: Tensor, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
    """The mean over the ranks of a bucket's gradients, the same bits in every rank.

    Each rank lays its own in its row, averages its share of the columns into the last row, and takes that row: as many bytes a
    rank, however many there are.
    """
    gradients, rank, size = bucket.buffer(), dist.get_rank(), dist.get_world_size()
    rows = memory[:, : gradients.nbytes].view(gradients.dtype)
    mine = slice(rank * len(gradients) // size, (rank + 1) * len(gradients) // size)
    rows[rank] = gradients
    dist.barrier()
    torch.sum(rows[:-1, mine], 0, out=rows[-1, mine]).div_(size)
    dist.barrier()
    gradients.copy_(rows[-1])
    done: torch.futures.Future[Tensor] = torch.futures.Future()
    done.set_result(gradients)
    return done

"""The ranks that train together: this process among them, sums over all, and one gradient."""

# No `from __future__ import annotations` here: torch compares the annotations of a communication
# hook with its own classes, and refuses strings.

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

# Files in this folder of Linux are memory.
_MEMORY_FOLDER = Path("/dev/shm")


@dataclass(frozen=True)
class World:
    """This process among the `size` ranks that train together."""

    rank: int
    size: int
    device: torch.device

    def sum(self, values: Tensor) -> Tensor:
        """Return the values, replaced in place by their sum over all ranks."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, items: list[Any]) -> list[Any]:
        """Return the items of all ranks in one list, in order of rank."""
        if self.size == 1:
            return items
        items_by_rank: list[Any] = [None] * self.size
        dist.all_gather_object(items_by_rank, items)
        return [item for rank_items in items_by_rank for item in rank_items]

    def spread(self, value: Tensor) -> float:
        """Return the difference between the largest and the smallest value of the ranks."""
        extremes = torch.stack([value, -value])
        if self.size > 1:
            dist.all_reduce(extremes, dist.ReduceOp.MAX)
        return float(extremes.sum())


def join_ranks() -> World:
    """Join the ranks that torchrun's environment describes, and take this rank's share of cores.

    Returns:
        This process's World; a World of size 1 where the environment describes none.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = choose_device()
    if device.type == "cuda":
        # NCCL passes objects through the current GPU, which would be the first in every rank.
        torch.cuda.set_device(device)
    hosts: list[Any] = [socket.gethostname()] * size
    if size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        dist.all_gather_object(hosts, socket.gethostname())
    if "WORLD_SIZE" in os.environ:
        # Launchers set one thread a process; the ranks of one machine share all its cores.
        cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // hosts.count(socket.gethostname())))
    return World(rank, size, device)


def share_gradients(net: nn.Module, world: World) -> nn.Module:
    """Return the network, wrapped so that its backward pass averages gradients over the ranks.

    Ranks on the cores of one machine pass gradients through memory they share: sent through
    sockets, which need the same cores, they cost several times as much.

    Returns:
        The wrapped network; the network itself where this process is alone.
    """
    if world.size == 1:
        return net
    sizes = [p.numel() * p.element_size() for p in net.parameters() if p.requires_grad]
    memory = _open_memory(sum(sizes), world) if world.device.type == "cpu" else None
    # Through memory all gradients go at once, since each bucket would wait for the slowest rank;
    # otherwise in buckets of torch's usual size.
    bucket_mb = None if memory is None else math.ceil(sum(sizes) / 2**20) + 1
    # Batch norm's running figures are averaged once an epoch, not sent at every step.
    shared_net = DistributedDataParallel(
        net, forward_sync_buffers=False, gradient_as_bucket_view=True, bucket_cap_mb=bucket_mb
    )
    if memory is not None:
        shared_net.register_comm_hook(memory, _average_gradients)
    return shared_net


def _open_memory(gradient_bytes: int, world: World) -> Tensor | None:
    """Map the same memory into every rank.

    Returns:
        (ranks + 1, bytes) uint8; None in all ranks where one of them cannot map it.
    """
    row_bytes = -(-gradient_bytes // 64) * 64
    total_bytes = (world.size + 1) * row_bytes
    broadcast: list[str | None] = [None]
    if world.rank == 0:
        broadcast = [_reserve_memory(total_bytes)]
    dist.broadcast_object_list(broadcast, 0)
    (path,) = broadcast
    memory = None
    if path is not None:
        try:
            with open(path, "r+b") as file:
                memory = mmap.mmap(file.fileno(), total_bytes)
        except OSError:  # on another machine
            pass
    all_mapped = all(world.gather([memory is not None]))
    if world.rank == 0 and path is not None:
        # The memory lasts while a rank has it mapped; nothing is left behind when ranks are killed.
        Path(path).unlink()
    if memory is None or not all_mapped:
        return None
    return torch.frombuffer(memory, dtype=torch.uint8).view(-1, row_bytes)


def _reserve_memory(size: int) -> str | None:
    # A new file of so many bytes of memory; None where there is not as much. The bytes are
    # allocated here: writing to memory that is not there would kill the process.
    try:
        handle, path = tempfile.mkstemp(prefix="lulc-", dir=_MEMORY_FOLDER)
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


def _average_gradients(
    memory: Tensor,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[Tensor]:
    """Replace a bucket's gradients by their mean over the ranks, the same bits in every rank.

    Each rank writes its gradients to its row, averages its share of the columns into the last row,
    and copies that row: as many bytes a rank, however many ranks there are.
    """
    gradients, rank, size = bucket.buffer(), dist.get_rank(), dist.get_world_size()
    rows = memory[:, : gradients.nbytes].view(gradients.dtype)
    columns = slice(rank * len(gradients) // size, (rank + 1) * len(gradients) // size)
    rows[rank] = gradients
    dist.barrier()
    torch.sum(rows[:-1, columns], 0, out=rows[-1, columns]).div_(size)
    dist.barrier()
    gradients.copy_(rows[-1])
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    future.set_result(gradients)
    return future

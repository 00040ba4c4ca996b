"""Which GPU this process computes on: one that its Spark task was given, or its share of all.

Holds the choice alone; imports no torch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class TaskGpus:
    """The GPUs of a Spark task."""

    number: int
    """The task's number in its stage."""
    addresses: tuple[str, ...] = ()
    """Addresses of the GPUs that Spark reserved for it: numbers or UUIDs. None where Spark knows of
    no GPUs."""


_task_gpus: ContextVar[TaskGpus | None] = ContextVar("task_gpus", default=None)


@contextlib.contextmanager
def work_as_task(gpus: TaskGpus) -> Iterator[None]:
    """Let what is computed within the context use the GPUs of a task."""
    token = _task_gpus.set(gpus)
    try:
        yield
    finally:
        _task_gpus.reset(token)


def own_gpu(uuids: Sequence[str]) -> int | None:
    """Return the GPU that this process computes on.

    Of a Spark task that GPUs are reserved for, it is the first of these; else the task's number, or
    torchrun's RANK, modulo the GPUs in view.

    Args:
        uuids: of the GPUs that are in view, in CUDA's order.

    Returns:
        Its position among those in view; None where none is.
    """
    if not uuids:
        return None
    task = _task_gpus.get() or TaskGpus(int(os.environ.get("RANK", "0")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    for address in task.addresses:
        position = find_gpu(address, uuids, visible)
        if position is not None:
            return position
    return task.number % len(uuids)


def find_gpu(address: str, uuids: Sequence[str], visible: str | None) -> int | None:
    """Find the GPU that an address of Spark means.

    Numbers are the machine's, as nvidia-smi lists them; CUDA numbers anew those that
    CUDA_VISIBLE_DEVICES lets it see. In a container that sees fewer than the machine has, a number
    may be beyond them all: it is taken modulo their count.

    Args:
        address: a number or a UUID, which may be shortened.
        uuids: of the GPUs that are in view, in CUDA's order.
        visible: the variable CUDA_VISIBLE_DEVICES, None where it is not set.

    Returns:
        The position among those in view; None of a UUID that is none of theirs.
    """
    names = [] if visible is None else [name.strip() for name in visible.split(",")][: len(uuids)]
    if address in names:
        return names.index(address)
    if address.isdecimal():
        return int(address) % len(uuids)
    for position, uuid in enumerate(uuids):
        if _plain(uuid).startswith(_plain(address)):
            return position
    return None


def _plain(uuid: str) -> str:
    # nvidia-smi writes GPU- before a UUID, torch does not.
    return uuid.lower().removeprefix("gpu-")

"""Where, in which precision and in what memory a network runs on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Literal

import torch

# glibc's settings, by their numbers in malloc.h: the least bytes that are mapped for one value, and of free ones that go back.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


def choose_device() -> torch.device:
    """This process's GPU (`LOCAL_RANK` of them where several share a machine), or the CPU."""
    if torch.cuda.is_available():
        return torch.device(
            "cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
        )
    return torch.device("cpu")


def autocast(
    precision: Literal["auto", "float32", "bfloat16"], device: torch.device
) -> torch.autocast:
    """The context to run a network in: bfloat16 where asked for, or where `auto` finds hardware for it; else float32."""
    able = (
        torch.cuda.is_bf16_supported()
        if device.type == "cuda"
        else torch.cpu._is_avx512_bf16_supported()
    )
    return torch.autocast(
        device.type,
        torch.bfloat16,
        enabled=precision == "bfloat16" or (precision == "auto" and able),
    )


def reuse_memory() -> None:
    """Nothing; from now on this process uses the memory of past tensors again: a tenth to a sixth less time on cores.

    Every layer asks for tens of megabytes, which by default are mapped anew and cleared page by page.
    """
    _set_allocator(1 << 30, 2**31 - 1)


@contextlib.contextmanager
def reused_memory() -> Iterator[None]:
    """`reuse_memory` for a while: at its end what is free goes back to the system."""
    reuse_memory()
    try:
        yield
    finally:
        # The values that glibc comes to by itself.
        if allocator := _set_allocator(1 << 25, 1 << 26):
            allocator.malloc_trim(0)


def _set_allocator(mapped: int, trimmed: int) -> ctypes.CDLL | None:
    allocator = ctypes.CDLL(None)
    if not hasattr(allocator, "mallopt"):  # glibc alone has it
        return None
    allocator.mallopt(_MMAP_THRESHOLD, mapped)
    allocator.mallopt(_TRIM_THRESHOLD, trimmed)
    return allocator

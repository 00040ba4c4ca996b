"""Device, numeric precision and memory allocator of a network on this machine."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import nn

from lulc.config import Precision
from lulc.models.gpus import own_gpu

# Numbers of glibc's settings in malloc.h: the smallest allocation that gets a mapping of its own,
# and how much free memory goes back to the system.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


def choose_device() -> torch.device:
    """Return the GPU that this process computes on, as `lulc.models.gpus` chooses it, or the CPU.

    Returns:
        The device; the CPU where torch sees no GPU.
    """
    position = own_gpu([uuid for _, uuid in gpus_in_view()])
    return torch.device("cpu") if position is None else torch.device("cuda", position)


def gpus_in_view() -> list[tuple[str, str]]:
    """Return the name and the UUID of every GPU that torch sees, in CUDA's order."""
    if not torch.cuda.is_available():
        return []
    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [(gpu.name, str(gpu.uuid)) for gpu in properties]


def choose_precision(
    setting: Precision, device: torch.device, gradients: bool = True
) -> Literal["float32", "bfloat16", "float16"]:
    """Return the precision that a network is computed in.

    Args:
        setting: as in the run file.
        device: that the network is on.
        gradients: whether it is trained. In float16 small gradients vanish, so that `auto` takes
            it for mapping alone.

    Returns:
        bfloat16 where it is set, or where `auto` finds hardware for it; float16 where `auto` finds
        a GPU without; else float32.
    """
    if setting != "auto":
        return setting
    has_bfloat16 = (
        # Emulated it would be slower than float32.
        torch.cuda.is_bf16_supported(including_emulation=False)
        if device.type == "cuda"
        else torch.cpu._is_avx512_bf16_supported()
    )
    if has_bfloat16:
        return "bfloat16"
    return "float16" if device.type == "cuda" and not gradients else "float32"


def autocast(setting: Precision, device: torch.device, gradients: bool = True) -> torch.autocast:
    """Return the context to run a network in, of the precision that `choose_precision` returns."""
    precision = choose_precision(setting, device, gradients)
    if precision == "float32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, getattr(torch, precision))


def compute_mixed(
    net: nn.Module, inputs: Sequence[torch.Tensor], mixed: torch.autocast
) -> torch.Tensor:
    """Return a network's output, computed in the precision of a context.

    Args:
        net: the network.
        inputs: of it.
        mixed: as `autocast` returns it.

    Returns:
        The output. Where float16 is too small for its numbers, the network is computed again
        without the context.
    """
    device = inputs[0].device.type
    with mixed:
        output: torch.Tensor = net(*inputs)
        is_enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    if is_enabled and dtype == torch.float16 and not output.isfinite().all():
        return net(*inputs)  # type: ignore[no-any-return]
    return output


def reuse_memory() -> None:
    """Make this process reuse the memory of freed tensors: 10 to 17 % less time on cores.

    Every layer allocates tens of megabytes, which by default are mapped anew and cleared page by
    page.
    """
    _set_malloc_thresholds(1 << 30, 2**31 - 1)


@contextlib.contextmanager
def reused_memory() -> Iterator[None]:
    """Reuse the memory of freed tensors within the context; give it back to the system after."""
    reuse_memory()
    try:
        yield
    finally:
        # The values that glibc comes to by itself.
        if libc := _set_malloc_thresholds(1 << 25, 1 << 26):
            libc.malloc_trim(0)


def _set_malloc_thresholds(mmap_bytes: int, trim_bytes: int) -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # only glibc has it
        return None
    libc.mallopt(_MMAP_THRESHOLD, mmap_bytes)
    libc.mallopt(_TRIM_THRESHOLD, trim_bytes)
    return libc

"""Where and in which precision a network runs on this machine."""

from __future__ import annotations

import os
from typing import Literal

import torch


def choose_device() -> torch.device:
    """This process's GPU (`LOCAL_RANK` of them where several share a machine), or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


def autocast(precision: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.autocast:
    """The context to run a network in: bfloat16 where asked for, or where `auto` finds hardware for it; else float32."""
    able = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16" or (precision == "auto" and able))

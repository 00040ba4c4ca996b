"""segmentation_models_pytorch and timm without torch's compiler: import them from here.

Its libraries ask torch's compiler for two small functions as they are imported. That costs 6 seconds of a core in every process
that learns or maps, and nothing here compiles: stand-ins answer, which ask the compiler itself once they are called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch  # noqa: F401


def _disable(fn: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    return fn or _disable


def _is_compile_supported(device: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device))


def _import_smp() -> Any:
    absent = {
        name: ModuleType(name)
        for name in ("torch._dynamo", "torch._dynamo.utils")
        if name not in sys.modules
    }
    for name, function in (("disable", _disable), ("is_compile_supported", _is_compile_supported)):
        for module in absent.values():
            setattr(module, name, function)
    sys.modules.update(absent)
    try:
        import segmentation_models_pytorch
    finally:
        for name in absent:
            del sys.modules[name]
    return segmentation_models_pytorch


smp = _import_smp()
timm: Any = sys.modules["timm"]  # smp stands on it

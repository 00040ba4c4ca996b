"""segmentation_models_pytorch and timm without torch's compiler: import them from here.

Their libraries take two small functions from torch's compiler as they are imported. That costs 6
seconds of a core in every process that trains or maps, and nothing here compiles. Stand-ins take
their place, which import the compiler once they are called.
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
    stand_ins = {
        name: ModuleType(name)
        for name in ("torch._dynamo", "torch._dynamo.utils")
        if name not in sys.modules
    }
    for name, function in (("disable", _disable), ("is_compile_supported", _is_compile_supported)):
        for module in stand_ins.values():
            setattr(module, name, function)
    sys.modules.update(stand_ins)
    try:
        import segmentation_models_pytorch
    finally:
        for name in stand_ins:
            del sys.modules[name]
    return segmentation_models_pytorch


smp = _import_smp()
timm: Any = sys.modules["timm"]  # smp has imported it

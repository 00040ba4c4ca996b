"""Memory of a Python worker in each stage, beside Spark's JVM."""

from __future__ import annotations

import re

from lulc.config import Config

LARGEST_ITEM = 4
"""Bytes of a stored value where the scenes' own type is not known: float32."""

# Python and GDAL; the same with torch and a model.
_WORKER_BYTES = 500e6
_MODEL_BYTES = 1.5e9
_UNITS = {"": 2**20, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def stage_memory(config: Config, item_bytes: int = LARGEST_ITEM) -> dict[str, int]:
    """Return the memory that one task takes outside the JVM.

    Args:
        config: the run.
        item_bytes: bytes of one stored value of one band.

    Returns:
        Stage → bytes; 0 for a stage without Python workers.
    """
    tiling = config.tiling
    block_pixels = (tiling.block * tiling.size + 2 * tiling.halo) ** 2
    block_bytes = block_pixels * len(config.bands) * item_bytes
    group_pixels = (config.rasters.group * tiling.size) ** 2
    sizes = {
        "index": _WORKER_BYTES,
        # The date that is read, and the dates that are kept.
        "tile": block_bytes * (1 + config.dates) * 1.5 + _WORKER_BYTES,
        "samples": _MODEL_BYTES,
        "train": _MODEL_BYTES + parse_memory(config.train.cache),
        "predict": _MODEL_BYTES,
        # Class, confidence and what the writer of the COG holds.
        "rasters": 5 * group_pixels + _WORKER_BYTES,
        "stats": _MODEL_BYTES,
        "evaluate": _MODEL_BYTES,
        "publish": 0,
    }
    return {stage: int(size) for stage, size in sizes.items()}


def parse_memory(text: str) -> int:
    """Return the bytes of an amount as Spark writes it: `500m`, `4g`, MiB without a unit.

    Raises:
        ValueError: it is no such amount.

    Examples:
        >>> parse_memory("1g")
        1073741824
    """
    found = re.fullmatch(r"\s*(\d+)\s*([kmgt]?)b?\s*", text.lower())
    if found is None:
        raise ValueError(f"{text!r} is no amount of memory, such as 500m or 4g")
    return int(found[1]) * _UNITS[found[2]]

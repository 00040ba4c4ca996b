"""Memory of a Python worker in each stage, beside Spark's JVM.

The factors are peaks of resident memory as measured, of one task and of workers in a session.
"""

from __future__ import annotations

import math
import re

from lulc.chips.features import CHUNK_BYTES
from lulc.chips.mosaic import STRIP_BYTES
from lulc.config import Config
from lulc.cost.network import learns_trees
from lulc.cost.work import dates_of
from lulc.maps.refine.steps import reach
from lulc.samples.table import GROUP_BYTES, MIN_FILES
from lulc.stats.class_rasters import SIDE

LARGEST_ITEM = 4
"""Bytes of a stored value where the scenes' own type is not known: float32."""

_MIB = 2**20
# Python, Arrow and GDAL; with what tasks of tile load; with torch and a network; with MLflow too,
# and the network's gradients, moments and averages.
_WORKER_BYTES = 320 * _MIB
_TILE_BYTES = 400 * _MIB
_MODEL_BYTES = 1080 * _MIB
_TRAINING_BYTES = 1600 * _MIB
# What a network holds of a pixel while it maps it, and while it learns it.
_MAPPED_PIXEL_BYTES = 430
_LEARNED_PIXEL_BYTES = 2300
_WRITTEN_SAMPLES = 6
"""Times that a file of samples is held as it is written: as rows, as a table whose buffers double
as they grow, encoded and compressed."""
_MANY_SCENES = 100
_UNITS = {"": 2**20, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def stage_memory(
    config: Config,
    item_bytes: int = LARGEST_ITEM,
    deepest: float = _MANY_SCENES,
    broadcast: int = 0,
    samples: float | None = None,
) -> dict[str, int]:
    """Return the memory that one task takes outside the JVM.

    Args:
        config: the run.
        item_bytes: bytes of one stored value of one band.
        deepest: scenes of the block that has most; many where it is not known.
        broadcast: bytes of the keys and tables that every worker holds.
        samples: bytes of all decoded samples; None where they are not known.

    Returns:
        Stage → bytes; 0 for a stage without Python workers.
    """
    tiling = config.tiling
    core_side = tiling.block * tiling.size
    block_bytes = (core_side + 2 * tiling.halo) ** 2 * (len(config.bands) * item_bytes + 1)
    window = min(core_side, config.predict.window) + 2 * tiling.halo
    cache = parse_memory(config.train.cache)
    file_bytes = min(GROUP_BYTES, math.inf if samples is None else samples / MIN_FILES)
    group = -(-config.rasters.group // tiling.block) * tiling.block
    group_pixels = (group * tiling.size) ** 2
    sizes = {
        "index": _WORKER_BYTES,
        "tile": _TILE_BYTES + _tile_bytes(config, block_bytes, deepest) + broadcast,
        "samples": _TILE_BYTES
        + 3 * block_bytes / tiling.block**2
        + _WRITTEN_SAMPLES * file_bytes
        + broadcast,
        "train": _TRAINING_BYTES
        + (cache if samples is None else min(cache, samples))
        + _learned_bytes(config),
        "predict": _MODEL_BYTES + 3 * block_bytes + window**2 * _mapped_bytes(config) + broadcast,
        "refine": _WORKER_BYTES + _refined_bytes(config, core_side) + broadcast,
        "embed": _MODEL_BYTES + 3 * block_bytes / tiling.block**2 + broadcast,
        # Class and confidence, and what the writer of the COG holds.
        "rasters": _WORKER_BYTES + 5 * group_pixels,
        # Patches, areas, and points of outlines, of which there are as many as pixels or fewer.
        "polygons": _WORKER_BYTES + 100 * SIDE**2,
        "stats": _TILE_BYTES,
        "evaluate": _TILE_BYTES,
        "publish": 0,
    }
    return {stage: int(size) for stage, size in sizes.items()}


def _tile_bytes(config: Config, block_bytes: float, deepest: float) -> float:
    dates = max(dates_of(config, period) for period in config.periods)
    if config.composite is None:
        # The dates that tiles keep, twice while they become chips; the date that is mosaicked, the
        # scene that is read for it, and a band of its file.
        return block_bytes * (2 * dates + (3 if deepest > 1 else 1))
    # The dates of a strip, twice while they are put side by side; the composites, twice while they
    # become chips.
    strip = min(STRIP_BYTES, block_bytes * deepest / dates)
    # A formula's bands, its value and what is sorted of it, of some rows.
    chunk = 5 * CHUNK_BYTES if any(f.scope == "dates" for f in config.features) else 0
    return 2 * strip + block_bytes * (2 * dates + 2) + chunk


def _refined_bytes(config: Config, core_side: int) -> float:
    # Classes and confidence before and after, and the number and size of each pixel's patch; of
    # probabilities those before and after.
    if config.refine is None:
        return 0.0
    percents = 2 * len(config.legend) if config.predict.probabilities else 0
    periods = len(config.periods) if config.refine.transitions else 1
    pixels = (core_side + 2 * reach(config.refine)) ** 2
    return pixels * (16 + periods * (4 + percents))


def _learned_bytes(config: Config) -> float:
    train, bands, classes = config.train, len(config.bands), len(config.legend)
    if learns_trees(config):
        # The table as it is drawn, as one, and in bins; gradients and scores of every class.
        return float(train.trees.rows * (9 * bands + 24 * classes))
    # Of a step on one rank.
    side = min(train.crop or config.samples.size, config.samples.size)
    return train.batch / train.ranks * side**2 * _LEARNED_PIXEL_BYTES


def _mapped_bytes(config: Config) -> float:
    # Of a pixel: of trees its table, and values of every class in float64, float32 and again.
    if learns_trees(config):
        return 12.0 * len(config.bands) + 24 * len(config.legend)
    return _MAPPED_PIXEL_BYTES


def parse_memory(text: str) -> int:
    """Return the bytes of an amount as Spark writes it: `500m`, `4g`, MiB without a unit.

    Raises:
        ValueError: it is no such amount.

    Examples:
        >>> parse_memory("1g")
        1073741824
    """
    match = re.fullmatch(r"\s*(\d+)\s*([kmgt]?)b?\s*", text.lower())
    if match is None:
        raise ValueError(f"{text!r} is no amount of memory, such as 500m or 4g")
    return int(match[1]) * _UNITS[match[2]]

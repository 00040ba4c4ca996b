"""ClassMap: classes and confidence on a grid, and the settings that rasters of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lulc.config import Period
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.legend import Legend


@dataclass(frozen=True)
class RasterSpec:
    """What the rasters of a run share. group: side of a raster in tiles, a multiple of the prediction block's.

    probabilities: whether the predictions hold those of all classes.
    """

    out: Path
    name: str
    tiling: Tiling
    legend: Legend
    group: int
    periods: tuple[Period, ...]
    probabilities: bool = False


@dataclass(frozen=True)
class ClassMap:
    """Legend ids and confidence in per cent on a grid, both (H, W) uint8, 255 where there is none; and what they come from.

    probabilities: (K, H, W) uint8, the percentages of all classes, where they were asked for.
    """

    grid: Grid
    classes: np.ndarray
    confidence: np.ndarray
    scene_ids: tuple[str, ...]
    model: str
    probabilities: np.ndarray | None = None

"""ClassMap: classes and confidence on a grid, and the settings that rasters of a run share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lulc.config import Period
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.legend import Legend
from lulc.raster.show import colour_classes, legend_colours, picture_html
from lulc.tables.files import Location


@dataclass(frozen=True)
class RasterSpec:
    """The settings that the rasters of a run share."""

    out: Location
    """The output location."""
    name: str
    """The run's name."""
    tiling: Tiling
    legend: Legend
    group: int
    """Side of a raster in tiles, a multiple of the prediction block's."""
    periods: tuple[Period, ...]
    probabilities: bool = False
    """Whether rasters of the percentages of all classes are written, too."""


@dataclass(frozen=True)
class ClassMap:
    """The classes of a grid's pixels, and what they come from."""

    grid: Grid
    classes: np.ndarray
    """(H, W) uint8 legend ids, 255 where there is none."""
    confidence: np.ndarray
    """(H, W) uint8 percent, 255 where there is no class."""
    scene_ids: tuple[str, ...]
    model: str
    """`<name>/<version>`."""
    probabilities: np.ndarray | None = None
    """(K, H, W) uint8 percent of all classes; None where the predictions do not hold them."""
    legend: Legend | None = None
    """None where the map comes without one."""

    def _repr_html_(self) -> str:
        if self.legend is None:
            return repr(self)
        picture = colour_classes(self.classes, self.legend)
        height, width = self.grid.shape
        caption = f"{self.model}: {width} × {height} pixels in {self.grid.crs}"
        return picture_html([picture], caption, legend_colours(self.legend, self.classes))

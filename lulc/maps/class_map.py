"""ClassMap: classes and confidence on a grid, and the settings that rasters of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lulc.config import Period
from lulc.errors import InputError, UsageError
from lulc.geo.areas import pixel_areas
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.legend import Legend
from lulc.location import Location
from lulc.maps.uncertainty import BANDS
from lulc.raster.show import colour_classes, decimate, picture_html
from lulc.raster.vector import outline_values

if TYPE_CHECKING:
    import geopandas

_ROWS = 512  # of a map that are summed at once


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
    uncertainty: bool = False
    """Whether rasters of entropy, margin and spread are written, too, as far as they are known."""
    spread: bool = False
    """Whether the predictions hold the spread."""

    @property
    def uncertainty_bands(self) -> tuple[str, ...]:
        """The bands of rasters of uncertainty; none where they are not asked for."""
        if not self.uncertainty:
            return ()
        return (*(BANDS if self.probabilities else ()), *(("spread",) if self.spread else ()))


@dataclass(frozen=True, eq=False)
class ClassMap:
    """The classes of a grid's pixels, and what they come from."""

    grid: Grid | None
    """None of an image without georeference."""
    classes: np.ndarray
    """(H, W) uint8 legend ids, 255 where there is none."""
    confidence: np.ndarray
    """(H, W) uint8 percent, 255 where there is no class or its confidence is not known."""
    scene_ids: tuple[str, ...]
    model: str
    """`<name>/<version>`; empty where it is not known."""
    probabilities: np.ndarray | None = None
    """(K, H, W) uint8 percent of all classes; None where the predictions do not hold them."""
    spread: np.ndarray | None = None
    """(H, W) uint8 percent, the spread of the class's probability; likewise."""
    legend: Legend | None = None
    """None where the map comes without one."""

    @property
    def georeference(self) -> Grid:
        """The map's grid.

        Raises:
            InputError: the map is of an image without georeference.
        """
        if self.grid is None:
            raise InputError(
                "the map is of an image without georeference: it has no place and no areas"
            )
        return self.grid

    def areas_m2(self) -> dict[str, float]:
        """Return the true ellipsoidal area of every class of the legend in m², by its name.

        Whole pixels are counted. Areas by region, whose borders cut pixels, are those of
        `lulc.class_areas`.

        Raises:
            InputError: the map is of an image without georeference.

        Examples:
            >>> import lulc, numpy
            >>> from lulc.legend import COMMON
            >>> grid = lulc.Grid("EPSG:6933", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 1, 3)
            >>> classes = numpy.array([[0, 0, 255]], "uint8")
            >>> areas = lulc.ClassMap(grid, classes, classes, (), "", legend=COMMON).areas_m2()
            >>> areas["water"], areas["trees"]
            (200.0, 0.0)
        """
        legend, areas = self._legend(), pixel_areas(self.georeference)
        sums = np.zeros(256)
        for row in range(0, len(self.classes), _ROWS):
            rows = self.classes[row : row + _ROWS]
            of_rows = areas if len(areas) == 1 else areas[row : row + _ROWS]
            weights = np.broadcast_to(of_rows, rows.shape).ravel()
            sums += np.bincount(rows.ravel(), weights=weights, minlength=256)
        by_name = dict.fromkeys(legend.names.values(), 0.0)
        for class_id, name in legend.names.items():
            by_name[name] += float(sums[class_id])
        return by_name

    def polygons(self, name: str | None = None) -> geopandas.GeoDataFrame:
        """Return the patches of a class as polygons, or those of all classes.

        Args:
            name: the class's name.

        Returns:
            `class_name` and `geometry` in the map's CRS; pixels that share a side are one polygon.

        Raises:
            InputError: the map is of an image without georeference.
            UsageError: the legend has no class of this name.
        """
        import geopandas

        names, grid = self._legend().names, self.georeference
        ids = [class_id for class_id in names if name in (None, names[class_id])]
        if not ids:
            raise UsageError(f"class {name!r} is none of {', '.join(names.values())}")
        outlines = list(outline_values(self.classes, np.isin(self.classes, ids), grid))
        class_names = [names[class_id] for _, class_id in outlines]
        geometries = [geometry for geometry, _ in outlines]
        columns = {"class_name": class_names}
        return geopandas.GeoDataFrame(columns, geometry=geometries, crs=grid.crs)

    def rgba(self) -> np.ndarray:
        """Return the map in the legend's colours, (H, W, 4) uint8, transparent without a class."""
        return colour_classes(self.classes, self._legend())

    def save(self, path: str | Path) -> Path:
        """Write the classes as a cloud-optimised GeoTIFF with names and colours; return its path.

        Raises:
            InputError: the map is of an image without georeference.
        """
        from lulc.raster.cog import pyramid, write_cog  # compiles

        legend = self._legend()
        tags = {f"CLASS_{class_id}": name for class_id, name in legend.names.items()}
        tags |= {"lulc_model": self.model} if self.model else {}
        write_cog(Path(path), self.georeference, pyramid(self.classes), tags, legend)
        return Path(path)

    def _legend(self) -> Legend:
        if self.legend is None:
            raise UsageError("the map has no legend: give it one with dataclasses.replace")
        return self.legend

    def _repr_html_(self) -> str:
        if self.legend is None:
            return ""
        classes = decimate(self.classes)
        names = self.legend.names
        present = [names[class_id] for class_id in np.unique(classes).tolist() if class_id in names]
        height, width = self.classes.shape
        crs = "" if self.grid is None else f" in {self.grid.crs[:60]}"
        caption = f"{self.model} {width} × {height} pixels{crs}".strip()
        colours = {name: self.legend.colours[name] for name in present}
        return picture_html([colour_classes(classes, self.legend)], caption, colours)

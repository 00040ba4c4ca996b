"""Class rasters as tiles of the web's map: 512 × 512 pixels in Web Mercator, PNG with a palette.

A tile is computed of the rasters that it meets: of their overviews where it is coarser than they.
A pixel's value is the class id, or the percentage; its colour is that of the palette.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lulc.config import Config
from lulc.errors import InputError
from lulc.explorer.layer import Layer, tile_grid, zoom_of
from lulc.geo.grid import Grid
from lulc.legend import NODATA, Legend
from lulc.location import Location, relative_name
from lulc.maps.stac import read_grids
from lulc.raster.access import open_raster
from lulc.raster.classes import ClassRaster, read_mean_onto, read_mode_onto, scan_raster
from lulc.raster.show import encode_palette_png
from lulc.tables import files, layout

CLASSES = "classes"
CONFIDENCE = "confidence"
_MAX_PARTS = 100  # rasters that one tile is read from
_RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Colours of 0, 25, 50, 75 and 100 per cent: they differ in lightness, for eyes of any kind."""

type Palette = Mapping[int, tuple[int, int, int, int]]
"""Value → (red, green, blue, alpha)."""


@dataclass(frozen=True)
class TileLayer(Layer):
    """A map of one period, or how sure it is, as tiles."""

    kind: str
    """`classes`, `confidence`, or a band of the rasters of uncertainty such as `entropy`."""
    period: str
    parts: tuple[ClassRaster, ...]
    """The rasters of the map."""
    overview: ClassRaster | None
    """The whole map in coarser pixels, None where it is not needed."""
    palette: Palette

    @property
    def grids(self) -> Sequence[Grid]:
        """The grids of the rasters."""
        return [raster.grid for raster in self.parts]

    @cached_property
    def min_zoom(self) -> int:
        """The first zoom at which no tile is read from more than 100 rasters, or else the last."""
        if self.overview is not None:
            return 0
        zooms = range(self.max_zoom)
        return next((z for z in zooms if self.count_parts(z) <= _MAX_PARTS), self.max_zoom)

    def tile(self, zoom: int, col: int, row: int) -> bytes | None:
        """Return a tile as PNG, None where the map has no pixel in it."""
        grid = tile_grid(zoom, col, row)
        values = np.full(grid.shape, NODATA, np.uint8)
        read = read_mode_onto if self.kind == CLASSES else read_mean_onto
        for raster in self._rasters_in(zoom, col, row):
            part_values = read(raster, grid)
            np.copyto(values, part_values, where=values == NODATA)
        return None if (values == NODATA).all() else encode_palette_png(values, self.palette)

    def _rasters_in(self, zoom: int, col: int, row: int) -> Sequence[ClassRaster]:
        if self.overview is not None and zoom < zoom_of(self.overview.grid):
            return (self.overview,)
        return [self.parts[number] for number in self.parts_in(zoom, col, row)]


def find_layers(
    config: Config, out: Location, rasters: Mapping[str, Sequence[Location]], legend: Legend
) -> list[TileLayer]:
    """Return the maps of a run by period: classes, and how sure these are where that is kept.

    Args:
        config: the run.
        out: its output location.
        rasters: its class rasters by period.
        legend: of its maps.

    Raises:
        InputError: there is no map.
    """
    layers = []
    beside = {
        place
        for folder in ("confidence", "uncertainty")
        for place in files.list_places(out, folder)
    }
    for period, locations in rasters.items():
        if config.maps_as_given:
            parts = tuple(scan_raster(str(location)) for location in locations)
            layers.append(TileLayer(CLASSES, period, parts, None, legend.palette()))
            continue
        places = [relative_name(location, out) for location in locations]
        grids = read_grids(out, places)
        parts = tuple(_own_raster(out / place, grids[place]) for place in places)
        overview = _overview(out, period)
        layers.append(TileLayer(CLASSES, period, parts, overview, legend.palette()))
        for path_of in (layout.confidence_raster, layout.uncertainty_raster):
            if beside.issuperset(map(path_of, places)):
                parts = tuple(_own_raster(out / path_of(p), grids[p]) for p in places)
                layers.extend(_measures(period, parts))
    if not layers:
        raise InputError(f"{out} holds no map to show: run `lulc rasters`")
    return layers


def _measures(period: str, parts: tuple[ClassRaster, ...]) -> list[TileLayer]:
    # A layer for each band of rasters of percentages; that of a raster of one band is confidence.
    with open_raster(parts[0].path) as file:
        kinds = [name or CONFIDENCE for name in file.descriptions]
    return [
        TileLayer(
            kind, period, tuple(replace(part, band=band) for part in parts), None, percent_palette()
        )
        for band, kind in enumerate(kinds, 1)
    ]


def _own_raster(location: Location, grid: Grid) -> ClassRaster:
    # As `scan_raster` finds it, without opening the file.
    return ClassRaster(str(location), 1, grid, NODATA, True, ())


def _overview(out: Location, period: str) -> ClassRaster | None:
    overview = out / layout.mosaic_files(period)[-1]
    return scan_raster(str(overview)) if files.exists(overview) else None


def percent_palette() -> Palette:
    """Return the colours of 0 to 100 per cent."""
    steps = np.linspace(0, 100, len(_RAMP))
    channels = np.array(_RAMP, float).T
    colours = np.array([np.interp(range(101), steps, channel) for channel in channels]).T
    return {
        value: (round(red), round(green), round(blue), 255)
        for value, (red, green, blue) in enumerate(colours.tolist())
    }

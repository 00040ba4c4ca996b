"""Class rasters as tiles of the web's map: 512 × 512 pixels in Web Mercator, PNG with a palette.

A tile is computed of the rasters that it meets: of their overviews where it is coarser than they.
A pixel's value is the class id, or the percentage; its colour is that of the palette.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely

from lulc.config import Config
from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid
from lulc.geo.reproject import bounds_in
from lulc.legend import NODATA, Legend
from lulc.location import Location, relative_name
from lulc.maps.stac import read_grids
from lulc.raster.classes import ClassRaster, read_mean_onto, read_mode_onto, scan_raster
from lulc.raster.show import encode_palette_png
from lulc.tables import files, layout

SIDE = 512
"""Pixels along a side of a tile."""
WEB_MERCATOR = "EPSG:3857"
_HALF = math.pi * 6378137.0  # of the map's side, in its metres
_MAX_LATITUDE = 85.0511
_MAX_ZOOM = 20
_MAX_PARTS = 100  # rasters that one tile is read from
_RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Colours of 0, 25, 50, 75 and 100 per cent: they differ in lightness, for eyes of any kind."""

type Palette = Mapping[int, tuple[int, int, int, int]]
"""Value → (red, green, blue, alpha)."""
type Box = tuple[float, float, float, float]
"""West, south, east and north in degrees; beyond the antimeridian east is over 180."""


@dataclass(frozen=True)
class TileLayer:
    """A map of one period, as tiles."""

    kind: str
    """`classes` or `confidence`."""
    period: str
    parts: tuple[ClassRaster, ...]
    """The rasters of the map."""
    overview: ClassRaster | None
    """The whole map in coarser pixels, None where it is not needed."""
    palette: Palette

    @property
    def name(self) -> str:
        """`<kind>-<period>`, which names the layer's files."""
        return f"{self.kind}-{self.period}"

    @cached_property
    def bounds(self) -> Box:
        """The box that holds the map."""
        boxes = np.array(self._boxes)
        west, south = boxes[:, :2].min(0).tolist()
        east, north = boxes[:, 2:].max(0).tolist()
        return west, max(south, -_MAX_LATITUDE), east, min(north, _MAX_LATITUDE)

    @cached_property
    def max_zoom(self) -> int:
        """The first zoom whose pixels are not larger than the map's."""
        return min(_zoom_of(self.parts[0].grid), _MAX_ZOOM)

    @cached_property
    def min_zoom(self) -> int:
        """The first zoom at which no tile is read from more than 100 rasters, or else the last."""
        if self.overview is not None:
            return 0
        zooms = range(self.max_zoom)
        return next((z for z in zooms if self._most_parts(z) <= _MAX_PARTS), self.max_zoom)

    def tile(self, zoom: int, col: int, row: int) -> bytes | None:
        """Return a tile as PNG, None where the map has no pixel in it.

        Args:
            zoom: 0 for the tile of the whole Earth.
            col: counted from the west.
            row: counted from the north.

        Raises:
            InputError: a raster cannot be read.
        """
        grid = tile_grid(zoom, col, row)
        values = np.full(grid.shape, NODATA, np.uint8)
        read = read_mode_onto if self.kind == "classes" else read_mean_onto
        for raster in self._rasters_in(zoom, col, row):
            part_values = read(raster, grid)
            np.copyto(values, part_values, where=values == NODATA)
        return None if (values == NODATA).all() else encode_palette_png(values, self.palette)

    def tiles(self, zoom: int) -> Iterator[tuple[int, int]]:
        """Yield column and row of every tile of a zoom that may have pixels, in order."""
        yield from sorted({cell for box in self._boxes for cell in _cells(box, zoom)})

    @cached_property
    def _boxes(self) -> list[Box]:
        boxes = [_degrees(raster.grid) for raster in self.parts]
        # Rasters on both sides of the antimeridian lie side by side.
        if max(box[2] for box in boxes) - min(box[0] for box in boxes) > 350:
            boxes = [(w + 360, s, e + 360, n) if e < 0 else (w, s, e, n) for w, s, e, n in boxes]
        return boxes

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([shapely.box(*box) for box in self._boxes])

    def _rasters_in(self, zoom: int, col: int, row: int) -> Sequence[ClassRaster]:
        if self.overview is not None and zoom < _zoom_of(self.overview.grid):
            return (self.overview,)
        west, south, east, north = tile_box(zoom, col, row)
        turns = [shapely.box(west + turn, south, east + turn, north) for turn in (0, 360)]
        found = np.unique(self._tree.query(turns)[1])
        return [self.parts[number] for number in found]

    def _most_parts(self, zoom: int) -> int:
        counts: dict[tuple[int, int], int] = {}
        for box in self._boxes:
            for cell in _cells(box, zoom):
                counts[cell] = counts.get(cell, 0) + 1
        return max(counts.values())


def tile_grid(zoom: int, col: int, row: int) -> Grid:
    """Return the grid of a tile's pixels."""
    side = 2 * _HALF / 2**zoom
    pixel = side / SIDE
    transform = (pixel, 0.0, col * side - _HALF, 0.0, -pixel, _HALF - row * side)
    return Grid(WEB_MERCATOR, transform, SIDE, SIDE)


def tile_box(zoom: int, col: int, row: int) -> Box:
    """Return the box of a tile."""
    south, north = (
        math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * edge / 2**zoom))))
        for edge in (row + 1, row)
    )
    return col / 2**zoom * 360 - 180, south, (col + 1) / 2**zoom * 360 - 180, north


def _cells(box: Box, zoom: int) -> Iterator[tuple[int, int]]:
    # The tiles that a box meets.
    west, south, east, north = box
    count = 2**zoom
    rows = [
        (1 - math.asinh(math.tan(math.radians(latitude))) / math.pi) / 2 * count
        for latitude in (min(north, _MAX_LATITUDE), max(south, -_MAX_LATITUDE))
    ]
    first_row, last_row = (min(max(math.floor(edge), 0), count - 1) for edge in rows)
    first_col, last_col = (math.floor((edge + 180) / 360 * count) for edge in (west, east))
    for row in range(first_row, last_row + 1):
        for col in range(first_col, min(last_col, first_col + count - 1) + 1):
            yield col % count, row


def _zoom_of(grid: Grid) -> int:
    # The first zoom whose pixels are not larger than the grid's, in the middle of the grid.
    _, south, _, north = _degrees(grid)
    latitude = min(abs(south + north) / 2, _MAX_LATITUDE)
    whole = 2 * _HALF / SIDE * math.cos(math.radians(latitude))
    return max(0, math.ceil(math.log2(whole / min(grid.resolution_m)) - 1e-3))


def _degrees(grid: Grid) -> Box:
    box = bounds_in(grid, WGS84)
    if box is None:
        raise InputError(f"a raster in {grid.crs[:40]} has no place in degrees: it is not shown")
    west, south, east, north = box
    turn = 360 * math.floor((west + 180) / 360)
    return west - turn, south, east - turn, north


def find_layers(
    config: Config, out: Location, rasters: Mapping[str, Sequence[Location]], legend: Legend
) -> list[TileLayer]:
    """Return the maps of a run: classes by period, each followed by its confidence if there is one.

    Args:
        config: the run.
        out: its output location.
        rasters: its class rasters by period.
        legend: of its maps.

    Raises:
        InputError: there is no map.
    """
    layers = []
    for period, locations in rasters.items():
        if config.maps:
            parts = tuple(scan_raster(str(location)) for location in locations)
            layers.append(TileLayer("classes", period, parts, None, legend.palette()))
            continue
        places = [relative_name(location, out) for location in locations]
        grids = read_grids(out, places)
        confidence = [layout.confidence_raster(place) for place in places]
        parts = tuple(_own_raster(out / place, grids[place]) for place in places)
        overview = _overview(out, period)
        layers.append(TileLayer("classes", period, parts, overview, legend.palette()))
        if all(files.exists(out / place) for place in confidence):
            parts = tuple(
                _own_raster(out / beside, grids[place])
                for beside, place in zip(confidence, places, strict=True)
            )
            layers.append(TileLayer("confidence", period, parts, None, percent_palette()))
    if not layers:
        raise InputError(f"{out} holds no map to show: run `lulc rasters`")
    return layers


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

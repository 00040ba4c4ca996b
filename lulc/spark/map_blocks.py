"""Class rasters made elsewhere as blocks of the run's tiling, for the refine stage."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from lulc.config import Config, MapFiles
from lulc.errors import InputError
from lulc.geo.grid import turn_of
from lulc.geo.overlap import pixel_offset, turned
from lulc.geo.reproject import bounds_in
from lulc.geo.tiling import Tiling
from lulc.maps.refine.layers import check_layer, layer_identity
from lulc.maps.refine.sources import MapSource
from lulc.raster.classes import ClassRaster
from lulc.stats.class_rasters import scan_rasters
from lulc.stats.mosaic import read_onto
from lulc.tables.files import file_identity

type Cell = tuple[str, int, int]
"""Period, column and row of a block's top left tile."""
type Box = tuple[float, float, float, float]
"""Least x and y, greatest x and y."""


@dataclass(frozen=True)
class ScannedMap:
    """A map of one period, with the files that it is read from."""

    period: str
    source: MapSource
    rasters: tuple[ClassRaster, ...]

    def identity(self) -> list[object]:
        """Return what changes with its settings, and not with its files."""
        within = self.source.within
        return [self.period, self.source.accuracy, within and layer_identity(within)]


def scan_maps(config: Config) -> list[ScannedMap]:
    """Read the headers of the run's maps made elsewhere, in the order of the run file.

    Raises:
        InputError: as `lulc.stats.class_rasters.scan_rasters` raises it, or a map's `within`
            covers no part of it.
    """
    legend = {class_id: entry.name for class_id, entry in config.legend.items()}
    scanned = []
    names = map_names(config.maps)
    for number, (entry, name) in enumerate(zip(config.maps, names, strict=True)):
        (mosaic,) = scan_rasters([entry], config.stats.overlap, legend).mosaics
        if entry.within:
            grids = [raster.grid for raster in mosaic.rasters]
            check_layer(entry.within, f"maps.{number}.within", grids)
        source = MapSource(name, partial(read_onto, mosaic), entry.accuracy, entry.within)
        scanned.append(ScannedMap(entry.period, source, mosaic.rasters))
    return scanned


def map_names(maps: Sequence[MapFiles]) -> list[str]:
    """Return what tables call each map: the end of its path, or all of it where two end alike."""
    ends = [PurePosixPath(entry.path).name for entry in maps]
    counts = Counter(zip(ends, (entry.period for entry in maps), strict=True))
    return [
        entry.path if counts[end, entry.period] > 1 else end
        for end, entry in zip(ends, maps, strict=True)
    ]


def note_on_pixels(maps: Sequence[ScannedMap], tiling: Tiling) -> str:
    """Return a note on rasters that are not on the pixels of the refined map; empty without any.

    Args:
        maps: of all periods.
        tiling: of the run.
    """
    grid = tiling.grid(0, 0)
    rasters = [raster for scanned in maps for raster in scanned.rasters]
    others = [
        raster
        for raster in rasters
        if all(pixel_offset(grid, moved) is None for moved in turned(raster.grid, grid))
    ]
    if not others:
        return ""
    sides = f"{tiling.resolution:.6g} x {tiling.pixel_height:.6g} in {tiling.crs[:40]}"
    return (
        f"{len(others)} of {len(rasters)} class rasters, such as {others[0].path}, are not on the "
        f"pixels of the refined map ({sides}): these take their class at the pixel's centre, which "
        "changes areas a little; tiling.like takes the pixels of another raster"
    )


def blocks_of_maps(
    maps: Sequence[ScannedMap], tiling: Tiling, span: int, margin: int
) -> dict[Cell, list[object]]:
    """Return the blocks that maps meet, and what each is made of.

    Args:
        maps: of all periods.
        tiling: of the run.
        span: side of a block in tiles.
        margin: pixels around a block that are read too.

    Returns:
        Period and cell of each block → what changes when a file is replaced that it is read from.

    Raises:
        InputError: a raster has no place in the tiling's CRS.
    """
    blocks: set[Cell] = set()
    read: dict[Cell, list[object]] = defaultdict(list)
    for number, scanned in enumerate(maps):
        for raster in scanned.rasters:
            identity = file_identity(raster.path)
            for box in _boxes(raster, tiling):
                blocks |= {(scanned.period, *cell) for cell in tiling.cells(box, span)}
                # A pixel more, since pixels of other grids are taken by their centres.
                for cell in tiling.cells(_widened(box, tiling, margin + 1), span):
                    read[scanned.period, *cell].append([number, identity])
    return {block: read[block] for block in sorted(blocks)}


def _boxes(raster: ClassRaster, tiling: Tiling) -> list[Box]:
    # Where a raster lies in the tiling. Of a bounded one that is the raster's own place; else, in
    # degrees, within half a turn, and what lies beyond is at the other end.
    box = bounds_in(raster.grid, tiling.crs)
    if box is None:
        raise InputError(
            f"{raster.path} has no place in {tiling.crs[:40]}, the CRS of the refined map: give "
            "tiling.like a raster of a CRS that covers all maps"
        )
    turn = turn_of(tiling.crs)
    if tiling.extent or turn is None:
        return [box]
    xmin, ymin, xmax, ymax = box
    first, last = (math.floor(x / turn + 0.5) for x in (xmin, xmax))
    moved = (
        (max(xmin - k * turn, -turn / 2), min(xmax - k * turn, turn / 2))
        for k in range(first, last + 1)
    )
    return [(west, ymin, east, ymax) for west, east in moved if west < east]


def _widened(box: Box, tiling: Tiling, pixels: int) -> Box:
    x, y = pixels * tiling.resolution, pixels * tiling.pixel_height
    xmin, ymin, xmax, ymax = box
    return xmin - x, ymin - y, xmax + x, ymax + y

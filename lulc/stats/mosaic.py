"""Class rasters of one period as one map, in which every place has one owner.

Where rasters overlap a place belongs to the first of them, in the order of their paths, that has a
class there; where none has, to the first that has a pixel there. A pixel belongs as its centre
does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import get_args

import numpy as np
import shapely

from lulc.config import Overlap
from lulc.errors import InputError, UsageError
from lulc.geo import grid as geo_grid
from lulc.geo.grid import WGS84, Grid, coordinate_limits, transformer, turn_of
from lulc.geo.overlap import pixel_offset, turned
from lulc.legend import NODATA
from lulc.raster import classes
from lulc.raster.classes import ClassRaster
from lulc.raster.views import pixel_centres


@dataclass(frozen=True)
class Mosaic:
    """Class rasters of one period, and what they share."""

    rasters: tuple[ClassRaster, ...]
    """The rasters in the order in which they own what they share."""
    overlap: Overlap
    """Whether two of them may have classes at one place."""
    neighbours: tuple[tuple[int, ...], ...]
    """Of each raster the numbers of those that may lie on its pixels."""


@dataclass(frozen=True, eq=False)
class SharedPixels:
    """Pixels at which two rasters of a mosaic that may not overlap have a class."""

    paths: tuple[str, str]
    """The two files."""
    pixels: np.ndarray
    """(H, W) bool on the block's pixels."""
    grid: Grid
    """Grid of the block."""

    def error(self) -> InputError:
        """Return the error that names the files and one of the places."""
        x, y = pixel_centres(self.grid, *np.argwhere(self.pixels)[:1].T)
        lon, lat = transformer(self.grid.crs, WGS84).transform(x, y)
        return _overlap_error(self.paths, lon[0], lat[0])


@dataclass(frozen=True, eq=False)
class MosaicBlock:
    """The classes of a block of a raster's pixels, as far as they are the raster's own."""

    ids: np.ndarray
    """(H, W) uint8 ids, NODATA where there is no class or another raster owns the place."""
    foreign: np.ndarray | None
    """(H, W) bool: pixels that another raster owns; None where there is none."""
    seam: np.ndarray | None
    """(H, W) bool: pixels at the border of a raster on other pixels, which are halved by it; None
    where there is none."""
    shared: tuple[SharedPixels, ...] = ()
    """Where `overlap` is `refuse`: pixels that another raster has a class at, too."""


def make_mosaic(rasters: Sequence[ClassRaster], overlap: Overlap) -> Mosaic:
    """Return class rasters of one period as one map.

    Raises:
        InputError: a file is given twice, or a raster goes round the Earth more than once, or
            beyond a pole.
        UsageError: `overlap` is neither `refuse` nor `first`.
    """
    if overlap not in get_args(Overlap):
        raise UsageError(f"overlap {overlap!r} is none of {', '.join(get_args(Overlap))}")
    ordered = sorted(rasters, key=lambda raster: raster.path)
    for raster in ordered:
        _check_extent(raster)
    for first, second in itertools.pairwise(ordered):
        if first.path == second.path:
            raise InputError(f"{first.path} is given twice for one period: give it once")
    footprints = [geo_grid.footprint(raster.grid) for raster in ordered]
    pairs = shapely.STRtree(footprints).query(footprints, predicate="intersects").T.tolist()
    neighbours: list[list[int]] = [[] for _ in ordered]
    for number, other in sorted(pairs):
        if number != other and _may_share(ordered[number].grid, ordered[other].grid):
            neighbours[number].append(other)
    return Mosaic(tuple(ordered), overlap, tuple(map(tuple, neighbours)))


def _check_extent(raster: ClassRaster) -> None:
    turn, (xmin, ymin, xmax, ymax) = turn_of(raster.grid.crs), raster.grid.bounds
    if turn and max(-ymin, ymax) > coordinate_limits(raster.grid.crs)[1]:
        raise InputError(
            f"{raster.path} reaches from latitude {360 * ymin / turn:.6g} to "
            f"{360 * ymax / turn:.6g}, beyond a pole, so that its pixels there are cut by it: warp "
            "it to pixels that end at 90 (gdalwarp -te -180 -90 180 90)"
        )
    if turn and xmax - xmin > turn + raster.grid.resolution[0] / 2:
        raise InputError(
            f"{raster.path} spans {360 * (xmax - xmin) / turn:.6g} degrees of longitude, so that "
            "its ends lie on the same ground: cut it to 360 (gdal_translate -projwin)"
        )


def _may_share(grid: Grid, other: Grid) -> bool:
    # Grids of one lattice of pixels share whole pixels or none.
    offsets = [pixel_offset(grid, moved) for moved in turned(other, grid)]
    return any(
        offset is None
        or (-other.height < offset[0] < grid.height and -other.width < offset[1] < grid.width)
        for offset in offsets
    )


def _on_lattice(grid: Grid, other: Grid) -> bool:
    return all(pixel_offset(grid, moved) is not None for moved in turned(other, grid))


def read_block(mosaic: Mosaic, number: int, window: tuple[int, int, int, int]) -> MosaicBlock:
    """Read the classes that a raster of a mosaic owns in a window of its pixels.

    Args:
        mosaic: the map.
        number: of the raster in it.
        window: first row, first column, height and width.

    Raises:
        InputError: a raster cannot be read.
    """
    raster = mosaic.rasters[number]
    row, col, height, width = window
    ids = classes.read_ids(raster, np.s_[row : row + height, col : col + width])
    if not mosaic.neighbours[number]:
        return MosaicBlock(ids, None, None)
    grid = raster.grid.window(*window)
    foreign, seam = np.zeros(ids.shape, bool), np.zeros(ids.shape, bool)
    shared = []
    for other in _neighbours_at(mosaic, number, grid):
        other_raster = mosaic.rasters[other]
        on_lattice = _on_lattice(raster.grid, other_raster.grid)
        other_ids, covered = classes.read_ids_onto(other_raster, grid.pad(1))
        has_class = (other_ids != NODATA)[1:-1, 1:-1]
        both = has_class & (ids != NODATA)
        both = both if on_lattice else _inner(both)
        if mosaic.overlap == "refuse" and both.any():
            first, second = sorted((raster.path, other_raster.path))
            shared.append(SharedPixels((first, second), both, grid))
        if other < number:
            foreign |= has_class | ((ids == NODATA) & covered[1:-1, 1:-1])
        else:
            foreign |= has_class & (ids == NODATA)
        if not on_lattice:
            seam |= _edges(covered)[1:-1, 1:-1] | _edges(foreign)
    ids = np.where(foreign, NODATA, ids) if foreign.any() else ids
    return MosaicBlock(
        ids, foreign if foreign.any() else None, seam if seam.any() else None, tuple(shared)
    )


def read_onto(mosaic: Mosaic, grid: Grid) -> np.ndarray:
    """Read the classes of a mosaic at the centres of a grid's pixels.

    Returns:
        (H, W) uint8 ids of the first raster that has a class there, NODATA where none has.
    """
    ids = np.full(grid.shape, NODATA, np.uint8)
    footprint = geo_grid.footprint(grid)
    for raster in mosaic.rasters:
        if shapely.intersects(footprint, _footprint(raster.grid)):
            raster_ids, _ = classes.read_ids_onto(raster, grid)
            np.copyto(ids, raster_ids, where=ids == NODATA)
    return ids


def ids_at_points(mosaic: Mosaic, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Read the classes of a mosaic at points.

    Args:
        mosaic: the map.
        lon: (N,) longitudes in degrees.
        lat: (N,) latitudes in degrees.

    Returns:
        (N,) uint8 ids of the first raster that has a class there, NODATA where none has.

    Raises:
        InputError: two rasters have different classes at a point, and `overlap` is `refuse`.
    """
    ids, owners = np.full(len(lon), NODATA, np.uint8), np.zeros(len(lon), int)
    for number, raster in enumerate(mosaic.rasters):
        raster_ids = classes.ids_at(raster, lon, lat)
        differs = (raster_ids != NODATA) & (ids != NODATA) & (raster_ids != ids)
        if mosaic.overlap == "refuse" and differs.any():
            point = int(np.flatnonzero(differs)[0])
            first = mosaic.rasters[owners[point]].path
            raise _overlap_error((first, raster.path), lon[point], lat[point])
        owners[(ids == NODATA) & (raster_ids != NODATA)] = number
        np.copyto(ids, raster_ids, where=ids == NODATA)
    return ids


def _neighbours_at(mosaic: Mosaic, number: int, grid: Grid) -> list[int]:
    # The neighbours of a raster that may lie on a window of it.
    footprint = geo_grid.footprint(grid)
    return [
        other
        for other in mosaic.neighbours[number]
        if shapely.intersects(footprint, _footprint(mosaic.rasters[other].grid))
    ]


@cache
def _footprint(grid: Grid) -> shapely.Geometry:
    return geo_grid.footprint(grid)


def _overlap_error(paths: tuple[str, str], lon: float, lat: float) -> InputError:
    return InputError(
        f"{paths[0]} and {paths[1]} overlap: both have a class at longitude {lon:.5f}, latitude "
        f"{lat:.5f}, which would be counted twice. Leave one of them out, or take the first by "
        "name where both have a class: overlap=first (--set stats.overlap=first of `lulc stats`, "
        "--overlap first of `lulc design` and `lulc evaluate`)"
    )


def _inner(shared: np.ndarray) -> np.ndarray:
    # Without strips less than three pixels wide, which rasters on different pixels share where they
    # only touch.
    rows = shared[:-2] & shared[1:-1] & shared[2:]
    return np.pad(rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:], 1)


def _edges(mask: np.ndarray) -> np.ndarray:
    # Pixels of which a neighbour above, below or beside is on the other side.
    edges = np.zeros(mask.shape, bool)
    rows, cols = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edges[1:] |= rows
    edges[:-1] |= rows
    edges[:, 1:] |= cols
    edges[:, :-1] |= cols
    return edges

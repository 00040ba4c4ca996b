"""Class rasters: which class every pixel has, and where there is none.

The one reader of classes. A pixel has no class where it holds the raster's nodata value, where a
mask or an alpha band hides it, and, of a raster without a nodata value, where it holds 255. Pixels
are taken where the raster's transform puts them, whichever way its rows run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from lulc.errors import InputError
from lulc.geo import overlap, warp
from lulc.geo.grid import WGS84, Grid, nearest_turn, transformer
from lulc.guard import read_guard
from lulc.legend import NODATA, class_names
from lulc.raster import reader
from lulc.raster.access import ReadError, gdal_message, open_raster
from lulc.raster.pixels import alpha_bands, is_own_mask, is_real, read_pixels
from lulc.raster.side_files import names_beside
from lulc.raster.stores import shown_name
from lulc.raster.views import PixelWindow

_BESIDE_CLASSES = ("confidence", "probability")
"""Words in the descriptions of bands that may lie beside the band of classes."""
_COLOURS = ("red", "green", "blue")
_MAX_PIXELS = 1 << 24  # of a raster that are read at once
_POINT_BLOCK = 512  # pixels a side that are read around points


@dataclass(frozen=True)
class ClassRaster:
    """What the header of a class raster says."""

    path: str
    """Path of the file."""
    band: int
    """Number, from 1, of the band that holds the classes."""
    grid: Grid
    """Grid of its pixels."""
    nodata: float
    """Value that means no class: its own if its type can hold it, else 255."""
    plain: bool
    """Its pixels are ids as they are: uint8, 255 for no class, and neither mask nor alpha."""
    names: tuple[tuple[int, str], ...]
    """(id, name) of the classes that it names."""


def scan_raster(path: str) -> ClassRaster:
    """Read the header of a class raster.

    Raises:
        InputError: it is not one band of classes, has no CRS, or lies nowhere on Earth.
    """
    with read_guard(f"class raster {path}"), open_raster(path) as file:
        band = find_class_band(file)
        nodata = nodata_of(file, band)
        names = names_of(file, path, band)
        is_bytes = file.dtypes[band - 1] == "uint8"
        is_plain = is_bytes and nodata == NODATA and not _has_mask(file, band)
        classes = sorted(names.items())
        return ClassRaster(
            path,
            band,
            reader.grid_of(file),
            nodata,
            is_plain,
            tuple(entry for entry in classes if entry[0] not in (nodata, NODATA)),
        )


def find_class_band(file: DatasetReader) -> int:
    """Return the number, from 1, of the band of an open raster that holds classes.

    It is the only one beside alpha and confidence.

    Raises:
        InputError: there are several such bands, they are colours, or its type is none of real
            numbers.
    """
    name, alpha = shown_name(file), alpha_bands(file)
    colours = [colour.name for colour in file.colorinterp]
    if tuple(colours[:3]) == _COLOURS:
        raise InputError(
            f"{name} is no class raster: its bands are red, green and blue, a picture of classes. "
            "Give the file with the class ids in one band"
        )
    descriptions = [description or "" for description in file.descriptions]
    bands = [
        number
        for number, description in enumerate(descriptions, 1)
        if number not in alpha
        and not any(word in description.casefold() for word in _BESIDE_CLASSES)
    ]
    if file.count > 1 and len(bands) != 1:
        names = ", ".join(f"{n} ({descriptions[n - 1] or colours[n - 1]})" for n in bands)
        raise InputError(
            f"{name} is no class raster: it has bands {names or 'of confidence alone'}, where one "
            "band of classes, and alpha or confidence beside it, are accepted. Cut out the band of "
            "the classes (gdal_translate -b)"
        )
    band = bands[0] if bands else 1
    if not is_real(file.dtypes[band - 1]):
        raise InputError(
            f"{name} is no class raster: its pixels are {file.dtypes[band - 1]}, and class ids are "
            "whole numbers"
        )
    return band


def names_of(file: DatasetReader, path: str, band: int) -> dict[int, str]:
    """Return class id → name of an open class raster, as its tags or the file beside it tell them.

    Raises:
        InputError: the file beside it is damaged.
    """
    return names_beside(path, band) | class_names(file.tags() | file.tags(band))


def nodata_of(file: DatasetReader, band: int) -> float:
    """Return the value of a band of an open raster that means no class.

    It is 255 where the band has no nodata value, or one that its type cannot hold.
    """
    nodata, dtype = file.nodatavals[band - 1], np.dtype(file.dtypes[band - 1])
    if nodata is None:
        return NODATA
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        if not float(nodata).is_integer() or not limits.min <= nodata <= limits.max:
            return NODATA
    return float(nodata)


def _has_mask(file: DatasetReader, band: int) -> bool:
    return _has_own_mask(file, band) or bool(_alpha_beside(file, band))


def _has_own_mask(file: DatasetReader, band: int) -> bool:
    return is_own_mask(file.mask_flag_enums[band - 1])


def _alpha_beside(file: DatasetReader, band: int) -> tuple[int, ...]:
    return tuple(number for number in alpha_bands(file) if number != band)


def to_ids(codes: np.ndarray, valid: np.ndarray, path: str) -> np.ndarray:
    """Return class ids of the numbers of a class raster.

    Args:
        codes: numbers of any type.
        valid: bool of their shape, where they are a class.
        path: the file, for errors.

    Returns:
        uint8 of their shape, NODATA where they are no class.

    Raises:
        InputError: a number is no class id: it is not whole, or not from 0 to 254.
    """
    wrong = (codes < 0) | (codes >= NODATA)
    if codes.dtype.kind == "f":
        wrong |= codes != np.rint(codes)
    wrong &= valid
    if wrong.any():
        raise InputError(
            f"{path} holds {codes[wrong][0]}: class ids from 0 to 254 are accepted, or its nodata"
        )
    return _where_valid(codes, valid)


def _where_valid(codes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    # uint8 ids; a type such as int8 cannot hold NODATA itself.
    ids = np.full(codes.shape, NODATA, np.uint8)
    np.copyto(ids, codes, where=valid, casting="unsafe")
    return ids


def read_ids(raster: ClassRaster, window: PixelWindow) -> np.ndarray:
    """Read the classes of a window.

    Returns:
        (H, W) uint8 ids, NODATA where there is no class.

    Raises:
        InputError: the window cannot be read, or holds a number that is no class id.
    """
    with open_raster(raster.path, georeferenced=False) as file:
        return _read_ids(file, raster, window)


def _read_ids(file: DatasetReader, raster: ClassRaster, window: PixelWindow) -> np.ndarray:
    if raster.plain:
        try:
            ids: np.ndarray = file.read(raster.band, window=Window.from_slices(*window))
        except RasterioError as error:
            raise ReadError(f"{raster.path} cannot be read: {gdal_message(error)}") from error
        return ids
    codes, valid = read_pixels(file, (raster.band,), Window.from_slices(*window), (raster.nodata,))
    return to_ids(codes[0], valid[0], raster.path)


def read_ids_onto(raster: ClassRaster, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Read the classes at the centres of a grid's pixels.

    Args:
        raster: the class raster, in any CRS.
        grid: the grid.

    Returns:
        (H, W) uint8 ids, NODATA where there is no class; (H, W) bool, where the raster has a pixel.

    Raises:
        InputError: the raster cannot be read, or holds a number that is no class id.
    """
    ids, covered = np.full(grid.shape, NODATA, np.uint8), np.zeros(grid.shape, bool)
    with open_raster(raster.path, georeferenced=False) as file:
        for source in overlap.turned(raster.grid, grid):
            # A grid of coarse pixels is read in parts, which reach over few pixels of the raster.
            scale = max(1.0, overlap.locate(source, grid).scale)
            side = max(1, int(_MAX_PIXELS**0.5 / scale))
            for row in range(0, grid.height, side):
                for col in range(0, grid.width, side):
                    square = np.s_[row : row + side, col : col + side]
                    part_grid = grid.window(row, col, *ids[square].shape)
                    part_ids, part_covered = _gather_ids(file, raster, source, part_grid)
                    np.copyto(ids[square], part_ids, where=part_covered)
                    covered[square] |= part_covered
    return ids, covered


def _gather_ids(
    file: DatasetReader, raster: ClassRaster, source: Grid, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    # source: the raster's grid, moved by whole turns.
    pixel_map = overlap.locate(source, grid)
    window = reader.window_of(pixel_map, source)
    if not (window.width and window.height):
        return np.full(grid.shape, NODATA, np.uint8), np.zeros(grid.shape, bool)
    ids = _read_ids(file, raster, window.toslices())
    return warp.gather(ids, None, pixel_map, (window.row_off, window.col_off), "nearest")


def read_mode_onto(raster: ClassRaster, grid: Grid) -> np.ndarray:
    """Read the most frequent classes of a raster on a coarser grid, for a picture.

    Overviews are used where the raster has them, so that memory is bounded by the grid.

    Args:
        raster: the class raster, in any CRS.
        grid: the grid.

    Returns:
        (H, W) uint8 ids, NODATA where there is no class. Numbers that are no class id are none.

    Raises:
        InputError: the raster cannot be read.
    """
    return _read_coarse_onto(raster, grid, Resampling.mode)


def read_mean_onto(raster: ClassRaster, grid: Grid) -> np.ndarray:
    """Read the mean of a raster of percentages, such as confidence, on a coarser grid.

    Args:
        raster: the raster, whose numbers are those of a class raster.
        grid: the grid.

    Returns:
        (H, W) uint8, NODATA where there is none.

    Raises:
        InputError: the raster cannot be read.
    """
    return _read_coarse_onto(raster, grid, Resampling.average)


def _read_coarse_onto(raster: ClassRaster, grid: Grid, resampling: Resampling) -> np.ndarray:
    ids = np.full(grid.shape, NODATA, np.uint8)
    with open_raster(raster.path, georeferenced=False) as file:
        for source in overlap.turned(raster.grid, grid):
            pixel_map = overlap.locate(source, grid)
            window = reader.window_of(pixel_map, source)
            if window.width and window.height:
                factor = max(1.0, pixel_map.scale)
                shape = tuple(max(1, round(n / factor)) for n in (window.height, window.width))
                coarse = _scale(source.window(*_offsets(window)), shape)
                coarse_ids = _read_coarse(file, raster, window, shape, resampling)
                onto, valid = warp.warp(coarse_ids, coarse_ids != NODATA, coarse, grid, "nearest")
                np.copyto(ids, onto, where=valid)
    return ids


def _offsets(window: Window) -> tuple[int, int, int, int]:
    return window.row_off, window.col_off, window.height, window.width


def _scale(grid: Grid, shape: tuple[int, ...]) -> Grid:
    # The grid of larger pixels that cover the same ground.
    scale = grid.affine.scale(grid.width / shape[1], grid.height / shape[0])
    return Grid(grid.crs, tuple((grid.affine @ scale)[:6]), *shape)


def _read_coarse(
    file: DatasetReader,
    raster: ClassRaster,
    window: Window,
    shape: tuple[int, ...],
    resampling: Resampling,
) -> np.ndarray:
    try:
        band = raster.band
        codes = file.read(band, window=window, out_shape=shape, resampling=resampling)
        valid = np.ones(shape, bool)
        if _has_own_mask(file, band):
            valid &= file.read_masks(band, window=window, out_shape=shape) > 0
        for alpha in _alpha_beside(file, band):
            valid &= file.read(alpha, window=window, out_shape=shape) > 0
    except RasterioError as error:
        raise ReadError(f"{raster.path} cannot be read: {gdal_message(error)}") from error
    with np.errstate(invalid="ignore"):
        valid &= (codes >= 0) & (codes < NODATA) & (codes != raster.nodata)
    return _where_valid(codes, valid)


def ids_at(raster: ClassRaster, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Read the classes at points.

    Args:
        raster: the class raster, in any CRS.
        lon: (N,) longitudes in degrees.
        lat: (N,) latitudes in degrees.

    Returns:
        (N,) uint8 ids, NODATA where there is no class.

    Raises:
        InputError: the raster cannot be read, or holds a number that is no class id.
    """
    grid, ids = raster.grid, np.full(len(lon), NODATA, np.uint8)
    x, y = transformer(WGS84, grid.crs).transform(lon, lat)
    cols, rows = ~grid.affine @ (nearest_turn(x, grid), y)
    with np.errstate(invalid="ignore"):
        is_inside = (cols >= 0) & (cols < grid.width) & (rows >= 0) & (rows < grid.height)
    points = np.flatnonzero(is_inside)
    if not points.size:
        return ids
    row, col = rows[points].astype(int), cols[points].astype(int)
    blocks = np.stack([row, col], 1) // _POINT_BLOCK
    with open_raster(raster.path, georeferenced=False) as file:
        for block in np.unique(blocks, axis=0):
            top, left = (block * _POINT_BLOCK).tolist()
            bottom, right = (
                min(n, start + _POINT_BLOCK)
                for n, start in zip(grid.shape, (top, left), strict=True)
            )
            in_block = (blocks == block).all(1)
            block_ids = _read_ids(file, raster, np.s_[top:bottom, left:right])
            ids[points[in_block]] = block_ids[row[in_block] - top, col[in_block] - left]
    return ids

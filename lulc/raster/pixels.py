"""Pixels of a window of an open raster, and where they are valid.

The one place that knows how a raster file says where it has no data: the value of nodata, a mask of
the whole file or of a band, an alpha band wherever it stands, and in floats nan and infinity. A
window is read in full or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from lulc.raster.access import OpenRaster, ReadError, gdal_message
from lulc.raster.stores import shown_name

# Bytes that a buffer holds before GDAL fills it.
_MARK = b"\xa5\xc3\x5a\x3c\x96\x69\x0f\xf0"
# Descriptions of a band that leave open what it holds, or say that it is a mask.
_SAYS_ALPHA = re.compile(
    r"|(band|layer|channel)?[ _-]?\d+|.*(alpha|mask|opacity|transparen|valid).*", re.IGNORECASE
)


def alpha_bands(raster: OpenRaster) -> tuple[int, ...]:
    """Return the numbers, from 1, of the bands that say where the others are valid.

    These are the bands that the file flags or describes as alpha. One that is flagged, but whose
    description says that it holds something else, such as `nir`, is data: many writers flag the
    fourth of four bands unasked. A file of nothing but such bands masks none: they are its data.
    """
    bands = zip(raster.colorinterp, raster.descriptions, strict=True)
    masks = tuple(
        number
        for number, (colour, description) in enumerate(bands, 1)
        if is_alpha(colour.name, description)
    )
    return masks if len(masks) < raster.count else ()


def is_alpha(colour: str, description: str | None) -> bool:
    """Return whether a band of this colour interpretation and description is an alpha band."""
    text = (description or "").strip()
    return text.lower() == "alpha" or (colour == "alpha" and bool(_SAYS_ALPHA.fullmatch(text)))


def data_bands(raster: OpenRaster) -> tuple[int, ...]:
    """Return the numbers, from 1, of the bands that hold data: all but `alpha_bands`."""
    masks = alpha_bands(raster)
    return tuple(number for number in range(1, raster.count + 1) if number not in masks)


def read_pixels(
    raster: OpenRaster,
    indexes: Sequence[int],
    window: Window,
    nodatas: Sequence[float | None] | None = None,
    data_indexes: Collection[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Read bands of one type in a window, and where each of them is valid.

    Args:
        raster: The open raster.
        indexes: The bands, from 1; one may be read several times.
        window: Rows and columns.
        nodatas: Value without data of each band; None takes the file's own, for all or for one.
        data_indexes: Further bands that are known to hold data. An alpha band masks the others
            unless it is among these or among `indexes`.

    Returns:
        (C, h, w) pixels; (C, h, w) bool.

    Raises:
        ReadError: the window cannot be read, or the bands differ in type; names file, bands and
            window.
    """
    dtype = common_dtype(raster, indexes)
    shape = (len(indexes), window.height, window.width)
    if not all(shape):
        return np.zeros(shape, dtype), np.zeros(shape, bool)
    try:
        pixels = _read_filled(raster, list(indexes), window)
        valid = _read_masks(raster, indexes, window, data_indexes)
    except (RasterioError, OSError) as error:
        raise ReadError(
            f"{describe_window(raster, indexes, window)} cannot be read: {gdal_message(error)}"
        ) from error
    for number, index in enumerate(indexes):
        nodata = None if nodatas is None else nodatas[number]
        declared = raster.nodatavals[index - 1] if nodata is None else nodata
        valid[number] &= is_data(pixels[number], declared)
    return pixels, valid


def _read_masks(
    raster: OpenRaster, indexes: Sequence[int], window: Window, data_indexes: Collection[int]
) -> np.ndarray:
    # (C, h, w) bool: where the file's masks and alpha bands, if any, let pixels through.
    valid = np.ones((len(indexes), window.height, window.width), bool)
    flags = raster.mask_flag_enums
    for number, index in enumerate(indexes):
        if is_own_mask(flags[index - 1]):
            valid[number] = raster.read_masks(index, window=window) != 0
    for mask in alpha_bands(raster):
        if mask not in indexes and mask not in data_indexes:
            valid &= raster.read(mask, window=window) != 0
    return valid


def is_own_mask(flags: Collection[MaskFlags]) -> bool:
    """Return whether a band's mask flags say that the file has a mask of its own.

    What GDAL makes of alpha is none: it makes it of the last of two or four bands alone.
    """
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def _read_filled(raster: OpenRaster, indexes: list[int], window: Window) -> np.ndarray:
    # (C, h, w) pixels; OSError where GDAL left part of the window unwritten.
    pixels = _fill(raster, indexes, window, _MARK)
    # Where a block holds nothing but the mark, either the data do or nothing was written: reading
    # over another mark tells.
    suspect = any(
        _has_untouched_block(band, raster.block_shapes[index - 1], window)
        for band, index in zip(pixels, indexes, strict=True)
    )
    if suspect and _fill(raster, indexes, window, _MARK[::-1]).tobytes() != pixels.tobytes():
        raise OSError("part of the window was never filled: the file is cut short")
    return pixels


def common_dtype(raster: OpenRaster, indexes: Sequence[int]) -> np.dtype[Any]:
    """Return the type of some bands, which are numbered from 1.

    Raises:
        ReadError: they differ in type, or hold complex numbers; names the file.
    """
    dtypes = {raster.dtypes[index - 1] for index in indexes}
    if len(dtypes) > 1 or not all(map(is_real, dtypes)):
        raise ReadError(
            f"{shown_name(raster)} holds {', '.join(sorted(dtypes))}: only bands of one type "
            "of real numbers can be read"
        )
    common: np.dtype[Any] = np.dtype(dtypes.pop())
    return common


def is_real(dtype: str) -> bool:
    """Return whether GDAL's type of that name holds real numbers, not complex ones."""
    return not dtype.startswith("complex")


def is_data(pixels: np.ndarray, nodata: float | None) -> np.ndarray | bool:
    """Return where pixels are neither the nodata value nor, in floats, infinite or nan.

    Returns:
        Bool array of the shape of `pixels`, or True where all of them are.
    """
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels)
        return finite if nodata is None else finite & (pixels != pixels.dtype.type(nodata))
    if nodata is None or not float(nodata).is_integer():
        return True
    if pixels.dtype.kind != "b":
        limits = np.iinfo(pixels.dtype)
        if not limits.min <= nodata <= limits.max:
            return True
    return np.asarray(pixels != pixels.dtype.type(nodata))


def _fill(raster: OpenRaster, indexes: list[int], window: Window, mark: bytes) -> np.ndarray:
    # (C, h, w) pixels, read into a buffer that holds the mark everywhere.
    dtype = np.dtype(raster.dtypes[indexes[0] - 1])
    buffer = np.empty((len(indexes), window.height, window.width), dtype)
    buffer.view(f"u{dtype.itemsize}")[...] = _mark_of(dtype, mark)
    raster.read(indexes, window=window, out=buffer)
    return buffer


def _mark_of(dtype: np.dtype[Any], mark: bytes) -> int:
    # The mark as an unsigned number of as many bytes as a pixel has.
    return int(np.frombuffer(mark[: dtype.itemsize], f"u{dtype.itemsize}")[0])


def _has_untouched_block(pixels: np.ndarray, block: tuple[int, int], window: Window) -> bool:
    # Whether a block holds the mark everywhere, as one that GDAL did not deliver does. block: the
    # file's block shape.
    numbers, mark = pixels.view(f"u{pixels.itemsize}"), _mark_of(pixels.dtype, _MARK)
    rows, cols = (
        [0, *range(size - start % size, length, size)]
        for size, start, length in zip(
            block, (window.row_off, window.col_off), pixels.shape, strict=True
        )
    )
    if not (numbers[rows][:, cols] == mark).any():
        return False
    by_col = np.logical_and.reduceat(numbers == mark, cols, axis=1)
    return bool(np.logical_and.reduceat(by_col, rows, axis=0).any())


def describe_window(raster: OpenRaster, indexes: Sequence[int], window: Window) -> str:
    """Return the name of a file, and the bands, rows and columns of a window of it."""
    top, left = window.row_off, window.col_off
    bands = f"band{'s' * (len(indexes) > 1)} {', '.join(map(str, indexes))}"
    return (
        f"{shown_name(raster)} {bands} rows {top}-{top + window.height} "
        f"columns {left}-{left + window.width}"
    )

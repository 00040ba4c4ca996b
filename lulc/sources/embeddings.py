"""Published embeddings on any Grid: numbers become values before they are resampled.

AlphaEarth Foundations: int8 k, value = k |k| / 127.5², -128 is no data (README of the bucket
gs://alphaearth_foundations). TESSERA: int8 k in one file and a float32 scale a pixel in another,
value = k * scale (geotessera, docs/architecture.rst, "Quantization System").
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from lulc.bands import Resampling
from lulc.errors import InputError
from lulc.geo import overlap, warp
from lulc.geo.grid import Grid
from lulc.guard import read_guard
from lulc.location import parse_location
from lulc.raster.reader import grid_of, read_bands, window_of
from lulc.redact import redact_url

ALPHAEARTH_NODATA = -128
"""The number of a pixel without an embedding."""
ALPHAEARTH_SCALE = 1 / (2 * 127.5**2)
"""Factor from what `read_alphaearth` gives to values.

That is 2 k |k|: int16 holds it exactly, and half a step of the published values besides, so that
interpolation loses nothing that the file could say.
"""
LANDMASKS = "global_0.1_degree_tiff_all"
"""geotessera's folder of landmasks."""
_MAX_BYTES = 1 << 30
_REMEDY = "fetch the tile anew (geotessera download)"


def read_alphaearth(
    href: str, indexes: Sequence[int], grid: Grid, resampling: Resampling
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read bands of an AlphaEarth file on a grid.

    Args:
        href: The file.
        indexes: Numbers of the bands, from 1.
        grid: The target grid.
        resampling: How pixels are resampled to it.

    Returns:
        Of each band int16 (H, W), value = number * ALPHAEARTH_SCALE, 0 where not valid; and valid
        (H, W).

    Raises:
        InputError: The file cannot be read.
    """

    def square(numbers: np.ndarray, _row: int, _col: int) -> np.ndarray:
        wide = numbers.astype(np.int16)
        return 2 * wide * np.abs(wide)

    return read_bands(
        href, [(index, resampling, ALPHAEARTH_NODATA) for index in indexes], grid, square
    )


def scales_of(numbers: str) -> str:
    """Return the file of a TESSERA tile's scales, which lies beside its numbers."""
    return f"{numbers.removesuffix('.npy')}_scales.npy"


def landmask_of(numbers: str) -> str:
    """Return the file that says where a TESSERA tile lies, by the layout that geotessera writes.

    Examples:
        >>> tile = "global_0.1_degree_representation/2024/grid_0.15_52.05/grid_0.15_52.05.npy"
        >>> landmask_of(f"s3://bucket/{tile}")
        's3://bucket/global_0.1_degree_tiff_all/grid_0.15_52.05.tiff'
    """
    location = parse_location(numbers)
    return str(location.parents[3] / LANDMASKS / f"{location.stem}.tiff")


def read_tessera(
    href: str, indexes: Sequence[int], grid: Grid, resampling: Resampling
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read channels of a TESSERA tile on a grid; only the rows that the grid needs are read.

    Args:
        href: The tile's numbers, `grid_LON_LAT.npy`: int8 (H, W, C).
        indexes: Numbers of the channels, from 1.
        grid: The target grid.
        resampling: How pixels are resampled to it.

    Returns:
        Of each channel float32 (H, W), 0 where not valid, and valid (H, W): where the scale is a
        positive number.

    Raises:
        InputError: A file cannot be read, or is not of the others' shape.
    """
    source = grid_of(landmask_of(href))
    pixel_map = overlap.locate(source, grid)
    window = window_of(pixel_map, source)
    rows = slice(window.row_off, window.row_off + window.height)
    cols = slice(window.col_off, window.col_off + window.width)
    numbers = _read_rows(href, "int8", rows, source)[:, cols]
    scales = _read_rows(scales_of(href), "float32", rows, source)[:, cols]
    arrays = []
    for index in indexes:
        scale = scales if scales.ndim == 2 else scales[..., index - 1]
        valid = np.isfinite(scale) & (scale > 0)
        values = np.where(valid, numbers[..., index - 1] * scale, np.float32(0))
        corner = window.row_off, window.col_off
        arrays.append(warp.gather(values, valid, pixel_map, corner, resampling))
    return arrays


def count_channels(href: str, grid: Grid) -> int:
    """Return the number of channels of a TESSERA tile, and check the headers of its arrays.

    Args:
        href: The tile's numbers.
        grid: That of its landmask.

    Raises:
        InputError: An array cannot be read, or they are not of one tile.
    """
    with _open_array(href, "int8") as (_, shape):
        numbers_shape = shape
    with _open_array(scales_of(href), "float32") as (_, shape):
        scales_shape = shape
    is_fit = len(numbers_shape) == 3 and numbers_shape[:2] == grid.shape
    if not is_fit or scales_shape not in (numbers_shape, numbers_shape[:2]):
        raise InputError(
            f"{redact_url(href)} holds {numbers_shape}, its scales {scales_shape}, and its "
            f"landmask {grid.shape} pixels: they are not of one tile; fetch it anew"
        )
    return numbers_shape[2]


def _read_rows(path: str, dtype: str, rows: slice, grid: Grid) -> np.ndarray:
    # By one read: of a file in a store no more is fetched.
    with _open_array(path, dtype) as (file, shape):
        row_bytes = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
        length = (rows.stop - rows.start) * row_bytes
        if shape[:2] != grid.shape:
            raise InputError(f"{redact_url(path)} is not of {grid.shape} pixels: {_REMEDY}")
        if length > _MAX_BYTES:
            raise InputError(
                f"{redact_url(path)} would need {length / 2**30:.1f} GiB at once: take smaller "
                "blocks (tiling.size, tiling.block)"
            )
        file.seek(rows.start * row_bytes, io.SEEK_CUR)
        content = file.read(length)
    if len(content) != length:
        raise InputError(f"{redact_url(path)} is cut short: {_REMEDY}")
    return np.frombuffer(content, dtype).reshape(-1, *shape[1:])


@contextmanager
def _open_array(path: str, dtype: str) -> Iterator[tuple[IO[Any], tuple[int, ...]]]:
    # The file, at the first number, and the array's shape.
    with read_guard(redact_url(path), _REMEDY), parse_location(path).open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, is_fortran, array_dtype = read_header(file)
        except (ValueError, EOFError) as error:
            raise InputError(f"{redact_url(path)} is no array of numpy: {_REMEDY}") from error
        if is_fortran or array_dtype != np.dtype(dtype):
            order = "columns" if is_fortran else "rows"
            raise InputError(
                f"{redact_url(path)} holds {array_dtype} by {order}, where the layout has {dtype} "
                f"by rows: {_REMEDY}"
            )
        yield file, shape

"""Arrays and grids as columns of a table row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numba import njit
from shapely.geometry.base import BaseGeometry

from lulc.errors import InputError
from lulc.geo.grid import Grid, footprint


def encode(array: np.ndarray, codec: str = "delta") -> bytes:
    """Return an array's bytes, in C order and little endian.

    Args:
        array: whole numbers, floats or bool, of any shape.
        codec: `raw`, or `delta` for differences along the last axis (floats by their bits), which
            compress better.

    Raises:
        InputError: the array's type or the codec is not known.
    """
    plain = _little_endian(array)
    if codec == "raw":
        return plain.tobytes()
    _check_codec(codec)
    rows = plain.view(f"u{plain.itemsize}").reshape(
        -1, plain.shape[-1] if plain.ndim and plain.size else 1
    )
    out = np.empty_like(rows)
    _subtract(rows, out)
    return out.tobytes()


def decode(buffer: Any, shape: Sequence[int], dtype: str | np.dtype[Any], codec: str) -> np.ndarray:
    """Return the array that `encode` turned into bytes; of `raw` a read-only view.

    Args:
        buffer: the bytes, or any buffer of them.
        shape: the array's shape.
        dtype: the array's type.
        codec: as given to `encode`.

    Raises:
        InputError: the bytes do not have the length of such an array, or the codec is not known.
    """
    stored_type = np.dtype(dtype).newbyteorder("<")
    flat = np.frombuffer(buffer, np.uint8)
    if flat.size != int(np.prod(shape)) * stored_type.itemsize:
        raise InputError(
            f"an array of shape {tuple(shape)} and type {stored_type.name} cannot have "
            f"{flat.size} bytes: the table is damaged"
        )
    if codec == "raw" or flat.size == 0:
        return flat.view(stored_type).reshape(shape)
    _check_codec(codec)
    rows = flat.view(f"<u{stored_type.itemsize}").reshape(-1, shape[-1] if len(shape) else 1)
    out = np.empty_like(rows)
    _add(rows, out)
    return out.view(stored_type).reshape(shape)


def _little_endian(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "buif":
        raise InputError(
            f"arrays of type {array.dtype} cannot be kept: use whole numbers, floats or bool"
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)


def _check_codec(codec: str) -> None:
    if codec != "delta":
        raise InputError(f"codec {codec!r} is not known: raw and delta are")


@njit(cache=True, nogil=True)
def _subtract(rows, out):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        out[i, 0] = rows[i, 0]
        for j in range(1, rows.shape[1]):
            out[i, j] = rows[i, j] - rows[i, j - 1]


@njit(cache=True, nogil=True)
def _add(rows, out):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        out[i, 0] = rows[i, 0]
        for j in range(1, rows.shape[1]):
            out[i, j] = out[i, j - 1] + rows[i, j]


def pack(valid: np.ndarray) -> bytes:
    """Return a bool array as bytes: eight pixels a byte, in C order (numpy.packbits)."""
    return np.packbits(valid).tobytes()


def unpack(buffer: Any, shape: Sequence[int]) -> np.ndarray:
    """Return the bool array of this shape that `pack` turned into bytes."""
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), count=int(np.prod(shape)))
    return bits.view(bool).reshape(shape)


def window(array: np.ndarray, y: int, x: int, size: int, fill: int) -> np.ndarray:
    """Return a square of an array's last two axes.

    Args:
        array: (…, H, W).
        y: the square's first row; may lie beyond the edges.
        x: its first column.
        size: its side in pixels.
        fill: the value beyond the edges.

    Returns:
        (…, size, size).
    """
    height, width = array.shape[-2:]
    top, left, bottom, right = max(y, 0), max(x, 0), min(y + size, height), min(x + size, width)
    if (bottom - top, right - left) == (size, size):
        return np.ascontiguousarray(array[..., top:bottom, left:right])
    out = np.full((*array.shape[:-2], size, size), fill, array.dtype)
    out[..., top - y : bottom - y, left - x : right - x] = array[..., top:bottom, left:right]
    return out


def array_columns(name: str, array: np.ndarray, codec: str) -> dict[str, Any]:
    """Return the four columns of an array: `<name>`, `_shape`, `_dtype` and `_codec`."""
    return {
        name: encode(array, codec),
        f"{name}_shape": list(array.shape),
        f"{name}_dtype": array.dtype.name,
        f"{name}_codec": codec,
    }


def array_from(row: Mapping[str, Any], name: str) -> np.ndarray:
    """Return the array that a row keeps in its four columns."""
    return decode(row[name], row[f"{name}_shape"], row[f"{name}_dtype"], row[f"{name}_codec"])


def grid_columns(grid: Grid, outline: BaseGeometry | None = None) -> dict[str, Any]:
    """Return the columns of a grid; xmin … ymax are of its footprint in degrees.

    Args:
        grid: the grid.
        outline: its footprint, where it is known (of many, `footprints` is faster).
    """
    outline = outline or footprint(grid)
    xmin, ymin, xmax, ymax = outline.bounds
    return {
        "crs": grid.crs,
        "transform": list(grid.transform),
        "height": grid.height,
        "width": grid.width,
        "footprint": shapely.to_wkb(outline),
        "xmin": xmin,
        "ymin": ymin,
        "xmax": xmax,
        "ymax": ymax,
    }


def grid_from(row: Mapping[str, Any]) -> Grid:
    """Return the grid that a row keeps in its columns."""
    a, b, c, d, e, f = row["transform"]
    return Grid(row["crs"], (a, b, c, d, e, f), row["height"], row["width"])

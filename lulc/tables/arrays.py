"""Arrays and grids as table columns; with the one raster reader, from lulc.opening and lulc.reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numba import njit

from lulc.errors import InputError
from lulc.geo.grid import Grid, footprint


def encode(array: np.ndarray, codec: str = "delta") -> bytes:
    """The array's bytes, C order, little endian; `delta`: differences along the last axis, floats by their bits."""
    plain = _little_endian(array)
    if codec == "raw":
        return plain.tobytes()
    _known(codec)
    rows = plain.view(f"u{plain.itemsize}").reshape(
        -1, plain.shape[-1] if plain.ndim and plain.size else 1
    )
    out = np.empty_like(rows)
    _subtract(rows, out)
    return out.tobytes()


def decode(buffer: Any, shape: Sequence[int], dtype: str | np.dtype[Any], codec: str) -> np.ndarray:
    """The array that `encode` turned into these bytes (any buffer); of `raw` a read-only view. InputError: wrong length."""
    kind = np.dtype(dtype).newbyteorder("<")
    flat = np.frombuffer(buffer, np.uint8)
    if flat.size != int(np.prod(shape)) * kind.itemsize:
        raise InputError(
            f"an array of shape {tuple(shape)} and type {kind.name} cannot have {flat.size} bytes: the table is damaged"
        )
    if codec == "raw" or flat.size == 0:
        return flat.view(kind).reshape(shape)
    _known(codec)
    rows = flat.view(f"<u{kind.itemsize}").reshape(-1, shape[-1] if len(shape) else 1)
    out = np.empty_like(rows)
    _add(rows, out)
    return out.view(kind).reshape(shape)


def _little_endian(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "buif":
        raise InputError(
            f"arrays of type {array.dtype} are not kept in tables: use whole numbers, floats or bool"
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)


def _known(codec: str) -> None:
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
    """Eight pixels a byte, in C order (numpy.packbits)."""
    return np.packbits(valid).tobytes()


def unpack(buffer: Any, shape: Sequence[int]) -> np.ndarray:
    """The bool array that `pack` turned into these bytes."""
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), count=int(np.prod(shape)))
    return bits.view(bool).reshape(shape)


def window(array: np.ndarray, y: int, x: int, size: int, fill: int) -> np.ndarray:
    """The last two axes cut to the square of `size` pixels at row y, column x; beyond the edges there is `fill`."""
    height, width = array.shape[-2:]
    top, left, bottom, right = max(y, 0), max(x, 0), min(y + size, height), min(x + size, width)
    if (bottom - top, right - left) == (size, size):
        return np.ascontiguousarray(array[..., top:bottom, left:right])
    out = np.full((*array.shape[:-2], size, size), fill, array.dtype)
    out[..., top - y : bottom - y, left - x : right - x] = array[..., top:bottom, left:right]
    return out


def array_columns(name: str, array: np.ndarray, codec: str) -> dict[str, Any]:
    """The four ARRAY columns of an array."""
    kind = array.dtype.name
    return {
        name: encode(array, codec),
        f"{name}_shape": list(array.shape),
        f"{name}_dtype": kind,
        f"{name}_codec": codec,
    }


def array_from(row: Mapping[str, Any], name: str) -> np.ndarray:
    """The array kept in a row's four ARRAY columns."""
    return decode(row[name], row[f"{name}_shape"], row[f"{name}_dtype"], row[f"{name}_codec"])


def grid_columns(grid: Grid) -> dict[str, Any]:
    """The GRID columns of a grid; xmin … ymax are of its footprint in degrees."""
    outline = footprint(grid)
    place = {
        "crs": grid.crs,
        "transform": list(grid.transform),
        "height": grid.height,
        "width": grid.width,
    }
    return (
        place
        | {"footprint": shapely.to_wkb(outline)}
        | dict(zip(("xmin", "ymin", "xmax", "ymax"), outline.bounds, strict=True))
    )


def grid_from(row: Mapping[str, Any]) -> Grid:
    """The grid kept in a row's GRID columns."""
    a, b, c, d, e, f = row["transform"]
    return Grid(row["crs"], (a, b, c, d, e, f), row["height"], row["width"])

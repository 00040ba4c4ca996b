"""Encoding: the number type, scale and offset that a table keeps its pixels in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lulc.bands import Band
from lulc.errors import InputError

_MAX_OVERSHOOT = 10
"""A band may reach so many times beyond what whole numbers of the common scale can hold; one that
reaches further makes the table's type float32."""


@dataclass(frozen=True)
class Encoding:
    """How pixels are kept: physical value = DN * scale + offset, one type for all bands."""

    bands: tuple[str, ...]
    dtype: str
    scales: tuple[float, ...]
    """One a band, as the offsets."""
    offsets: tuple[float, ...]

    def encode(self, pixels: np.ndarray, band: Band) -> np.ndarray:
        """Return a scene's pixels in this encoding.

        They stay as they are where scale and offset agree, else they are converted and rounded.
        Whole numbers are clipped to the type's range.

        Args:
            pixels: DN of the band's file, of any shape.
            band: the band, one of the encoding's by name.

        Raises:
            InputError: the file's type is not what the scenes table says.
        """
        position, dtype = self.bands.index(band.name), np.dtype(self.dtype)
        if dtype.kind != "f" and not np.can_cast(pixels.dtype, dtype):
            raise InputError(
                f"{band.href} holds {pixels.dtype} where the scenes table says {band.dtype}: "
                f"it does not fit chips of {dtype}; run `lulc index` again"
            )
        scale, offset = self.scales[position], self.offsets[position]
        if (band.scale, band.offset) == (scale, offset):
            return pixels.astype(dtype, copy=False)
        values = (pixels * band.scale + (band.offset - offset)) / scale
        if dtype.kind == "f":
            return values.astype(dtype)
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)

    def number(self, value: float, band: str) -> float:
        """Return the DN of a physical value in a band, the nearest that the type holds."""
        position, dtype = self.bands.index(band), np.dtype(self.dtype)
        number = (value - self.offsets[position]) / self.scales[position]
        if dtype.kind == "f":
            return number
        limits = np.iinfo(dtype)
        return float(np.clip(round(number), limits.min, limits.max))


def recode(array: np.ndarray, source: Encoding, target: Encoding) -> np.ndarray:
    """Return pixels of one encoding in another of the same bands.

    Args:
        array: (T, C, H, W) in `source`; returned as it is where both encodings agree.
        source: the encoding of the array.
        target: the encoding of the result.
    """
    if source == target:
        return array
    recoded = np.empty(array.shape, target.dtype)
    for position in range(len(target.bands)):
        recoded[:, position] = target.encode(array[:, position], _band(source, position))
    return recoded


def merge_encodings(encodings: Sequence[Encoding]) -> Encoding:
    """Return the encoding that holds what all of these hold, of the same bands."""
    return common_encoding(
        {
            name: [_band(encoding, position) for encoding in encodings]
            for position, name in enumerate(encodings[0].bands)
        }
    )


def common_encoding(bands: Mapping[str, Sequence[Band]]) -> Encoding:
    """Return the encoding that holds all of some bands.

    Args:
        bands: name → the bands of that name of all scenes or datasets.

    Returns:
        The type that all fit in; of each name the smallest scale and offset. Floats are kept as
        float32, and so are whole numbers in units too unlike for one scale (0–255 beside
        reflectance).
    """
    every_band = [band for of_name in bands.values() for band in of_name]
    dtype = np.result_type(*{np.dtype(band.dtype) for band in every_band})
    scales = tuple(min(band.scale for band in of_name) for of_name in bands.values())
    offsets = tuple(min(band.offset for band in of_name) for of_name in bands.values())
    if dtype.kind != "f":
        limits = [_largest(dtype, *pair) for pair in zip(scales, offsets, strict=True)]
        largest_values = [
            max(_largest(np.dtype(band.dtype), band.scale, band.offset) for band in of_name)
            for of_name in bands.values()
        ]
        if any(r > _MAX_OVERSHOOT * limit for r, limit in zip(largest_values, limits, strict=True)):
            dtype = np.dtype("float32")
    name = "float32" if dtype.kind == "f" else dtype.name
    return Encoding(tuple(bands), name, scales, offsets)


def _band(encoding: Encoding, position: int) -> Band:
    scale, offset = encoding.scales[position], encoding.offsets[position]
    return Band(encoding.bands[position], "", dtype=encoding.dtype, scale=scale, offset=offset)


def _largest(dtype: np.dtype[Any], scale: float, offset: float) -> float:
    return float(np.iinfo(dtype).max * scale + offset)

"""Encoding: the number type, scale and offset that a table keeps its pixels in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lulc.bands import Band, convert_unit, is_decibel, shared_unit
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
    units: tuple[str, ...] = ()
    """A `lulc.bands.Unit` a band, empty where it is not known; none at all where none is."""

    def unit(self, position: int) -> str:
        """Return the unit of a band's physical values, empty where it is not known."""
        return self.units[position] if self.units else ""

    def encode(self, pixels: np.ndarray, band: Band) -> np.ndarray:
        """Return a scene's pixels in this encoding.

        They stay as they are where scale, offset and unit agree, else they are converted and
        rounded. Whole numbers are clipped to the type's range.

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
        if _is_converted(band.unit, self.unit(position)):
            physical = pixels * band.scale + band.offset
            values = (convert_unit(physical, band.unit, self.unit(position)) - offset) / scale
        elif (band.scale, band.offset) == (scale, offset):
            return pixels.astype(dtype, copy=False)
        else:
            values = (pixels * band.scale + (band.offset - offset)) / scale
        return nearest_numbers(values, dtype)

    def number(self, value: float, band: str) -> float:
        """Return the DN of a physical value in a band, the nearest that the type holds."""
        position, dtype = self.bands.index(band), np.dtype(self.dtype)
        number = (value - self.offsets[position]) / self.scales[position]
        if dtype.kind == "f":
            return number
        limits = np.iinfo(dtype)
        return float(np.clip(round(number), limits.min, limits.max))


def nearest_numbers(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return the numbers of a type that are nearest to some values, of any shape."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


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


def to_units(
    pixels: np.ndarray, valid: np.ndarray, encoding: Encoding, units: Sequence[str]
) -> tuple[np.ndarray, Encoding]:
    """Return pixels with linear values or decibels as in some units, and their encoding.

    Args:
        pixels: (T, C, H, W) in the encoding.
        valid: (T, H, W) bool; the pixels are 0 where not.
        encoding: of the pixels.
        units: one a band, empty where it is not known; none, and nothing is converted.

    Returns:
        The pixels as they are where no band is linear in one and in decibels in the other; else
        physical values as float32.
    """
    target = encoding_in_units(encoding, units)
    if target == encoding:
        return pixels, encoding
    return recode(pixels, encoding, target) * valid[:, None], target


def encoding_in_units(encoding: Encoding, units: Sequence[str]) -> Encoding:
    """Return the encoding of what `to_units` returns."""
    ones, zeros = (1.0,) * len(encoding.bands), (0.0,) * len(encoding.bands)
    target = Encoding(encoding.bands, "float32", ones, zeros, tuple(units))
    positions = range(len(encoding.bands))
    if any(_is_converted(encoding.unit(i), target.unit(i)) for i in positions):
        return target
    return encoding


def known_units(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the units of a row's bands, none where none is known or its table has none."""
    units = tuple(row.get("units") or ())
    return units if any(units) else ()


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
        reflectance), and all where a band is linear in one and in decibels in another: it is kept
        in decibels.

    Raises:
        InputError: a band is of one quantity in one and of another in another.
    """
    units = tuple(_unit_of_all(name, of_name) for name, of_name in bands.items())
    mixed = {
        name
        for (name, of_name), unit in zip(bands.items(), units, strict=True)
        if any(_is_converted(band.unit, unit) for band in of_name)
    }
    if mixed:
        ones, zeros = (1.0,) * len(bands), (0.0,) * len(bands)
        return Encoding(tuple(bands), "float32", ones, zeros, units)
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
    return Encoding(tuple(bands), name, scales, offsets, units if any(units) else ())


def _unit_of_all(name: str, bands: Sequence[Band]) -> str:
    units = {band.unit for band in bands}
    unit = shared_unit(units)
    if unit is None:
        raise InputError(
            f"band {name} is {' here and '.join(sorted(units - {''}))} there, which are not one "
            "band: leave one of the scenes or datasets out, or correct its `units` in the run file"
        )
    return unit


def _is_converted(unit: str, target: str) -> bool:
    return bool(unit and target) and is_decibel(unit) != is_decibel(target)


def _band(encoding: Encoding, position: int) -> Band:
    scale, offset = encoding.scales[position], encoding.offsets[position]
    unit = encoding.unit(position)
    name = encoding.bands[position]
    return Band(name, "", dtype=encoding.dtype, scale=scale, offset=offset, unit=unit)


def _largest(dtype: np.dtype[Any], scale: float, offset: float) -> float:
    return float(np.iinfo(dtype).max * scale + offset)

"""Encoding: the one number type, scale and offset a run keeps its pixels in, and the way into it from any scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lulc.bands import Band
from lulc.errors import InputError


@dataclass(frozen=True)
class Encoding:
    """How a run's chips keep numbers: physical value = DN * scale + offset, one scale and offset a band, one dtype for all."""

    bands: tuple[str, ...]
    dtype: str
    scales: tuple[float, ...]
    offsets: tuple[float, ...]

    def encode(self, pixels: np.ndarray, band: Band) -> np.ndarray:
        """Pixels of a scene's band in this encoding: as they are where scale and offset agree, else converted and rounded.

        Whole numbers are clipped to the dtype's range; InputError when the file's type is not what the scenes table says.
        """
        place, kind = self.bands.index(band.name), np.dtype(self.dtype)
        if kind.kind != "f" and not np.can_cast(pixels.dtype, kind):
            said = f"{band.href} holds {pixels.dtype} where the scenes table says {band.dtype}"
            raise InputError(f"{said}: it does not fit chips of {kind}; run `lulc index` again")
        scale, offset = self.scales[place], self.offsets[place]
        if (band.scale, band.offset) == (scale, offset):
            return pixels.astype(kind, copy=False)
        value = (pixels * band.scale + (band.offset - offset)) / scale
        if kind.kind == "f":
            return value.astype(kind)
        limits = np.iinfo(kind)
        return np.clip(np.rint(value), limits.min, limits.max).astype(kind)

    def number(self, value: float, name: str) -> float:
        """What a physical value is in this encoding, in the band of that name; the nearest that its dtype holds."""
        place, kind = self.bands.index(name), np.dtype(self.dtype)
        found = (value - self.offsets[place]) / self.scales[place]
        return (
            found
            if kind.kind == "f"
            else float(np.clip(round(found), np.iinfo(kind).min, np.iinfo(kind).max))
        )


def recode(array: np.ndarray, own: Encoding, table: Encoding) -> np.ndarray:
    """Pixels (T, C, H, W) kept in one encoding, in another of the same bands; as they are where both agree."""
    if own == table:
        return array
    out = np.empty(array.shape, table.dtype)
    for i, name in enumerate(table.bands):
        out[:, i] = table.encode(
            array[:, i], Band(name, "", dtype=own.dtype, scale=own.scales[i], offset=own.offsets[i])
        )
    return out


def merge_encodings(encodings: Sequence[Encoding]) -> Encoding:
    """The encoding that holds what all of these hold, of the same bands (see `choose_encoding`)."""
    return _merge(
        {
            name: [
                Band(name, "", dtype=e.dtype, scale=e.scales[i], offset=e.offsets[i])
                for e in encodings
            ]
            for i, name in enumerate(encodings[0].bands)
        }
    )


def _merge(found: Mapping[str, Sequence[Band]]) -> Encoding:
    kind = np.result_type(*{np.dtype(b.dtype) for places in found.values() for b in places})
    scales, offsets = (
        [min(getattr(b, of) for b in places) for places in found.values()]
        for of in ("scale", "offset")
    )
    if kind.kind != "f":
        tops = [_top(kind, scale, offset) for scale, offset in zip(scales, offsets, strict=True)]
        reach = [
            max(_top(np.dtype(b.dtype), b.scale, b.offset) for b in places)
            for places in found.values()
        ]
        if any(most > 10 * top for most, top in zip(reach, tops, strict=True)):
            kind = np.dtype("float32")
    return Encoding(
        tuple(found), "float32" if kind.kind == "f" else kind.name, tuple(scales), tuple(offsets)
    )


def _top(kind: np.dtype[Any], scale: float, offset: float) -> float:
    return float(np.iinfo(kind).max * scale + offset)

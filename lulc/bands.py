"""Band names with their wavelengths and older names, units of bands, and resampling methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lulc.errors import InputError

Resampling = Literal["nearest", "bilinear", "average"]
"""How pixels are resampled to another grid."""

COMMON = {
    "coastal": 0.443, "blue": 0.490, "green": 0.560, "yellow": 0.600, "red": 0.665,
    "rededge": 0.705, "rededge071": 0.705, "rededge075": 0.740, "rededge078": 0.783,
    "pan": 0.590, "nir": 0.842, "nir08": 0.865, "nir09": 0.945, "cirrus": 1.375,
    "swir16": 1.610, "swir22": 2.190, "lwir": 10.900, "lwir11": 10.900, "lwir12": 12.000,
}  # fmt: skip
"""Common name → typical centre wavelength in µm (STAC eo extension 1.1)."""

ALIASES = {"cloud_mask": "quality", "qa_pixel": "quality", "scl": "quality", "rgb": "visual"}
"""Name in older catalogues → the name used here."""

OBSERVATIONS = "observations"
"""Name of a composite's band with the number of dates on which each pixel was valid.

No scene has this band; a run file requests it among its `bands`.
"""


Unit = Literal[
    "reflectance",
    "toa_reflectance",
    "surface_reflectance",
    "backscatter",
    "backscatter_db",
    "sigma0",
    "sigma0_db",
    "gamma0",
    "gamma0_db",
    "db",
    "radiance",
    "kelvin",
    "index",
    "metres",
    "count",
    "picture",
]
"""What the physical values of a band are.

Reflectance is at the top of the atmosphere (`toa_reflectance`), of the surface, or of a level that
is not stated or mixed; backscatter is `sigma0`, `gamma0` or of an unstated calibration, linear or
in decibels; `db` is a mean, a difference or another sum of decibels, which no linear value is
brought to; `radiance` is in W/(m² sr µm); an `index` has no unit; a `picture` has numbers made for
the eye.
"""
UNITS: tuple[str, ...] = get_args(Unit)

LEAST_BACKSCATTER = 1e-5
"""Linear backscatter that less than it is taken for in decibels, -50 dB: where noise was removed
there may be 0 and less, of which there is no logarithm."""

_QUANTITIES = {
    "toa_reflectance": "reflectance",
    "surface_reflectance": "reflectance",
    "sigma0": "backscatter",
    "gamma0": "backscatter",
}
"""Unit, of linear values → the quantity, where it is another."""


def is_decibel(unit: str) -> bool:
    """Return whether a unit is a logarithm."""
    return unit.endswith("_db")


def quantity_of(unit: str) -> str:
    """Return what is measured, whatever the level, calibration or form; empty of no unit."""
    linear = unit.removesuffix("_db")
    return _QUANTITIES.get(linear, linear)


def mixes_levels(units: Iterable[str]) -> bool:
    """Return whether values of some units are of one quantity, but not of one level.

    Top-of-atmosphere with surface reflectance is, and sigma nought with gamma nought; an unstated
    level may be any.
    """
    levels = {unit.removesuffix("_db") for unit in units if unit}
    stated = {level for level in levels if level in _QUANTITIES}
    return len(stated) > 1 and len({quantity_of(level) for level in levels}) == 1


def shared_unit(units: Iterable[str]) -> str | None:
    """Return the unit that values of some units are brought to, to be one band.

    Decibels where any are, and of the level that all have; values without a unit are taken as they
    are.

    Returns:
        The unit; empty where none is known, None where they are of several quantities.
    """
    known = {unit for unit in units if unit}
    if len(known) < 2:
        return "".join(known)
    quantities = {quantity_of(unit) for unit in known}
    if len(quantities) > 1:
        return None
    levels = {unit.removesuffix("_db") for unit in known}
    level = levels.pop() if len(levels) == 1 else quantities.pop()
    return f"{level}_db" if any(map(is_decibel, known)) else level


def describe_mixture(origins: Mapping[str, Mapping[str, Iterable[str]]]) -> list[str]:
    """Return what to tell of bands that several origins give in different units.

    Args:
        origins: dataset or source → name of a band → its units; empty where one is not known.

    Returns:
        A sentence for each mixture, in order of the bands; bands that are mixed alike share one.

    Raises:
        InputError: a band is of one quantity in one origin and of another in another.
    """
    bands_of: dict[str, list[str]] = {}
    for band in dict.fromkeys(name for units in origins.values() for name in units):
        names_of: dict[str, list[str]] = {}
        for origin, units in origins.items():
            for unit in sorted(units.get(band, ())):
                names_of.setdefault(unit, []).append(origin)
        places = [
            f"{unit or 'of a unit that is not known'} in {', '.join(names)}"
            for unit, names in names_of.items()
        ]
        shared, listed = shared_unit(names_of), " and ".join(places)
        if shared is None:
            raise InputError(
                f"band {band} is {listed}, which are not one band: leave one of them out, or "
                "correct its `units` in the run file"
            )
        told = []
        if mixes_levels(names_of):
            told.append(f"WARNING: {{}} {listed}: what differs between them will be learned, too")
        elif "" in names_of and quantity_of(shared) == "backscatter":
            told.append(f"WARNING: {{}} {listed}: taken for {shared}; state `units` if it is not")
        if len({is_decibel(unit) for unit in names_of if unit}) > 1:
            told.append(f"{{}} {listed}: brought to {shared}")
        for text in told:
            bands_of.setdefault(text, []).append(band)
    return [text.format(", ".join(bands)) for text, bands in bands_of.items()]


def convert_unit(values: np.ndarray, unit: str, target: str) -> np.ndarray:
    """Return values in another unit, as they are where one of the two is not known.

    Linear backscatter becomes 10 log10 of itself, decibels 10 to the power of a tenth.

    Args:
        values: physical values of any shape.
        unit: their unit.
        target: a unit of the same quantity; another level or calibration changes nothing.
    """
    if not unit or not target or is_decibel(unit) == is_decibel(target):
        return values
    if is_decibel(target):
        return np.asarray(10 * np.log10(np.maximum(values, LEAST_BACKSCATTER)))
    return np.asarray(10 ** (values / 10))


@dataclass(frozen=True)
class Band:
    """One band of a scene: its file, its number in the file, its conversion to physical values.

    Physical value = stored number * scale + offset.
    """

    name: str
    """Common name, such as `red`."""
    href: str
    """Path or address of the file."""
    index: int = 1
    """Number of the band in the file, from 1."""
    dtype: str = "uint16"
    """NumPy name of the type of the stored numbers."""
    scale: float = 1.0
    """Factor from stored numbers to physical values."""
    offset: float = 0.0
    """Physical value of a stored 0."""
    nodata: float | None = None
    """Stored number that means "no data"; None where the file has none."""
    kind: Literal["continuous", "class", "quality"] = "continuous"
    """`continuous` is interpolated, `class` is not; `quality` gives the valid pixels and is not a
    model's input."""
    calibration: Literal["", "sigma0", "gamma0", "alphaearth", "tessera"] = ""
    """How stored numbers become values on reading, where it is more than scale and offset: the
    backscatter that a radar product's calibration tables give, or the published rule of an
    embedding."""
    unit: str = ""
    """A `Unit` of the physical values; empty where it is not known."""

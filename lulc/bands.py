"""Band names with their wavelengths, older names for the same bands, and resampling methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    calibration: Literal["", "sigma0", "gamma0"] = ""
    """Backscatter that a radar product's calibration tables give on reading; empty where scale and
    offset apply."""

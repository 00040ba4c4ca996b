"""Common names of bands with their wavelengths, older names for the same, and how pixels may be resampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Resampling = Literal["nearest", "bilinear", "average"]


# STAC eo extension 1.1 common names with typical centre wavelengths (µm).
COMMON = {
    "coastal": 0.443, "blue": 0.490, "green": 0.560, "yellow": 0.600, "red": 0.665, "rededge": 0.705,
    "rededge071": 0.705, "rededge075": 0.740, "rededge078": 0.783, "pan": 0.590, "nir": 0.842, "nir08": 0.865,
    "nir09": 0.945, "cirrus": 1.375, "swir16": 1.610, "swir22": 2.190, "lwir": 10.900, "lwir11": 10.900, "lwir12": 12.000,
}  # fmt: skip

# Names that older catalogues use for the same thing.
ALIASES = {"cloud_mask": "quality", "qa_pixel": "quality", "scl": "quality", "rgb": "visual"}

OBSERVATIONS = "observations"
"""Name of the band that says on how many dates a composite's pixel was seen: in no scene, asked for among a run's bands."""


@dataclass(frozen=True)
class Band:
    """One band of a scene: which file, which band number in it (from 1), and how its numbers become physical values.

    kind: `continuous` is interpolated, `class` is not, `quality` says which pixels are usable and is not a model's input.
    calibration: what a radar product's own tables turn its numbers into as they are read; empty where scale and offset do.
    """

    name: str
    href: str
    index: int = 1
    dtype: str = "uint16"
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    kind: Literal["continuous", "class", "quality"] = "continuous"
    calibration: Literal["", "sigma0", "gamma0"] = ""

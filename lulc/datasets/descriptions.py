"""Class schemes, band names, encodings and option values that the readers' descriptions share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lulc.bands import Unit
from lulc.datasets.dataset import Options
from lulc.errors import UsageError
from lulc.legend import LandClass, Legend
from lulc.tables.encoding import Encoding

RGB = ("red", "green", "blue")
"""The bands of a picture in true colour."""
SENTINEL1_BANDS = ("vv", "vh")
"""The polarisations of Sentinel-1 over land."""
SENTINEL2_BANDS: Mapping[str, str] = {
    "coastal": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "rededge071": "B05",
    "rededge075": "B06",
    "rededge078": "B07",
    "nir": "B08",
    "nir08": "B8A",
    "nir09": "B09",
    "cirrus": "B10",
    "swir16": "B11",
    "swir22": "B12",
}
"""Name → ESA's code of each band of Sentinel-2 level 1C, by code; level 2A has no cirrus."""
SENTINEL2_SURFACE_BANDS: Mapping[str, str] = {
    band: code for band, code in SENTINEL2_BANDS.items() if band != "cirrus"
}
"""Name → ESA's code of each band of Sentinel-2 level 2A."""
REFLECTANCE_SCALE = 1e-4
"""Scale of reflectance kept as whole numbers times 10,000, as Sentinel-2 products are."""


@dataclass(frozen=True)
class Scheme:
    """A legend and its map to `lulc.legend.COMMON`."""

    legend: Legend
    common: Mapping[int, int]


def numbered_scheme(
    name: str, classes: Iterable[tuple[str, str, int | None]], first_id: int = 0
) -> Scheme:
    """Return the scheme of classes whose ids are consecutive numbers.

    Args:
        name: of the legend.
        classes: name, colour (`#rrggbb`) and id in `lulc.legend.COMMON` of each class, in order;
            None where it has no counterpart there.
        first_id: id of the first class.
    """
    rows = list(enumerate(classes, first_id))
    return Scheme(
        Legend(name, tuple(LandClass(i, title, colour) for i, (title, colour, _) in rows)),
        {i: common for i, (_, _, common) in rows if common is not None},
    )


def uniform_encoding(
    bands: Sequence[str], dtype: str, scale: float = 1.0, unit: Unit | Literal[""] = ""
) -> Encoding:
    """Return the encoding of bands that share one scale and one unit, and have no offset."""
    units = (unit,) * len(bands) if unit else ()
    return Encoding(tuple(bands), dtype, (scale,) * len(bands), (0.0,) * len(bands), units)


def sentinel_encoding(bands: Sequence[str], dtype: str, optical: Unit, radar: Unit) -> Encoding:
    """Return the encoding of Sentinel-2 reflectance times 10,000 and Sentinel-1 backscatter as is.

    Args:
        bands: names of Sentinel-2 and of Sentinel-1 bands.
        dtype: that holds them all.
        optical: unit of the reflectance.
        radar: unit of the backscatter.
    """
    units = tuple(radar if band in SENTINEL1_BANDS else optical for band in bands)
    scales = tuple(1.0 if band in SENTINEL1_BANDS else REFLECTANCE_SCALE for band in bands)
    return Encoding(tuple(bands), dtype, scales, (0.0,) * len(bands), units)


def band_option(options: Options, default: Sequence[str]) -> tuple[str, ...]:
    """Return the names in the option `bands`, parted by commas; the default where it is empty."""
    if not options["bands"]:
        return tuple(default)
    return tuple(band.strip() for band in options["bands"].split(","))


def number_option(dataset: str, options: Options, name: str, default: float) -> float:
    """Return an option as a number.

    Args:
        dataset: its name, for the message.
        options: of the dataset.
        name: of the option.
        default: the number where the option is empty.

    Raises:
        UsageError: the option is not a number.
    """
    try:
        return float(options[name] or default)
    except ValueError as error:
        raise UsageError(f"{dataset}: {name} {options[name]!r} must be a number") from error

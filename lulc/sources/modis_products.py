"""MODIS gridded products whose layers have a known meaning: names, codes and masks.

Names, codes and bits of layers: the User's Guides of MOD09, MOD13, MCD43 and MCD12, collection 6.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from lulc.config import Archive, Condition
from lulc.errors import InputError
from lulc.sources.quality_masks import (
    NoQualityLayerError,
    QualityLayer,
    QualityMask,
    modis_reliability_tests,
    modis_state_tests,
)
from lulc.sources.scene import Clear

Family = Literal["reflectance", "vegetation", "albedo", "land cover"]

_BOTH_PLATFORMS: dict[Family, tuple[str, ...]] = {
    "reflectance": ("09A1", "09GA", "09GQ", "09Q1"),
    "vegetation": ("13A1", "13A2", "13A3", "13Q1"),
}
PRODUCTS: dict[str, Family] = {
    f"{platform}{number}": family
    for family, numbers in _BOTH_PLATFORMS.items()
    for platform in ("MOD", "MYD")
    for number in numbers
} | {"MCD43A3": "albedo", "MCD43A4": "albedo", "MCD12Q1": "land cover"}
"""Short name → family, of all products that are read."""

PLATFORMS = {"MOD": "terra", "MYD": "aqua", "MCD": "terra aqua"}
"""First letters of a short name → platform."""

# Band 5, at 1.24 µm, has no common name.
_COMMON_NAMES = {
    "1": "red",
    "2": "nir08",
    "3": "blue",
    "4": "green",
    "6": "swir16",
    "7": "swir22",
}
# MOD13 names its layers in words; its MIR is band 7.
_VEGETATION_NAMES = {
    "NDVI": "ndvi",
    "EVI": "evi",
    "blue reflectance": "blue",
    "red reflectance": "red",
    "NIR reflectance": "nir08",
    "MIR reflectance": "swir22",
}
_BAND = re.compile(r"(?:sur_refl_b0|Nadir_Reflectance_Band)(\d)(?:_1)?")
_VEGETATION = re.compile(r"(?:250m|500m|1 km) (?:16 days|monthly) (.+)")
# Layers of codes, bits and days, which lie between no two others.
_CODES: dict[Family, re.Pattern[str]] = {
    "reflectance": re.compile(
        r"(sur_refl_)?(state|qc)_\w+|sur_refl_day_of_year|num_observations_\w+"
        r"|(gflags|orbit_pnt|granule_pnt|iobs_res|q_scan)_\w+",
        re.IGNORECASE,
    ),
    "vegetation": re.compile(r".*(VI Quality|pixel reliability|composite day of the year)"),
    "albedo": re.compile(r"BRDF_Albedo_Band_Mandatory_Quality_\w+"),
    "land cover": re.compile(r"LC_(?:Type|Prop)\d|Land_Cover_Type_\d|QC|LW"),
}
_STATE = re.compile(r"state_1km(?:_1)?|sur_refl_state_(?:250|500)m")


def family_of(short_name: str, owner: str) -> Family:
    """Return the family of a product.

    Args:
        short_name: Its short name, such as MOD09GA.
        owner: Its file or item, for messages.

    Raises:
        InputError: It is a product whose layers' meaning is not known.
    """
    if short_name not in PRODUCTS:
        raise InputError(
            f"{owner} is of product {short_name[:20] or 'without a name'}, whose layers and "
            f"quality codes are not known: accepted are {', '.join(sorted(PRODUCTS))}; convert "
            "the layer that you need to GeoTIFF, with its invalid pixels as nodata"
        )
    return PRODUCTS[short_name]


def layer_name(key: str) -> str:
    """Return the name of the layer that an asset of a catalogue holds, by the asset's key.

    >>> layer_name("250m_16_days_NDVI"), layer_name("sur_refl_b01")
    ('250m 16 days NDVI', 'sur_refl_b01')
    """
    return key.replace("_", " ") if re.match(r"(250m|500m|1_km)_(16_days|monthly)_", key) else key


def common_name(layer_name: str) -> str:
    """Return the common name of a layer's band, its own name where it has none."""
    if band := _BAND.fullmatch(layer_name):
        return _COMMON_NAMES.get(band[1], layer_name)
    vegetation = _VEGETATION.fullmatch(layer_name)
    return _VEGETATION_NAMES.get(vegetation[1], layer_name) if vegetation else layer_name


def unit_of(layer_name: str) -> str:
    """Return the unit of a layer's physical values, empty where it is not known.

    >>> unit_of("sur_refl_b01"), unit_of("250m 16 days NDVI"), unit_of("SolarZenith_1")
    ('surface_reflectance', 'index', '')
    """
    if _BAND.fullmatch(layer_name):
        return "surface_reflectance"
    if vegetation := _VEGETATION.fullmatch(layer_name):
        name = _VEGETATION_NAMES.get(vegetation[1], "")
        return {"ndvi": "index", "evi": "index", "": ""}.get(name, "surface_reflectance")
    return ""


def holds_codes(family: Family, layer_name: str) -> bool:
    """Return whether a layer holds codes or bits, which are not interpolated."""
    # Where two grids have layers of one name, it is `grid/name`.
    return _CODES[family].fullmatch(layer_name.rpartition("/")[2]) is not None


def default_mask(
    family: Family, layers: Sequence[str], selected: Sequence[str], archive: Archive, owner: str
) -> QualityMask:
    """Return the mask of a product by its own quality layers.

    Args:
        family: The product's family.
        layers: Names of all its layers.
        selected: Names of the layers that are the scene's bands.
        archive: The run file's conditions.
        owner: The product's file or item, for messages.

    Raises:
        InputError: Conditions are to be masked, and the product lacks the layer that shows them.
    """
    if family == "land cover":
        # Land cover of a year: made of many dates, so that there are no clouds in it.
        return QualityMask()
    if family == "albedo":
        return _mask_by_band(layers, selected, archive)
    conditions: tuple[Condition, ...]
    if family == "vegetation":
        candidates = [name for name in layers if name.endswith("pixel reliability")]
        tests, conditions = modis_reliability_tests(archive.mask), ("cloud", "snow")
    else:
        candidates = [name for name in layers if _STATE.fullmatch(name)]
        tests = modis_state_tests(archive.mask)
        conditions = ("cloud", "shadow", "cirrus", "snow", "water")
    if candidates:
        unmasked = tuple(c for c in archive.mask if c not in conditions)
        return QualityMask((QualityLayer("quality", candidates[0]),), tests, unmasked)
    if archive.mask:
        raise NoQualityLayerError(
            f"{owner} has no layer that shows {', '.join(archive.mask)}: "
            "give scenes.mask: [] to take it unmasked, scenes.quality another layer",
            archive.mask,
        )
    return QualityMask()


def _mask_by_band(layers: Sequence[str], selected: Sequence[str], archive: Archive) -> QualityMask:
    # A layer a band (Band1, shortwave); 0 full inversion, 1 by magnitudes alone, else not made.
    quality_layers = []
    for layer_name in selected:
        band_name = layer_name.rpartition("_")[2]
        file = f"BRDF_Albedo_Band_Mandatory_Quality_{band_name}"
        layer = QualityLayer(f"quality_{band_name.lower()}", file)
        if file in layers and layer not in quality_layers and file != layer_name:
            quality_layers.append(layer)
    tests = tuple(Clear(layer.name, (0, 1)) for layer in quality_layers)
    return QualityMask(tuple(quality_layers), tests, archive.mask)

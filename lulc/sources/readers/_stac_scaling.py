"""What products' documents say of bands, where STAC items omit it or give what is outdated."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lulc.bands import COMMON
from lulc.raster.address import path_of
from lulc.sources import modis_products
from lulc.sources.readers._stac_bands import AssetBand

_LANDSAT_FILE = re.compile(r"_(SR|ST)_B\d+\.TIF$", re.IGNORECASE)
_SENTINEL2_BAND = re.compile(r"B(0\d|1[0-2]|8A)")
# Properties of items of Sentinel-2 that tell the level, and their ids: Earth Search, the Planetary
# Computer.
_SENTINEL2_PRODUCT = ("s2:product_type", "s2:product_uri", "sentinel:product_id", "id")
# Landsat Collection 2 Level 2 Science Product Guide (LSDS-1619, LSDS-1618), surface reflectance and
# surface temperature (kelvin): scale and offset.
_LANDSAT = {"SR": (2.75e-05, -0.2), "ST": (0.00341802, 149.0)}


def as_published(
    band: AssetBand, properties: Mapping[str, Any], family: modis_products.Family | None
) -> AssetBand:
    """Return the band with the scale and offset that make its numbers reflectance or kelvin.

    The band then also has this unit.

    Args:
        band: A band as its item describes it.
        properties: The item's properties, and its `id`.
        family: The family of a MODIS item, whose layers get their names and kinds.

    Returns:
        The band; unchanged where the item is right or the product is not known.
    """
    if family is not None:
        return _modis(band, family)
    return _with_unit(_scaled(band, properties), properties)


def _scaled(band: AssetBand, properties: Mapping[str, Any]) -> AssetBand:
    offset_applied = properties.get(
        "earthsearch:boa_offset_applied", properties.get("sentinel:boa_offset_applied")
    )
    if band.scale is None and band.offset is None and band.count == 1:
        band = _sentinel2(band, properties) or _landsat(band, properties) or band
    # Earth Search has subtracted the offset from its GeoTIFF files, though its items still give it;
    # the JPEG 2000 files beside them are ESA's own.
    is_applied = offset_applied is True and not band.is_jpeg2000
    return replace(band, offset=0.0) if is_applied and band.offset else band


def _with_unit(band: AssetBand, properties: Mapping[str, Any]) -> AssetBand:
    # Of Landsat's level 2 and of Sentinel-2, whose scale is known; else none is stated.
    if band.kind == "class" or band.picture or band.scale is None:
        return band
    if file := _LANDSAT_FILE.search(path_of(band.href)):
        return replace(band, unit={"SR": "surface_reflectance", "ST": "kelvin"}[file[1].upper()])
    product = " ".join(str(properties.get(name, "")) for name in _SENTINEL2_PRODUCT)
    level = re.search(r"(?:MSI|L)(1C|2A)", product)
    is_reflective = _SENTINEL2_BAND.fullmatch(band.name or band.asset) or band.common_name in COMMON
    if not level or not is_reflective:
        return band
    units = {"1C": "toa_reflectance", "2A": "surface_reflectance"}
    return replace(band, unit=units[level[1]])


def _modis(band: AssetBand, family: modis_products.Family) -> AssetBand:
    layer_name = modis_products.layer_name(band.asset)
    common_name = modis_products.common_name(layer_name)
    band = replace(band, unit=modis_products.unit_of(layer_name))
    if modis_products.holds_codes(family, layer_name):
        band = replace(band, kind="class")
    return replace(band, common_name=common_name) if common_name != layer_name else band


def _sentinel2(band: AssetBand, properties: Mapping[str, Any]) -> AssetBand | None:
    # Sentinel-2 Products Specification Document 14.9: (DN + BOA_ADD_OFFSET) / 10000, the offset
    # -1000 from processing baseline 04.00 on; 0 is no data. Items of the Planetary Computer leave
    # this out.
    baseline = properties.get(
        "s2:processing_baseline", properties.get("sentinel:processing_baseline")
    )
    if baseline is None or not _SENTINEL2_BAND.fullmatch(band.name or band.asset):
        return None
    # A user's own Sen2Cor (99.99) may or may not add an offset, which only its product says: nan is
    # refused, unless the run file gives it.
    version = float(re.sub(r"N?(\d\d)(\d\d)", r"\1.\2", str(baseline)))  # N0500 is 05.00
    offset = 0.0 if version < 4 else -0.1 if version < 99 else math.nan
    return replace(band, scale=1e-4, offset=offset, nodata=0.0)


def _landsat(band: AssetBand, properties: Mapping[str, Any]) -> AssetBand | None:
    file = _LANDSAT_FILE.search(path_of(band.href))
    if file is None or str(properties.get("landsat:collection_number")) != "02":
        return None
    scale, offset = _LANDSAT[file[1].upper()]
    return replace(band, scale=scale, offset=offset, nodata=0.0)

"""Scale and offset of products as published, where STAC items leave them out or tell of another state of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from lulc.sources.readers._stac_bands import Offer

# Landsat Collection 2 Level 2 Science Product Guide (LSDS-1619, LSDS-1618), surface reflectance and surface temperature (kelvin).
_LANDSAT = {"SR": (2.75e-05, -0.2), "ST": (0.00341802, 149.0)}


def as_published(offer: Offer, properties: Mapping[str, Any]) -> Offer:
    """The offer with scale and offset that make its numbers reflectance or kelvin; unchanged where nothing is known better."""
    applied = (
        properties.get(
            "earthsearch:boa_offset_applied", properties.get("sentinel:boa_offset_applied")
        )
        is True
    )
    if offer.scale is None and offer.offset is None and offer.count == 1:
        offer = _sentinel2(offer, properties) or _landsat(offer, properties) or offer
    # Earth Search has subtracted the offset from these files, though their items still give it.
    return replace(offer, offset=0.0) if applied and offer.offset else offer


def _sentinel2(offer: Offer, properties: Mapping[str, Any]) -> Offer | None:
    # Sentinel-2 Products Specification Document 14.9: (DN + BOA_ADD_OFFSET) / 10000, the offset -1000 from processing baseline
    # 04.00 on; 0 is no data. Items of the Planetary Computer leave this out.
    baseline = properties.get(
        "s2:processing_baseline", properties.get("sentinel:processing_baseline")
    )
    if baseline is None or not re.fullmatch(r"B(0\d|1[0-2]|8A)", offer.name or offer.asset):
        return None
    return replace(offer, scale=1e-4, offset=-0.1 if float(baseline) >= 4 else 0.0, nodata=0.0)


def _landsat(offer: Offer, properties: Mapping[str, Any]) -> Offer | None:
    file = re.search(r"_(SR|ST)_B\d+\.TIF$", urlsplit(offer.href).path, re.IGNORECASE)
    if file is None or str(properties.get("landsat:collection_number")) != "02":
        return None
    scale, offset = _LANDSAT[file[1].upper()]
    return replace(offer, scale=scale, offset=offset, nodata=0.0)

"""Which bands a STAC item offers, under which names: the assets' band records of STAC 0.7 to 1.1 read as one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from lulc.bands import COMMON
from lulc.config import Archive
from lulc.errors import InputError
from lulc.sources.header import Header, plain_name, quality_tests
from lulc.sources.quality_masks import qa_pixel_tests, scl_tests
from lulc.sources.scene import Clear


@dataclass(frozen=True)
class Offer:
    """One band of one asset, with what the item says of it (None: nothing). index counts from 1; count: bands of the asset.

    gsd_m: ground sampling distance. wavelength_um: of the band's centre. described: whether the item has a band record for it;
    where it has none, the file may hold more bands.
    """

    asset: str
    href: str
    index: int = 1
    count: int = 1
    name: str | None = None
    common: str | None = None
    kind: Literal["continuous", "class"] = "continuous"
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    gsd_m: float = math.inf
    wavelength_um: float | None = None
    described: bool = True

    @property
    def said(self) -> dict[str, Any]:
        """Scale, offset and nodata as the item gives them."""
        return {"scale": self.scale, "offset": self.offset, "nodata": self.nodata}

    @property
    def fallback(self) -> str:
        """The name it has when no better one is free."""
        return (
            plain_name(self.asset) if self.count == 1 else self.name or f"{self.asset}.{self.index}"
        )

    def claim(self, archive: Archive) -> tuple[tuple[bool, int, float], str | None]:
        """(strength, name) of the name it claims, smaller is stronger.

        The run file's word comes first, then a key that is the common name (red beside red-jp2), then an asset of its own, then
        one band of several (red of a true-colour picture); of equals the finer (B02_10m before B02_20m).
        """
        strength = 0 if self.common == self.asset else 1 if self.count == 1 else 2
        keys = (self.name, self.common, self.asset if self.count == 1 else None)
        mapped = next((archive.bands[k] for k in keys if k in archive.bands), None)
        return (mapped is None, strength, self.gsd_m), mapped or self.common

    def split(self, header: Header) -> list[Offer]:
        """One offer a band of the file but alpha, named by the file; this one where the file has one band."""
        names = header.names
        if len(names) == 1:
            return [self]
        # Alpha says which pixels of the others are valid: the reader heeds it.
        named = [(i, n) for i, n in enumerate(names, 1) if n != "alpha"]
        return [
            Offer(self.asset, self.href, i, len(names), n, n if n in COMMON else None)
            for i, n in named
        ]


def name_bands(offers: Sequence[Offer], archive: Archive) -> dict[str, Offer]:
    """Band name → offer. A name goes to the strongest claim; where several are as strong (rededge) their wavelengths decide the
    names, or each keeps its asset's key."""
    claims: dict[str, list[tuple[tuple[bool, int, float], Offer]]] = {}
    for offer in offers:
        strength, name = offer.claim(archive)
        if name:
            claims.setdefault(name, []).append((strength, offer))
    named: dict[str, Offer] = {}
    for name, claimed in claims.items():
        best = min(strength for strength, _ in claimed)
        strongest = [offer for strength, offer in claimed if strength == best]
        if len(strongest) == 1:
            named[name] = strongest[0]
        elif not best[0]:
            assets = [offer.asset for offer in strongest]
            raise InputError(
                f"assets {assets} are all mapped to band {name!r} under scenes.bands: map one of them"
            )
        else:
            finer = [_finer_name(name, offer) for offer in strongest]
            named |= {
                n: o
                for n, o in zip(finer, strongest, strict=True)
                if n and finer.count(n) == 1 and n not in claims
            }
    taken = {id(offer) for offer in named.values()}
    for offer in offers:
        if id(offer) not in taken:
            named.setdefault(offer.fallback, offer)
    return named


def find_own(offers: Sequence[Offer], names: Sequence[str]) -> dict[str, Offer]:
    """Those of the names that are a band's or an asset's own (B8A, SR_B4) → its offer, the finest of several."""
    own: dict[str, Offer] = {}
    for offer in sorted(offers, key=lambda o: (o.count, o.gsd_m)):
        for name in (offer.name, offer.asset if offer.count == 1 else None):
            if name in names:
                own.setdefault(str(name), offer)
    return own


def _finer_name(name: str, offer: Offer) -> str | None:
    # Version 1 of STAC's eo extension names every red edge `rededge`; version 2 tells them apart by their centres.
    if name != "rededge" or offer.wavelength_um is None:
        return None
    centre = offer.wavelength_um
    return min(("rededge071", "rededge075", "rededge078"), key=lambda n: abs(COMMON[n] - centre))


def list_offers(key: str, asset: Mapping[str, Any], properties: Mapping[str, Any]) -> list[Offer]:
    """The asset's bands, as STAC 1.1 (`bands`), 1.0 (`eo:bands`, `raster:bands`) and 0.7 (numbers into the item's) say."""
    new, raster = asset.get("bands") or [], asset.get("raster:bands") or []
    old = [
        properties["eo:bands"][b] if isinstance(b, int) else b for b in asset.get("eo:bands") or []
    ]
    count = max(len(new), len(old), len(raster), 1)
    # One record for several bands holds for them all.
    raster = raster * count if len(raster) == 1 else raster
    found = []
    for i in range(count):
        said = {k: v for k, v in asset.items() if k != "name"}
        for records in (raster, old, new):
            said |= records[i] if i < len(records) else {}
        found.append(
            Offer(
                key,
                str(asset.get("href", "")),
                i + 1,
                count,
                said.get("name"),
                said.get("eo:common_name") or said.get("common_name"),
                "class" if said.get("classification:classes") else "continuous",
                number(said.get("raster:scale", said.get("scale"))),
                number(said.get("raster:offset", said.get("offset"))),
                number(said.get("nodata")),
                number(
                    said.get(
                        "gsd", said.get("raster:spatial_resolution", said.get("spatial_resolution"))
                    )
                )
                or math.inf,
                number(said.get("eo:center_wavelength", said.get("center_wavelength"))),
                bool(new or old or raster),
            )
        )
    return found


def has_data(asset: Mapping[str, Any]) -> bool:
    """Whether an asset holds pixels that can be mapped: GeoTIFF or JPEG 2000, and neither a picture for the eye nor metadata."""
    media, href = str(asset.get("type") or "").lower(), str(asset.get("href", ""))
    if {"thumbnail", "overview", "metadata"} & set(asset.get("roles") or ()):
        return False
    return (
        any(t in media for t in ("tiff", "jp2"))
        if media
        else urlsplit(href).path.lower().endswith((".tif", ".tiff", ".jp2"))
    )


# Assets of Sentinel-2 (SCL, scl, SCL_20m) and Landsat Collection 2 (qa_pixel, QA_PIXEL.TIF) that say which pixels are usable.
_KNOWN = {"scl": scl_tests, "qa_pixel": qa_pixel_tests}


def find_quality(
    offers: Sequence[Offer], archive: Archive, scene_id: str
) -> tuple[Offer, tuple[Clear, ...]] | None:
    """The quality band and its tests: the one the run file names, else one that is known and masks what the run file says.

    None where it names none, and none is known or nothing is to be masked. InputError where the item lacks the one it names.
    """
    if archive.quality:
        for offer in offers:
            if archive.quality in (offer.asset, offer.name, offer.fallback):
                return offer, quality_tests(archive)
        has = ", ".join(offer.asset for offer in offers)
        raise InputError(
            f"scene {scene_id} has no quality asset {archive.quality!r}; it has {has}: name another under scenes.quality"
        )
    for offer in sorted(offers, key=lambda o: o.gsd_m):
        known = re.fullmatch(r"(scl|qa_pixel)(_\d+m)?(\.tiff?)?", offer.asset.lower())
        if known and archive.mask:
            return offer, _KNOWN[known[1]](archive.mask)
    return None


def number(value: Any) -> float | None:
    """The value (also `"nan"`) as a number, None where there is none."""
    return None if value is None else float(value)

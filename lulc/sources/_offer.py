"""Which bands a STAC item offers, under which names: the assets' band records of STAC 0.7 to 1.1 read as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from lulc.bands import COMMON
from lulc.conf import Archive
from lulc.errors import InputError
from lulc.sources._item import Header, plain_name


@dataclass(frozen=True)
class Offer:
    """One band of one asset, with what the item says of it (None: nothing). index counts from 1; count: bands of the asset.

    described: whether the item has a band record for it; where it has none, the file may hold more bands.
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
    described: bool = True

    @property
    def said(self) -> dict[str, Any]:
        """Scale, offset and nodata as the item gives them."""
        return {"scale": self.scale, "offset": self.offset, "nodata": self.nodata}

    @property
    def fallback(self) -> str:
        """The name it has when no better one is free."""
        return plain_name(self.asset) if self.count == 1 else self.name or f"{self.asset}.{self.index}"

    def claim(self, archive: Archive) -> tuple[tuple[bool, int], str | None]:
        """(strength, name) of the name it claims, smaller is stronger.

        The run file's word comes first, then a key that is the common name (red beside red-jp2), then an asset of its own, then
        one band of several (red of a true-colour picture).
        """
        strength = 0 if self.common == self.asset else 1 if self.count == 1 else 2
        keys = (self.name, self.common, self.asset if self.count == 1 else None)
        mapped = next((archive.bands[k] for k in keys if k in archive.bands), None)
        return (mapped is None, strength), mapped or self.common

    def split(self, header: Header) -> list[Offer]:
        """One offer a band of the file, named by the file; this one where the file has one band."""
        names = header.names
        if len(names) == 1:
            return [self]
        return [Offer(self.asset, self.href, i, len(names), n, n if n in COMMON else None) for i, n in enumerate(names, 1)]


def name_bands(offers: Sequence[Offer], archive: Archive) -> dict[str, Offer]:
    """Band name → offer. A name goes to the strongest claim; where several are as strong (rededge) each keeps its asset's key."""
    claims: dict[str, list[tuple[tuple[bool, int], Offer]]] = {}
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
            raise InputError(f"assets {assets} are all mapped to band {name!r} under scenes.bands: map one of them")
    taken = {id(offer) for offer in named.values()}
    for offer in offers:
        if id(offer) not in taken:
            named.setdefault(offer.fallback, offer)
    return named


def list_offers(key: str, asset: Mapping[str, Any], properties: Mapping[str, Any]) -> list[Offer]:
    """The asset's bands, as STAC 1.1 (`bands`), 1.0 (`eo:bands`, `raster:bands`) and 0.7 (numbers into the item's) say."""
    new, raster = asset.get("bands") or [], asset.get("raster:bands") or []
    old = [properties["eo:bands"][b] if isinstance(b, int) else b for b in asset.get("eo:bands") or []]
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
                bool(new or old or raster),
            )
        )
    return found


def has_data(asset: Mapping[str, Any]) -> bool:
    """Whether an asset holds pixels that can be mapped: GeoTIFF or JPEG 2000, and neither a picture for the eye nor metadata."""
    media, href = str(asset.get("type") or "").lower(), str(asset.get("href", ""))
    if {"thumbnail", "overview", "metadata"} & set(asset.get("roles") or ()):
        return False
    return any(t in media for t in ("tiff", "jp2")) if media else urlsplit(href).path.lower().endswith((".tif", ".tiff", ".jp2"))


def find_quality(offers: Sequence[Offer], archive: Archive, scene_id: str) -> Offer | None:
    """The band the run file names as quality, None where it names none; InputError where the item lacks it."""
    if not archive.quality:
        return None
    for offer in offers:
        if archive.quality in (offer.asset, offer.name, offer.fallback):
            return offer
    has = ", ".join(offer.asset for offer in offers)
    raise InputError(
        f"scene {scene_id} has no quality asset {archive.quality!r}; it has {has}: name another under scenes.quality"
    )


def number(value: Any) -> float | None:
    """The value (also `"nan"`) as a number, None where there is none."""
    return None if value is None else float(value)

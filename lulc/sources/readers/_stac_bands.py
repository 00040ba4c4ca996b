"""The bands of a STAC item and their names; band records of STAC 0.7 to 1.1 are read alike."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from lulc.bands import COMMON
from lulc.config import Archive
from lulc.errors import InputError
from lulc.sources.header import BandMetadata, Header, parse_number, plain_name
from lulc.sources.quality_masks import qa_pixel_tests, quality_tests, scl_tests
from lulc.sources.scene import Clear

_Rank = tuple[bool, int, float]


@dataclass(frozen=True)
class AssetBand:
    """One band of an asset, with its band record; None where the item gives nothing."""

    asset: str
    """The asset's key."""
    href: str
    """The asset's href as the item has it."""
    index: int = 1
    """Band number in the file, from 1."""
    count: int = 1
    """Number of bands of the asset."""
    name: str | None = None
    """The band's name in its record, such as B04."""
    common_name: str | None = None
    """The band's common name in its record, such as red."""
    kind: Literal["continuous", "class"] = "continuous"
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    gsd_m: float = math.inf
    """Ground sampling distance, metres."""
    wavelength_um: float | None = None
    """Centre wavelength, µm."""
    described: bool = True
    """Whether the item has a band record for it; where it has none, the file may hold more."""

    @property
    def metadata(self) -> BandMetadata:
        """Scale, offset, nodata and kind as the item gives them."""
        return BandMetadata(self.scale, self.offset, self.nodata, self.kind)

    @property
    def fallback_name(self) -> str:
        """The name it gets where no better one is free."""
        if self.count == 1:
            return plain_name(self.asset)
        return self.name or f"{self.asset}.{self.index}"

    def preferred_name(self, archive: Archive) -> tuple[_Rank, str | None]:
        """Return the name it should get, with a rank: of several bands the smallest rank gets it.

        The run file's mapping comes first, then an asset key that is the common name (red beside
        red-jp2), then an asset with this band alone, then one band of several (red of a true-colour
        picture); of equals the finer (B02_10m before B02_20m).

        Returns:
            The rank and the name, None where it has no common name.
        """
        rank = 0 if self.common_name == self.asset else 1 if self.count == 1 else 2
        keys = (self.name, self.common_name, self.asset if self.count == 1 else None)
        mapped = next((archive.bands[key] for key in keys if key in archive.bands), None)
        return (mapped is None, rank, self.gsd_m), mapped or self.common_name

    def split(self, header: Header) -> list[AssetBand]:
        """Return the bands of the asset's file, named by the file.

        Returns:
            One AssetBand per band but alpha; this one where the file has one band.
        """
        names = header.band_names
        if len(names) == 1:
            return [self]
        # Alpha says which pixels of the others are valid: the raster reader uses it.
        return [
            AssetBand(
                self.asset,
                self.href,
                index,
                len(names),
                name,
                common_name=name if name in COMMON else None,
            )
            for index, name in enumerate(names, 1)
            if name != "alpha"
        ]


def name_bands(asset_bands: Sequence[AssetBand], archive: Archive) -> dict[str, AssetBand]:
    """Name the bands of an item.

    A name goes to the band of the smallest rank. Where several have it (rededge), their wavelengths
    decide the names, or each keeps its asset's key.

    Returns:
        Band name → band.

    Raises:
        InputError: The run file maps several assets to one name.
    """
    candidates: dict[str, list[tuple[_Rank, AssetBand]]] = {}
    for band in asset_bands:
        rank, name = band.preferred_name(archive)
        if name:
            candidates.setdefault(name, []).append((rank, band))
    bands: dict[str, AssetBand] = {}
    for name, ranked in candidates.items():
        best = min(rank for rank, _ in ranked)
        winners = [band for rank, band in ranked if rank == best]
        mapped = not best[0]
        if len(winners) == 1:
            bands[name] = winners[0]
        elif mapped:
            assets = [band.asset for band in winners]
            raise InputError(
                f"assets {assets} are all mapped to band {name!r} under scenes.bands: "
                "map one of them"
            )
        else:
            finer_names = [_finer_name(name, band) for band in winners]
            for finer_name, band in zip(finer_names, winners, strict=True):
                if (
                    finer_name
                    and finer_names.count(finer_name) == 1
                    and finer_name not in candidates
                ):
                    bands[finer_name] = band
    named_ids = {id(band) for band in bands.values()}
    for band in asset_bands:
        if id(band) not in named_ids:
            bands.setdefault(band.fallback_name, band)
    return bands


def find_by_record(asset_bands: Sequence[AssetBand], names: Sequence[str]) -> dict[str, AssetBand]:
    """Find bands by the name in their record or by their asset's key (B8A, SR_B4).

    Returns:
        Those of the names that are one → band, the finest of several.
    """
    bands: dict[str, AssetBand] = {}
    for band in sorted(asset_bands, key=lambda band: (band.count, band.gsd_m)):
        for name in (band.name, band.asset if band.count == 1 else None):
            if name in names:
                bands.setdefault(str(name), band)
    return bands


def _finer_name(name: str, band: AssetBand) -> str | None:
    # Version 1 of STAC's eo extension names every red edge `rededge`; version 2 distinguishes them
    # by their centres.
    if name != "rededge" or band.wavelength_um is None:
        return None
    centre = band.wavelength_um
    rededges = ("rededge071", "rededge075", "rededge078")
    return min(rededges, key=lambda rededge: abs(COMMON[rededge] - centre))


def list_asset_bands(
    key: str, asset: Mapping[str, Any], properties: Mapping[str, Any]
) -> list[AssetBand]:
    """List the bands of an asset by its band records.

    The records are those of STAC 1.1 (`bands`), 1.0 (`eo:bands`, `raster:bands`) and 0.7 (numbers
    that refer to the `eo:bands` of the item).

    Args:
        key: The asset's key.
        asset: The asset.
        properties: The item's properties.

    Returns:
        One AssetBand per record, or one where there is none.
    """
    bands, raster_bands = asset.get("bands") or [], asset.get("raster:bands") or []
    eo_bands = [
        properties["eo:bands"][record] if isinstance(record, int) else record
        for record in asset.get("eo:bands") or []
    ]
    count = max(len(bands), len(eo_bands), len(raster_bands), 1)
    # One record for several bands applies to them all.
    raster_bands = raster_bands * count if len(raster_bands) == 1 else raster_bands
    href, described = str(asset.get("href", "")), bool(bands or eo_bands or raster_bands)
    asset_bands = []
    for position in range(count):
        record = {field: entry for field, entry in asset.items() if field != "name"}
        for records in (raster_bands, eo_bands, bands):
            record |= records[position] if position < len(records) else {}
        band = AssetBand(key, href, position + 1, count, described=described)
        asset_bands.append(_with_record(band, record))
    return asset_bands


def _with_record(band: AssetBand, record: Mapping[str, Any]) -> AssetBand:
    # The band with the fields of its asset and band records, merged.
    gsd = _lookup(record, "gsd", "raster:spatial_resolution", "spatial_resolution")
    return replace(
        band,
        name=record.get("name"),
        common_name=record.get("eo:common_name") or record.get("common_name"),
        kind="class" if record.get("classification:classes") else "continuous",
        scale=parse_number(_lookup(record, "raster:scale", "scale")),
        offset=parse_number(_lookup(record, "raster:offset", "offset")),
        nodata=parse_number(record.get("nodata")),
        gsd_m=parse_number(gsd) or math.inf,
        wavelength_um=parse_number(_lookup(record, "eo:center_wavelength", "center_wavelength")),
    )


def _lookup(record: Mapping[str, Any], *fields: str) -> Any:
    return next((record[field] for field in fields if field in record), None)


def has_data(asset: Mapping[str, Any]) -> bool:
    """Return whether an asset holds pixels that can be mapped.

    It is GeoTIFF or JPEG 2000, by its media type or suffix, and by its roles neither a preview nor
    metadata.
    """
    media_type, href = str(asset.get("type") or "").lower(), str(asset.get("href", ""))
    if {"thumbnail", "overview", "metadata"} & set(asset.get("roles") or ()):
        return False
    if media_type:
        return any(raster_type in media_type for raster_type in ("tiff", "jp2"))
    return urlsplit(href).path.lower().endswith((".tif", ".tiff", ".jp2"))


# Quality assets of Sentinel-2 (SCL, scl, SCL_20m) and Landsat Collection 2 (qa_pixel,
# QA_PIXEL.TIF).
_QUALITY_ASSET = re.compile(r"(scl|qa_pixel)(_\d+m)?(\.tiff?)?")
_QUALITY_TESTS = {"scl": scl_tests, "qa_pixel": qa_pixel_tests}


def find_quality(
    asset_bands: Sequence[AssetBand], archive: Archive, scene_id: str
) -> tuple[AssetBand, tuple[Clear, ...]] | None:
    """Find the quality band of an item.

    Args:
        asset_bands: The item's bands.
        archive: The run file's quality asset and its codes, and the conditions to mask.
        scene_id: The scene's id, for messages.

    Returns:
        The band and its tests: the one that the run file names, else one whose codes are known;
        None where the run file names none and none is known or nothing is to be masked.

    Raises:
        InputError: The item lacks the band that the run file names.
    """
    if archive.quality:
        for band in asset_bands:
            if archive.quality in (band.asset, band.name, band.fallback_name):
                return band, quality_tests(archive)
        assets = ", ".join(band.asset for band in asset_bands)
        raise InputError(
            f"scene {scene_id} has no quality asset {archive.quality!r}; it has {assets}: "
            "name another under scenes.quality"
        )
    for band in sorted(asset_bands, key=lambda band: band.gsd_m):
        match = _QUALITY_ASSET.fullmatch(band.asset.lower())
        if match and archive.mask:
            return band, _QUALITY_TESTS[match[1]](archive.mask)
    return None

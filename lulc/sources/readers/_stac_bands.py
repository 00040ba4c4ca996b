"""The bands of a STAC item and their names; band records of STAC 0.7 to 1.1 are read alike."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lulc.bands import COMMON
from lulc.config import Archive
from lulc.errors import InputError
from lulc.raster.address import path_of
from lulc.sources.header import BandMetadata, Header, parse_number, plain_name

_Rank = tuple[bool, int, float, bool]

# Roles of assets that are to be looked at, of STAC's best practices, "list of asset roles".
_PREVIEW_ROLES = {"thumbnail", "overview"}
_PICTURE_ROLES = {"visual", *_PREVIEW_ROLES}
# Keys of such assets in catalogues: visual, visual-jp2, TCI_10m, rendered_preview.
_PREVIEW_KEY = re.compile(
    r"(rendered[-_])?(preview|overview|thumbnail|quicklook|browse|pvi|reduced_resolution_browse)"
    r"([-_.].*)?"
)
_PICTURE_KEY = re.compile(r"(visual|tci|true[-_]?colou?r)([-_.].*)?")
# Keys of Sentinel-2's and Landsat's assets that hold codes or bits, which are not interpolated.
_CODES_KEY = re.compile(
    r"(scl|qa_pixel|qa_radsat|(sr_)?(qa_aerosol|cloud_qa))(_\d+m)?(\.tiff?)?", re.IGNORECASE
)
# Platforms whose products are of reflectance, so that a picture never stands for one.
_REFLECTANCE_PLATFORM = re.compile(r"(sentinel-?2|landsat)", re.IGNORECASE)


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
    unit: str = ""
    """A `lulc.bands.Unit` of the physical values; empty where it is not known."""
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    pixel_side_m: float = math.inf
    """Pixel side, else ground sampling distance, metres."""
    wavelength_um: float | None = None
    """Centre wavelength, µm."""
    described: bool = True
    """Whether the item has a band record for it; where it has none, the file may hold more."""
    dtype: str | None = None
    """The data type in its record."""
    picture: Literal["", "preview", "visual"] = ""
    """What its asset is to the eye: a `preview` that is smaller, or a `visual` of full size."""

    @property
    def metadata(self) -> BandMetadata:
        """Scale, offset, nodata, kind and unit as the item and its product give them."""
        return BandMetadata(self.scale, self.offset, self.nodata, self.kind, self.unit)

    @property
    def is_picture(self) -> bool:
        """Whether it is a band of a picture, which is taken by its own name alone."""
        return bool(self.picture)

    @property
    def is_jpeg2000(self) -> bool:
        """Whether its file is JPEG 2000."""
        return path_of(self.href).lower().endswith(".jp2")

    @property
    def fallback_name(self) -> str:
        """The name it gets where no better one is free."""
        if self.count == 1:
            return plain_name(self.asset)
        return (not self.is_picture and self.name) or f"{self.asset}.{self.index}"

    def described_for(self, names: Sequence[str]) -> bool:
        """Return whether the item says all that is needed of it to find bands of these names."""
        is_asked_for = any(name.partition(".")[0] == self.asset for name in names)
        return self.described or (self.is_picture and not is_asked_for)

    def preferred_name(self, archive: Archive) -> tuple[_Rank, str | None]:
        """Return the name it should get, with a rank: of several bands the smallest rank gets it.

        The run file's mapping comes first, then an asset key that is the common name (red beside
        red-jp2), then an asset with this band alone, then one band of several; of equals the finer
        (B02_10m before B02_20m), then GeoTIFF before JPEG 2000. A picture's bands have no common
        names: red of a true-colour picture is no reflectance.

        Returns:
            The rank and the name, None where it has no common name.
        """
        rank = 0 if self.common_name == self.asset else 1 if self.count == 1 else 2
        keys: tuple[str | None, ...]
        keys = (self.name, self.common_name, self.asset if self.count == 1 else None)
        if self.is_picture:
            keys = (self.fallback_name,)
        mapped = next((archive.bands[key] for key in keys if key in archive.bands), None)
        name = mapped or (None if self.is_picture else self.common_name)
        return (mapped is None, rank, self.pixel_side_m, self.is_jpeg2000), name

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
                picture=self.picture,
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
    """Find bands by their asset's key or the name in their record (B8A, SR_B4).

    Returns:
        Those of the names that are one → band. Of several the one whose asset has the name, then
        the one alone in its asset, then the finest, then GeoTIFF.
    """
    bands = {}
    for name in names:
        offers = [
            band
            for band in asset_bands
            if (band.count == 1 and band.asset == name)
            or (band.name == name and not band.is_picture)
        ]
        if offers:
            bands[name] = min(
                offers,
                key=lambda band: (
                    band.asset != name,
                    band.count,
                    band.pixel_side_m,
                    band.is_jpeg2000,
                ),
            )
    return bands


def tell_pictures(
    asset_bands: Sequence[AssetBand], properties: Mapping[str, Any]
) -> list[AssetBand]:
    """Decide which bands of an item are those of pictures.

    A true-colour picture beside other assets is one, and so is an asset of 8 bits whose bands other
    assets offer with more bits. Where an item has nothing else, as aerial images do, the picture is
    its data, unless its platform measures reflectance.

    Args:
        asset_bands: The item's bands; `picture` as their assets' keys and roles have it.
        properties: The item's properties.

    Returns:
        The bands in the same order.
    """
    platform = f"{properties.get('platform')} {properties.get('constellation')}"
    others = [band for band in asset_bands if not band.is_picture]
    if not others and not _REFLECTANCE_PLATFORM.search(platform):
        return [
            replace(band, picture="") if band.picture == "visual" else band for band in asset_bands
        ]
    deep_names = {
        name
        for band in others
        if band.dtype not in (None, "uint8")
        for name in (band.name, band.common_name)
        if name
    }
    eight_bit = {
        band.asset
        for band in others
        if band.count > 1 and band.dtype == "uint8" and deep_names & {band.name, band.common_name}
    }
    return [
        replace(band, picture="visual") if band.asset in eight_bit else band for band in asset_bands
    ]


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
    picture = _picture_of(key, asset)
    asset_bands = []
    for position in range(count):
        record = {field: entry for field, entry in asset.items() if field != "name"}
        for records in (raster_bands, eo_bands, bands):
            record |= records[position] if position < len(records) else {}
        band = AssetBand(key, href, position + 1, count, described=described, picture=picture)
        asset_bands.append(_with_record(band, record))
    return asset_bands


def _with_record(band: AssetBand, record: Mapping[str, Any]) -> AssetBand:
    # The band with the fields of its asset and band records, merged.
    # `gsd` is the sensor's: also of a copy with larger pixels (B02_20m).
    side = _lookup(record, "raster:spatial_resolution", "spatial_resolution", "gsd")
    has_codes = record.get("classification:classes") or _CODES_KEY.fullmatch(band.asset)
    key_side = re.search(r"_(\d+)m(?![a-z])", band.asset)
    return replace(
        band,
        name=record.get("name"),
        common_name=record.get("eo:common_name") or record.get("common_name"),
        kind="class" if has_codes else "continuous",
        scale=parse_number(_lookup(record, "raster:scale", "scale")),
        offset=parse_number(_lookup(record, "raster:offset", "offset")),
        nodata=parse_number(record.get("nodata")),
        pixel_side_m=parse_number(key_side[1] if key_side else side) or math.inf,
        dtype=record.get("data_type"),
        wavelength_um=parse_number(_lookup(record, "eo:center_wavelength", "center_wavelength")),
    )


def _lookup(record: Mapping[str, Any], *fields: str) -> Any:
    return next((record[field] for field in fields if field in record), None)


def has_pixels(asset: Mapping[str, Any]) -> bool:
    """Return whether an asset is GeoTIFF or JPEG 2000 by its media type or suffix.

    Metadata by its roles is not.
    """
    media_type, href = str(asset.get("type") or "").lower(), str(asset.get("href", ""))
    if "metadata" in _roles(asset):
        return False
    if media_type:
        return any(raster_type in media_type for raster_type in ("tiff", "jp2"))
    return path_of(href.removeprefix("file://")).lower().endswith((".tif", ".tiff", ".jp2"))


def _picture_of(key: str, asset: Mapping[str, Any]) -> Literal["", "preview", "visual"]:
    roles, name = _roles(asset), key.lower()
    if roles & _PREVIEW_ROLES or _PREVIEW_KEY.fullmatch(name):
        return "preview"
    return "visual" if roles & _PICTURE_ROLES or _PICTURE_KEY.fullmatch(name) else ""


def _roles(asset: Mapping[str, Any]) -> set[str]:
    return set(asset.get("roles") or ())

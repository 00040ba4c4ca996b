"""The quality layers of a STAC item, with the masks that its product has by any other route."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lulc.config import Archive, Condition
from lulc.errors import InputError
from lulc.raster.address import path_of
from lulc.sources import modis_products
from lulc.sources.quality_masks import (
    NoQualityLayerError,
    qa_pixel_tests,
    qa_radsat_tests,
    quality_tests,
    scl_tests,
)
from lulc.sources.readers._stac_bands import AssetBand
from lulc.sources.scene import Clear

# Quality assets of Sentinel-2 (SCL, scl, SCL_20m) and Landsat Collection 2 (qa_pixel,
# QA_PIXEL.TIF; qa_radsat).
_SCL = re.compile(r"scl(_\d+m)?(\.tiff?)?", re.IGNORECASE)
_QA_PIXEL = re.compile(r"qa_pixel(\.tiff?)?", re.IGNORECASE)
_QA_RADSAT = re.compile(r"qa_radsat(\.tiff?)?", re.IGNORECASE)
_LANDSAT_BAND = re.compile(r"_(?:SR_)?(?:B(\d+(?:_VCID_\d)?)|(ST_B\d+))\.TIFF?$", re.IGNORECASE)
_MODIS_ITEM = re.compile(r"((?:MOD|MYD|MCD)\d\w+)\.A\d{7}\.h\d\dv\d\d\..*")


@dataclass(frozen=True)
class ItemMask:
    """How an item's quality layers mask its scene."""

    layers: tuple[tuple[str, AssetBand], ...] = ()
    """Name of the quality band in the scene, and the item's band."""
    tests: tuple[Clear, ...] = ()
    unmasked: tuple[Condition, ...] = ()
    """The conditions of `archive.mask` that no layer shows."""
    fill_is_code: bool = False
    """Whether fill is a bit of the layers' own, so that a nodata value of their files adds nothing
    and 0 would be wrong."""


def modis_family(scene_id: str) -> modis_products.Family | None:
    """Return the family of a MODIS product by its item's id, None for other items.

    Raises:
        InputError: It is a MODIS product whose layers' meaning is not known.
    """
    match = _MODIS_ITEM.fullmatch(scene_id)
    return modis_products.family_of(match[1], f"scene {scene_id}") if match else None


def find_mask(
    asset_bands: Sequence[AssetBand],
    selected: Sequence[AssetBand],
    archive: Archive,
    properties: Mapping[str, Any],
    scene_id: str,
) -> ItemMask:
    """Find the quality layers of an item and their tests.

    Args:
        asset_bands: The item's bands.
        selected: Those that are the scene's bands.
        archive: The run file's quality asset and its codes, and the conditions to mask.
        properties: The item's properties.
        scene_id: The scene's id, for messages and the product's name.

    Returns:
        The layer that the run file names, else the layers of a known product; without layers where
        none is known or nothing is to be masked.

    Raises:
        InputError: The item lacks the band that the run file names, or the product's own.
    """
    if archive.quality or archive.clear:
        return ItemMask(
            (("quality", _named(asset_bands, archive, scene_id)),), quality_tests(archive)
        )
    if family := modis_family(scene_id):
        layers = {modis_products.layer_name(band.asset): band for band in asset_bands}
        selected_layers = [modis_products.layer_name(band.asset) for band in selected]
        mask = modis_products.default_mask(
            family, list(layers), selected_layers, archive, f"scene {scene_id}"
        )
        return ItemMask(
            tuple((layer.name, layers[layer.file]) for layer in mask.layers),
            mask.tests,
            mask.unmasked,
        )
    if not archive.mask:
        return ItemMask()
    if classification := _finest(asset_bands, _SCL):
        return ItemMask((("quality", classification),), scl_tests(archive.mask))
    if pixel := _finest(asset_bands, _QA_PIXEL):
        return _landsat_mask(pixel, _finest(asset_bands, _QA_RADSAT), selected, archive, properties)
    is_radar = any(key.startswith("sar:") for key in properties)
    if is_radar or all(band.kind == "class" for band in selected):
        return ItemMask()  # Radar sees through clouds, and classes are made of clear pixels.
    return ItemMask(unmasked=archive.mask)


def _named(asset_bands: Sequence[AssetBand], archive: Archive, scene_id: str) -> AssetBand:
    # The layer of the run file's codes; where it names none, the product's.
    if not archive.quality:
        layer = _finest(asset_bands, _SCL) or _finest(asset_bands, _QA_PIXEL)
        if layer is None:
            raise InputError(
                f"scene {scene_id} has neither SCL nor QA_PIXEL, whose codes scenes.clear could "
                "be: name the layer that has them under scenes.quality"
            )
        return layer
    for band in asset_bands:
        if archive.quality in (band.asset, band.name, band.fallback_name):
            return band
    assets = ", ".join(dict.fromkeys(band.asset for band in asset_bands))
    raise NoQualityLayerError(
        f"scene {scene_id} has no quality asset {archive.quality!r}; it has {assets}: "
        "name another under scenes.quality",
        archive.mask,
    )


def _finest(asset_bands: Sequence[AssetBand], key: re.Pattern[str]) -> AssetBand | None:
    candidates = [band for band in asset_bands if key.fullmatch(band.asset)]
    return min(candidates, key=lambda band: band.pixel_side_m, default=None)


def _landsat_mask(
    pixel: AssetBand,
    saturation: AssetBand | None,
    selected: Sequence[AssetBand],
    archive: Archive,
    properties: Mapping[str, Any],
) -> ItemMask:
    layers, tests = [("quality", pixel)], qa_pixel_tests(archive.mask)
    # TM and ETM+ have no cirrus band.
    platform = str(properties.get("platform") or properties.get("eo:platform"))
    absent = {"cirrus"} if re.search(r"[457]$", platform) else set()
    if "saturated" in archive.mask and saturation:
        bands = [
            match[1] or match[2].upper()
            for band in selected
            if (match := _LANDSAT_BAND.search(path_of(band.href)))
        ]
        layers.append(("saturation", saturation))
        tests += qa_radsat_tests(bands)
    elif not saturation:
        absent.add("saturated")
    unmasked = tuple(condition for condition in archive.mask if condition in absent)
    return ItemMask(tuple(layers), tests, unmasked, fill_is_code=True)

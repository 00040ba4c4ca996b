"""Scenes from STAC items (0.7 to 1.1): a folder, an item, a Collection or Catalog, a list.

A list of items is an ItemCollection (FeatureCollection), or a JSON array.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import shapely
import shapely.geometry

from lulc.bands import Band
from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo import grid
from lulc.geo.antimeridian import only_polygons, short_way_round
from lulc.location import Location, parse_location
from lulc.raster.access import ReadError
from lulc.redact import strip_credentials
from lulc.sources.catalogues.answers import is_answer, read_answer
from lulc.sources.checksums import verify_file
from lulc.sources.header import (
    Header,
    make_scene,
    open_header,
    parse_json,
    parse_number,
    require_bands,
    with_fingerprint,
)
from lulc.sources.href import places_of, resolve_href
from lulc.sources.listing import is_known_item, list_archive
from lulc.sources.readers._stac_bands import (
    AssetBand,
    find_by_record,
    has_pixels,
    list_asset_bands,
    name_bands,
    tell_pictures,
)
from lulc.sources.readers._stac_listing import is_item, is_stac, list_json_items, location_of
from lulc.sources.readers._stac_quality import ItemMask, find_mask, modis_family
from lulc.sources.readers._stac_scaling import as_published
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source, beside
from lulc.sources.times import Span, middle, parse_span, parse_time
from lulc.tables.stac_geoparquet import SUFFIXES

_SUFFIXES = (".json", ".geojson")


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    # Whether one of the JSON files is STAC, or the file is the answer of a search, where the run
    # file gives no pattern of file names.
    path = parse_location(archive.path)
    root = _root(path)
    return not archive.pattern and (
        is_answer(path)
        or any(is_stac(root / name) for name in names if name.lower().endswith(_SUFFIXES))
    )


def _items(archive: Archive) -> Iterator[SceneItem]:
    # In order of path; links of a Collection or Catalog are followed. A broken JSON file is an item
    # too: it fails when it is read, so that it is reported.
    path = parse_location(archive.path).absolute()
    if path.suffix == ".parquet":
        for name, text, table in read_answer(path):
            yield SceneItem(table or str(path), f"{path.name}#{name}", text)
        return
    if not path.is_dir():
        yield from list_json_items(path, path.parent, set())
        return
    for name in list_archive(path).ending(_SUFFIXES):
        if is_known_item(str(path / name), name):
            yield SceneItem(str(path / name), name)
        else:
            yield from list_json_items(path / name, path, None)


def _root(path: Location) -> Location:
    # The folder that an archive's hrefs may not leave.
    return path if path.is_dir() else path.parent


def _root_of(item: SceneItem, archive: Archive) -> Location:
    # Of an item in a table, the table's folder: that of the one that was searched, too.
    if archive.path.endswith(SUFFIXES):
        return parse_location(item.path).parent
    return _root(parse_location(archive.path).absolute())


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    # The headers of the bands' files give CRS, footprint and dtypes. InputError: a missing band, no
    # time, a forbidden href, a CRS that contradicts the item.
    root = _root_of(item, archive)
    content = _load(item, root)
    try:
        return _read_item(item, content, root, archive, bands)
    except (
        AttributeError,
        LookupError,
        OverflowError,
        TypeError,
        ValueError,
        shapely.errors.ShapelyError,
    ) as error:
        # JSON of another shape than STAC's, in any part of it.
        raise InputError(
            f"{item.path} is not a valid STAC item ({type(error).__name__}: {error}): correct it, "
            "or fetch it anew"
        ) from error


class _Headers:
    """Headers of an item's files, each opened once."""

    def __init__(self, folder: Location, root: Location) -> None:
        self._folder, self._root = folder, root
        self._headers: dict[str, Header] = {}

    def open(self, band: AssetBand) -> Header:
        """Return the header of the band's file."""
        href = resolve_href(band.href, self._folder, self._root)
        if href not in self._headers:
            self._headers[href] = open_header(href)
        return self._headers[href]


def _read_item(
    item: SceneItem, content: dict[str, Any], root: Location, archive: Archive, bands: Sequence[str]
) -> Scene:
    scene_id = str(content.get("id") or item.key)
    properties = content.get("properties") or {}
    headers = _Headers(parse_location(item.path).parent, root)
    family = modis_family(scene_id)
    described = {**properties, "id": scene_id}
    asset_bands = [
        as_published(band, described, family)
        for key, asset in content["assets"].items()
        if has_pixels(asset)
        for band in list_asset_bands(key, asset, properties)
    ]
    asset_bands = tell_pictures(asset_bands, properties)
    bands_by_name = find_by_record(asset_bands, bands) | name_bands(asset_bands, archive)
    if not bands or not set(bands) <= set(bands_by_name):
        # What the item does not describe, the files may: an asset of several bands that has no band
        # records. Of pictures only those are opened that are asked for.
        asset_bands = [
            file_band
            for band in asset_bands
            for file_band in (
                [band] if band.described_for(bands) else band.split(headers.open(band))
            )
        ]
        bands_by_name = find_by_record(asset_bands, bands) | name_bands(asset_bands, archive)
    selected = _select(bands_by_name, bands, (), scene_id)
    mask = find_mask(asset_bands, [b for _, b in selected], archive, properties, scene_id)
    if not bands:
        selected = _select(bands_by_name, bands, [b for _, b in mask.layers], scene_id)
    scene_bands = [
        (_scene_band(name, band, headers, archive), headers.open(band)) for name, band in selected
    ]
    scene_bands += [
        _quality_band(name, band, mask, headers, scene_id) for name, band in mask.layers
    ]
    if archive.verify:
        _verify([band for _, band in [*selected, *mask.layers]], content, headers)
    unmasked = (("unmasked", " ".join(mask.unmasked)),) if mask.unmasked else ()
    scene = make_scene(
        scene_id,
        STAC.name,
        _acquired(properties, archive, scene_id),
        scene_bands,
        cloud=parse_number(properties.get("eo:cloud_cover")),
        clear=mask.tests,
        properties=_scene_properties(content) + unmasked,
    )
    _check_location(scene, content)
    return with_fingerprint(scene, {key: entry for key, entry in content.items() if key != "links"})


def _select(
    bands_by_name: Mapping[str, AssetBand],
    bands: Sequence[str],
    quality: Sequence[AssetBand],
    scene_id: str,
) -> list[tuple[str, AssetBand]]:
    # The requested bands in their order, or all but the quality bands in order of name. Pictures
    # are taken by their own names alone.
    names = bands or sorted(
        name
        for name, band in bands_by_name.items()
        if not band.is_picture and not any(band is layer for layer in quality)
    )
    require_bands(
        f"scene {scene_id}",
        [name for name in names if name not in bands_by_name],
        list(bands_by_name) if names else [],
        "map its names under scenes.bands",
    )
    return [(name, bands_by_name[name]) for name in names]


def _scene_band(name: str, band: AssetBand, headers: _Headers, archive: Archive) -> Band:
    return headers.open(band).band(name, band.index, archive, band.metadata)


def _quality_band(
    name: str, band: AssetBand, mask: ItemMask, headers: _Headers, scene_id: str
) -> tuple[Band, Header]:
    try:
        header = headers.open(band)
    except ReadError as error:
        raise InputError(
            f"scene {scene_id}: {error}. Its quality asset {band.asset!r} says which pixels are "
            "valid: download it, or set scenes.mask to [] to go without"
        ) from error
    quality_band = header.quality_band(name, band.index)
    return (replace(quality_band, nodata=None) if mask.fill_is_code else quality_band), header


def _verify(asset_bands: Sequence[AssetBand], content: dict[str, Any], headers: _Headers) -> None:
    for band in {band.asset: band for band in asset_bands}.values():
        asset = content["assets"][band.asset]
        # checksum:multihash: the name before version 2 of the file extension.
        checksum = asset.get("file:checksum") or asset.get("checksum:multihash")
        verify_file(headers.open(band).href, checksum)


def _load(item: SceneItem, root: Location) -> dict[str, Any]:
    try:
        content = parse_json(item.text or location_of(item.path, root, root).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{item.path} is not a STAC item: {error}") from error
    if not is_item(content) or not isinstance(content["assets"], dict):
        raise InputError(f"{item.path} is not a STAC item: it must be a Feature with assets")
    # A signature is made when a file is opened: it is in no table, message or fingerprint.
    return dict(strip_credentials(content))


# Property of the scene → STAC properties, of which the first that is set gives it.
_PROPERTIES = {
    "sun_elevation_deg": ("view:sun_elevation", "eo:sun_elevation"),
    "sun_azimuth_deg": ("view:sun_azimuth", "eo:sun_azimuth"),
    "platform": ("platform", "eo:platform", "constellation"),
    "tile": ("grid:code", "s2:mgrs_tile"),
    "wrs_path": ("landsat:wrs_path",),
    "wrs_row": ("landsat:wrs_row",),
    "relative_orbit": ("sat:relative_orbit",),
    "level": ("landsat:correction", "s2:product_type", "processing:level"),
    "tier": ("landsat:collection_category",),
    "processing_baseline": (
        "s2:processing_baseline",
        "sentinel:processing_baseline",
        "processing:version",
    ),
}


def _scene_properties(content: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    properties = dict(content.get("properties") or {})
    # Catalogues name a collection after its level: sentinel-2-l2a, landsat-c2-l1.
    collection = str(content.get("collection") or "").lower()
    if level := re.search(r"-(l[12][a-z]*)$", collection):
        properties.setdefault("processing:level", level[1].upper())
    if constellation := re.match(r"sentinel-2|landsat", collection):
        properties.setdefault("constellation", constellation[0])
    scene_properties = []
    for name, keys in _PROPERTIES.items():
        values = [properties[key] for key in keys if properties.get(key) is not None]
        if values:
            scene_properties.append((name, str(values[0])))
    return tuple(scene_properties)


def _acquired(properties: Mapping[str, Any], archive: Archive, scene_id: str) -> datetime | None:
    # The run file's word comes first, then the middle of the item's span, then its datetime.
    if archive.timeless:
        return None
    if archive.date:
        return parse_time(archive.date)
    start, end = (_span(properties, f"{bound}_datetime", scene_id) for bound in ("start", "end"))
    if start and end:
        if start[0] > end[1]:
            raise InputError(
                f"scene {scene_id} ends before it starts: mend its properties.start_datetime "
                "or end_datetime"
            )
        return middle(start[0], end[1])
    moment = _span(properties, "datetime", scene_id)
    if moment is None:
        raise InputError(
            f"scene {scene_id} has no datetime, nor both start_datetime and end_datetime: give "
            "properties.datetime as 2023-05-14T10:10:31Z, or scenes.date or scenes.timeless"
        )
    return middle(*moment)


def _span(properties: Mapping[str, Any], name: str, scene_id: str) -> Span | None:
    # The span of a property, None where it is not set.
    text = properties.get(name)
    if text is None:
        return None
    span = parse_span(str(text))
    if span is None:
        raise InputError(
            f"scene {scene_id} has {name} {text!r}: give properties.{name} as 2023-05-14T10:10:31Z"
        )
    return span


def _check_location(scene: Scene, content: Mapping[str, Any]) -> None:
    # The item's geometry and CRS are compared with the raster's: if they contradict each other, one
    # of them is wrong.
    if content.get("geometry"):
        _check_geometry(scene, content["geometry"])
    properties = content.get("properties") or {}
    epsg = properties.get("proj:epsg")
    crs = (
        properties.get("proj:code")
        or (f"EPSG:{epsg}" if epsg else None)
        or properties.get("proj:wkt2")
    )
    per_asset = any(
        key in asset
        for asset in content["assets"].values()
        for key in ("proj:code", "proj:epsg", "proj:wkt2")
    )
    if crs and not per_asset and not grid.same_crs(crs, scene.crs):
        raise InputError(
            f"scene {scene.scene_id}: the item says CRS {crs[:40]}, its raster {scene.crs[:40]}: "
            "one of them is wrong"
        )


def _check_geometry(scene: Scene, geojson: Any) -> None:
    outline = shapely.from_wkb(scene.footprint)
    try:
        geometry = shapely.geometry.shape(geojson)
        west, south, east, north = geometry.bounds
        # As regions may: longitudes of 0 to 360, or beyond 180 where it lies across.
        if west < -540 or east > 540 or south < -90.001 or north > 90.001:
            raise ValueError(f"its bounds {geometry.bounds} are not degrees")
        polygons = only_polygons(shapely.force_2d(geometry))
        geometry = geometry if polygons.is_empty else short_way_round(polygons)
    except (shapely.errors.ShapelyError, LookupError, TypeError, ValueError, AttributeError) as e:
        raise InputError(
            f"scene {scene.scene_id}: the item's geometry is not a valid one ({e}): correct it"
        ) from e
    if outline.disjoint(geometry):
        raise InputError(
            f"scene {scene.scene_id}: the item lies at {_degrees(geometry.bounds)}, its raster "
            f"(CRS {scene.crs[:40]}) at {_degrees(outline.bounds)}: one of them is wrong; "
            "correct the item's geometry or the raster's CRS"
        )


def _degrees(bounds: Sequence[float]) -> str:
    return f"lon {bounds[0]:.3f}–{bounds[2]:.3f}, lat {bounds[1]:.3f}–{bounds[3]:.3f}"


def prefixes(item: SceneItem) -> Iterator[str]:
    """Tell how the paths of an item's files begin, for `Source.prefixes`."""
    if not item.text:  # an item of a list is its text
        yield beside(item.path)


def _named(item: SceneItem, archive: Archive, _: Scene | None) -> Iterator[str]:
    root = _root_of(item, archive)
    folder = parse_location(item.path).parent
    try:
        assets = _load(item, root)["assets"].values()
    except InputError:
        return
    for asset in assets:
        if isinstance(asset, dict) and has_pixels(asset) and isinstance(asset.get("href"), str):
            yield from places_of(asset["href"], folder, root)


STAC = Source("stac", _accepts, _items, _read, prefixes=prefixes, named=_named)

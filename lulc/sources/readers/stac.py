"""Scenes from STAC items on disk: a folder of them, one item, a Collection, a Catalog, or an ItemCollection. STAC 0.7 to 1.1."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely
import shapely.geometry

from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo import grid
from lulc.raster.access import ReadError
from lulc.raster.signing import unsigned
from lulc.redact import redact_url
from lulc.sources.checksums import verify_file
from lulc.sources.header import Header, make_scene, open_header, parse_json, with_fingerprint
from lulc.sources.href import resolve_href
from lulc.sources.readers._stac_bands import (
    Offer,
    find_own,
    find_quality,
    has_data,
    list_offers,
    name_bands,
    number,
)
from lulc.sources.readers._stac_scaling import as_published
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    """Whether one of the JSON files is STAC, where the run file gives no pattern of file names."""
    place = Path(archive.path)
    root = place if place.is_dir() else place.parent
    return not archive.pattern and any(
        is_stac(root / name) for name in names if name.endswith(".json")
    )


def _items(archive: Archive) -> Iterator[SceneItem]:
    """The archive's items in order of path; links of a Collection or Catalog are followed.

    A broken JSON file is an item too: it fails when it is read, and so is not lost in silence.
    """
    place = Path(archive.path).absolute()
    if place.is_dir():
        for path in sorted(place.rglob("*.json")):
            if not any(part.startswith(".") for part in path.relative_to(place).parts):
                yield from _listed(path, place, None)
    else:
        yield from _listed(place, place.parent, set())


def is_stac(path: Path) -> bool:
    """Whether a JSON file is a STAC item, a list of items, a Collection or a Catalog."""
    try:
        found = parse_json(path.read_bytes())
    except ValueError:
        return False
    return isinstance(found, dict) and (
        "stac_version" in found or _is_item(found) or any(map(_is_item, _list(found, "features")))
    )


def _list(found: dict[str, Any], key: str) -> list[Any]:
    value = found.get(key)
    return value if isinstance(value, list) else []


def _is_item(found: Any) -> bool:
    return isinstance(found, dict) and found.get("type") == "Feature" and "assets" in found


def _listed(path: Path, root: Path, followed: set[Path] | None) -> Iterator[SceneItem]:
    # `followed` is None in a folder, where every item is found by itself and links need not be followed.
    key = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    try:
        found = parse_json(path.read_bytes())
    except (OSError, ValueError):
        yield SceneItem(str(path), key)
        return
    if _is_item(found):
        yield SceneItem(str(path), key)
    elif isinstance(found, dict) and found.get("type") == "FeatureCollection":
        for n, feature in enumerate(_list(found, "features")):
            if _is_item(feature):
                yield SceneItem(str(path), f"{key}#{feature.get('id', n)}", json.dumps(feature))
    elif isinstance(found, dict) and followed is not None:
        followed.add(path.resolve())
        links = [
            x
            for x in _list(found, "links")
            if isinstance(x, dict) and x.get("rel") in ("item", "child")
        ]
        for href in sorted(str(x.get("href")) for x in links):
            try:
                target = _on_disk(href, path.parent, root)
            except InputError:
                yield SceneItem(
                    href, href
                )  # Read, it fails for the same reason, and so gets into the ledger.
                continue
            if target.resolve() not in followed:
                followed.add(target.resolve())
                yield from _listed(target, root, followed)


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    """The item's Scene with the bands named (all where none is); their files' headers give CRS, footprint, dtype.

    InputError names the item and what is wrong: a missing band, no time, a forbidden href, a CRS that contradicts the item.
    """
    place = Path(archive.path).absolute()
    root = place if place.is_dir() else place.parent
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
        # JSON of another shape than STAC's, in whichever of its parts.
        raise InputError(
            f"{item.path} is not a valid STAC item: {type(error).__name__}: {error}"
        ) from error


def _read_item(
    item: SceneItem, content: dict[str, Any], root: Path, archive: Archive, bands: Sequence[str]
) -> Scene:
    folder = Path(item.path).parent
    scene_id = str(content.get("id") or item.key)
    properties = content.get("properties") or {}
    headers: dict[str, Header] = {}

    def header(offer: Offer) -> Header:
        href = resolve_href(offer.href, folder, root)
        if href not in headers:
            headers[href] = open_header(href)
        return headers[href]

    listed = (
        o
        for key, asset in content["assets"].items()
        if has_data(asset)
        for o in list_offers(key, asset, properties)
    )
    offers = [as_published(o, properties) for o in listed]
    named = find_own(offers, bands) | name_bands(offers, archive)
    if not bands or not set(bands) <= set(named):
        # What the item does not describe, the files may: an asset of several bands that carries no band records.
        offers = [
            o
            for offer in offers
            for o in (offer.split(header(offer)) if not offer.described else [offer])
        ]
        named = find_own(offers, bands) | name_bands(offers, archive)
    quality, tests = find_quality(offers, archive, scene_id) or (None, ())
    wanted = {n: o for n, o in named.items() if (n in bands if bands else o is not quality)}
    missing = [n for n in bands if n not in wanted]
    if missing or not wanted:
        has = ", ".join(named) or "none"
        raise InputError(
            f"scene {scene_id} has no band {', '.join(missing)}; it has {has}: map its names under scenes.bands"
        )
    ordered = [(n, wanted[n]) for n in (bands or sorted(wanted))]
    found = [
        (header(o).band(n, o.index, archive, o.said | {"kind": o.kind}), header(o))
        for n, o in ordered
    ]
    if quality:
        try:
            codes = header(quality)
        except ReadError as error:
            raise InputError(
                f"scene {scene_id}: {error}. Its quality asset {quality.asset!r} says which pixels are usable: fetch it, or set "
                "scenes.mask to [] to go without"
            ) from error
        found.append(
            (
                codes.band("quality", quality.index, Archive(archive.path), {"kind": "quality"}),
                codes,
            )
        )
    if archive.verify:
        for offer in {o.asset: o for o in (*wanted.values(), quality) if o}.values():
            # The name before version 2 of the file extension, too.
            asset = content["assets"][offer.asset]
            verify_file(
                header(offer).href, asset.get("file:checksum") or asset.get("checksum:multihash")
            )
    rest = {
        "cloud": number(properties.get("eo:cloud_cover")),
        "clear": tests,
        "properties": _known(properties),
    }
    scene = make_scene(scene_id, STAC.name, _when(properties, scene_id), found, **rest)
    _check_place(scene, content)
    return with_fingerprint(scene, {k: v for k, v in content.items() if k != "links"})


def _on_disk(href: str, folder: Path, root: Path) -> Path:
    found = resolve_href(href, folder, root)
    if "://" in found:
        raise InputError(
            f"item {redact_url(href)} is not on this disk: put it beside the rest of the archive"
        )
    return Path(found)


def _load(item: SceneItem, root: Path) -> dict[str, Any]:
    try:
        content = parse_json(item.text or _on_disk(item.path, root, root).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{item.path} is not a STAC item: {error}") from error
    if not _is_item(content) or not isinstance(content["assets"], dict):
        raise InputError(f"{item.path} is not a STAC item: it must be a Feature with assets")
    # A signature is made when a file is opened: it is in no table, message or fingerprint.
    return dict(unsigned(content))


_KNOWN = {
    "sun_elevation_deg": ("view:sun_elevation", "eo:sun_elevation"),
    "sun_azimuth_deg": ("view:sun_azimuth", "eo:sun_azimuth"),
    "platform": ("platform", "eo:platform"),
    "tile": ("grid:code",),
    "relative_orbit": ("sat:relative_orbit",),
    "processing_baseline": ("s2:processing_baseline", "processing:version"),
}


def _known(properties: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    said = (
        (name, next((properties[k] for k in keys if properties.get(k) is not None), None))
        for name, keys in _KNOWN.items()
    )
    return tuple((name, str(value)) for name, value in said if value is not None)


def _when(properties: Mapping[str, Any], scene_id: str) -> datetime:
    text = properties.get("datetime") or properties.get("start_datetime")
    try:
        found = datetime.fromisoformat(str(text).upper())
    except ValueError as error:
        raise InputError(
            f"scene {scene_id} has datetime {text!r}: give properties.datetime as 2023-05-14T10:10:31Z"
        ) from error
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _check_place(scene: Scene, content: Mapping[str, Any]) -> None:
    # The item's own word on where it lies is held against the raster's: where they contradict each other one of them lies.
    properties = content.get("properties") or {}
    outline = shapely.from_wkb(scene.footprint)
    if content.get("geometry"):
        said = shapely.make_valid(shapely.geometry.shape(content["geometry"]))
        if outline.disjoint(said):
            raise InputError(
                f"scene {scene.scene_id}: the item lies at {_degrees(said.bounds)}, its raster (CRS {scene.crs[:40]}) at "
                f"{_degrees(outline.bounds)}: one of them is wrong; mend the item's geometry or the raster's CRS"
            )
    epsg = properties.get("proj:epsg")
    crs = (
        properties.get("proj:code")
        or (f"EPSG:{epsg}" if epsg else None)
        or properties.get("proj:wkt2")
    )
    own = any(
        key in asset
        for asset in content["assets"].values()
        for key in ("proj:code", "proj:epsg", "proj:wkt2")
    )
    if crs and not own and not grid.same_crs(crs, scene.crs):
        raise InputError(
            f"scene {scene.scene_id}: the item says CRS {crs[:40]}, its raster {scene.crs[:40]}: one of them is wrong"
        )


def _degrees(bounds: Sequence[float]) -> str:
    return f"lon {bounds[0]:.3f}–{bounds[2]:.3f}, lat {bounds[1]:.3f}–{bounds[3]:.3f}"


STAC = Source("stac", _accepts, _items, _read)

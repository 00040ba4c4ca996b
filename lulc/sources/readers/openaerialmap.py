"""Scenes from answers of OpenAerialMap's metadata API (https://api.openaerialmap.org/meta), kept as JSON files.

A record names its image (`uuid`), place and days; hotosm/oam-api, docs of GET /meta, and the OIN metadata specification.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import shapely
import shapely.geometry

from lulc.config import Archive
from lulc.errors import InputError
from lulc.sources.header import parse_json
from lulc.sources.readers import stac
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    """Whether one of the JSON files holds records of images."""
    place = Path(archive.path)
    root = place if place.is_dir() else place.parent
    return not archive.pattern and any(
        _records(root / name) for name in names if name.endswith(".json")
    )


def _items(archive: Archive) -> Iterator[SceneItem]:
    """The archive's images in order of file and record. A broken JSON file is an item too: it fails when it is read."""
    place = Path(archive.path).absolute()
    root = place if place.is_dir() else place.parent
    paths = (
        p
        for p in sorted(place.rglob("*.json"))
        if not any(part.startswith(".") for part in p.relative_to(place).parts)
    )
    for path in paths if place.is_dir() else [place]:
        key = path.relative_to(root).as_posix()
        records = _records(path)
        if records is None:
            yield SceneItem(str(path), key)
        for n, record in enumerate(records or ()):
            yield SceneItem(str(path), f"{key}#{record.get('_id', n)}", json.dumps(record))


def _records(path: Path) -> list[dict[str, Any]] | None:
    # None where the file is no JSON; of an answer all records, of a single one's file that.
    try:
        found = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    listed = found.get("results", found) if isinstance(found, dict) else []
    return [
        r
        for r in (listed if isinstance(listed, list) else [listed])
        if isinstance(r, dict) and "uuid" in r
    ]


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    """The image's Scene with the bands named (all where none is): red, green and blue as the file says; its alpha makes valid.

    InputError names the record and what is wrong: no days, a forbidden address, an image that lies elsewhere.
    """
    if not item.text:
        raise InputError(f"{item.path} is not JSON: fetch the answer of OpenAerialMap anew")
    record = json.loads(item.text)
    # `gsd` is not taken: older records give it in degrees.
    content = {
        "type": "Feature",
        "id": str(record.get("_id") or Path(str(record["uuid"])).stem),
        "geometry": _outline(record),
        "properties": {
            "datetime": record.get("acquisition_start"),
            "platform": record.get("platform"),
        },
        "assets": {
            "image": {"href": str(record["uuid"]), "type": "image/tiff; application=geotiff"}
        },
    }
    scene = stac.STAC.read(replace(item, text=json.dumps(content)), archive, bands)
    return replace(scene, source=OPENAERIALMAP.name)


def _outline(record: dict[str, Any]) -> dict[str, Any] | None:
    if record.get("geojson") or not record.get("bbox"):
        return record.get("geojson")
    try:
        return dict(shapely.geometry.mapping(shapely.box(*record["bbox"])))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"image {record.get('_id')} has bbox {record['bbox']}: it must be xmin, ymin, xmax, ymax"
        ) from error


OPENAERIALMAP = Source("openaerialmap", _accepts, _items, _read)

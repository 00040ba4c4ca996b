"""Scenes from responses of OpenAerialMap's metadata API, saved as JSON files.

The API is at https://api.openaerialmap.org/meta. A record names its image (`uuid`), place and days;
hotosm/oam-api, docs of GET /meta, and the OIN metadata specification.
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
from lulc.location import Location, parse_location, relative_name
from lulc.sources.area import make_box
from lulc.sources.header import parse_json
from lulc.sources.href import places_of
from lulc.sources.listing import list_archive
from lulc.sources.readers import stac
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    # Whether one of the JSON files holds records of images.
    path = parse_location(archive.path)
    root = path if path.is_dir() else path.parent
    return not archive.pattern and any(
        _records(root / name) for name in names if name.endswith(".json")
    )


def _items(archive: Archive) -> Iterator[SceneItem]:
    # The images in order of file and record. A broken JSON file is an item too: it fails when it is
    # read, so that it is reported.
    path = parse_location(archive.path).absolute()
    root = path if path.is_dir() else path.parent
    files = [path]
    if path.is_dir():
        files = [path / name for name in list_archive(path).ending((".json",))]
    for file in files:
        key = relative_name(file, root)
        records = _records(file)
        if records is None:
            yield SceneItem(str(file), key)
        for number, record in enumerate(records or ()):
            yield SceneItem(str(file), f"{key}#{record.get('_id', number)}", json.dumps(record))


def _records(path: Location) -> list[dict[str, Any]] | None:
    # The records of a response, or the one of a single record's file; None where it is not JSON.
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    records = content.get("results", content) if isinstance(content, dict) else []
    if not isinstance(records, list):
        records = [records]
    return [record for record in records if isinstance(record, dict) and "uuid" in record]


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    # Read as a STAC item. The file names the bands: red, green, blue, and alpha for valid pixels.
    if not item.text:
        raise InputError(f"{item.path} is not JSON: download OpenAerialMap's response again")
    record = json.loads(item.text)
    # `gsd` is not used: older records give it in degrees.
    stac_item = {
        "type": "Feature",
        "id": str(record.get("_id") or Path(str(record["uuid"])).stem),
        "geometry": _outline(record),
        "properties": {
            "datetime": record.get("acquisition_start"),
            "start_datetime": record.get("acquisition_start"),
            "end_datetime": record.get("acquisition_end"),
            "platform": record.get("platform"),
        },
        "assets": {
            "image": {"href": str(record["uuid"]), "type": "image/tiff; application=geotiff"}
        },
    }
    scene = stac.STAC.read(replace(item, text=json.dumps(stac_item)), archive, bands)
    return replace(scene, source=OPENAERIALMAP.name)


def _outline(record: dict[str, Any]) -> dict[str, Any] | None:
    if record.get("geojson") or not record.get("bbox"):
        return record.get("geojson")
    try:
        return dict(shapely.geometry.mapping(make_box(record["bbox"])))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"image {record.get('_id')} has bbox {record['bbox']}: it must be xmin, ymin, xmax, "
            "ymax"
        ) from error


def _named(item: SceneItem, archive: Archive, _: Scene | None) -> Iterator[str]:
    path = parse_location(archive.path).absolute()
    root = path if path.is_dir() else path.parent
    if item.text:
        uuid = str(json.loads(item.text)["uuid"])
        yield from places_of(uuid, parse_location(item.path).parent, root)


OPENAERIALMAP = Source(
    "openaerialmap", _accepts, _items, _read, prefixes=stac.prefixes, named=_named
)

"""Scenes from tables of STAC items (stac-geoparquet): a file, or a folder of files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lulc.config import Archive
from lulc.location import parse_location, relative_name
from lulc.sources.readers.stac import STAC
from lulc.sources.scene import Scene
from lulc.sources.source import SceneItem, Source
from lulc.tables.stac_geoparquet import SUFFIXES, is_items_table, read_items


def _accepts(archive: Archive, names: Sequence[str]) -> bool:
    # Whether its files are tables of items, where the run file gives no pattern of file names.
    has_table = any(name.endswith(SUFFIXES) for name in names)
    return not archive.pattern and has_table and is_items_table(parse_location(archive.path))


def _items(archive: Archive) -> Iterator[SceneItem]:
    path = parse_location(archive.path).absolute()
    root = path if path.is_dir() else path.parent
    for file, item in read_items(path):
        key = f"{relative_name(file, root)}#{item['id']}"
        yield SceneItem(str(file), key, json.dumps(item))


def _read(item: SceneItem, archive: Archive, bands: Sequence[str] = ()) -> Scene:
    return replace(STAC.read(item, archive, bands), source=STAC_GEOPARQUET.name)


STAC_GEOPARQUET = Source(
    "stac-geoparquet", _accepts, _items, _read, prefixes=STAC.prefixes, named=STAC.named
)

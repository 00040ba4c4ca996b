"""The items of STAC files: an item, a list of items, a Collection or Catalog and its links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lulc.errors import InputError
from lulc.location import Location, StorePath, is_below, parse_location, relative_name
from lulc.redact import redact_url
from lulc.sources.header import parse_json
from lulc.sources.href import resolve_href
from lulc.sources.source import SceneItem


def is_stac(path: Location) -> bool:
    """Return whether a JSON file is a STAC item, a list of items, a Collection or a Catalog."""
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    is_versioned = isinstance(content, dict) and "stac_version" in content
    return is_versioned or is_item(content) or any(map(is_item, _features_of(content)))


def _features_of(content: Any) -> list[Any]:
    return content if isinstance(content, list) else _list_of(content, "features")


def _list_of(content: Any, key: str) -> list[Any]:
    entries = content.get(key) if isinstance(content, dict) else None
    return entries if isinstance(entries, list) else []


def is_item(content: Any) -> bool:
    """Return whether JSON content is a STAC item."""
    return isinstance(content, dict) and content.get("type") == "Feature" and "assets" in content


def list_json_items(
    path: Location, root: Location, followed: set[Location] | None
) -> Iterator[SceneItem]:
    """List the items of a JSON file; one that is broken is an item that fails when it is read.

    Args:
        path: of the file.
        root: the archive's root, which no link may leave.
        followed: files whose links were followed; None in a folder, where every item is listed
            itself and links need not be followed.
    """
    key = relative_name(path, root) if is_below(path, root) else str(path)
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        yield SceneItem(str(path), key)
        return
    features = _features_of(content)
    if is_item(content):
        yield SceneItem(str(path), key)
    elif any(map(is_item, features)):
        # Of a list of items one that is none is an item that fails; any other list is passed over.
        for number, feature in enumerate(features):
            name = feature.get("id", number) if isinstance(feature, dict) else number
            yield SceneItem(str(path), f"{key}#{name}", json.dumps(feature))
    elif isinstance(content, dict) and {"stac_version", "geometry"} <= set(content):
        yield SceneItem(str(path), key)  # It fails when it is read, for what it lacks.
    elif isinstance(content, dict) and followed is not None:
        followed.add(path.resolve())
        yield from _follow_links(content, path.parent, root, followed)


def _follow_links(
    catalogue: dict[str, Any], folder: Location, root: Location, followed: set[Location]
) -> Iterator[SceneItem]:
    hrefs = sorted(
        str(link.get("href"))
        for link in _list_of(catalogue, "links")
        if isinstance(link, dict) and link.get("rel") in ("item", "child")
    )
    for href in hrefs:
        try:
            target = location_of(href, folder, root)
        except InputError:
            # It fails for the same reason when it is read, so that it gets into the ledger.
            yield SceneItem(href, href)
            continue
        if target.resolve() not in followed:
            followed.add(target.resolve())
            yield from list_json_items(target, root, followed)


def location_of(href: str, folder: Location, root: Location) -> Location:
    """Return where an item lies that a link names.

    Raises:
        InputError: it does not lie in the archive.
    """
    resolved = resolve_href(href, folder, root)
    is_web = resolved.startswith(("http://", "https://"))
    location = root if is_web else parse_location(resolved)
    if is_web or (isinstance(location, StorePath) and not is_below(location, root)):
        raise InputError(
            f"item {redact_url(href)} is not in the archive {root}: put it into its folder"
        )
    return location

"""Items of a static STAC catalogue, whose files only link to each other, by area and days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any
from urllib.parse import urljoin, urlsplit

from lulc.errors import InputError
from lulc.redact import redact_text, redact_url

Box = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax in degrees, xmin <= xmax."""

_THREADS = 16  # files read at once
_MAX_CATALOGUES = 100_000


@dataclass(frozen=True)
class CatalogueFilter:
    """Which items of a catalogue are listed."""

    collections: Sequence[str]
    """Shell patterns: a collection's id, title, `linz:slug` or address must match one."""
    boxes: Sequence[Box]
    """The items' boxes must touch one; all pass where there are none."""
    times: Sequence[str]
    """Days, `2023-01-01` or `2023-01-01/2023-12-31`, `..` for an open end; one must overlap."""


def crawl(url: str, selection: CatalogueFilter) -> Iterator[dict[str, Any]]:
    """List the items below a Catalog or Collection.

    Args:
        url: The address of the Catalog or Collection.
        selection: Which items are listed.

    Returns:
        The items as JSON objects, with absolute hrefs of their assets.

    Raises:
        InputError: A file of the catalogue cannot be read, or it has too many collections.
    """
    from pystac_client.exceptions import APIError

    from lulc.sources.catalogues.http import connect

    stac_io = connect(url)

    def read(address: str) -> tuple[str, dict[str, Any]]:
        try:
            return address, stac_io.read_json(address)
        except (APIError, ValueError) as error:
            raise InputError(
                f"{redact_url(address)} of the catalogue cannot be read: {redact_text(error, 300)}"
            ) from error

    # Level by level: the catalogues of one level, then their items, then the level below.
    visited, level = {url}, [url]
    with ThreadPoolExecutor(_THREADS) as pool:
        while level:
            items, children = [], []
            for address, catalogue in pool.map(read, level):
                is_collection = catalogue.get("type") == "Collection"
                if is_collection and not _may_hold_items(address, catalogue, selection):
                    continue
                children += _links(address, catalogue, "child")
                items += _links(address, catalogue, "item") if is_collection else []
            for address, item in pool.map(read, dict.fromkeys(items)):
                if selects(selection, item):
                    yield _with_absolute_hrefs(item, address)
            level = [address for address in dict.fromkeys(children) if address not in visited]
            visited.update(level)
            if len(visited) > _MAX_CATALOGUES:
                raise InputError(
                    f"{url} links to more than {_MAX_CATALOGUES:,} collections: "
                    "name a catalogue further down"
                )


def _links(address: str, catalogue: dict[str, Any], rel: str) -> list[str]:
    # Addresses of the catalogue's links of this relation.
    links = catalogue.get("links")
    if not isinstance(links, list):
        return []
    return [
        urljoin(address, str(link.get("href")))
        for link in links
        if isinstance(link, dict) and link.get("rel") == rel
    ]


def _may_hold_items(address: str, collection: dict[str, Any], selection: CatalogueFilter) -> bool:
    # Whether items at or below a collection may be selected.
    names = (
        str(collection.get("id")),
        str(collection.get("title")),
        str(collection.get("linz:slug")),
        urlsplit(address).path,
    )
    if not any(fnmatch(name, pattern) for name in names for pattern in selection.collections):
        # Collections below it may match.
        return bool(_links(address, collection, "child"))
    extent = collection.get("extent") or {}
    boxes = (extent.get("spatial") or {}).get("bbox") or []
    intervals = (extent.get("temporal") or {}).get("interval") or []
    # STAC 1.0 Collection specification, Spatial Extent Object: of several the first covers the
    # others.
    return (not boxes or _touches(boxes[0], selection.boxes)) and (
        not intervals or _overlaps(intervals[0][0], intervals[0][1], selection.times)
    )


def selects(selection: CatalogueFilter, item: dict[str, Any]) -> bool:
    """Return whether an item's box and days are those of a filter; its collection is not asked."""
    properties = item.get("properties") or {}
    first = properties.get("start_datetime") or properties.get("datetime")
    last = properties.get("end_datetime") or properties.get("datetime")
    return _touches(item.get("bbox"), selection.boxes) and _overlaps(first, last, selection.times)


def _touches(bounds: Any, boxes: Sequence[Box]) -> bool:
    # GeoJSON (RFC 7946, section 5): two or three coordinates a corner; west > east across the
    # antimeridian. What tells no box may lie anywhere.
    is_box = isinstance(bounds, list) and len(bounds) in (4, 6)
    if not boxes or not is_box or not all(isinstance(n, int | float) for n in bounds):
        return True
    half = len(bounds) // 2
    xmin, ymin, xmax, ymax = bounds[0], bounds[1], bounds[half], bounds[half + 1]
    if xmin > xmax:
        xmax += 360
    return any(
        xmin + turn <= box[2] and xmax + turn >= box[0] and ymin <= box[3] and ymax >= box[1]
        for box in boxes
        for turn in (-360, 0, 360)
    )


def _overlaps(first: str | None, last: str | None, times: Sequence[str]) -> bool:
    # ISO 8601 days compare as texts; an end that is missing is open.
    for time in times:
        start, _, end = time.partition("/")
        begins, ends = start.replace("..", ""), (end or start).replace("..", "9999")
        if (last or "9999")[:10] >= begins and (first or "")[:10] <= ends:
            return True
    return False


def _with_absolute_hrefs(item: dict[str, Any], address: str) -> dict[str, Any]:
    assets = item.get("assets")
    if not isinstance(assets, dict):
        return item  # It fails when it is read, so that it is reported.
    absolute = {
        key: asset | {"href": urljoin(address, str(asset.get("href")))}
        for key, asset in assets.items()
        if isinstance(asset, dict)
    }
    return item | {"assets": absolute}

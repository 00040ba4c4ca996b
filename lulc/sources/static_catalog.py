"""The items of a static catalogue, whose files only link to each other: collections and items of an area and of days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from typing import Any
from urllib.parse import urljoin, urlsplit

from lulc.errors import InputError

Box = tuple[float, float, float, float]

_AT_ONCE = 16  # files
_MOST_CATALOGUES = 100_000


def crawl(
    url: str, collections: Sequence[str], boxes: Sequence[Box], times: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The items below a Catalog or Collection that touch a box and a span of days, the hrefs of their assets made absolute.

    collections: shell patterns, of which a collection's id, title, `linz:slug` or address must match one. Everything is asked
    for where there are no boxes. InputError where a file of the catalogue cannot be read.
    """
    from pystac_client.exceptions import APIError

    from lulc.sources.http import connect, describe_failure

    web = connect(url)

    def read(address: str) -> tuple[str, dict[str, Any]]:
        try:
            found = web.read_json(address)
        except (APIError, ValueError) as error:
            raise InputError(
                f"{address} of the catalogue cannot be read: {describe_failure(error)}"
            ) from error
        return address, found

    seen, waiting = {url}, [url]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while waiting:
            items, below = [], []
            for address, found in pool.map(read, waiting):
                if found.get("type") == "Collection" and not _wanted(
                    address, found, collections, boxes, times
                ):
                    continue
                below += _links(address, found, "child")
                items += _links(address, found, "item") if found.get("type") == "Collection" else []
            for address, item in pool.map(read, dict.fromkeys(items)):
                if _meets_item(item, boxes, times):
                    yield _absolute(item, address)
            waiting = [address for address in dict.fromkeys(below) if address not in seen]
            seen.update(waiting)
            if len(seen) > _MOST_CATALOGUES:
                raise InputError(
                    f"{url} links to more than {_MOST_CATALOGUES:,} collections: name a catalogue further down"
                )


def _links(address: str, found: dict[str, Any], rel: str) -> list[str]:
    links = found.get("links")
    named = (
        [x for x in links if isinstance(x, dict) and x.get("rel") == rel]
        if isinstance(links, list)
        else []
    )
    return [urljoin(address, str(x.get("href"))) for x in named]


def _wanted(
    address: str,
    found: dict[str, Any],
    collections: Sequence[str],
    boxes: Sequence[Box],
    times: Sequence[str],
) -> bool:
    names = (
        str(found.get("id")),
        str(found.get("title")),
        str(found.get("linz:slug")),
        urlsplit(address).path,
    )
    if not any(fnmatch(name, pattern) for name in names for pattern in collections):
        # It may hold others.
        return bool(_links(address, found, "child"))
    extent = found.get("extent") or {}
    bounds = (extent.get("spatial") or {}).get("bbox") or []
    spans = (extent.get("temporal") or {}).get("interval") or []
    # STAC 1.0 Collection specification, Spatial Extent Object: of several the first holds the others.
    return (not bounds or _meets_box(bounds[0], boxes)) and (
        not spans or _meets_days(spans[0][0], spans[0][1], times)
    )


def _meets_item(item: dict[str, Any], boxes: Sequence[Box], times: Sequence[str]) -> bool:
    said = item.get("properties") or {}
    first, last = (
        said.get("start_datetime") or said.get("datetime"),
        said.get("end_datetime") or said.get("datetime"),
    )
    return _meets_box(item.get("bbox") or [], boxes) and _meets_days(first, last, times)


def _meets_box(bounds: Sequence[float], boxes: Sequence[Box]) -> bool:
    if not boxes or not bounds:
        return True
    # GeoJSON (RFC 7946, section 5): two or three coordinates a corner; west > east across the antimeridian.
    half = len(bounds) // 2
    xmin, ymin, xmax, ymax = bounds[0], bounds[1], bounds[half], bounds[half + 1]
    spans = [(xmin, xmax)] if xmin <= xmax else [(xmin, 180.0), (-180.0, xmax)]
    return any(
        west <= b[2] and east >= b[0] and ymin <= b[3] and ymax >= b[1]
        for b in boxes
        for west, east in spans
    )


def _meets_days(first: str | None, last: str | None, times: Sequence[str]) -> bool:
    # ISO 8601 days compare as texts; an end that is not said is open.
    for time in times:
        start, _, end = time.partition("/")
        begins, ends = start.replace("..", ""), (end or start).replace("..", "9999")
        if (last or "9999")[:10] >= begins and (first or "")[:10] <= ends:
            return True
    return False


def _absolute(item: dict[str, Any], address: str) -> dict[str, Any]:
    assets = {
        key: asset | {"href": urljoin(address, str(asset.get("href")))}
        for key, asset in item["assets"].items()
    }
    return item | {"assets": assets}

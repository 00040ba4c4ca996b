"""Searches of STAC catalogues, and the ItemCollection that keeps what one found, so that a run can be replayed offline."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from lulc.config import Archive, Config, Search
from lulc.errors import InputError
from lulc.raster.signing import unsigned
from lulc.redact import redact_url
from lulc.sources.area import parse_box, read_area
from lulc.sources.readers._stac_bands import number
from lulc.sources.static_catalog import Box, crawl
from lulc.tables import files

_MOST = 100_000  # scenes of one search
_PAGE = 250


@dataclass(frozen=True)
class Catalogue:
    """Where a catalogue is. static: its files are linked, and nothing answers a query.

    alternate: which of an asset's addresses is taken, by its name in the alternate-assets extension, where the first needs a
    login that files cannot be read with.
    """

    url: str
    static: bool = False
    alternate: str = ""


# Files of copernicus (s3://eodata) and usgs (s3://usgs-landsat) are opened with what the environment says, as GDAL reads it:
# AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_ENDPOINT (eodata.dataspace.copernicus.eu), AWS_VIRTUAL_HOSTING=FALSE,
# AWS_REQUEST_PAYER=requester. Those of planetary-computer are signed by `lulc.signing`.
CATALOGUES = {
    "copernicus": Catalogue("https://stac.dataspace.copernicus.eu/v1"),
    "earth-search": Catalogue("https://earth-search.aws.element84.com/v1"),
    "planetary-computer": Catalogue("https://planetarycomputer.microsoft.com/api/stac/v1"),
    "usgs": Catalogue("https://landsatlook.usgs.gov/stac-server", alternate="s3"),
    "linz": Catalogue(
        "https://nz-imagery.s3-ap-southeast-2.amazonaws.com/catalog.json", static=True
    ),
}


def find_scenes(archive: Archive, config: Config, out: Path) -> Archive:
    """The archive itself; where it is a search, with the path of the ItemCollection that keeps the answer.

    The catalogue is asked when no answer to the same question is kept: delete the file to ask anew. InputError where the
    catalogue cannot be asked, or nothing is found.
    """
    if archive.search is None:
        return archive
    search = archive.search
    area = parse_box(search.bbox) if search.bbox else read_area(config.area)
    boxes = [] if area is None else _boxes(area)
    periods = [(p.start, p.end) for p in config.periods]
    times = (
        [search.time] if search.time else sorted({f"{a or '..'}/{b or '..'}" for a, b in periods})
    )
    asked = asdict(search) | {
        "catalogue": unsigned(search.catalogue),
        "collections": list(search.collections),
        "bbox": [list(b) for b in boxes],
        "time": times,
    }
    path = Path(archive.path or out / "searches" / f"{files.fingerprint_of(asked)}.json")
    if _kept(path) != asked:
        found = _ask(search, boxes, times)
        if not found:
            raise InputError(
                f"{redact_url(search.catalogue)} has no scene for {_named(asked)}: widen the area, the days or max_cloud"
            )
        content = json.dumps({"type": "FeatureCollection", "search": asked, "features": found})
        files.write_atomic(path, lambda beside: beside.write_text(content))
    return replace(archive, path=str(path))


def _kept(path: Path) -> Any:
    # What the file at `path` answers, None where there is none.
    if not path.exists():
        return None
    try:
        return json.loads(path.read_bytes())["search"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} keeps no answer of a search and is not overwritten: name another scenes.path"
        ) from error


def _boxes(area: BaseGeometry) -> list[Box]:
    # Two boxes where the area reaches both ends of the map: not every catalogue knows xmin > xmax.
    xmin, _, xmax, _ = area.bounds
    halves = (
        [shapely.box(-180, -90, 0, 90), shapely.box(0, -90, 180, 90)]
        if xmin <= -180 and xmax >= 180
        else []
    )
    parts = [half.intersection(area) for half in halves] or [area]
    return [(b[0], b[1], b[2], b[3]) for b in (part.bounds for part in parts if not part.is_empty)]


def _ask(search: Search, boxes: list[Box], times: list[str]) -> list[dict[str, Any]]:
    catalogue = CATALOGUES.get(
        search.catalogue, Catalogue(search.catalogue, search.catalogue.endswith(".json"))
    )
    if "://" not in catalogue.url:
        known = ", ".join(CATALOGUES)
        raise InputError(
            f"catalogue {search.catalogue!r} is not known: give its address (https://…), or one of {known}"
        )
    if catalogue.static:
        listed = crawl(catalogue.url, search.collections, boxes, times)
    else:
        listed = _query(catalogue.url, search, boxes, times)
    items = list(islice((i for i in listed if _clear_enough(i, search.max_cloud)), _MOST + 1))
    if len(items) > _MOST:
        raise InputError(
            f"{redact_url(search.catalogue)} has more than {_MOST:,} scenes for this search: narrow its area or its days"
        )
    found = {
        (str(i.get("id")), str(i.get("collection"))): _plain(i, catalogue.alternate) for i in items
    }
    # A tile's name may be the id in several collections: a scene's id is its own.
    uses = Counter(name for name, _ in found)
    return [
        found[key] | {"id": "_".join(key) if uses[key[0]] > 1 else key[0]} for key in sorted(found)
    ]


def _query(
    url: str, search: Search, boxes: list[Box], times: list[str]
) -> Iterator[dict[str, Any]]:
    import pystac_client
    from pystac_client.exceptions import APIError

    from lulc.sources.http import connect, describe_failure

    try:
        client = pystac_client.Client.open(url, stac_io=connect(url))
        narrowed = _cloud_filter(client.get_conforms_to(), search.max_cloud)
        places: list[Box | None] = [*boxes] or [None]
        for box, time in product(places, times):
            asked = client.search(
                collections=list(search.collections),
                bbox=box,
                datetime=None if time == "../.." else time,
                limit=_PAGE,
                **narrowed,
            )
            yield from asked.items_as_dicts()
    except (APIError, OSError, LookupError, TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{redact_url(url)} cannot be searched: {describe_failure(error)}; "
            "where an answer is kept, name its file as scenes.path"
        ) from error


def _cloud_filter(conforms: Iterable[str], most: float | None) -> dict[str, Any]:
    # The server's own filter where it has one; what it lets pass is looked at again.
    said = " ".join(conforms)
    if most is None:
        return {}
    if "item-search#query" in said:
        return {"query": {"eo:cloud_cover": {"lte": most}}}
    if "item-search#filter" in said:
        return {
            "filter": {"op": "<=", "args": [{"property": "eo:cloud_cover"}, most]},
            "filter_lang": "cql2-json",
        }
    return {}


def _clear_enough(item: dict[str, Any], most: float | None) -> bool:
    cloud = number((item.get("properties") or {}).get("eo:cloud_cover"))
    return most is None or (cloud is not None and cloud <= most)


def _plain(item: dict[str, Any], alternate: str) -> dict[str, Any]:
    # The item as it is kept: no signature, and no links, which only its server can follow.
    for asset in (item.get("assets") or {}).values():
        other = (asset.get("alternate") or {}).get(alternate) or {}
        asset["href"] = other.get("href") or asset.get("href")
    found: dict[str, Any] = unsigned(
        {k: v for k, v in item.items() if k != "links"} | {"links": []}
    )
    return found


def _named(asked: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in asked.items() if v and k != "catalogue")

"""Searches of STAC catalogues; each result is saved as a table and can be reused offline.

The table's metadata hold the query that it answers, under `search`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from itertools import batched, groupby, product
from operator import itemgetter
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from lulc.config import Archive, Config, Search
from lulc.errors import InputError, UsageError
from lulc.guard import read_guard
from lulc.location import Location, parse_location
from lulc.redact import redact_url, strip_credentials
from lulc.sources.area import parse_box, read_area
from lulc.sources.catalogues.answers import Answer, open_answer, read_search
from lulc.sources.catalogues.static import Box, CatalogueFilter, crawl, selects
from lulc.sources.header import parse_number
from lulc.stages import OUTPUT_VERSIONS
from lulc.tables import files
from lulc.tables.stac_geoparquet import ItemFilter, is_items_table, read_items

_FILES_A_PAGE = 1000  # of a catalogue that has no pages


@dataclass(frozen=True)
class Catalogue:
    """A STAC catalogue."""

    url: str
    static: bool = False
    """Whether it is files that link to each other, without a search API."""
    alternate: str = ""
    """Name, in the alternate-assets extension, of the assets' addresses that are used.

    It is set where the first addresses need a login that files cannot be read with.
    """


# Files of copernicus (s3://eodata) and usgs (s3://usgs-landsat) are opened with the environment's
# settings, as GDAL reads them: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_S3_ENDPOINT
# (eodata.dataspace.copernicus.eu), AWS_VIRTUAL_HOSTING=FALSE, AWS_REQUEST_PAYER=requester. Those of
# planetary-computer are signed by `lulc.raster.signing`.
CATALOGUES = {
    "copernicus": Catalogue("https://stac.dataspace.copernicus.eu/v1"),
    "earth-search": Catalogue("https://earth-search.aws.element84.com/v1"),
    "planetary-computer": Catalogue("https://planetarycomputer.microsoft.com/api/stac/v1"),
    "usgs": Catalogue("https://landsatlook.usgs.gov/stac-server", alternate="s3"),
    "linz": Catalogue(
        "https://nz-imagery.s3-ap-southeast-2.amazonaws.com/catalog.json", static=True
    ),
}


def find_scenes(archive: Archive, config: Config, out: Location) -> Archive:
    """Run the search of an archive, unless the result of the same search is saved already.

    To search again, delete the file.

    Args:
        archive: An archive of the run; one without a search is returned as it is.
        config: The run, whose area and periods limit the search where it has none of its own.
        out: The output folder, for results without a path of their own.

    Returns:
        The archive with the path of the saved result.

    Raises:
        InputError: The catalogue cannot be searched, or nothing is found.
    """
    if archive.search is None:
        return archive
    search = archive.search
    area = parse_box(search.bbox) if search.bbox else read_area(config.area)
    boxes = [] if area is None else _boxes(area)
    times = [search.time] if search.time else _period_times(config)
    query = asdict(search) | {
        "catalogue": strip_credentials(search.catalogue),
        "collections": list(search.collections),
        "bbox": [list(box) for box in boxes],
        "time": times,
    }
    fingerprint = files.fingerprint_of(OUTPUT_VERSIONS["index"], query)
    path = parse_location(archive.path or out / "searches" / f"{fingerprint}.parquet")
    before = path.with_suffix(".json")  # as releases until 0.2 kept it
    for result_file in [path] if archive.path else [path, before]:
        if read_search(result_file) == query:
            return replace(archive, path=str(result_file))
    if path.suffix != ".parquet":
        raise UsageError(
            f"scenes.path {path} is of a search, whose result is a table: give it a name that ends "
            "in .parquet"
        )
    answer = open_answer(path, query, fingerprint)
    with read_guard(f"catalogue {redact_url(search.catalogue)}", "give another catalogue"):
        _search(search, boxes, times, answer)
    if not answer.finish():
        terms = ", ".join(
            f"{name} {term}" for name, term in query.items() if term and name != "catalogue"
        )
        raise InputError(
            f"{redact_url(search.catalogue)} has no scene for {terms}: "
            "widen the area, the days or max_cloud"
        )
    return replace(archive, path=str(path))


def _period_times(config: Config) -> list[str]:
    # A period's days are solar ones, a catalogue's are UTC: they differ by half a day at most.
    return sorted(
        {f"{_shift(period.start, -1)}/{_shift(period.end, 1)}" for period in config.periods}
    )


def _shift(day: date | None, days: int) -> str:
    # A day this many days later, as a search has it; none and the ends of the calendar are open.
    return ".." if day in (None, date.min, date.max) else str(day + timedelta(days=days))


def _boxes(area: BaseGeometry) -> list[Box]:
    # Two boxes where the area reaches both ends of the map: not every catalogue knows xmin > xmax.
    xmin, _, xmax, _ = area.bounds
    areas = [area]
    if xmin <= -180 and xmax >= 180:
        halves = shapely.box(-180, -90, 0, 90), shapely.box(0, -90, 180, 90)
        areas = [half.intersection(area) for half in halves]
    return [_bounds(geometry) for geometry in areas if not geometry.is_empty]


def _bounds(geometry: BaseGeometry) -> Box:
    xmin, ymin, xmax, ymax = geometry.bounds
    return xmin, ymin, xmax, ymax


def _search(search: Search, boxes: list[Box], times: list[str], answer: Answer) -> None:
    # Adds the pages of the answer that it lacks.
    catalogue = CATALOGUES.get(
        search.catalogue, Catalogue(search.catalogue, search.catalogue.endswith(".json"))
    )
    if search.is_of_table:
        _search_table(parse_location(catalogue.url), search, boxes, times, answer)
        return
    if "://" not in catalogue.url:
        raise InputError(
            f"catalogue {search.catalogue!r} is not known: "
            f"give its address (https://…), or one of {', '.join(CATALOGUES)}"
        )

    def select(items: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        clear = (item for item in items if _is_clear_enough(item, search.max_cloud))
        return (_clean(item, catalogue.alternate) for item in clear)

    if catalogue.static:
        answer.forget(0)  # its files are read in one go
        items = crawl(catalogue.url, CatalogueFilter(search.collections, boxes, times))
        for number, page in enumerate(batched(select(items), _FILES_A_PAGE)):
            answer.add(0, number, page, None, False)
        return
    from lulc.sources.catalogues.api import Query, query_api

    query_boxes: list[Box | None] = [*boxes] or [None]
    queries = [
        Query(tuple(search.collections), box, time, search.max_cloud)
        for box, time in product(query_boxes, times)
    ]
    query_api(catalogue.url, queries, answer, select)


def _search_table(
    location: Location, search: Search, boxes: list[Box], times: list[str], answer: Answer
) -> None:
    # The items of a table; row groups that have none are not read.
    if not is_items_table(location):
        raise InputError(
            f"catalogue {search.catalogue} is no table of STAC items: give a .parquet file that is "
            "there, or the address of a STAC API"
        )
    answer.forget(0)
    selection = CatalogueFilter(search.collections, boxes, times)
    item_filter = ItemFilter(boxes, times, search.max_cloud)
    selected = (
        (table, _clean(item, ""))
        for table, item in read_items(location.absolute(), item_filter)
        if item.get("collection", "") in (*search.collections, "")
        and selects(selection, item)
        and _is_clear_enough(item, search.max_cloud)
    )
    number = 0
    for table, rows in groupby(selected, key=itemgetter(0)):
        for page in batched((item for _, item in rows), _FILES_A_PAGE):
            answer.add(0, number, page, None, False, str(table))
            number += 1


def _is_clear_enough(item: dict[str, Any], max_cloud: float | None) -> bool:
    cloud = parse_number((item.get("properties") or {}).get("eo:cloud_cover"))
    return max_cloud is None or (cloud is not None and cloud <= max_cloud)


def _clean(item: dict[str, Any], alternate: str) -> dict[str, Any]:
    # The item as it is saved: no signatures, and no links, which only its server can follow.
    assets = item.get("assets")
    for asset in assets.values() if isinstance(assets, dict) else ():
        address = (asset.get("alternate") or {}).get(alternate) or {}
        asset["href"] = address.get("href") or asset.get("href")
    without_links = {key: entry for key, entry in item.items() if key != "links"} | {"links": []}
    cleaned: dict[str, Any] = strip_credentials(without_links)
    return cleaned

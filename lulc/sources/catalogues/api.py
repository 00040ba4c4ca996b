"""Queries to a STAC API, answered page by page: one page is held at a time.

Pages that a run before got are kept; it goes on by the server's link to the next one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pystac import Link
from pystac_client import Client, ItemSearch
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from lulc import progress
from lulc.errors import InputError
from lulc.redact import redact_text, redact_url, strip_credentials
from lulc.sources.catalogues.answers import Answer
from lulc.sources.catalogues.http import connect
from lulc.sources.catalogues.static import Box

_PAGE = 250
_MOST_EMPTY = 5
"""So many empty pages in a row end an answer: some servers link on for ever."""
# What a server may make pystac-client raise.
_FAILURES = (APIError, OSError, LookupError, TypeError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class Query:
    """One request for items."""

    collections: tuple[str, ...]
    box: Box | None
    time: str
    """Days, as `start/end`; `..` is an open end."""
    max_cloud: float | None
    """Per cent."""


@dataclass(frozen=True)
class _Page:
    """One page of an answer."""

    items: list[dict[str, Any]]
    link: dict[str, Any] | None
    """The server's link to the next page; None at the end."""
    matched: int | None
    """How many items match, where the server tells."""


def _iterate_pages(
    stac_io: StacApiIO, query: ItemSearch, start: dict[str, Any] | None
) -> Iterator[_Page]:
    # The pages of an answer; `start` links to the first that is asked for, None: the beginning.
    parameters = query.get_parameters()
    seen: set[str] = set()
    link = start
    empty = 0
    while True:
        if link is None:
            content = stac_io.read_json(query.url, method=query.method, parameters=parameters)
        else:
            content = stac_io.read_json(Link.from_dict(link), parameters=parameters)
        items = content.get("features") if isinstance(content, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise InputError(f"{redact_url(query.url)} answers with a page that has no items")
        # A page of items that a server filtered out is empty, and others may follow it.
        empty = 0 if items else empty + 1
        link = _next_link(content) if empty < _MOST_EMPTY else None
        link_key = json.dumps(link, sort_keys=True)
        if link_key in seen and not items:
            link = None
        elif link_key in seen:
            raise InputError(
                f"{redact_url(query.url)} links to a page again that was read already: its answer "
                "has no end"
            )
        seen.add(link_key)
        yield _Page(items, link, _matched(content))
        if link is None:
            return


def _matched(content: dict[str, Any]) -> int | None:
    # STAC API, Item Collections; before 1.0 the count was in `context`.
    context = content.get("context")
    of_context = context.get("matched") if isinstance(context, dict) else None
    matched = content.get("numberMatched", of_context)
    return matched if isinstance(matched, int) else None


def _next_link(content: dict[str, Any]) -> dict[str, Any] | None:
    links = content.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "next":
            return link
    return None


def query_api(
    url: str,
    queries: Sequence[Query],
    answer: Answer,
    select: Callable[[Iterable[dict[str, Any]]], Iterable[dict[str, Any]]],
) -> None:
    """Add to an answer the pages that it lacks.

    Args:
        url: the address of the API.
        queries: what is asked for; their order is the same in every run.
        answer: gets the pages.
        select: returns the items of a page that are wanted, as they are kept.

    Raises:
        InputError: the API cannot be searched. The pages that came are kept.
    """
    try:
        stac_io = connect(url)
        client = Client.open(url, stac_io=stac_io)
        for number, query in enumerate(queries):
            for page, of_page in _missing_pages(client, stac_io, query, number, answer):
                link = _without_secrets(of_page.link, url)
                answer.add(number, page, select(of_page.items), link, of_page.link is None)
    except _FAILURES as error:
        raise InputError(
            f"{redact_url(url)} cannot be searched: {redact_text(error, 300)}; "
            "where a search result is saved, name its file as scenes.path"
        ) from error


def _missing_pages(
    client: Client, stac_io: StacApiIO, query: Query, number: int, answer: Answer
) -> Iterator[tuple[int, _Page]]:
    # The pages that runs before did not get, each with its number; all of them where the server
    # does not know the link any more that leads to the first of them.
    before = answer.progress(number)
    if before.is_done:
        return
    search = client.search(
        collections=list(query.collections),
        bbox=query.box,
        datetime=None if query.time == "../.." else query.time,
        limit=_PAGE,
        **_cloud_filter(client.get_conforms_to(), query.max_cloud),
    )
    if before.link:
        pages = _iterate_pages(stac_io, search, before.link)
        first = _first_page(pages)
        if first is not None:
            progress.say(f"search goes on after {before.pages:,} pages that were kept")
            yield from enumerate(chain([first], pages), before.pages)
            return
    pages = _iterate_pages(stac_io, search, None)
    first = next(pages)
    answer.forget(number)
    came = 0
    for page, of_page in enumerate(chain([first], pages)):
        came += len(of_page.items)
        yield page, of_page
    # No error: where many match, some servers estimate how many.
    if first.matched is not None and came < first.matched:
        progress.say(
            f"WARNING: {redact_url(search.url)} says that {first.matched:,} items match, and sent "
            f"{came:,}: delete {answer.path} to search again"
        )


def _first_page(pages: Iterator[_Page]) -> _Page | None:
    # None where there is nothing: some servers answer so to a link that has expired. One that fails
    # itself may know the link later.
    try:
        page = next(pages)
    except APIError as error:
        status = getattr(error, "status_code", None)
        if status is None or status >= 500:
            raise
        return None
    except (InputError, *_FAILURES):
        return None
    return page if page.items else None


def _without_secrets(link: dict[str, Any] | None, url: str) -> dict[str, Any] | None:
    # A link as it may be kept: where it goes on is no secret, but what it is asked for with may be.
    has_secrets = strip_credentials(url) != url or (link and link.get("headers"))
    return None if has_secrets else link


def _cloud_filter(conformance: Iterable[str], max_cloud: float | None) -> dict[str, Any]:
    # The server's own filter where it has one; the items it returns are filtered once more.
    classes = " ".join(conformance)
    if max_cloud is None:
        return {}
    if "item-search#query" in classes:
        return {"query": {"eo:cloud_cover": {"lte": max_cloud}}}
    if "item-search#filter" in classes:
        return {
            "filter": {"op": "<=", "args": [{"property": "eo:cloud_cover"}, max_cloud]},
            "filter_lang": "cql2-json",
        }
    return {}

"""A STAC API on this machine that makes up its items page by page, and can be made to fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.helpers.faulty_proxy import serve

_CONFORMANCE = [
    f"https://api.stacspec.org/v1.0.0/{name}" for name in ("core", "collections", "item-search")
]


@dataclass
class PagingCatalogue:
    """What a server answers, and what it was asked."""

    count: int
    """Number of items."""
    make_item: Callable[[int], dict[str, Any]]
    page: int = 250
    """Items a page, at most."""
    overlap: int = 0
    """Items of each page that the next one has again."""
    fails_at: int | None = None
    """The first item of the page that is answered by half a page of text."""
    back_to: int | None = None
    """Where the last page links to."""
    hidden: Container[int] = ()
    """Items that are left out of their pages."""
    links_on: bool = False
    """Whether every page links to a next one, those after the last item, too."""
    refuses: int | None = None
    """The first item of the page that is answered by an error."""
    status: int = 501
    """Of that answer."""
    forgets_links: bool = False
    """Whether a link that leads on is answered by an empty page."""
    forgets_at: int | None = None
    """The first item of the page that is empty, with no link on."""
    tells_count: bool = False
    """Whether a page tells how many items match."""
    asked: list[int] = field(default_factory=list)
    """The first item of each page that was asked for."""
    url: str = ""

    def answer(self, start: int, limit: int) -> bytes:
        """Return the page that begins with an item."""
        self.asked.append(start)
        end = min(start + min(limit, self.page), self.count)
        forgets = (self.forgets_links and start) or start == self.forgets_at
        of_page = [] if forgets else range(start, end)
        items = [number for number in of_page if number not in self.hidden]
        following: int | None = end - self.overlap if end < self.count else self.back_to
        if start == self.forgets_at:
            following = None
        if self.links_on:
            following = start + self.page
        body = {"limit": limit, "token": f"next:{following}"}
        link = {"rel": "next", "href": f"{self.url}search", "method": "POST", "body": body}
        content = json.dumps(
            {
                "type": "FeatureCollection",
                "features": [self.make_item(number) for number in items],
                "links": [] if following is None else [link],
            }
            | ({"numberMatched": self.count} if self.tells_count else {})
        ).encode()
        return content[: len(content) // 2] if start == self.fails_at else content


@contextmanager
def serve_catalogue(catalogue: PagingCatalogue) -> Iterator[str]:
    """Serve a catalogue; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            links = [
                {"rel": rel, "href": f"{catalogue.url}{path}", "type": "application/geo+json"}
                | ({"method": "POST"} if path else {})
                for rel, path in (("self", ""), ("root", ""), ("search", "search"))
            ]
            catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "c"}
            self._send(json.dumps(catalog | {"conformsTo": _CONFORMANCE, "links": links}).encode())

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            start = int(str(asked.get("token", "next:0")).removeprefix("next:"))
            content = catalogue.answer(start, asked["limit"])
            self._send(content, catalogue.status if start == catalogue.refuses else 200)

        def _send(self, content: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with serve(Handler) as place:
        catalogue.url = f"http://{place}/"
        yield catalogue.url

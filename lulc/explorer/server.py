"""The page of a run, served to the browsers of this machine."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from lulc import progress
from lulc.errors import LulcError, SetupError
from lulc.explorer.site import REGION_TILES, Site, to_json

_HOST = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost")
"""What browsers of this machine call it: a page from elsewhere that has its own name resolved to
this machine is not answered."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".pmtiles": "application/vnd.pmtiles",
}
_TILE = re.compile(r"tiles/([\w-]+)/(\d{1,2})/(\d{1,8})/(\d{1,8})\.(png|webp)", re.ASCII)
_RANGE = re.compile(r"bytes=(\d+)-(\d+)", re.ASCII)


@dataclass(frozen=True)
class _Answer:
    status: HTTPStatus
    body: bytes = b""
    content_range: str = ""


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of what a site has."""

    protocol_version = "HTTP/1.1"
    server_version = "lulc"
    sys_version = ""
    timeout = 60  # s that a connection may be idle
    disable_nagle_algorithm = True  # else a body waits until the browser has said it has the head
    site: ClassVar[Site]

    def do_GET(self) -> None:
        address = self.path.partition("?")[0].lstrip("/") or "index.html"
        if self.headers.get("Host", "").partition(":")[0] not in _NAMES:
            answer = _Answer(HTTPStatus.FORBIDDEN)
        else:
            try:
                answer = self._find(address)
            except LulcError as error:
                progress.say(f"{address}: {error}")
                answer = _Answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode())
        self.send_response(answer.status)
        if answer.status != HTTPStatus.NO_CONTENT:
            kind = _TYPES.get(Path(address).suffix, "text/plain; charset=utf-8")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer.body)))
        if answer.content_range:
            self.send_header("Content-Range", answer.content_range)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # a browser leaves tiles it needs no more
                self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _find(self, address: str) -> _Answer:
        site = self.site
        if match := _TILE.fullmatch(address):
            layer = site.layer(match[1], match[5])
            zoom, col, row = map(int, match.groups()[1:4])
            if layer is None or not layer.has_tile(zoom, col, row):
                return _Answer(HTTPStatus.NOT_FOUND)
            tile = layer.tile(zoom, col, row)
            return _Answer(HTTPStatus.NO_CONTENT) if tile is None else _Answer(HTTPStatus.OK, tile)
        if address == "map.json":
            return _Answer(HTTPStatus.OK, to_json(site.describe(archives=False)))
        if (document := site.document(address)) is not None:
            return _Answer(HTTPStatus.OK, document)
        if address == REGION_TILES and site.regions is not None:
            return self._part_of(site.region_tiles())
        if address in site.page_files:
            return _Answer(HTTPStatus.OK, site.page_files[address].read_bytes())
        return _Answer(HTTPStatus.NOT_FOUND)

    def _part_of(self, path: Path) -> _Answer:
        size = path.stat().st_size
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None:
            return _Answer(HTTPStatus.OK, path.read_bytes())
        first, last = int(match[1]), min(int(match[2]), size - 1)
        if first > last:
            return _Answer(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, content_range=f"bytes */{size}"
            )
        with path.open("rb") as file:
            file.seek(first)
            part = file.read(last - first + 1)
        return _Answer(HTTPStatus.PARTIAL_CONTENT, part, f"bytes {first}-{last}/{size}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Log nothing: what goes wrong is said by `do_GET`."""


@contextlib.contextmanager
def open_server(site: Site, port: int) -> Iterator[ThreadingHTTPServer]:
    """Listen for browsers of this machine; `serve_forever` of what is yielded answers them.

    Args:
        site: the page.
        port: of this machine; 0 takes a free one.

    Raises:
        SetupError: the port is taken.
    """
    handler = type("_SiteHandler", (_Handler,), {"site": site})
    try:
        server = ThreadingHTTPServer((_HOST, port), handler)
    except OSError as error:
        raise SetupError(
            f"port {port} of this machine cannot be listened on ({error.strerror}): give another "
            "by --port, or 0 for any that is free"
        ) from error
    with server:
        threading.Thread(target=site.prepare, daemon=True).start()
        yield server


def address_of(server: ThreadingHTTPServer) -> str:
    """Return the address that a browser opens."""
    return f"http://{_HOST}:{server.server_port}/"

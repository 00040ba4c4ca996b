"""An HTTP proxy before a server that can be made to fail as networks and object stores do."""

from __future__ import annotations

import http.client
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

Kind = Literal[
    "busy",
    "slow",
    "cut",
    "lost",
    "unsure",
    "short",
    "expired",
    "skewed",
    "moved",
    "full",
    "read-only",
]
"""busy: 503. slow: `seconds` pass before the answer. cut: the connection ends in the middle of a
body, of the answer or the request. lost: it ends after the request was carried out, before any
answer. unsure: 500 after the request was carried out. short: half of the body, and a length that
says it is whole.
expired, skewed, moved, full, read-only: what a store answers to a token that is no longer valid, to
a clock that is off, of a bucket in another region, where there is no space left, and where nothing
may be written."""

_WRITES = ("PUT", "POST", "DELETE")
_REFUSALS = {
    "busy": (503, "SlowDown", "Please reduce your request rate."),
    "expired": (400, "ExpiredToken", "The provided token has expired."),
    "skewed": (403, "RequestTimeTooSkewed", "The difference between the times is too large."),
    "moved": (301, "PermanentRedirect", "The bucket must be addressed by its own endpoint."),
    "full": (507, "InsufficientStorage", "There is no space left."),
    "read-only": (403, "AccessDenied", "Access Denied: the bucket is read-only."),
}


@dataclass
class Faults:
    """Faults to inject: every `each`-th request fails by `kind` (1: all, 0: none); counts."""

    each: int = 0
    kind: Kind = "busy"
    methods: Collection[str] = ()
    """Of which requests; all by default. `full` and `read-only` are of those that write."""
    seconds: float = 0.3
    asked: int = 0
    failed: int = 0
    written: Counter[str] = field(default_factory=Counter)
    """How often each path was put, with success."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fails(self, method: str) -> bool:
        """Count a request, and return whether it is to fail."""
        with self._lock:
            self.asked += 1
            methods = _WRITES if self.kind in ("full", "read-only") else self.methods
            if not self.each or (methods and method not in methods):
                return False
            fails = self.asked % self.each == 0
            self.failed += fails
            return fails


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *asked: Any) -> None:
        # Clients that are killed hang up.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*asked)


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a local HTTP server with this handler and give its host:port."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def faulty_proxy(server: str) -> Iterator[tuple[str, Faults]]:
    """Run a proxy before the server at host:port; give its host:port and the faults to inject."""
    faults = Faults()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            kind = faults.kind if faults.next_fails(self.command) else None
            if kind == "cut" and length:
                self.rfile.read(length // 2)
                self._hang_up()
                return
            body = self.rfile.read(length)
            if kind == "slow":
                time.sleep(faults.seconds)
            if kind in _REFUSALS:
                self._refuse(*_REFUSALS[kind])
                return
            connection = http.client.HTTPConnection(server, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if self.command == "PUT" and answer.status == HTTPStatus.OK:
                faults.written[unquote(urlsplit(self.path).path)] += 1
            if kind == "lost":
                self._hang_up()
            elif kind == "unsure":
                self._refuse(500, "InternalError", "We encountered an internal error.")
            else:
                self._answer(answer, content, kind)

        def _answer(
            self, answer: http.client.HTTPResponse, content: bytes, kind: str | None
        ) -> None:
            length = int(answer.getheader("content-length") or len(content))
            half = length // 2
            is_short = kind == "short" and self.command != "HEAD"
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header("content-length", str(half if is_short else length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[:half] if kind in ("cut", "short") else content)
            if kind == "cut":
                self._hang_up()

        def _refuse(self, status: int, code: str, message: str) -> None:
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            self.send_response(status)
            self.send_header("content-type", "application/xml")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def _hang_up(self) -> None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with serve(Proxy) as place:
        yield place, faults

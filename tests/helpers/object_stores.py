"""An object store on this machine behind a proxy that can be made to fail."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

from moto.server import ThreadedMotoServer


@dataclass
class Faults:
    """Faults to inject: every `each`-th request is answered 503 (1: all, 0: none); counts."""

    each: int = 0
    asked: int = 0
    failed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fails(self) -> bool:
        with self._lock:
            self.asked += 1
            fails = bool(self.each) and self.asked % self.each == 0
            self.failed += fails
            return fails


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a local HTTP server with this handler and give its host:port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def faulty_store() -> Iterator[tuple[str, Faults]]:
    """Run moto's S3 behind a proxy and give the proxy's host:port and the faults to inject."""
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    faults = Faults()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if faults.next_fails():
                self.send_response(503)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            connection = http.client.HTTPConnection(host, port, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header(
                "content-length", answer.getheader("content-length") or str(len(content))
            )
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            connection.close()

        do_GET = do_HEAD = do_PUT = do_POST = pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    try:
        with serve(Proxy) as place:
            yield place, faults
    finally:
        store.stop()


def fill_bucket(place: str, files: Mapping[str, bytes]) -> None:
    """Make a bucket named `bucket` in the store at host:port, of files that anyone may read."""
    objects = {"/bucket": b""} | {f"/bucket/{name}": body for name, body in files.items()}
    for name, body in objects.items():
        connection = http.client.HTTPConnection(place, timeout=30)
        connection.request("PUT", quote(name), body, {"x-amz-acl": "public-read"})
        assert connection.getresponse().status == 200


def store_variables(place: str) -> dict[str, str]:
    """Return the environment in which s3:// addresses are of the store at host:port."""
    return {
        "AWS_S3_ENDPOINT": place,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }

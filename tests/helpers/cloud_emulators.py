"""Azurite and fake-gcs-server: servers on this machine that speak as Azure's and Google's do.

They come from npm and the Go module proxy by their ordinary clients, once for a user: half a minute
and 190 MB for Azurite, two to three minutes and 50 MB for fake-gcs-server.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from tests.helpers.faulty_proxy import serve

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lulc-tests"
_AZURITE, _FAKE_GCS = "azurite@3", "github.com/fsouza/fake-gcs-server@v1.56.1"
# Azurite's own account, which is published for tests.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextlib.contextmanager
def azure_store() -> Iterator[dict[str, str]]:
    """Run Azurite with a container named `bucket`; give the environment in which it is Azure."""
    program = _CACHE / "azurite/node_modules/azurite/dist/src/blob/main.js"
    if not program.exists():
        folder = str(_CACHE / "azurite")
        install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, _AZURITE]
        subprocess.run(install, check=True, capture_output=True, timeout=600)
    port = _free_port()
    options = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    command = ["node", str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), *options]
    with _running(command, port):
        _make_container(port)
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{_ACCOUNT}",
        }


@contextlib.contextmanager
def google_store() -> Iterator[dict[str, str]]:
    """Run fake-gcs-server with a bucket named `bucket`; give the environment in which it is GCS."""
    program = _CACHE / "fake-gcs-server/fake-gcs-server"
    if not program.exists():
        environment = os.environ | {"GOBIN": str(program.parent)}
        install = ["go", "install", _FAKE_GCS]
        subprocess.run(install, check=True, capture_output=True, env=environment, timeout=900)
    port = _free_port()
    command = [str(program), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]
    command += ["-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    with _running(command, port), _plain_puts(port) as place:
        bucket = json.dumps({"name": "bucket"}).encode()
        headers = {"Content-Type": "application/json"}
        assert _ask(port, "POST", "/storage/v1/b?project=tests", bucket, headers)[0] == 200
        yield {"STORAGE_EMULATOR_HOST": place}


@contextlib.contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(300):
                assert process.poll() is None, f"{command[0]} ended"
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _ask(
    port: int, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def _make_container(port: int) -> None:
    # Signed by the account's key: Azure's REST API, Authorize with Shared Key.
    day, version = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"), "2021-08-06"
    text = "PUT" + "\n" * 12 + f"x-ms-date:{day}\nx-ms-version:{version}\n"
    text += f"/{_ACCOUNT}/{_ACCOUNT}/bucket\nrestype:container"
    signature = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
    signed = f"SharedKey {_ACCOUNT}:{base64.b64encode(signature).decode()}"
    headers = {"x-ms-date": day, "x-ms-version": version, "Authorization": signed}
    assert _ask(port, "PUT", f"/{_ACCOUNT}/bucket?restype=container", b"", headers)[0] == 201


@contextlib.contextmanager
def _plain_puts(port: int) -> Iterator[str]:
    # fake-gcs-server takes the PUT of Google's XML API only where it is signed in its address, and
    # then without its condition, and answers as the JSON API does.
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path
            # The server takes a request for Google's by its name.
            headers = {n: v for n, v in self.headers.items() if n.lower() != "host"}
            headers["Host"] = f"127.0.0.1:{port}"
            if self.command == "PUT" and not urlsplit(path).query:
                only_new = headers.get("x-goog-if-generation-match") == "0"
                if only_new and _ask(port, "HEAD", path, b"", {})[0] == 200:
                    self.send_response(412)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                path += "?X-Goog-Algorithm=GOOG4-RSA-SHA256"
            status, answered, content = _ask(port, self.command, path, body, headers)
            if path != self.path and status == 200:
                made = json.loads(content)
                answered |= {"ETag": f'"{made["etag"]}"', "x-goog-generation": made["generation"]}
            self.send_response(status)
            for name, value in answered.items():
                if name.lower() not in ("transfer-encoding", "date", "content-length"):
                    self.send_header(name, value)
            length = answered.get("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with serve(Handler) as place:
        yield place

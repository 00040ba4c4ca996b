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

from tests.helpers.cache import CACHE
from tests.helpers.google_xml import xml_api

_AZURITE, _FAKE_GCS = "azurite@3", "github.com/fsouza/fake-gcs-server@v1.56.1"
# Azurite's own account, which is published for tests.
AZURE_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
AZURE_ROOT = f"abfs://bucket@{AZURE_ACCOUNT}.dfs.core.windows.net"


@contextlib.contextmanager
def azure_store() -> Iterator[str]:
    """Run Azurite with a container named `bucket`, and give its host:port."""
    program = CACHE / "azurite/node_modules/azurite/dist/src/blob/main.js"
    if not program.exists():
        folder = str(CACHE / "azurite")
        install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, _AZURITE]
        subprocess.run(install, check=True, capture_output=True, timeout=600)
    port = _free_port()
    options = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    command = ["node", str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), *options]
    with _running(command, port):
        _make_container(port)
        yield f"127.0.0.1:{port}"


def azure_variables(place: str) -> dict[str, str]:
    """Return the environment in which addresses of `AZURE_ROOT` are of the Azurite at host:port."""
    return {
        "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
        "AZURE_STORAGE_ENDPOINT": f"http://{place}/{AZURE_ACCOUNT}",
    }


@contextlib.contextmanager
def google_store() -> Iterator[str]:
    """Run fake-gcs-server with a bucket named `bucket`, and give its host:port."""
    program = CACHE / "fake-gcs-server/fake-gcs-server"
    if not program.exists():
        environment = os.environ | {"GOBIN": str(program.parent)}
        install = ["go", "install", _FAKE_GCS]
        subprocess.run(install, check=True, capture_output=True, env=environment, timeout=900)
    port = _free_port()
    command = [str(program), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]
    command += ["-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    with _running(command, port), xml_api(f"127.0.0.1:{port}") as place:
        bucket = json.dumps({"name": "bucket"}).encode()
        headers = {"Content-Type": "application/json"}
        assert _status_of(port, "POST", "/storage/v1/b?project=tests", bucket, headers) == 200
        yield place


def google_variables(place: str) -> dict[str, str]:
    """Return the environment in which gs:// addresses are of the server at host:port."""
    return {"STORAGE_EMULATOR_HOST": place}


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


def _status_of(port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    return connection.getresponse().status


def _make_container(port: int) -> None:
    # Signed by the account's key: Azure's REST API, Authorize with Shared Key.
    day, version = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"), "2021-08-06"
    text = "PUT" + "\n" * 12 + f"x-ms-date:{day}\nx-ms-version:{version}\n"
    text += f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/bucket\nrestype:container"
    signature = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
    signed = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(signature).decode()}"
    headers = {"x-ms-date": day, "x-ms-version": version, "Authorization": signed}
    path = f"/{AZURE_ACCOUNT}/bucket?restype=container"
    assert _status_of(port, "PUT", path, b"", headers) == 201

"""An object store on this machine behind a proxy that can be made to fail."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from moto.server import ThreadedMotoServer

from tests.helpers.cloud_emulators import (
    AZURE_ROOT,
    azure_store,
    azure_variables,
    google_store,
    google_variables,
)
from tests.helpers.faulty_proxy import Faults, faulty_proxy

SCHEMES = (
    "s3",
    pytest.param("abfs", marks=pytest.mark.cluster),
    pytest.param("gs", marks=pytest.mark.cluster),
)
"""Of the stores that `store_of` runs, as parameters of a test."""


@contextmanager
def object_store() -> Iterator[str]:
    """Run moto's S3 and give its host:port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    try:
        yield ":".join(map(str, store.get_host_and_port()))
    finally:
        store.stop()


@contextmanager
def faulty_store() -> Iterator[tuple[str, Faults]]:
    """Run moto's S3 behind a proxy and give the proxy's host:port and the faults to inject."""
    with object_store() as server, faulty_proxy(server) as (place, faults):
        yield place, faults


def fill_bucket(place: str, files: Mapping[str, bytes], name: str = "bucket") -> None:
    """Make a bucket in the store at host:port, of files that anyone may read."""
    objects = {f"/{name}": b""} | {f"/{name}/{key}": body for key, body in files.items()}
    for path, body in objects.items():
        connection = http.client.HTTPConnection(place, timeout=30)
        connection.request("PUT", quote(path), body, {"x-amz-acl": "public-read"})
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


@contextmanager
def store_of(scheme: str) -> Iterator[tuple[str, dict[str, str], Faults]]:
    """Run a store with an empty bucket named `bucket` behind a proxy.

    Args:
        scheme: s3, abfs or gs; of Azure and Google it is their emulator.

    Yields:
        The bucket's address, the environment in which it is of the store, and the faults to inject.
    """
    root, store, variables = {
        "s3": ("s3://bucket", object_store, store_variables),
        "abfs": (AZURE_ROOT, azure_store, azure_variables),
        "gs": ("gs://bucket", google_store, google_variables),
    }[scheme]
    with store() as server, faulty_proxy(server) as (place, faults):
        if scheme == "s3":
            fill_bucket(place, {})
        yield root, variables(place), faults

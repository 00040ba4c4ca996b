"""GDAL's own names of objects in stores, and its options for the stores of the environment.

GDAL takes most credentials from the environment by itself. Given here is what it knows by other
names than `lulc.location`.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import os
from collections.abc import Iterator
from functools import lru_cache

import rasterio
import rasterio._env
from rasterio.io import DatasetReader

from lulc.errors import StoreError
from lulc.location import STORES, StorePath, parse_location
from lulc.redact import redact_url
from lulc.store_access import azure_account, scheme_of, store_endpoint

_read_for = [""]
"""The work that this process does, or did last."""
_root = contextvars.ContextVar("root", default="")
"""The root of the store that `gdal_credentials` are applied for."""
_HANDLERS = {"s3": "vsis3", "gs": "vsigs", "abfs": "vsiaz"}


def is_in_store(href: str) -> bool:
    """Return whether an href is the address of an object store, and no path or web address."""
    return href.startswith(STORES)


def gdal_name(href: str) -> str:
    """Return GDAL's own name of an object in a store.

    Examples:
        >>> gdal_name("s3://bucket/a/x.tif"), gdal_name("abfs://box@account.dfs.core.windows.net/x")
        ('/vsis3/bucket/a/x.tif', '/vsiaz/box/x')
    """
    location = _store_path(href)
    scheme, _, bucket = location.root.partition("://")
    return f"/{_HANDLERS[scheme]}/{bucket.partition('@')[0]}/{location.key}"


def href_of(raster: DatasetReader) -> str:
    """Return the path or address that an open raster was opened by."""
    name, opened_root = str(raster.name), _root.get()
    for scheme, handler in _HANDLERS.items():
        if name.startswith(f"/{handler}/"):
            bucket, _, key = name.removeprefix(f"/{handler}/").partition("/")
            root = f"{scheme}://{bucket}"
            # GDAL's name leaves out the account of a container.
            return f"{opened_root if opened_root.partition('@')[0] == root else root}/{key}"
    return name


def shown_name(raster: DatasetReader) -> str:
    """Return how an open raster is named in messages, without secrets."""
    return redact_url(href_of(raster))


def names_in_folder_of(href: str) -> frozenset[str]:
    """Return the names of the objects in the folder that an object of a store lies in.

    A folder is listed once; where this machine may read objects but not list them, none is known.
    """
    try:
        return _names_in(_store_path(href).parent)
    except StoreError as error:
        if not error.is_denial:
            raise
        return frozenset()


@lru_cache(maxsize=64)
def _names_in(folder: StorePath) -> frozenset[str]:
    return frozenset(location.name for location in folder.iterdir())


@contextlib.contextmanager
def gdal_credentials(href: str) -> Iterator[None]:
    """Apply GDAL's options for the store that an href is in; none for other hrefs."""
    if not is_in_store(href):
        yield
        return
    root = _store_path(href).root
    options, token = _options(root), _root.set(root)
    try:
        with rasterio.Env(**options) if options else contextlib.nullcontext():
            yield
    finally:
        _root.reset(token)


def read_afresh(work: str) -> None:
    """Forget what this process has read of stores and the web for other work than this.

    GDAL keeps parts of files by their names: of an object that was replaced it would give old
    parts beside new ones.

    Args:
        work: what is begun, or gone on with; one text for all of its parts.
    """
    if _read_for[-1] == work:
        return
    _read_for[-1] = work
    _names_in.cache_clear()
    # The extension module is linked with the GDAL that rasterio uses, wherever that lies.
    ctypes.CDLL(rasterio._env.__file__).VSICurlClearCache()


def _store_path(href: str) -> StorePath:
    location = parse_location(href)
    assert isinstance(location, StorePath)
    return location


def _options(root: str) -> dict[str, str]:
    scheme = scheme_of(root)
    endpoint = store_endpoint(scheme) or ""
    protocol, _, host = endpoint.partition("://")
    if scheme == "abfs":
        return _azure_options(azure_account(root), endpoint)
    if not endpoint:
        return {}
    if scheme == "gs":
        return {"CPL_GS_ENDPOINT": f"{endpoint}/", "GS_NO_SIGN_REQUEST": "YES"}
    return {
        "AWS_S3_ENDPOINT": host,
        "AWS_HTTPS": "YES" if protocol == "https" else "NO",
        # Only Amazon's own servers have a name for every bucket.
        "AWS_VIRTUAL_HOSTING": os.environ.get("AWS_VIRTUAL_HOSTING", "FALSE"),
    }


def _azure_options(account: str, endpoint: str) -> dict[str, str]:
    key = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY", "")
    if endpoint:
        settings = {
            "DefaultEndpointsProtocol": endpoint.partition("://")[0],
            "AccountName": account,
            "AccountKey": key,
            "BlobEndpoint": endpoint,
        }
        text = ";".join(f"{name}={value}" for name, value in settings.items() if value)
        return {"AZURE_STORAGE_CONNECTION_STRING": text}
    options = {"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_ACCESS_KEY": key}
    return {name: value for name, value in options.items() if value}

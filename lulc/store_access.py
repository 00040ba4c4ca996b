"""How an object store is reached: its server, account and credentials, from the environment.

They stand there under the names that the stores' own tools use: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and AWS_ENDPOINT_URL;
GOOGLE_APPLICATION_CREDENTIALS (STORAGE_EMULATOR_HOST for a server of one's own);
AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY and AZURE_STORAGE_ENDPOINT; or they are of the
machine's own identity.
"""

from __future__ import annotations

import json
import os
from typing import Any

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION, AWS_ENDPOINT_URL)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Scheme → the variables that credentials are taken from, for messages."""

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("STORAGE_EMULATOR_HOST",),
    "abfs": ("AZURE_STORAGE_ENDPOINT",),
}
_NOBODY = {"client_email": "", "private_key": "", "private_key_id": ""}


def scheme_of(root: str) -> str:
    """Return the scheme of a store's root or address: s3, gs or abfs."""
    return root.partition("://")[0]


def store_endpoint(scheme: str) -> str | None:
    """Return the address of a store's server, without a slash at its end.

    Args:
        scheme: s3, gs or abfs.

    Returns:
        None for the server of the cloud that the scheme is of.
    """
    for name in _ENDPOINTS[scheme]:
        if endpoint := os.environ.get(name):
            return (endpoint if "://" in endpoint else f"http://{endpoint}").rstrip("/")
    host = os.environ.get("AWS_S3_ENDPOINT") if scheme == "s3" else None
    if host:
        return f"{'https' if _is_on('AWS_HTTPS', 'YES') else 'http'}://{host}".rstrip("/")
    return None


def azure_account(root: str) -> str:
    """Return the storage account of an Azure container, "" where none is told.

    Args:
        root: `abfs://container@account.dfs.core.windows.net`, or `abfs://container` of the
            account in AZURE_STORAGE_ACCOUNT_NAME.
    """
    host = root.partition("@")[2]
    return host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")


def settings_of(root: str) -> dict[str, Any]:
    """Return obstore's settings of a store, which it does not take from the environment by itself.

    Args:
        root: scheme and bucket.
    """
    scheme = scheme_of(root)
    endpoint = store_endpoint(scheme)
    settings: dict[str, Any] = {}
    if scheme == "gs" and endpoint:
        nobody = {"gcs_base_url": endpoint, "disable_oauth": True, **_NOBODY}
        settings = {"service_account_key": json.dumps(nobody)}
    if scheme == "abfs":
        account = azure_account(root)
        settings |= {"account_name": account} if account else {}
        settings |= {"endpoint": endpoint} if endpoint else {}
    if scheme == "s3":
        settings |= {"endpoint": endpoint} if endpoint else {}
        if _is_on("AWS_NO_SIGN_REQUEST", "NO"):
            settings["skip_signature"] = True
        settings["region"] = region()
    return settings


def region() -> str:
    """Return the region that buckets of S3 are taken to be in."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _is_on(name: str, default: str) -> bool:
    # A switch in the environment, as GDAL reads it.
    return (os.environ.get(name) or default).upper() not in ("NO", "FALSE", "OFF", "0")

"""Asking an object store: S3, Google Cloud Storage, Azure Blob Storage, by root and key.

Every request goes through `_ask`, which asks again where an answer breaks off, and turns what a
store refuses into an error with its remedy. Nothing here knows a path; `lulc.location` does.

Credentials and endpoints come from the environment, under the names that the stores' own tools use:
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and AWS_ENDPOINT_URL;
GOOGLE_APPLICATION_CREDENTIALS (STORAGE_EMULATOR_HOST for a server of one's own);
AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY and AZURE_STORAGE_ENDPOINT; or from the
machine's own identity.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore, from_url

from lulc.errors import InputError, SetupError, StoreError
from lulc.redact import redact_text

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION, AWS_ENDPOINT_URL)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Scheme → the variables that credentials are taken from, for messages."""

_READER, _WRITER = "role Storage Blob Data Reader", "role Storage Blob Data Contributor"
_CREATE = "storage.objects.create and storage.objects.delete"
_PERMISSIONS = {
    "read": {"s3": "s3:GetObject", "gs": "storage.objects.get", "abfs": _READER},
    "list": {"s3": "s3:ListBucket", "gs": "storage.objects.list", "abfs": _READER},
    "write": {"s3": "s3:PutObject", "gs": _CREATE, "abfs": _WRITER},
    "delete": {"s3": "s3:DeleteObject", "gs": "storage.objects.delete", "abfs": _WRITER},
}
"""Action → scheme → what has to be granted for it."""

_NO_KEY = re.compile("InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|Unauthorized")
_OTHER_CLOCK = re.compile("RequestTimeTooSkewed|RequestExpired")
_OTHER_REGION = re.compile(
    "PermanentRedirect|AuthorizationHeaderMalformed|redirect without LOCATION"
    "|IllegalLocationConstraint"
)
_FULL = re.compile("QuotaExceeded|InsufficientStorage|StorageFull|507 Insufficient Storage")
_NOBODY = {"client_email": "", "private_key": "", "private_key_id": ""}
_METADATA_SERVER = "169.254.169.254"
_asking: set[int] = set()
"""This process, once it has asked a store; a fork of it finds its parent here."""
_TRIES = 4
_BROKEN_OFF = re.compile(r"request or response body error|[Ii]nvalid \w+ response")
"""What obstore says of an answer that ended early; it asks again by itself for no such answer."""
_NO_SUCH_RANGE = "416"
_LISTED_FROM = ("s3://", "gs://")
"""Stores that list from any key on; Azure gives all keys before it, too."""
_LISTINGS = 8  # at a time
_OBJECTS_A_PAGE = 1000
_UNLISTED = re.compile(r"object with invalid path: .*?Path \"(.*?)\"(?: contained|: )", re.S)
"""What obstore says where a folder has a name that it cannot ask for."""

# A store that is busy or breaks off is asked again for a minute, then it counts as down. At a
# check before anything starts, nobody wants to wait as long.
_PATIENT: Any = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
_QUICK: Any = {"max_retries": 1, "retry_timeout": timedelta(seconds=3)}
_CLIENT: Any = {"allow_http": True, "connect_timeout": "5s", "timeout": "60s"}
_QUICK_CLIENT: Any = {**_CLIENT, "timeout": "5s"}


@dataclass(frozen=True)
class ObjectStat:
    """What a store says of an object, with the words of `os.stat_result`."""

    st_size: int
    """Bytes."""
    st_mtime_ns: int
    etag: str | None
    """Changes with the content."""


def check_root(root: str, key: str) -> None:
    """Ask once, in a few seconds, for what lies below a key.

    Raises:
        StoreError: the store does not answer, refuses, or has no such bucket.
    """
    _ask(
        root,
        key,
        "list",
        lambda store: obstore.list_with_delimiter(store, key or None),
        is_quick=True,
    )


def read_stat(root: str, key: str) -> ObjectStat:
    """Return size, time and etag of an object.

    Raises:
        FileNotFoundError: there is none.
        StoreError: the store refuses.
    """
    return _stat_of(_ask(root, key, "read", lambda store: obstore.head(store, key)))


def read_start(root: str, key: str, length: int | None) -> tuple[bytes, ObjectStat]:
    """Return the first bytes of an object, or all of them, and what the store says of it.

    Args:
        root: scheme and bucket.
        key: the object's name.
        length: how many bytes; None for all.

    Raises:
        FileNotFoundError: there is none.
        StoreError: the store refuses.
    """
    span = (0, length) if length else {"offset": 0}
    try:
        return _ask(root, key, "read", functools.partial(_fetch, key=key, span=span))
    except StoreError as error:
        if _NO_SUCH_RANGE not in str(error):
            raise
        return b"", ObjectStat(0, 0, None)  # an empty object has no first byte


def read_range(root: str, key: str, start: int, end: int, opened: ObjectStat) -> bytes:
    """Return bytes of an object that was asked for before.

    Args:
        root: scheme and bucket.
        key: the object's name.
        start: the first byte.
        end: the byte after the last.
        opened: what the store said of the object before.

    Raises:
        StoreError: the object is another by now, or the store refuses.
    """
    content, now = _ask(root, key, "read", functools.partial(_fetch, key=key, span=(start, end)))
    if (now.st_size, now.etag) != (opened.st_size, opened.etag):
        raise StoreError(f"{root}/{key}", "it was replaced while it was read")
    return content


def list_folder(root: str, key: str) -> tuple[list[str], list[tuple[str, ObjectStat]]]:
    """Return the folders in a folder, and the objects with what the store says of them; by key.

    Raises:
        InputError: one of them has a name that cannot be asked for.
        StoreError: the store refuses.
    """
    page = _ask(root, key, "list", lambda store: obstore.list_with_delimiter(store, key or None))
    folders = sorted(folder.strip("/") for folder in page["common_prefixes"])
    return folders, sorted((meta["path"], _stat_of(meta)) for meta in page["objects"])


def list_below(root: str, key: str) -> list[tuple[str, ObjectStat]]:
    """Return every object below a folder, with what the store says of it, by key.

    Raises:
        InputError: one of them has a name that cannot be asked for.
        StoreError: the store refuses.
    """
    pages = _ask(root, key, "list", lambda store: list(obstore.list(store, key or None)))
    return sorted((meta["path"], _stat_of(meta)) for page in pages for meta in page)


def map_below[Result](
    root: str, key: str, work: Callable[[Iterator[tuple[str, ObjectStat]]], Result]
) -> list[Result]:
    """Return what `work` gives for the objects below a folder, by key.

    Where there are many folders in it they are listed in several ranges at once; what lies below
    one of them is in one range. A page of the store's is held at a time.

    Args:
        root: scheme and bucket.
        key: of the folder.
        work: gets the objects of a range with what the store says of them; it may be called again
            where an answer breaks off.

    Returns:
        What it gave for each range, in order of keys.
    """
    cuts: list[str] = []
    if root.startswith(_LISTED_FROM):
        folders = list_folder(root, key)[0]
        cuts = folders[:: -(-len(folders) // _LISTINGS)][1:] if folders else []
    ranges = zip([None, *cuts], [*cuts, None], strict=True)

    def list_range(first_and_last: tuple[str | None, str | None]) -> Result:
        return _ask(root, key, "list", lambda store: work(_stream(store, key, *first_and_last)))

    if not cuts:
        return [list_range((None, None))]
    with ThreadPoolExecutor(_LISTINGS) as pool:
        return list(pool.map(list_range, ranges))


def _stream(
    store: ObjectStore, key: str, after: str | None, last: str | None
) -> Iterator[tuple[str, ObjectStat]]:
    pages = obstore.list(store, key or None, offset=after, chunk_size=_OBJECTS_A_PAGE)
    for page in pages:
        for meta in page:
            if last is not None and meta["path"] > last:
                return
            yield meta["path"], _stat_of(meta)


def put_object(root: str, key: str, content: bytes | Path) -> None:
    """Publish an object: whole, or not at all.

    Raises:
        StoreError: the store refuses.
    """
    _ask(root, key, "write", lambda store: obstore.put(store, key, content))


def put_new_object(root: str, key: str, content: bytes) -> bool:
    """Publish an object where there is none; return whether this content is there now.

    Args:
        root: scheme and bucket.
        key: the object's name.
        content: differs from what another process would publish there.

    Raises:
        StoreError: the store refuses for another reason.
    """
    try:
        _ask(root, key, "write", lambda store: obstore.put(store, key, content, mode="create"))
    except FileExistsError:
        # The answer to the first try may have been lost: then the object there is this one.
        return read_start(root, key, None)[0] == content
    return True


def delete_object(root: str, key: str) -> None:
    """Remove an object; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError):
        _ask(root, key, "delete", lambda store: obstore.delete(store, key))


def store_endpoint(scheme: str) -> str | None:
    """Return the address of a store's server, without a slash at its end.

    Args:
        scheme: s3, gs or abfs.

    Returns:
        None for the server of the cloud that the scheme is of.
    """
    names = {
        "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "gs": ("STORAGE_EMULATOR_HOST",),
        "abfs": ("AZURE_STORAGE_ENDPOINT",),
    }
    for name in names[scheme]:
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


def _ask[Answer](
    root: str,
    key: str,
    action: str,
    request: Callable[[ObjectStore], Answer],
    is_quick: bool = False,
) -> Answer:
    # What a request returns; the action is one of _PERMISSIONS. What breaks off is asked for again;
    # where the store is busy or does not answer, obstore has asked again by itself.
    tries = 0
    while True:
        tries += 1
        try:
            return request(_store(root, is_quick))
        except (BaseError, _BrokenOff, FileNotFoundError, FileExistsError) as error:
            if tries == _TRIES or not _is_broken_off(error):
                raise _explain(root, key, action, error) from error


def _is_broken_off(error: Exception) -> bool:
    return isinstance(error, _BrokenOff) or bool(_BROKEN_OFF.search(str(error)))


class _BrokenOff(Exception):
    """An answer that ends early and says that it is whole."""


def _fetch(store: ObjectStore, key: str, span: Any) -> tuple[bytes, ObjectStat]:
    # A part of an object, as obstore names it, and what the store says of it. The length of an
    # answer tells nothing by itself: it is held against the part that was asked for.
    answer = obstore.get(store, key, options={"range": span})
    content = bytes(answer.bytes())
    start, end = answer.range
    if len(content) != end - start:
        raise _BrokenOff(f"the store answers with {len(content):,} of {end - start:,} bytes")
    return content, _stat_of(answer.meta)


def _stat_of(meta: Any) -> ObjectStat:
    modified = int(meta["last_modified"].timestamp() * 1e9)
    return ObjectStat(meta["size"], modified, meta["e_tag"])


def _store(root: str, is_quick: bool) -> ObjectStore:
    process = os.getpid()
    if _asking and process not in _asking:
        # The threads by which obstore asks are not in a fork: it would wait for ever.
        raise SetupError(
            f"process {process} was forked off one that had asked a store, and cannot ask one: "
            'start it by multiprocessing.get_context("spawn"), or before any store is asked'
        )
    _asking.add(process)
    return _connect(root, is_quick, tuple(sorted(_settings(root).items())))


@functools.cache
def _connect(
    root: str, is_quick: bool, from_environment: tuple[tuple[str, Any], ...]
) -> ObjectStore:
    settings: Any = dict(from_environment)
    retries, client = (_QUICK, _QUICK_CLIENT) if is_quick else (_PATIENT, _CLIENT)
    store: ObjectStore = from_url(
        root, config=settings, client_options=client, retry_config=retries
    )
    return store


def _settings(root: str) -> dict[str, Any]:
    # What obstore does not take from the environment by itself: GDAL's names of the same.
    scheme = root.partition("://")[0]
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
        settings["region"] = _region()
    return settings


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _is_on(name: str, default: str) -> bool:
    # A switch in the environment, as GDAL reads it.
    return (os.environ.get(name) or default).upper() not in ("NO", "FALSE", "OFF", "0")


def _explain(root: str, key: str, action: str, error: Exception) -> Exception:
    # The store's error as one of a file system or of this project, in one line, without secrets.
    address, text = f"{root}/{key}", str(error)
    names = CREDENTIALS[root.partition("://")[0]]
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        bucket = root.partition("://")[2]
        return StoreError(address, f"there is no bucket {bucket}: make it, or correct its name")
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "is not there", address)
    if isinstance(error, AlreadyExistsError | FileExistsError):
        return FileExistsError(errno.EEXIST, "another object is there", address)
    if unlisted := _UNLISTED.search(text):
        return InputError(
            f"{address} cannot be listed, as there is {unlisted[1]!r}: its name has two slashes "
            "side by side, `.` or `..` between slashes, or a character that cannot be printed; "
            "rename or delete it"
        )
    access = f"set {names}, or give this machine's identity access"
    if _METADATA_SERVER in text:
        return StoreError(address, f"there are no credentials: {access}", is_denial=True)
    if reason := _without_answer(root, text) or _refused(root, text):
        return StoreError(address, reason)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        if isinstance(error, PermissionDeniedError) and not _NO_KEY.search(text):
            permission = _PERMISSIONS[action][root.partition("://")[0]]
            access = f"grant {permission} on it, or set {names} of one who may {action} it"
        return StoreError(address, f"{_first_line(error)}: {access}", is_denial=True)
    if "status code: 400" in text and "<Code>" not in text:  # to a HEAD, a store gives no reason
        expired = f"it does not say why; where a token may have expired, set {names}"
        return StoreError(address, f"{_first_line(error)}: {expired}")
    return StoreError(address, _first_line(error))


def _refused(root: str, text: str) -> str | None:
    # Refusals that are no denial: what is read may well be allowed.
    names = CREDENTIALS[root.partition("://")[0]]
    if "ExpiredToken" in text:
        return f"the token has expired: set {names}"
    if _OTHER_CLOCK.search(text):
        return (
            f"this machine's clock is not the store's (it says {datetime.now(UTC):%H:%M} UTC): "
            "set it, as by `timedatectl set-ntp true`"
        )
    if _OTHER_REGION.search(text):
        region = re.search(r"<Region>([\w-]+)</Region>|expecting '([\w-]+)'", text)
        place = f"region {region[1] or region[2]}" if region else "another region"
        return f"the bucket is in {place}, not in {_region()}: set AWS_REGION to its region"
    if _FULL.search(text):
        return "the store is full, or its quota is used up: free space or raise the quota"
    return None


def _without_answer(root: str, text: str) -> str | None:
    # What to say where no server could be asked at all.
    if "Account must be specified" in text:
        return (
            "no storage account is named: write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/…, "
            "or set AZURE_STORAGE_ACCOUNT_NAME"
        )
    if "error sending request" not in text:
        return None
    server = store_endpoint(root.partition("://")[0]) or "the cloud that it is of"
    return (
        f"{redact_text(server)} does not answer: check the network, and the endpoint if one is set"
    )


def _first_line(error: Exception) -> str:
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    line = redact_text(str(error).partition("\n")[0], 300)
    line = re.split(r": <(?:\?xml|Error)", line)[0].rstrip(": ")
    return f"{line} ({code[1]})" if code else line

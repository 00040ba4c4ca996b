"""Asking an object store: S3, Google Cloud Storage, Azure Blob Storage, by root and key.

Every request goes through `_ask`, which asks again where an answer breaks off, and turns what a
store refuses into an error with its remedy. Nothing here knows a path; `lulc.location` does.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from lulc.errors import SetupError, StoreError
from lulc.store_access import settings_of
from lulc.store_refusals import explain

_asking: set[int] = set()
"""This process, once it has asked a store; a fork of it finds its parent here."""
_TRIES = 4
_BROKEN_OFF = re.compile(r"request or response body error|[Ii]nvalid \w+ response")
"""What obstore says of an answer that ended early; it asks again by itself for no such answer."""
_ASKED_AGAIN = re.compile(r", after \d+ retries")
"""What obstore says where it has asked again by itself."""
_UNEXPLAINED = re.compile("status code: 40[03]")
"""What obstore says of refusals that a store explains in the body of its answer."""
_NO_SUCH_RANGE = "416"
_LISTED_FROM = ("s3://", "gs://")
"""Stores that list from any key on; Azure gives all keys before it, too."""
_LISTINGS = 8  # at a time
_OBJECTS_A_PAGE = 1000

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
    try:
        return _stat_of(_ask(root, key, "read", lambda store: obstore.head(store, key)))
    except StoreError as error:
        if not _UNEXPLAINED.search(str(error)):
            raise
        # An answer to HEAD has no body, and so does not say whether it is the clock or the token.
        return read_start(root, key, 1)[1]


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
    tries = 0

    def put(store: ObjectStore) -> None:
        nonlocal tries
        tries += 1
        obstore.put(store, key, content, mode="create")

    try:
        _ask(root, key, "write", put)
    except FileExistsError as error:
        # The object is this one only where the answer to an earlier try was lost.
        if tries == 1 and not _ASKED_AGAIN.search(str(error.__cause__)):
            return False
        return read_start(root, key, None)[0] == content
    return True


def delete_object(root: str, key: str) -> None:
    """Remove an object; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError):
        _ask(root, key, "delete", lambda store: obstore.delete(store, key))


def delete_objects(root: str, keys: Sequence[str]) -> None:
    """Remove objects, as many in a request as the store takes; nothing where there are none."""
    try:
        _ask(root, keys[0], "delete", lambda store: obstore.delete(store, keys))
    except FileNotFoundError:
        # Another process removes them as well.
        for key in keys:
            delete_object(root, key)


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
                raise explain(root, key, action, error) from error


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
    return _connect(root, is_quick, tuple(sorted(settings_of(root).items())))


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

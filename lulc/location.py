"""Locations: where a file or folder lies, on this machine's disk or in an object store.

A location on disk is a `pathlib.Path`; one in a store is a StorePath, which has a Path's words.
Code that reads takes either. Nothing is written here: `lulc.tables.files` publishes.

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
import io
import json
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import ObjectStore, from_url

from lulc.errors import SetupError, StoreError, UsageError
from lulc.redact import redact_text

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

STORES = ("s3://", "gs://", "abfs://", "abfss://")
"""How the addresses of object stores begin."""

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION, AWS_ENDPOINT_URL)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Scheme → the variables that credentials are taken from, for messages."""

_ADDRESS = re.compile(r"(?P<root>(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://[^/]*)/*(?P<key>.*)", re.S)
_ONE_SLASH = re.compile(r"(s3a?|gs|abfss?|https?):/(?!/)")
_BUCKET = re.compile(r"[\w.-]*\w")
_CONTAINER = re.compile(r"[\w$-]+(@[\w.-]+)?")
_NOBODY = {"client_email": "", "private_key": "", "private_key_id": ""}
_METADATA_SERVER = "169.254.169.254"
_BUFFER = 1 << 20
_asking: set[int] = set()
"""This process, once it has asked a store; a fork of it finds its parent here."""
_TRIES = 4
_NO_SUCH_RANGE = "416"

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


@dataclass(frozen=True, order=True)
class StorePath:
    """A place in an object store, with the words of `pathlib.Path`.

    It has no `__fspath__`: a library that opens files of this machine refuses it.
    """

    root: str
    """Scheme and bucket or container, `s3://bucket`."""
    key: str = ""
    """Name in the bucket, without slashes at its ends; empty for the bucket itself."""

    def __str__(self) -> str:
        """Return the address."""
        return f"{self.root}/{self.key}"

    def __truediv__(self, name: str | PurePosixPath) -> StorePath:
        """Return the place of this name below this one; `..` in it leads up."""
        place = StorePath(self.root, posixpath.join(self.key, str(name)).strip("/"))
        return place.resolve() if ".." in place.parts else place

    def as_posix(self) -> str:
        """Return the address."""
        return str(self)

    @property
    def parts(self) -> tuple[str, ...]:
        """The root, and the names between slashes."""
        return (self.root, *(part for part in self.key.split("/") if part))

    @property
    def name(self) -> str:
        """The last name of the key."""
        return posixpath.basename(self.key)

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        """The name's last suffix, with its dot."""
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> StorePath:
        """The folder; the bucket is its own."""
        return StorePath(self.root, posixpath.dirname(self.key))

    @property
    def parents(self) -> tuple[StorePath, ...]:
        """The folder, its folder, and so on to the bucket."""
        if not self.key:
            return ()
        return (self.parent, *self.parent.parents)

    def with_name(self, name: str) -> StorePath:
        """Return the place of another name in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> StorePath:
        """Return the place whose name has another last suffix."""
        return self.parent / PurePosixPath(self.name).with_suffix(suffix)

    def relative_to(self, other: Location | str) -> PurePosixPath:
        """Return the names that lead from a folder here.

        Raises:
            ValueError: this is not below it.
        """
        folder = parse_location(other)
        if not isinstance(folder, StorePath) or folder.root != self.root:
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath("/", self.key).relative_to(PurePosixPath("/", folder.key))

    def is_relative_to(self, other: Location | str) -> bool:
        """Return whether this is a folder or below it."""
        return is_below(self, parse_location(other))

    def is_absolute(self) -> bool:
        """Return True: an address does not depend on where a program runs."""
        return True

    def resolve(self) -> StorePath:
        """Return the place without `.` and `..`, which a store takes for names."""
        key = posixpath.normpath(f"/{self.key}").strip("/") if self.key else ""
        return StorePath(self.root, key)

    absolute = resolve

    def exists(self) -> bool:
        """Return whether an object is here, or any below here."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Return whether an object is here."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Return whether any object is below here; the bucket is a folder even if empty."""
        with store_errors(self):
            page = obstore.list_with_delimiter(_store(self.root), self.key or None)
        return not self.key or bool(page["objects"] or page["common_prefixes"])

    def stat(self) -> ObjectStat:
        """Return size, time and etag of the object.

        Raises:
            FileNotFoundError: there is none.
        """
        if not self.key:
            raise FileNotFoundError(errno.ENOENT, "is a bucket, not an object", str(self))
        with store_errors(self):
            meta = obstore.head(_store(self.root), self.key)
        return _stat_of(meta)

    def read_bytes(self) -> bytes:
        """Return the object's content."""
        return _fetch_start(self, None)[0]

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the object's content as text."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: Literal["r", "rb"] = "r", encoding: str | None = None) -> IO[Any]:
        """Open the object for reading; it is fetched in pieces of 1 MiB, or as much as is read.

        The first piece is fetched at once, which is one request for most objects.
        """
        start, opened = _fetch_start(self)
        binary = io.BufferedReader(_StoreFile(self, opened, start), _BUFFER)
        return binary if mode == "rb" else io.TextIOWrapper(binary, encoding or "utf-8")

    def iterdir(self) -> Iterator[StorePath]:
        """Yield what lies in the folder, in order."""
        with store_errors(self):
            page = obstore.list_with_delimiter(_store(self.root), self.key or None)
        keys = [*page["common_prefixes"], *(meta["path"] for meta in page["objects"])]
        children = {key.strip("/") for key in keys} - {self.key}
        yield from (StorePath(self.root, key) for key in sorted(children))

    def glob(self, pattern: str) -> Iterator[StorePath]:
        """Yield what matches a pattern below the folder, as `Path.glob` does; `**` is any folder.

        A folder is listed by the names that its pattern leaves open, and no other.
        """
        yield from sorted(set(_matches(self, pattern.split("/"))))

    def rglob(self, pattern: str) -> Iterator[StorePath]:
        """Yield what matches a pattern at any depth below the folder."""
        yield from self.glob(f"**/{pattern}")

    def scan(self) -> Iterator[tuple[StorePath, ObjectStat]]:
        """Yield the objects in the folder itself, in order, with what the store says of them."""
        with store_errors(self):
            page = obstore.list_with_delimiter(_store(self.root), self.key or None)
        found = [(StorePath(self.root, meta["path"]), _stat_of(meta)) for meta in page["objects"]]
        yield from sorted(found, key=lambda entry: entry[0])

    def walk(self) -> Iterator[tuple[StorePath, ObjectStat]]:
        """Yield every object below the folder, in order, with what the store says of it."""
        with store_errors(self):
            pages = list(obstore.list(_store(self.root), self.key or None))
        found = [(StorePath(self.root, meta["path"]), _stat_of(meta)) for p in pages for meta in p]
        # Consoles and other clients put an empty object where they make a folder.
        folders = {self, *(folder for place, _ in found for folder in place.parents)}
        found = [(place, stat) for place, stat in found if stat.st_size or place not in folders]
        yield from sorted(found, key=lambda entry: entry[0])

    def put(self, content: bytes | Path) -> None:
        """Publish an object: whole, or not at all.

        Args:
            content: its bytes, or a file of this machine that holds them.

        Raises:
            OSError: the store refuses; the message has no secret.
        """
        with store_errors(self):
            obstore.put(_store(self.root), self.key, content)

    def put_new(self, content: bytes) -> bool:
        """Publish an object where there is none; return whether it was.

        Raises:
            OSError: the store refuses for another reason; the message has no secret.
        """
        try:
            with store_errors(self):
                obstore.put(_store(self.root), self.key, content, mode="create")
        except FileExistsError:
            return False
        return True

    def delete(self) -> None:
        """Remove the object; nothing where there is none."""
        with contextlib.suppress(FileNotFoundError), store_errors(self):
            obstore.delete(_store(self.root), self.key)


type Location = Path | StorePath
"""Where something lies; `location / name` joins a name with forward slashes to it."""


def parse_location(text: str | Location) -> Location:
    """Return the location that a path or an address names.

    Raises:
        UsageError: the address is of no store that is known, or names no bucket.

    Examples:
        >>> parse_location("s3://bucket/maps/africa/").parent
        StorePath(root='s3://bucket', key='maps')
    """
    if isinstance(text, Path | StorePath):
        return text
    if match := _ONE_SLASH.match(text):
        raise UsageError(f"{text} has one slash: write {match[1]}://{text[match.end() :]}")
    if not (match := _ADDRESS.fullmatch(text)):
        return Path(text)
    scheme = match["scheme"].lower().replace("s3a", "s3").replace("abfss", "abfs")
    if scheme not in CREDENTIALS:
        raise UsageError(
            f"{redact_text(text)} is of no store that is known: give a path on this machine, or an "
            "address that begins with s3://, gs:// or abfs://"
        )
    location = StorePath(*_split(text))
    if location.root.endswith("://"):
        raise UsageError(f"{text} names no bucket: write {scheme}://BUCKET/NAME")
    bucket = _CONTAINER if scheme == "abfs" else _BUCKET
    if not bucket.fullmatch(location.root.partition("://")[2]):
        raise UsageError(
            f"{redact_text(text)} names no bucket as stores name them: write {scheme}://BUCKET/NAME"
            ", credentials and endpoints in the environment"
        )
    if "//" in location.key or not location.key.isprintable():
        raise UsageError(
            f"{text!r} is no name that can be asked for: it has two slashes side by side, or a "
            "character that cannot be printed"
        )
    return location.resolve()


def relative_name(location: Location, folder: Location) -> str:
    """Return the name of a location below a folder, with forward slashes.

    Raises:
        ValueError: it is not below it.
    """
    return location.relative_to(str(folder)).as_posix()


def is_below(location: Location, folder: Location) -> bool:
    """Return whether a location is a folder or below it."""
    try:
        relative_name(location, folder)
    except ValueError:
        return False
    return True


def on_disk(location: Location, what: str) -> Path:
    """Return a location that must be a path on this machine's disk.

    Args:
        location: a path or an address.
        what: what needs it; the message begins with it.

    Raises:
        UsageError: it is in a store.
    """
    if isinstance(location, StorePath):
        raise UsageError(
            f"{what} takes a path on this machine's disk, and {location} is in a store"
        )
    return location


def arrow_filesystem(location: Location) -> tuple[FileSystem, str]:
    """Return the file system by which pyarrow reads a location, and the location's path in it.

    It is for reading: what a failed writer leaves half-written it would publish.
    """
    from pyarrow.fs import LocalFileSystem

    if isinstance(location, Path):
        return LocalFileSystem(), str(location)
    files = _arrow_filesystem(location.root, tuple(sorted(_settings(location.root).items())))
    return files, str(location).partition("://")[2].rstrip("/")


@functools.cache
def _arrow_filesystem(root: str, from_environment: tuple[tuple[str, Any], ...]) -> FileSystem:
    from obstore.fsspec import FsspecStore
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    protocol: Any = root.partition("://")[0]
    settings: Any = dict(from_environment)
    files: Any = FsspecStore(
        protocol, config=settings, client_options=_CLIENT, retry_config=_PATIENT
    )
    return PyFileSystem(FSSpecHandler(files))


def is_address(text: str) -> bool:
    """Return whether a text is an address, such as `s3://bucket/x.tif`, and no path."""
    return _ADDRESS.fullmatch(text) is not None


def check_location(location: Location) -> None:
    """Check that a store can be reached, in a few seconds; a path is not looked at.

    Raises:
        SetupError: there are no credentials for it, they are refused, or there is no such bucket.
    """
    if isinstance(location, Path):
        return
    try:
        with store_errors(location):
            obstore.list_with_delimiter(_store(location.root, quick=True), location.key or None)
    except StoreError as error:
        raise SetupError(f"{location} cannot be used: {error.reason}") from error


def _split(address: str) -> tuple[str, str]:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(f"{address} is no address")
    scheme, _, bucket = match["root"].partition("://")
    scheme = {"s3a": "s3", "abfss": "abfs"}.get(scheme.lower(), scheme.lower())
    return f"{scheme}://{bucket}", match["key"].strip("/")


def _store(root: str, quick: bool = False) -> ObjectStore:
    process = os.getpid()
    if _asking and process not in _asking:
        # The threads by which obstore asks are not in a fork: it would wait for ever.
        raise SetupError(
            f"process {process} was forked off one that had asked a store, and cannot ask one: "
            'start it by multiprocessing.get_context("spawn"), or before any store is asked'
        )
    _asking.add(process)
    return _connect(root, quick, tuple(sorted(_settings(root).items())))


@functools.cache
def _connect(root: str, quick: bool, from_environment: tuple[tuple[str, Any], ...]) -> ObjectStore:
    settings: Any = dict(from_environment)
    retries, client = (_QUICK, _QUICK_CLIENT) if quick else (_PATIENT, _CLIENT)
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
        settings["region"] = (
            os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        )
    return settings


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


def _is_on(name: str, default: str) -> bool:
    # A switch in the environment, as GDAL reads it.
    return (os.environ.get(name) or default).upper() not in ("NO", "FALSE", "OFF", "0")


def azure_account(root: str) -> str:
    """Return the storage account of an Azure container, "" where none is told.

    Args:
        root: `abfs://container@account.dfs.core.windows.net`, or `abfs://container` of the
            account in AZURE_STORAGE_ACCOUNT_NAME.
    """
    host = root.partition("@")[2]
    return host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")


@contextlib.contextmanager
def store_errors(location: StorePath) -> Iterator[None]:
    """Turn the store's errors into those of a file system, in one line, without secrets."""
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _no_bucket(location) from error
        raise FileNotFoundError(errno.ENOENT, "is not there", str(location)) from error
    except AlreadyExistsError as error:
        raise FileExistsError(errno.EEXIST, "another object is there", str(location)) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _denied(location, _first_line(error)) from error
    except BaseError as error:
        text = str(error)
        if "NoSuchBucket" in text or "ContainerNotFound" in text:
            raise _no_bucket(location) from error
        if _METADATA_SERVER in text:
            raise _denied(location, "there are no credentials") from error
        if reason := _unanswered(location, text):
            raise StoreError(str(location), reason) from error
        if "ExpiredToken" in text:  # no denial: what is read may well be allowed
            names = CREDENTIALS[location.root.partition("://")[0]]
            raise StoreError(str(location), f"the token has expired: set {names}") from error
        raise StoreError(str(location), _first_line(error)) from error


def _unanswered(location: StorePath, text: str) -> str | None:
    # What to say where no server could be asked at all.
    scheme = location.root.partition("://")[0]
    if "Account must be specified" in text:
        return (
            "no storage account is named: write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/…, "
            "or set AZURE_STORAGE_ACCOUNT_NAME"
        )
    if "error sending request" not in text:
        return None
    server = store_endpoint(scheme) or "the cloud that it is of"
    return (
        f"{redact_text(server)} does not answer: check the network, and the endpoint if one is set"
    )


def _no_bucket(location: StorePath) -> StoreError:
    bucket = location.root.partition("://")[2]
    text = f"there is no bucket {bucket}: make it, or correct its name"
    return StoreError(str(location), text)


def _denied(location: StorePath, reason: str) -> StoreError:
    names = CREDENTIALS[location.root.partition("://")[0]]
    text = f"{reason}: set {names}, or give this machine's identity access"
    return StoreError(str(location), text, is_denial=True)


def _first_line(error: Exception) -> str:
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    line = redact_text(str(error).partition("\n")[0], 300)
    line = re.split(r": <(?:\?xml|Error)", line)[0]
    return f"{line} ({code[1]})" if code else line


def _stat_of(meta: Any) -> ObjectStat:
    modified = int(meta["last_modified"].timestamp() * 1e9)
    return ObjectStat(meta["size"], modified, meta["e_tag"])


def _matches(folder: StorePath, pattern: list[str]) -> Iterator[StorePath]:
    first, *rest = pattern
    if first == "**":
        for child, _ in folder.walk():
            names = child.relative_to(folder).parts
            for depth in range(len(names) if rest else 0):
                if _match_names(names[depth:], rest):
                    yield child
    elif not set("*?[") & set(first):
        child = folder / first
        if rest:
            yield from _matches(child, rest)
        elif child.exists():
            yield child
    else:
        for child in folder.iterdir():
            if fnmatchcase(child.name, first):
                yield from _matches(child, rest) if rest else (child,)


def _match_names(names: tuple[str, ...], pattern: list[str]) -> bool:
    return len(names) == len(pattern) and all(map(fnmatchcase, names, pattern))


def _fetch_start(location: StorePath, length: int | None = _BUFFER) -> tuple[bytes, ObjectStat]:
    # The first bytes of an object, or all of them, and what the store says of it.
    if not location.key:
        raise FileNotFoundError(errno.ENOENT, "is a bucket, not an object", str(location))
    try:
        return _fetch(location, (0, length) if length else {"offset": 0})
    except StoreError as error:
        if _NO_SUCH_RANGE not in str(error):
            raise
        return b"", ObjectStat(0, 0, None)  # an empty object has no first byte


def _fetch(
    location: StorePath, span: Any, opened: ObjectStat | None = None
) -> tuple[bytes, ObjectStat]:
    # A part of an object, as obstore names it, and what the store says of it. An answer that
    # ends early and says that it is whole tells nothing by itself: it is held against the part that
    # was asked for, and asked for again.
    for _ in range(_TRIES):
        with store_errors(location):
            answer = obstore.get(_store(location.root), location.key, options={"range": span})
            content = bytes(answer.bytes())
        start, end = answer.range
        now = _stat_of(answer.meta)
        if opened and (now.st_size, now.etag) != (opened.st_size, opened.etag):
            raise StoreError(str(location), "it was replaced while it was read")
        if len(content) == end - start:
            return content, now
    reason = f"the store answers with {len(content):,} of {end - start:,} bytes"
    raise StoreError(str(location), reason)


class _StoreFile(io.RawIOBase):
    """An object as a file that can be read from any place, of which the first bytes are known."""

    def __init__(self, location: StorePath, opened: ObjectStat, start: bytes) -> None:
        self._location, self._opened, self._start, self._position = location, opened, start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._opened.st_size}[
            whence
        ]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        piece = self._next(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        return self._next(self._opened.st_size)

    def _next(self, length: int) -> bytes:
        end = min(self._position + length, self._opened.st_size)
        if end <= self._position:
            return b""
        piece = self._start[self._position : end]
        if (known := self._position + len(piece)) < end:
            piece += _fetch(self._location, (known, end), self._opened)[0]
        self._position = end
        return piece

"""Locations: where a file or folder lies, on this machine's disk or in an object store.

A location on disk is a `pathlib.Path`; one in a store is a StorePath, which has a Path's words.
Code that reads takes either. Nothing is written here: `lulc.tables.files` publishes.
"""

from __future__ import annotations

import errno
import io
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from lulc import object_store
from lulc.errors import SetupError, StoreError, UsageError
from lulc.object_store import ObjectStat
from lulc.redact import redact_text
from lulc.store_access import CREDENTIALS

STORES = ("s3://", "gs://", "abfs://", "abfss://")
"""How the addresses of object stores begin."""

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<bucket>[^/]*)/*(?P<key>.*)", re.S)
_SCHEMES = {"s3a": "s3", "abfss": "abfs"}
"""Other names of a scheme."""
_TOO_FEW_SLASHES = re.compile(r"(s3a?|gs|abfss?|https?):/?(?!/)", re.IGNORECASE)
_BUCKET = re.compile(r"[\w.-]*\w")
_CONTAINER = re.compile(r"[\w$-]+(@[\w.-]+)?")
_BUFFER = 1 << 20


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
        joined = StorePath(self.root, posixpath.join(self.key, str(name)).strip("/"))
        return joined.resolve() if ".." in joined.parts else joined

    def as_posix(self) -> str:
        """Return the address."""
        return str(self)

    @property
    def parts(self) -> tuple[str, ...]:
        """The root, and the names between slashes."""
        return (self.root, *(name for name in self.key.split("/") if name))

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
        folders, objects = object_store.list_folder(self.root, self.key)
        return not self.key or bool(folders or objects)

    def stat(self) -> ObjectStat:
        """Return size, time and etag of the object.

        Raises:
            FileNotFoundError: there is none.
        """
        if not self.key:
            raise FileNotFoundError(errno.ENOENT, "is a bucket, not an object", str(self))
        return object_store.read_stat(self.root, self.key)

    def read_bytes(self) -> bytes:
        """Return the object's content."""
        return self._read_start(None)[0]

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the object's content as text."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: Literal["r", "rb"] = "r", encoding: str | None = None) -> IO[Any]:
        """Open the object for reading; it is fetched in pieces of 1 MiB, or as much as is read.

        The first piece is fetched at once, which is one request for most objects.
        """
        start, opened = self._read_start(_BUFFER)
        binary = io.BufferedReader(_StoreFile(self, opened, start), _BUFFER)
        return binary if mode == "rb" else io.TextIOWrapper(binary, encoding or "utf-8")

    def iterdir(self) -> Iterator[StorePath]:
        """Yield what lies in the folder, in order."""
        folders, objects = object_store.list_folder(self.root, self.key)
        children = {*folders, *(key for key, _ in objects)} - {self.key}
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
        _, objects = object_store.list_folder(self.root, self.key)
        yield from ((StorePath(self.root, key), stat) for key, stat in objects)

    def walk(self) -> Iterator[tuple[StorePath, ObjectStat]]:
        """Yield every object below the folder, in order, with what the store says of it."""
        objects = object_store.list_below(self.root, self.key)
        entries = [(StorePath(self.root, key), stat) for key, stat in objects]
        # Consoles and other clients put an empty object where they make a folder.
        folders = {self, *(folder for entry_path, _ in entries for folder in entry_path.parents)}
        yield from (entry for entry in entries if entry[1].st_size or entry[0] not in folders)

    def put(self, content: bytes | Path) -> None:
        """Publish an object: whole, or not at all.

        Args:
            content: its bytes, or a file of this machine that holds them.

        Raises:
            OSError: the store refuses; the message has no secret.
        """
        object_store.put_object(self.root, self.key, content)

    def put_new(self, content: bytes) -> bool:
        """Publish an object where there is none; return whether this content is there now.

        Args:
            content: differs from what another process would publish there.

        Raises:
            OSError: the store refuses for another reason; the message has no secret.
        """
        return object_store.put_new_object(self.root, self.key, content)

    def delete(self) -> None:
        """Remove the object; nothing where there is none."""
        object_store.delete_object(self.root, self.key)

    def delete_below(self) -> None:
        """Remove all objects below it; nothing where there are none."""
        if keys := [file.key for file, _ in self.walk()]:
            object_store.delete_objects(self.root, keys)

    def _read_start(self, length: int | None) -> tuple[bytes, ObjectStat]:
        if not self.key:
            raise FileNotFoundError(errno.ENOENT, "is a bucket, not an object", str(self))
        return object_store.read_start(self.root, self.key, length)


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
    if match := _TOO_FEW_SLASHES.match(text):
        address = redact_text(f"{match[1].lower()}://{text[match.end() :]}")
        raise UsageError(f"an address has two slashes after its scheme: write {address}")
    if not (match := _ADDRESS.fullmatch(text)):
        return Path(text)
    scheme = _SCHEMES.get(match["scheme"].lower(), match["scheme"].lower())
    if scheme not in CREDENTIALS:
        raise UsageError(
            f"{redact_text(text)} is of no store that is known: give a path on this machine, or an "
            "address that begins with s3://, gs:// or abfs://"
        )
    bucket = match["bucket"]
    location = StorePath(f"{scheme}://{bucket}", match["key"].strip("/"))
    if not bucket:
        raise UsageError(f"{text} names no bucket: write {scheme}://BUCKET/NAME")
    if not (_CONTAINER if scheme == "abfs" else _BUCKET).fullmatch(bucket):
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


def on_disk(location: Location, needed_by: str) -> Path:
    """Return a location that must be a path on this machine's disk.

    Args:
        location: a path or an address.
        needed_by: what needs it; the message begins with it.

    Raises:
        UsageError: it is in a store.
    """
    if isinstance(location, StorePath):
        raise UsageError(
            f"{needed_by} takes a path on this machine's disk, and {location} is in a store"
        )
    return location


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
        object_store.check_root(location.root, location.key)
    except StoreError as error:
        raise SetupError(f"{location} cannot be used: {error.reason}") from error


def check_output(location: Location) -> None:
    """Check that an output location is no file, and that its store can be reached.

    Raises:
        UsageError: it is a file.
        SetupError: as `check_location` does.
    """
    if isinstance(location, Path) and location.is_file():
        raise UsageError(f"{location} is a file: give a folder")
    check_location(location)


def _matches(folder: StorePath, pattern: list[str]) -> Iterator[StorePath]:
    first, *following = pattern
    if first == "**":
        for child, _ in folder.walk():
            names = child.relative_to(folder).parts
            for depth in range(len(names) if following else 0):
                if _match_names(names[depth:], following):
                    yield child
    elif not set("*?[") & set(first):
        child = folder / first
        if following:
            yield from _matches(child, following)
        elif child.exists():
            yield child
    else:
        for child in folder.iterdir():
            if fnmatchcase(child.name, first):
                yield from _matches(child, following) if following else (child,)


def _match_names(names: tuple[str, ...], pattern: list[str]) -> bool:
    return len(names) == len(pattern) and all(map(fnmatchcase, names, pattern))


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
        if (piece_end := self._position + len(piece)) < end:
            location = self._location
            piece += object_store.read_range(
                location.root, location.key, piece_end, end, self._opened
            )
        self._position = end
        return piece

"""A product as its archive delivers it: a folder, a zip or a tar of files, on this disk or in an object store."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from lulc.errors import InputError
from lulc.raster.access import INSIDE
from lulc.redact import redact_url

PACKED = (".zip", ".tar", ".tar.gz", ".tgz")

# What reading a damaged zip or tar may raise; RuntimeError: an encrypted one, or one packed in a way that is not known.
_DAMAGE = (
    *(OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, tarfile.TarError, pa.ArrowException),
)
_MOST_FILES = 100_000
_MOST_BYTES = 64 << 20  # of a metadata file
_PART = 4 << 20  # bytes read at once
_MOST_RATIO = 1000  # of a packed file's size to the room it takes


@dataclass(frozen=True)
class Tree:
    """The files of one product: path is where it lies; sizes are bytes by name, relative, in order."""

    path: str
    sizes: Mapping[str, int]
    _open: Callable[[str], BinaryIO]

    @property
    def packed(self) -> bool:
        """Whether it is one file that holds the others."""
        return self.path.lower().endswith(PACKED)

    def href(self, name: str) -> str:
        """What the raster reader opens the file by."""
        return f"{self.path}{INSIDE if self.packed else '/'}{name}"

    def find(self, pattern: str) -> list[str]:
        """The names that match a shell pattern, in order; `*` also matches `/`."""
        return [name for name in self.sizes if fnmatch(name, pattern)]

    def one(self, pattern: str) -> str:
        """The only name that matches; InputError where none or several do."""
        found = self.find(pattern)
        if len(found) != 1:
            held = ", ".join(found[:3]) or "none"
            raise InputError(
                f"{redact_url(self.path)} must hold one file {pattern}; it holds {held}: fetch the product anew"
            )
        return found[0]

    def read(self, name: str) -> bytes:
        """The content of a small file, such as metadata; InputError where it is large or damaged."""
        if self.sizes[name] > _MOST_BYTES:
            raise InputError(
                f"{redact_url(self.href(name))} claims {self.sizes[name]:,} bytes: metadata has {_MOST_BYTES:,} at most"
            )
        try:
            with self._open(name) as file:
                return file.read(_MOST_BYTES)
        except _DAMAGE as error:
            raise InputError(
                f"{redact_url(self.href(name))} cannot be read ({error}): fetch the product anew"
            ) from error


def digest(href: str, algorithm: str) -> str:
    """The hex digest, by a name that hashlib knows, of a file at a path or an s3 or gs address, or in a zip or tar of these.

    InputError where it cannot be read.
    """
    if urlsplit(href).scheme in ("http", "https"):
        raise InputError(
            f"{redact_url(href)} is not fetched whole to be verified: copy it to this disk, or set scenes.verify to false"
        )
    packed, _, name = href.partition(INSIDE)
    try:
        if name:
            file = open_tree(packed)._open(name)
        else:
            store, place = _store(href)
            file = store.open_input_file(place)
        made = hashlib.new(algorithm)
        with file:
            while part := file.read(_PART):
                made.update(part)
        return made.hexdigest()
    except _DAMAGE as error:
        raise InputError(
            f"{redact_url(href)} cannot be read ({error}): fetch the product anew"
        ) from error


def open_tree(path: str) -> Tree:
    """The product at a folder, a zip or a tar, or an s3 or gs address of one.

    InputError where it cannot be listed, or holds what no product does: names that lead out of it, links, a file a thousand
    times larger than the room it takes.
    """
    store, place = _store(path)
    try:
        if path.lower().endswith(PACKED):
            return _packed(path, store, place)
        listed = store.get_file_info(pafs.FileSelector(place, recursive=True))
    except _DAMAGE as error:
        raise InputError(
            f"{redact_url(path)} cannot be listed ({error}): check the path, or fetch the product anew"
        ) from error
    sizes = {
        f.path[len(place.rstrip("/")) + 1 :]: f.size or 0
        for f in listed
        if f.type == pafs.FileType.File
    }

    def opened(name: str) -> Any:
        return store.open_input_file(f"{place.rstrip('/')}/{name}")

    return Tree(path.rstrip("/"), dict(sorted(sizes.items())), opened)


def _store(path: str) -> tuple[pafs.FileSystem, str]:
    if urlsplit(path).scheme in ("s3", "gs"):
        store, place = pafs.FileSystem.from_uri(path)
        return store, place
    return pafs.LocalFileSystem(), path


def _packed(path: str, store: pafs.FileSystem, place: str) -> Tree:
    with ExitStack() as stack:
        file = stack.enter_context(store.open_input_file(place))
        if path.lower().endswith(".zip"):
            members = {
                m.filename: (m.file_size, m.compress_size)
                for m in zipfile.ZipFile(file).infolist()
                if not m.is_dir()
            }
        else:
            tar = stack.enter_context(tarfile.open(fileobj=file))
            found = [m for m in tar if not m.isdir()]
            for member in found:
                if not member.isfile():
                    raise InputError(
                        f"{redact_url(path)} holds {member.name}, which is no plain file: it is not opened"
                    )
            members = {m.name: (m.size, m.size) for m in found}
    if len(members) > _MOST_FILES:
        raise InputError(
            f"{redact_url(path)} holds {len(members):,} files: a product has {_MOST_FILES:,} at most"
        )
    for name, (size, room) in members.items():
        if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name:
            raise InputError(
                f"{redact_url(path)} holds {name!r}, which leads out of it: it is not opened"
            )
        if size > _MOST_RATIO * max(room, 1024):
            raise InputError(
                f"{redact_url(path)} holds {name}, {size:,} bytes in {room:,}: it is not opened"
            )

    def opened(name: str) -> Any:
        file = store.open_input_file(place)
        if path.lower().endswith(".zip"):
            return zipfile.ZipFile(file).open(name)
        return tarfile.open(fileobj=file).extractfile(name)

    return Tree(path, {name: size for name, (size, _) in sorted(members.items())}, opened)

"""The files of a product: a folder, zip or tar, on this disk or in an object store."""

from __future__ import annotations

import hashlib
import lzma
import os
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from lulc import paths
from lulc.errors import InputError
from lulc.location import Location, StorePath, parse_location, relative_name
from lulc.raster.address import ARCHIVE_MARK, split_archive
from lulc.redact import redact_url

PACKED = (".zip", ".tar", ".tar.gz", ".tgz")

# What reading a damaged zip or tar may raise; RuntimeError: an encrypted one, or one packed in a
# way that is not known.
_DAMAGE = (
    *(OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, tarfile.TarError),
)
# Landsat's MTL, and the metadata of SAFE and SEN3 products.
_METADATA = re.compile(
    r"(.*_)?MTL\.(txt|json|xml)|(S2\w_OPER_)?MTD_\w+\.xml|manifest\.safe|xfdumanifest\.xml",
    re.IGNORECASE,
)
_MAX_FILES = 100_000
_MAX_METADATA_BYTES = 64 << 20
_CHUNK_BYTES = 4 << 20  # read at once
_MAX_RATIO = 1000  # of a packed file's size to its compressed size


def is_packed(path: str) -> bool:
    """Return whether the product at a path or address is a zip or tar, by its name.

    A folder on this machine's disk may have such a name as well.
    """
    return path.lower().endswith(PACKED) and not os.path.isdir(path)


@dataclass(frozen=True)
class Tree:
    """The files of one product."""

    path: str
    """The folder, zip or tar: a path or an address in a store."""
    sizes: Mapping[str, int]
    """File name, relative to the path → bytes, in order of name."""
    _open: Callable[[str], BinaryIO]

    @property
    def packed(self) -> bool:
        """Whether the product is a zip or tar."""
        return is_packed(self.path)

    def href(self, name: str) -> str:
        """Return the href by which the raster reader opens a file."""
        return f"{self.path}{ARCHIVE_MARK if self.packed else '/'}{name}"

    def read(self, name: str) -> bytes:
        """Read a small file, such as metadata.

        Raises:
            InputError: The file is larger than metadata may be, or damaged.
        """
        if self.sizes[name] > _MAX_METADATA_BYTES:
            raise InputError(
                f"{redact_url(self.href(name))} claims {self.sizes[name]:,} bytes: "
                f"metadata has {_MAX_METADATA_BYTES:,} at most"
            )
        try:
            with self._open(name) as file:
                return file.read(_MAX_METADATA_BYTES)
        except _DAMAGE as error:
            raise InputError(_unreadable(self.href(name), error)) from error


def has_hidden_part(name: str) -> bool:
    """Return whether a file is none of a product's, by its name relative to the archive.

    Hidden files and those in hidden folders are not, nor what macOS adds to a zip.
    """
    return any(map(paths.is_hidden, PurePosixPath(name).parts))


def is_product_metadata(name: str) -> bool:
    """Return whether a file is the metadata of a product of Landsat or Copernicus, by its name."""
    return not has_hidden_part(name) and bool(_METADATA.fullmatch(PurePosixPath(name).name))


def digest(href: str, algorithm: str) -> str:
    """Compute the checksum of a file.

    Args:
        href: A path, an address in a store, or a file in a zip or tar at one of these.
        algorithm: The hash function, by hashlib's name.

    Returns:
        The hex digest.

    Raises:
        InputError: The file cannot be read, or is at an http(s) address.
    """
    if href.startswith(("http://", "https://")):
        raise InputError(
            f"{redact_url(href)} is not downloaded as a whole to be verified: "
            "copy it to this disk, or set scenes.verify to false"
        )
    packed, name = split_archive(href)
    try:
        file = open_tree(packed)._open(name) if name else parse_location(href).open("rb")
        checksum = hashlib.new(algorithm)
        with file:
            while chunk := file.read(_CHUNK_BYTES):
                checksum.update(chunk)
        return checksum.hexdigest()
    except _DAMAGE as error:
        raise InputError(_unreadable(href, error)) from error


def _unreadable(href: str, error: BaseException) -> str:
    return f"{redact_url(href)} cannot be read ({error}): download the product again"


def open_tree(path: str) -> Tree:
    """List the files of the product at a path, or an address in a store.

    Returns:
        The product's files, but hidden ones; a folder's files are listed at any depth.

    Raises:
        InputError: The product cannot be listed, or contains what no product does: names that lead
            out of it, links, a file a thousand times larger than its compressed size.
    """
    location = parse_location(path)
    try:
        if is_packed(path):
            return _open_packed(path, location)
        sizes = _sizes(location)
    except _DAMAGE as error:
        raise InputError(
            f"{redact_url(path)} cannot be listed ({error}): "
            "check the path, or download the product again"
        ) from error

    def open_file(name: str) -> Any:
        return (location / name).open("rb")

    return Tree(path.rstrip("/"), dict(sorted(sizes.items())), open_file)


def _sizes(folder: Location) -> dict[str, int]:
    # File name → bytes; 0 of a link that leads nowhere, which fails when it is read.
    if isinstance(folder, StorePath):
        sizes = {relative_name(file, folder): stat.st_size for file, stat in folder.walk()}
        return {name: size for name, size in sizes.items() if not has_hidden_part(name)}
    files = {name: folder / name for name in paths.list_names(folder)}
    return {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}


def _open_packed(path: str, location: Location) -> Tree:
    zipped = path.lower().endswith(".zip")
    with location.open("rb") as file:
        members = _zip_members(file) if zipped else _tar_members(path, file)
    _check_members(path, members)

    # Tars of a folder's own name (`tar -cf scene.tar .`) have ./B04.TIF.
    members_by_name = {posixpath.normpath(member): member for member in members}

    def open_file(name: str) -> Any:
        file: Any = location.open("rb")
        if zipped:
            return zipfile.ZipFile(file).open(members_by_name[name])
        return tarfile.open(fileobj=file).extractfile(members_by_name[name])

    sizes = {
        name: members[member][0]
        for name, member in sorted(members_by_name.items())
        if not has_hidden_part(name)
    }
    return Tree(path, sizes, open_file)


def _zip_members(file: Any) -> dict[str, tuple[int, int]]:
    # File name → (bytes, compressed bytes).
    return {
        member.filename: (member.file_size, member.compress_size)
        for member in zipfile.ZipFile(file).infolist()
        if not member.is_dir()
    }


def _tar_members(path: str, file: Any) -> dict[str, tuple[int, int]]:
    # As for a zip; a tar is compressed as a whole, so that both numbers are the file's size.
    with tarfile.open(fileobj=file) as tar:
        members = [member for member in tar if not member.isdir()]
    for member in members:
        if not member.isfile():
            raise InputError(
                f"{redact_url(path)} holds {member.name}, which is no plain file: it is not opened"
            )
    return {member.name: (member.size, member.size) for member in members}


def _check_members(path: str, members: Mapping[str, tuple[int, int]]) -> None:
    if len(members) > _MAX_FILES:
        raise InputError(
            f"{redact_url(path)} holds {len(members):,} files: a product has {_MAX_FILES:,} at most"
        )
    for name, (size, compressed_size) in members.items():
        if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name:
            raise InputError(
                f"{redact_url(path)} holds {name!r}, which leads out of it: it is not opened"
            )
        if size > _MAX_RATIO * max(compressed_size, 1024):
            raise InputError(
                f"{redact_url(path)} holds {name}, {size:,} bytes in {compressed_size:,}: "
                "it is not opened"
            )

"""Where a run under test writes: a folder of this machine, or a bucket behind the faulty proxy."""

from __future__ import annotations

import fnmatch
import functools
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import boto3

from tests.helpers.faulty_proxy import Faults, faulty_proxy
from tests.helpers.object_stores import fill_bucket, object_store, store_variables

BUCKET = "bucket"


class Place(Protocol):
    """An output location: what `--out` is given, and what lies there."""

    store: str
    """The word of the table: folder or s3."""
    out: str
    environment: Mapping[str, str]
    """What `lulc` must be told to reach it."""

    def names(self, pattern: str = "*") -> list[str]:
        """Return the names of the files that match, hidden ones among them."""

    def stamps(self) -> dict[str, object]:
        """Return name → what changes when a file is written again, even with the same bytes."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""

    def fill(self, folder: Path, patterns: tuple[str, ...]) -> None:
        """Copy the files of a folder that match one of the patterns here."""

    def beside(self, name: str) -> Self:
        """Return the place of this name beside this one."""


@dataclass(frozen=True)
class Folder:
    """A folder."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    store: str = "folder"

    @property
    def out(self) -> str:
        return str(self.folder)

    def names(self, pattern: str = "*") -> list[str]:
        return match_names(self.folder, (pattern,))

    def stamps(self) -> dict[str, object]:
        return {name: _stamp(self.folder / name) for name in self.names()}

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def fill(self, folder: Path, patterns: tuple[str, ...]) -> None:
        for name in match_names(folder, patterns):
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)

    def beside(self, name: str) -> Self:
        return replace(self, folder=self.folder.with_name(name))


@dataclass(frozen=True)
class Bucket:
    """A bucket of the S3 server that the proxy stands before; read and filled past the proxy."""

    server: str
    """host:port of the server itself."""
    faults: Faults
    environment: Mapping[str, str]
    """Leads to the proxy."""
    prefix: str
    store: str = "s3"

    @property
    def out(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    @property
    def _client(self) -> Any:
        return _connect(self.server)

    def names(self, pattern: str = "*") -> list[str]:
        return sorted(n for n in self._objects() if fnmatch.fnmatchcase(n, pattern))

    def stamps(self) -> dict[str, object]:
        written = self.faults.written
        return {
            name: (etag, written[f"/{BUCKET}/{self.prefix}/{name}"])
            for name, etag in self._objects().items()
        }

    def read(self, name: str) -> bytes:
        answer = self._client.get_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")
        content: bytes = answer["Body"].read()
        return content

    def fill(self, folder: Path, patterns: tuple[str, ...]) -> None:
        client = self._client
        for name in match_names(folder, patterns):
            body = (folder / name).read_bytes()
            client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}", Body=body)

    def beside(self, name: str) -> Self:
        return replace(self, prefix=f"{self.prefix.rpartition('/')[0]}/{name}")

    def _objects(self) -> dict[str, str]:
        # Name below the prefix → etag.
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=f"{self.prefix}/"
        )
        start = len(self.prefix) + 1
        return {o["Key"][start:]: o["ETag"] for page in pages for o in page.get("Contents", ())}


@functools.cache
def _connect(server: str) -> Any:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return boto3.client("s3", endpoint_url=f"http://{server}", region_name="us-east-1", **keys)


@contextmanager
def bucket() -> Iterator[Bucket]:
    """Run an S3 server behind the proxy until the block ends, and give an empty place of it."""
    with object_store() as server, faulty_proxy(server) as (place, faults):
        fill_bucket(server, {})
        # All servers of a process have the same objects.
        prefix = f"{uuid.uuid4().hex}/out"
        yield Bucket(server, faults, store_variables(place), prefix)


def match_names(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    """Return the files below a folder whose relative names match; `*` is of any depth."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns))


def _stamp(path: Path) -> object:
    try:
        stat = path.stat()
    except FileNotFoundError:  # gone since it was listed
        return None
    return stat.st_ino, stat.st_mtime_ns

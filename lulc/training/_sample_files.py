"""Files of samples as petastorm opens them: on this machine's disk, or in a store.

A file of a store is fetched once, whole, as all of it is wanted, and kept on the disk for the next
epoch. None is removed for another: every epoch reads all of them. What the disk does not take is
fetched again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache, lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lulc.location import StorePath, parse_location
from lulc.tables.scratch import scratch_folder

_MOST_BYTES = 20 << 30
"""Kept by a process, which also leaves as much free as it keeps."""


class SampleFiles:
    """The file system that petastorm expects, for paths of this machine and addresses."""

    @staticmethod
    def open(path: str, mode: str = "rb") -> pa.NativeFile:
        """Open a file; for reading it is mapped into memory if it is on this machine's disk."""
        location = parse_location(path)
        if mode != "rb":
            return pa.OSFile(path, mode)
        if isinstance(location, Path):
            return pa.memory_map(path)
        copy = _kept(os.getpid()).copies.get(location)
        return pa.BufferReader(copy) if copy else pa.PythonFile(location.open("rb"))

    @staticmethod
    def exists(path: str) -> bool:
        """Return whether a file or folder is there."""
        return parse_location(path).exists()


def open_whole(path: str) -> pa.NativeFile:
    """Open a file all of which is wanted; one of a store is fetched unless it was kept."""
    location = parse_location(path)
    if isinstance(location, Path):
        return pa.memory_map(path)
    return _kept(os.getpid()).open(location)


def read_footer(path: str) -> pq.FileMetaData:
    """Return the footer of a Parquet file."""
    location = parse_location(path)
    if isinstance(location, Path):
        return pq.read_metadata(pa.memory_map(path))
    return _footer_in_store(location)


@lru_cache(maxsize=4096)
def _footer_in_store(location: StorePath) -> pq.FileMetaData:
    # petastorm asks for it several times an epoch.
    return pq.read_metadata(SampleFiles.open(str(location)))


class _Kept:
    """Files of a store that this process keeps on the disk."""

    def __init__(self) -> None:
        self.copies: dict[StorePath, pa.Buffer] = {}
        """Mapped from files without a name, which go with the process, however it ends."""
        self._bytes = 0

    def open(self, location: StorePath) -> pa.NativeFile:
        copy = self.copies.get(location)
        if copy is not None:
            return pa.BufferReader(copy)
        content = location.read_bytes()
        if self._has_room(len(content)):
            self._bytes += len(content)
            with scratch_folder() as folder:
                (folder / "copy").write_bytes(content)
                self.copies[location] = pa.memory_map(str(folder / "copy")).read_buffer()
        return pa.BufferReader(content)

    def _has_room(self, size: int) -> bool:
        total = self._bytes + size
        return total <= min(_MOST_BYTES, shutil.disk_usage(tempfile.gettempdir()).free - size)


@cache
def _kept(process: int) -> _Kept:  # noqa: ARG001 - a fork has files of its own
    return _Kept()

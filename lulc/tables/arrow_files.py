"""Files of a store as pyarrow reads them: by the requests that all of the house asks.

pyarrow's own file systems, and those of fsspec, publish what a failed writer leaves half-written,
and give up where an answer breaks off. This one is for reading.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pyarrow as pa
from pyarrow.fs import (
    FileInfo,
    FileSelector,
    FileSystem,
    FileSystemHandler,
    FileType,
    LocalFileSystem,
    PyFileSystem,
)

from lulc.location import Location, StorePath


def arrow_filesystem(location: Location) -> tuple[FileSystem, str]:
    """Return the file system by which pyarrow reads a location, and the location's path in it."""
    if isinstance(location, Path):
        return LocalFileSystem(), str(location)
    scheme, _, path = str(location).partition("://")
    return PyFileSystem(_StoreFiles(scheme)), path.rstrip("/")


class _StoreFiles(FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types
    """The objects of a store's buckets, named `bucket/key`."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StoreFiles) and other._scheme == self._scheme

    def __hash__(self) -> int:
        return hash(self._scheme)

    def _place(self, path: str) -> StorePath:
        bucket, _, key = path.partition("/")
        return StorePath(f"{self._scheme}://{bucket}", key.strip("/"))

    def get_type_name(self) -> str:
        return f"objects of {self._scheme}"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [self._file_info(path) for path in paths]

    def _file_info(self, path: str) -> FileInfo:
        location = self._place(path)
        try:
            stat = location.stat()
        except FileNotFoundError:
            kind = FileType.Directory if location.is_dir() else FileType.NotFound
            return FileInfo(path, kind)
        return FileInfo(path, FileType.File, size=stat.st_size, mtime_ns=stat.st_mtime_ns)

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        location = self._place(selector.base_dir)
        entries = location.walk() if selector.recursive else location.scan()
        return [
            FileInfo(
                str(entry).partition("://")[2],
                FileType.File,
                size=stat.st_size,
                mtime_ns=stat.st_mtime_ns,
            )
            for entry, stat in entries
        ]

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(self._place(path).open("rb"), mode="r")

    open_input_stream = open_input_file

    def _refuse(self, *_: object) -> NoReturn:
        raise NotImplementedError("objects are published by lulc.tables.files")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse

"""petastorm 0.13.1 on today's pyarrow and numpy: import its classes from here, never from petastorm itself.

petastorm asks pyarrow for a filesystem layer and a dataset class, and numpy for two names, that those no longer have. They are
supplied to petastorm alone: what other libraries see of pyarrow and numpy stays as it is. A dataset that carries petastorm's
pickled schema is refused before petastorm looks at it, since unpickling it can run code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.errors import InputError

PICKLED_SCHEMA = b"dataset-toolkit.unischema.v1"


def refuse_pickle(metadata: Mapping[bytes, bytes] | None, path: str) -> None:
    """Nothing when the metadata of a Parquet file holds no pickle of petastorm's; else InputError."""
    if PICKLED_SCHEMA in (metadata or {}):
        raise InputError(
            f"{path} carries petastorm's pickled schema ({PICKLED_SCHEMA.decode()}), which can run code when it is opened: "
            "only plain Parquet is read; write the table anew without it, by `lulc samples` or pyarrow"
        )


class LocalFiles:
    """What petastorm calls on a filesystem, for paths of this machine."""

    @staticmethod
    def open(path: str, mode: str = "rb") -> pa.NativeFile:
        """The file, mapped into memory."""
        return pa.memory_map(path) if mode == "rb" else pa.OSFile(path, mode)

    exists = staticmethod(os.path.exists)


@dataclass(frozen=True)
class Piece:
    """A file, or one row group of it: pyarrow's former ParquetDatasetPiece."""

    path: str
    open_file_func: Callable[[str], Any] = LocalFiles.open
    row_group: int | None = None
    partition_keys: tuple[Any, ...] = ()

    def get_metadata(self) -> pq.FileMetaData:
        """The file's footer."""
        return pq.read_metadata(self.open_file_func(self.path))

    def read(self, columns: Iterable[str], **_: Any) -> pa.Table:
        """Some columns of the row group (of the whole file where none is said)."""
        file = pq.ParquetFile(self.open_file_func(self.path))
        names = sorted(columns)
        return file.read(names) if self.row_group is None else file.read_row_group(self.row_group, names)


class Dataset:
    """The Parquet files of a folder, or a list of files, in that order: pyarrow's former ParquetDataset, without partitions."""

    partitions = metadata = common_metadata = None

    def __init__(self, path_or_paths: str | list[str], filesystem: Any = LocalFiles, **_: Any) -> None:
        self.fs, self.paths = filesystem, path_or_paths
        if isinstance(path_or_paths, str):
            found = sorted(str(p) for p in Path(path_or_paths).rglob("*") if p.is_file() and not p.name.startswith("."))
            paths = [p for p in found if p.endswith(".parquet")]
            summaries = [p for p in found if p.endswith(("/_metadata", "/_common_metadata"))]
        else:
            paths, summaries = path_or_paths, []
        self.pieces = [Piece(path, self.fs.open) for path in paths]
        for piece in [*self.pieces, *(Piece(path, self.fs.open) for path in summaries)]:
            refuse_pickle(piece.get_metadata().metadata, piece.path)


def _import_petastorm() -> None:
    absent = {name: ModuleType(name) for name in ("pyarrow.filesystem", "pyarrow.hdfs")}
    absent["pyarrow.filesystem"].LocalFileSystem = LocalFiles  # type: ignore[attr-defined]
    absent["pyarrow.hdfs"].HadoopFileSystem = type("HadoopFileSystem", (), {})  # type: ignore[attr-defined]
    sys.modules.update(absent)
    try:
        import petastorm.arrow_reader_worker
        import petastorm.etl.dataset_metadata
        import petastorm.fs_utils
        import petastorm.py_dict_reader_worker
        import petastorm.reader
        import petastorm.unischema
    finally:
        for name in absent:
            del sys.modules[name]
    parquet = SimpleNamespace(ParquetDataset=Dataset, ParquetDatasetPiece=Piece, read_metadata=pq.read_metadata)
    for module in (
        petastorm.reader,
        petastorm.arrow_reader_worker,
        petastorm.py_dict_reader_worker,
        petastorm.etl.dataset_metadata,
    ):
        module.pq = parquet
    petastorm.fs_utils.pyarrow = SimpleNamespace(localfs=LocalFiles)
    petastorm.unischema.np = SimpleNamespace(**{**vars(np), "unicode_": np.str_, "string_": np.bytes_})
    petastorm.arrow_reader_worker.np = petastorm.unischema.np


_import_petastorm()

from petastorm.arrow_reader_worker import ArrowReaderWorker  # noqa: E402
from petastorm.reader import Reader, make_batch_reader, make_reader  # noqa: E402
from petastorm.workers_pool import EmptyResultError  # noqa: E402
from petastorm.workers_pool.thread_pool import ThreadPool  # noqa: E402
from petastorm.workers_pool.ventilator import Ventilator  # noqa: E402

__all__ = ["ArrowReaderWorker", "EmptyResultError", "Reader", "ThreadPool", "Ventilator", "make_batch_reader", "make_reader"]

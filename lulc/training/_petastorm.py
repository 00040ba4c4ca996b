"""petastorm 0.13.1 on today's pyarrow and numpy: import its classes from here, never from petastorm itself.

petastorm asks pyarrow for a filesystem layer and a dataset class, and numpy for two names, that those no longer have. They are
supplied to petastorm alone: what other libraries see of pyarrow and numpy stays as it is. A dataset that carries petastorm's
pickled schema is refused before petastorm looks at it, since unpickling it can run code.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
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
        return (
            file.read(names)
            if self.row_group is None
            else file.read_row_group(self.row_group, names)
        )


class Dataset:
    """The Parquet files of a folder, or a list of files, in that order: pyarrow's former ParquetDataset, without partitions."""

    partitions = metadata = common_metadata = None

    def __init__(
        self, path_or_paths: str | list[str], filesystem: Any = LocalFiles, **_: Any
    ) -> None:
        self.fs, self.paths = filesystem, path_or_paths
        if isinstance(path_or_paths, str):
            found = sorted(
                str(p)
                for p in Path(path_or_paths).rglob("*")
                if p.is_file() and not p.name.startswith(".")
            )
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
    parquet = SimpleNamespace(
        ParquetDataset=Dataset, ParquetDatasetPiece=Piece, read_metadata=pq.read_metadata
    )
    for module in (
        petastorm.reader,
        petastorm.arrow_reader_worker,
        petastorm.py_dict_reader_worker,
        petastorm.etl.dataset_metadata,
    ):
        module.pq = parquet
    petastorm.fs_utils.pyarrow = SimpleNamespace(localfs=LocalFiles)
    petastorm.unischema.np = SimpleNamespace(
        **{**vars(np), "unicode_": np.str_, "string_": np.bytes_}
    )
    petastorm.arrow_reader_worker.np = petastorm.unischema.np


def _hold_epochs_together() -> None:
    from petastorm.workers_pool.thread_pool import ThreadPool

    done = ThreadPool.all_workers_done

    def all_done(pool: Any) -> bool:
        # petastorm asks whether all that was handed out is done, then whether all is handed out: whatever is handed out between
        # the two questions was lost. Asked the other way round, nothing is.
        return bool((pool._ventilator is None or pool._ventilator.completed()) and done(pool))

    ThreadPool.all_workers_done = all_done


_import_petastorm()
_hold_epochs_together()

from petastorm.arrow_reader_worker import ArrowReaderWorker  # noqa: E402
from petastorm.reader import Reader, make_batch_reader, make_reader  # noqa: E402
from petastorm.workers_pool import EmptyResultError  # noqa: E402
from petastorm.workers_pool.thread_pool import ThreadPool  # noqa: E402
from petastorm.workers_pool.ventilator import Ventilator  # noqa: E402

__all__ = ["PICKLED_SCHEMA", "make_batch_reader", "make_reader", "read_row_groups", "refuse_pickle"]

# Row groups in petastorm's hands: the one handed over last, and the one being read.
_AHEAD = 2


def read_row_groups[T](
    places: Sequence[tuple[str, int]], columns: Sequence[str], work: Callable[[pa.Table, str], T]
) -> Generator[T]:
    """What `work(table, path)` makes of these row groups (path, number) in this order, each while the one before is in use.

    One thread of petastorm's reads and works. InputError: a row group cannot be read, or whatever InputError `work` raised.
    """

    class Worker(ArrowReaderWorker):  # type: ignore[misc]
        new_results_queue_reader = _Results

        def _load_rows(self, _file: Any, piece: Piece, _drop: Any) -> T | InputError:
            # An error is handed over as a result: raised here, petastorm would print its trace as well.
            try:
                return work(piece.read(columns), piece.path)
            except InputError as error:
                return error
            except (OSError, pa.ArrowException) as error:
                return InputError(
                    f"{piece.path}, row group {piece.row_group}, cannot be read ({error}): write the file anew"
                )

    if not places:
        return
    reader = _Reader(places, columns, Worker)
    try:
        for result in reader:
            if isinstance(result, InputError):
                raise result
            yield result
    finally:
        reader.stop()
        reader.join()


class _Results:
    """Hands over what the worker made, as it is: petastorm's own would make an object of every value."""

    batched_output = True

    @staticmethod
    def read_next(workers_pool: Any, *_: Any) -> Any:
        try:
            return workers_pool.get_results()
        except EmptyResultError:
            raise StopIteration from None


class _Ventilator(Ventilator):  # type: ignore[misc]
    """Gives the pool one row group for each that is used up.

    petastorm's own does so from a thread, which races with the reader: an epoch could end before its last row groups.
    """

    def __init__(self, ventilate: Callable[..., None], items: Sequence[dict[str, Any]]) -> None:
        super().__init__(ventilate)
        self._left = deque(items)

    def start(self) -> None:
        for _ in range(_AHEAD):
            self.processed_item()

    def processed_item(self) -> None:
        if self._left:
            self._ventilate_fn(**self._left.popleft())

    def completed(self) -> bool:
        return not self._left

    def stop(self) -> None:
        self._left.clear()


class _Reader(Reader):  # type: ignore[misc]
    """petastorm's batch reader over exactly these row groups, in this order."""

    def __init__(
        self, places: Sequence[tuple[str, int]], columns: Sequence[str], worker: type
    ) -> None:
        self._places = places
        settings = {
            "shuffle_row_groups": False,
            "reader_pool": ThreadPool(1),
            "worker_class": worker,
            "is_batched_reader": True,
        }
        super().__init__(
            LocalFiles,
            sorted({path for path, _ in places}),
            [f"{name}$" for name in columns],
            **settings,
        )

    def _filter_row_groups(
        self, _dataset: Any, row_groups: list[Piece], *_: Any
    ) -> tuple[list[int], None]:
        numbers = {(piece.path, piece.row_group): i for i, piece in enumerate(row_groups)}
        return [numbers[place] for place in self._places], None

    def _create_ventilator(self, chosen: list[int], *_: Any) -> _Ventilator:
        items = [
            {"piece_index": i, "worker_predicate": None, "shuffle_row_drop_partition": (0, 1)}
            for i in chosen
        ]
        return _Ventilator(self._workers_pool.ventilate, items)

"""petastorm 0.13.1 on today's pyarrow and numpy: import its classes from here, not from petastorm.

petastorm uses a filesystem layer and a dataset class of pyarrow, and two names of numpy, that those
no longer have. They are supplied to petastorm alone: other libraries see pyarrow and numpy as they
are. A dataset that carries petastorm's pickled schema is refused before petastorm looks at it,
since unpickling it can run code.
"""

from __future__ import annotations

import sys
import warnings
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
from lulc.training._sample_files import SampleFiles, open_whole, read_footer

PICKLED_SCHEMA = b"dataset-toolkit.unischema.v1"


def refuse_pickle(metadata: Mapping[bytes, bytes] | None, path: str) -> None:
    """Raise InputError where the metadata of a Parquet file holds a pickle of petastorm's."""
    if PICKLED_SCHEMA in (metadata or {}):
        raise InputError(
            f"{path} carries petastorm's pickled schema ({PICKLED_SCHEMA.decode()}), which can run "
            "code when it is opened: only plain Parquet is read; write the table anew without it, "
            "with `lulc samples` or pyarrow"
        )


@dataclass(frozen=True)
class Piece:
    """A file, or one row group of it: pyarrow's former ParquetDatasetPiece."""

    path: str
    open_file_func: Callable[[str], Any] = SampleFiles.open
    row_group: int | None = None
    partition_keys: tuple[Any, ...] = ()

    def get_metadata(self) -> pq.FileMetaData:
        """Return the file's footer."""
        return read_footer(self.path)

    def read(self, columns: Iterable[str], **_: Any) -> pa.Table:
        """Read some columns of the row group; of the whole file where `row_group` is None."""
        file = pq.ParquetFile(open_whole(self.path))
        names = sorted(columns)
        return (
            file.read(names)
            if self.row_group is None
            else file.read_row_group(self.row_group, names)
        )


class Dataset:
    """The Parquet files of a folder, or a list of files: pyarrow's former ParquetDataset.

    It knows no partitions.
    """

    partitions = metadata = common_metadata = None

    def __init__(
        self, path_or_paths: str | list[str], filesystem: Any = SampleFiles, **_: Any
    ) -> None:
        self.fs, self.paths = filesystem, path_or_paths
        if isinstance(path_or_paths, str):
            files = sorted(
                str(path)
                for path in Path(path_or_paths).rglob("*")
                if path.is_file() and not path.name.startswith(".")
            )
            paths = [path for path in files if path.endswith(".parquet")]
            summaries = [
                path for path in files if path.endswith(("/_metadata", "/_common_metadata"))
            ]
        else:
            paths, summaries = path_or_paths, []
        self.pieces = [Piece(path, self.fs.open) for path in paths]
        for piece in [*self.pieces, *(Piece(path, self.fs.open) for path in summaries)]:
            refuse_pickle(piece.get_metadata().metadata, piece.path)


def _import_petastorm() -> None:
    removed_modules = {name: ModuleType(name) for name in ("pyarrow.filesystem", "pyarrow.hdfs")}
    removed_modules["pyarrow.filesystem"].LocalFileSystem = SampleFiles  # type: ignore[attr-defined]
    hadoop = type("HadoopFileSystem", (), {})
    removed_modules["pyarrow.hdfs"].HadoopFileSystem = hadoop  # type: ignore[attr-defined]
    sys.modules.update(removed_modules)
    try:
        import petastorm.arrow_reader_worker
        import petastorm.etl.dataset_metadata
        import petastorm.fs_utils
        import petastorm.py_dict_reader_worker
        import petastorm.reader
        import petastorm.unischema
    finally:
        for name in removed_modules:
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
    petastorm.fs_utils.pyarrow = SimpleNamespace(localfs=SampleFiles)
    petastorm.unischema.np = SimpleNamespace(
        **{**vars(np), "unicode_": np.str_, "string_": np.bytes_}
    )
    petastorm.arrow_reader_worker.np = petastorm.unischema.np


def _fix_end_of_epoch() -> None:
    from petastorm.workers_pool.thread_pool import ThreadPool

    all_workers_done = ThreadPool.all_workers_done

    def all_done(pool: Any) -> bool:
        # petastorm checks whether all that was handed out is done, then whether all is handed out:
        # what is handed out between the two checks is lost. In this order nothing is.
        all_handed_out = pool._ventilator is None or pool._ventilator.completed()
        return bool(all_handed_out and all_workers_done(pool))

    ThreadPool.all_workers_done = all_done


_import_petastorm()
_fix_end_of_epoch()

from petastorm.arrow_reader_worker import ArrowReaderWorker  # noqa: E402
from petastorm.reader import Reader, make_batch_reader, make_reader  # noqa: E402
from petastorm.workers_pool import EmptyResultError  # noqa: E402
from petastorm.workers_pool.thread_pool import ThreadPool  # noqa: E402
from petastorm.workers_pool.ventilator import Ventilator  # noqa: E402

__all__ = ["PICKLED_SCHEMA", "make_batch_reader", "make_reader", "read_row_groups", "refuse_pickle"]

# Row groups that petastorm has at a time: the one handed over last, and the one being read.
_AHEAD = 2


def read_row_groups[T](
    row_groups: Sequence[tuple[str, int]],
    columns: Sequence[str],
    work: Callable[[pa.Table, str], T],
) -> Generator[T]:
    """Yield what `work` makes of row groups, in their order.

    A thread of petastorm's reads a row group and works on it while the one before is in use.

    Args:
        row_groups: (path, number of the row group in the file).
        columns: names of those that are read.
        work: called with a row group and the path of its file.

    Yields:
        The result of `work` for each row group.

    Raises:
        InputError: a row group cannot be read, or `work` raised it.
    """

    class Worker(ArrowReaderWorker):  # type: ignore[misc]
        new_results_queue_reader = _Results

        def _load_rows(self, _file: Any, piece: Piece, _drop: Any) -> T | InputError:
            # Errors are handed over as results: petastorm would print the trace of one raised here.
            try:
                return work(piece.read(columns), piece.path)
            except InputError as error:
                return error
            except (OSError, pa.ArrowException) as error:
                return InputError(
                    f"{piece.path}, row group {piece.row_group}, cannot be read ({error}): "
                    "write the file anew"
                )

    if not row_groups:
        return
    with warnings.catch_warnings():
        # The covering of a GeoParquet file is a struct, which petastorm warns that it leaves out.
        warnings.filterwarnings("ignore", "Column .* has an unsupported field")
        reader = _Reader(row_groups, columns, Worker)
    try:
        for result in reader:
            if isinstance(result, InputError):
                raise result
            yield result
    finally:
        reader.stop()
        reader.join()


class _Results:
    """The queue of the worker's results as they are; petastorm's makes an object of every value."""

    batched_output = True

    @staticmethod
    def read_next(workers_pool: Any, *_: Any) -> Any:
        try:
            return workers_pool.get_results()
        except EmptyResultError:
            raise StopIteration from None


class _Ventilator(Ventilator):  # type: ignore[misc]
    """A ventilator that gives the pool one row group for each that is used up.

    petastorm's does so from a thread, which races with the reader: an epoch could end before its
    last row groups.
    """

    def __init__(self, ventilate: Callable[..., None], items: Sequence[dict[str, Any]]) -> None:
        super().__init__(ventilate)
        self._pending = deque(items)

    def start(self) -> None:
        for _ in range(_AHEAD):
            self.processed_item()

    def processed_item(self) -> None:
        if self._pending:
            self._ventilate_fn(**self._pending.popleft())

    def completed(self) -> bool:
        return not self._pending

    def stop(self) -> None:
        self._pending.clear()


class _Reader(Reader):  # type: ignore[misc]
    """petastorm's batch reader over exactly these row groups, in this order."""

    def __init__(
        self, row_groups: Sequence[tuple[str, int]], columns: Sequence[str], worker: type
    ) -> None:
        self._ordered_row_groups = row_groups
        settings = {
            "shuffle_row_groups": False,
            "reader_pool": ThreadPool(1),
            "worker_class": worker,
            "is_batched_reader": True,
        }
        super().__init__(
            SampleFiles,
            sorted({path for path, _ in row_groups}),
            [f"{name}$" for name in columns],
            **settings,
        )

    def _filter_row_groups(
        self, _dataset: Any, pieces: list[Piece], *_: Any
    ) -> tuple[list[int], None]:
        indexes = {(piece.path, piece.row_group): i for i, piece in enumerate(pieces)}
        return [indexes[row_group] for row_group in self._ordered_row_groups], None

    def _create_ventilator(self, indexes: list[int], *_: Any) -> _Ventilator:
        items = [
            {"piece_index": i, "worker_predicate": None, "shuffle_row_drop_partition": (0, 1)}
            for i in indexes
        ]
        return _Ventilator(self._workers_pool.ventilate, items)

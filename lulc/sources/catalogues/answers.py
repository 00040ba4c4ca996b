"""The answer of a search as a table: written page by page, and put together at the end.

Each page is a file in a folder beside the table until the last has come, so that a run that is
killed goes on with the page after those that it has.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lulc.errors import InputError
from lulc.guard import read_guard
from lulc.location import Location
from lulc.tables import files

_ROWS_A_GROUP = 500
_KEY = b"lulc"
SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "collection", "item", "table")])
"""An item: its id, unique in the answer; its collection; itself, as JSON; and the table that it is
of, where one was searched."""


@dataclass(frozen=True)
class Progress:
    """How far a query was answered."""

    pages: int = 0
    link: dict[str, Any] | None = None
    """To the next page."""
    is_done: bool = False


@dataclass(frozen=True)
class Answer:
    """The answer of a search, in the making."""

    path: Location
    """Of the table."""
    search: Mapping[str, Any]
    """What is searched for: the table is of this search alone."""
    folder: Location
    """Of the pages."""

    def progress(self, query: int) -> Progress:
        """Return how far the `query`-th query was answered by runs before."""
        pages = self._pages(f"{query:04d}-")
        if not pages:
            return Progress()
        with _page_guard(pages[-1]):
            metadata = _read_metadata(pages[-1])
        return Progress(len(pages), metadata.get("link"), bool(metadata.get("is_last")))

    def add(
        self,
        query: int,
        page: int,
        items: Iterable[dict[str, Any]],
        link: Any,
        is_last: bool,
        table: str | None = None,
    ) -> None:
        """Keep a page.

        Args:
            query: number of the query.
            page: number of the page in its answer.
            items: of the page that are wanted.
            link: to the next page, None where it may not be kept.
            is_last: whether no page follows.
            table: the file that the items' hrefs are relative to.
        """
        rows = [
            {
                "id": str(item.get("id")),
                "collection": str(item.get("collection")),
                "item": json.dumps(item),
                "table": table,
            }
            for item in items
        ]
        schema = SCHEMA.with_metadata({_KEY: json.dumps({"link": link, "is_last": is_last})})
        content = pa.Table.from_pylist(rows, schema)
        page_file = self.folder / f"{query:04d}-{page:07d}.parquet"
        files.write_atomic(
            page_file, lambda path: pq.write_table(content, path, compression="zstd")
        )

    def forget(self, query: int) -> None:
        """Remove the pages of a query, whose next page is not to be had any more."""
        for page_file in self._pages(f"{query:04d}-"):
            files.remove(page_file)

    def finish(self) -> int:
        """Put the pages together, each item once; return how many items there are.

        Nothing is written where there is none.
        """
        pages = self._pages()
        keys, names = array("q"), array("q")
        for page_file in pages:
            for name, collection in zip(
                *_read_columns(page_file, ["id", "collection"]), strict=True
            ):
                keys.append(hash((name, collection)))
                names.append(hash(name))
        is_last = _is_last(np.array(keys, np.int64))
        # Several collections may use a tile's name as id; a scene's id must be unique.
        used, uses = np.unique(np.array(names, np.int64)[is_last], return_counts=True)
        if len(used):
            self._write(pages, is_last, set(used[uses > 1].tolist()))
        files.remove_folder(self.folder)
        return int(is_last.sum())

    def _write(
        self, pages: Iterable[Location], is_last: np.ndarray, ambiguous: Collection[int]
    ) -> None:
        # `ambiguous`: hashes of the ids that several collections use.
        schema = SCHEMA.with_metadata({_KEY: json.dumps({"search": self.search})})

        def rows() -> Iterator[dict[str, str | None]]:
            number = 0
            for page_file in pages:
                for row in zip(*_read_columns(page_file, SCHEMA.names), strict=True):
                    name, collection, text, table = row
                    if is_last[number]:
                        if hash(name) in ambiguous:
                            name = f"{name}_{collection}"
                            text = json.dumps(json.loads(text) | {"id": name})
                        yield dict(zip(SCHEMA.names, (name, collection, text, table), strict=True))
                    number += 1

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                group: list[dict[str, str | None]] = []
                for row in rows():
                    group.append(row)
                    if len(group) == _ROWS_A_GROUP:
                        writer.write_table(pa.Table.from_pylist(group, schema))
                        group = []
                writer.write_table(pa.Table.from_pylist(group, schema))

        files.write_atomic(self.path, write)

    def _pages(self, prefix: str = "") -> list[Location]:
        # In order.
        if not self.folder.is_dir():
            return []
        page_files = files.list_tables(self.folder)
        return sorted(page_file for page_file in page_files if page_file.name.startswith(prefix))


def _is_last(keys: np.ndarray) -> np.ndarray:
    # Whether each key occurs no more after it.
    _, from_end = np.unique(keys[::-1], return_index=True)
    is_last = np.zeros(len(keys), bool)
    is_last[len(keys) - 1 - from_end] = True
    return is_last


def open_answer(path: Location, search: Mapping[str, Any], fingerprint: str) -> Answer:
    """Return the answer of a search at a path, to be completed."""
    return Answer(path, search, path.with_name(f"{path.stem}.{fingerprint}.pages"))


def read_search(path: Location) -> Any:
    """Return the search that the table at a path answers; None where there is no file.

    Raises:
        InputError: the file is no answer of a search.
    """
    if not path.exists():
        return None
    try:
        if path.suffix == ".json":  # as releases until 0.2 kept them
            return json.loads(path.read_bytes())["search"]
        return _read_metadata(path)["search"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} holds no search result and is not overwritten: name another scenes.path"
        ) from error


def is_answer(path: Location) -> bool:
    """Return whether a file is the answer of a search, as a table."""
    if path.suffix != ".parquet":
        return False
    try:
        return "search" in _read_metadata(path)
    except (OSError, ValueError, TypeError):
        return False


def read_answer(path: Location) -> Iterator[tuple[str, str, str | None]]:
    """Yield id, JSON and table of every item of an answer; a part of it is held at a time."""
    with read_guard(path, "delete it to search again"), files.open_parquet(path) as opened:
        for batch in opened.iter_batches(_ROWS_A_GROUP, columns=["id", "item", "table"]):
            columns = (batch[name].to_pylist() for name in ("id", "item", "table"))
            yield from zip(*columns, strict=True)


def _read_columns(page_file: Location, columns: list[str]) -> list[list[Any]]:
    with _page_guard(page_file), files.open_parquet(page_file) as opened:
        table = opened.read(columns=columns)
        return [table[name].to_pylist() for name in columns]


def _page_guard(page_file: Location) -> AbstractContextManager[None]:
    return read_guard(page_file, f"delete {page_file.parent} to search again")


def _read_metadata(page_file: Location) -> dict[str, Any]:
    with files.open_parquet(page_file) as opened:
        metadata = opened.schema_arrow.metadata or {}
    page_metadata: dict[str, Any] = json.loads(metadata.get(_KEY, b"{}"))
    return page_metadata

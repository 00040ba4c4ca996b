"""Azure's and Google's stores: what holds of S3 holds of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from lulc.errors import SetupError
from lulc.location import StorePath, check_location, parse_location
from lulc.paths import list_names, match_files
from lulc.tables import files
from lulc.tables.arrow_files import arrow_filesystem
from tests.helpers.cloud_emulators import AZURE_ACCOUNT
from tests.helpers.object_stores import store_of

pytestmark = [pytest.mark.cluster, pytest.mark.server]


@pytest.fixture(scope="module", params=["abfs", "gs"])
def folder(request: pytest.FixtureRequest) -> Iterator[StorePath]:
    """A folder in a store on this machine."""
    with store_of(request.param) as (_, environment, _), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT)
        location = parse_location(f"{request.param}://bucket/a folder")
        assert isinstance(location, StorePath)
        yield location


def test_objects_are_published_listed_read_and_removed(folder: StorePath, tmp_path: Path) -> None:
    check_location(folder)
    content = os.urandom(11 << 20)  # in several parts
    for root in (folder / "words", tmp_path):
        for name in ("a/x.bin", "a/b [1]/y#1?.BIN", "c=1/p.bin", "q%20.bin"):
            files.write_atomic(root / name, lambda path: path.write_bytes(content))
    remote = folder / "words"
    assert list_names(remote) == list_names(tmp_path)
    assert [relative.name for relative in match_files(remote / "a/*.bin")] == ["x.bin"]
    assert (remote / "a").is_dir() and not (remote / "a").is_file()
    with (remote / "a/x.bin").open("rb") as file:
        file.seek(1 << 20)
        assert file.read(99) == content[1 << 20 : (1 << 20) + 99]
    with files.local_copy(remote / "a/x.bin") as copy:
        assert copy.read_bytes() == content
    before = files.file_identity(remote / "a/x.bin")
    (remote / "a/x.bin").put(b"other")
    assert files.file_identity(remote / "a/x.bin") != before
    assert files.create_exclusive(remote / "new", b"1")
    assert not files.create_exclusive(remote / "new", b"2")
    files.remove_folder(remote)
    assert list_names(remote) == []
    with pytest.raises(FileNotFoundError):
        (remote / "new").read_bytes()


def test_of_many_that_put_an_object_where_there_is_none_one_succeeds(folder: StorePath) -> None:
    for number in range(5):
        place, begin = folder / f"new/{number}", threading.Barrier(8)

        def put(content: bytes, place: StorePath = place, begin: Any = begin) -> bool:
            begin.wait()
            return place.put_new(content)

        contents = [f"of {thread}".encode() for thread in range(8)]
        with ThreadPoolExecutor(8) as pool:
            succeeded = list(pool.map(put, contents))
        assert sum(succeeded) == 1
        assert place.read_bytes() == contents[succeeded.index(True)]


def test_a_table_is_read_by_pyarrow(folder: StorePath) -> None:
    table, place = pa.table({"a": [1, 2]}), folder / "table/0.parquet"
    files.write_atomic(place, lambda path: pq.write_table(table, path))
    filesystem, name = arrow_filesystem(place.parent)
    assert pyarrow.dataset.dataset(name, filesystem=filesystem).to_table().equals(table)


def test_a_bucket_that_is_not_there_is_told(folder: StorePath) -> None:
    with pytest.raises(SetupError, match="there is no bucket nobucket: make it"):
        check_location(StorePath(folder.root.replace("bucket", "nobucket")))

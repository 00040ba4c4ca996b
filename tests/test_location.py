"""Locations: a store's places have the words of a path, and publish whole or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lulc import object_store, store_access
from lulc.errors import InputError, SetupError, StoreError, UsageError
from lulc.location import StorePath, check_location, is_below, parse_location
from lulc.paths import list_names, match_files
from lulc.tables import files, store
from lulc.tables.arrow_files import arrow_filesystem
from lulc.tables.ledger import (
    LedgerRow,
    append_ledger,
    copy_rows,
    read_done,
    read_latest,
    read_ledger,
)
from lulc.tables.ledger_files import read_once, which_exist
from tests.helpers.faulty_proxy import Faults, Kind
from tests.helpers.object_stores import (
    faulty_store,
    fill_bucket,
    store_variables,
)

TABLE = pa.table({"a": [1, 2]})
NAMES = st.text("ab .#%?*[]{}!'\"&=+,;~ü-_", min_size=1).filter(
    lambda name: name.strip() == name and name not in (".", "..")
)


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    """The requests of a store on this machine, which has a bucket."""
    with faulty_store() as (place, faults), pytest.MonkeyPatch.context() as patch:
        for name, value in store_variables(place).items():
            patch.setenv(name, value)
        fill_bucket(place, {})
        yield faults


@pytest.fixture
def bucket(faults: Faults) -> StorePath:  # noqa: ARG001 - it is there
    """A bucket of a store on this machine."""
    return StorePath("s3://bucket")


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_words_are_those_of_a_path(names: list[str]) -> None:
    key = PurePosixPath(*names)
    location = StorePath("s3://bucket") / key
    assert location.name == key.name
    assert (location.suffix, location.stem) == (key.suffix, key.stem)
    assert location.parent.key == ("" if key.parent == PurePosixPath() else str(key.parent))
    assert location.relative_to(StorePath("s3://bucket")) == key
    assert parse_location(str(location)) == location
    assert location.parent / key.name == location == location.resolve()
    assert is_below(location, location.parents[-1])
    assert not is_below(location.parent, location)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s4://x", "begins with s3://, gs:// or abfs://"),
        ("s3:/bucket/x", "write s3://bucket/x"),
        ("S3:/bucket/x", "write s3://bucket/x"),
        ("gs:bucket/x", "write gs://bucket/x"),
        ("s3:/key:secret@bucket/x", "write s3://bucket/x"),
        ("s3://", "names no bucket"),
        ("ftp://user:secret@host/x", "ftp://host/x is of no store"),
        ("s3://key:secret@bucket/x", "credentials and endpoints in the environment"),
        ("s3://bucket:80/x", "credentials and endpoints in the environment"),
        ("s3://buck et/x", "names no bucket"),
        ("s3://../x", "names no bucket"),
        ("s3://bucket/a//b", "two slashes"),
        ("s3://bucket/a\nb", "cannot be printed"),
    ],
)
def test_an_address_of_no_store_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_location(text)
    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "address", ["S3://bucket/a/./c", "s3a://bucket/a/b/../c/", "s3://bucket//a/c"]
)
def test_one_place_has_one_address(address: str) -> None:
    assert parse_location(address) == StorePath("s3://bucket", "a/c")


def test_an_object_that_is_replaced_while_it_is_read_is_told(bucket: StorePath) -> None:
    location = bucket / "changing.bin"
    location.put(b"a" * (3 << 20))
    with location.open("rb") as file:
        assert file.read(10) == b"a" * 10
        location.put(b"b" * (3 << 20))
        with pytest.raises(StoreError, match="replaced while it was read"):
            file.read()


def test_folders_of_a_store_are_listed_as_those_of_a_disk(
    bucket: StorePath, tmp_path: Path
) -> None:
    names = ["a/x.tif", "a/b [1]/y#1?.TIF", "a/.hidden/z.tif", "c=1/p.parquet", "q%20.tif"]
    for root in (bucket / "listed", tmp_path):
        for name in names:
            files.write_atomic(root / name, lambda path: path.write_bytes(b"content"))
    remote = bucket / "listed"
    assert list_names(remote) == list_names(tmp_path)
    assert list_names(remote, (".tif",)) == list_names(tmp_path, (".tif",))
    for pattern in ("*", "*/*", "a/*.tif", "**/*.tif", "a/b [[]1]/*", "q%20.tif", "none/*"):
        local = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.glob(pattern))]
        found = [path.relative_to(remote).as_posix() for path in remote.glob(pattern)]
        assert found == local, pattern
    matched = match_files(str(remote / "a/b [1]/y#1?.TIF"))
    assert matched == [remote / "a/b [1]/y#1?.TIF"]
    assert (remote / "a").is_dir()
    assert not (remote / "a").is_file()
    assert (remote / "a/x.tif").read_text() == "content"
    assert not (remote / "a/x").exists()


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("key", ["a/b//x.tif", "a//x.tif", "a/../x.tif", "a/\x01.tif"])
def test_a_name_that_cannot_be_asked_for_is_named(key: str) -> None:
    root = StorePath(f"s3://odd-{key.encode().hex()}")
    fill_bucket(os.environ["AWS_S3_ENDPOINT"], {key: b"1", "b/x.tif": b"2"}, root.root[5:])
    words = f"{root}a cannot be listed, as there is {key!r}: "
    with pytest.raises(InputError, match=f"{re.escape(words)}.* rename or delete it"):
        list_names(root / "a")
    assert list_names(root / "b") == ["x.tif"]


def test_an_object_and_a_folder_of_one_name_are_told(bucket: StorePath) -> None:
    place = bucket / "both/x.gdb"
    (place / "inside").put(b"1")
    with files.local_copy(place) as copy:
        assert (copy / "inside").read_bytes() == b"1"
    place.put(b"")  # as some clients make a folder
    with files.local_copy(place) as copy:
        assert (copy / "inside").read_bytes() == b"1"
    place.put(b"an object")
    words = r"both/x\.gdb is an object and a folder, of s3://bucket/both/x\.gdb/inside among others"
    with pytest.raises(InputError, match=words), files.local_copy(place):
        pytest.fail("one of the two was taken for the other")


def test_files_beside_a_copy_are_copied_and_folders_are_not(bucket: StorePath) -> None:
    folder = bucket / "beside"
    for name in ("x.shp", "x.dbf", "x.shp.xml", "x.old/x.dbf", "xy.dbf", "y.dbf"):
        (folder / name).put(name.encode())
    with files.local_copy(folder / "x.shp", siblings=True) as copy:
        found = sorted(copy.parent.rglob("*"))
        assert [path.name for path in found] == ["x.dbf", "x.shp", "x.shp.xml"]
        assert [path.read_text() for path in found] == ["x.dbf", "x.shp", "x.shp.xml"]
    with (
        pytest.raises(FileNotFoundError, match="none"),
        files.local_copy(folder / "none.shp", True),
    ):
        pytest.fail("nothing is there")


def test_a_failed_writer_publishes_nothing(bucket: StorePath) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(SetupError, match="free space"):
        files.write_atomic(bucket / "half.bin", fail)
    assert not (bucket / "half.bin").exists()


def test_an_object_that_is_replaced_is_another(bucket: StorePath) -> None:
    location = bucket / "replaced.bin"
    files.write_atomic(location, lambda path: path.write_bytes(b"one"))
    before = files.file_identity(location)
    assert files.file_identity(location) == before
    files.write_atomic(location, lambda path: path.write_bytes(b"two"))
    assert files.file_identity(location) != before


@pytest.mark.parametrize("kind", ["disk", "store"])
def test_one_of_two_that_create_a_file_succeeds(
    bucket: StorePath, tmp_path: Path, kind: str
) -> None:
    location = (bucket if kind == "store" else tmp_path) / "lease" / "1.json"
    assert files.create_exclusive(location, b"first")
    assert not files.create_exclusive(location, b"second")
    assert location.read_bytes() == b"first"
    files.remove(location)
    assert files.create_exclusive(location, b"third")


def test_tables_and_ledger_read_the_same_from_a_store(bucket: StorePath, tmp_path: Path) -> None:
    rows = [LedgerRow("tile", f"key {number}", "f") for number in range(5)]
    for out in (bucket / "ledger", tmp_path):
        append_ledger(out, rows[:3])
        append_ledger(out, rows[3:])
        for split in ("train", "test"):
            place = f"tables/samples/split={split}/0.parquet"
            files.write_atomic(out / place, lambda path: pq.write_table(TABLE, path))
    remote = bucket / "ledger"
    assert read_latest(remote, "tile").keys() == read_latest(tmp_path, "tile").keys()
    local, distant = (
        store.open_dataset(store.table_folder(out, "samples")).to_table()
        for out in (tmp_path, remote)
    )
    assert distant.equals(local)
    there = which_exist(remote, ["tables/samples/split=test/0.parquet", "tables/x"])
    assert there == {"tables/samples/split=test/0.parquet"}


def test_a_process_that_works_alone_reads_the_ledger_once(
    bucket: StorePath, faults: Faults
) -> None:
    out = bucket / "alone"
    append_ledger(out, [LedgerRow("tile", "a", "1")])
    with read_once(out):
        before = faults.asked
        append_ledger(out, [LedgerRow("tile", "a", "2"), LedgerRow("index", "b", "1")])
        append_ledger(out, [LedgerRow("tile", "c", "1")])
        assert {key: row.fingerprint for key, row in read_latest(out, "tile").items()} == {
            "a": "2",
            "c": "1",
        }
        assert faults.asked - before == 2
        kept = read_ledger(out)
    assert read_ledger(out).equals(kept)


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_an_object_of_one_piece_is_read_by_one_request(
    bucket: StorePath, faults: Faults, size: int
) -> None:
    location = bucket / f"{size}.bin"
    content = os.urandom(size)
    location.put(content)
    before = faults.asked
    with location.open("rb") as file:
        assert file.read() == content
    assert faults.asked - before == 1


def test_a_folder_is_removed_by_one_listing_and_one_request(
    bucket: StorePath, faults: Faults
) -> None:
    folder = bucket / "removed"
    for number in range(30):
        (folder / f"{number % 3}" / f"{number}").put(b"x")
    (bucket / "removed too").put(b"x")
    asked = faults.asked
    files.remove_folder(folder)
    assert faults.asked - asked == 2
    assert not list(folder.walk())
    assert (bucket / "removed too").read_bytes() == b"x"
    files.remove_folder(folder)


def test_objects_are_read_from_any_place(bucket: StorePath) -> None:
    content = os.urandom(3 << 20)
    location = bucket / "large.bin"
    files.write_atomic(location, lambda path: path.write_bytes(content))
    with location.open("rb") as file:
        file.seek(-5, os.SEEK_END)
        assert file.read() == content[-5:]
        file.seek(1 << 20)
        assert file.read(100) == content[1 << 20 : (1 << 20) + 100]
        file.seek((1 << 20) - 7)
        assert file.read(100) == content[(1 << 20) - 7 : (1 << 20) + 93]
    with location.open("rb") as file:
        assert file.read() == content
    filesystem, path = arrow_filesystem(location)
    assert filesystem.get_file_info(path).size == len(content)
    with files.local_copy(location) as copy:
        assert copy.read_bytes() == content
    assert not copy.exists()


@pytest.mark.parametrize("kind", ["cut", "short", "lost", "busy"])
def test_what_breaks_off_is_asked_again(
    bucket: StorePath, faults: Faults, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    content = os.urandom(3 << 20)
    folder = bucket / f"broken {kind}"
    monkeypatch.setattr(faults, "kind", kind)
    monkeypatch.setattr(faults, "each", 2)
    for name in ("a.bin", "b/c.bin"):
        (folder / name).put(content)
    created = [(folder / "lease").put_new(f"{kind} {number}".encode()) for number in range(3)]
    assert created == [True, False, False]
    assert (folder / "lease").read_bytes() == f"{kind} 0".encode()
    for _ in range(2):
        assert (folder / "a.bin").stat().st_size == len(content)
        assert [place.name for place in folder.iterdir()] == ["a.bin", "b", "lease"]
        assert [place.name for place, _ in folder.scan()] == ["a.bin", "lease"]
        assert [place.name for place, _ in folder.walk()] == ["a.bin", "c.bin", "lease"]
        assert (folder / "b").is_dir()
        with (folder / "a.bin").open("rb") as file:
            file.seek(1 << 20)
            assert file.read() == content[1 << 20 :]
        filesystem, path = arrow_filesystem(folder / "b/c.bin")
        with filesystem.open_input_file(path) as stream:
            assert stream.read() == content
    (folder / "a.bin").delete()
    assert [place.name for place in folder.iterdir()] == ["b", "lease"]
    assert faults.failed


def test_a_lost_race_is_one_request_and_a_lost_answer_is_no_lost_race(
    bucket: StorePath, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = bucket / "race"
    place.put(b"of another")
    before = faults.asked
    assert not place.put_new(b"mine")
    assert faults.asked - before == 1
    # The first try is carried out, and asked for again by obstore itself.
    monkeypatch.setattr(faults, "kind", "unsure")
    monkeypatch.setattr(faults, "each", 2)
    for number in range(4):
        assert (bucket / f"mine {number}").put_new(b"mine")
        place.put(b"of another")
        assert not place.put_new(b"mine")
    assert faults.failed


def test_a_bucket_that_is_not_there_is_told(bucket: StorePath) -> None:
    check_location(bucket)
    check_location(bucket / "not/yet")
    with pytest.raises(SetupError, match="there is no bucket other: make it"):
        check_location(StorePath("s3://other"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("expired", r"s3://bucket/x: the token has expired: set AWS_ACCESS_KEY_ID"),
        ("full", r"s3://bucket/x: the store is full, .*: free space or raise the quota$"),
        ("read-only", r"s3://bucket/x: .*AccessDenied\): grant s3:PutObject on it, or set AWS_"),
        ("skewed", r"s3://bucket/x: this machine's clock is not the store's .*: set it"),
        ("moved", r"s3://bucket/x: the bucket is in another region, not in .*: set AWS_REGION"),
    ],
)
def test_a_refusal_is_told_in_a_line_with_its_remedy(
    kind: Kind, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_store() as (place, faults):
        for name, value in store_variables(place).items():
            monkeypatch.setenv(name, value)
        fill_bucket(place, {})
        monkeypatch.setattr(object_store, "_PATIENT", object_store._QUICK)
        faults.kind, faults.each = kind, 1
        with pytest.raises(StoreError, match=words) as told:
            StorePath("s3://bucket", "x").put(b"1")
        if kind in ("expired", "skewed", "moved"):
            # An answer to HEAD has no body.
            with pytest.raises(StoreError, match=words):
                StorePath("s3://bucket", "x").stat()
    assert "<" not in str(told.value)


@pytest.mark.parametrize(
    "address", ["s3://bucket/x", "gs://bucket/x", "abfs://b@account.dfs.core.windows.net/x"]
)
def test_missing_credentials_are_told(address: str) -> None:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "GOOGLE_", "AZURE_"))
    }
    program = (
        "import sys; from lulc.location import *\n"
        "try: check_location(parse_location(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, address],
        env=kept,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.startswith(f"SetupError {address} cannot be used: ")
    assert "set " in ran.stdout


@pytest.mark.parametrize(
    ("values", "is_on"),
    [(("1", "on", "YES", "True"), True), (("0", "off", "NO", "false", ""), False)],
)
def test_switches_are_read_as_gdal_reads_them(
    values: tuple[str, ...], is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in values:
        monkeypatch.setenv("AWS_NO_SIGN_REQUEST", value)
        assert store_access.settings_of("s3://bucket").get("skip_signature", False) is is_on


@pytest.mark.usefixtures("bucket")
def test_a_fork_of_a_process_that_asked_a_store_fails_at_once() -> None:
    program = (
        "import os; from lulc.location import StorePath, check_location\n"
        "check_location(StorePath('s3://bucket'))\n"
        "if os.fork() == 0:\n"
        "    try: check_location(StorePath('s3://bucket'))\n"
        "    except Exception as error: print(type(error).__name__, error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.startswith("SetupError process ")
    assert "spawn" in ran.stdout


def test_a_ledger_below_leads_to_the_files_of_the_one_above(
    bucket: StorePath, tmp_path: Path
) -> None:
    for out in (bucket / "above", tmp_path):
        files.write_atomic(out / "tables/chips/a.parquet", lambda path: path.write_bytes(b"a"))
        append_ledger(out, [LedgerRow("tile", "a", "f", path="tables/chips/a.parquet")])
        below = out / "folds" / "0_of_2"
        for _ in range(2):
            copy_rows(out, below, ["tile"])
        (row,) = read_done(below, "tile").values()
        assert (below / str(row.path)).read_bytes() == b"a"
        assert len(files.list_tables(below / "tables/ledger")) == 1

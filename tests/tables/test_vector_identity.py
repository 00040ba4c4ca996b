"""An edit of any file of a vector file is seen; what does not belong to it is not."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import geopandas
import pytest
import shapely

from lulc.config import RegionFile
from lulc.errors import InputError
from lulc.location import Location, StorePath
from lulc.stats.regions import region_identities
from lulc.tables.files import file_identity
from lulc.tables.vector_files import find_layer
from lulc.tables.vector_identity import vector_identity
from tests.helpers.object_stores import fill_bucket, object_store, store_variables


@pytest.fixture(scope="module")
def bucket() -> Iterator[StorePath]:
    """A bucket of a store on this machine."""
    with object_store() as place, pytest.MonkeyPatch.context() as patch:
        for name, value in store_variables(place).items():
            patch.setenv(name, value)
        fill_bucket(place, {})
        yield StorePath("s3://bucket")


def fill(folder: Path) -> Path:
    shapes = [shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)]
    regions = geopandas.GeoDataFrame({"id": ["a", "b"]}, geometry=shapes, crs=4326)
    regions.to_file(folder / "l.shp")
    regions.to_file(folder / "l.gpkg")
    regions.to_file(folder / "l.gdb", driver="OpenFileGDB")
    return folder


@pytest.mark.parametrize(
    ("name", "edited", "is_seen"),
    [
        ("l.shp", "l.dbf", True),
        ("l.shp", "l.shp", True),
        ("l.shp", "l.cpg", True),
        ("l.shp", "l.yaml", False),
        ("l.shp", "l.a.dbf", False),
        ("l.gdb", "l.gdb/a00000001.gdbtable", True),
        ("l.gpkg", "l.gpkg", True),
        ("l.gpkg", "l.shp", False),
    ],
)
def test_an_edit_of_any_part_is_seen(
    name: str, edited: str, is_seen: bool, bucket: StorePath, tmp_path: Path
) -> None:
    disk = fill(tmp_path)
    for path in files_below(disk):
        (bucket / path.relative_to(disk).as_posix()).put(path.read_bytes())
    before = [identity_of(root / name) for root in (disk, bucket)]
    with (disk / edited).open("ab") as file:
        file.write(b" ")
    (bucket / edited).put((disk / edited).read_bytes())
    after = [identity_of(root / name) for root in (disk, bucket)]
    assert [old != new for old, new in zip(before, after, strict=True)] == [is_seen, is_seen]


@pytest.mark.parametrize("name", ["none.shp", "none.gdb", "none.gpkg"])
def test_a_file_that_is_not_there_is_told(name: str, bucket: StorePath, tmp_path: Path) -> None:
    for root in (tmp_path, bucket):
        with pytest.raises(FileNotFoundError, match="none"):
            vector_identity(root / name)


def identity_of(location: Location) -> list[object]:
    identity = vector_identity(str(location))
    assert region_identities([RegionFile(str(location))]) == [identity]
    return identity


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_one_file_is_known_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("l.gpkg", "./l.gpkg", "l.prj"):
        assert vector_identity(name) == file_identity(name)


def test_the_size_is_that_of_all_parts(tmp_path: Path) -> None:
    folder = fill(tmp_path) / "l.gdb"
    total = sum(path.stat().st_size for path in files_below(folder))
    assert vector_identity(folder)[1] == total


def test_changes_in_the_log_of_a_database_are_seen(bucket: StorePath, tmp_path: Path) -> None:
    path, stored = fill(tmp_path) / "l.gpkg", bucket / "log/l.gpkg"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=WAL")
    database.close()
    stored.put(path)
    before = [vector_identity(path), vector_identity(stored)]
    database = sqlite3.connect(path)
    try:
        database.execute("CREATE TABLE later (x)")
        database.commit()
        stored.with_name("l.gpkg-wal").put(path.with_name("l.gpkg-wal"))
        for old, place in zip(before, (path, stored), strict=True):
            assert vector_identity(place) != old
    finally:
        database.close()


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_copy_of_a_database_that_is_worked_on_is_refused(
    bucket: StorePath, tmp_path: Path, mode: str
) -> None:
    path, suffix = fill(tmp_path) / "l.gpkg", {"WAL": "-wal", "DELETE": "-journal"}[mode]
    log = path.with_name(f"l.gpkg{suffix}")
    stored = bucket / mode / "l.gpkg"
    database = sqlite3.connect(path)
    try:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("PRAGMA cache_size=1")
        database.execute("CREATE TABLE later (x)")
        database.executemany("INSERT INTO later VALUES (?)", [("x" * 3000,)] * 99)
        for file in (path, log):
            stored.with_name(file.name).put(file)
        with zipfile.ZipFile(tmp_path / "l.zip", "w") as archive:
            for file in (path, log):
                archive.write(file, file.name)
    finally:
        database.close()
    for place in (stored, tmp_path / "l.zip"):
        with pytest.raises(InputError, match=rf"l\.gpkg{suffix} beside it, which may hold changes"):
            find_layer(place, "regions")
    stored.with_name(log.name).put(b"")  # as a reader leaves it
    assert find_layer(stored, "regions").name == "l"

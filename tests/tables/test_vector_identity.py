"""An edit of any file of a vector file is seen; what does not belong to it is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import geopandas
import pytest
import shapely

from lulc.config import RegionFile
from lulc.location import Location, StorePath
from lulc.stats.regions import region_identities
from lulc.tables.files import file_identity
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


def test_changes_in_the_log_of_a_database_are_seen(tmp_path: Path) -> None:
    path = fill(tmp_path) / "l.gpkg"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=WAL")
    database.close()
    before = vector_identity(path)
    database = sqlite3.connect(path)
    try:
        database.execute("CREATE TABLE later (x)")
        database.commit()
        assert vector_identity(path) != before
    finally:
        database.close()

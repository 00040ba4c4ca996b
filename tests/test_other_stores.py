"""Azure's and Google's stores: what holds of S3 holds of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from shapely.geometry import box

from lulc.config import Archive, RegionFile
from lulc.errors import SetupError
from lulc.location import StorePath, check_location, parse_location
from lulc.paths import list_names, match_files
from lulc.raster import reader
from lulc.sources import items
from lulc.sources.registry import source_of
from lulc.stats.regions import read_regions
from lulc.tables import files
from lulc.tables.arrow_files import arrow_filesystem
from tests.helpers.cloud_emulators import azure_store, google_store
from tests.helpers.small_world import GRID
from tests.helpers.synthetic_scenes import texture, write_raster

pytestmark = [pytest.mark.cluster, pytest.mark.server]

ADDRESSES = {"gs": "gs://bucket/a folder", "abfs": "abfs://bucket/a folder"}


@pytest.fixture(scope="module", params=sorted(ADDRESSES))
def folder(request: pytest.FixtureRequest) -> Iterator[StorePath]:
    """A folder in a store on this machine."""
    store = {"abfs": azure_store, "gs": google_store}[request.param]
    with store() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        location = parse_location(ADDRESSES[request.param])
        assert isinstance(location, StorePath)
        yield location


def test_objects_are_published_listed_read_and_removed(folder: StorePath, tmp_path: Path) -> None:
    check_location(folder)
    content = os.urandom(3 << 20)
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


def test_inputs_are_the_same_as_on_disk(folder: StorePath, tmp_path: Path) -> None:
    write_raster(tmp_path / "in/20240601.tif", texture(GRID), GRID, nodata=0)
    regions = geopandas.GeoDataFrame({"id": ["w"]}, geometry=[box(*GRID.bounds)], crs=GRID.crs)
    regions.to_file(tmp_path / "in/regions.shp")
    for path in (tmp_path / "in").iterdir():
        (folder / "in" / path.name).put(path)
    grid, tables, pixels = GRID.window(7, 9, 100, 90), [], []
    for root in (tmp_path / "in", folder / "in"):
        archive = Archive(str(root), mask=())
        reading = items.Reading((archive,), ("geotiff",))
        (item,) = items.list_items(source_of(archive), archive)
        (band,) = items.read_item(item, 0, reading).bands
        assert band.href == str(root / "20240601.tif")
        pixels.append(reader.read_band(band.href, 1, grid, "nearest", band.nodata)[0])
        tables.append(read_regions([RegionFile(str(root / "regions.shp"), id="id")]).table)
    np.testing.assert_array_equal(*pixels)
    assert tables[0].equals(tables[1])
    place = folder / "table/0.parquet"
    files.write_atomic(place, lambda path: pq.write_table(tables[0], path))
    filesystem, name = arrow_filesystem(place.parent)
    assert pyarrow.dataset.dataset(name, filesystem=filesystem).to_table().equals(tables[0])


def test_a_bucket_that_is_not_there_is_told(folder: StorePath) -> None:
    with pytest.raises(SetupError, match=r"nobucket.* cannot be used"):
        check_location(StorePath(folder.root.replace("bucket", "nobucket")))

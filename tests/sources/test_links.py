"""Archives with links to folders, files of any name and hrefs as writers encode them."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import quote

import pytest

from lulc.config import Archive
from lulc.errors import InputError
from lulc.raster.reader import read_whole
from lulc.sources.items import ListedItem, Reading, list_items, read_items
from lulc.sources.registry import source_of
from lulc.sources.scene import Scene
from tests.sources import test_landsat as landsat
from tests.sources import test_sentinel2 as sentinel2
from tests.sources.test_sources import item, raster, write_item
from tests.test_paths import AWKWARD, NAMES


def scene_ids(archive: Archive) -> list[str]:
    source = source_of(archive)
    return [source.read(i, archive, ()).scene_id for i in list_items(source, archive)]


def read_one(archive: Archive) -> Scene:
    source = source_of(archive)
    (listed,) = list_items(source, archive)
    return source.read(listed, archive, ())


def link(tmp_path: Path) -> tuple[Path, Path]:
    """An archive and a folder elsewhere, to which its entry `linked` leads."""
    archive, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    archive.mkdir()
    elsewhere.mkdir()
    (archive / "linked").symlink_to(elsewhere)
    return archive, elsewhere


def test_rasters_of_linked_folders_are_scenes(tmp_path: Path) -> None:
    archive, elsewhere = link(tmp_path)
    raster(archive / "own_20240601.tif")
    raster(elsewhere / "deep" / "other_20240602.tif")
    (elsewhere / "loop").symlink_to(archive)
    ids = scene_ids(Archive(str(archive)))
    assert ids == ["linked/deep/other_20240602", "own_20240601"]
    assert scene_ids(Archive(str(archive), pattern="{scene}_{date}.tif")) == [
        "other_20240602",
        "own_20240601",
    ]


def test_items_of_linked_folders_name_files_beside_and_above_them(tmp_path: Path) -> None:
    archive, elsewhere = link(tmp_path)
    raster(elsewhere / "beside.tif")
    raster(elsewhere / "pixels" / "above.tif")
    assets = {"red": {"href": "../beside.tif"}, "nir": {"href": "../pixels/above.tif"}}
    write_item(elsewhere / "items", item("s", assets))
    scene = read_one(Archive(str(archive)))
    assert [band.href for band in scene.bands] == [
        str(archive / "linked" / "pixels" / "above.tif"),
        str(archive / "linked" / "beside.tif"),
    ]


def test_pixels_in_a_linked_folder_belong_to_the_item(tmp_path: Path) -> None:
    archive, elsewhere = link(tmp_path)
    raster(elsewhere / "red.tif")
    write_item(archive, item("s", {"red": {"href": "./linked/red.tif"}}))
    assert read_one(Archive(str(archive))).scene_id == "s"


@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_a_linked_product_alone_is_found(tmp_path: Path, sensor: str) -> None:
    archive, elsewhere = link(tmp_path)
    if sensor == "sentinel2":
        sentinel2.make_product(elsewhere, "2A", "05.11", ("B04",))
    else:
        landsat.make(elsewhere / landsat.OLI9, landsat.OLI9, "OLI_TIRS", ["4"])
    assert read_one(Archive(str(archive))).source == sensor


@pytest.mark.parametrize("name", [*NAMES, "a%2520b", "%2e%2e", "S2:B04"])
@pytest.mark.parametrize("encode", [str, quote])
def test_hrefs_name_files_of_any_name_plain_or_encoded(
    tmp_path: Path, name: str, encode: type[str]
) -> None:
    path = raster(tmp_path / name / f"{name}.tif")
    for prefix in ("", "./", f"{encode(str(tmp_path))}/", f"file://{encode(str(tmp_path))}/"):
        href = f"{prefix}{encode(name)}/{encode(name)}.tif"
        write_item(tmp_path, item("s", {"red": {"href": href}}))
        assert read_one(Archive(str(tmp_path), source="stac")).bands[0].href == str(path)


def test_a_text_that_is_a_file_wins_over_what_it_would_decode_to(tmp_path: Path) -> None:
    raster(tmp_path / "a b.tif")
    plain = raster(tmp_path / "a%20b.tif")
    write_item(tmp_path, item("s", {"red": {"href": "a%20b.tif"}}))
    assert read_one(Archive(str(tmp_path), source="stac")).bands[0].href == str(plain)


def test_an_archive_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / AWKWARD / AWKWARD
    raster(folder / f"{AWKWARD}_20240601.tif")
    assert scene_ids(Archive(str(folder))) == [f"{AWKWARD}_20240601"]
    sentinel2.make_product(folder, "2A", "05.11", ("B04",))
    assert read_one(Archive(str(folder))).source == "sentinel2"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A zip of a Sentinel-2 product and a tar of a Landsat product."""
    folder = tmp_path_factory.mktemp("packed")
    safe = sentinel2.make_product(folder / "safe", "2A", "05.11", ("B04",))
    landsat.make(folder / "usgs", landsat.OLI9, "OLI_TIRS", ["4"])
    made = (("zip", safe.parent, safe.name), ("tar", folder / "usgs", landsat.OLI9))
    return {
        form: Path(shutil.make_archive(str(folder / form / name), form, root))
        for form, root, name in made
    }


@pytest.mark.parametrize("name", [*NAMES, "x.zip!", "y.tar"])
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_packed_products_in_a_folder_of_any_name(
    packed: dict[str, Path], tmp_path: Path, name: str, form: str
) -> None:
    (tmp_path / name).mkdir()
    shutil.copy(packed[form], tmp_path / name)
    archive = Archive(str(tmp_path / name))
    scene = read_one(archive)
    for band in scene.bands:
        assert read_whole(band.href)[1].size


def test_a_link_that_leads_nowhere_is_a_bad_item(tmp_path: Path) -> None:
    raster(tmp_path / "good_20240601.tif")
    (tmp_path / "gone_20240602.tif").symlink_to(tmp_path / "nowhere.tif")
    archive = Archive(str(tmp_path))
    items = list_items(source_of(archive), archive)
    listed = [ListedItem(0, item.path, item.key, item.text) for item in items]
    bad, good = read_items(listed, Reading((archive,), ("geotiff",)))
    assert (bad["key"], good["error"]) == ("gone_20240602", None)
    assert "gone_20240602.tif" in bad["error"]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    (tmp_path / "not_a_folder").write_text("")
    with pytest.raises(InputError, match=r"not_a_folder"):
        source_of(Archive(str(tmp_path / "not_a_folder" / "x")))

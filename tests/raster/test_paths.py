"""A path is a path, whatever characters are in it."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.location import is_address
from lulc.raster import reader
from lulc.raster.access import ReadError, open_raster
from lulc.raster.address import split_archive
from lulc.redact import redact_url

DRIVERS = {".png": "PNG", ".JP2": "JP2OpenJPEG", ".Jpg": "JPEG", ".TIF": "GTiff", ".PNG": "PNG"}
PICTURE = np.full((3, 16, 16), 9, "uint8")
NAMES = [
    *("site #2", "a?b", "q?x=1&y=2", "100%", "%41", "bang!", "a b", "ü", "-dash", "a:b"),
    *("[x]", "{y}", "a{b", "a}b", "*", "x.zip!", "x.hdf!", "http:", "s3:", "C:", "NETCDF:x:v"),
]


def picture(driver: str) -> bytes:
    with rasterio.MemoryFile() as memory:
        with memory.open(driver=driver, count=3, height=16, width=16, dtype="uint8") as file:
            file.write(PICTURE)
        return bytes(memory.read())


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(DRIVERS[path.suffix]))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_opened_as_what_its_suffix_says(tmp_path: Path, name: str) -> None:
    for suffix, driver in DRIVERS.items():
        path = write(tmp_path / name / f"{name}{suffix}")
        with open_raster(str(path)) as file:
            assert (file.driver, file.shape) == (driver, (16, 16))
    path = tmp_path / name / f"none {name}.png"
    with pytest.raises(ReadError) as caught, open_raster(str(path)):
        pass
    assert str(caught.value).startswith(f"{path} cannot be opened as PNG")


# Without what ends a name or leads out of it, and the longest name of a file.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="/\\\0", exclude_categories=("Cs",))
TEXTS = st.text(CHARACTERS, min_size=1, max_size=40).filter(lambda text: ".." not in text)


@given(folder=TEXTS, name=TEXTS)
@settings(max_examples=60, deadline=None)
def test_a_path_of_any_characters_is_opened(
    tmp_path_factory: pytest.TempPathFactory, folder: str, name: str
) -> None:
    root = tmp_path_factory.mktemp("names")
    path = write(root / f"{folder}_" / f"{name}.png")
    with open_raster(str(path)) as file:
        assert file.driver == "PNG"
    assert not is_address(str(path))
    assert split_archive(str(path)) == (str(path), "")
    assert len(str(path)) > 200 or redact_url(str(path)) == str(path)


def test_a_relative_path_is_no_driver_s_syntax(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a:b.png")
    write(tmp_path / "-x.png")
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.png", "-x.png"):
        with open_raster(name) as file:
            assert file.driver == "PNG"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "x.zip!"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_file_in_an_archive_of_any_name_is_opened(tmp_path: Path, name: str, kind: str) -> None:
    image = write(tmp_path / "image.png")
    archive = tmp_path / name / f"{name}.{kind}"
    archive.parent.mkdir()
    member = f"{name}/{name}.png"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            packed.write(image, member)
    else:
        with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as packed_tar:
            packed_tar.add(image, member)
    pixels, valid, _ = reader.read_whole(f"{archive}!/{member}")
    np.testing.assert_array_equal(pixels, PICTURE)
    assert valid.all()


def test_a_folder_may_end_as_an_archive_does(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zip!" / "a.png")
    with open_raster(str(path)) as file:
        assert file.driver == "PNG"
    os.rename(tmp_path / "x.zip!", tmp_path / "y.zip")
    with zipfile.ZipFile(tmp_path / "y.zip" / "x.zip", "w") as packed:
        packed.write(tmp_path / "y.zip" / "a.png", "a.png")
    with open_raster(str(tmp_path / "y.zip" / "x.zip!/a.png")) as file:
        assert file.driver == "PNG"

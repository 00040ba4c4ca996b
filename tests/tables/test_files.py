"""A file is published whole, or the error says why it is not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import rasterio

from lulc.errors import InputError, SetupError
from lulc.geo.grid import Grid
from lulc.raster.writer import copy_raster
from lulc.tables import files
from lulc.tables.files import write_atomic
from tests.helpers.synthetic_scenes import cut_short, texture, write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5.3e6), 300, 330)


def raise_number(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "No space left on device): free space or choose another --out"),
        (errno.EROFS, "Read-only file system): make its folder writable or choose another --out"),
        (errno.ENAMETOOLONG, "File name too long): choose another --out"),
    ],
)
def test_what_cannot_be_written_says_why(tmp_path: Path, number: int, remedy: str) -> None:
    target = tmp_path / "a #1" / "x.txt"
    with pytest.raises(SetupError) as caught:
        write_atomic(target, lambda _: raise_number(number))
    assert str(caught.value) == f"{target} could not be written ({remedy}"
    assert not list(target.parent.iterdir())


def test_a_copy_that_fails_is_told_like_any_file(tmp_path: Path) -> None:
    source = write_raster(tmp_path / "source.tif", texture(GRID), GRID)

    def copy(_: Path) -> None:
        copy_raster(source, tmp_path / "none" / "x.tif", driver="COG")

    with pytest.raises(SetupError, match=r"x\.tif could not be written.*No such file"):
        write_atomic(tmp_path / "x.tif", copy)


def test_a_damaged_input_is_not_told_as_a_full_disk(tmp_path: Path) -> None:
    source = write_raster(tmp_path / "source.tif", texture(GRID), GRID)
    cut_short(source)

    def copy(target: Path) -> None:
        with rasterio.open(source) as file:
            target.write_bytes(file.read().tobytes())

    with pytest.raises(InputError, match=r"x\.raw is not written.*cannot be read.*damaged file"):
        write_atomic(tmp_path / "x.raw", copy)
    assert not (tmp_path / "x.raw").exists()


def test_where_there_are_no_links_a_file_is_created_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert files.create_exclusive(tmp_path / "1.json", b"first")
    assert not files.create_exclusive(tmp_path / "1.json", b"second")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]

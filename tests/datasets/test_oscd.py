"""OSCD in miniature: two dates of a city in 13 bands, both forms of mask, lists, damaged files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from lulc.datasets.readers.oscd import OSCD
from lulc.errors import InputError
from lulc.tables import arrays
from tests.helpers.synthetic_archives import (
    cut_item,
    list_items,
    options_of,
    read_item,
    write_picture,
)

RNG = np.random.default_rng(0)
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
SHAPE = (20, 28)
IMAGES, TRAIN, TEST = (
    f"Onera Satellite Change Detection dataset - {name}"
    for name in ("Images", "Train Labels", "Test Labels")
)


def write_city(root: Path, city: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    bands = RNG.integers(0, 12_000, (2, 13, *SHAPE)).astype(np.uint16)
    changed = RNG.integers(0, 2, SHAPE).astype(np.uint8)
    folder = root / IMAGES / city
    for date, images in zip(("imgs_1_rect", "imgs_2_rect"), bands, strict=True):
        for name, band in zip(BANDS, images, strict=True):
            write_picture(folder / date / f"{name}.tif", band)
    write_picture(folder / "imgs_1" / "S2A_OPER_MSI_L1C_TL_B01.tif", bands[0, 0])
    write_picture(folder / "pair/img1.png", np.zeros((3, *SHAPE), np.uint8))
    (folder / "dates.txt").write_text("date_1: 20161130\ndate_2: 20170829\n")
    ring = [[2.0, 48.0], [2.5, 48.0], [2.5, 48.5], [2.0, 48.5], [2.0, 48.0]]
    feature = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    (folder / f"{city}.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature]})
    )
    write_picture(root / labels / city / f"cm/{city}-cm.tif", changed + np.uint8(1))
    write_picture(root / labels / city / "cm/cm.png", np.stack([changed * 255] * 3))
    return bands, changed


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    write_city(tmp_path, "norcia", TEST)
    bands, changed = write_city(tmp_path, "saclay_e", TRAIN)
    (tmp_path / IMAGES / "train.txt").write_text("saclay_e")
    (tmp_path / IMAGES / "test.txt").write_text("norcia")
    return tmp_path, bands, changed


def test_dates_bands_and_masks(archive: tuple[Path, np.ndarray, np.ndarray]) -> None:
    root, bands, changed = archive
    found = list_items(OSCD, root)
    assert {name: (item.split, item.group) for name, item in found.items()} == {
        "saclay_e": ("train", "saclay_e"), "norcia": ("test", "norcia")
    }  # fmt: skip
    assert found["norcia"].lonlat == (2.25, 48.25)
    example = read_item(OSCD, root, found["saclay_e"])
    assert (
        np.array_equal(example.pixels, bands)
        and example.pixels.dtype == np.uint16
        and example.valid.all()
    )
    assert (
        np.array_equal(example.label, changed)
        and example.label.dtype == np.uint8
        and example.grid is None
    )
    assert example.datetimes == (
        datetime(2016, 11, 30, tzinfo=UTC),
        datetime(2017, 8, 29, tzinfo=UTC),
    )
    some = read_item(OSCD, root, found["saclay_e"], ("swir22", "nir08", "red"))
    assert np.array_equal(some.pixels, bands[:, [12, 8, 3]])
    known = OSCD.describe(options_of(OSCD))
    assert (known.task, known.dates, known.encoding.scales[0]) == ("change", 2, 1e-4)
    (root / TRAIN / "saclay_e/cm/saclay_e-cm.tif").unlink()
    item = list_items(OSCD, root)["saclay_e"]
    assert item.files[1].endswith("cm/cm.png") and np.array_equal(
        read_item(OSCD, root, item).label, changed
    )


def test_windows_fit_the_table(archive: tuple[Path, np.ndarray, np.ndarray]) -> None:
    root, bands, changed = archive
    rows = cut_item(OSCD, root, list_items(OSCD, root)["saclay_e"], 16)
    assert len(rows) == 4 and len(rows[0]["datetimes"]) == 2
    assert np.array_equal(arrays.array_from(rows[0], "pixels"), bands[:, :, :16, :16])
    assert np.array_equal(arrays.array_from(rows[3], "label")[:4, :12], changed[16:, 16:])
    assert (arrays.array_from(rows[3], "label")[4:] == 255).all()


def test_cities_without_labels_or_lists(archive: tuple[Path, np.ndarray, np.ndarray]) -> None:
    root, _, _ = archive
    (root / IMAGES / "test.txt").unlink()
    with pytest.raises(InputError, match=r"has the list train.txt but not test.txt"):
        list_items(OSCD, root)
    (root / IMAGES / "test.txt").write_text("norcia,rio")
    with pytest.raises(InputError, match=r"names rio"):
        list_items(OSCD, root)
    for name in ("train.txt", "test.txt"):
        (root / IMAGES / name).unlink()
    # The folders of labels say it.
    found = {name: item.split for name, item in list_items(OSCD, root).items()}
    assert found == {"saclay_e": "train", "norcia": "test"}
    for file in (root / TEST / "norcia/cm").iterdir():
        file.unlink()
    assert list(list_items(OSCD, root)) == ["saclay_e"]


def test_damaged_archives(archive: tuple[Path, np.ndarray, np.ndarray]) -> None:
    root, bands, _ = archive
    item = list_items(OSCD, root)["saclay_e"]
    mask = root / item.files[1]
    write_picture(mask, np.full(SHAPE, 3, np.uint8))
    with pytest.raises(InputError, match=r"saclay_e-cm.tif holds codes \[3\]"):
        read_item(OSCD, root, item)
    write_picture(mask, np.ones((20, 20), np.uint8))
    with pytest.raises(InputError, match=r"saclay_e-cm.tif has 20x20 pixels"):
        read_item(OSCD, root, item)
    write_picture(mask, np.ones(SHAPE, np.uint8))
    for text in ("date_1: 20161130", "date_1: 2016-11-30\ndate_2: 2017-08-29"):
        (root / item.files[0] / "dates.txt").write_text(text)
        with pytest.raises(InputError, match=r"dates.txt does not give two days"):
            read_item(OSCD, root, item)
    band = root / item.files[0] / "imgs_2_rect/B05.tif"
    whole = band.read_bytes()
    band.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"imgs_2_rect/B05.tif"):
        read_item(OSCD, root, item)
    write_picture(band, bands[1, 4, :, :20])
    with pytest.raises(InputError, match=r"B05.tif has 20x20 pixels where 20x28"):
        read_item(OSCD, root, item)
    band.unlink()
    with pytest.raises(InputError, match=r"imgs_2_rect/B05.tif"):
        read_item(OSCD, root, item)
    (root / item.files[0] / "saclay_e.geojson").write_text("{")
    found = list_items(OSCD, root)
    assert "saclay_e.geojson is not GeoJSON" in found["saclay_e"].error
    assert not found["norcia"].error


def test_labels_among_those_of_another_split_are_refused(
    archive: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    root, _, _ = archive
    mask = root / list_items(OSCD, root)["saclay_e"].files[1]
    moved = root / TEST / "saclay_e/cm" / mask.name
    moved.parent.mkdir(parents=True)
    moved.write_bytes(mask.read_bytes())
    twice = list_items(OSCD, root)["saclay_e"]
    assert "is listed as train, its labels are in" in twice.error
    for file in mask.parent.iterdir():
        file.unlink()
    apart = list_items(OSCD, root)["saclay_e"]
    assert "is listed as train, its labels are in" in apart.error

"""xView2 in miniature: damage polygons and masks, both image kinds, splits, damaged files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lulc.datasets.readers.xview2 import XVIEW2
from lulc.errors import InputError
from lulc.tables import arrays
from tests.helpers.synthetic_archives import (
    cut_item,
    list_items,
    options_of,
    read_item,
    write_picture,
    write_raster,
)

RNG = np.random.default_rng(0)
SIDE = 32
POLYGONS = {
    "no-damage": (2, 3, 8, 9),
    "minor-damage": (10, 3, 14, 9),
    "major-damage": (16, 3, 20, 9),
    "destroyed": (22, 20, 40, 30),
    "un-classified": (2, 20, 8, 26),
}
CODES = {"no-damage": 1, "minor-damage": 2, "major-damage": 3, "destroyed": 4, "un-classified": 255}


def expected() -> np.ndarray:
    label = np.zeros((SIDE, SIDE), np.uint8)
    for subtype, (left, top, right, bottom) in POLYGONS.items():
        label[top:bottom, left:right] = CODES[subtype]
    return label


def write_json(path: Path, when: str, polygons: Sequence[tuple[str, str | None]]) -> None:
    xy: list[dict[str, Any]] = [
        {"properties": {"feature_type": "building", "subtype": subtype, "uid": str(i)}, "wkt": wkt}
        for i, (subtype, wkt) in enumerate(polygons)
    ]
    metadata = {
        "features": {"lng_lat": [], "xy": xy},
        "metadata": {"capture_date": when, "width": SIDE, "height": SIDE},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metadata))


def write_pair(folder: Path, name: str, suffix: str = ".png") -> np.ndarray:
    images = RNG.integers(1, 256, (2, 3, SIDE, SIDE)).astype(np.uint8)
    for when, bands in zip(("pre", "post"), images, strict=True):
        write = write_picture if suffix == ".png" else write_raster
        write(folder / f"images/{name}_{when}_disaster{suffix}", bands)
    shapes = [
        (subtype, f"POLYGON (({a} {b}, {c} {b}, {c} {d}, {a} {d}, {a} {b}))")
        for subtype, (a, b, c, d) in POLYGONS.items()
    ]
    write_json(folder / f"labels/{name}_pre_disaster.json", "2018-02-05T17:10:18.000Z", [])
    write_json(folder / f"labels/{name}_post_disaster.json", "2018-09-20T16:04:41.000Z", shapes)
    target = np.where(expected() == 255, 0, expected())
    write_picture(folder / f"targets/{name}_post_disaster_target.png", target)
    write_picture(folder / f"targets/{name}_pre_disaster_target.png", (target > 0).astype(np.uint8))
    return images


def test_pairs_polygons_and_masks(tmp_path: Path) -> None:
    images = write_pair(tmp_path / "train", "hurricane-florence_00000001")
    (item,) = list_items(XVIEW2, tmp_path).values()
    assert (item.name, item.split, item.group) == (
        "hurricane-florence_00000001",
        "train",
        "hurricane-florence",
    )
    example = read_item(XVIEW2, tmp_path, item)
    assert (
        np.array_equal(example.pixels, images)
        and example.pixels.dtype == np.uint8
        and example.valid.shape == (2, SIDE, SIDE)
    )
    assert (
        np.array_equal(example.label, expected())
        and example.label.dtype == np.uint8
        and example.grid is None
    )
    assert example.datetimes == (
        datetime(2018, 2, 5, 17, 10, 18, tzinfo=UTC),
        datetime(2018, 9, 20, 16, 4, 41, tzinfo=UTC),
    )
    (masked,) = list_items(XVIEW2, tmp_path, labels="targets").values()
    other = read_item(XVIEW2, tmp_path, masked, ("green",), labels="targets")
    assert (
        np.array_equal(other.label, np.where(expected() == 255, 0, expected()))
        and other.datetimes == ()
    )
    assert np.array_equal(other.pixels, images[:, [1]])
    known = XVIEW2.describe(options_of(XVIEW2))
    assert (known.task, known.dates, known.legend.ids) == ("change", 2, (0, 1, 2, 3, 4))


def test_splits_of_every_layout(tmp_path: Path) -> None:
    for n, folder in enumerate(
        (
            *("train", "geotiffs/tier1", "tier3_images_labels_targets", "test", "hold"),
            *("joplin-tornado", "hold_images_labels_targets", "validation_set"),
        )
    ):
        write_pair(tmp_path / folder, f"joplin-tornado_0000000{n}")
    assert [item.split for item in list_items(XVIEW2, tmp_path).values()].count("train") == 3
    found = {name[-1]: item.split for name, item in list_items(XVIEW2, tmp_path).items()}
    assert found == {
        "0": "train",
        "1": "train",
        "2": "train",
        "3": "test",
        "4": "validation",
        "5": "",
        "6": "validation",
        "7": "validation",
    }


def test_geotiffs(tmp_path: Path) -> None:
    images = write_pair(tmp_path / "geotiffs/hold", "palu-tsunami_00000004", ".tif")
    assert not list_items(XVIEW2, tmp_path)
    (item,) = list_items(XVIEW2, tmp_path, images="geotiff").values()
    example = read_item(XVIEW2, tmp_path, item, images="geotiff")
    assert (
        np.array_equal(example.pixels, images)
        and example.grid
        and example.grid.shape == (SIDE, SIDE)
    )
    rows = cut_item(XVIEW2, tmp_path, item, SIDE, images="geotiff")
    assert arrays.array_from(rows[0], "pixels").dtype == np.uint16


def test_windows_fit_the_table(tmp_path: Path) -> None:
    images = write_pair(tmp_path / "test", "socal-fire_00000004")
    rows = cut_item(XVIEW2, tmp_path, list_items(XVIEW2, tmp_path)["socal-fire_00000004"], 16)
    assert len(rows) == 4 and np.array_equal(
        arrays.array_from(rows[1], "pixels"), images[:, :, :16, 16:]
    )
    assert np.array_equal(arrays.array_from(rows[2], "label"), expected()[16:, :16])


def test_damaged_archives(tmp_path: Path) -> None:
    name = "socal-fire_00000004"
    write_pair(tmp_path / "train", name)
    item, masked = (
        list_items(XVIEW2, tmp_path)[name],
        list_items(XVIEW2, tmp_path, labels="targets")[name],
    )
    label = tmp_path / f"train/labels/{name}_post_disaster.json"
    for polygons, words in (
        ([("flooded", "POLYGON ((0 0, 1 0, 1 1, 0 0))")], "has subtypes flooded"),
        ([("destroyed", "POLYGON ((0 0, 1")], "holds no polygons with a damage subtype"),
        ([("destroyed", "")], "holds no polygons with a damage subtype"),
        ([("destroyed", None)], "holds no polygons with a damage subtype"),
    ):
        write_json(label, "2018-09-20T16:04:41.000Z", polygons)
        with pytest.raises(InputError, match=rf"{label.name} {words}"):
            read_item(XVIEW2, tmp_path, item)
    write_json(label, "yesterday", [])
    with pytest.raises(InputError, match=rf"{label.name} has no metadata.capture_date"):
        read_item(XVIEW2, tmp_path, item)
    for text, words in (("{", "cannot be read"), ("[]", "is no JSON object")):
        label.write_text(text)
        with pytest.raises(InputError, match=rf"{label.name} {words}"):
            read_item(XVIEW2, tmp_path, item)
    target = tmp_path / masked.files[2]
    write_picture(target, np.full((SIDE, SIDE), 9, np.uint8))
    with pytest.raises(InputError, match=rf"{target.name} holds codes \[9\]"):
        read_item(XVIEW2, tmp_path, masked, labels="targets")
    for file in (target, tmp_path / f"train/images/{name}_pre_disaster.png"):
        file.unlink()
        with pytest.raises(InputError, match=file.name):
            read_item(XVIEW2, tmp_path, masked, labels="targets")

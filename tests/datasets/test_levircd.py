"""LEVIR-CD in miniature: pairs and masks in both layouts, the publisher's split, damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lulc.datasets.readers.levircd import LEVIRCD
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
SIDE = 32


def write_pair(root: Path, name: str, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    images = RNG.integers(0, 256, (2, 3, side, side)).astype(np.uint8)
    mask = RNG.choice([0, 255], (side, side)).astype(np.uint8)
    for folder, bands in zip(("A", "B", "label"), (*images, mask), strict=True):
        write_picture(root / folder / name, bands)
    return images, mask


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        write_pair(tmp_path / split, f"{split}_1.png")
    return tmp_path


def test_pairs_masks_and_splits(archive: Path) -> None:
    images, mask = write_pair(archive / "val", "val_2.png")
    found = list_items(LEVIRCD, archive)
    assert {name: item.split for name, item in found.items()} == {
        "train_1": "train", "val_1": "validation", "val_2": "validation", "test_1": "test"
    }  # fmt: skip
    assert found["val_2"].files == ("val/A/val_2.png", "val/B/val_2.png", "val/label/val_2.png")
    example = read_item(LEVIRCD, archive, found["val_2"])
    assert np.array_equal(example.pixels, images) and example.pixels.dtype == np.uint8
    assert example.valid.shape == (2, SIDE, SIDE) and example.valid.all()
    assert np.array_equal(example.label, mask // 255) and example.label.dtype == np.uint8
    assert example.grid is None and example.datetimes == ()
    assert np.array_equal(
        read_item(LEVIRCD, archive, found["val_2"], ("blue", "red")).pixels, images[:, [2, 0]]
    )
    known = LEVIRCD.describe(options_of(LEVIRCD))
    assert (known.task, known.dates, known.gsd_m) == ("change", 2, 0.5) and [
        c.id for c in known.legend.classes
    ] == [0, 1]


def test_folders_without_splits_and_places(tmp_path: Path) -> None:
    write_pair(tmp_path, "train_1.png")
    write_pair(tmp_path, "test_9.png")
    corners = {"train_1.png": [-98.0, 30.25, -97.5, 30.0]}
    (tmp_path / "LEVIR_CD_name_coords.json").write_text(json.dumps(corners))
    found = list_items(LEVIRCD, tmp_path)
    assert {name: (item.split, item.lonlat) for name, item in found.items()} == {
        "train_1": ("train", (-97.75, 30.125)), "test_9": ("test", None)
    }  # fmt: skip
    (tmp_path / "LEVIR_CD_name_coords.json").write_text('{"train_1.png": [1, 2]}')
    broken = list_items(LEVIRCD, tmp_path)["train_1"]
    assert "gives train_1.png no four corners" in broken.error and broken.lonlat is None
    for text in ("[1", "[]"):
        (tmp_path / "LEVIR_CD_name_coords.json").write_text(text)
        with pytest.raises(InputError, match=r"LEVIR_CD_name_coords.json cannot be read"):
            list_items(LEVIRCD, tmp_path)


def test_windows_fit_the_table(archive: Path) -> None:
    images, mask = write_pair(archive / "train", "train_1.png")
    rows = cut_item(LEVIRCD, archive, list_items(LEVIRCD, archive)["train_1"], 16)
    assert [row["sample_id"] for row in rows] == [
        f"levircd/train_1/{y}_{x}" for y in (0, 1) for x in (0, 1)
    ]
    assert np.array_equal(arrays.array_from(rows[3], "pixels"), images[:, :, 16:, 16:])
    assert np.array_equal(arrays.array_from(rows[3], "label"), mask[16:, 16:] // 255)


def test_damaged_archives(archive: Path) -> None:
    found = list_items(LEVIRCD, archive)
    (archive / "train/label/train_1.png").unlink()
    with pytest.raises(InputError, match=r"label/train_1.png"):
        read_item(LEVIRCD, archive, found["train_1"])
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[0, 0] = 7
    write_picture(archive / "val/label/val_1.png", mask)
    with pytest.raises(InputError, match=r"label/val_1.png holds codes \[7\]"):
        read_item(LEVIRCD, archive, found["val_1"])
    write_picture(archive / "test/B/test_1.png", RNG.integers(0, 256, (3, 16, 16)).astype(np.uint8))
    with pytest.raises(InputError, match=r"B/test_1.png has 16x16 pixels where 32x32"):
        read_item(LEVIRCD, archive, found["test_1"])
    whole = (archive / "val/A/val_1.png").read_bytes()
    (archive / "val/A/val_1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"A/val_1.png"):
        read_item(LEVIRCD, archive, found["val_1"])

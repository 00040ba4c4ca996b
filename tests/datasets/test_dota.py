"""DOTA in miniature: the folders of every version, oriented boxes, difficult ones, bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lulc.datasets.readers.dota import DOTA
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
HEADER = "imagesource:GoogleEarth\ngsd:0.146343590398\n"
OBJECTS = (
    "5 2 9 6 5 10 1 6 plane 0\n"
    "10.5 20.0 14.5 20.0 14.5 26.0 10.5 26.0 ship 1\n"
    "28 28 36 28 36 36 28 36 small-vehicle\n"
)


def write_label(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_image(path: Path, count: int = 3) -> np.ndarray:
    image = RNG.integers(0, 256, (count, SIDE, SIDE)).astype(np.uint8)
    write_picture(path, image)
    return image


def test_images_and_boxes(tmp_path: Path) -> None:
    image = write_image(tmp_path / "train/images/P0000.png")
    write_label(tmp_path / "train/labelTxt/P0000.txt", HEADER + OBJECTS)
    (item,) = list_items(DOTA, tmp_path).values()
    assert (item.name, item.split, item.files) == (
        "P0000",
        "train",
        ("train/images/P0000.png", "train/labelTxt/P0000.txt"),
    )
    example = read_item(DOTA, tmp_path, item)
    assert np.array_equal(example.pixels[0], image) and example.valid.all() and example.grid is None
    boxes = [[0, 1, 2, 9, 10], [1, 10.5, 20, 14.5, 26], [10, 28, 28, 32, 32]]
    assert example.label.tolist() == boxes and example.label.dtype == np.float32
    assert read_item(DOTA, tmp_path, item, difficult="drop").label.tolist() == [boxes[0], boxes[2]]
    assert np.array_equal(read_item(DOTA, tmp_path, item, ("blue", "red")).pixels[0], image[[2, 0]])
    (row,) = cut_item(DOTA, tmp_path, item, SIDE)
    assert arrays.array_from(row, "label").tolist() == boxes and sum(row["class_counts"]) == 3


def test_panchromatic_images(tmp_path: Path) -> None:
    image = write_image(tmp_path / "val/images/P2000.png", 1)
    write_label(tmp_path / "val/labelTxt/P2000.txt", HEADER)
    (item,) = list_items(DOTA, tmp_path).values()
    example = read_item(DOTA, tmp_path, item)
    assert (
        item.split == "validation"
        and np.array_equal(example.pixels[0], image[[0, 0, 0]])
        and example.label.shape == (0, 5)
    )


def test_versions_have_labels_and_classes_of_their_own(tmp_path: Path) -> None:
    write_image(tmp_path / "train/images/part1/images/P0001.png")
    write_image(tmp_path / "test/images/P0002.png")
    places = {
        "1.0": ("train/labelTxt-v1.0/labelTxt/P0001.txt", "harbor"),
        "1.5": ("train/labelTxt-v1.5/DOTA-v1.5_train/P0001.txt", "container-crane"),
        "2.0": ("train/labelTxt-v2.0/DOTA-v2.0_train/P0001.txt", "helipad"),
    }
    for file, category in places.values():
        write_label(tmp_path / file, f"{HEADER}1 1 5 1 5 5 1 5 {category} 0\n")
    write_label(
        tmp_path / "train/labelTxt-v1.5/DOTA-v1.5_train_hbb/P0001.txt", "1 1 9 1 9 9 1 9 ship 0\n"
    )
    write_label(
        tmp_path / "train/labelTxt-v1.0/Train_Task2_gt/trainset_reclabelTxt/P0001.txt",
        "1 1 9 1 9 9 1 9 ship 0\n",
    )
    for version, (file, category) in places.items():
        (item,) = list_items(DOTA, tmp_path, version=version).values()
        assert item.files == ("train/images/part1/images/P0001.png", file)
        known = DOTA.describe(options_of(DOTA, version=version)).legend.classes
        assert len(known) == {"1.0": 15, "1.5": 16, "2.0": 18}[version]
        label = read_item(DOTA, tmp_path, item, version=version).label
        assert known[int(label[0, 0])].name == category and label[0, 1:].tolist() == [1, 1, 5, 5]
    write_label(tmp_path / "train/annotations/version2.0/P0009.txt", "")
    assert set(list_items(DOTA, tmp_path, version="2.0")) == {"P0001", "P0009"} and set(
        list_items(DOTA, tmp_path)
    ) == {"P0001"}


def test_damaged_archives(tmp_path: Path) -> None:
    image, label = tmp_path / "train/images/P0000.png", tmp_path / "train/labelTxt/P0000.txt"
    write_image(image)
    for line, words in (
        ("1 1 5 1 5 5 1 5 helipad 0", "line 3 has category 'helipad', version 1.0 has plane"),
        ("1 1 5 1 5 5 1 plane 0", "line 3 is not eight coordinates and a category"),
        ("1 1 5 1 5 5 1 5", "line 3 is not eight coordinates and a category"),
    ):
        write_label(label, f"{HEADER}{line}\n")
        (item,) = list_items(DOTA, tmp_path).values()
        with pytest.raises(InputError, match=f"P0000.txt {words}"):
            read_item(DOTA, tmp_path, item)
    write_label(label, OBJECTS)
    image.write_bytes(image.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"P0000.png"):
        read_item(DOTA, tmp_path, item)
    image.unlink()
    (item,) = list_items(DOTA, tmp_path).values()
    with pytest.raises(InputError, match=r"train/images/P0000.png"):
        read_item(DOTA, tmp_path, item)

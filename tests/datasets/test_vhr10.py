"""NWPU VHR-10 in miniature: images with and without objects, their boxes, damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lulc.datasets.readers.vhr10 import VHR10
from lulc.errors import InputError
from lulc.tables import arrays
from tests.helpers.synthetic_archives import (
    cut_item,
    list_items,
    options_of,
    read_item,
    write_picture,
)

ROOT = "NWPU VHR-10 dataset"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """One image with three objects, the last of which crosses its edge, and one without any."""
    image = np.full((3, 40, 48), 60, np.uint8) * np.array([1, 2, 3], np.uint8)[:, None, None]
    write_picture(tmp_path / ROOT / "positive image set/001.jpg", image)
    write_picture(tmp_path / ROOT / "negative image set/001.jpg", image)
    (tmp_path / ROOT / "ground truth").mkdir()
    (tmp_path / ROOT / "ground truth/001.txt").write_text(
        "(5,6),(15,12),1 \n( 20,6 ), (30,12) ,10\r\n(40,30),(52,39),3\n\n"
    )
    return tmp_path


def test_images_and_boxes(archive: Path) -> None:
    found = list_items(VHR10, archive)
    assert set(found) == {"positive-001", "negative-001"} and {
        item.split for item in found.values()
    } == {""}
    example = read_item(VHR10, archive, found["positive-001"])
    assert (
        example.pixels.shape == (1, 3, 40, 48)
        and example.pixels.dtype == np.uint8
        and example.valid.all()
    )
    assert (
        np.abs(example.pixels[0].mean((1, 2)) - [60, 120, 180]).max() < 3 and example.grid is None
    )
    assert example.label.tolist() == [[1, 5, 6, 15, 12], [10, 20, 6, 30, 12], [3, 40, 30, 48, 39]]
    assert example.label.dtype == np.float32
    assert np.array_equal(
        read_item(VHR10, archive, found["positive-001"], ("blue",)).pixels[0, 0],
        example.pixels[0, 2],
    )
    assert read_item(VHR10, archive, found["negative-001"]).label.shape == (0, 5)
    known = VHR10.describe(options_of(VHR10))
    assert (
        known.task == "detect"
        and known.legend.ids == tuple(range(1, 11))
        and known.legend.classes[9].name == "vehicle"
    )
    inside = list_items(VHR10, archive / ROOT)
    assert np.array_equal(
        read_item(VHR10, archive / ROOT, inside["positive-001"]).label, example.label
    )


def test_boxes_fit_the_table(archive: Path) -> None:
    row, *_ = cut_item(VHR10, archive, list_items(VHR10, archive)["positive-001"], 48)
    assert arrays.array_from(row, "label").shape == (3, 5) and sum(row["class_counts"]) == 3
    row, *_ = cut_item(VHR10, archive, list_items(VHR10, archive)["negative-001"], 48)
    assert arrays.array_from(row, "label").shape == (0, 5) and not sum(row["class_counts"])


def test_damaged_archives(archive: Path) -> None:
    item = list_items(VHR10, archive)["positive-001"]
    label, image = (archive / item.files[i] for i in (1, 0))
    for text in ("(5,6),(15,12),11\n", "(5,6),(15,12)\n", "5 6 15 12 1\n"):
        label.write_text("(5,6),(15,12),1\n" + text)
        with pytest.raises(
            InputError, match=r"001.txt line 2 .* is not '\(x1,y1\),\(x2,y2\),class'"
        ):
            read_item(VHR10, archive, item)
    label.unlink()
    with pytest.raises(InputError, match=r"001.txt cannot be read"):
        read_item(VHR10, archive, item)
    write_picture(image, np.random.default_rng(0).integers(0, 256, (3, 40, 48)).astype(np.uint8))
    image.write_bytes(image.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"001.jpg"):
        read_item(VHR10, archive, item)

"""Sen-2 LULC in miniature: images and masks of three splits, both layouts; damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from lulc.datasets.readers.sen2lulc import SEN2LULC
from lulc.errors import InputError
from lulc.legend import COMMON, NODATA
from lulc.tables import arrays
from tests.helpers.synthetic_archives import cut_item, list_items, options_of, read_item

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{NotGeoreferencedWarning.__module__}.{NotGeoreferencedWarning.__name__}"
)
RNG = np.random.default_rng(0)


def write(path: Path, bands: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    driver = "PNG" if path.suffix == ".png" else "GTiff"
    with rasterio.open(
        path, "w", driver=driver, count=count, height=height, width=width, dtype="uint8"
    ) as file:
        file.write(bands)


def write_pair(root: Path, split: str, inner: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    image = RNG.integers(0, 256, (3, 64, 64)).astype(np.uint8)
    codes = RNG.integers(0, 8, (1, 64, 64)).astype(np.uint8)
    write(root / f"{split}_images/{inner}{number}.png", image)
    write(root / f"{split}_masks/{inner}{number}.tif", codes)
    return image, codes[0]


@pytest.mark.parametrize("inner", [True, False])
def test_pictures_masks_and_splits(tmp_path: Path, inner: bool) -> None:
    root = tmp_path / "SEN-2 LULC"
    written = {
        f"{split}-{number}": write_pair(root, split, f"{split}/" if inner else "", number)
        for split, number in (("train", 1), ("train", 2), ("val", 1), ("test", 1))
    }
    found = list_items(SEN2LULC, tmp_path)
    assert {name: item.split for name, item in found.items()} == {
        "train-1": "train", "train-2": "train", "val-1": "validation", "test-1": "test"
    }  # fmt: skip
    for name, item in found.items():
        image, codes = written[name]
        example = read_item(SEN2LULC, tmp_path, item)
        assert (
            np.array_equal(example.pixels, image[None])
            and example.valid.all()
            and example.grid is None
        )
        assert (
            np.array_equal(example.label, np.where(codes, codes, NODATA))
            and example.label.dtype == np.uint8
        )
    some = read_item(SEN2LULC, tmp_path, found["val-1"], ("blue", "red"))
    assert np.array_equal(some.pixels[0], written["val-1"][0][[2, 0]])
    (row,) = cut_item(SEN2LULC, tmp_path, found["test-1"], 64)
    codes = written["test-1"][1]
    assert np.array_equal(arrays.array_from(row, "label"), np.where(codes, codes, NODATA))


def test_classes() -> None:
    known = SEN2LULC.describe(options_of(SEN2LULC))
    assert known.legend.ids == tuple(range(1, 8)) == tuple(known.common) and set(
        known.common.values()
    ) <= set(COMMON.ids)
    assert [c.name for c in known.legend.classes][::3] == ["water", "barren land", "fallow land"]


def test_damaged_pairs_are_named(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", "train/", 1)
    (item,) = list_items(SEN2LULC, tmp_path).values()
    image, mask = tmp_path / "train_images/train/1.png", tmp_path / "train_masks/train/1.tif"
    write(mask, np.full((1, 64, 64), 9, np.uint8))
    with pytest.raises(InputError, match=r"train_masks/train/1\.tif holds codes \[9\]"):
        read_item(SEN2LULC, tmp_path, item)
    write(mask, np.ones((1, 32, 64), np.uint8))
    with pytest.raises(InputError, match=r"1\.tif has 32x64 pixels"):
        read_item(SEN2LULC, tmp_path, item)
    mask.unlink()
    with pytest.raises(InputError, match=r"train_masks/train/1\.tif"):
        read_item(SEN2LULC, tmp_path, item)
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"train_images/train/1\.png"):
        read_item(SEN2LULC, tmp_path, item)
    write(image, np.ones((1, 64, 64), np.uint8))
    with pytest.raises(InputError, match=r"1\.png has 1 bands"):
        read_item(SEN2LULC, tmp_path, item)

"""Dynamic World in miniature: expert and other tiles, held-back ones, on chips and on SAFE."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio

from lulc.datasets.readers.dynamicworld import DYNAMICWORLD
from lulc.errors import InputError, UsageError
from lulc.legend import COMMON, NODATA
from lulc.tables import arrays
from tests.helpers.synthetic_archives import (
    cut_item,
    list_items,
    options_of,
    read_item,
    write_raster,
)
from tests.sources.test_sentinel2 import FINE, make_product, numbers

RNG = np.random.default_rng(0)
EXPERT = "dw_14.9000000000_46.9000000000-20190812"
CROWD = "dw_14.9500000000_46.9000000000-20180703"
HELD = "dw_15.1000000000_46.9000000000-20190101"
SHAPE = (51, 51)
BECOMES = np.array([NODATA, *range(9), NODATA], np.uint8)


def write_chip(path: Path, count: int = 12, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    bands = RNG.integers(1, 10_000, (count, *shape)).astype(np.uint16)
    write_raster(path, bands)
    return bands


@pytest.fixture(scope="module")
def archive(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Two training tiles (one also by a non-expert), one held back, one without image; chips."""
    root = tmp_path_factory.mktemp("dynamicworld")
    codes = {name: RNG.integers(0, 11, SHAPE).astype(np.uint8) for name in (EXPERT, CROWD, HELD)}
    write_raster(root / f"Experts/EH/1/{EXPERT}.tif", codes[EXPERT])
    write_raster(root / f"Non_expert/WorkForce/EH/1/{CROWD}.tif", codes[CROWD])
    write_raster(root / f"Non_expert/WorkForce/EH/1/{EXPERT}.tif", codes[CROWD])
    write_raster(root / "Experts/EH/2/dw_0.5_0.5-20190812.tif", codes[EXPERT])
    # Beside the experts' consensus lies the product's label, from 0.
    path = root / f"dw_test/label_{HELD}.tif"
    write_raster(path, np.stack([np.full(SHAPE, 200, np.uint8), codes[HELD]]))
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("label", "lulc")
    write_raster(root / f"dw_test/probs_{HELD}.tif", RNG.random((9, *SHAPE)).astype(np.float32))
    chips = {name: write_chip(root / f"images/{name}.tif") for name in codes}
    return root, codes, chips


def test_tiles_of_all_labelers(
    archive: tuple[Path, dict[str, np.ndarray], dict[str, np.ndarray]],
) -> None:
    root, codes, chips = archive
    found = list_items(DYNAMICWORLD, root)
    assert {name: item.split for name, item in found.items()} == {
        f"experts-{EXPERT}": "train",
        f"non_experts-{EXPERT}": "train",
        f"non_experts-{CROWD}": "train",
        f"test-label_{HELD}": "test",
    }
    assert found[f"experts-{EXPERT}"].group == found[f"non_experts-{EXPERT}"].group == EXPERT
    assert found[f"test-label_{HELD}"].lonlat == (15.1, 46.9)
    assert set(list_items(DYNAMICWORLD, root, labels="experts")) == {
        f"experts-{EXPERT}",
        f"test-label_{HELD}",
    }
    for name, tile, day in (
        (f"experts-{EXPERT}", EXPERT, datetime(2019, 8, 12, tzinfo=UTC)),
        (f"non_experts-{CROWD}", CROWD, datetime(2018, 7, 3, tzinfo=UTC)),
        (f"test-label_{HELD}", HELD, datetime(2019, 1, 1, tzinfo=UTC)),
    ):
        example = read_item(DYNAMICWORLD, root, found[name])
        assert (
            np.array_equal(example.label, BECOMES[codes[tile]]) and example.label.dtype == np.uint8
        )
        assert (
            np.array_equal(example.pixels[0], chips[tile])
            and example.valid.all()
            and example.datetimes == (day,)
        )
        assert example.grid and example.grid.shape == SHAPE
    some = read_item(DYNAMICWORLD, root, found[f"experts-{EXPERT}"], ("red", "swir22"))
    assert np.array_equal(some.pixels[0], chips[EXPERT][[3, 11]])
    (row,) = cut_item(DYNAMICWORLD, root, found[f"experts-{EXPERT}"], 51)
    assert np.array_equal(arrays.array_from(row, "label"), BECOMES[codes[EXPERT]])
    assert DYNAMICWORLD.describe(options_of(DYNAMICWORLD)).legend.classes == COMMON.classes


def test_nothing_held_back_nothing_split(
    archive: tuple[Path, object, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    (tmp_path / "Experts").symlink_to(archive[0] / "Experts")
    rgb = write_chip(tmp_path / f"s2/{EXPERT}.tif", 3)
    given = {
        "images": "s2/{item}.tif",
        "bands": "red, green, blue",
        "scale": "0.001",
        "dtype": "uint16",
    }
    (item,) = list_items(DYNAMICWORLD, tmp_path, **given).values()
    assert item.split == ""
    example = DYNAMICWORLD.read(tmp_path, item, options_of(DYNAMICWORLD, **given), ("blue",))
    assert np.array_equal(example.pixels[0, 0], rgb[2])
    assert DYNAMICWORLD.describe(options_of(DYNAMICWORLD, **given)).encoding.scales == (0.001,) * 3


PRODUCT = "20240608T081609_20240608T084321_T33HYE"


def test_labels_on_products_as_delivered(tmp_path: Path) -> None:
    make_product(tmp_path / "scenes/2024", "2A", "05.10", ("B02", "B04", "B8A"))
    (
        tmp_path / "scenes/S2B_MSIL2A_20240608T081609_N0510_R121_T21HYE_20240608T103015.SAFE"
    ).mkdir()  # half a world away
    codes = RNG.integers(0, 11, SHAPE).astype(np.uint8)
    name = "dw_15.0040000000_-34.3380000000-20240608"
    path = tmp_path / f"Experts/WH/1/{name}.tif"
    inside = FINE.window(40, 20, *SHAPE)
    write_raster(path, codes)
    with rasterio.open(path, "r+") as file:
        file.crs, file.transform = inside.crs, inside.affine
    write_raster(tmp_path / "Experts/WH/1/dw_15.004_-34.338-20240610.tif", codes)  # of another day
    (item,) = list_items(DYNAMICWORLD, tmp_path, images="scenes").values()
    assert len(item.files) == 2
    example = read_item(DYNAMICWORLD, tmp_path, item, ("nir08", "blue"), images="scenes")
    blue = numbers("B02", 10)[40:91, 20:71].astype(int) - 1000 + 1
    assert np.array_equal(example.pixels[0, 1], np.where(example.valid[0], blue.clip(0), 0))
    assert (
        example.valid.mean() > 0.9
        and example.grid == inside
        and np.array_equal(example.label, BECOMES[codes])
    )
    nir = np.kron(numbers("B8A", 20), np.ones((2, 2), int))[40:91, 20:71].astype(int) - 1000 + 8
    assert np.array_equal(example.pixels[0, 0], np.where(example.valid[0], nir.clip(0), 0))
    write_raster(path, codes)
    with pytest.raises(InputError, match="no product of that day has the ground of"):
        read_item(DYNAMICWORLD, tmp_path, item, ("blue",), images="scenes")
    with pytest.raises(InputError, match="nowhere cannot be listed"):
        list_items(DYNAMICWORLD, tmp_path, images="nowhere")


def test_the_product_as_labels(tmp_path: Path) -> None:
    chances = RNG.dirichlet(np.ones(9) * 0.3, SHAPE).transpose(2, 0, 1).astype(np.float32)
    chances[:, :4] = np.nan
    top = np.nan_to_num(chances).argmax(0)
    label = np.where(np.isnan(chances[0]), np.nan, top).astype(np.float32)
    forms = {"both": np.concatenate([chances, label[None]]), "chances": chances, "label": label}
    expected = np.where(np.isnan(label), NODATA, top)
    for form, bands in forms.items():
        root = tmp_path / form
        write_raster(root / f"product/{PRODUCT}.tif", bands)
        chip = write_chip(root / f"images/{PRODUCT}.tif")
        (item,) = list_items(DYNAMICWORLD, root, labels="product").values()
        assert (
            item.split == "" and item.group == "T33HYE"[1:] and not list_items(DYNAMICWORLD, root)
        )
        example = read_item(DYNAMICWORLD, root, item, labels="product")
        assert np.array_equal(example.label, expected) and np.array_equal(example.pixels[0], chip)
        assert example.datetimes == (datetime(2024, 6, 8, 8, 16, 9, tzinfo=UTC),)
        if form == "label":
            with pytest.raises(InputError, match=r"T33HYE\.tif has no probabilities"):
                read_item(DYNAMICWORLD, root, item, labels="product", confidence="0.6")
        else:
            sure = read_item(DYNAMICWORLD, root, item, labels="product", confidence="0.6").label
            assert (
                np.array_equal(
                    sure, np.where(np.nan_to_num(chances).max(0) < 0.6, NODATA, expected)
                )
                and (sure != NODATA).any()
            )
    make_product(tmp_path / "scenes", "1C", "02.05")
    path = tmp_path / f"{PRODUCT}.tif"
    write_raster(path, forms["label"])
    item = list_items(DYNAMICWORLD, tmp_path, labels="product", images="scenes")[
        f"product-{PRODUCT}"
    ]
    assert item.files[1].startswith("scenes/S2B_MSIL1C_20240608T081609")


def test_damaged_tiles_are_named(tmp_path: Path) -> None:
    file = tmp_path / f"Experts/EH/1/{EXPERT}.tif"
    write_raster(file, np.full(SHAPE, 11, np.uint8))
    write_chip(tmp_path / f"images/{EXPERT}.tif")
    (item,) = list_items(DYNAMICWORLD, tmp_path).values()
    with pytest.raises(InputError, match=r"20190812\.tif holds codes \[11\]"):
        read_item(DYNAMICWORLD, tmp_path, item)
    write_raster(file, np.ones(SHAPE, np.uint8))
    write_chip(tmp_path / f"images/{EXPERT}.tif", shape=(40, 51))
    with pytest.raises(InputError, match=r"images/dw_\S+ has \(40, 51\) pixels"):
        read_item(DYNAMICWORLD, tmp_path, item)
    write_chip(tmp_path / f"images/{EXPERT}.tif", 4)
    with pytest.raises(InputError, match="has 4 bands"):
        read_item(DYNAMICWORLD, tmp_path, item)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=EXPERT):
        read_item(DYNAMICWORLD, tmp_path, item)
    file.unlink()
    with pytest.raises(InputError, match=EXPERT):
        read_item(DYNAMICWORLD, tmp_path, item)
    write_raster(tmp_path / f"{PRODUCT}.tif", np.ones((4, *SHAPE), np.float32))
    write_chip(tmp_path / f"images/{PRODUCT}.tif")
    (item,) = list_items(DYNAMICWORLD, tmp_path, labels="product").values()
    with pytest.raises(InputError, match="has 4 bands: the label, the nine probabilities"):
        read_item(DYNAMICWORLD, tmp_path, item, labels="product")
    with pytest.raises(UsageError, match="confidence 'high' must be a number"):
        DYNAMICWORLD.describe(options_of(DYNAMICWORLD, confidence="high"))

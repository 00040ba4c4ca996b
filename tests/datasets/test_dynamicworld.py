"""Dynamic World in miniature: expert and other tiles, held-back ones, on chips and on SAFE."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio

from lulc.config import DatasetConf
from lulc.datasets.listing import list_items as listing_of
from lulc.datasets.readers.dynamicworld import DYNAMICWORLD
from lulc.errors import InputError, UsageError
from lulc.legend import COMMON, NODATA
from lulc.tables import arrays
from tests.helpers.synthetic_archives import (
    cut_item,
    list_items,
    list_notes,
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
    (item,) = listing_of(DatasetConf("dynamicworld", str(tmp_path), given)).items
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


def write_tile(root: Path, folder: str, tile: str) -> None:
    write_raster(root / folder / f"{tile}.tif", np.ones(SHAPE, np.uint8))
    write_chip(root / f"images/{tile}.tif")


@pytest.mark.parametrize(
    "folder",
    [
        "validation_set_tiles/EH/1",
        "val",
        "Validation/Experts/EH/1",
        "Experts/heldOut",
        "dw_test",
        "holdout-409/WH",
        "Non_expert/evaluation",
    ],
)
def test_held_back_tiles_are_test_whatever_their_folder_is_called(
    tmp_path: Path, folder: str
) -> None:
    write_tile(tmp_path, "Experts_tiles/EH/1", EXPERT)
    write_tile(tmp_path, "Non_Experts/EH/1", CROWD)
    write_tile(tmp_path, folder, HELD)
    write_tile(tmp_path, "Experts_tiles/EH/1", HELD)  # the same ground by others
    found = list_items(DYNAMICWORLD, tmp_path)
    assert {name: item.split for name, item in found.items()} == {
        f"experts-{EXPERT}": "train",
        f"non_experts-{CROWD}": "train",
        f"test-{HELD}": "test",
        f"experts-{HELD}": "",
    }
    assert list_notes(DYNAMICWORLD, tmp_path) == [
        "2 tiles experts, 1 tiles non_experts, 1 tiles test",
        "1 tiles are held back elsewhere and not trained on",
    ]


def test_tiles_of_which_nothing_says_whether_they_are_held_back_are_bad(tmp_path: Path) -> None:
    write_tile(tmp_path, "Experts/EH/1", EXPERT)
    write_tile(tmp_path, "set_c/EH/1", HELD)
    listing = listing_of(DatasetConf("dynamicworld", str(tmp_path)))
    assert [item.name for item in listing.items] == [f"experts-{EXPERT}"]
    (bad,) = listing.bad
    assert f"set_c/EH/1/{HELD}.tif may be held back: put v1_dw_tile_metadata" in bad.error


def write_sheet(path: Path, sheet: str, *tiles: str) -> None:
    frame = pd.DataFrame({"dw_id": tiles})
    pyogrio.write_dataframe(frame, path, layer=sheet, driver="XLSX")


def test_the_publisher_s_table_says_what_is_held_back(tmp_path: Path) -> None:
    for tile in (EXPERT, CROWD, HELD):
        write_tile(tmp_path, "tiles", tile)
    write_tile(tmp_path, "Experts", "dw_0.5_0.5-20190812")  # not in the table
    table = tmp_path / "v1_dw_tile_metadata_for_public_release.xlsx"
    write_sheet(table, "expert", EXPERT, HELD)
    write_sheet(tmp_path / "more.xlsx", "non_expert", CROWD, HELD)
    found = list_items(DYNAMICWORLD, tmp_path)
    assert {name: item.split for name, item in found.items() if not item.error} == {
        f"experts-{EXPERT}": "train",
        f"non_experts-{CROWD}": "train",
        "test-dw_0.5_0.5-20190812": "test",
    }
    # Experts and others labelled it, and the folder does not say whose labels these are.
    assert found[f"unknown-{HELD}"].error
    table.write_bytes(table.read_bytes()[:500])
    with pytest.raises(InputError, match=r"public_release\.xlsx cannot be read"):
        list_items(DYNAMICWORLD, tmp_path)


def test_the_publisher_s_table_names_the_product_of_a_tile(tmp_path: Path) -> None:
    tile = "dw_15.0040000000_-34.3380000000-20240608"
    write_raster(tmp_path / f"Experts/{tile}.tif", np.ones(SHAPE, np.uint8))
    names = [
        f"S2B_MSIL2A_20240608T{time}_N0510_R121_T33HYE_20240608T103015" for time in ("08", "10")
    ]
    names = [name.replace("T08_", "T081609_").replace("T10_", "T101609_") for name in names]
    for name in names:
        (tmp_path / f"scenes/{name}.SAFE").mkdir(parents=True)
    both = list_items(DYNAMICWORLD, tmp_path, images="scenes")[f"experts-{tile}"]
    assert len(both.files) == 3
    table = tmp_path / "tiles.csv"
    table.write_text(f"dw_id,labeler,S2_PRODUCT_ID\n{tile},Expert,{names[1]}\n")
    one = list_items(DYNAMICWORLD, tmp_path, images="scenes")[f"experts-{tile}"]
    assert one.files[1:] == (f"scenes/{names[1]}.SAFE",)

"""SpaceNet in miniature: every challenge's layout, polygons, lines and series; damaged files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from lulc.config import DatasetConf
from lulc.datasets.listing import list_items as listing_of
from lulc.datasets.readers.spacenet import SPACENET
from lulc.errors import InputError, UsageError
from lulc.tables import arrays
from tests.helpers.synthetic_archives import (
    cut_item,
    list_items,
    list_notes,
    options_of,
    read_item,
)

RNG = np.random.default_rng(0)
DEGREE = 2.7e-6  # of a pixel: about 0.3 m at the equator
WEST, NORTH = -115.2, 36.2
SIDE = 40


def write_image(
    path: Path, count: int, dtype: str = "uint16", crs: str = "EPSG:4326"
) -> np.ndarray:
    """Random bands, the last two rows 0; pixels of DEGREE in EPSG:4326, else of half a metre."""
    bands = RNG.integers(1, 200, (count, SIDE, SIDE)).astype(dtype)
    bands[:, -2:] = 0
    transform = Affine(DEGREE, 0, WEST, 0, -DEGREE, NORTH)
    if crs != "EPSG:4326":
        transform = Affine(0.5, 0, 500_000, 0, -0.5, 5_750_000)
    path.parent.mkdir(parents=True, exist_ok=True)
    shape: dict[str, Any] = {"count": count, "height": SIDE, "width": SIDE, "dtype": dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **shape) as file:
        file.write(bands)
    return bands


def write_shapes(
    path: Path, shapes: list[dict[str, Any]], crs: str | None = "urn:ogc:def:crs:OGC:1.3:CRS84"
) -> None:
    features = [{"type": "Feature", "properties": {}, "geometry": shape} for shape in shapes]
    found: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs:
        found["crs"] = {"type": "name", "properties": {"name": crs}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))


def box(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    """A rectangle of pixels, with heights as some of the published ones have."""
    ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return {
        "type": "Polygon",
        "coordinates": [[[WEST + x * DEGREE, NORTH - y * DEGREE, 0.0] for x, y in ring]],
    }


def mask_of(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = 1
    return mask


LAYOUTS = {
    ("1", "rgb"): (
        "train/3band/3band_AOI_1_RIO_img7.tif",
        3,
        "train/geojson/Geo_AOI_1_RIO_img7.geojson",
    ),
    ("1", "ms"): (
        "train/8band/8band_AOI_1_RIO_img7.tif",
        8,
        "train/geojson/Geo_AOI_1_RIO_img7.geojson",
    ),
    ("2", "rgb"): (
        "train/AOI_2_Vegas/PS-RGB/SN2_buildings_train_AOI_2_Vegas_PS-RGB_img1.tif",
        3,
        "train/AOI_2_Vegas/geojson_buildings/"
        "SN2_buildings_train_AOI_2_Vegas_geojson_buildings_img1.geojson",
    ),
    ("2", "ps-ms"): (
        "AOI_4_Shanghai_Train/MUL-PanSharpen/MUL-PanSharpen_AOI_4_Shanghai_img1.tif",
        8,
        "AOI_4_Shanghai_Train/geojson/buildings/buildings_AOI_4_Shanghai_img1.geojson",
    ),
    ("4", "rgb"): (
        "train/Atlanta_nadir7_catid_1030010003D22F00/Pan-Sharpen/"
        "Pan-Sharpen_Atlanta_nadir7_catid_1030010003D22F00_748451_3743589.tif",
        4,
        "train/geojson/spacenet-buildings/spacenet-buildings_748451_3743589.geojson",
    ),
    ("6", "ps-ms"): (
        "train/AOI_11_Rotterdam/PS-RGBNIR/"
        "SN6_Train_AOI_11_Rotterdam_PS-RGBNIR_20190804111224_20190804111453_tile_8691.tif",
        4,
        "train/AOI_11_Rotterdam/geojson_buildings/"
        "SN6_Train_AOI_11_Rotterdam_Buildings_20190804111224_20190804111453_tile_8691.geojson",
    ),
}


@pytest.mark.parametrize(("challenge", "images"), LAYOUTS)
def test_buildings_of_every_layout(tmp_path: Path, challenge: str, images: str) -> None:
    image, count, label = LAYOUTS[challenge, images]
    bands = write_image(tmp_path / image, count)
    write_shapes(tmp_path / label, [box(3, 5, 10, 9), box(30, 30, 50, 50)])
    given = {"challenge": challenge, "images": images}
    (item,) = list_items(SPACENET, tmp_path, **given).values()
    assert (
        item.files == (image, label)
        and item.split == "train"
        and item.group
        and item.name == Path(image).stem
    )
    example = read_item(SPACENET, tmp_path, item, **given)
    assert np.array_equal(example.pixels, bands[None]) and example.pixels.dtype == np.uint16
    assert example.valid[0, :-2].all() and not example.valid[0, -2:].any()
    assert (
        np.array_equal(example.label, mask_of((3, 5, 10, 9), (30, 30, 40, 40)))
        and example.label.dtype == np.uint8
    )
    assert (
        example.grid
        and example.grid.crs == "EPSG:4326"
        and example.grid.bounds[0] == pytest.approx(WEST)
    )
    found = read_item(SPACENET, tmp_path, item, **given, task="detect").label
    assert (
        np.allclose(found, [[1, 3, 5, 10, 9], [1, 30, 30, 40, 40]], atol=1e-3)
        and found.dtype == np.float32
    )
    known = SPACENET.describe(options_of(SPACENET, **given))
    assert len(known.encoding.bands) == count
    some = read_item(SPACENET, tmp_path, item, ("red",), **given)
    assert np.array_equal(some.pixels[0, 0], bands[known.encoding.bands.index("red")])
    if challenge == "4":
        assert known.encoding.bands[0] == "blue" and example.datetimes == (
            datetime(2009, 12, 22, tzinfo=UTC),
        )


TWINS = {
    "one folder a split": (
        "2",
        "{split}/AOI_2_Vegas/PS-RGB/SN2_buildings_{split}_AOI_2_Vegas_PS-RGB_img1.tif",
        "{split}/AOI_2_Vegas/geojson_buildings/SN2_buildings_{split}_AOI_2_Vegas_img1.geojson",
    ),
    "of the challenge": (
        "2",
        "AOI_2_Vegas_{split}/RGB-PanSharpen/RGB-PanSharpen_AOI_2_Vegas_img1.tif",
        "AOI_2_Vegas_{split}/geojson/buildings/buildings_AOI_2_Vegas_img1.geojson",
    ),
    "views": (
        "4",
        "{split}/Atlanta_nadir7_catid_1/Pan-Sharpen/Pan-Sharpen_Atlanta_nadir7_catid_1_1_2.tif",
        "{split}/geojson/spacenet-buildings/spacenet-buildings_1_2.geojson",
    ),
}


@pytest.mark.parametrize("layout", TWINS)
def test_a_label_goes_to_images_of_its_own_split_alone(tmp_path: Path, layout: str) -> None:
    challenge, image, label = TWINS[layout]
    count = 4 if challenge == "4" else 3
    for split in ("Train", "test_public"):
        write_image(tmp_path / image.format(split=split), count)
    write_shapes(tmp_path / label.format(split="Train"), [box(3, 5, 10, 9)])
    (item,) = list_items(SPACENET, tmp_path, challenge=challenge).values()
    assert item.files == (image.format(split="Train"), label.format(split="Train"))
    assert item.split == "train"
    (note,) = list_notes(SPACENET, tmp_path, challenge=challenge)
    assert note.startswith("1 images are left out whose only label of that name lies in another")
    assert image.format(split="test_public") in note
    # Labelled test images are test, and nothing else.
    write_shapes(tmp_path / label.format(split="test_public"), [box(3, 5, 20, 9)])
    conf = DatasetConf("spacenet", str(tmp_path), {"challenge": challenge})
    listing = listing_of(conf)
    assert {i.split: i.files[1] for i in listing.items} == {
        "train": label.format(split="Train"),
        "test": label.format(split="test_public"),
    }
    assert len({item.name for item in listing.items}) == 2


def test_labels_above_the_folders_of_splits_are_nobody_s(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / f"{split}/PS-RGB/PS-RGB_AOI_2_Vegas_img1.tif", 3)
    write_shapes(tmp_path / "geojson_buildings/buildings_AOI_2_Vegas_img1.geojson", [])
    assert not list_items(SPACENET, tmp_path, challenge="2")
    with pytest.raises(InputError, match="2 images are left out whose only label of that name"):
        listing_of(DatasetConf("spacenet", str(tmp_path), {"challenge": "2"}))


def test_views_of_one_ground_share_label_and_group(tmp_path: Path) -> None:
    for view in ("nadir7_catid_1030010003D22F00", "nadir53_catid_1030010003CD4300"):
        write_image(
            tmp_path
            / f"train/Atlanta_{view}/Pan-Sharpen/Pan-Sharpen_Atlanta_{view}_748451_3743589.tif",
            4,
        )
    write_image(
        tmp_path / f"test/Atlanta_{view}/Pan-Sharpen/Pan-Sharpen_Atlanta_{view}_1_2.tif", 4
    )  # without a label
    write_shapes(
        tmp_path / "train/geojson/spacenet-buildings/spacenet-buildings_748451_3743589.geojson", []
    )
    found = list_items(SPACENET, tmp_path, challenge="4")
    assert len(found) == 2 and {item.group for item in found.values()} == {"748451_3743589"}


def test_radar_with_labels_in_metres(tmp_path: Path) -> None:
    name = "SN6_Train_AOI_11_Rotterdam_{}_20190823065725_20190823065959_tile_7283"
    folder = tmp_path / "train/AOI_11_Rotterdam"
    bands = write_image(
        folder / f"SAR-Intensity/{name.format('SAR-Intensity')}.tif", 4, "float32", "EPSG:32631"
    )
    ring = [
        [500_001, 5_749_999],
        [500_006, 5_749_999],
        [500_006, 5_749_990],
        [500_001, 5_749_990],
        [500_001, 5_749_999],
    ]
    file = folder / f"geojson_buildings/{name.format('Buildings')}.geojson"
    write_shapes(file, [{"type": "Polygon", "coordinates": [ring]}], "urn:ogc:def:crs:EPSG::32631")
    (item,) = list_items(SPACENET, tmp_path, challenge="6", images="sar").values()
    example = read_item(SPACENET, tmp_path, item, ("vv", "hh"), challenge="6", images="sar")
    assert np.array_equal(example.pixels[0], bands[[3, 0]]) and example.pixels.dtype == np.float32
    assert np.array_equal(example.label, mask_of((2, 2, 12, 20)))
    assert example.datetimes == (datetime(2019, 8, 23, 6, 57, 25, tzinfo=UTC),)
    (row,) = cut_item(SPACENET, tmp_path, item, SIDE, challenge="6", images="sar")
    assert np.array_equal(arrays.array_from(row, "label")[:-2], example.label[:-2]) and row[
        "bands"
    ] == ["hh", "hv", "vh", "vv"]


ROADS = {
    "3": (
        "AOI_3_Paris/PS-RGB/SN3_roads_train_AOI_3_Paris_PS-RGB_img5.tif",
        "AOI_3_Paris/geojson_roads/SN3_roads_train_AOI_3_Paris_geojson_roads_img5.geojson",
    ),
    "3 of the challenge": (
        "AOI_3_Paris_Roads_Train/RGB-PanSharpen/RGB-PanSharpen_AOI_3_Paris_img5.tif",
        "AOI_3_Paris_Roads_Train/geojson/spacenetroads/spacenetroads_AOI_3_Paris_img5.geojson",
    ),
    "5": (
        "AOI_7_Moscow/PS-RGB/SN5_roads_train_AOI_7_Moscow_PS-RGB_chip0.tif",
        "AOI_7_Moscow/geojson_roads_speed/"
        "SN5_roads_train_AOI_7_Moscow_geojson_roads_speed_chip0.geojson",
    ),
}


@pytest.mark.parametrize("layout", ROADS)
def test_roads_have_a_width_in_metres(tmp_path: Path, layout: str) -> None:
    image, label = ROADS[layout]
    write_image(tmp_path / image, 3)
    down, across = (
        [[WEST + x * DEGREE, NORTH - y * DEGREE] for x, y in line]
        for line in (((20, 0), (20, 40)), ((0, 20), (40, 20)))
    )
    for line, axis, metres in (
        (down, 1, DEGREE * 111_320 * np.cos(np.radians(NORTH))),
        (across, 0, DEGREE * 110_960),
    ):
        write_shapes(tmp_path / label, [{"type": "LineString", "coordinates": line}], None)
        (item,) = list_items(SPACENET, tmp_path, challenge=layout[0]).values()
        for width in ("", "6"):
            example = read_item(SPACENET, tmp_path, item, challenge=layout[0], road_width=width)
            assert example.label.any(1 - axis).sum() * metres == pytest.approx(
                float(width or 4), abs=2 * metres
            )
            assert example.label.sum(1 - axis).max() == SIDE
    known = SPACENET.describe(options_of(SPACENET, challenge=layout[0]))
    assert [c.name for c in known.legend.classes] == ["no road", "road"] and known.common == {1: 6}


def test_an_empty_file_is_an_image_without_buildings(tmp_path: Path) -> None:
    image, _, label = LAYOUTS["2", "rgb"]
    write_image(tmp_path / image, 3)
    (tmp_path / label).parent.mkdir(parents=True)
    (tmp_path / label).touch()
    (item,) = list_items(SPACENET, tmp_path, challenge="2").values()
    assert not read_item(SPACENET, tmp_path, item, challenge="2").label.any()
    assert read_item(SPACENET, tmp_path, item, challenge="2", task="detect").label.shape == (0, 5)


PLACE = "L15-0331E-1257N_1327_3160_13"


def write_months(
    root: Path, months: dict[str, tuple[list[dict[str, Any]], int]]
) -> dict[str, np.ndarray]:
    """Images of a place with its buildings, each with that many cloudy top rows (alpha 0)."""
    found = {}
    for month, (shapes, cloudy) in months.items():
        name = f"global_monthly_{month}_mosaic_{PLACE}"
        path = root / f"train/{PLACE}/images_masked/{name}.tif"
        write_image(path, 4, "uint8")
        with rasterio.open(path, "r+") as file:
            bands = RNG.integers(1, 255, (4, SIDE, SIDE)).astype(np.uint8)
            bands[3] = 255
            bands[:, :cloudy] = 0
            file.write(bands)
            file.colorinterp = [
                ColorInterp.red,
                ColorInterp.green,
                ColorInterp.blue,
                ColorInterp.alpha,
            ]
        found[month] = bands[:3]
        write_shapes(root / f"train/{PLACE}/labels_match/{name}_Buildings.geojson", shapes)
        write_shapes(root / f"train/{PLACE}/labels/{name}_Buildings.geojson", [box(0, 0, 40, 40)])
        write_shapes(root / f"train/{PLACE}/labels/{name}_UDM.geojson", [])
    return found


def test_buildings_through_time(tmp_path: Path) -> None:
    old, new, gone = (2, 10, 6, 14), (20, 10, 24, 14), (30, 20, 36, 24)
    hidden = (2, 0, 6, 4)  # by cloud in the last month
    images = write_months(
        tmp_path,
        {
            "2018_02": ([box(*old), box(*hidden), box(*new)], 0),
            "2018_01": ([box(*old), box(*hidden), box(*gone)], 0),
            "2018_03": ([box(*old), box(*new)], 5),
        },
    )
    given = {"challenge": "7", "task": "series"}
    (item,) = list_items(SPACENET, tmp_path, **given).values()
    assert item.name == item.group == PLACE and len(item.files) == 6
    example = read_item(SPACENET, tmp_path, item, **given)
    assert np.array_equal(example.pixels, np.stack([images[month] for month in sorted(images)]))
    assert example.datetimes == tuple(datetime(2018, month, 1, tzinfo=UTC) for month in (1, 2, 3))
    assert not example.valid[2, :5].any() and example.valid[:2].all() and example.valid[2, 5:].all()
    assert np.array_equal(
        example.label, mask_of(old, hidden) + 2 * mask_of(new) + 3 * mask_of(gone)
    )
    assert len(SPACENET.describe(options_of(SPACENET, **given)).legend.classes) == 4
    (row,) = cut_item(SPACENET, tmp_path, item, SIDE, **given)
    assert row["class_counts"] == [SIDE**2 - 16 * 3 - 24, 32, 16, 24] and len(row["datetimes"]) == 3
    months = list_items(SPACENET, tmp_path, challenge="7")
    assert len(months) == 3 and {month.group for month in months.values()} == {PLACE}
    first = read_item(
        SPACENET, tmp_path, months[f"global_monthly_2018_01_mosaic_{PLACE}"], challenge="7"
    )
    assert np.array_equal(first.label, mask_of(old, hidden, gone)) and first.datetimes[0].month == 1


def test_what_a_challenge_has_not_is_said() -> None:
    for given, message in (
        ({"challenge": "1", "images": "sar"}, "has no images 'sar'"),
        ({"challenge": "3", "task": "detect"}, "has no task detect"),
        ({"challenge": "2", "task": "series"}, "has no task series"),
        ({"challenge": "5", "road_width": "wide"}, "'wide' must be a number"),
        ({"challenge": "5", "road_width": "-1"}, "'-1' must be a number"),
    ):
        with pytest.raises(UsageError, match=message):
            SPACENET.describe(options_of(SPACENET, **given))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    image, _, label = LAYOUTS["2", "rgb"]
    write_image(tmp_path / image, 3)
    write_shapes(tmp_path / label, [box(1, 1, 5, 5)])
    (item,) = list_items(SPACENET, tmp_path, challenge="2").values()
    assert not list_items(SPACENET, tmp_path, challenge="3")
    text = (tmp_path / label).read_text()
    (tmp_path / label).write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"buildings_img1\.geojson is not GeoJSON"):
        read_item(SPACENET, tmp_path, item, challenge="2")
    (tmp_path / label).unlink()
    with pytest.raises(InputError, match=r"buildings_img1\.geojson is not there"):
        read_item(SPACENET, tmp_path, item, challenge="2")
    write_image(tmp_path / image, 1)
    with pytest.raises(InputError, match=r"PS-RGB_img1\.tif has 1 bands"):
        read_item(SPACENET, tmp_path, item, challenge="2")
    whole = (tmp_path / image).read_bytes()
    (tmp_path / image).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"PS-RGB_img1\.tif"):
        read_item(SPACENET, tmp_path, item, challenge="2")

"""Labels of described images in the forms that tools write: masks, polygons, tables, folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image

from lulc.config import DatasetConf
from lulc.datasets import registry
from lulc.datasets.dataset import Example
from lulc.datasets.listing import Listing, list_items
from lulc.errors import InputError, UsageError
from lulc.samples import from_datasets
from lulc.tables.ledger import read_latest
from tests.helpers.synthetic_archives import write_picture, write_raster
from tests.samples.test_from_datasets import carry_out, make_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SIDE = 16
PICTURE = np.full((3, SIDE, SIDE), 9, np.uint8)
MASKS = {"images": "i_{item}.png", "masks": "m_{item}.png"}
EXPECTED = np.zeros((SIDE, SIDE), np.uint8)
EXPECTED[4:8] = 1
GREEN = np.stack([EXPECTED * 0, EXPECTED * 255, EXPECTED * 0])


def list_images(root: Path, **options: str) -> Listing:
    return list_items(DatasetConf("images", str(root), options))


def read_images(root: Path, **options: str) -> dict[str, Example]:
    conf = DatasetConf("images", str(root), options)
    description = registry.describe_dataset(conf)
    codes = tuple((i, i) for i in description.legend.ids)
    spec = from_datasets.DatasetSpec(
        root, "images", conf, description.encoding, SIDE, 1, description.legend, codes
    )
    items = list_items(conf).items
    return {item.name: from_datasets.read_example(spec, item) for item in items}


def read_mask(root: Path, mask: np.ndarray | Image.Image, classes: str) -> np.ndarray:
    write_picture(root / "i_x.png", PICTURE)
    if isinstance(mask, Image.Image):
        mask.save(root / "m_x.png")
    else:
        write_picture(root / "m_x.png", mask)
    return read_images(root, **MASKS, classes=classes)["i_x"].label


def palette(colours: list[int]) -> Image.Image:
    image = Image.fromarray(EXPECTED, "P")
    image.putpalette(colours)
    return image


def test_masks_in_colours_are_matched_by_colour_or_refused(tmp_path: Path) -> None:
    colours = "background=#000000, building=#00FF00"
    assert np.array_equal(read_mask(tmp_path, GREEN, colours), EXPECTED)
    assert np.array_equal(read_mask(tmp_path, palette([0, 0, 0, 0, 255, 0]), colours), EXPECTED)
    legend = registry.describe_dataset(
        DatasetConf("images", ".", MASKS | {"classes": colours})
    ).legend
    assert legend.colours == {"background": "#000000", "building": "#00ff00"}
    transparent = np.concatenate([GREEN, np.full((1, SIDE, SIDE), 255, np.uint8)])
    transparent[3, 12:] = 0
    label = read_mask(tmp_path, transparent, colours)
    assert np.array_equal(label[:12], EXPECTED[:12])
    assert (label[12:] == 255).all()
    with pytest.raises(InputError, match=r"m_x\.png is in colours \(#000000, #00ff00\)"):
        read_mask(tmp_path, GREEN, "background=0, building=255")
    with pytest.raises(InputError, match=r"colours that no class has \(#00ff00; classes has"):
        read_mask(tmp_path, GREEN, "background=#000000, building=#00ff01")


def test_masks_of_codes_are_read_in_every_form_that_keeps_them(tmp_path: Path) -> None:
    for classes, mask in (
        ("background, building", EXPECTED),
        ("background=0, building=255", EXPECTED * 255),
        ("background=0, building=255", np.stack([EXPECTED * 255] * 3)),
        ("background=0, building=60000", EXPECTED.astype(np.uint16) * 60_000),
        ("background, building", palette([9, 9, 9, 0, 255, 0])),
        ("background, building", Image.fromarray(EXPECTED * 255).convert("1")),
    ):
        assert np.array_equal(read_mask(tmp_path, mask, classes), EXPECTED), classes


def test_masks_whose_codes_are_not_those_of_the_classes_are_refused(tmp_path: Path) -> None:
    for classes, mask, message in (
        ("background, building", EXPECTED * 255, r"codes \[255\], which no class has"),
        ("background=0, building=255", EXPECTED, r"codes \[1\], which no class has"),
        ("background, building", EXPECTED[:8], r"has 8x16 pixels, its image 16x16"),
    ):
        with pytest.raises(InputError, match=message):
            read_mask(tmp_path, mask, classes)
    options = {"images": "i_{item}.png", "masks": "m_{item}.tif", "classes": "no, yes"}
    for values in (EXPECTED, np.where(EXPECTED, np.nan, 0)):
        write_picture(tmp_path / "m_x.tif", values.astype(np.float32))
        label = read_images(tmp_path, **options)["i_x"].label
        assert np.array_equal(label, np.where(np.isnan(values), 255, values))
    write_picture(tmp_path / "m_x.tif", np.float32(0.25) + EXPECTED)
    with pytest.raises(InputError, match=r"m_x\.tif holds 0\.25: codes of classes are whole"):
        read_images(tmp_path, **options)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("water, land, water", "has the name water twice"),
        ("water=1, land=1", "has the code 1 twice"),
        ("water=1, land", "has the code 1 twice"),
        ("1, 2, 3", "reads as an id"),
        ("water=#0000ff, land", "must be names"),
        ("water, ", "must be names"),
    ],
)
def test_names_and_codes_of_classes_are_one_to_one(classes: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        registry.describe_dataset(DatasetConf("images", ".", MASKS | {"classes": classes}))


def test_words_of_tables_are_texts(tmp_path: Path) -> None:
    classes = ["water", "None", "NA", "00-7", ""]
    for name in "abcde":
        write_picture(tmp_path / f"{name}.png", PICTURE)
    rows = {"item": [f"{name}.png" for name in "abcde"], "class": classes}
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    for table in ("t.csv", "t.parquet"):
        options = {
            "task": "multilabel",
            "images": "{item}.png",
            "table": table,
            "classes": "water,None,NA,00-7",
        }
        labels = [example.label.tolist() for example in read_images(tmp_path, **options).values()]
        assert labels == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert list_images(tmp_path, **options).notes == ()
    write_picture(tmp_path / "f.png", PICTURE)
    (note,) = list_images(tmp_path, **options).notes
    assert note == "images: 1 images are not in t.parquet, such as f.png"


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("2,3,1,9", "left must be less than right"),
        ("0.1,0.2,0.8,0.9", "all are within one pixel"),
        ("100,100,120,130", r"none of 1 boxes of a\.png meets its 16x16"),
        ("x,3,5,9", "must hold pixels"),
    ],
)
def test_boxes_that_are_no_pixels_are_refused(tmp_path: Path, box: str, message: str) -> None:
    write_picture(tmp_path / "a.png", PICTURE)
    (tmp_path / "t.csv").write_text(f"item,class,left,top,right,bottom\na.png,None,{box}\n")
    options = {"task": "detect", "images": "{item}.png", "table": "t.csv", "classes": "None"}
    with pytest.raises(InputError, match=message):
        read_images(tmp_path, **options)
    (tmp_path / "t.csv").write_text("item,class,left,top,right,bottom\na.png,None,2,3,5,9\n")
    assert read_images(tmp_path, **options)["a"].label.tolist() == [[0, 2, 3, 5, 9]]


POLYGONS = {"images": "{item}.tif", "polygons": "{item}.geojson", "classes": "no, yes"}


def write_polygons(path: Path, *shapes: shapely.Geometry, crs: str | None = None) -> None:
    content: dict[str, Any] = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
            for shape in shapes
        ],
    }
    if crs:
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(content))


def test_polygons_that_do_not_meet_their_image_are_refused(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", PICTURE)
    inside = shapely.box(500_000, 5_199_920, 500_160, 5_199_960)
    for shape, crs, message in (
        (shapely.box(5, 5, 12, 12), None, r"a\.geojson: none of 1 features meets its image"),
        (shapely.box(100, 200, 120, 220), None, r"names no CRS, so that its coordinates are"),
        (inside, None, r"names no CRS.*\(500160, 5\.19992e\+06\) is none"),
        (inside, "EPSG:4326", r"outside of CRS EPSG:32633|none of 1 features meets"),
        (inside, "EPSG:99999", r"CRS 'EPSG:99999' is not known"),
    ):
        write_polygons(tmp_path / "a.geojson", shape, crs=crs)
        with pytest.raises(InputError, match=message):
            read_images(tmp_path, **POLYGONS)
    write_polygons(tmp_path / "a.geojson", inside, crs="urn:ogc:def:crs:EPSG::32633")
    assert np.array_equal(read_images(tmp_path, **POLYGONS)["a"].label, EXPECTED)
    write_polygons(tmp_path / "a.geojson", shapely.box(0, 4, SIDE, 8))
    in_pixels = read_images(tmp_path, **POLYGONS, units="pixels")["a"].label
    assert np.array_equal(in_pixels, EXPECTED)
    write_polygons(tmp_path / "a.geojson")
    assert not read_images(tmp_path, **POLYGONS)["a"].label.any()


def test_polygons_beside_pictures_are_pixels(tmp_path: Path) -> None:
    options = POLYGONS | {"images": "{item}.png"}
    write_picture(tmp_path / "a.png", PICTURE)
    line = shapely.LineString([(0, 12), (SIDE, 12)])
    mixed = shapely.GeometryCollection(
        [shapely.GeometryCollection([shapely.box(0, 4, SIDE, 8)]), line]
    )
    write_polygons(tmp_path / "a.geojson", mixed)
    assert np.array_equal(read_images(tmp_path, **options)["a"].label, EXPECTED)
    write_polygons(tmp_path / "a.geojson", shapely.box(0, 4, SIDE, 8), crs="EPSG:32633")
    with pytest.raises(InputError, match="names the CRS EPSG:32633, and its image has no georef"):
        read_images(tmp_path, **options)
    write_polygons(tmp_path / "a.geojson", shapely.box(100, 100, 120, 120))
    with pytest.raises(InputError, match="reach over columns 100 to 120 and rows 100 to 120"):
        read_images(tmp_path, **options)


def test_one_file_of_polygons_for_all_images_need_not_meet_each(tmp_path: Path) -> None:
    for number in range(2):
        write_raster(tmp_path / f"{number}.tif", PICTURE, corner=(500_000 + 1000 * number, 5.2e6))
    inside = shapely.box(500_000, 5_199_920, 500_160, 5_199_960)
    write_polygons(tmp_path / "all.geojson", inside, crs="EPSG:32633")
    examples = read_images(tmp_path, **POLYGONS | {"polygons": "all.geojson"})
    assert np.array_equal(examples["0"].label, EXPECTED)
    assert not examples["1"].label.any()


def test_what_does_not_fit_the_patterns_is_counted_and_told(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_picture(tmp_path / f"{name}.png", PICTURE)
    for name in ("a_mask", "d_mask", "e_mask"):
        write_picture(tmp_path / f"{name}.png", EXPECTED)
    write_picture(tmp_path / "deep/x.png", PICTURE)
    options = {"images": "{item}.png", "masks": "{item}_mask.png", "classes": "no, yes"}
    listing = list_images(tmp_path, **options)
    assert [item.name for item in listing.items] == ["a"]
    assert [item.name for item in listing.bad] == ["b", "c", "d_mask", "e_mask"]
    assert listing.bad[0].error.endswith("b.png has no label b_mask.png")
    assert listing.notes[0] == (
        "images: 1 files are left out, as {item}.png does not match them, such as deep/x.png"
    )
    assert listing.notes[1].startswith("images: 4 items cannot be listed, such as ")
    tidy = {"images": "images/{item}.png", "masks": "masks/{item}.png", "classes": "no, yes"}
    write_picture(tmp_path / "images/a.png", PICTURE)
    for name in "ab":
        write_picture(tmp_path / f"masks/{name}.png", EXPECTED)
    first, second = list_images(tmp_path, **tidy).notes
    assert first == "images: 1 labels have no image, such as masks/b.png"
    assert second.startswith("images: 7 files are left out, as images/{item}.png does not match")


def test_image_label_and_split_come_from_one_folder(tmp_path: Path) -> None:
    for split, value in (("training", 0), ("Test", 1)):
        write_picture(tmp_path / split / "images/1.png", PICTURE)
        write_picture(tmp_path / split / "masks/1.png", EXPECTED * value)
    write_picture(tmp_path / "other/images/1.png", PICTURE)
    write_picture(tmp_path / "other/masks/1.png", EXPECTED)
    options = {
        "images": "{split}/images/{item}.png",
        "masks": "{split}/masks/{item}.png",
        "classes": "no, yes",
    }
    listing = list_images(tmp_path, **options)
    assert {item.name: item.split for item in listing.items} == {
        "Test/images/1": "test",
        "training/images/1": "train",
    }
    assert [item.error.endswith("'other' names no split") for item in listing.bad] == [True]
    labels = {name: e.label.max() for name, e in read_images(tmp_path, **options).items()}
    assert labels == {"Test/images/1": 1, "training/images/1": 0}
    with pytest.raises(UsageError, match=r"masks 'masks/\{name\}\.png' has \{name\}"):
        read_images(tmp_path, **options | {"masks": "masks/{name}.png"})


def test_images_with_other_bands_than_named_are_refused(tmp_path: Path) -> None:
    four = np.concatenate([PICTURE, PICTURE[:1]])
    write_raster(tmp_path / "i_x.tif", four.astype(np.uint16))
    write_picture(tmp_path / "m_x.png", EXPECTED)
    options = MASKS | {"images": "i_{item}.tif", "classes": "no, yes"}
    with pytest.raises(InputError, match="has 4 bands, the option bands names red, green, blue"):
        read_images(tmp_path, **options)
    example = read_images(tmp_path, **options, bands="blue, green, red, nir")["i_x"]
    assert example.pixels.shape == (1, 4, SIDE, SIDE)
    four[3, 8:] = 0
    write_raster(tmp_path / "i_x.tif", four)  # its fourth band is alpha
    assert read_images(tmp_path, **options, bands="a, b, c, d")["i_x"].pixels.shape[1] == 4
    assert read_images(tmp_path, **options)["i_x"].pixels.shape == (1, 3, SIDE, SIDE)


def test_masks_of_background_alone_are_told_for_the_whole_set(
    tmp_path: Path, spark: SparkSession
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for number in range(6):
        write_raster(root / f"i_{number}.tif", PICTURE, corner=(500_000 + 1000 * number, 5.2e6))
        write_picture(root / f"m_{number}.png", EXPECTED * 0)
    write_raster(root / "i_7.tif", PICTURE)
    options = {"images": "i_{item}.tif", "masks": "m_{item}.png", "classes": "no, yes"}
    run = make_run(out, {"name": "images", "root": str(root), "options": options})
    result = carry_out(run, out, spark)
    assert (result.inputs, result.bad) == (7, 1)
    assert "WARNING: no sample of images holds yes" in result.note
    assert "1 items cannot be listed, such as images: " in result.note
    error = read_latest(out, "samples")["item:images/i_7"].error
    assert str(error).endswith("i_7.tif has no label m_7.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_that_are_stored_turned_are_refused(tmp_path: Path, orientation: int) -> None:
    picture = Image.fromarray(np.moveaxis(PICTURE, 0, 2))
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "i_x.jpg", exif=exif)
    write_picture(tmp_path / "m_x.png", EXPECTED)
    options = MASKS | {"images": "i_{item}.jpg", "classes": "no, yes"}
    if orientation == 1:
        assert np.array_equal(read_images(tmp_path, **options)["i_x"].label, EXPECTED)
        return
    with pytest.raises(
        InputError, match=rf"i_x\.jpg is stored turned \(EXIF orientation {orientation}\)"
    ):
        read_images(tmp_path, **options)


def test_pictures_of_other_kinds_are_read_as_they_are(tmp_path: Path) -> None:
    write_picture(tmp_path / "m_x.png", EXPECTED)
    options = MASKS | {"images": "i_{item}.jpg", "classes": "no, yes"}
    grey = np.full((SIDE, SIDE, 3), 200, np.uint8)
    Image.fromarray(grey).convert("CMYK").save(tmp_path / "i_x.jpg", quality=100)
    assert np.abs(read_images(tmp_path, **options)["i_x"].pixels - 200.0).max() < 3
    write_picture(tmp_path / "i_x.png", PICTURE.astype(np.uint16) * 1000)
    deep = MASKS | {"classes": "no, yes"}
    with pytest.raises(InputError, match=r"i_x\.png holds uint16 from 9000 to 9000 where images"):
        read_images(tmp_path, **deep)
    pixels = read_images(tmp_path, **deep, dtype="uint16")["i_x"].pixels
    assert pixels.dtype == np.uint16
    assert pixels.max() == 9000

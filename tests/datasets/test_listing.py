"""Listings of every dataset: packed archives, names that repeat, bad items, links, odd folders."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lulc.config import DatasetConf
from lulc.datasets import registry
from lulc.datasets.dataset import ExampleItem
from lulc.datasets.listing import Listing, list_items
from lulc.datasets.registry import DATASETS
from lulc.errors import InputError, LulcError, UsageError
from lulc.samples import from_datasets
from tests.helpers.synthetic_archives import write_picture, write_raster

PICTURE = np.full((3, 8, 8), 9, np.uint8)
NEEDED = {"images": {"images": "{item}.png", "masks": "{item}_mask.png", "classes": "no, yes"}}


def list_levircd(root: Path) -> Listing:
    return list_items(DatasetConf("levircd", str(root)))


def write_pair(folder: Path, name: str) -> None:
    for kind in ("A", "B", "label"):
        write_picture(folder / kind / f"{name}.png", PICTURE if kind != "label" else PICTURE[0] * 0)


def read_first(conf: DatasetConf) -> np.ndarray:
    description = registry.describe_dataset(conf)
    codes = tuple((i, i) for i in description.legend.ids)
    spec = from_datasets.DatasetSpec(
        Path(conf.root), conf.name, conf, description.encoding, 8, 1, description.legend, codes
    )
    return from_datasets.read_example(spec, list_items(conf).items[0]).pixels


def pack(form: str, folder: Path, root: Path) -> None:
    """Pack all that is in a folder, in a form that publishers use."""
    if form == "zip":
        with zipfile.ZipFile(root / "data-1.zip", "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
    elif form == "split zip":
        command = ["zip", "-q", "-0", "-r", "-s", "64k", str(root / "data.zip"), "."]
        subprocess.run(command, cwd=folder, check=True)
    else:
        with tarfile.open(root / "data.tar.gz", "w:gz") as archive:
            archive.add(folder, "data")
        if form == "tar in parts":
            whole = (root / "data.tar.gz").read_bytes()
            (root / "data.tar.gz").unlink()
            for number, start in enumerate((0, 300)):
                part = whole[start : start + 300 if not start else None]
                (root / f"data.tar.gz.part-a{'ab'[number]}").write_bytes(part)


@pytest.mark.parametrize("form", ["zip", "tar.gz", "split zip", "tar in parts"])
def test_packed_archives_are_unpacked_by_the_one_command_that_is_told(
    tmp_path: Path, form: str
) -> None:
    source, root = tmp_path / "source", tmp_path / "it's [a] #root"
    root.mkdir()
    for split in ("train", "test"):
        write_pair(source / split, f"{split}_1")
    (source / "noise.bin").write_bytes(np.random.default_rng(0).bytes(100_000))
    pack(form, source, root)
    with pytest.raises(InputError, match="holds archives as downloaded, unpack them: cd ") as error:
        list_levircd(root)
    command = str(error.value).partition("unpack them: ")[2].partition("\n")[0]
    subprocess.run(["sh", "-c", command], check=True)
    assert {item.name: item.split for item in list_levircd(root).items} == {
        "train_1": "train",
        "test_1": "test",
    }


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_says_how_its_packed_archives_are_unpacked(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("inner/readme.txt", "nothing")
    with pytest.raises(InputError, match=r"unzip -q -n all\.zip -d \."):
        list_items(DatasetConf(name, str(tmp_path), NEEDED.get(name, {})))


def test_archives_of_the_same_inner_folder_get_a_folder_each(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("train/1.png", "")
    with pytest.raises(InputError, match=r"unzip -q -n images\.zip -d images && .* -d masks"):
        list_levircd(tmp_path)
    with pytest.raises(InputError, match=r"is not a folder.*unzip -q -n images\.zip"):
        list_levircd(tmp_path / "images.zip")


def test_names_that_repeat_between_splits_carry_the_split(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_pair(tmp_path / split, "1")
    write_pair(tmp_path / "test", "2")
    listing = list_levircd(tmp_path)
    assert {item.name: item.split for item in listing.items} == {
        "train/1": "train",
        "validation/1": "validation",
        "test/1": "test",
        "2": "test",
    }
    (note,) = listing.notes
    assert note.startswith("levircd: 1 names are in several splits and carry theirs, such as")
    write_pair(tmp_path / "copy/train", "1")
    with pytest.raises(InputError, match=r"two items are named 1 .*remove one"):
        list_levircd(tmp_path)


def test_a_split_of_training_items_alone_is_none(tmp_path: Path) -> None:
    for number in range(3):
        write_pair(tmp_path / "train", f"train_{number}")
    assert {item.split for item in list_levircd(tmp_path).items} == {""}


def test_links_to_folders_are_followed_but_never_round(tmp_path: Path) -> None:
    write_pair(tmp_path / "elsewhere/train", "train_1")
    root = tmp_path / "ro[o]t #1 50%"
    root.mkdir()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/train/up").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/train/to-root").symlink_to(root)
    listing = list_levircd(root)
    assert [item.files[0] for item in listing.items] == ["linked/train/A/train_1.png"]


def test_whole_numbers_of_another_type_are_read_where_none_is_lost(tmp_path: Path) -> None:
    options = {"images": "{item}.tif", "masks": "{item}_mask.tif", "classes": "no, yes"}
    conf = DatasetConf("images", str(tmp_path), options | {"dtype": "uint16"})
    write_raster(tmp_path / "a_mask.tif", np.zeros((8, 8), np.uint8))
    for values in (PICTURE.astype(np.int16) * 300, PICTURE.astype(np.float32)):
        write_raster(tmp_path / "a.tif", values)
        pixels = read_first(conf)
        assert pixels.dtype == np.uint16
        assert np.array_equal(pixels[0], values)
    for values in (PICTURE.astype(np.int16) * -1, PICTURE + np.float32(0.5)):
        write_raster(tmp_path / "a.tif", values)
        with pytest.raises(InputError, match="has uint16, which cannot hold them"):
            read_first(conf)


def test_every_legend_is_one_to_one() -> None:
    for name, dataset in DATASETS.items():
        forms = [dict(NEEDED.get(name, {}))]
        for option, values in dataset.options.items():
            forms += [NEEDED.get(name, {}) | {option: value} for value in values]
        for options in forms:
            try:
                legend = registry.describe_dataset(DatasetConf(name, ".", options)).legend
            except LulcError:
                continue
            names = [c.name.lower() for c in legend.classes]
            assert len(set(names)) == len(names), (name, options)
            assert len({c.colour for c in legend.classes}) == len(names), (name, options)


def test_an_archive_that_is_packed_still_is_told(tmp_path: Path) -> None:
    write_pair(tmp_path / "train", "train_1")
    for name in ("train", "test"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("A/1.png", "")
    assert list_levircd(tmp_path).notes == ("levircd: test.zip may be packed still",)


ODD_NAMES = ["[ab]", "a#b", "50% of it?", "{item}", "!x", "*", "-v", "blank and ü", "a'b", "x,y=z;"]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_folders_and_files_of_any_name_are_read(tmp_path: Path, name: str, suffix: str) -> None:
    root = tmp_path / name
    mask = np.eye(8, dtype=np.uint8)
    write = write_raster if suffix == "tif" else write_picture
    write(root / name / f"i_{name}.{suffix}", PICTURE)
    write_picture(root / name / f"m_{name}.png", mask)
    options = {
        "images": f"{{split}}/i_{{item}}.{suffix}",
        "masks": "{split}/m_{item}.png",
        "classes": "no, yes",
    }
    conf = DatasetConf("images", str(root), options)
    (item,) = registry.find_dataset("images").items(root, registry.options_of(conf))
    assert isinstance(item, ExampleItem)
    example = registry.find_dataset("images").read(
        root, item, registry.options_of(conf), ("red", "green", "blue")
    )
    assert np.array_equal(example.pixels[0], PICTURE)
    assert np.array_equal(example.label, mask)
    table = root / f"{name}.csv"
    table.write_text(f'item,class\n"{name}/i_{name}.{suffix}",yes\n')
    listed = {"task": "classify", "images": "{item}.png", "table": table.name, "classes": "yes"}
    assert read_first(DatasetConf("images", str(root), listed)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("name", ["eurosat", "ucmerced"])
def test_folders_of_splits_are_heeded(tmp_path: Path, name: str) -> None:
    land_class, suffix = {"eurosat": ("Forest", "png"), "ucmerced": ("forest", "tif")}[name]
    for split in ("train", "val", "test"):
        image = tmp_path / split / land_class / f"{land_class}_1.{suffix}"
        write_picture(image, PICTURE)
        if suffix == "png":
            image.rename(image.with_suffix(".jpg"))
    listing = list_items(DatasetConf(name, str(tmp_path)))
    assert {item.name: item.split for item in listing.items} == {
        f"{split}/{land_class}_1": split for split in ("train", "validation", "test")
    }


@pytest.mark.parametrize("name", ["eurosat", "ucmerced"])
def test_images_in_folders_of_no_class_are_told(tmp_path: Path, name: str) -> None:
    known, other = {"eurosat": ("SeaLake", "Sea Lake"), "ucmerced": ("river", "River")}[name]
    for folder in (known, other):
        write_raster(tmp_path / folder / "a_1.tif", np.ones((13, 8, 8), np.uint16))
    options = {"bands": "ms"} if name == "eurosat" else {}
    listing = list_items(DatasetConf(name, str(tmp_path), options))
    assert [item.files for item in listing.items] == [(f"{known}/a_1.tif",)]
    (note,) = listing.notes
    assert note.startswith(f"{name}: 1 images are left out")
    assert note.endswith(f"such as {other}/a_1.tif")


def test_items_of_no_split_are_told_beside_those_of_one(tmp_path: Path) -> None:
    for folder in ("train", "test", "more"):
        write_raster(tmp_path / folder / f"river/{folder}_1.tif", np.ones((3, 8, 8), np.uint8))
    conf = DatasetConf("ucmerced", str(tmp_path))
    (note,) = list_items(conf).notes
    assert note.startswith("ucmerced: 1 items are in no split as published and are left out, such")
    assert "more/river/more_1.tif" in note
    assert list_items(replace(conf, splits="blocks")).notes == ()


def test_labels_that_are_said_twice_are_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", PICTURE)
    for more in ({"polygons": "{item}.geojson"}, {"table": "t.csv"}):
        with pytest.raises(UsageError, match=f"masks and {next(iter(more))} say labels"):
            registry.describe_dataset(DatasetConf("images", str(tmp_path), NEEDED["images"] | more))


def test_a_table_whose_split_is_none_is_named(tmp_path: Path) -> None:
    for name in "abc":
        write_picture(tmp_path / f"{name}.png", PICTURE)
    lines = ("a.png,x,Train", "b.png,x,dev", "c.png,x,valid", ",x,train", "./,x,train")
    (tmp_path / "t.csv").write_text("\n".join(["item,class,split", *lines]))
    options = {"task": "classify", "images": "{item}.png", "table": "t.csv", "classes": "x"}
    listing = list_items(DatasetConf("images", str(tmp_path), options))
    assert {i.name: i.split for i in listing.items} == {"a": "train", "c": "validation"}
    errors = " ".join(item.error for item in listing.bad)
    assert "t.csv: 'dev' of b.png names no split" in errors
    assert "t.csv has 1 rows whose item is no file: ''" in errors


def test_lists_that_are_not_read_are_told(tmp_path: Path) -> None:
    write_raster(tmp_path / "Forest/Forest_1.tif", np.ones((13, 8, 8), np.uint16))
    conf = DatasetConf("eurosat", str(tmp_path), {"bands": "ms"})
    assert list_items(conf).notes == ()
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("Filename\nForest_1.tif\n")
    (note,) = list_items(conf).notes
    assert note.startswith("eurosat: test.csv, train.csv look like lists of a split")


def test_labels_of_one_split_stay_in_it(tmp_path: Path) -> None:
    line = "1 1 5 1 5 5 1 5 plane 0\n"
    for split in ("train", "val", "test"):
        write_picture(tmp_path / split / "images/P0000.png", PICTURE)
    (tmp_path / "train/labelTxt").mkdir()
    (tmp_path / "train/labelTxt/P0000.txt").write_text(line)
    listing = list_items(DatasetConf("dota", str(tmp_path)))
    assert [item.files for item in listing.items] == [
        ("train/images/P0000.png", "train/labelTxt/P0000.txt")
    ]
    assert listing.notes == (
        "dota: 2 images have no labels and are left out, such as test/images/P0000.png",
    )


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    name = "ROIs1158_spring_{kind}_1_p30.tif"
    for kind in ("s2", "lc"):
        write_raster(
            tmp_path / f"a/{kind}_1" / name.format(kind=kind), np.ones((13, 8, 8), np.uint16)
        )
    conf = DatasetConf("sen12ms", str(tmp_path))
    assert len(list_items(conf).items) == 1
    copy = tmp_path / "b/lc_1" / name.format(kind="lc")
    write_raster(copy, np.ones((4, 8, 8), np.uint8))
    with pytest.raises(InputError, match=r"is there twice, also as .*: remove one"):
        list_items(conf)

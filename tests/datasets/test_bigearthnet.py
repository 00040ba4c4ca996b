"""BigEarthNet in miniature: both versions, their lists, labels and reference maps; bad patches."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lulc.config import DatasetConf
from lulc.datasets.listing import list_items as listing_of
from lulc.datasets.readers.bigearthnet import BIGEARTHNET
from lulc.errors import InputError
from lulc.legend import COMMON
from lulc.tables import arrays
from tests.helpers.synthetic_archives import cut_item, list_items, read_item, write_raster

SIDES = {
    "B01": 20,
    "B02": 120,
    "B03": 120,
    "B04": 120,
    "B05": 60,
    "B06": 60,
    "B07": 60,
    "B08": 120,
    "B8A": 60,
    "B09": 20,
    "B11": 60,
    "B12": 60,
}
FIRST = "S2A_MSIL2A_20170613T101031"
SECOND = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
RADAR = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP"
RNG = np.random.default_rng(0)


def write_s2(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for band, side in SIDES.items():
        found[band] = RNG.integers(0, 12_000, (side, side)).astype(np.uint16)
        write_raster(folder / f"{folder.name}_{band}.tif", found[band], 1200 / side)
    return found


def write_s1(folder: Path) -> dict[str, np.ndarray]:
    found = {band: RNG.normal(-15, 4, (120, 120)).astype(np.float32) for band in ("VV", "VH")}
    for band, values in found.items():
        write_raster(folder / f"{folder.name}_{band}.tif", values)
    return found


def as_json(folder: Path, labels: list[str], **more: str) -> None:
    (folder / f"{folder.name}_labels_metadata.json").write_text(
        json.dumps({"labels": labels, "projection": "", **more})
    )


@pytest.fixture(scope="module")
def first(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Version 1: patches 0_1 to 0_4, the last snowy; 0_3 has no class of the 19; pixels in 0_1."""
    root = tmp_path_factory.mktemp("first")
    labels = [
        ["Peatbogs", "Natural grassland", "Bare rock"],
        ["Transitional woodland/shrub"],
        ["Airports"],
        ["Sea and ocean"],
    ]
    for i, names in enumerate(labels, 1):
        s2, s1 = (
            root / f"BigEarthNet-v1.0/{FIRST}_0_{i}",
            root / f"BigEarthNet-S1-v1.0/{RADAR}_0_{i}",
        )
        if i == 1:
            optical, radar = write_s2(s2), write_s1(s1)
        s2.mkdir(parents=True, exist_ok=True)
        s1.mkdir(parents=True, exist_ok=True)
        as_json(s2, names, acquisition_date="2017-06-13 10:10:31")
        as_json(s1, names, acquisition_time="2017-06-13T16:50:43", corresponding_s2_patch=s2.name)
    for i, name in enumerate(("train", "val", "test"), 1):
        (root / f"{name}.csv").write_text(f"{FIRST}_0_{i},{RADAR}_0_{i}\n")
    (root / "patches_with_seasonal_snow.csv").write_text(f"{FIRST}_0_4\n")
    (root / "patches_with_cloud_and_shadow.csv.gz").write_bytes(
        gzip.compress(b"S2A_MSIL2A_20170613T101031_9_9\n")
    )
    return root, optical, radar


def write_metadata(file: Path, rows: list[tuple[str, str, list[str], bool]]) -> None:
    table = {
        "patch_id": [f"{SECOND}_{place}" for place, *_ in rows],
        "labels": [labels for *_, labels, _ in rows],
        "split": [split for _, split, *_ in rows],
        "country": ["Austria"] * len(rows),
        "s1_name": [f"{RADAR}_{place}" for place, *_ in rows],
        "s2v1_name": [f"{FIRST}_{place}" for place, *_ in rows],
        "contains_seasonal_snow": [snow for *_, snow in rows],
        "contains_cloud_or_shadow": [False] * len(rows),
    }
    pq.write_table(pa.table(table), file)


@pytest.fixture(scope="module")
def second(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, np.ndarray], np.ndarray]:
    """Version 2: patch 26_57 with pixels, 26_58 and 26_59 without.

    The other table has a snowy patch.
    """
    root = tmp_path_factory.mktemp("second")
    optical = write_s2(root / f"BigEarthNet-S2/{SECOND}/{SECOND}_26_57")
    write_s1(root / f"BigEarthNet-S1/{RADAR[:32]}/{RADAR}_26_57")
    codes = RNG.choice([0, 111, 112, 212, 324, 332, 335, 999], (120, 120)).astype(np.uint16)
    write_raster(
        root / f"Reference_Maps/{SECOND}/{SECOND}_26_57/{SECOND}_26_57_reference_map.tif", codes
    )
    labels = ["Arable land", "Transitional woodland, shrub", "Urban fabric"]
    rows = [
        ("26_57", "train", labels, False),
        ("26_58", "validation", ["Inland waters"], False),
        ("26_59", "test", labels, False),
    ]
    write_metadata(root / "metadata.parquet", rows)
    snowy = root / "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
    write_metadata(snowy, [("26_60", "train", labels, True)])
    return root, optical, codes


def same(found: np.ndarray, written: np.ndarray) -> bool:
    return bool(
        np.array_equal(found, np.kron(written, np.ones((120 // len(written),) * 2, written.dtype)))
    )


def test_version_1_lists_its_patches_with_their_splits(first: tuple[Path, object, object]) -> None:
    found = list_items(BIGEARTHNET, first[0])
    assert {name: item.split for name, item in found.items()} == {
        f"{FIRST}_0_1": "train", f"{FIRST}_0_2": "validation", f"{FIRST}_0_3": "test"
    }  # fmt: skip
    assert {item.group for item in found.values()} == {"T33UUP"}
    kept = list_items(BIGEARTHNET, first[0], patches="all")
    assert kept[f"{FIRST}_0_4"].split == "" and len(kept) == 4


def test_version_1_pixels_labels_and_grid(
    first: tuple[Path, dict[str, np.ndarray], dict[str, np.ndarray]],
) -> None:
    root, optical, radar = first
    item = list_items(BIGEARTHNET, root, sensors="both")[f"{FIRST}_0_1"]
    example = read_item(BIGEARTHNET, root, item, sensors="both")
    assert example.pixels.shape == (1, 14, 120, 120) and example.pixels.dtype == np.float32
    assert all(same(example.pixels[0, i], optical[band]) for i, band in enumerate(optical))
    assert np.array_equal(example.pixels[0, 12:], np.stack([radar["VV"], radar["VH"]]))
    assert example.valid.all() and example.grid and example.grid.resolution == (10, 10)
    assert example.datetimes == (datetime(2017, 6, 13, 10, 10, 31, tzinfo=UTC),)
    assert example.label.tolist() == [
        int(i in (11, 15)) for i in range(19)
    ]  # bare rock is in none of the 19
    some = read_item(BIGEARTHNET, root, item, ("vh", "coastal", "red"), sensors="both")
    assert (
        np.array_equal(some.pixels[0], example.pixels[0, [13, 0, 3]]) and some.grid == example.grid
    )
    assert (
        read_item(BIGEARTHNET, root, list_items(BIGEARTHNET, root)[item.name], ("nir09",)).grid
        == example.grid
    )
    alone = list_items(BIGEARTHNET, root, sensors="s1")[item.name]
    assert read_item(BIGEARTHNET, root, alone, sensors="s1").datetimes[0].hour == 16
    names = BIGEARTHNET.describe(
        {"task": "multilabel", "sensors": "s1", "classes": "43", "patches": "all"}
    ).legend.classes
    there = read_item(BIGEARTHNET, root, alone, sensors="s1", classes="43").label
    assert [c.name for c, one in zip(names, there, strict=True) if one] == [
        "Natural grassland",
        "Bare rock",
        "Peatbogs",
    ]


def test_radar_patches_find_their_partners_without_lists(
    first: tuple[Path, object, object], tmp_path: Path
) -> None:
    for folder in ("BigEarthNet-v1.0", "BigEarthNet-S1-v1.0"):
        (tmp_path / folder).symlink_to(first[0] / folder)
    found = list_items(BIGEARTHNET, tmp_path, sensors="both")
    assert found[f"{FIRST}_0_2"].files == (
        f"BigEarthNet-v1.0/{FIRST}_0_2",
        f"BigEarthNet-S1-v1.0/{RADAR}_0_2",
    )
    assert {item.split for item in found.values()} == {""} and len(found) == 4
    assert {item.group for item in list_items(BIGEARTHNET, tmp_path).values()} == {FIRST}
    (tmp_path / "s1s2_mapping.csv").write_text(f"{FIRST}_0_2,{RADAR}_0_2\n")
    assert list_items(BIGEARTHNET, tmp_path, sensors="both") == found
    (tmp_path / "train.csv").write_text(f"{FIRST}_7_7\n")
    with pytest.raises(InputError, match=r"lacks val.csv, test.csv"):
        list_items(BIGEARTHNET, tmp_path)
    (tmp_path / "val.csv").write_text(f"{FIRST}_0_1\n")
    (tmp_path / "test.csv").write_text(f"{FIRST}_0_2\n")
    lost = list_items(BIGEARTHNET, tmp_path)[f"{FIRST}_7_7"]
    with pytest.raises(InputError, match=r"_7_7_B01.tif"):
        read_item(BIGEARTHNET, tmp_path, lost)
    with pytest.raises(InputError, match=r"no Sentinel-1 patch of .*_7_7"):
        read_item(
            BIGEARTHNET,
            tmp_path,
            list_items(BIGEARTHNET, tmp_path, sensors="s1")[lost.name],
            sensors="s1",
        )


def test_version_2_lists_and_labels(second: tuple[Path, dict[str, np.ndarray], np.ndarray]) -> None:
    root, optical, _ = second
    found = list_items(BIGEARTHNET, root, sensors="both")
    assert [item.split for item in found.values()] == ["train", "validation", "test"]
    item = found[f"{SECOND}_26_57"]
    assert (
        item.group == "T33UUP"
        and item.classes == (0, 2, 13)
        and found[f"{SECOND}_26_58"].classes == (17,)
    )
    example = read_item(BIGEARTHNET, root, item, sensors="both")
    assert same(example.pixels[0, 4], optical["B05"]) and np.flatnonzero(
        example.label
    ).tolist() == [0, 2, 13]
    assert set(list_items(BIGEARTHNET, root, patches="all")) - set(found) == {f"{SECOND}_26_60"}


@pytest.mark.parametrize(
    ("classes", "becomes"),
    [("19", {0: 255, 111: 0, 112: 0, 212: 2, 324: 13, 332: 255, 335: 255, 999: 255}),
     ("43", {0: 255, 111: 0, 112: 1, 212: 12, 324: 28, 332: 30, 335: 255, 999: 255})],
)  # fmt: skip
def test_reference_maps(
    second: tuple[Path, object, np.ndarray], classes: str, becomes: dict[int, int]
) -> None:
    root, _, codes = second
    item = list_items(BIGEARTHNET, root, task="segment", classes=classes)[f"{SECOND}_26_57"]
    example = read_item(BIGEARTHNET, root, item, ("red",), task="segment", classes=classes)
    assert (
        np.array_equal(example.label, np.vectorize(becomes.get)(codes))
        and example.label.dtype == np.uint8
    )
    (row,) = cut_item(BIGEARTHNET, root, item, 120, task="segment", classes=classes)
    assert (
        np.array_equal(arrays.array_from(row, "label"), example.label)
        and row["bands"][0] == "coastal"
    )


def test_legends_follow_the_publisher() -> None:
    known = BIGEARTHNET.describe(
        {"task": "segment", "sensors": "s2", "classes": "43", "patches": "all"}
    )
    assert known.legend.ids == tuple(range(43)) and known.legend.classes[42].name == "Sea and ocean"
    assert set(known.legend.ids) - set(known.common) == {32}  # burnt areas
    assert set(known.common.values()) <= set(COMMON.ids) and known.encoding.dtype == "uint16"
    first = BIGEARTHNET.describe(
        {"task": "multilabel", "sensors": "both", "classes": "19", "patches": "all"}
    )
    assert first.encoding.scales == (1e-4,) * 12 + (1.0, 1.0) and len(first.common) == 19


@pytest.mark.parametrize(
    "names",
    [
        ("bigearthnet-train.csv", "bigearthnet-val.csv", "bigearthnet-test.csv"),
        ("train.csv.gz", "validation.csv.gz", "test.csv.gz"),
        ("splits/train.txt", "splits/val.txt", "splits/test.txt"),
    ],
)
def test_lists_under_their_other_usual_names_are_read(
    tmp_path: Path, names: tuple[str, str, str]
) -> None:
    (tmp_path / "splits").mkdir()
    for number, name in enumerate(names):
        patch = f"{FIRST}_{number}_1"
        (tmp_path / "BigEarthNet-v1.0" / patch).mkdir(parents=True)
        text = f"name\n{patch}\n".encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    found = list_items(BIGEARTHNET, tmp_path)
    assert {name: item.split for name, item in found.items()} == {
        f"{FIRST}_0_1": "train",
        f"{FIRST}_1_1": "validation",
        f"{FIRST}_2_1": "test",
    }
    text = f"name\n{FIRST}_0_1\nfield_7\n".encode()
    (tmp_path / names[0]).write_bytes(gzip.compress(text) if names[0].endswith("gz") else text)
    with pytest.raises(InputError, match=r"line 3 names 'field_7': patches such as"):
        list_items(BIGEARTHNET, tmp_path)


def test_lists_under_names_that_are_not_known_are_told(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        patch = f"{FIRST}_{number}_1"
        (tmp_path / "BigEarthNet-v1.0" / patch).mkdir(parents=True)
        (tmp_path / f"my_{split}_patches.csv").write_text(f"{patch}\n")
    (note,) = listing_of(DatasetConf("bigearthnet", str(tmp_path))).notes
    assert note.startswith(
        "bigearthnet: my_test_patches.csv, my_train_patches.csv, my_val_patches.csv look like"
    )


def test_one_broken_side_file_is_one_bad_patch(
    first: tuple[Path, object, object], tmp_path: Path
) -> None:
    shutil.copytree(first[0] / "BigEarthNet-S1-v1.0", tmp_path / "BigEarthNet-S1-v1.0")
    name = f"{RADAR}_0_2"
    side_file = tmp_path / f"BigEarthNet-S1-v1.0/{name}/{name}_labels_metadata.json"
    for text in ("{", '{"labels": []}', "[]", '{"corresponding_s2_patch": [1]}'):
        side_file.write_text(text)
        found = list_items(BIGEARTHNET, tmp_path, sensors="s1")
        assert {n for n, item in found.items() if item.error} == {name}
        assert f"{name}_labels_metadata.json cannot be read" in found[name].error
        assert len(found) == 4


def test_one_broken_row_of_metadata_is_one_bad_patch(tmp_path: Path) -> None:
    rows = [("26_57", "train", ["Arable land"], False), ("26_58", "test", ["Moon"], False)]
    rows.append(("26_59", "dev", ["Arable land"], False))
    write_metadata(tmp_path / "metadata.parquet", rows)
    found = list_items(BIGEARTHNET, tmp_path)
    assert not found[f"{SECOND}_26_57"].error
    assert "['Moon'], which are not of the 19 classes" in found[f"{SECOND}_26_58"].error
    assert "its split is none of train, val, validation, test: 'dev'" in (
        found[f"{SECOND}_26_59"].error
    )


def test_what_a_version_lacks_is_said(
    first: tuple[Path, object, object], second: tuple[Path, object, object]
) -> None:
    with pytest.raises(InputError, match="version 1, which has no reference maps"):
        list_items(BIGEARTHNET, first[0], task="segment")
    with pytest.raises(InputError, match="choose classes 19"):
        list_items(BIGEARTHNET, second[0], classes="43")


def test_damaged_patches_are_named(tmp_path: Path) -> None:
    patch = tmp_path / f"BigEarthNet-v1.0/{FIRST}_1_1"
    write_s2(patch)
    as_json(patch, ["Continuous urban fabrik"])
    item = list_items(BIGEARTHNET, tmp_path)[patch.name]
    with pytest.raises(InputError, match="fabrik"):
        read_item(BIGEARTHNET, tmp_path, item)
    (patch / f"{patch.name}_labels_metadata.json").unlink()
    with pytest.raises(InputError, match=r"1_1_labels_metadata\.json"):
        read_item(BIGEARTHNET, tmp_path, item)
    file = patch / f"{patch.name}_B03.tif"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"B03\.tif"):
        read_item(BIGEARTHNET, tmp_path, item)
    write_raster(file, np.zeros((50, 50), np.uint16))
    with pytest.raises(InputError, match=r"B03.tif has 50x50 pixels"):
        read_item(BIGEARTHNET, tmp_path, item)
    file.unlink()
    with pytest.raises(InputError, match=r"B03\.tif"):
        read_item(BIGEARTHNET, tmp_path, item)


def test_damaged_reference_map_and_metadata(
    second: tuple[Path, object, np.ndarray], tmp_path: Path
) -> None:
    root, _, _ = second
    for folder in ("BigEarthNet-S2", "metadata.parquet"):
        (tmp_path / folder).symlink_to(root / folder)
    item = list_items(BIGEARTHNET, tmp_path, task="segment")[f"{SECOND}_26_57"]
    with pytest.raises(InputError, match=r"reference_map\.tif"):
        read_item(BIGEARTHNET, tmp_path, item, ("red",), task="segment")
    write_raster(tmp_path / item.files[-1], np.full((120, 120), 777, np.uint16))
    with pytest.raises(InputError, match=r"reference_map.tif holds codes \[777\]"):
        read_item(BIGEARTHNET, tmp_path, item, ("red",), task="segment")
    (tmp_path / "metadata.parquet").unlink()
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(InputError, match=r"metadata\.parquet cannot be read"):
        list_items(BIGEARTHNET, tmp_path)

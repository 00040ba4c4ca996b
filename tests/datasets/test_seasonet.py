"""SeasoNet in miniature: meta.csv, seasons, grids, three class levels, splits; damaged patches."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from lulc.datasets import corine
from lulc.datasets.readers.seasonet import SEASONET
from lulc.errors import InputError, UsageError
from lulc.legend import COMMON
from lulc.tables import arrays
from tests.helpers.synthetic_archives import (
    cut_item,
    list_items,
    list_notes,
    read_item,
    write_raster,
)

RNG = np.random.default_rng(0)
FILES = {"10m_RGB": (3, 120), "10m_IR": (1, 120), "20m": (6, 60), "60m": (2, 20)}
HEAD = (
    "Index,Season,Grid,Latitude,Longitude,Satellite,Year,Month,Day,Hour,Minute,Second,"
    "Clouds,Snow,Classes,SLRAUM,RTYP3,KTYP4,Path"
)
PLACES = {1: ("32UME_20180418T104021_53_928425_7_503876", 53.928425, 7.503876),
          2: ("32TMT_20190214T103129_47_793488_7_808487", 47.793488, 7.808487)}  # fmt: skip
SEASONS = ("Spring", "Summer", "Fall", "Winter", "Snow")


def write_patch(folder: Path) -> dict[str, np.ndarray]:
    found = {
        name: RNG.integers(0, 12_000, (count, side, side)).astype(np.uint16)
        for name, (count, side) in FILES.items()
    }
    for name, bands in found.items():
        write_raster(folder / f"{folder.name}_{name}.tif", bands, 1200 / bands.shape[1])
    found["labels"] = RNG.integers(0, 34, (120, 120)).astype(np.uint8)
    write_raster(folder / f"{folder.name}_labels.tif", found["labels"])
    return found


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A place of each grid in five seasons; the first of spring with pixels."""
    root = tmp_path_factory.mktemp("seasonet")
    lines = [HEAD]
    for season in SEASONS:
        for grid, (name, lat, lon) in PLACES.items():
            middle = (
                'A,2018,4,18,10,40,21,0.0,0.0,"2,3,12,15,28",1,1,1,'
                f"{season.lower()}/grid{grid}/{name}"
            )
            lines.append(f"{len(lines) - 1},{season},{grid},{lat},{lon},{middle}")
    (root / "meta.csv").write_text("\n".join(lines) + "\n")
    (root / "splits").mkdir()
    for name, indexes in {"train": (0, 1, 2, 3), "val": (4, 5), "test": (6, 7)}.items():
        (root / f"splits/{name}.csv").write_text("".join(f"{i}\n" for i in indexes))
    return root, write_patch(root / f"spring/grid1/{PLACES[1][0]}")


def test_patches_of_a_place_are_one_group(archive: tuple[Path, object]) -> None:
    found = list_items(SEASONET, archive[0])
    assert {name.split("-")[0]: item.split for name, item in found.items()} == {
        "spring": "train", "summer": "train", "fall": "validation", "winter": "test", "snow": ""
    }  # fmt: skip
    assert {(item.group, item.lonlat) for item in found.values()} == {
        ("53.928425 7.503876", (7.503876, 53.928425))
    }
    assert len({item.group for item in list_items(SEASONET, archive[0], grid="both").values()}) == 2
    (other,) = list_items(SEASONET, archive[0], grid="2", season="snow").values()
    assert other.files == (f"snow/grid2/{PLACES[2][0]}",)


def test_pixels_labels_and_grid(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, written = archive
    item = list_items(SEASONET, root)[f"spring-{PLACES[1][0]}"]
    example = read_item(SEASONET, root, item)
    layers = [
        np.kron(b, np.ones((120 // b.shape[0],) * 2, b.dtype))
        for name in FILES
        for b in written[name]
    ]
    assert np.array_equal(example.pixels[0], np.stack(layers)) and example.pixels.dtype == np.uint16
    bands = SEASONET.describe({"task": "segment", "level": "3"}).encoding.bands
    assert bands[:4] == ("red", "green", "blue", "nir") and bands[9:] == (
        "swir22",
        "coastal",
        "nir09",
    )
    assert example.valid.all() and example.grid and example.grid.resolution == (10, 10)
    assert example.datetimes == (datetime(2018, 4, 18, 10, 40, 21, tzinfo=UTC),)
    some = read_item(SEASONET, root, item, ("nir09", "blue", "nir08", "coastal"))
    assert (
        np.array_equal(some.pixels[0], example.pixels[0, [11, 2, 7, 10]])
        and some.grid == example.grid
    )
    assert np.array_equal(example.label, np.where(written["labels"] == 0, 255, written["labels"]))


@pytest.mark.parametrize(
    ("level", "coal", "vines", "river", "count"), [("2", 13, 22, 51, 14), ("1", 1, 2, 5, 5)]
)
def test_coarser_levels(
    archive: tuple[Path, dict[str, np.ndarray]],
    level: str,
    coal: int,
    vines: int,
    river: int,
    count: int,
) -> None:
    root, written = archive
    item = list_items(SEASONET, root, level=level)[f"spring-{PLACES[1][0]}"]
    label = read_item(SEASONET, root, item, ("red",), level=level).label
    for code, becomes in ((7, coal), (13, vines), (29, river), (0, 255)):
        assert set(label[written["labels"] == code].tolist()) == {becomes}
    known = SEASONET.describe({"task": "segment", "level": level})
    assert len(known.legend.classes) == count and set(known.common.values()) <= set(COMMON.ids)


@pytest.mark.parametrize(
    ("level", "there"), [("3", [2, 3, 12, 15, 28]), ("2", [11, 12, 21, 23, 42]), ("1", [1, 2, 4])]
)
def test_labels_of_whole_patches(
    archive: tuple[Path, object], level: str, there: list[int]
) -> None:
    item = list_items(SEASONET, archive[0], task="multilabel", level=level)[
        f"spring-{PLACES[1][0]}"
    ]
    label = read_item(SEASONET, archive[0], item, ("red",), task="multilabel", level=level).label
    legend = SEASONET.describe({"task": "multilabel", "level": level}).legend
    assert (
        [i for i, one in zip(legend.ids, label, strict=True) if one] == there == list(item.classes)
    )


def test_samples_fit_the_table(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, written = archive
    item = list_items(SEASONET, root)[f"spring-{PLACES[1][0]}"]
    (row,) = cut_item(SEASONET, root, item, 120)
    assert (
        np.array_equal(arrays.array_from(row, "label") == 255, written["labels"] == 0)
        and row["block"] == item.group
    )
    (row,) = cut_item(SEASONET, root, item, 120, task="multilabel")
    assert sum(row["class_counts"]) == 5


def test_damaged_patches_are_named(tmp_path: Path) -> None:
    name = PLACES[1][0]
    folder = tmp_path / f"fall/grid1/{name}"
    written = write_patch(folder)
    (tmp_path / "meta.csv").write_text(
        f"{HEAD}\n0,Fall,1,53.9,7.5,A,2018,4,18,10,40,21,0,0,2,1,1,1,fall/grid1/{name}\n"
    )
    (item,) = list_items(SEASONET, tmp_path).values()
    labels = folder / f"{name}_labels.tif"
    write_raster(labels, np.full((120, 120), 34, np.uint8))
    with pytest.raises(InputError, match=r"labels\.tif holds codes \[34\]"):
        read_item(SEASONET, tmp_path, item)
    write_raster(labels, written["labels"][:60])
    with pytest.raises(InputError, match=r"labels\.tif has 60x120 pixels"):
        read_item(SEASONET, tmp_path, item)
    labels.unlink()
    with pytest.raises(InputError, match=r"labels\.tif"):
        read_item(SEASONET, tmp_path, item)
    file = folder / f"{name}_20m.tif"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"20m\.tif"):
        read_item(SEASONET, tmp_path, item)


def test_damaged_lists_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no meta\.csv"):
        list_items(SEASONET, tmp_path)
    (tmp_path / "meta.csv").write_text("Index,Season\n")
    with pytest.raises(InputError, match="no column Grid"):
        list_items(SEASONET, tmp_path)
    (tmp_path / "meta.csv").write_text(
        f"{HEAD}\n0,Fall,1,53.9,7.5,A,2018,4,18,10,40,21,0,0,99,1,1,1,fall/grid1/x\n"
    )
    (broken,) = list_items(SEASONET, tmp_path).values()
    assert "meta.csv line 2 cannot be read (KeyError(99))" in broken.error
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/train.csv").write_text("0\n")
    with pytest.raises(InputError, match=r"has the list train\.csv but not val\.csv, test\.csv"):
        list_items(SEASONET, tmp_path)


def test_cloudy_and_snowy_patches_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [HEAD]
    for index, (clouds, snow) in enumerate([("0.0", "0.0"), ("12.5", "0"), ("3", "40"), ("", "")]):
        middle = f"A,2018,4,18,10,40,21,{clouds},{snow},2,1,1,1,winter/grid1/patch_{index}"
        lines.append(f"{index},Winter,1,53.9,7.{index},{middle}")
    (tmp_path / "meta.csv").write_text("\n".join(lines))

    def names(**options: str) -> list[str]:
        found = list_items(SEASONET, tmp_path, **options)
        return [name for name, item in found.items() if not item.error]

    patches = [f"winter-patch_{index}" for index in range(4)]
    assert names() == patches
    assert list_notes(SEASONET, tmp_path) == []
    assert names(max_cloud="5") == [patches[0], patches[2]]
    assert names(max_cloud="5", max_snow="10") == [patches[0]]
    assert list_notes(SEASONET, tmp_path, max_cloud="5", max_snow="10") == [
        "2 patches with Clouds above 5 or Snow above 10 are left out"
    ]
    # A patch that does not say how cloudy it is cannot be said to be clear.
    assert list_items(SEASONET, tmp_path, max_cloud="5")["line-5"].error
    with pytest.raises(UsageError, match="max_cloud 'few' must be a number"):
        list_items(SEASONET, tmp_path, max_cloud="few")
    (tmp_path / "meta.csv").write_text("\n".join(lines).replace("Clouds", "Cover"))
    with pytest.raises(InputError, match="no column Clouds"):
        list_items(SEASONET, tmp_path, max_cloud="5")


def test_the_levels_of_corine() -> None:
    assert [len(corine.LEGENDS[level].classes) for level in (1, 2, 3)] == [5, 15, 44]
    assert [corine.id_at(335, level) for level in (1, 2, 3)] == [3, 33, 34] and corine.id_at(
        523
    ) == 44
    assert corine.common_of(334) is None and set(corine.LEGENDS[3].ids) - set(corine.COMMON[3]) == {
        corine.id_at(334)
    }
    assert (
        {corine.id_at(code, 2) for code in corine.CODES}
        == set(corine.LEGENDS[2].ids)
        == set(corine.COMMON[2])
    )

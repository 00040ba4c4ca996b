"""SEN12MS in miniature: triplets, five land cover schemes, splits by scene and list; bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lulc.datasets import igbp
from lulc.datasets.readers.sen12ms import SEN12MS
from lulc.errors import InputError
from lulc.legend import COMMON
from lulc.tables import arrays
from tests.helpers.synthetic_archives import cut_item, list_items, read_item, write_raster

RNG = np.random.default_rng(0)
CODES = ((1, 9, 14, 17, 255), (1, 16, 42, 3, 255), (9, 25, 36, 3, 255), (27, 51, 30, 3, 255))


def path(season: str, kind: str, scene: int, patch: int) -> str:
    return f"{season}/{kind}_{scene}/{season}_{kind}_{scene}_p{patch}.tif"


def write_triplet(root: Path, season: str, scene: int, patch: int) -> dict[str, np.ndarray]:
    found = {
        "s1": RNG.normal(-15, 4, (2, 256, 256)).astype(np.float32),
        "s2": RNG.integers(0, 12_000, (13, 256, 256)).astype(np.uint16),
        "lc": np.stack([RNG.choice(codes, (256, 256)) for codes in CODES]).astype(np.uint8),
    }
    for kind, bands in found.items():
        write_raster(root / path(season, kind, scene, patch), bands)
    return found


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """Two images of spring's scene 1, and three names without pixels.

    These are spring's scene 15 (held out), spring's 44 (validation) and winter's 15 (neither).
    """
    root = tmp_path_factory.mktemp("sen12ms")
    written = write_triplet(root, "ROIs1158_spring", 1, 30)
    for season, scene, patch in (
        ("ROIs1158_spring", 1, 31),
        ("ROIs1158_spring", 15, 9),
        ("ROIs1158_spring", 44, 9),
        ("ROIs2017_winter", 15, 9),
    ):
        for kind in ("s1", "s2", "lc"):
            file = root / path(season, kind, scene, patch)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return root, written


def test_scenes_are_split_as_published(archive: tuple[Path, object]) -> None:
    found = list_items(SEN12MS, archive[0])
    assert {name: (item.split, item.group) for name, item in found.items()} == {
        "ROIs1158_spring_1_p30": ("train", "ROIs1158_spring/1"),
        "ROIs1158_spring_1_p31": ("train", "ROIs1158_spring/1"),
        "ROIs1158_spring_15_p9": ("test", "ROIs1158_spring/15"),
        "ROIs1158_spring_44_p9": ("validation", "ROIs1158_spring/44"),
        "ROIs2017_winter_15_p9": ("train", "ROIs2017_winter/15"),
    }


def test_lists_in_the_root_count_before_scenes(
    archive: tuple[Path, object], tmp_path: Path
) -> None:
    for season in ("ROIs1158_spring", "ROIs2017_winter"):
        (tmp_path / season).symlink_to(archive[0] / season)
    (tmp_path / "SEN12MS_holdOutScenes.txt").write_text("ROIs2017_winter/s1_15\n")
    held = {item.split: name for name, item in list_items(SEN12MS, tmp_path).items()}
    assert held["test"] == "ROIs2017_winter_15_p9"
    (tmp_path / "train_list.txt").write_text(
        "ROIs1158_spring_s2_1_p30.tif\nROIs1158_spring_s2_1_p31.tif\nROIs1970_fall_s2_1_p1.tif\n"
    )
    with pytest.raises(InputError, match=r"has the list train_list\.txt but not test_list\.txt"):
        list_items(SEN12MS, tmp_path)
    (tmp_path / "test_list.txt").write_text(
        "ROIs1158_spring_s2_15_p9.tif\nROIs1158_spring_s2_7_p7.tif\n"
    )
    (tmp_path / "val_list.txt").write_text("ROIs1158_spring_s2_1_p31.tif\n")
    found = list_items(SEN12MS, tmp_path)
    assert {name[16:]: item.split for name, item in found.items() if "spring" in name} == {
        "1_p30": "train", "1_p31": "validation", "15_p9": "test", "44_p9": "", "7_p7": "test"
    }  # fmt: skip
    assert not any("fall" in name for name in found)  # a season that was not fetched
    with pytest.raises(InputError, match=r"ROIs1158_spring_s2_7_p7\.tif"):
        read_item(SEN12MS, tmp_path, found["ROIs1158_spring_7_p7"])
    (tmp_path / "test_list.txt").write_text("spring.tif\n")
    with pytest.raises(InputError, match=r"names 'spring\.tif'"):
        list_items(SEN12MS, tmp_path)


def test_pixels_and_grid(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, written = archive
    item = list_items(SEN12MS, root, sensors="both")["ROIs1158_spring_1_p30"]
    example = read_item(SEN12MS, root, item, sensors="both")
    assert (
        example.pixels.dtype == np.float32
        and example.valid.all()
        and example.grid
        and example.grid.shape == (256, 256)
    )
    assert np.array_equal(example.pixels[0, :13], written["s2"]) and np.array_equal(
        example.pixels[0, 13:], written["s1"]
    )
    some = read_item(SEN12MS, root, item, ("vh", "nir08", "coastal"), sensors="both").pixels[0]
    assert np.array_equal(some, example.pixels[0, [14, 8, 0]])
    alone = list_items(SEN12MS, root, sensors="s1")[item.name]
    assert np.array_equal(read_item(SEN12MS, root, alone, sensors="s1").pixels[0], written["s1"])
    assert (
        read_item(SEN12MS, root, list_items(SEN12MS, root)[item.name], ("red",)).pixels.dtype
        == np.uint16
    )


@pytest.mark.parametrize(
    ("classes", "band", "becomes"),
    [
        ("igbp", 0, (1, 9, 14, 17, 255)),
        ("simple", 0, (1, 3, 6, 10, 255)),
        ("land_cover", 1, CODES[1]),
        ("land_use", 2, CODES[2]),
        ("surface_hydrology", 3, CODES[3]),
    ],
)
def test_schemes(
    archive: tuple[Path, dict[str, np.ndarray]], classes: str, band: int, becomes: tuple[int, ...]
) -> None:
    root, written = archive
    item = list_items(SEN12MS, root, classes=classes)["ROIs1158_spring_1_p30"]
    example = read_item(SEN12MS, root, item, ("red",), classes=classes)
    wanted = np.vectorize(dict(zip(CODES[band], becomes, strict=True)).get)(written["lc"][band])
    assert np.array_equal(example.label, wanted) and example.label.dtype == np.uint8
    known = SEN12MS.describe({"sensors": "s2", "classes": classes})
    assert set(known.common) == set(known.legend.ids) and set(known.common.values()) <= set(
        COMMON.ids
    )


def test_the_simple_scheme_is_the_publishers() -> None:
    groups = ((1, 2, 3, 4, 5), (6, 7), (8, 9), (10,), (11,), (12, 14), (13,), (15,), (16,), (17,))
    assert dict(igbp.TO_SIMPLE) == {code: i for i, codes in enumerate(groups, 1) for code in codes}
    assert len(igbp.IGBP.legend.classes) == 17 and igbp.SIMPLE.legend.ids == tuple(range(1, 11))


def test_a_sample_fits_the_table(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, written = archive
    item = list_items(SEN12MS, root)["ROIs1158_spring_1_p30"]
    rows = cut_item(SEN12MS, root, item, 128)
    assert len(rows) == 4 and rows[0]["block"] == "ROIs1158_spring/1"
    assert np.array_equal(arrays.array_from(rows[3], "label"), written["lc"][0, 128:, 128:])


def test_damaged_triplets_are_named(tmp_path: Path) -> None:
    season = "ROIs1868_summer"
    written = write_triplet(tmp_path, season, 146, 202)
    item = list_items(SEN12MS, tmp_path, sensors="both")[f"{season}_146_p202"]
    # The publisher's own damaged image: its backscatter is not a number.
    broken = written["s1"].copy()
    broken[0, :100] = np.nan
    write_raster(tmp_path / item.files[1], broken)
    example = read_item(SEN12MS, tmp_path, item, sensors="both")
    assert (
        not example.valid[0, :100].any()
        and example.valid[0, 100:].all()
        and not example.pixels[0, :, :100].any()
    )
    write_raster(tmp_path / item.files[1], written["s1"][:, :200, :200])
    with pytest.raises(InputError, match=r"s1_146_p202\.tif has 200x200 pixels"):
        read_item(SEN12MS, tmp_path, item, sensors="both")
    write_raster(tmp_path / item.files[1], written["s1"][:1])
    with pytest.raises(InputError, match=r"s1_146_p202\.tif has 1 bands"):
        read_item(SEN12MS, tmp_path, item, sensors="both")
    mask = tmp_path / item.files[2]
    write_raster(mask, np.full((4, 256, 256), 18, np.uint8))
    with pytest.raises(InputError, match=r"lc_146_p202\.tif holds codes \[18\]"):
        read_item(SEN12MS, tmp_path, item, ("red",), sensors="both")
    mask.write_bytes(mask.read_bytes()[:400])
    with pytest.raises(InputError, match=r"lc_146_p202\.tif"):
        read_item(SEN12MS, tmp_path, item, ("red",), sensors="both")
    mask.unlink()
    with pytest.raises(InputError, match=r"lc_146_p202\.tif"):
        read_item(SEN12MS, tmp_path, item, ("red",), sensors="both")

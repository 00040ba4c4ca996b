"""MultiSenGE in miniature: two sensors' days, pairs, three schemes of classes, split by tile."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from lulc.config import DatasetConf
from lulc.datasets.readers.multisenge import MULTISENGE
from lulc.datasets.registry import describe_dataset
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

RNG = np.random.default_rng(0)
SIDE = 32
PLACE = "31TFN_5140_257"
S2 = ("20200731", "20201128", "20200904")  # the publisher's lists are in no order
S1 = ("20201201", "20200802", "20200103", "20200115", "20200903")


def write_place(root: Path, place: str, labels: str) -> None:
    tile, at = place.split("_", 1)
    images = {
        f"corresponding_s{n}": ";".join(f"{tile}_{day}_S{n}_{at}.tif" for day in days)
        for n, days in ((2, S2), (1, S1))
    }
    (root / "labels").mkdir(parents=True, exist_ok=True)
    (root / f"labels/{place}.json").write_text(
        json.dumps({**images, "projection": "PROJCS[...]", "labels": labels})
    )


@pytest.fixture(scope="module")
def archive(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, np.ndarray], np.ndarray]:
    """Three places, the first with all images; their pixels by day, and the reference codes."""
    root = tmp_path_factory.mktemp("multisenge")
    for place in (PLACE, "31UFP_0_0", "31UEQ_257_0"):
        write_place(root, place, "2;5;6;9;13")
    found = {}
    for day in S2:
        found[day] = RNG.integers(1, 10_000, (10, SIDE, SIDE)).astype(np.int16)
        found[day][:, 0, :4] = -10_000
        write_raster(root / f"s2/31TFN_{day}_S2_5140_257.tif", found[day])
    for day in S1:
        found[day] = RNG.normal(-12, 3, (2, SIDE, SIDE)).astype(np.float32)
        found[day][:, 1, :5] = 0
        write_raster(root / f"s1/31TFN_{day}_S1_5140_257.tif", found[day])
    codes = RNG.integers(0, 15, (SIDE, SIDE)).astype(np.uint8)
    write_raster(root / "ground_reference/31TFN_GR_5140_257.tif", codes)
    return root, found, codes


def test_splits_by_tile(archive: tuple[Path, object, object]) -> None:
    found = list_items(MULTISENGE, archive[0])
    assert {name: item.split for name, item in found.items()} == {
        PLACE: "train", "31UFP_0_0": "validation", "31UEQ_257_0": "test"
    }  # fmt: skip
    assert found[PLACE].classes == (2, 5, 6, 9, 13)


def test_all_days_of_sentinel_2(archive: tuple[Path, dict[str, np.ndarray], np.ndarray]) -> None:
    root, written, codes = archive
    item = list_items(MULTISENGE, root)[PLACE]
    example = read_item(MULTISENGE, root, item)
    days = sorted(S2)
    assert example.datetimes == tuple(
        datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) for day in days
    )
    assert example.pixels.shape == (3, 10, SIDE, SIDE) and example.pixels.dtype == np.float32
    assert not example.valid[:, 0, :4].any() and example.valid[:, 1:].all()
    for i, day in enumerate(days):
        assert np.array_equal(example.pixels[i], np.where(example.valid[i], written[day], 0))
    assert (
        np.array_equal(example.label, np.where(codes, codes, NODATA))
        and example.label.dtype == np.uint8
    )
    assert example.grid and example.grid.resolution == (10, 10)
    nir = read_item(MULTISENGE, root, item, ("nir", "red"))
    assert np.array_equal(nir.pixels[:, :, 5], np.stack([written[day][[6, 2], 5] for day in days]))
    (row,) = cut_item(MULTISENGE, root, item, SIDE)
    assert (
        np.array_equal(arrays.array_from(row, "label")[1:], example.label[1:])
        and len(row["datetimes"]) == 3
    )
    assert arrays.array_from(row, "pixels").shape == (8, 10, SIDE, SIDE)


def test_radar_nearest_in_time_and_by_month(
    archive: tuple[Path, dict[str, np.ndarray], np.ndarray],
) -> None:
    root, written, _ = archive
    pair = read_item(
        MULTISENGE,
        root,
        list_items(MULTISENGE, root, sensors="both")[PLACE],
        ("vh", "blue"),
        sensors="both",
    )
    for i, (optical, radar) in enumerate(
        (("20200731", "20200802"), ("20200904", "20200903"), ("20201128", "20201201"))
    ):
        stack = np.stack([written[radar][1], written[optical][0]])
        assert np.array_equal(pair.pixels[i], np.where(pair.valid[i], stack, 0))
    assert (
        not pair.valid[:, 0, :4].any()
        and not pair.valid[:, 1, :5].any()
        and pair.valid[:, 2:].all()
    )
    alone = read_item(
        MULTISENGE, root, list_items(MULTISENGE, root, sensors="s1")[PLACE], sensors="s1"
    )
    assert [time.strftime("%Y%m%d") for time in alone.datetimes] == [
        "20200103",
        "20200802",
        "20200903",
        "20201201",
    ]
    assert np.array_equal(alone.pixels[0], written["20200103"])
    known = MULTISENGE.describe(options_of(MULTISENGE, sensors="both"))
    assert known.encoding.scales == (1e-4,) * 10 + (1.0, 1.0) and known.dates == 8
    assert known.encoding.units == ("surface_reflectance",) * 10 + ("sigma0",) * 2


def test_the_option_order_is_refused_with_its_remedy() -> None:
    with pytest.raises(UsageError, match=r"order is none any more: .*leave it out"):
        describe_dataset(DatasetConf("multisenge", "x", options={"order": "resolution"}))


@pytest.mark.parametrize(
    ("classes", "ids", "named"),
    [("10", [NODATA, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 9, 9, 10, 10], [2, 5, 6, 8, 10]),
     ("6", [NODATA, 1, 2, 3, 4, 5, *[6] * 9], [2, 5, 6])],
)  # fmt: skip
def test_coarser_schemes(
    archive: tuple[Path, object, np.ndarray], classes: str, ids: list[int], named: list[int]
) -> None:
    root, _, codes = archive
    item = list_items(MULTISENGE, root, classes=classes)[PLACE]
    assert np.array_equal(
        read_item(MULTISENGE, root, item, ("red",), classes=classes).label, np.array(ids)[codes]
    )
    label = read_item(MULTISENGE, root, item, ("red",), classes=classes, task="multilabel").label
    assert (np.flatnonzero(label) + 1).tolist() == named and len(label) == int(classes)
    known = MULTISENGE.describe(options_of(MULTISENGE, classes=classes))
    assert known.legend.ids == tuple(range(1, int(classes) + 1)) and set(
        known.common.values()
    ) <= set(COMMON.ids)


def test_damaged_places_are_named(archive: tuple[Path, object, object], tmp_path: Path) -> None:
    write_place(tmp_path, PLACE, "1")
    for folder in ("s1", "s2"):
        (tmp_path / folder).mkdir()
        for file in (archive[0] / folder).iterdir():
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    (item,) = list_items(MULTISENGE, tmp_path).values()
    with pytest.raises(InputError, match=r"31TFN_GR_5140_257\.tif"):
        read_item(MULTISENGE, tmp_path, item)
    write_raster(
        tmp_path / "ground_reference/31TFN_GR_5140_257.tif", np.full((SIDE, SIDE), 15, np.uint8)
    )
    with pytest.raises(InputError, match=r"GR_5140_257\.tif holds codes \[15\]"):
        read_item(MULTISENGE, tmp_path, item)
    file = tmp_path / "s2/31TFN_20200904_S2_5140_257.tif"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"31TFN_20200904_S2_5140_257\.tif"):
        read_item(MULTISENGE, tmp_path, item)
    write_raster(file, np.ones((10, SIDE, 8), np.int16))
    with pytest.raises(InputError, match=r"31TFN_20200904_S2_5140_257\.tif has \(32, 8\) pixels"):
        read_item(MULTISENGE, tmp_path, item)
    file.unlink()
    with pytest.raises(InputError, match=r"31TFN_20200904_S2_5140_257\.tif"):
        read_item(MULTISENGE, tmp_path, item)
    both = list_items(MULTISENGE, tmp_path, sensors="both")[PLACE]
    write_raster(tmp_path / "s1/31TFN_20200802_S1_5140_257.tif", np.ones((2, 8, 8), np.float32))
    with pytest.raises(InputError, match=r"31TFN_20200802_S1_5140_257\.tif has \(8, 8\) pixels"):
        read_item(MULTISENGE, tmp_path, both, sensors="both")
    for text in (
        "{",
        '{"labels": "1"}',
        '{"corresponding_s2": "x.tif", "corresponding_s1": "", "labels": "1"}',
    ):
        (tmp_path / f"labels/{PLACE}.json").write_text(text)
        found = list_items(MULTISENGE, tmp_path)
        assert f"labels/{PLACE}.json cannot be read" in found[PLACE].error
        # The others are listed all the same.
        assert [name for name, item in found.items() if item.error] == [PLACE]

"""PASTIS in miniature: series of Sentinel-2 and -1, folds and places, void parcels, bad files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lulc.datasets.readers.pastis import PASTIS
from lulc.errors import InputError
from lulc.tables import arrays
from tests.helpers.synthetic_archives import cut_item, list_items, options_of, read_item

RNG = np.random.default_rng(0)
DAYS = {
    "S2": {"0": 20180924, "10": 20191027, "2": 20181113},
    "S1A": {"0": 20180902, "1": 20180908},
    "S1D": {"0": 20180903},
}
LAMBERT = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::2154"}}


def write_metadata(root: Path, crs: dict[str, Any] | None = LAMBERT, **more: object) -> None:
    features = []
    for fold in range(1, 6):
        x, y = 700_000 + fold * 1280, 6_600_000
        ring = [[x, y], [x + 1280, y], [x + 1280, y + 1280], [x, y + 1280], [x, y]]
        properties = {
            "ID_PATCH": 10_000 + fold,
            "N_Parcel": 3,
            "Parcel_Cover": 0.3,
            "Fold": fold,
            "TILE": "t31tfm",
        }
        properties |= {f"dates-{sensor}": days for sensor, days in DAYS.items()} | more
        geometry = {"type": "MultiPolygon", "coordinates": [[ring]]}
        features.append(
            {
                "type": "Feature",
                "id": str(10_000 + fold),
                "properties": properties,
                "geometry": geometry,
            }
        )
    found = {"type": "FeatureCollection", "features": features} | ({"crs": crs} if crs else {})
    (root / "metadata.geojson").write_text(json.dumps(found))


def save(path: Path, array: np.ndarray) -> np.ndarray:
    path.parent.mkdir(exist_ok=True)
    np.save(path, array)
    return array


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Patch 10001 with files."""
    write_metadata(tmp_path)
    target = RNG.integers(0, 20, (3, 128, 128)).astype(np.uint8)
    target[0, 0, :2] = 19, 18
    s2 = RNG.integers(-200, 12_000, (3, 10, 128, 128)).astype(np.int16)
    s2[1, :, 5, 6] = -10_000
    files = {
        "S2": save(tmp_path / "DATA_S2/S2_10001.npy", s2),
        "S1A": save(
            tmp_path / "DATA_S1A/S1A_10001.npy",
            RNG.normal(-12, 3, (2, 3, 128, 128)).astype(np.float16),
        ),
        "S1D": save(
            tmp_path / "DATA_S1D/S1D_10001.npy",
            RNG.normal(-12, 3, (1, 3, 128, 128)).astype(np.float16),
        ),
        "TARGET": save(tmp_path / "ANNOTATIONS/TARGET_10001.npy", target),
    }
    return tmp_path, files


def test_series_labels_and_days(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, files = archive
    item = list_items(PASTIS, root)["10001"]
    example = read_item(PASTIS, root, item)
    known = PASTIS.describe(options_of(PASTIS))
    assert (known.task, known.dates, known.encoding.dtype) == ("series", 61, "int16") and len(
        known.encoding.bands
    ) == 10
    assert known.legend.ids == tuple(range(19)) and known.common[1] == 2 and 0 not in known.common
    seen = np.ones((3, 128, 128), bool)
    seen[1, 5, 6] = False
    assert (
        np.array_equal(example.valid, seen)
        and example.pixels.dtype == np.int16
        and example.grid is None
    )
    assert np.array_equal(example.pixels, np.where(seen[:, None], files["S2"], 0))
    label = files["TARGET"][0]
    assert (
        np.array_equal(example.label, np.where(label == 19, 255, label))
        and example.label.dtype == np.uint8
    )
    assert example.datetimes == tuple(
        datetime(*day, tzinfo=UTC) for day in ((2018, 9, 24), (2018, 11, 13), (2019, 10, 27))
    )
    assert np.array_equal(
        read_item(PASTIS, root, item, ("swir22", "blue")).pixels[0], files["S2"][0, [9, 0]]
    )


def test_radar(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, files = archive
    for sensor in ("s1a", "s1d"):
        item = list_items(PASTIS, root, sensor=sensor)["10001"]
        example = read_item(PASTIS, root, item, sensor=sensor)
        assert np.array_equal(example.pixels, files[sensor.upper()][:, :2]) and example.valid.all()
        assert len(example.datetimes) == len(DAYS[sensor.upper()])
    (row,) = cut_item(PASTIS, root, item, 128, sensor="s1d")
    assert arrays.array_from(row, "pixels").dtype == np.float32


def test_folds_and_places(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, _ = archive
    found = list_items(PASTIS, root)
    assert [found[str(10_000 + n)].split for n in range(1, 6)] == [
        "train",
        "train",
        "train",
        "validation",
        "test",
    ]
    # Lambert-93 has its origin, 700 km east, on the third meridian.
    lonlat = found["10001"].lonlat
    assert lonlat and lonlat == pytest.approx((3.025, 46.5), abs=0.02)
    write_metadata(root, None)
    assert list_items(PASTIS, root)["10001"].lonlat is None


def test_a_series_fits_the_table(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, files = archive
    rows = cut_item(PASTIS, root, list_items(PASTIS, root)["10001"], 64)
    assert len(rows) == 4 and len(rows[0]["datetimes"]) == 3
    found = arrays.array_from(rows[3], "pixels")
    assert (
        found.shape == (61, 10, 64, 64)
        and np.array_equal(found[:3], files["S2"][:, :, 64:, 64:])
        and not found[3:].any()
    )


def test_damaged_archives(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, files = archive
    item = list_items(PASTIS, root)["10001"]
    target, series = root / "ANNOTATIONS/TARGET_10001.npy", root / "DATA_S2/S2_10001.npy"
    save(target, np.full((3, 128, 128), 20, np.uint8))
    with pytest.raises(InputError, match=r"TARGET_10001.npy holds codes \[20\]"):
        read_item(PASTIS, root, item)
    save(target, files["TARGET"][:, :64])
    with pytest.raises(InputError, match=r"TARGET_10001.npy is uint8 \(3, 64, 128\)"):
        read_item(PASTIS, root, item)
    np.save(target, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"TARGET_10001.npy cannot be read as an array"):
        read_item(PASTIS, root, item)
    with target.open("wb") as file:
        np.savez(file, files["TARGET"])
    with pytest.raises(InputError, match=r"TARGET_10001.npy cannot be read as an array"):
        read_item(PASTIS, root, item)
    save(target, files["TARGET"])
    save(series, files["S2"][:2])
    with pytest.raises(InputError, match=r"S2_10001.npy has 2 dates, metadata.geojson 3"):
        read_item(PASTIS, root, item)
    series.write_bytes(series.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"S2_10001.npy cannot be read"):
        read_item(PASTIS, root, item)
    series.unlink()
    with pytest.raises(InputError, match=r"S2_10001.npy"):
        read_item(PASTIS, root, item)


def test_damaged_metadata(archive: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, _ = archive
    item = list_items(PASTIS, root)["10001"]
    for days in ({"0": "soon"}, [20180924, 20181113], "{}", None):
        write_metadata(root, **{"dates-S2": days})
        with pytest.raises(InputError, match=r"metadata.geojson has no dates-S2 of patch 10001"):
            read_item(PASTIS, root, item)
    write_metadata(root, Fold=6)
    broken = list_items(PASTIS, root)
    assert len(broken) == 5
    assert all("Fold from 1 to 5" in item.error for item in broken.values())
    (root / "metadata.geojson").write_text("{")
    with pytest.raises(InputError, match=r"metadata.geojson is not GeoJSON"):
        list_items(PASTIS, root)
    (root / "metadata.geojson").unlink()
    with pytest.raises(InputError, match=r"has no metadata.geojson"):
        list_items(PASTIS, root)

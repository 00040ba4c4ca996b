"""Of one acquisition one processing is used, the newest of the surface, whatever its id."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from lulc.bands import Band
from lulc.config import Archive
from lulc.geo.grid import Grid, footprint
from lulc.sources import registry
from lulc.sources.acquisition import find_superseded, group_images, processing_of
from lulc.sources.indexing.selection import select_scenes
from lulc.sources.scene import Scene
from tests.helpers.synthetic_scenes import write_raster

NOON = datetime(2019, 2, 8, 11, 12, 13, tzinfo=UTC)
HERE = shapely.to_wkb(shapely.box(15, 47, 16, 48))


def scene(scene_id: str, minutes: float = 0, place: bytes = HERE, **properties: str) -> Scene:
    return Scene(
        scene_id,
        "stac",
        NOON + timedelta(minutes=minutes),
        "EPSG:32633",
        place,
        (Band("red", f"/a/{scene_id}.tif"),),
        properties=tuple(properties.items()),
        fingerprint=f"{scene_id} {sorted(properties.items())}",
    )


SAFE = "S2A_MSIL{}_20190208T111213_N{}_R137_T30SUF_20190208T14322{}"
LANDSAT = "LC08_{}_042034_20200101_{}_{}_{}"
MODIS = "MOD09GA.A2020001.h18v04.{}.{}"

SUPERSEDED = [
    # Sentinel-2: a newer baseline, and Level-2A before Level-1C.
    (scene(SAFE.format("2A", "0211", 1)), scene(SAFE.format("2A", "0500", 0))),
    (scene(SAFE.format("1C", "0500", 1)), scene(SAFE.format("2A", "0211", 0))),
    (
        scene("S2A_30SUF_20190208_0_L2A", processing_baseline="02.11"),
        scene("S2A_30SUF_20190208_1_L2A", processing_baseline="05.00"),
    ),
    # By properties alone, and a catalogue's time that is the pass's, not the granule's.
    (
        scene("x", platform="Sentinel-2A", tile="MGRS-30SUF", level="S2MSI1C"),
        scene("a", 5, platform="sentinel-2a", tile="30SUF", level="2A"),
    ),
    (scene("b", processing_baseline="9.1"), scene("a", processing_baseline="10.0")),
    # Landsat: level 2, Collection 2, final after real time, the later processing.
    (
        scene(LANDSAT.format("L1TP", "20200113", "02", "T1")),
        scene(LANDSAT.format("L2SP", "20200110", "02", "T2")),
    ),
    (
        scene(LANDSAT.format("L1TP", "20200113", "01", "T1")),
        scene(LANDSAT.format("L1TP", "20200824", "02", "T1")),
    ),
    (
        scene(LANDSAT.format("L1TP", "20200101", "02", "RT")),
        scene(LANDSAT.format("L1TP", "20200113", "02", "T1")),
    ),
    (
        scene(LANDSAT.format("L2SP", "20200101", "02", "T1")),
        scene(LANDSAT.format("L2SP", "20200824", "02", "T1")),
    ),
    # MODIS: a newer collection, and a later production.
    (scene(MODIS.format("006", "2020003040506")), scene(MODIS.format("061", "2020003040506"))),
    (scene(MODIS.format("061", "2020003040506")), scene(MODIS.format("061", "2021003040506"))),
]
SEPARATE = [
    # Another tile, platform, pass, place, product; and two parts of one pass on one tile.
    (scene("S2A_30SUF_20190208_0_L2A"), scene("S2A_30SUG_20190208_0_L1C")),
    (scene("S2A_30SUF_20190208_0_L2A"), scene("S2B_30SUF_20190208_0_L1C")),
    (scene("a", processing_baseline="02.11"), scene("b", 100, processing_baseline="05.00")),
    (
        scene("a", processing_baseline="02.11"),
        scene("b", 0, shapely.to_wkb(shapely.box(16, 47, 17, 48)), processing_baseline="05.00"),
    ),
    (
        scene("MOD09GA.A2020001.h18v04.006.2020003040506"),
        scene("MOD13Q1.A2020001.h18v04.061.2020003040506"),
    ),
    (scene(SAFE.format("2A", "0500", 0)), scene(SAFE.format("2A", "0500", 1))),
    # What is not said decides nothing.
    (scene("a"), scene("b", processing_baseline="05.00")),
    (scene("a"), scene("b", level="L1C")),
]


@pytest.mark.parametrize(("older", "newer"), SUPERSEDED)
def test_an_acquisition_is_used_once(older: Scene, newer: Scene) -> None:
    for order in ([older, newer], [newer, older]):
        assert find_superseded(order) == {older.scene_id: newer.scene_id}
        selected = select_scenes(order)
        assert (selected.scenes, selected.errors) == ([newer], [])
        assert selected.notes == [
            "1 scenes left out, superseded by another processing of the same acquisition: "
            f"{older.scene_id} by {newer.scene_id}"
        ]


@pytest.mark.parametrize(("one", "other"), SEPARATE)
def test_what_is_another_acquisition_stays(one: Scene, other: Scene) -> None:
    assert find_superseded([one, other]) == {}
    assert find_superseded([other, one]) == {}


def test_levels_that_are_mixed_are_told() -> None:
    mixed = [scene("a", level="L1C"), scene("b", 200, level="L2A"), scene("c", 400, level="L2A")]
    (note,) = select_scenes(mixed).notes
    assert note.startswith("1 scenes are of the top of the atmosphere (level 1) and 2 of the surf")
    assert select_scenes(mixed[1:]).notes == []


def test_a_product_is_one_whatever_its_archive_and_an_older_one_under_its_id_gives_way() -> None:
    product = scene(SAFE.format("2A", "0500", 0))
    packed = replace(product, fingerprint="zip", source="sentinel2")
    assert select_scenes([product, packed]).scenes == [product]
    assert select_scenes([product, packed]).errors == []
    old, new = (scene("tile", processing_baseline=text) for text in ("02.11", "05.00"))
    for order in ([old, new], [new, old]):
        assert (select_scenes(order).scenes, select_scenes(order).errors) == ([new], [])
    other = replace(new, fingerprint="other")
    ((scene_id, error),) = select_scenes([new, other]).errors
    assert scene_id == "tile"
    assert "two different scenes have this id" in error


@given(st.permutations(sorted({s for pair in SUPERSEDED + SEPARATE for s in pair}, key=repr)))
def test_the_order_of_a_listing_never_counts(order: list[Scene]) -> None:
    distinct = {s.scene_id: s for s in sorted(order, key=repr)}
    shuffled = [s for s in order if distinct[s.scene_id] == s]
    assert find_superseded(shuffled) == find_superseded(distinct.values())
    assert group_images(shuffled, 15.0) == group_images(distinct.values(), 15.0)


def test_one_product_is_told_alike_by_every_route() -> None:
    by_name = scene("S2A_T30SUF_20190208T111213_L2A")
    by_item = scene("x", platform="sentinel-2a", level="Level-2A", tile="MGRS-30SUF")
    by_metadata = scene("y", platform="Sentinel-2A", level="2A", tile="30SUF")
    assert processing_of(by_name) == processing_of(by_item) == processing_of(by_metadata)
    mtl = scene("z", platform="landsat-8", level="L2SP", wrs_path="42", wrs_row="34", tier="T1")
    named = processing_of(scene("LC08_L2SP_042034_20200101_02_T1"))
    assert replace(named, version=()) == processing_of(mtl)


GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 48, 64)


def write_item(folder: Path, item_id: str, value: int, **fields: Any) -> None:
    write_raster(folder / f"{item_id}.tif", np.full(GRID.shape, value, "uint16"), GRID)
    band = {"eo:bands": [{"name": "B04", "common_name": "red"}]}
    content = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item_id,
        "geometry": shapely.geometry.mapping(footprint(GRID)),
        "properties": {"datetime": "2019-02-08T11:12:13Z"} | fields.pop("properties", {}),
        "assets": {"B04": {"href": f"{item_id}.tif", **band}},
        "links": [],
    }
    (folder / f"{item_id}.json").write_text(json.dumps(content | fields))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (
            {"properties": {"s2:processing_baseline": "02.11"}},
            {"properties": {"s2:processing_baseline": "05.00"}},
        ),
        (
            {"properties": {"sentinel:processing_baseline": "02.14"}},
            {"properties": {"processing:version": "05.10"}},
        ),
        ({"collection": "sentinel-2-l1c"}, {"collection": "sentinel-2-c1-l2a"}),
        (
            {"properties": {"landsat:correction": "L1TP"}},
            {"properties": {"landsat:correction": "L2SP"}},
        ),
    ],
)
def test_items_of_one_acquisition_processed_twice(
    tmp_path: Path, older: dict[str, Any], newer: dict[str, Any]
) -> None:
    for folder, names in (("one", "ab"), ("other", "ba")):
        (tmp_path / folder).mkdir()
        for name, fields in zip(names, (older, newer), strict=True):
            write_item(tmp_path / folder, name, 1000, **json.loads(json.dumps(fields)))
        archive = Archive(str(tmp_path / folder))
        source = registry.source_of(archive)
        scenes = [source.read(i, archive, ("red",)) for i in source.items(archive)]
        assert [s.scene_id for s in select_scenes(scenes).scenes] == [names[1]]

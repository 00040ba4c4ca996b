"""Scenes from STAC items of every form and from GeoTIFF folders; hostile and broken items."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

import lulc.sources.readers
from lulc.config import Archive, LayerConf
from lulc.errors import InputError, UsageError
from lulc.geo.grid import WGS84, Grid, footprint, parse_crs, transformer
from lulc.sources import registry, times
from lulc.sources.href import resolve_href
from lulc.sources.layers import read_layer
from lulc.sources.registry import SOURCES
from lulc.sources.scene import Clear, Scene, scenes_from_table, scenes_to_table
from tests.helpers.synthetic_scenes import cut_short, write_raster

GRID = Grid("EPSG:32633", (20.0, 0.0, 500_000.0, 0.0, -20.0, 5_300_000.0), 48, 64)
COARSE = Grid("EPSG:32633", (60.0, 0.0, 500_000.0, 0.0, -60.0, 5_300_000.0), 16, 22)
DATED = {"datetime": "2024-06-08T10:11:12Z"}


def raster(path: Path, count: int = 1, grid: Grid = GRID, **profile: Any) -> Path:
    return write_raster(path, np.ones((count, *grid.shape), "uint16"), grid, **profile)


def item(
    name: str,
    assets: dict[str, Any],
    properties: dict[str, Any] = DATED,
    grid: Grid = GRID,
    **rest: Any,
) -> dict[str, Any]:
    outline = shapely.geometry.mapping(footprint(grid))
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": outline,
        "bbox": [],
        "links": [],
        "properties": properties,
        "assets": assets,
        **rest,
    }


def write_item(folder: Path, content: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content['id']}.json"
    path.write_text(json.dumps(content))
    return path


def read_all(archive: Archive, bands: tuple[str, ...] = ()) -> list[Scene]:
    source = registry.source_of(archive)
    return [source.read(i, archive, bands) for i in source.items(archive)]


def read_one(archive: Archive, bands: tuple[str, ...] = ()) -> Scene:
    (scene,) = read_all(archive, bands)
    return scene


def test_no_source_is_forgotten() -> None:
    folder = Path(lulc.sources.readers.__file__).parent
    assert {p.stem.replace("_", "-") for p in folder.glob("[!_]*.py")} == set(SOURCES)
    assert all(name == source.name for name, source in SOURCES.items())


def test_items_travel_to_executors(tmp_path: Path) -> None:
    raster(tmp_path / "red.tif")
    write_item(tmp_path, item("s", {"red": {"href": "red.tif"}}))
    archive = Archive(str(tmp_path))
    (found,) = SOURCES["stac"].items(archive)
    again = SOURCES["stac"].read(
        pickle.loads(pickle.dumps(found)), pickle.loads(pickle.dumps(archive)), ("red",)
    )
    assert again == read_one(archive, ("red",))
    assert scenes_from_table(scenes_to_table([again])) == [again]


WORDS = {
    "1.0": {
        "eo:bands": [{"name": "B04", "common_name": "red"}],
        "raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}],
    },
    "1.1": {
        "bands": [
            {
                "name": "B04",
                "eo:common_name": "red",
                "raster:scale": 0.0001,
                "raster:offset": -0.1,
                "nodata": 0,
            }
        ]
    },
    "1.1 asset": {
        "bands": [{"name": "B04", "eo:common_name": "red"}],
        "raster:scale": 0.0001,
        "raster:offset": -0.1,
        "nodata": 0,
    },
    "0.7": {"eo:bands": [0], "raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]},
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_every_release_of_stac_says_the_same(tmp_path: Path, words: dict[str, Any]) -> None:
    raster(tmp_path / "x.tif")
    properties = {
        **DATED,
        "eo:cloud_cover": 12.5,
        "eo:bands": [{"name": "B04", "common_name": "red"}],
    }
    write_item(
        tmp_path, item("s", {"B04": {"href": "./x.tif", "type": "image/tiff", **words}}, properties)
    )
    scene = read_one(Archive(str(tmp_path)), ("red",))
    (band,) = scene.bands
    assert (band.name, band.index, band.dtype, band.scale, band.offset, band.nodata) == (
        "red",
        1,
        "uint16",
        0.0001,
        -0.1,
        0.0,
    )
    assert band.href == str(tmp_path / "x.tif")
    assert (scene.scene_id, scene.source, scene.crs, scene.cloud) == (
        "s",
        "stac",
        "EPSG:32633",
        12.5,
    )
    assert scene.datetime == datetime(2024, 6, 8, 10, 11, 12, tzinfo=UTC)
    assert scene.footprint == shapely.to_wkb(footprint(GRID))
    assert scene.gsd_m == pytest.approx(20, rel=1e-3)


@pytest.mark.parametrize(
    "crs",
    [
        {"proj:epsg": 32633},
        {"proj:code": "EPSG:32633"},
        {"proj:wkt2": parse_crs("EPSG:32633").to_wkt()},
    ],
)
def test_crs_of_the_item_is_held_against_the_raster(tmp_path: Path, crs: dict[str, Any]) -> None:
    raster(tmp_path / "red.tif")
    write_item(tmp_path, item("s", {"red": {"href": "red.tif"}}, DATED | crs))
    assert read_one(Archive(str(tmp_path))).crs == "EPSG:32633"
    write_item(
        tmp_path, item("s", {"red": {"href": "red.tif"}}, DATED | {"proj:code": "EPSG:32632"})
    )
    with pytest.raises(InputError, match=r"EPSG:32632.*EPSG:32633"):
        read_one(Archive(str(tmp_path)))


def make_two(folder: Path) -> None:
    for name in ("a", "b"):
        raster(folder / name / "red.tif")
        write_item(folder / name, item(name, {"red": {"href": "red.tif"}}))


def test_every_way_to_list_items_gives_the_same_scenes(tmp_path: Path) -> None:
    make_two(tmp_path)
    expected = read_all(Archive(str(tmp_path)))
    assert [s.scene_id for s in expected] == ["a", "b"]
    links = [{"rel": "item", "href": f"./{n}/{n}.json"} for n in ("b", "a")]
    top = [
        {"rel": "root", "href": "https://example.com/catalog.json"},
        {"rel": "self", "href": "./c.json"},
    ]
    write_item(
        tmp_path, {"type": "Collection", "stac_version": "1.0.0", "id": "c", "links": top + links}
    )
    # A catalog with a loop: the child names the catalog as its own child.
    child = [{"rel": "child", "href": "c.json"}, {"rel": "child", "href": "cat.json"}]
    write_item(tmp_path, {"type": "Catalog", "stac_version": "1.1.0", "id": "cat", "links": child})
    # Addresses in a list of items are relative to the list.
    features = [item(n, {"red": {"href": f"{n}/red.tif"}}) for n in ("a", "b")]
    write_item(tmp_path, {"type": "FeatureCollection", "id": "list", "features": features})
    # An array as programs write their lists.
    (tmp_path / "array.json").write_text(json.dumps(features))
    for name in ("c.json", "cat.json"):
        assert read_all(Archive(str(tmp_path / name))) == expected
    for name in ("list.json", "array.json"):
        assert [
            (s.scene_id, s.bands, s.datetime) for s in read_all(Archive(str(tmp_path / name)))
        ] == [(s.scene_id, s.bands, s.datetime) for s in expected]
    assert read_one(Archive(str(tmp_path / "a" / "a.json"))) == expected[0]


def test_a_feature_without_assets_in_a_list_of_items_is_an_item_that_fails(tmp_path: Path) -> None:
    make_two(tmp_path / "two")
    first = json.loads(next((tmp_path / "two").rglob("*.json")).read_text())
    without = {key: entry for key, entry in first.items() if key != "assets"} | {"id": "bare"}
    path = tmp_path / "two" / "list.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [first, without, 7]}))
    archive = Archive(str(path), source="stac")
    items = list(registry.source_of(archive).items(archive))
    assert [item.key for item in items] == [
        f"list.json#{first['id']}",
        "list.json#bare",
        "list.json#2",
    ]
    for bad in items[1:]:
        with pytest.raises(InputError, match="must be a Feature with assets"):
            registry.source_of(archive).read(bad, archive, ())
    # Also where it lies in a file of its own, beside good ones.
    bare = tmp_path / "two" / "bare.json"
    for lack in ({"assets": ...}, {"type": "feature"}):
        bare.write_text(json.dumps({k: v for k, v in (first | lack).items() if v is not ...}))
        alone = Archive(str(tmp_path / "two"))
        (found,) = [i for i in registry.source_of(alone).items(alone) if i.key == "bare.json"]
        with pytest.raises(InputError, match="must be a Feature with assets"):
            registry.source_of(alone).read(found, alone, ())
    # Other features, such as labels, are no scenes.
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [without]}))
    assert not list(registry.source_of(archive).items(archive))


def test_names_come_from_the_run_file_then_common_names_then_keys(tmp_path: Path) -> None:
    names = ("red", "red-jp2", "re1", "re2", "B8A", "visual", "thumb", "MTL", "scl")
    for name in names:
        raster(tmp_path / f"{name}.tif", 3 if name == "visual" else 1)
    common = {"red": "red", "red-jp2": "red", "re1": "rededge", "re2": "rededge", "B8A": "nir08"}
    assets: dict[str, Any] = {
        n: {"href": f"{n}.tif", "eo:bands": [{"name": n, "common_name": c}]}
        for n, c in common.items()
    }
    assets |= {
        "visual": {
            "href": "visual.tif",
            "eo:bands": [{"name": n, "common_name": n} for n in ("red", "green", "blue")],
        }
    }
    assets |= {
        "thumb": {"href": "thumb.tif", "roles": ["thumbnail"]},
        "MTL": {"href": "MTL.tif", "type": "application/xml"},
    }
    assets |= {"scl": {"href": "scl.tif"}}
    write_item(tmp_path, item("s", assets))
    archive = Archive(str(tmp_path), quality="scl", clear=(4, 5))
    scene = read_one(archive)
    found = {b.name: (Path(b.href).stem, b.index) for b in scene.bands}
    assert found["red"] == ("red", 1)
    assert found["nir08"] == ("B8A", 1)
    assert {"re1", "re2", "red-jp2"} <= set(found)
    # The green of a picture is no reflectance: it is taken by the picture's name alone.
    assert not {"thumb", "MTL", "rededge", "green", "visual.2"} & set(found)
    (quality,) = scene.quality
    assert (Path(quality.href).stem, quality.kind, scene.clear) == (
        "scl",
        "quality",
        (Clear("quality", (4, 5)),),
    )
    mapped = read_one(
        replace(archive, bands={"B8A": "nir", "re2": "rededge", "visual.3": "blue"}),
        ("nir", "rededge", "blue", "visual.2"),
    )
    assert [(b.name, Path(b.href).stem, b.index) for b in mapped.bands] == [
        ("nir", "B8A", 1), ("rededge", "re2", 1), ("blue", "visual", 3), ("visual.2", "visual", 2),
        ("quality", "scl", 1),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"no band swir16.*it has.*nir08.*scenes\.bands"):
        read_one(archive, ("swir16",))
    with pytest.raises(InputError, match=r"no quality asset 'qa'.*scl"):
        read_one(replace(archive, quality="qa"), ("red",))


def test_an_asset_without_band_records_is_named_by_its_file(tmp_path: Path) -> None:
    raster(tmp_path / "rgb.tif", 3, photometric="RGB")
    write_item(tmp_path, item("s", {"pixels": {"href": "rgb.tif"}}))
    assert [(b.name, b.index) for b in read_one(Archive(str(tmp_path)), ("red", "blue")).bands] == [
        ("red", 1),
        ("blue", 3),
    ]


def test_only_the_files_of_wanted_bands_are_opened(tmp_path: Path) -> None:
    raster(tmp_path / "red.tif")
    assets = {n: {"href": f"{n}.tif", "eo:bands": [{"common_name": n}]} for n in ("red", "nir")}
    write_item(tmp_path, item("s", assets))
    assert [b.name for b in read_one(Archive(str(tmp_path)), ("red",)).bands] == ["red"]
    with pytest.raises(InputError, match=r"nir\.tif"):
        read_one(Archive(str(tmp_path)), ("red", "nir"))


def test_the_archive_record_has_the_last_word_but_not_on_quality(tmp_path: Path) -> None:
    raster(tmp_path / "red.tif")
    raster(tmp_path / "qa.tif")
    write_item(
        tmp_path,
        item(
            "s",
            {
                "red": {"href": "red.tif", "raster:bands": [{"scale": 2, "nodata": "nan"}]},
                "qa": {"href": "qa.tif"},
            },
        ),
    )
    red, quality = read_one(
        Archive(str(tmp_path), quality="qa", scale=0.5, offset=3, nodata=9), ("red",)
    ).bands
    assert (red.scale, red.offset, red.nodata) == (0.5, 3, 9)
    assert (quality.scale, quality.offset, quality.nodata) == (1, 0, None)
    assert np.isnan(read_one(Archive(str(tmp_path)), ("red",)).bands[0].nodata or 0)


def test_bands_of_several_resolutions_give_the_finest_grid(tmp_path: Path) -> None:
    raster(tmp_path / "coastal.tif", grid=COARSE)
    raster(tmp_path / "red.tif")
    write_item(tmp_path, item("s", {n: {"href": f"{n}.tif"} for n in ("coastal", "red")}))
    scene = read_one(Archive(str(tmp_path)))
    assert scene.gsd_m == pytest.approx(20, rel=1e-3)
    assert scene.footprint == shapely.to_wkb(footprint(GRID))


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (
            {
                "datetime": None,
                "start_datetime": "2020-01-15T11:00:00Z",
                "end_datetime": "2020-01-16T11:00:00Z",
            },
            datetime(2020, 1, 15, 23, tzinfo=UTC),
        ),
        ({"datetime": "2013-04-19"}, datetime(2013, 4, 19, tzinfo=UTC)),
        (
            {"datetime": "2024-06-08T12:11:12.345+02:00"},
            datetime(2024, 6, 8, 10, 11, 12, 345000, tzinfo=UTC),
        ),
    ],
)
def test_times(tmp_path: Path, properties: dict[str, Any], expected: datetime) -> None:
    raster(tmp_path / "red.tif")
    write_item(tmp_path, item("s", {"red": {"href": "red.tif"}}, properties))
    assert read_one(Archive(str(tmp_path))).datetime == expected


HOSTILE = [
    "file:///etc/passwd",
    "file://evil.example/x.tif",
    "/etc/passwd",
    "../outside.tif",
    "a/../../outside.tif",
    "%2e%2e/outside.tif",
    "/vsicurl/http://example.com/x.tif",
    "/vsizip/x.zip/x.tif",
    "vsi:x",
    "NETCDF:x.nc:v",
    "GTIFF_RAW:x.tif",
    "ftp://example.com/x.tif",
    "//example.com/x.tif",
    "http://127.0.0.1/x.tif",
    "http://127.1/x.tif",
    "http://2130706433/x.tif",
    "http://0x7f000001/x.tif",
    "https://169.254.169.254/latest/meta-data/x.tif",
    "http://10.1.2.3/x.tif",
    "http://[::1]/x.tif",
    "http://[fd00::1]/x.tif",
    "http://[::ffff:127.0.0.1]/x.tif",
    "http://localhost:8080/x.tif",
    "http://metadata.google.internal/x.tif",
    "http://user@127.0.0.1/x.tif",
    "",
    "link.tif",
]


@pytest.mark.parametrize("href", HOSTILE)
def test_hrefs_that_lead_elsewhere_are_refused(tmp_path: Path, href: str) -> None:
    raster(tmp_path / "outside.tif")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "link.tif").symlink_to(tmp_path / "outside.tif")
    write_item(tmp_path / "archive", item("s", {"red": {"href": href, "type": "image/tiff"}}))
    with pytest.raises(InputError, match=r"archive|address|opened"):
        read_one(Archive(str(tmp_path / "archive"), source="stac"), ("red",))


def test_links_of_a_collection_that_lead_elsewhere_become_items_that_fail(tmp_path: Path) -> None:
    raster(tmp_path / "in" / "red.tif")
    write_item(tmp_path / "in", item("good", {"red": {"href": "red.tif"}}))
    write_item(tmp_path, item("out", {"red": {"href": "in/red.tif"}}))
    hrefs = ["../out.json", "https://example.com/x.json", "good.json", "gone.json"]
    write_item(
        tmp_path / "in",
        {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": "c",
            "links": [{"rel": "item", "href": h} for h in hrefs],
        },
    )
    archive = Archive(str(tmp_path / "in" / "c.json"))
    scene_ids = {}
    for found in SOURCES["stac"].items(archive):
        try:
            scene_ids[found.key] = SOURCES["stac"].read(found, archive, ()).scene_id
        except InputError:
            scene_ids[found.key] = "refused"
    assert scene_ids == {
        "../out.json": "refused",
        "gone.json": "refused",
        "good.json": "good",
        "https://example.com/x.json": "refused",
    }


def test_public_addresses_pass_and_a_copy_beside_the_item_is_taken(tmp_path: Path) -> None:
    assert (
        resolve_href("https://example.com/a/red.tif?sig=1", tmp_path, tmp_path)
        == "https://example.com/a/red.tif?sig=1"
    )
    assert resolve_href("s3://bucket/red.tif", tmp_path, tmp_path) == "s3://bucket/red.tif"
    path = raster(tmp_path / "red.tif")
    assert resolve_href("https://example.com/a/red.tif?sig=1", tmp_path, tmp_path) == str(path)
    assert resolve_href(path.as_uri(), tmp_path, tmp_path) == str(path)


def test_messages_do_not_show_signatures() -> None:
    with pytest.raises(InputError) as caught:
        resolve_href("ftp://example.com/x.tif?token=SECRET", Path("/a"), Path("/a"))
    assert "SECRET" not in str(caught.value)


def test_a_crs_that_lies_is_found(tmp_path: Path) -> None:
    raster(tmp_path / "red.tif")
    far = replace(GRID, crs="EPSG:32633", transform=(20.0, 0.0, 500_000.0, 0.0, -20.0, 5_800_000.0))
    write_item(tmp_path, item("s", {"red": {"href": "red.tif"}}, grid=far))
    with pytest.raises(InputError, match="one of them is wrong"):
        read_one(Archive(str(tmp_path)))
    raster(tmp_path / "metres" / "m.tif", grid=replace(GRID, crs="EPSG:4326"))
    with pytest.raises(InputError, match="true CRS"):
        read_one(Archive(str(tmp_path / "metres")))


@pytest.mark.parametrize(
    "change",
    [
        {"properties": {}},
        {"properties": {"datetime": "yesterday"}},
        {"properties": [1]},
        {"geometry": {"type": "Polygon"}},
        {"assets": []},
        {"assets": {}},
        {"assets": {"red": {"href": 7}}},
        {"assets": {"red": "x.tif"}},
        {"assets": {"red": {"href": "red.tif", "eo:bands": [3]}}},
        {"assets": {"red": {"href": "red.tif", "raster:bands": [{"scale": "one"}]}}},
    ],
)
def test_broken_items_are_refused_as_input(tmp_path: Path, change: dict[str, Any]) -> None:
    raster(tmp_path / "red.tif")
    write_item(tmp_path, item("s", {"red": {"href": "red.tif"}}) | change)
    with pytest.raises(InputError):
        read_one(Archive(str(tmp_path), source="stac"), ("red",))


def test_json_cut_short_is_an_item_that_fails(tmp_path: Path) -> None:
    make_two(tmp_path)
    cut_short(tmp_path / "b" / "b.json")
    archive = Archive(str(tmp_path))
    good, bad = SOURCES["stac"].items(archive)
    assert SOURCES["stac"].read(good, archive, ()).scene_id == "a"
    with pytest.raises(InputError, match=r"b\.json"):
        SOURCES["stac"].read(bad, archive, ())


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    make_two(tmp_path / "one")
    before = [s.fingerprint for s in read_all(Archive(str(tmp_path / "one")))]
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert [s.fingerprint for s in read_all(Archive(str(tmp_path / "two")))] == before
    raster(tmp_path / "two" / "b" / "red.tif", compress="lzw")
    after = [s.fingerprint for s in read_all(Archive(str(tmp_path / "two")))]
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert read_all(Archive(str(tmp_path / "one"), scale=2.0))[0].fingerprint != before[0]


def test_files_are_scenes_with_their_own_band_names_and_dates(tmp_path: Path) -> None:
    raster(tmp_path / "plain_20240608.tif", 2)
    raster(tmp_path / "deep" / "rgb 2024-06-09.TIF", 3, photometric="RGB")
    raster(tmp_path / "undated.tif")
    (tmp_path / "read.me").write_text("no scene")
    found = {s.scene_id: s for s in read_all(Archive(str(tmp_path)))}
    assert sorted(found) == ["deep/rgb 2024-06-09", "plain_20240608", "undated"]
    assert [b.name for b in found["plain_20240608"].bands] == ["b1", "b2"]
    assert [b.name for b in found["deep/rgb 2024-06-09"].bands] == ["red", "green", "blue"]
    assert found["plain_20240608"].datetime == datetime(2024, 6, 8, tzinfo=UTC)
    assert (found["undated"].datetime, found["undated"].source) == (None, "geotiff")
    mapped = read_one(
        Archive(str(tmp_path / "plain_20240608.tif"), bands={"1": "red", "b2": "nir"}),
        ("nir", "red"),
    )
    assert [(b.name, b.index) for b in mapped.bands] == [("nir", 2), ("red", 1)]


def test_pattern_groups_files_into_scenes(tmp_path: Path) -> None:
    for name in (
        "S2A_2024-06-08_B4",
        "S2A_2024-06-08_B8",
        "S2A_20240611_B4",
        "S2B_20240611_B4",
        "S2B_20240611_qa",
        "other_B4",
    ):
        raster(tmp_path / f"{name}.tif")
    archive = Archive(
        str(tmp_path), pattern="{scene}_{date}_{band}.tif", bands={"B4": "red", "B8": "nir"}
    )
    found = {s.scene_id: [b.name for b in s.bands] for s in read_all(archive)}
    assert found == {
        "S2A_2024-06-08": ["red", "nir"],
        "S2A_20240611": ["red"],
        "S2B_20240611": ["red", "qa"],
    }
    with pytest.raises(InputError, match="no band nir; it has red"):
        read_all(archive, ("red", "nir"))
    (*_, checked) = (i for i in SOURCES["geotiff"].items(archive) if "S2B" in i.key)
    scene = SOURCES["geotiff"].read(checked, replace(archive, quality="qa", clear=(1,)), ("red",))
    assert [(b.name, b.kind) for b in scene.bands] == [
        ("red", "continuous"),
        ("quality", "quality"),
    ]
    assert scene.clear == (Clear("quality", (1,)),)


def test_pattern_with_folders_and_repeats(tmp_path: Path) -> None:
    for scene in ("x", "y"):
        raster(tmp_path / scene / f"{scene}_red.tif")
    raster(tmp_path / "x" / "y_nir.tif")
    raster(tmp_path / "y" / "x_red.tif")
    found = read_all(Archive(str(tmp_path), pattern="{scene}/{scene}_{band}.tif"))
    assert [(s.scene_id, s.bands[0].name) for s in found] == [("x", "red"), ("y", "red")]
    with pytest.raises(InputError, match=r"add \{scene\} or \{date\}"):
        read_all(Archive(str(tmp_path), pattern="x_{band}.tif"))
    with pytest.raises(UsageError, match=r"\{tile\}"):
        read_all(Archive(str(tmp_path), pattern="{tile}.tif"))


def test_what_is_found_decides_the_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        registry.source_of(Archive(str(tmp_path / "none")))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "regions.json").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputError, match=r"1 \.txt, 1 \.json; accepted"):
        registry.source_of(Archive(str(tmp_path)))
    raster(tmp_path / "red.tif")
    assert registry.source_of(Archive(str(tmp_path))).name == "geotiff"
    write_item(tmp_path, item("s", {"red": {"href": "red.tif"}}))
    assert registry.source_of(Archive(str(tmp_path))).name == "stac"
    assert registry.source_of(Archive(str(tmp_path), source="geotiff")).name == "geotiff"


def test_a_vrt_named_tif_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_text(
        '<VRTDataset rasterXSize="1" rasterYSize="1"><SRS>EPSG:4326</SRS></VRTDataset>'
    )
    with pytest.raises(InputError, match=r"x\.tif"):
        read_one(Archive(str(tmp_path)))


def test_layers_have_no_date_and_their_own_source(tmp_path: Path) -> None:
    scene = read_layer(LayerConf(str(raster(tmp_path / "dem.tif")), "elevation"))
    assert (scene.scene_id, scene.source, scene.datetime) == ("layer:elevation", "layer", None)
    assert [b.name for b in scene.bands] == ["elevation"]


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2099, 12, 31)),
    st.sampled_from(["%Y%m%d", "%Y-%m-%d", "%Y%m%dT%H%M%S"]),
)
def test_dates_in_names_are_found(when: datetime, form: str) -> None:
    found = times.find_date(f"LC08_017036_{when.strftime(form)}_20200913_02")
    assert found is not None
    assert found.date() == when.date()
    if "H" in form:
        assert found.replace(tzinfo=None) == when.replace(microsecond=0)


@pytest.mark.parametrize(
    "text", ["", "tile_0123", "20241399", "120240608", "2024-0608", "99990101"]
)
def test_numbers_that_are_no_dates(text: str) -> None:
    assert times.find_date(text) is None


def test_zion_as_published(shared: Path) -> None:
    scene = read_one(Archive(str(shared / "zion")), ("blue", "green", "red", "nir08"))
    assert (scene.scene_id, scene.crs, [b.nodata for b in scene.bands]) == (
        "LC80380342015230LGN00",
        "EPSG:32612",
        [65535.0] * 4,
    )
    assert [Path(b.href).name for b in scene.bands] == [f"landsat_b{n}.tif" for n in (2, 3, 4, 5)]


def test_gewata_is_one_scene_by_its_pattern(shared: Path) -> None:
    names = {"B1": "blue", "B2": "green", "B3": "red", "B4": "nir", "B5": "swir16", "B7": "swir22"}
    scene = read_one(
        Archive(str(shared / "gewata"), pattern="Gewata{band}.tif", bands=names),
        tuple(names.values()),
    )
    assert ([b.name for b in scene.bands], scene.datetime, scene.source) == (
        list(names.values()),
        None,
        "geotiff",
    )


def test_boadella_is_ten_dates_of_twelve_bands(shared: Path) -> None:
    scenes = read_all(Archive(str(shared / "boadella")))
    assert [s.scene_id for s in scenes] == sorted(s.scene_id for s in scenes)
    assert len({s.datetime for s in scenes}) == 10
    assert {len(s.bands) for s in scenes} == {12}


def test_landsat_items_of_stac_0_7_find_the_files_beside_them(shared: Path) -> None:
    (folder,) = (shared / "landsat_c2").iterdir()
    archive = Archive(
        str(next(folder.glob("*_SR_stac.json"))), quality="QA_PIXEL.TIF", clear=(21824,)
    )
    scene = read_one(archive, ("blue", "red", "nir08", "swir22"))
    assert [Path(b.href).stem[-5:] for b in scene.bands[:4]] == ["SR_B2", "SR_B4", "SR_B5", "SR_B7"]
    assert (scene.cloud, scene.crs, scene.datetime) == (
        100.0,
        "EPSG:32617",
        datetime(2013, 4, 19, tzinfo=UTC),
    )


def test_linz_item_has_an_interval_for_a_time(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "linz" / "BX18_500_054089.json", tmp_path)
    content = json.loads((tmp_path / "BX18_500_054089.json").read_text())
    x, y = transformer(WGS84, "EPSG:2193").transform(*content["geometry"]["coordinates"][0][0])
    grid = Grid("EPSG:2193", (4.0, 0.0, x - 20, 0.0, -4.0, y + 20), 64, 64)
    write_raster(
        tmp_path / "BX18_500_054089.tiff", np.ones((3, 64, 64), "uint8"), grid, photometric="RGB"
    )
    scene = read_one(Archive(str(tmp_path)), ("red", "green", "blue"))
    # The day of New Zealand's summer time, by its middle.
    assert scene.datetime == datetime(2020, 1, 15, 23, tzinfo=UTC)
    assert [b.index for b in scene.bands] == [1, 2, 3]

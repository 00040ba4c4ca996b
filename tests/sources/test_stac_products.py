"""STAC items of known products: quality masks, reflectance, and the finest band is taken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from lulc.config import Archive, Condition
from lulc.errors import InputError
from lulc.geo import grid
from lulc.geo.grid import Grid
from lulc.sources import registry
from lulc.sources.scene import Clear, Scene
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 48, 64)


def write_item(folder: Path, assets: dict[str, dict[str, Any]], **properties: Any) -> Archive:
    outline = shapely.geometry.mapping(grid.footprint(GRID))
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "s",
        "geometry": outline,
        "links": [],
        "assets": {},
        "properties": {"datetime": "2024-06-08T10:11:12Z", **properties},
    }
    for key, fields in assets.items():
        path = folder / fields.get("href", f"{key}.tif")
        count = max(1, *(len(fields.get(records, ())) for records in ("bands", "eo:bands")))
        driver = "JP2OpenJPEG" if path.suffix == ".jp2" else "GTiff"
        write_raster(path, np.ones((count, *GRID.shape), "uint16"), GRID, driver=driver)
        item["assets"][key] = {
            "href": path.name,
            "type": "image/tiff; application=geotiff",
        } | fields
    (folder / "item.json").write_text(json.dumps(item))
    return Archive(str(folder / "item.json"))


def read(archive: Archive, *bands: str) -> Scene:
    source = registry.source_of(archive)
    return source.read(next(source.items(archive)), archive, bands)


def passing(scene: Scene, values: np.ndarray) -> list[int]:
    clear = np.logical_and.reduce([test.passes(values) for test in scene.clear])
    return [int(v) for v in values[clear]]


@pytest.mark.parametrize("key", ["scl", "SCL", "SCL_20m"])
def test_scene_classification_masks_by_default(tmp_path: Path, key: str) -> None:
    archive = write_item(tmp_path, {"red": {}, key: {}})
    codes = np.arange(12)
    assert passing(read(archive, "red"), codes) == [2, 4, 5, 6, 7, 11]
    assert [(b.name, b.kind, Path(b.href).name) for b in read(archive, "red").quality] == [
        ("quality", "quality", f"{key}.tif")
    ]
    masks: list[tuple[tuple[Condition, ...], list[int]]] = [
        (("snow", "water"), [1, 2, 3, 4, 5, 7, 8, 9, 10]),
        (("cloud",), [1, 2, 3, 4, 5, 6, 7, 10, 11]),
    ]
    for mask, expected in masks:
        assert passing(read(replace(archive, mask=mask), "red"), codes) == expected
    bare = read(replace(archive, mask=()), "red")
    assert (bare.quality, bare.clear) == ((), ())
    own = read(replace(archive, quality=key, clear=(4,)), "red")
    assert own.clear == (Clear("quality", (4,)),)


@pytest.mark.parametrize("key", ["qa_pixel", "QA_PIXEL.TIF"])
def test_qa_pixel_masks_by_default(tmp_path: Path, key: str) -> None:
    archive = write_item(tmp_path, {"red": {}, key: {}})
    # LSDS-1619, pixel quality assessment value interpretations. Clouds of medium confidence (22080,
    # 22144) are clear by its bits.
    values = np.array(
        [
            1,
            21824,
            21826,
            21890,
            21952,
            22080,
            22144,
            22280,
            23888,
            23952,
            24088,
            30048,
            54596,
            54852,
            55052,
        ]
    )
    assert passing(read(archive, "red"), values) == [21824, 21952, 22080, 22144, 30048]
    assert passing(
        read(replace(archive, mask=("water", "snow")), "red"), np.array([1, 21824, 21952, 30048])
    ) == [21824]


@pytest.mark.parametrize("key", ["scl", "SCL_20m", "qa_pixel", "SR_QA_AEROSOL.TIF", "cloud_qa"])
def test_codes_that_are_asked_for_are_not_interpolated(tmp_path: Path, key: str) -> None:
    archive = replace(write_item(tmp_path, {"red": {}, key: {}}), mask=())
    assert [band.kind for band in read(archive, "red", key).bands] == ["continuous", "class"]


def test_saturation_that_an_item_does_not_show_is_told(tmp_path: Path) -> None:
    archive = write_item(tmp_path, {"red": {}, "qa_pixel": {}}, platform="landsat-5")
    assert dict(read(archive, "red").properties)["unmasked"] == "cirrus saturated"
    assets: dict[str, dict[str, Any]] = {"red": {}, "qa_pixel": {}, "qa_radsat": {}}
    full = write_item(tmp_path, assets, platform="landsat-9")
    assert "unmasked" not in dict(read(full, "red").properties)
    assert [band.name for band in read(full).bands] == ["red", "quality", "saturation"]


@pytest.mark.parametrize("product", ["MOD10A2", "MOD11A1", "MCD64A1"])
def test_a_modis_item_whose_layers_are_not_known_is_refused_by_name(
    tmp_path: Path, product: str
) -> None:
    archive = write_item(tmp_path, {"Maximum_Snow_Extent": {}})
    text = Path(archive.path).read_text()
    modis_id = f'"id": "{product}.A2022017.h12v11.061.2022034232400"'
    Path(archive.path).write_text(text.replace('"id": "s"', modis_id))
    with pytest.raises(InputError, match=rf"product {product}, .*accepted are MCD12Q1"):
        read(archive)


def test_a_quality_asset_that_was_not_fetched_is_named_with_the_remedy(tmp_path: Path) -> None:
    archive = write_item(tmp_path, {"red": {}, "scl": {}})
    (tmp_path / "scl.tif").unlink()
    with pytest.raises(InputError, match=r"scl\.tif.*scenes\.mask to \[\]"):
        read(archive, "red")
    assert read(replace(archive, mask=()), "red").clear == ()


SENTINEL2 = {"eo:bands": [{"name": "B04", "common_name": "red"}]}
SCALED = {"raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]}


@pytest.mark.parametrize(
    ("asset", "properties", "expected"),
    [
        (SENTINEL2, {"s2:processing_baseline": "05.10"}, (0.0001, -0.1, 0.0)),
        (SENTINEL2, {"s2:processing_baseline": "04.00"}, (0.0001, -0.1, 0.0)),
        (SENTINEL2, {"s2:processing_baseline": "02.14"}, (0.0001, 0.0, 0.0)),
        (
            SENTINEL2 | SCALED,
            {"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": True},
            (0.0001, 0.0, 0.0),
        ),
        (
            SENTINEL2 | SCALED,
            {"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": False},
            (0.0001, -0.1, 0.0),
        ),
        (
            SENTINEL2,
            {"sentinel:processing_baseline": "04.00", "sentinel:boa_offset_applied": True},
            (0.0001, 0.0, 0.0),
        ),
        (
            {"href": "LC09_L2SP_x_SR_B4.TIF"},
            {"landsat:collection_number": "02"},
            (2.75e-05, -0.2, 0.0),
        ),
        (
            {"href": "LC09_L2SP_x_ST_B10.TIF"},
            {"landsat:collection_number": "02"},
            (0.00341802, 149.0, 0.0),
        ),
        ({"href": "LC09_L1TP_x_B4.TIF"}, {"landsat:collection_number": "02"}, (1.0, 0.0, None)),
        ({}, {}, (1.0, 0.0, None)),
    ],
)
def test_numbers_become_physical_where_items_leave_it_out(
    tmp_path: Path,
    asset: dict[str, Any],
    properties: dict[str, Any],
    expected: tuple[float, float, float | None],
) -> None:
    (band,) = read(write_item(tmp_path, {"red": asset}, **properties), "red").bands
    assert (band.scale, band.offset, band.nodata) == expected


@pytest.mark.parametrize(
    ("asset", "properties", "unit"),
    [
        (SENTINEL2, {"s2:product_type": "S2MSI2A"}, "surface_reflectance"),
        (SENTINEL2, {"s2:product_uri": "S2B_MSIL1C_2024.SAFE"}, "toa_reflectance"),
        (SENTINEL2, {}, ""),
        (
            {"href": "LC09_L2SP_x_SR_B4.TIF"},
            {"landsat:collection_number": "02"},
            "surface_reflectance",
        ),
        ({"href": "LC09_L2SP_x_ST_B10.TIF"}, {"landsat:collection_number": "02"}, "kelvin"),
        ({}, {}, ""),
    ],
)
def test_units_are_those_of_the_product(
    tmp_path: Path, asset: dict[str, Any], properties: dict[str, Any], unit: str
) -> None:
    level = {"s2:processing_baseline": "05.10"} if asset is SENTINEL2 else {}
    archive = write_item(tmp_path, {"red": asset}, **level, **properties)
    assert read(archive, "red").bands[0].unit == unit
    assert read(replace(archive, units={"red": "index"}), "red").bands[0].unit == "index"


def test_an_offset_that_only_the_product_tells_is_asked_for(tmp_path: Path) -> None:
    archive = write_item(tmp_path, {"red": SENTINEL2}, **{"s2:processing_baseline": "99.99"})
    with pytest.raises(InputError, match=r"offset nan: give the true ones under scenes\.scale"):
        read(archive, "red")
    for offset in (0.0, -0.1):
        assert read(replace(archive, offset=offset), "red").bands[0].offset == offset


def test_of_one_band_at_several_resolutions_the_finest_is_taken(tmp_path: Path) -> None:
    band = {"bands": [{"name": "B04", "eo:common_name": "red"}]}
    assets = {f"B04_{m}m": band | {"gsd": m} for m in (20, 10, 60)} | {
        f"SCL_{m}m": {"gsd": m} for m in (60, 20)
    }
    scene = read(write_item(tmp_path, assets), "red")
    assert [(b.name, Path(b.href).stem) for b in scene.bands] == [
        ("red", "B04_10m"),
        ("quality", "SCL_20m"),
    ]
    assert (
        read(replace(write_item(tmp_path, assets), bands={"B04": "r"}), "r")
        .bands[0]
        .href.endswith("B04_10m.tif")
    )


PICTURE = [{"name": "B04"}, {"name": "B03"}, {"name": "B02"}]


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("visual", {"roles": ["data"]}),
        ("TCI_10m", {}),
        ("overview", {"roles": ["overview"]}),
        ("true_colour", {"bands": PICTURE}),
        ("composite", {"roles": ["visual"]}),
        ("composite", {"raster:bands": [{"data_type": "uint8"}]}),
    ],
)
def test_a_picture_is_no_data_unless_asked_for(
    tmp_path: Path, key: str, fields: dict[str, Any]
) -> None:
    deep = {"raster:bands": [{"data_type": "uint16", "scale": 0.0001}]}
    own = {"B02": deep | {"eo:bands": [{"name": "B02"}]}}
    assets = {key: {"eo:bands": PICTURE} | fields, "B03": deep, "band4": {}} | own
    archive = write_item(tmp_path, assets, **{"s2:processing_baseline": "05.10"})
    scene = read(archive, "B02", "B03")
    assert [(b.name, Path(b.href).stem, b.scale) for b in scene.bands] == [
        ("B02", "B02", 0.0001),
        ("B03", "B03", 0.0001),
    ]
    if "data_type" not in str(fields):
        # Its band is not taken where the band's own asset is not there either.
        with pytest.raises(InputError, match="no band B04; it has"):
            read(archive, "B04")
    assert Path(read(replace(archive, bands={f"{key}.3": "b"}), "b").bands[0].href).stem == key
    assert not {band.name for band in read(archive).bands} & {"B04", "b4", f"{key}.1"}


def test_a_picture_is_the_data_of_an_item_that_has_nothing_else(tmp_path: Path) -> None:
    picture = {"visual": {"eo:bands": [{"name": n, "common_name": n} for n in ("red", "green")]}}
    preview = {"thumbnail": {"roles": ["thumbnail"]}}
    aerial = write_item(tmp_path, picture | preview, platform="aircraft")
    assert [(b.name, Path(b.href).stem) for b in read(aerial).bands] == [
        ("green", "visual"),
        ("red", "visual"),
    ]
    for properties in ({"platform": "Sentinel-2A"}, {"constellation": "landsat"}):
        satellite = write_item(tmp_path, picture | preview, **properties)
        with pytest.raises(InputError, match=r"no band red; it has visual\.1"):
            read(satellite, "red")


def test_of_twins_the_one_of_that_name_and_the_finest_is_taken(tmp_path: Path) -> None:
    band = {"eo:bands": [{"name": "B02", "common_name": "blue"}]}
    # All are of a sensor of 10 m, whatever the pixels of the copy.
    sides = {f"B02_{m}m": band | {"gsd": 10} for m in (60, 20, 10)}
    for name in ("B02", "blue"):
        assert Path(read(write_item(tmp_path, sides), name).bands[0].href).stem == "B02_10m"
    scaled = band | {"raster:bands": [{"scale": 0.0001, "offset": -0.1}]}
    twins: dict[str, dict[str, Any]] = {
        "b2-jp2": scaled | {"href": "blue.jp2", "type": "image/jp2"},
        "b2": scaled,
    }
    (tmp_path / "twins").mkdir()
    archive = write_item(tmp_path / "twins", twins, **{"earthsearch:boa_offset_applied": True})
    for name in ("B02", "blue"):
        # The offset is subtracted from the GeoTIFF alone.
        assert [(Path(b.href).name, b.offset) for b in read(archive, name).bands] == [("b2.tif", 0)]
    original = read(archive, "b2-jp2").bands[0]
    assert (Path(original.href).name, original.offset) == ("blue.jp2", -0.1)


def test_red_edges_have_their_names_by_wavelength_and_bands_their_own_names(tmp_path: Path) -> None:
    bands = {
        "B05": ("rededge", 0.704),
        "B06": ("rededge", 0.74),
        "B07": ("rededge", 0.783),
        "B8A": ("nir08", 0.865),
    }
    assets = {
        f"re{n}": {"eo:bands": [{"name": n, "common_name": common, "center_wavelength": um}]}
        for n, (common, um) in bands.items()
    }
    archive = write_item(tmp_path, assets)
    wanted = {
        "rededge071": "reB05",
        "rededge075": "reB06",
        "rededge078": "reB07",
        "nir08": "reB8A",
        "B8A": "reB8A",
        "reB06": "reB06",
    }
    scene = read(archive, *wanted)
    assert {b.name: Path(b.href).stem for b in scene.bands} == wanted
    assert {b.name for b in read(archive).bands} == {
        "rededge071",
        "rededge075",
        "rededge078",
        "nir08",
    }


@pytest.mark.parametrize("number", [1e30, -1e6, 541])
def test_a_geometry_that_is_not_in_degrees_is_refused_at_once(
    tmp_path: Path, number: float
) -> None:
    archive = write_item(tmp_path, {"red": {}})
    item = json.loads(Path(archive.path).read_text())
    item["geometry"]["coordinates"][0][3][0] = number
    Path(archive.path).write_text(json.dumps(item))
    with pytest.raises(InputError, match=r"geometry is not a valid one .*are not degrees"):
        read(archive, "red")


def test_what_else_is_known_of_a_scene(tmp_path: Path) -> None:
    properties = {
        "view:sun_elevation": 51.5,
        "view:sun_azimuth": 150,
        "platform": "sentinel-2b",
        "grid:code": "MGRS-33UXP",
    }
    scene = read(
        write_item(tmp_path, {"red": {}}, **properties, **{"s2:processing_baseline": "05.10"}),
        "red",
    )
    assert dict(scene.properties) == {
        "sun_elevation_deg": "51.5",
        "sun_azimuth_deg": "150",
        "platform": "sentinel-2b",
        "tile": "MGRS-33UXP",
        "processing_baseline": "05.10",
        "unmasked": "cloud shadow cirrus saturated",
    }


@pytest.mark.parametrize("baseline", ["N0500", "05.00", "0500", 5.0])
def test_baselines_are_read_in_every_form(tmp_path: Path, baseline: object) -> None:
    archive = write_item(
        tmp_path,
        {"B04": {"eo:bands": [{"name": "B04", "common_name": "red"}]}},
        **{"s2:processing_baseline": baseline},
    )
    (band,) = read(archive, "red").bands
    assert (band.scale, band.offset, band.nodata) == (1e-4, -0.1, 0.0)


DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not DATA.exists(), reason="../shared/data is not there")
def test_real_items_with_and_without_quality() -> None:
    zion = read(Archive(str(DATA / "zion" / "LC80380342015230LGN00.json")), "blue", "nir08")
    assert (zion.quality, zion.clear, zion.bands[0].scale) == ((), (), 1.0)
    landsat = read(
        Archive(str(next((DATA / "landsat_c2").rglob("*_SR_stac.json"))), source="stac"),
        "red",
        "nir08",
    )
    assert [(b.name, b.nodata, Path(b.href).name[-13:]) for b in landsat.quality] == [
        ("quality", None, "_QA_PIXEL.TIF"),
        ("saturation", None, "QA_RADSAT.TIF"),
    ]
    assert [(b.scale, b.offset, b.nodata) for b in landsat.bands[:2]] == [(2.75e-05, -0.2, 0.0)] * 2

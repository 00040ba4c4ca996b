"""Landsat products in their true layout: three MTL forms, both levels, folders, tars; damage."""

from __future__ import annotations

import json
import math
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely

from lulc.bands import Band
from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.sources import registry
from lulc.sources.scene import Scene, scenes_from_table, scenes_to_table
from tests.helpers.synthetic_scenes import (
    cut_short,
    physical_values,
    texture,
    valid_pixels,
    write_raster,
)

REAL = Path(__file__).parents[3] / "shared/data/landsat_c2"
GRID = Grid("EPSG:32616", (30.0, 0.0, 559_485.0, 0.0, -30.0, 4_890_015.0), 40, 50)
TM5 = "LT05_L2SP_010067_19860424_20200918_02_T2"
ETM7 = "LE07_L1TP_021030_20100109_20200911_02_T1"
OLI9 = "LC09_L2SP_010065_20220129_20220131_02_T1"
OLI8_C1 = "LC08_L1TP_090084_20160121_20170405_01_T1"
ELEVATION = 21.38957268

Groups = dict[str, dict[str, Any]]


def quality(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 12, GRID.shape, "uint16")


def say(product: str, sensor: str, keys: list[str], **image: Any) -> Groups:
    """The groups of a Collection 2 MTL; at level 2 also the level-1 names and scales."""
    level = product.split("_")[1]
    taken = {
        "SPACECRAFT_ID": f"LANDSAT_{product[3]}",
        "SENSOR_ID": sensor,
        "WRS_PATH": product[10:13],
        "WRS_ROW": product[13:16],
    }
    taken |= {
        "DATE_ACQUIRED": f"{product[17:21]}-{product[21:23]}-{product[23:25]}",
        "SCENE_CENTER_TIME": "16:13:46.0400581Z",
    }
    taken |= {
        "CLOUD_COVER": "8.00",
        "SUN_AZIMUTH": "156.98419323",
        "SUN_ELEVATION": str(ELEVATION),
    } | image
    names = {f"FILE_NAME_BAND_{key}": f"{product}_{own(level, key)}.TIF" for key in keys}
    names |= {f"FILE_NAME_QUALITY_L1_{k}": f"{product}_QA_{v}.TIF" for k, v in QUALITY.items()}
    groups: Groups = {
        "PRODUCT_CONTENTS": {
            "LANDSAT_PRODUCT_ID": product,
            "PROCESSING_LEVEL": level,
            "COLLECTION_NUMBER": "02",
        }
        | names,
        "IMAGE_ATTRIBUTES": taken,
    }
    first = product.replace(level, "L1TP")
    rescaling = {f"{kind}_{k}_BAND_{key}": v for key in keys for kind, k, v in SCALES}
    if level.startswith("L2"):
        surface = [key for key in keys if not key.startswith("ST")]
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = {
            f"REFLECTANCE_MULT_BAND_{key}": "2.75e-05" for key in surface
        }
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] |= {
            f"REFLECTANCE_ADD_BAND_{key}": "-0.2" for key in surface
        }
        thermal = {"TEMPERATURE_MULT_BAND_ST": "0.00341802", "TEMPERATURE_ADD_BAND_ST": "149.0"}
        groups["LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"] = {
            f"{k}_B{n}": v for k, v in thermal.items() for n in ("6", "10")
        }
        groups["LEVEL1_PROCESSING_RECORD"] = {
            f"FILE_NAME_BAND_{key}": f"{first}_B{key}.TIF" for key in keys
        }
        groups["LEVEL1_PROCESSING_RECORD"] |= {
            "LANDSAT_PRODUCT_ID": first,
            "PROCESSING_LEVEL": "L1TP",
        }
    else:
        rescaling = {
            k: v for k, v in rescaling.items() if not ("REFLECTANCE" in k and "BAND_6_VCID" in k)
        }
    groups["LEVEL1_RADIOMETRIC_RESCALING"] = rescaling
    return groups


QUALITY = {"PIXEL": "PIXEL", "RADIOMETRIC_SATURATION": "RADSAT"}
SCALES = [
    ("RADIANCE", "MULT", "7.7874E-01"),
    ("RADIANCE", "ADD", "-6.97874"),
    ("REFLECTANCE", "MULT", "1.1620E-03"),
]
SCALES += [("REFLECTANCE", "ADD", "-0.010414")]


def own(level: str, key: str) -> str:
    return key if key.startswith("ST") else f"SR_B{key}" if level.startswith("L2") else f"B{key}"


def as_odl(groups: Groups, root: str) -> str:
    lines = [f"GROUP = {root}"]
    for group, values in groups.items():
        plain = [
            f"    {k} = {v if str(v)[:1] in '-0123456789' and 'TIME' not in k else json.dumps(v)}"
            for k, v in values.items()
        ]
        lines += [f"  GROUP = {group}", *plain, f"  END_GROUP = {group}"]
    return "\n".join([*lines, f"END_GROUP = {root}", "END", ""])


def as_xml(groups: Groups, root: str) -> str:
    inner = "".join(
        f"<{g}>{''.join(f'<{k}>{v}</{k}>' for k, v in values.items())}</{g}>"
        for g, values in groups.items()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{inner}</{root}>'


def write_mtl(
    folder: Path,
    product: str,
    groups: Groups,
    forms: str = "txt json xml",
    root: str = "LANDSAT_METADATA_FILE",
) -> None:
    texts = {
        "txt": as_odl(groups, root),
        "json": json.dumps({root: groups}),
        "xml": as_xml(groups, root),
    }
    for form in forms.split():
        (folder / f"{product}_MTL.{form}").write_text(texts[form])


def make(
    folder: Path, product: str, sensor: str, keys: list[str], grid: Grid = GRID, **image: Any
) -> Path:
    """A product's folder: bands with some fill pixels, both quality bands, MTL in all forms."""
    folder.mkdir(parents=True, exist_ok=True)
    level = product.split("_")[1]
    for n, key in enumerate(keys):
        # TM and ETM+ of level 1 are of 8 bits; the panchromatic band has half the pixel side.
        small, fine = not level.startswith("L2") and product[1] in "TE", key == "8"
        place = (
            Grid(grid.crs, (15.0, 0.0, grid.transform[2], 0.0, -15.0, grid.transform[5]), 80, 100)
            if fine
            else grid
        )
        pixels = texture(place, n, 250 if small else 30_000, "uint8" if small else "uint16")
        pixels[:3, :5] = 0
        write_raster(
            folder / f"{product}_{own(level, key)}.TIF",
            pixels,
            place,
            nodata=0 if level.startswith("L2") else None,
        )
    for n, name in enumerate(QUALITY.values()):
        write_raster(folder / f"{product}_QA_{name}.TIF", quality(n), grid, nodata=None)
    write_mtl(folder, product, say(product, sensor, keys, **image))
    (folder / f"{product}_ANG.txt").write_text("GROUP = FILE_HEADER\nEND\n")
    return folder


TM_KEYS = ["1", "2", "3", "4", "5", "ST_B6", "7"]
ETM_KEYS = ["1", "2", "3", "4", "5", "6_VCID_1", "6_VCID_2", "7", "8"]
OLI_KEYS = ["1", "2", "3", "4", "5", "6", "7", "ST_B10"]


def read_all(archive: Archive, bands: tuple[str, ...] = ()) -> list[Scene]:
    source = registry.source_of(archive)
    assert source.name == "landsat"
    return [source.read(item, archive, bands) for item in source.items(archive)]


def read_one(path: Path, wanted: tuple[str, ...] = (), **archive: Any) -> Scene:
    (scene,) = read_all(Archive(str(path), **archive), wanted)
    assert scenes_from_table(scenes_to_table([scene])) == [scene]
    return scene


def direct(path: Path) -> np.ndarray:
    with rasterio.open(path) as data:
        return np.asarray(data.read(1))


def check(
    folder: Path, product: str, band: Band, own_name: str, scale: float, offset: float
) -> None:
    numbers = direct(folder / f"{product}_{own_name}.TIF")
    found, valid = physical_values(band)
    assert np.array_equal(valid, numbers != 0) and not valid.all()
    assert np.array_equal(found[valid], (numbers * scale + offset).astype("float32")[valid])


def test_landsat_5_level_2(tmp_path: Path) -> None:
    folder = make(tmp_path / TM5, TM5, "TM", TM_KEYS)
    scene = read_one(tmp_path)
    assert [b.name for b in scene.bands] == [
        "blue", "green", "red", "nir08", "swir16", "lwir", "swir22", "quality", "saturation",
    ]  # fmt: skip
    for key, name in zip(TM_KEYS, [b.name for b in scene.bands], strict=False):
        band = scene.band(name)
        assert band
        scale, offset = (0.00341802, 149.0) if key == "ST_B6" else (2.75e-05, -0.2)
        assert band.unit == ("kelvin" if key == "ST_B6" else "surface_reflectance")
        check(folder, TM5, band, own("L2SP", key), scale, offset)
    assert (scene.scene_id, scene.source, scene.crs, scene.cloud) == (
        TM5,
        "landsat",
        "EPSG:32616",
        8.0,
    )
    assert scene.datetime == datetime(1986, 4, 24, 16, 13, 46, 40058, UTC)
    assert scene.properties == (
        ("level", "L2SP"),
        ("platform", "landsat-5"),
        ("sun_azimuth_deg", "156.98419323"),
        ("sun_elevation_deg", str(ELEVATION)),
        ("tier", "T2"),
        ("wrs_path", "10"),
        ("wrs_row", "67"),
        ("unmasked", "cirrus"),
    )


def test_landsat_7_level_1_is_reflectance_at_the_top_of_the_atmosphere(tmp_path: Path) -> None:
    folder = make(tmp_path, ETM7, "ETM", ETM_KEYS)
    wanted = ("red", "pan", "lwir", "B6_VCID_2")
    scene = read_one(tmp_path, wanted)
    red, pan, low, high = scene.bands[:4]
    sun = math.sin(math.radians(ELEVATION))
    check(folder, ETM7, red, "B3", 1.1620e-03 / sun, -0.010414 / sun)
    check(folder, ETM7, pan, "B8", 1.1620e-03 / sun, -0.010414 / sun)
    check(folder, ETM7, low, "B6_VCID_1", 7.7874e-01, -6.97874)
    check(folder, ETM7, high, "B6_VCID_2", 7.7874e-01, -6.97874)
    assert scene.gsd_m == pytest.approx(15, rel=1e-3)
    # Bits of saturation: red 2, low gain 5, high gain 8; dropped
    # 9, hidden 11. The panchromatic band has none.
    assert {t.first_bit for t in scene.clear if t.band == "saturation"} == {2, 5, 8, 9, 11}


def test_landsat_9_level_2_serves_own_names_and_the_run_files(tmp_path: Path) -> None:
    make(tmp_path, OLI9, "OLI_TIRS", OLI_KEYS)
    plain = read_one(tmp_path, ("nir08", "SR_B5", "lwir11", "ST_B10"))
    assert [(b.name, Path(b.href).stem[-5:]) for b in plain.bands[:4]] == [
        ("nir08", "SR_B5"), ("SR_B5", "SR_B5"), ("lwir11", "T_B10"), ("ST_B10", "T_B10"),
    ]  # fmt: skip
    assert ("platform", "landsat-9") in plain.properties and not any(
        k == "unmasked" for k, _ in plain.properties
    )
    for mapping in ({"SR_B5": "nir"}, {"nir08": "nir"}):
        assert Path(read_one(tmp_path, ("nir",), bands=mapping).bands[0].href).stem.endswith(
            "SR_B5"
        )
    with pytest.raises(InputError, match="both 'red'"):
        read_one(tmp_path, ("red",), bands={"SR_B5": "red"})
    with pytest.raises(InputError, match=r"no band pan; it has coastal \(SR_B1\)"):
        read_one(tmp_path, ("red", "pan"))


@pytest.mark.parametrize(
    ("mask", "cloudy", "saturated"),
    [
        (("cloud", "shadow", "cirrus", "saturated"), 0b11111, 1 << 3 | 1 << 9 | 1 << 11),
        (("cloud",), 0b1011, 0),
        (("snow", "water"), 0b10100001, 0),
        (("saturated",), 0b1, 1 << 3 | 1 << 9 | 1 << 11),
        ((), 0b1, 0),
    ],
)
def test_masks_are_those_of_a_direct_count(
    tmp_path: Path, mask: Any, cloudy: int, saturated: int
) -> None:
    folder = make(tmp_path, OLI9, "OLI_TIRS", OLI_KEYS)
    if "saturated" not in mask:
        # Nothing is asked of it, so it may be damaged.
        cut_short(folder / f"{OLI9}_QA_RADSAT.TIF", 0.1)
    scene = read_one(tmp_path, ("red",), mask=mask)
    expected = (quality(0) & cloudy == 0) & (quality(1) & saturated == 0)
    assert np.array_equal(valid_pixels(scene), expected)
    assert 0 < expected.sum() < expected.size


def test_run_file_replaces_the_quality_band(tmp_path: Path) -> None:
    make(tmp_path, OLI9, "OLI_TIRS", OLI_KEYS)
    scene = read_one(tmp_path, ("red",), quality="QA_RADSAT", clear=(0, 7))
    assert np.array_equal(valid_pixels(scene), np.isin(quality(1), (0, 7)))


def test_collection_1(tmp_path: Path) -> None:
    names = {f"FILE_NAME_BAND_{key}": f"{OLI8_C1}_B{key}.TIF" for key in ("4", "10")}
    groups: Groups = {
        "METADATA_FILE_INFO": {"LANDSAT_PRODUCT_ID": OLI8_C1, "COLLECTION_NUMBER": "01"},
        "PRODUCT_METADATA": {
            "DATA_TYPE": "L1TP",
            "SPACECRAFT_ID": "LANDSAT_8",
            "SENSOR_ID": "OLI_TIRS",
            "WRS_PATH": "90",
        }
        | {"WRS_ROW": "84", "DATE_ACQUIRED": "2016-01-21", "SCENE_CENTER_TIME": "23:50:23.0544350Z"}
        | {**names, "FILE_NAME_BAND_QUALITY": f"{OLI8_C1}_BQA.TIF"},
        "IMAGE_ATTRIBUTES": {"CLOUD_COVER": "-1", "SUN_AZIMUTH": "71.5", "SUN_ELEVATION": "90.0"},
        "RADIOMETRIC_RESCALING": {
            "REFLECTANCE_MULT_BAND_4": "2.0000E-05",
            "REFLECTANCE_ADD_BAND_4": "-0.100000",
        }
        | {"RADIANCE_MULT_BAND_10": "3.3420E-04", "RADIANCE_ADD_BAND_10": "0.10000"},
    }
    write_mtl(tmp_path, OLI8_C1, groups, "txt", "L1_METADATA_FILE")
    codes = np.random.default_rng(5).integers(0, 1 << 13, GRID.shape, "uint16")
    for name, pixels in {"B4": texture(GRID), "B10": texture(GRID, 1), "BQA": codes}.items():
        pixels = pixels if name == "BQA" else np.where(codes & 1, 0, pixels).astype("uint16")
        write_raster(tmp_path / f"{OLI8_C1}_{name}.TIF", pixels, GRID)
    scene = read_one(tmp_path, mask=("cloud", "shadow", "snow", "cirrus", "saturated", "water"))
    assert [b.name for b in scene.bands] == ["red", "lwir11", "quality"]
    assert (scene.cloud, dict(scene.properties)["unmasked"]) == (None, "water")
    assert [b.unit for b in scene.bands] == ["toa_reflectance", "radiance", ""]
    check(tmp_path, OLI8_C1, scene.bands[0], "B4", 2e-05, -0.1)
    check(tmp_path, OLI8_C1, scene.bands[1], "B10", 3.3420e-04, 0.1)
    high = [(codes >> bit) & 3 == 3 for bit in (7, 9, 11)]
    assert np.array_equal(valid_pixels(scene), (codes & 0b11111 == 0) & ~np.any(high, axis=0))


def test_folder_tar_and_packed_tar_give_the_same_scene(tmp_path: Path) -> None:
    folder = make(tmp_path / "folder" / OLI9, OLI9, "OLI_TIRS", OLI_KEYS)
    bare = {"fingerprint": "", "bands": ()}
    expected = replace(read_one(folder, ("red", "blue")), **bare)
    (by_mtl,) = read_all(Archive(str(folder / f"{OLI9}_MTL.json")), ("red", "blue"))
    assert replace(by_mtl, **bare) == expected
    for suffix, mode in ((".tar", "w"), (".tar.gz", "w:gz")):
        packed = tmp_path / suffix[1:] / f"{OLI9}{suffix}"
        packed.parent.mkdir()
        with tarfile.open(packed, mode) as tar:  # type: ignore[call-overload]
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)
        for place in (packed, packed.parent):
            found = read_one(place, ("red", "blue"))
            assert replace(found, **bare) == expected
            check(folder, OLI9, found.bands[0], "SR_B4", 2.75e-05, -0.2)
            assert np.array_equal(
                valid_pixels(found), valid_pixels(read_one(folder, ("red", "blue")))
            )


def test_products_that_share_a_folder_are_scenes_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, OLI9, "OLI_TIRS", OLI_KEYS)
    make(tmp_path, TM5, "TM", TM_KEYS)
    make(tmp_path / "below" / ETM7, ETM7, "ETM", ETM_KEYS)
    archive = Archive(str(tmp_path))
    assert [s.scene_id for s in read_all(archive, ("red",))] == [OLI9, TM5, ETM7]
    assert [i.key for i in registry.source_of(archive).items(archive)] == [
        OLI9,
        TM5,
        f"below/{ETM7}",
    ]
    for path in tmp_path.glob(f"{TM5}_MTL.*"):
        path.unlink()
    with pytest.raises(InputError, match=rf"no {TM5}_MTL.txt"):
        read_all(archive, ("red",))


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]>'
    "<LANDSAT_METADATA_FILE>&b;</LANDSAT_METADATA_FILE>"
)


def test_first_sound_mtl_is_read(tmp_path: Path) -> None:
    make(tmp_path, OLI9, "OLI_TIRS", OLI_KEYS)
    texts = {form: (tmp_path / f"{OLI9}_MTL.{form}").read_text() for form in ("txt", "json", "xml")}
    expected = read_one(tmp_path)
    for kept in texts:
        for form, text in texts.items():
            (tmp_path / f"{OLI9}_MTL.{form}").write_text(
                text if form == kept else text[: len(text) // 2]
            )
        assert read_one(tmp_path) == expected
    for form, text in {"txt": texts["txt"][:-5], "json": "[1]", "xml": BOMB}.items():
        (tmp_path / f"{OLI9}_MTL.{form}").write_text(text)
    for form, message in {
        "txt": "it is cut short",
        "json": "not one object of groups",
        "xml": "not plain XML",
    }.items():
        with pytest.raises(InputError, match=message):
            read_one(tmp_path)
        (tmp_path / f"{OLI9}_MTL.{form}").unlink()


@pytest.mark.parametrize(
    ("group", "key", "value", "message"),
    [
        ("PRODUCT_CONTENTS", "LANDSAT_PRODUCT_ID", TM5, f"is of '{TM5}'"),
        ("PRODUCT_CONTENTS", "PROCESSING_LEVEL", "L3", "at level 'L3'"),
        ("PRODUCT_CONTENTS", "FILE_NAME_BAND_4", "../../secret.TIF", "no band red"),
        ("IMAGE_ATTRIBUTES", "SENSOR_ID", "MSS", "of sensor MSS"),
        ("IMAGE_ATTRIBUTES", "DATE_ACQUIRED", "2022-13-01", "2022-13-01T16"),
        ("IMAGE_ATTRIBUTES", "SUN_ELEVATION", "", "lacks SUN_ELEVATION"),
        ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE_MULT_BAND_4", "nan", "has 'nan'"),
    ],
)
def test_mtl_that_cannot_be_true_is_refused(
    tmp_path: Path, group: str, key: str, value: str, message: str
) -> None:
    make(tmp_path, OLI9, "OLI_TIRS", OLI_KEYS)
    groups = say(OLI9, "OLI_TIRS", OLI_KEYS)
    groups[group][key] = value
    for path in tmp_path.glob("*_MTL.*"):
        path.unlink()
    write_mtl(tmp_path, OLI9, groups, "xml")
    with pytest.raises(InputError, match=message):
        read_one(tmp_path, ("red",))


def test_only_files_that_are_asked_for_matter(tmp_path: Path) -> None:
    make(tmp_path, OLI9, "OLI_TIRS", OLI_KEYS)
    expected = read_one(tmp_path, ("red",))
    (tmp_path / f"{OLI9}_SR_B2.TIF").unlink()
    (tmp_path / f"{OLI9}_SR_B3.TIF").write_bytes(b"no raster")
    assert read_one(tmp_path, ("red",)) == expected
    with pytest.raises(InputError, match="no band blue"):
        read_one(tmp_path, ("blue",))
    with pytest.raises(InputError, match=r"SR_B3.TIF cannot be opened"):
        read_one(tmp_path, ("green",))
    cut_short(tmp_path / f"{OLI9}_SR_B4.TIF", 0.7)
    with pytest.raises(InputError, match="SR_B4"):
        physical_values(read_one(tmp_path, ("red",)).bands[0])
    (tmp_path / f"{OLI9}_QA_RADSAT.TIF").unlink()
    with pytest.raises(InputError, match=r"lacks .*QA_RADSAT.TIF"):
        read_one(tmp_path, ("swir16",))
    assert len(read_one(tmp_path, ("swir16",), mask=["cloud"]).quality) == 1


def test_by_night_thermal_bands_alone_can_be_read(tmp_path: Path) -> None:
    make(tmp_path, ETM7, "ETM", ETM_KEYS, SUN_ELEVATION="-12.5")
    assert read_one(tmp_path, ("lwir",)).bands[0].scale == 0.77874
    with pytest.raises(InputError, match=r"the sun at -12\.5°"):
        read_one(tmp_path, ("red",))


def test_polar_scene_lies_where_its_raster_says(tmp_path: Path) -> None:
    # Polar stereographic with true scale at 71° S, as the USGS delivers scenes below 63° S.
    polar = Grid("EPSG:3031", (30.0, 0.0, -600.0, 0.0, -30.0, 1_500_600.0), 40, 50)
    make(tmp_path, OLI9, "OLI_TIRS", OLI_KEYS, polar)
    xmin, ymin, xmax, ymax = shapely.from_wkb(read_one(tmp_path, ("red",)).footprint).bounds
    assert -0.03 < xmin < 0 < xmax < 0.04 and -76.3 < ymin < ymax < -76.2


@pytest.mark.skipif(not REAL.is_dir(), reason="the real product is not on this machine")
def test_real_product() -> None:
    product = "LC08_L2SP_017036_20130419_20200913_02_T2"
    folder = REAL / "LC08_L2SP_017036_20130419"
    scene = read_one(REAL)
    assert [b.name for b in scene.bands] == [
        "coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "lwir11", "quality",
        "saturation",
    ]  # fmt: skip
    for band in scene.bands[:7]:
        check(
            folder, product, band, Path(band.href).stem.removeprefix(f"{product}_"), 2.75e-05, -0.2
        )
    check(folder, product, scene.bands[7], "ST_B10", 0.00341802, 149.0)
    bits = direct(folder / f"{product}_QA_PIXEL.TIF")
    left = valid_pixels(scene)
    assert np.array_equal(left, bits & 0b11111 == 0)
    assert (scene.cloud, scene.datetime) == (100.0, datetime(2013, 4, 19, 16, 1, 51, 829419, UTC))

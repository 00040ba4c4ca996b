"""MODIS HDF4-EOS files in their true layout: grids, scales, valid ranges, quality; damaged ones."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from lulc.bands import Band
from lulc.config import Archive
from lulc.errors import InputError, SetupError
from lulc.geo import grid
from lulc.geo.grid import Grid
from lulc.raster import hdf4
from lulc.raster.access import ReadError, open_raster
from lulc.raster.reader import grid_of
from lulc.sources import registry
from lulc.sources.scene import Scene, scenes_from_table, scenes_to_table
from tests.helpers.synthetic_scenes import physical_values, valid_pixels

SD = pytest.importorskip("pyhdf.SD", reason="HDF4 is read with pyhdf: pip install 'lulc[hdf4]'")
REAL = Path(__file__).parents[3] / "shared/data/modis/MOD09GA.A2008296.h14v17.006.2015181011753.hdf"

RADIUS = 6371007.181
SIDE = RADIUS * math.pi / 18  # of a tile: 10° on the equator
SIZE = 60
MOD13 = "MOD13Q1.A2022017.h12v11.061.2022034232400"
MCD12 = "MCD12Q1.A2001001.h00v08.061.2022146024956"
MOD09 = "MYD09A1.A2022025.h09v08.061.2022035070021"
MCD43 = "MCD43A4.A2022032.h14v10.061.2022041051831"

Fields = dict[str, tuple[np.ndarray, dict[str, Any]]]
REFLECTANCE = {
    "units": "reflectance",
    "valid_range": (-100, 16000),
    "fill": -28672,
    "scale_factor": 0.0001,
    "add_offset": 0.0,
}
INDEX = {
    "units": "NDVI",
    "valid_range": (-2000, 10000),
    "fill": -3000,
    "scale_factor": 10000.0,
    "add_offset": 0.0,
}
_TYPES = {
    "int8": SD.SDC.INT8,
    "uint8": SD.SDC.UINT8,
    "int16": SD.SDC.INT16,
    "uint16": SD.SDC.UINT16,
}


def numbers(seed: int, low: int, high: int, dtype: str = "int16", size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (size, size), dtype, endpoint=True)


def struct(tile: str, grids: dict[str, tuple[int, list[str]]], **other: str) -> str:
    column, row = int(tile[1:3]), int(tile[4:])
    left, top = (column - 18) * SIDE, (9 - row) * SIDE
    text = "GROUP=SwathStructure\nEND_GROUP=SwathStructure\nGROUP=GridStructure\n"
    for n, (name, (size, fields)) in enumerate(grids.items(), 1):
        attributes = {
            "GridName": f'"{name}"',
            "XDim": str(size),
            "YDim": str(size),
            "UpperLeftPointMtrs": f"({left:.6f},{top:.6f})",
            "LowerRightMtrs": f"({left + SIDE:.6f},{top - SIDE:.6f})",
            "Projection": "GCTP_SNSOID",
            "ProjParams": "(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)",
            "SphereCode": "-1",
            "GridOrigin": "HDFE_GD_UL",
        } | other
        text += f"\tGROUP=GRID_{n}\n" + "".join(
            f"\t\t{key}={value}\n" for key, value in attributes.items()
        )
        text += "\t\tGROUP=Dimension\n\t\tEND_GROUP=Dimension\n\t\tGROUP=DataField\n"
        for i, field in enumerate(fields, 1):
            text += (
                f"\t\t\tOBJECT=DataField_{i}\n"
                f'\t\t\t\tDataFieldName="{field}"\n'
                f"\t\t\tEND_OBJECT=DataField_{i}\n"
            )
        text += f"\t\tEND_GROUP=DataField\n\tEND_GROUP=GRID_{n}\n"
    return text + "END_GROUP=GridStructure\nGROUP=PointStructure\nEND_GROUP=PointStructure\nEND\n"


def core(granule: str, day: str, end: str = "") -> str:
    attributes = {
        "LOCALGRANULEID": f"{granule}.hdf",
        "SHORTNAME": granule.split(".", maxsplit=1)[0],
    }
    attributes |= (
        {
            "RANGEENDINGDATE": end or day,
            "RANGEBEGINNINGTIME": "00:00:00",
            "RANGEBEGINNINGDATE": day,
        }
        if day
        else {}
    )
    objects = (
        f"\n    OBJECT                 = {key}\n"
        "      NUM_VAL              = 1\n"
        f'      VALUE                = "{value}"\n'
        f"    END_OBJECT             = {key}\n"
        for key, value in attributes.items()
    )
    return (
        f"\nGROUP                  = INVENTORYMETADATA\n{''.join(objects)}"
        "END_GROUP              = INVENTORYMETADATA\nEND\n"
    )


def make(
    folder: Path,
    granule: str,
    grids: dict[str, Fields],
    day: str = "2022-01-17",
    end: str = "",
    **other: str,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{granule}.hdf"
    file = SD.SD(str(path), SD.SDC.WRITE | SD.SDC.CREATE | SD.SDC.TRUNC)
    sizes = {
        name: (len(next(iter(fields.values()))[0]), list(fields)) for name, fields in grids.items()
    }
    text = struct(granule.split(".")[2], sizes, **other)
    # The library cuts long texts in pieces.
    for n, piece in enumerate((text[: len(text) // 2], text[len(text) // 2 :])):
        file.attr(f"StructMetadata.{n}").set(SD.SDC.CHAR, piece)
    file.attr("CoreMetadata.0").set(SD.SDC.CHAR, core(granule, day, end))
    for structure, fields in grids.items():
        for name, (pixels, attributes) in fields.items():
            kind = _TYPES[pixels.dtype.name]
            sds = file.create(name, kind, pixels.shape)
            for axis, dim in enumerate(("YDim", "XDim")):
                sds.dim(axis).setname(f"{dim}:{structure}")
            for key, value in attributes.items():
                if key == "fill":
                    sds.setfillvalue(value)
                else:
                    real = isinstance(value, float)
                    sds.attr(key).set(
                        SD.SDC.CHAR if isinstance(value, str) else SD.SDC.FLOAT64 if real else kind,
                        value,
                    )
            sds.setcompress(SD.SDC.COMP_DEFLATE, 5)
            sds[:] = pixels
            sds.endaccess()
    file.end()
    return path


def make_mod13(folder: Path, **other: str) -> tuple[Path, Fields]:
    fields: Fields = {
        "250m 16 days NDVI": (numbers(0, -3000, 10300), INDEX),
        "250m 16 days NIR reflectance": (
            numbers(1, -1000, 11000),
            INDEX | {"valid_range": (0, 10000), "fill": -1000},
        ),
        "250m 16 days view zenith angle": (
            numbers(2, 0, 9000),
            INDEX | {"scale_factor": 100.0, "valid_range": (0, 9000)},
        ),
        "250m 16 days pixel reliability": (
            numbers(3, -1, 3, "int8"),
            {"units": "rank", "valid_range": (0, 3), "fill": -1},
        ),
    }
    return make(folder, MOD13, {"MODIS_Grid_16DAY_250m_500m_VI": fields}, **other), fields


def read_one(path: Path, wanted: tuple[str, ...] = (), **archive: Any) -> Scene:
    conf = Archive(str(path), **archive)
    source = registry.source_of(conf)
    assert source.name == "modis"
    (item,) = source.items(conf)
    scene = source.read(item, conf, wanted)
    assert scenes_from_table(scenes_to_table([scene])) == [scene]
    return scene


def check(band: Band, stored: np.ndarray, scale: float, low: int, high: int) -> None:
    found, valid = physical_values(band)
    assert (
        np.array_equal(valid, (stored >= low) & (stored <= high)) and 0 < valid.sum() < valid.size
    )
    assert np.array_equal(found[valid], (stored * scale).astype("float32")[valid])


def test_vegetation_indices(tmp_path: Path) -> None:
    path, fields = make_mod13(tmp_path)
    scene = read_one(tmp_path)
    assert [(b.name, b.kind, b.unit) for b in scene.bands] == [
        ("ndvi", "continuous", "index"),
        ("nir08", "continuous", "surface_reflectance"),
        ("quality", "quality", ""),
    ]
    check(scene.bands[0], fields["250m 16 days NDVI"][0], 0.0001, -2000, 10000)
    check(scene.bands[1], fields["250m 16 days NIR reflectance"][0], 0.0001, 0, 10000)
    assert read_one(tmp_path, ("250m 16 days view zenith angle",)).bands[0].scale == 0.01
    assert (
        read_one(path, ("vi",), bands={"250m 16 days NDVI": "vi"}).bands[0].href
        == scene.bands[0].href
    )
    assert (scene.scene_id, scene.datetime) == (MOD13, datetime(2022, 1, 17, tzinfo=UTC))
    assert dict(scene.properties) == {
        "level": "MOD13Q1", "platform": "terra", "processing_baseline": "061", "tile": "h12v11",
        "unmasked": "shadow cirrus saturated",
    }  # fmt: skip
    for mask, codes in ((("cloud",), (0, 1, 2)), (("cloud", "snow"), (0, 1)), ((), (0, 1, 2, 3))):
        expected = np.isin(fields["250m 16 days pixel reliability"][0], codes)
        assert np.array_equal(valid_pixels(read_one(path, ("ndvi",), mask=mask)), expected)


def test_tile_lies_where_its_numbers_say(tmp_path: Path) -> None:
    make_mod13(tmp_path)
    scene = read_one(tmp_path, ("ndvi",))
    # h12v11: 20° to 30° south, six tiles to the west of Greenwich.
    with open_raster(scene.bands[0].href) as data:
        assert data.crs.to_string() == scene.crs == grid_of(scene.bands[0].href).crs
        assert data.transform.almost_equals(
            Grid(scene.crs, (SIDE / 60, 0, -6 * SIDE, 0, -SIDE / 60, -2 * SIDE), 60, 60).affine,
            1e-5,
        )
    xmin, ymin, xmax, ymax = shapely.from_wkb(scene.footprint).bounds
    assert (ymin, ymax) == pytest.approx((-30, -20), abs=1e-6)
    assert (xmin, xmax) == pytest.approx(
        (-60 / math.cos(math.radians(30)), -50 / math.cos(math.radians(20))), abs=1e-6
    )
    assert grid.transformer(scene.crs, grid.WGS84).transform(0, 4 * SIDE) == pytest.approx(
        (0, 40), abs=1e-6
    )


def test_land_cover_is_classes(tmp_path: Path) -> None:
    codes = numbers(0, 0, 17, "uint8")
    codes[0, 0] = 255
    share = numbers(1, 0, 100, "uint8")
    fields: Fields = {
        "LC_Type1": (codes, {"valid_range": (1, 17), "fill": 255}),
        "LC_Prop1_Assessment": (share, {"valid_range": (0, 100), "fill": 255}),
    }
    make(tmp_path, MCD12, {"MCD12Q1": fields}, "2001-01-01")
    scene = read_one(tmp_path)
    (band,) = scene.bands
    assert (band.name, band.kind, band.scale, band.nodata, scene.clear) == (
        "LC_Type1",
        "class",
        1.0,
        255.0,
        (),
    )
    check(band, codes, 1.0, 1, 17)
    assert read_one(tmp_path, ("LC_Prop1_Assessment",)).bands[0].kind == "continuous"
    # h00v08 reaches beyond 180° west except around the equator:
    # what is outside the world is not part of it.
    outline = shapely.from_wkb(scene.footprint)
    assert outline.bounds == pytest.approx((-180, 0, -170, 10), abs=0.01) and outline.is_valid


STATE = {"units": "bit field", "valid_range": (0, 57343), "fill": 65535}


@pytest.mark.parametrize("coarse", [False, True])
def test_state_bits_mask(tmp_path: Path, coarse: bool) -> None:
    # MOD09A1 keeps its state on the bands' grid, MOD09GA on one of twice the pixel side.
    state = numbers(0, 0, 65535, "uint16", SIZE // 2 if coarse else SIZE)
    state[:2] = 65535
    red = numbers(1, -200, 16100)
    scaled = REFLECTANCE | {"scale_factor": 10000.0} if coarse else REFLECTANCE
    bands: Fields = {"sur_refl_b01_1" if coarse else "sur_refl_b01": (red, scaled)}
    if coarse:
        granule, grids = (
            MOD09.replace("A1", "GA"),
            {"MODIS_Grid_1km_2D": {"state_1km_1": (state, STATE)}, "MODIS_Grid_500m_2D": bands},
        )
    else:
        granule, grids = (
            MOD09,
            {"MOD_Grid_500m_Surface_Reflectance": bands | {"sur_refl_state_500m": (state, STATE)}},
        )
    make(tmp_path, granule, grids)
    fine = np.kron(state, np.ones((2, 2), "uint16")) if coarse else state
    cloud = np.isin(fine & 3, (0, 3))
    tests = {
        "cloud": cloud,
        "shadow": fine & 4 == 0,
        "cirrus": fine & 0x300 == 0,
        "snow": fine & 0x9000 == 0,
    }
    tests |= {"water": np.isin(fine >> 3 & 7, (1, 2, 4)), "saturated": np.ones_like(cloud)}
    for mask in (("cloud", "shadow", "cirrus", "saturated"), ("snow",), ("water",), ()):
        scene = read_one(tmp_path, ("red",), mask=mask)
        check(scene.bands[0], red, 0.0001, -100, 16000)
        expected = np.logical_and.reduce([fine != 65535, *(tests[m] for m in mask)])
        assert np.array_equal(valid_pixels(scene), expected)
        assert 0 < expected.sum() < expected.size
    assert ("platform", "aqua") in scene.properties


def test_nadir_reflectance_has_a_quality_a_band(tmp_path: Path) -> None:
    fields: Fields = {}
    for band in (1, 2, 5):
        quality = {"units": "class-flag", "valid_range": (0, 254), "fill": 255}
        fields[f"BRDF_Albedo_Band_Mandatory_Quality_Band{band}"] = (
            numbers(band, 0, 2, "uint8"),
            quality,
        )
    for band in (1, 2, 5):
        fields[f"Nadir_Reflectance_Band{band}"] = (
            numbers(10 + band, 0, 32767),
            REFLECTANCE | {"valid_range": (0, 32766)},
        )
    make(tmp_path, MCD43, {"MOD_Grid_BRDF": fields})
    scene = read_one(tmp_path, ("nir08", "Nadir_Reflectance_Band5"))
    assert [b.name for b in scene.bands] == [
        "nir08",
        "Nadir_Reflectance_Band5",
        "quality_band2",
        "quality_band5",
    ]
    expected = (numbers(2, 0, 2, "uint8") < 2) & (numbers(5, 0, 2, "uint8") < 2)
    assert np.array_equal(valid_pixels(scene), expected)


def test_run_file_replaces_the_quality_layer(tmp_path: Path) -> None:
    _, fields = make_mod13(tmp_path)
    scene = read_one(tmp_path, ("ndvi",), quality="250m 16 days pixel reliability", clear=(0,))
    expected = fields["250m 16 days pixel reliability"][0] == 0
    assert np.array_equal(valid_pixels(scene), expected)
    with pytest.raises(InputError, match="no quality layer 'QA'"):
        read_one(tmp_path, ("ndvi",), quality="QA")
    make(
        tmp_path / "q1",
        "MOD09Q1.A2022033.h10v10.061.2022042044048",
        {"G": {"sur_refl_b01": (numbers(0, 0, 9), REFLECTANCE)}},
    )
    with pytest.raises(InputError, match=r"no layer that shows cloud, .*mask: \[\]"):
        read_one(tmp_path / "q1")
    assert read_one(tmp_path / "q1", mask=()).clear == ()


def test_distances_are_multiplied_though_their_factor_is_above_one(tmp_path: Path) -> None:
    attributes = {
        "units": "meters",
        "valid_range": (27000, 65535),
        "fill": 0,
        "scale_factor": 25.0,
        "add_offset": 4.0,
    }
    make(tmp_path, MOD09, {"G": {"Range_1": (numbers(0, 0, 65535, "uint16"), attributes)}})
    band = read_one(tmp_path, ("Range_1",), mask=()).bands[0]
    assert (band.scale, band.offset) == (25.0, -100.0)


def test_time_comes_from_the_name_only_where_the_metadata_lacks_it(tmp_path: Path) -> None:
    make_mod13(tmp_path, day="")
    assert read_one(tmp_path).datetime == datetime(2022, 1, 17, tzinfo=UTC)
    make_mod13(tmp_path, day="2021-03-04")
    assert read_one(tmp_path).datetime == datetime(2021, 3, 4, tzinfo=UTC)
    make_mod13(tmp_path, day="2021-12-19", end="2022-01-03")
    assert read_one(tmp_path).datetime == datetime(2021, 12, 26, 12, tzinfo=UTC)
    make_mod13(tmp_path, day="2021-12-19", end="2021-12-18")
    with pytest.raises(InputError, match="ends before it begins"):
        read_one(tmp_path)
    make_mod13(tmp_path, day="2021-03-44")
    with pytest.raises(InputError, match="2021-03-44T00:00:00"):
        read_one(tmp_path)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"Projection": "GCTP_GEO"}, "projection GCTP_GEO"),
        (
            {"ProjParams": "(6371007.181000,0,0,0,90000000,0,0,0,0,0,0,0,0)"},
            "projection GCTP_SNSOID",
        ),
        ({"GridOrigin": "HDFE_GD_LR"}, "from the upper left"),
        ({"UpperLeftPointMtrs": "(nan,0)"}, "does not say where grid"),
        ({"LowerRightMtrs": "(-20015109.354,0)"}, "has no extent"),
        ({"XDim": "61"}, r"is \[60, 60\], its grid \(60, 61\)"),
        ({"GridName": '"Other"'}, "has no band ndvi"),
    ],
)
def test_structure_that_cannot_be_true_is_refused(
    tmp_path: Path, other: dict[str, str], message: str
) -> None:
    make_mod13(tmp_path, **other)
    with pytest.raises(InputError, match=message):
        read_one(tmp_path, ("ndvi",))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path, _ = make_mod13(tmp_path)
    whole, expected = path.read_bytes(), physical_values(read_one(tmp_path, ("ndvi",)).bands[0])[0]
    for n in range(20):
        path.write_bytes(whole[: len(whole) * n // 20])
        with pytest.raises(InputError, match="is not a sound HDF4 file"):
            read_one(tmp_path, ("ndvi",))
    # Of a layer that is not asked for damage does no harm.
    at = whole.index(b"x\x5e")
    path.write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
    scene = read_one(tmp_path, ("ndvi", "nir08"))
    broken = []
    for band in scene.bands[:2]:
        try:
            found = physical_values(band)[0]
        except ReadError:
            broken.append(band.name)
        else:
            assert band.name != "ndvi" or np.array_equal(found, expected)
    assert len(broken) == 1
    path.unlink()
    with pytest.raises(ReadError, match="cannot be opened"):
        physical_values(scene.bands[0])


def test_damage_in_the_directory_of_a_file_does_not_end_the_process(tmp_path: Path) -> None:
    # Some such files have crashed the HDF4 library (double free);
    # sound ones must still be read after them.
    path, _ = make_mod13(tmp_path / "sound")
    whole, random = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for n in range(10):
        damaged = bytearray(whole)
        for at in random.integers(0, 300, 8):
            damaged[at] = random.integers(256)
        (tmp_path / str(n)).mkdir()
        (tmp_path / str(n) / path.name).write_bytes(damaged)
        try:
            read_one(tmp_path / str(n), ("ndvi",))
        except InputError:
            refused += 1
    assert refused > 3
    assert physical_values(read_one(tmp_path / "sound", ("ndvi",)).bands[0])[1].any()


def test_missing_layer_is_named(tmp_path: Path) -> None:
    path, _ = make_mod13(tmp_path)
    with pytest.raises(InputError, match=r"no band red; it has ndvi \(250m 16 days NDVI\), nir08"):
        read_one(tmp_path, ("red",))
    with pytest.raises(ReadError, match="has no layer 'G/NDVI'"), open_raster(f"{path}!/G/NDVI"):
        pass


@pytest.mark.parametrize(
    "product",
    ["MOD10A2", "MOD10A1", "MOD11A2", "MCD12Q2", "MCD64A1", "MOD13C1", "MCD43A2", "VNP09A1"],
)
def test_a_product_whose_layers_are_not_known_is_refused_by_name(
    tmp_path: Path, product: str
) -> None:
    # Snow cover: codes as 8 bits, 50 is cloud.
    fields: Fields = {"Maximum_Snow_Extent": (numbers(0, 0, 255, "uint8"), {"units": "none"})}
    make(tmp_path, MOD13.replace("MOD13Q1", product), {"MOD_Grid_Snow_500m": fields})
    accepted = r"MCD12Q1, MCD43A3, MCD43A4, MOD09A1, .*MYD13Q1"
    for mask in ((), ("cloud",)):
        with pytest.raises(InputError, match=rf"of product {product}, .*accepted are {accepted}"):
            read_one(tmp_path, mask=mask)


def test_codes_are_not_interpolated(tmp_path: Path) -> None:
    state = numbers(0, 0, 65534, "uint16")
    layers = ("sur_refl_state_500m", "sur_refl_qc_500m", "sur_refl_day_of_year", "sur_refl_szen")
    fields: Fields = {"sur_refl_b05": (numbers(1, 0, 9), REFLECTANCE)}
    fields |= dict.fromkeys(layers, (state, STATE))
    make(tmp_path / "09", MOD09, {"G": fields})
    scene = read_one(tmp_path / "09", (*layers, "sur_refl_b05"), mask=())
    kinds = [band.kind for band in scene.bands if band.kind != "quality"]
    assert kinds == ["class", "class", "class", "continuous", "continuous"]
    # Codes are asked for by name.
    assert [b.name for b in read_one(tmp_path / "09").bands] == [
        "sur_refl_b05",
        "sur_refl_szen",
        "quality",
    ]
    make_mod13(tmp_path / "13")
    (band, _) = read_one(tmp_path / "13", ("250m 16 days pixel reliability",)).bands
    assert band.kind == "class"


def test_albedo_has_a_quality_a_band(tmp_path: Path) -> None:
    fields: Fields = {}
    for part in ("Band1", "shortwave"):
        quality = {"units": "class-flag", "valid_range": (0, 254), "fill": 255}
        fields[f"BRDF_Albedo_Band_Mandatory_Quality_{part}"] = (numbers(2, 0, 2, "uint8"), quality)
        fields[f"Albedo_BSA_{part}"] = numbers(3, 0, 32766), REFLECTANCE
    make(tmp_path, MCD43.replace("A4", "A3"), {"MOD_Grid_BRDF": fields})
    names = [band.name for band in read_one(tmp_path).bands]
    assert names == [
        "Albedo_BSA_Band1",
        "Albedo_BSA_shortwave",
        "quality_band1",
        "quality_shortwave",
    ]
    scene = read_one(tmp_path, ("Albedo_BSA_shortwave",))
    assert np.array_equal(valid_pixels(scene), numbers(2, 0, 2, "uint8") < 2)
    assert dict(scene.properties)["unmasked"] == "cloud shadow cirrus saturated"


def test_layers_that_are_not_asked_for_do_no_harm(tmp_path: Path) -> None:
    fine, coarse = numbers(0, -3000, 10000), numbers(1, -3000, 10000, size=30)
    odd = {"units": "degree", "valid_range": "unknown", "scale_factor": -1.0, "fill": -1}
    grids: dict[str, Fields] = {
        "fine": {"250m 16 days NDVI": (fine, INDEX), "angle": (fine, odd), "twice": (fine, INDEX)},
        "coarse": {"twice": (coarse, INDEX)},
    }
    make(tmp_path, MOD13, grids)
    scene = read_one(tmp_path, ("ndvi", "coarse/twice"), mask=())
    check(scene.bands[0], fine, 0.0001, -2000, 10000)
    check(scene.bands[1], coarse, 0.0001, -2000, 10000)
    with pytest.raises(InputError, match=r"layer angle has scale_factor -1\.0"):
        read_one(tmp_path, ("angle",), mask=())
    with pytest.raises(InputError, match="no band twice"):
        read_one(tmp_path, ("twice",), mask=())


def test_absurd_claims_are_refused_unread(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        MOD13,
        {"G": {"250m 16 days NDVI": (np.zeros((1, 1), "int16"), INDEX)}},
        XDim="70000",
        YDim="70000",
    )
    file = SD.SD(str(path), SD.SDC.WRITE)
    huge = file.create("250m 16 days EVI", SD.SDC.INT16, (70000, 70000))
    for axis, dim in enumerate(("YDim", "XDim")):
        huge.dim(axis).setname(f"{dim}:H")
    huge.endaccess()
    text = file.attributes()["StructMetadata.0"] + file.attributes()["StructMetadata.1"]
    file.attr("StructMetadata.0").set(SD.SDC.CHAR, text.replace('"G"', '"H"'))
    file.attr("StructMetadata.1").set(SD.SDC.CHAR, " ")
    file.end()
    with pytest.raises(InputError, match=r"EVI claims \(70000, 70000\) pixels"):
        read_one(tmp_path)


def test_last_layers_are_kept_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fields = make_mod13(tmp_path)
    hrefs = [f"{path}!/MODIS_Grid_16DAY_250m_500m_VI/{name}" for name in fields]
    assert hdf4.open_layer(hrefs[0]) == hdf4.open_layer(hrefs[0])
    monkeypatch.setattr(hdf4, "_MAX_BYTES", 3 * SIZE * SIZE * 2)
    for href in hrefs:
        hdf4.open_layer(href)
    assert 1 <= len(hdf4._decoded) <= 3
    # A file that is replaced is read anew.
    before = hdf4.open_layer(hrefs[0])
    make(
        tmp_path,
        MOD13,
        {"MODIS_Grid_16DAY_250m_500m_VI": fields | {"more": fields["250m 16 days NDVI"]}},
    )
    assert hdf4.open_layer(hrefs[0]) != before


def test_without_pyhdf_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_mod13(tmp_path)
    monkeypatch.setitem(sys.modules, "pyhdf.SD", None)
    with pytest.raises(SetupError, match=r"pip install 'lulc\[hdf4\]'"):
        read_one(tmp_path)


@pytest.mark.skipif(not REAL.is_file(), reason="the real product is not on this machine")
def test_real_product() -> None:
    scene = read_one(REAL.parent)
    assert [b.name for b in scene.bands] == [
        "red",
        "nir08",
        "blue",
        "green",
        "swir16",
        "swir22",
        "quality",
    ]
    file = SD.SD(str(REAL))
    for band in scene.bands[:6]:
        stored = file.select(band.href.rpartition("/")[2]).get()
        check(band, stored, 0.0001, -100, 16000)
    state = np.kron(file.select("state_1km_1").get(), np.ones((2, 2), "uint16"))
    file.end()
    expected = (state != 65535) & np.isin(state & 3, (0, 3)) & (state & 0x304 == 0)
    assert np.array_equal(valid_pixels(scene), expected) and expected.any()
    assert (scene.scene_id, scene.datetime) == (
        REAL.stem,
        datetime(2008, 10, 22, 17, 40, tzinfo=UTC),  # from 11:55 to 23:25
    )
    # The tile's strip within the world: 80° S southwards, at 180° W.
    outline = shapely.from_wkb(scene.footprint)
    assert outline.bounds == pytest.approx((-180, -80.41, -172.76, -80), abs=0.01)

"""Sentinel-2 SAFE products of both levels and every layout: bands, reflectance, valid pixels."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest
import rasterio
from moto.server import ThreadedMotoServer

from lulc.chips import mosaic
from lulc.chips.chip import choose_encoding
from lulc.chips.cut import cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.config import Archive
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.raster import reader
from lulc.sources import registry
from lulc.sources.scene import Clear, Scene, scenes_from_table, scenes_to_table
from tests.helpers.object_stores import store_variables
from tests.helpers.synthetic_scenes import cut_short, write_raster

FINE = Grid("EPSG:32733", (10.0, 0.0, 499_980.0, 0.0, -10.0, 6_200_020.0), 120, 120)
OWN = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
SIDES = {10: ("B02", "B03", "B04", "B08"), 60: ("B01", "B09", "B10")}
SCL = np.resize(np.arange(12, dtype="uint8"), (60, 60))


def grid(side: int) -> Grid:
    _, b, x, d, _, y = FINE.transform
    size = FINE.height * 10 // side
    return Grid(FINE.crs, (float(side), b, x, d, -float(side), y), size, size)


def write_jp2(path: Path, stack: np.ndarray, side: int) -> None:
    write_raster(path, stack, grid(side), driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")


def native(own: str) -> int:
    return next((side for side, names in SIDES.items() if own in names), 20)


def numbers(own: str, side: int) -> np.ndarray:
    """Digital numbers that tell band and pixel side apart, with no data in the first column."""
    found = (
        np.random.default_rng(OWN.index(own) * 100 + side)
        .integers(1, 12_000, grid(side).shape)
        .astype("uint16")
    )
    found[:, 0] = 0
    return found


def product_name(level: str, baseline: str, tile: str = "33HYE") -> str:
    return (
        f"S2B_MSIL{level}_20240608T081609_N{baseline.replace('.', '')}_R121_T{tile}_20240608T103015"
    )


def main_xml(
    level: str, baseline: str, name: str, offsets: Sequence[int] = range(-1000, -987)
) -> str:
    new = float(baseline) >= 4
    kind, parent = (
        ("RADIO_ADD_OFFSET", "Radiometric_Offset_List")
        if level == "1C"
        else ("BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST")
    )
    listed = "".join(f'<{kind} band_id="{i}">{v}</{kind}>' for i, v in enumerate(offsets))
    divisor = (
        '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
        if level == "1C"
        else "<QUANTIFICATION_VALUES_LIST>"
        '<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
        '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>'
        "</QUANTIFICATION_VALUES_LIST>"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
        f"<n1:Level-{level}_User_Product"
        f' xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd">'
        f"<n1:General_Info><Product_Info><PRODUCT_URI>{name}.SAFE</PRODUCT_URI>"
        f"<PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL>"
        f"<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        "<Datatake><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME>"
        "<SENSING_ORBIT_NUMBER>121</SENSING_ORBIT_NUMBER>"
        "<SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION></Datatake>"
        "</Product_Info><Product_Image_Characteristics>"
        "<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>"
        "<Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>"
        f"{divisor}{f'<{parent}>{listed}</{parent}>' if new else ''}"
        "</Product_Image_Characteristics></n1:General_Info><n1:Quality_Indicators_Info>"
        "<Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment>"
        f"</n1:Quality_Indicators_Info></n1:Level-{level}_User_Product>"
    )


def tile_xml(level: str, baseline: str) -> str:
    return (
        f"<n1:Level-{level}_Tile_ID"
        ' xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/'
        f'S2_PDI_Level-{level}_Tile_Metadata.xsd">'
        "<n1:General_Info><TILE_ID>"
        f"S2B_OPER_MSI_L{level}_TL_2BPS_20240608T103015_A037896_T33HYE_N{baseline}</TILE_ID>"
        "<SENSING_TIME>2024-06-08T08:43:21.461325Z</SENSING_TIME></n1:General_Info>"
        "<n1:Geometric_Info><Tile_Angles><Mean_Sun_Angle>"
        "<ZENITH_ANGLE>60.25</ZENITH_ANGLE><AZIMUTH_ANGLE>31.5</AZIMUTH_ANGLE></Mean_Sun_Angle>"
        f"</Tile_Angles></n1:Geometric_Info></n1:Level-{level}_Tile_ID>"
    )


def make_product(
    folder: Path, level: str, baseline: str, bands: Sequence[str] = ("B02", "B04", "B8A", "B01")
) -> Path:
    """A product in its true layout with these bands; Level-2A has them at all pixel sizes."""
    name = product_name(level, baseline)
    root = folder / f"{name}.SAFE"
    granule = root / "GRANULE" / f"L{level}_T33HYE_A037896_20240608T084321"
    stem = "T33HYE_20240608T081609"
    (granule / "QI_DATA").mkdir(parents=True)
    (root / f"MTD_MSIL{level}.xml").write_text(main_xml(level, baseline, name))
    (granule / "MTD_TL.xml").write_text(tile_xml(level, baseline))
    (root / "manifest.safe").write_text("<xfdu/>")
    for own in bands:
        if level == "1C":
            write_jp2(
                granule / "IMG_DATA" / f"{stem}_{own}.jp2", numbers(own, native(own)), native(own)
            )
        else:
            for side in (s for s in (10, 20, 60) if s >= native(own)):
                write_jp2(
                    granule / "IMG_DATA" / f"R{side}m" / f"{stem}_{own}_{side}m.jp2",
                    numbers(own, side),
                    side,
                )
    if level == "2A":
        write_jp2(granule / "IMG_DATA" / "R20m" / f"{stem}_SCL_20m.jp2", SCL, 20)
        write_jp2(granule / "IMG_DATA" / "R60m" / f"{stem}_SCL_60m.jp2", SCL[1::3, 1::3], 60)
        write_jp2(granule / "IMG_DATA" / "R10m" / f"{stem}_AOT_10m.jp2", numbers("B02", 10), 10)
    if float(baseline) >= 4:
        classes = np.zeros((3, 20, 20), "uint8")
        classes[0, :5], classes[1, 5:10], classes[2, 10:15] = 1, 1, 1
        write_jp2(granule / "QI_DATA" / "MSK_CLASSI_B00.jp2", classes, 60)
        # Masks of single bands have names that end as the bands' do.
        write_jp2(granule / "QI_DATA" / "MSK_DETFOO_B02.jp2", np.ones((120, 120), "uint8"), 10)
    else:
        (granule / "QI_DATA" / "MSK_CLOUDS_B00.gml").write_text("<eop:Mask/>")
    return root


def read_all(path: Path | str, wanted: tuple[str, ...] = (), **rest: object) -> list[Scene]:
    archive = Archive(str(path), **rest)  # type: ignore[arg-type]
    source = registry.source_of(archive)
    assert source.name == "sentinel2"
    return [source.read(item, archive, wanted) for item in source.items(archive)]


def read_one(path: Path, wanted: tuple[str, ...] = (), **rest: object) -> Scene:
    (scene,) = read_all(path, wanted, **rest)
    return scene


@pytest.mark.parametrize("baseline", ["02.14", "04.00", "05.11"])
@pytest.mark.parametrize("level", ["1C", "2A"])
def test_every_level_and_baseline(tmp_path: Path, level: str, baseline: str) -> None:
    make_product(tmp_path, level, baseline)
    mask = (
        () if (level, baseline) == ("1C", "02.14") else ("cloud", "shadow", "cirrus", "saturated")
    )
    scene = read_one(tmp_path, ("blue", "red", "nir08", "coastal"), mask=mask)
    assert (scene.scene_id, scene.source, scene.crs) == (
        product_name(level, baseline),
        "sentinel2",
        "EPSG:32733",
    )
    assert scene.datetime == datetime(2024, 6, 8, 8, 43, 21, 461325, tzinfo=UTC)
    assert scene.cloud == 12.5
    assert {
        "platform": "sentinel-2b",
        "tile": "33HYE",
        "relative_orbit": "121",
        "level": level,
    }.items() <= dict(scene.properties).items()
    assert dict(scene.properties)["processing_baseline"] == baseline
    assert float(dict(scene.properties)["sun_elevation_deg"]) == 29.75
    assert scenes_from_table(scenes_to_table([scene])) == [scene]
    for band, own in zip(scene.bands, ("B02", "B04", "B8A", "B01"), strict=False):
        offset = -1000 + OWN.index(own) if float(baseline) >= 4 else 0
        assert (band.scale, band.offset, band.nodata, band.dtype) == (
            1e-4,
            offset / 1e4,
            0,
            "uint16",
        )
        assert band.unit == {"1C": "toa_reflectance", "2A": "surface_reflectance"}[level]
        # B02 comes at 10 m, though it is there at 20 and 60 m too.
        values, valid = reader.read_band(
            band.href, band.index, grid(native(own)), "bilinear", band.nodata
        )
        truth = numbers(own, native(own))
        assert np.array_equal(values, truth)
        assert np.array_equal(valid, truth != 0)


def test_all_reflectances_have_common_names(tmp_path: Path) -> None:
    make_product(tmp_path, "1C", "05.11", OWN)
    scene = read_one(tmp_path, mask=())
    assert [b.name for b in scene.bands] == [
        "coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078", "nir", "nir08",
        "nir09", "cirrus", "swir16", "swir22",
    ]  # fmt: skip
    assert [re.search(r"B\w\w", Path(b.href).name.split("_")[-1])[0] for b in scene.bands] == list(
        OWN
    )  # type: ignore[index]
    assert [b.offset for b in scene.bands] == [(i - 1000) / 10_000 for i in range(13)]
    mapped = read_one(tmp_path, ("infrared", "B8A", "red"), mask=(), bands={"B08": "infrared"})
    assert [(b.name, Path(b.href).stem[-3:]) for b in mapped.bands] == [
        ("infrared", "B08"),
        ("B8A", "B8A"),
        ("red", "B04"),
    ]
    with pytest.raises(InputError, match=r"B04 and B08 .* are both 'red'"):
        read_one(tmp_path, ("red",), bands={"B08": "red"})


def test_any_subset_of_bands_is_taken_and_the_rest_not_opened(tmp_path: Path) -> None:
    root = make_product(tmp_path, "2A", "05.11")
    for path in root.rglob("*_B0[24]_[12]0m.jp2"):
        path.unlink()
    cut_short(next(root.rglob("*_B01_60m.jp2")), 0.05)
    scene = read_one(tmp_path, ("blue", "red"))
    assert [Path(b.href).name[-11:] for b in scene.bands] == [
        "B02_60m.jp2",
        "B04_60m.jp2",
        "SCL_60m.jp2",
    ]
    assert scene.gsd_m == pytest.approx(60, rel=1e-3)
    with pytest.raises(InputError, match="B01_60m"):
        read_one(tmp_path, ("coastal",))
    with pytest.raises(InputError, match=r"no band green; it has coastal \(B01\), blue \(B02\)"):
        read_one(tmp_path, ("green",))


@pytest.mark.parametrize(
    ("mask", "refused"),
    [
        (("cloud", "shadow", "cirrus", "saturated"), (0, 1, 3, 8, 9, 10)),
        ((), (0,)),
        (("water", "snow"), (0, 6, 11)),
    ],
)
def test_scene_classification_says_what_is_usable(
    tmp_path: Path, mask: tuple[str, ...], refused: tuple[int, ...]
) -> None:
    make_product(tmp_path, "2A", "04.00")
    scene = read_one(tmp_path, ("blue",), mask=mask)
    assert "unmasked" not in dict(scene.properties)
    usable = mosaic._valid_pixels(scene, grid(20))
    assert np.array_equal(usable, ~np.isin(SCL, refused))
    chosen = read_one(tmp_path, ("blue",), clear=(4, 5))
    assert chosen.clear == (Clear("quality", (4, 5)),)
    other = read_one(tmp_path, ("blue",), quality="MSK_CLASSI", clear=(0,))
    assert Path(other.quality[0].href).name == "MSK_CLASSI_B00.jp2"
    with pytest.raises(InputError, match=r"'MSK_CLASSI' needs scenes\.clear"):
        read_one(tmp_path, ("blue",), quality="MSK_CLASSI")


def test_cloud_mask_of_level_1c(tmp_path: Path) -> None:
    make_product(tmp_path, "1C", "05.11")
    scene = read_one(tmp_path, ("blue",), mask=("cloud", "snow", "shadow"))
    usable = mosaic._valid_pixels(scene, grid(60))
    rows = np.arange(20)
    assert np.array_equal(
        usable, np.broadcast_to(((rows >= 5) & (rows < 10) | (rows >= 15))[:, None], (20, 20))
    )
    assert dict(scene.properties)["unmasked"] == "shadow"


def test_a_product_without_a_raster_mask_is_not_taken_as_clear(tmp_path: Path) -> None:
    make_product(tmp_path, "1C", "02.14")
    with pytest.raises(InputError, match=r"GML.*scenes\.mask: \[\]"):
        read_one(tmp_path, ("blue",))
    assert read_one(tmp_path, ("blue",), mask=()).clear == ()
    root = make_product(tmp_path / "2A", "2A", "05.11")
    for path in root.rglob("*_SCL_*"):
        path.unlink()
    with pytest.raises(InputError, match="has no SCL"):
        read_one(tmp_path / "2A", ("blue",))
    assert read_one(tmp_path / "2A", ("blue",), mask=()).quality == ()


def test_folders_and_zips_give_the_same(tmp_path: Path) -> None:
    root = make_product(tmp_path / "plain", "2A", "05.11")
    plain = read_one(tmp_path / "plain", ("blue", "red"))
    assert read_one(root, ("blue", "red")) == plain
    archive = tmp_path / "many"
    shutil.copytree(root, archive / "2024" / root.name)
    for name, inside in ((f"{root.name}.zip", root.parent), (f"{root.stem}.zip", root.parent)):
        with zipfile.ZipFile(archive / name, "w") as packed:
            for path in sorted(root.rglob("*")):
                packed.write(path, path.relative_to(inside))
    found = registry.SOURCES["sentinel2"].items(Archive(str(archive)))
    assert [Path(i.path).relative_to(archive).as_posix() for i in found] == [
        f"2024/{root.name}", f"{root.name}.zip", f"{root.stem}.zip"
    ]  # fmt: skip
    for scene in read_all(archive, ("blue", "red")):
        assert (scene.scene_id, scene.clear, scene.properties) == (
            plain.scene_id,
            plain.clear,
            plain.properties,
        )
        values, _ = reader.read_band(scene.bands[0].href, 1, FINE, "bilinear", 0)
        assert np.array_equal(values, numbers("B02", 10))
        assert np.array_equal(
            mosaic._valid_pixels(scene, grid(20)), mosaic._valid_pixels(plain, grid(20))
        )
    packed_one = read_one(archive / f"{root.name}.zip", ("blue",))
    assert packed_one.bands[0].href.startswith(f"{archive / root.name}.zip!/{root.name}/GRANULE/")


def test_names_of_before_2016_december(tmp_path: Path) -> None:
    root = make_product(tmp_path, "1C", "02.04", ("B02",))
    name = "S2A_OPER_PRD_MSIL1C_PDMC_20160929T185902_R065_V20160929T102022_20160929T102344"
    tile = "S2A_OPER_MSI_L1C_TL_SGS__20160929T154211_A006640_T32TPP"
    old = root.rename(tmp_path / f"{name}.SAFE")
    (old / "MTD_MSIL1C.xml").rename(
        old / "S2A_OPER_MTD_SAFL1C_PDMC_20160929T185902_R065_V20160929T102022_20160929T102344.xml"
    )
    (granule,) = (old / "GRANULE").iterdir()
    granule = granule.rename(old / "GRANULE" / f"{tile}_N02.04")
    (granule / "MTD_TL.xml").rename(
        granule / "S2A_OPER_MTD_L1C_TL_SGS__20160929T154211_A006640_T32TPP.xml"
    )
    next(granule.glob("IMG_DATA/*")).rename(granule / "IMG_DATA" / f"{tile}_B02.jp2")
    (blue,) = read_one(tmp_path, ("blue",), mask=()).bands
    assert (blue.scale, blue.offset) == (1e-4, 0)
    shutil.copytree(granule, old / "GRANULE" / f"{tile[:-5]}32TQP_N02.04")
    with pytest.raises(InputError, match="2 tiles"):
        read_one(tmp_path, ("blue",), mask=())


def test_fingerprint_follows_the_files_used(tmp_path: Path) -> None:
    root = make_product(tmp_path / "a", "2A", "05.11")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = read_one(tmp_path / "a", ("blue",)).fingerprint
    assert read_one(tmp_path / "b", ("blue",)).fingerprint == before
    next((tmp_path / "b").rglob("*_B01_60m.jp2")).unlink()
    assert read_one(tmp_path / "b", ("blue",)).fingerprint == before
    write_jp2(next(root.rglob("*_B02_10m.jp2")), numbers("B04", 10), 10)
    assert read_one(tmp_path / "a", ("blue",)).fingerprint != before


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
DAMAGE: dict[str, tuple[str, Callable[[str], str], str]] = {
    "cut xml": ("MTD_MSIL2A.xml", lambda t: t[: len(t) // 2], "not plain XML"),
    "bomb": ("MTD_MSIL2A.xml", lambda t: t.replace("?>\n", f"?>{BOMB}"), "not plain XML"),
    "no offset": (
        "MTD_MSIL2A.xml",
        lambda t: t.replace('band_id="1"', 'band_id="99"'),
        "no BOA_ADD_OFFSET of B02",
    ),
    "no offsets": (
        "MTD_MSIL2A.xml",
        lambda t: t.replace("BOA_ADD_OFFSET", "OFFSET"),
        "no BOA_ADD_OFFSET of B02",
    ),
    "text": (
        "MTD_MSIL2A.xml",
        lambda t: t.replace(">-999<", ">dark<"),
        "'dark' for BOA_ADD_OFFSET",
    ),
    "infinite": ("MTD_MSIL2A.xml", lambda t: t.replace(">10000<", ">inf<"), "QUANTIFICATION"),
    "zero": ("MTD_MSIL2A.xml", lambda t: t.replace(">10000<", ">0<"), "QUANTIFICATION"),
    "no quantification": (
        "MTD_MSIL2A.xml",
        lambda t: t.replace("BOA_QUANT", "QUANT"),
        "lacks L2A_BOA_QUANT",
    ),
    "level": (
        "MTD_MSIL2A.xml",
        lambda t: t.replace(">Level-2A<", ">Level-1B<"),
        "PROCESSING_LEVEL",
    ),
    "time": (
        "GRANULE/*/MTD_TL.xml",
        lambda t: t.replace("2024-06-08T", "yesterday "),
        "SENSING_TIME",
    ),
    "sun": ("GRANULE/*/MTD_TL.xml", lambda t: t.replace("ZENITH_ANGLE", "ZENITH"), "ZENITH_ANGLE"),
}


@pytest.mark.parametrize(("pattern", "change", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_metadata_is_refused(
    tmp_path: Path, pattern: str, change: Callable[[str], str], message: str
) -> None:
    root = make_product(tmp_path, "2A", "05.11", ("B02",))
    (path,) = root.glob(pattern)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message):
        read_one(tmp_path, ("blue",))


@pytest.mark.parametrize("offsets", [(), range(-1000, -987)])
def test_a_users_own_sen2cor_has_an_offset_where_it_writes_one(
    tmp_path: Path, offsets: Sequence[int]
) -> None:
    root = make_product(tmp_path, "2A", "05.11", ("B02", "B04"))
    name = product_name("2A", "99.99")
    text = main_xml("2A", "99.99", name, offsets)
    if not offsets:
        text = re.sub("<BOA_ADD_OFFSET_VALUES_LIST></BOA_ADD_OFFSET_VALUES_LIST>", "", text)
    (root / "MTD_MSIL2A.xml").write_text(text)
    scene = read_one(tmp_path, ("blue", "red"))
    assert scene.scene_id == name
    assert [band.offset for band in scene.bands[:2]] == ([-0.0999, -0.0997] if offsets else [0, 0])
    assert [band.scale for band in scene.bands[:2]] == [0.0001, 0.0001]


def test_offsets_of_some_bands_alone_are_not_taken_for_all(tmp_path: Path) -> None:
    root = make_product(tmp_path, "2A", "05.11", ("B02", "B04"))
    (root / "MTD_MSIL2A.xml").write_text(main_xml("2A", "99.99", root.stem, (-1000, -1000)))
    assert read_one(tmp_path, ("blue",)).bands[0].offset == -0.1
    with pytest.raises(InputError, match="no BOA_ADD_OFFSET of B04"):
        read_one(tmp_path, ("red",))


def test_products_cut_or_incomplete_are_refused_and_not_lost(tmp_path: Path) -> None:
    root = make_product(tmp_path, "2A", "05.11", ("B02",))
    (root / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(InputError, match="no metadata"):
        read_one(tmp_path)
    make_product(tmp_path / "zip", "2A", "05.11", ("B02",))
    packed = Path(shutil.make_archive(str(tmp_path / "zip" / root.stem), "zip", tmp_path / "zip"))
    shutil.rmtree(tmp_path / "zip" / root.name)
    cut_short(packed)
    with pytest.raises(InputError, match="cannot be listed"):
        read_one(tmp_path / "zip")
    scene = read_one(make_product(tmp_path / "cut", "2A", "05.11", ("B02",)), ("blue",))
    cut_short(Path(scene.bands[0].href), 0.6)
    tiling = Tiling("t", FINE.crs, 10.0, 64, FINE.transform[2], FINE.transform[5])
    found = cut_block(
        [scene], ChipSpec(tiling, choose_encoding([scene], ("blue",)), halo=0, span=2), 0, 0, "all"
    )
    assert list(found.unreadable) == [scene.scene_id] and not found.chips


@pytest.mark.parametrize("own", ["B02", "B8A", "B12"])
def test_real_product(shared: Path, own: str) -> None:
    folder = shared / "sentinel2_safe"
    if not folder.is_dir():
        pytest.skip(f"no real product: {folder} is not there")
    scene = read_one(folder, (own,))
    assert {
        "tile": "29UNU",
        "processing_baseline": "04.00",
        "relative_orbit": "23",
    }.items() <= dict(scene.properties).items()
    assert (scene.bands[0].scale, scene.bands[0].offset, scene.cloud) == (1e-4, -0.1, 59.769726)
    with rasterio.open(scene.bands[0].href) as file:
        direct, whole = file.read(1), reader.grid_of(file)
    values, valid = reader.read_band(
        scene.bands[0].href, 1, whole, "bilinear", scene.bands[0].nodata
    )
    assert np.array_equal(values, direct)
    assert np.array_equal(valid, direct != 0)
    with rasterio.open(scene.quality[0].href) as file:
        assert np.array_equal(
            mosaic._valid_pixels(scene, whole), np.isin(file.read(1), (2, 4, 5, 6, 7, 11))
        )


def test_real_product_has_eleven_bands(shared: Path) -> None:
    scene = read_one(shared / "sentinel2_safe")
    assert len([b for b in scene.bands if b.kind != "quality"]) == 11
    assert scene.crs == "EPSG:32629"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[pafs.S3FileSystem]:
    """A local object store with an empty bucket `archive`, set in the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    place = "{}:{}".format(*server.get_host_and_port())
    variables = store_variables(place) | {"AWS_ENDPOINT_URL": f"http://{place}"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = pafs.S3FileSystem(endpoint_override=f"http://{place}", allow_bucket_creation=True)
    store.create_dir("archive")
    yield store
    server.stop()


def test_products_on_object_storage(tmp_path: Path, bucket: pafs.S3FileSystem) -> None:
    root = make_product(tmp_path / "plain", "2A", "05.11", ("B02",))
    with zipfile.ZipFile(tmp_path / f"{root.name}.zip", "w") as packed:
        for path in sorted(root.rglob("*")):
            packed.write(path, path.relative_to(root.parent))
    pafs.copy_files(str(root.parent), "archive/folders", destination_filesystem=bucket)
    bucket.create_dir("archive/zips")
    pafs.copy_files(
        str(tmp_path / f"{root.name}.zip"),
        f"archive/zips/{root.name}.zip",
        destination_filesystem=bucket,
    )
    for place in (
        "s3://archive/folders",
        f"s3://archive/folders/{root.name}",
        "s3://archive/zips",
        f"s3://archive/zips/{root.name}.zip",
    ):
        (scene,) = read_all(place, ("blue",))
        assert scene.scene_id == root.stem
        assert scene.bands[0].href.startswith(place)
        values, valid = reader.read_band(scene.bands[0].href, 1, FINE, "bilinear", 0)
        assert np.array_equal(values, numbers("B02", 10)) and np.array_equal(valid, values != 0)

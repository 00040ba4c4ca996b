"""Products as users and others store them: renamed, nested, packed, in part, and beside others."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio

from lulc.config import Archive
from lulc.errors import InputError
from lulc.sources import registry
from tests.helpers.synthetic_scenes import texture, write_raster
from tests.sources import test_landsat as landsat
from tests.sources import test_sentinel2 as sentinel2
from tests.sources import test_sources as stac

PRE = "LC81920282016100LGN00"


def make_before_collections(folder: Path) -> Path:
    """A scene as the USGS gave it out until 2016, named by scene id, with its MTL."""
    folder.mkdir(parents=True)
    for n in range(2, 6):
        write_raster(
            folder / f"{PRE}_B{n}.TIF", texture(landsat.GRID, n, 30_000, "uint16"), landsat.GRID
        )
    write_raster(folder / f"{PRE}_BQA.TIF", landsat.quality(0), landsat.GRID)
    groups: landsat.Groups = {
        "METADATA_FILE_INFO": {
            "ORIGIN": "Image courtesy of the U.S. Geological Survey",
            "LANDSAT_SCENE_ID": PRE,
            "PROCESSING_SOFTWARE_VERSION": "LPGS_2.6.0",
        },
        "PRODUCT_METADATA": {
            "DATA_TYPE": "L1T",
            "SPACECRAFT_ID": "LANDSAT_8",
            "SENSOR_ID": "OLI_TIRS",
            "DATE_ACQUIRED": "2016-04-09",
            "SCENE_CENTER_TIME": "10:10:26.0400581Z",
        }
        | {f"FILE_NAME_BAND_{n}": f"{PRE}_B{n}.TIF" for n in range(2, 6)}
        | {"FILE_NAME_BAND_QUALITY": f"{PRE}_BQA.TIF"},
        "RADIOMETRIC_RESCALING": {f"REFLECTANCE_MULT_BAND_{n}": "2.0E-05" for n in range(2, 6)},
    }
    landsat.write_mtl(folder, PRE, groups, "txt", "L1_METADATA_FILE")
    return folder


def test_a_scene_from_before_the_collections_is_refused_and_never_loose_files(
    tmp_path: Path,
) -> None:
    folder = make_before_collections(tmp_path / PRE)
    message = rf"{PRE}_MTL\.txt is of {PRE}, processed before Collection 1.*Collection 2 product"
    with tarfile.open(tmp_path / "as downloaded.tar.gz", "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    for place in (folder, folder / f"{PRE}_MTL.txt", tmp_path / "as downloaded.tar.gz"):
        with pytest.raises(InputError, match=message):
            landsat.read_one(place, ("red",))
    # A product beside it is read.
    landsat.make(tmp_path / landsat.OLI9, landsat.OLI9, "OLI_TIRS", landsat.OLI_KEYS)
    archive = Archive(str(tmp_path))
    keys = [item.key for item in registry.source_of(archive).items(archive)]
    assert keys == [landsat.OLI9, PRE]


@pytest.mark.parametrize(
    "mtl", [f"{PRE}_MTL.txt", "MTL.txt", f"{landsat.OLI9}_MTL.json", "scene_MTL.xml"]
)
def test_the_files_of_a_product_are_no_geotiff_scenes(tmp_path: Path, mtl: str) -> None:
    write_raster(tmp_path / "a" / "B4.TIF", texture(landsat.GRID, 0, 9, "uint16"), landsat.GRID)
    (tmp_path / "a" / mtl).write_text("GROUP = L1_METADATA_FILE\n")
    archive = Archive(str(tmp_path), source="geotiff")
    with pytest.raises(InputError, match=rf"holds a/{mtl}, the metadata.*give scenes\.pattern"):
        list(registry.source_of(archive).items(archive))
    pattern = replace(archive, pattern="{band}.TIF")
    assert len(list(registry.source_of(pattern).items(pattern))) == 1


def test_an_mtl_that_was_saved_on_windows_is_read(tmp_path: Path) -> None:
    landsat.make(tmp_path, landsat.OLI9, "OLI_TIRS", landsat.OLI_KEYS)
    expected = landsat.read_one(tmp_path, ("red",))
    for form in ("xml", "json"):
        (tmp_path / f"{landsat.OLI9}_MTL.{form}").unlink()
    path = tmp_path / f"{landsat.OLI9}_MTL.txt"
    path.write_text(path.read_text(), encoding="utf-8-sig", newline="\r\n")
    assert landsat.read_one(tmp_path, ("red",)) == expected


def test_bands_without_their_mtl_are_a_product_that_fails(tmp_path: Path) -> None:
    folder = landsat.make(tmp_path / landsat.OLI9, landsat.OLI9, "OLI_TIRS", landsat.OLI_KEYS)
    for path in folder.glob("*_MTL.*"):
        path.unlink()
    with pytest.raises(
        InputError, match=rf"{landsat.OLI9} .* has no {landsat.OLI9}_MTL\.txt, .*scenes\.pattern"
    ):
        landsat.read_one(tmp_path, ("red",))
    pattern = Archive(str(tmp_path), pattern="{scene}_SR_{band}.TIF")
    assert registry.source_of(pattern).name == "geotiff"
    # A file that the user made of a product is his own.
    made = tmp_path / "made"
    write_raster(
        made / f"{landsat.OLI9}_stack.tif", texture(landsat.GRID, 0, 9, "uint16"), landsat.GRID
    )
    assert registry.source_of(Archive(str(made))).name == "geotiff"


def test_what_a_product_is_comes_from_its_mtl(tmp_path: Path) -> None:
    folder = landsat.make(tmp_path / "my scene", landsat.OLI9, "OLI_TIRS", landsat.OLI_KEYS)
    expected = landsat.read_one(folder, ("red",))
    # Names in lower case, and an MTL that the user renamed.
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(path.name.lower()))
    for form in ("json", "xml"):
        next(folder.glob(f"*_mtl.{form}")).unlink()
    next(folder.glob("*_mtl.txt")).rename(folder / "MTL.txt")
    scene = landsat.read_one(folder, ("red",))
    assert (scene.scene_id, scene.clear, scene.datetime) == (
        landsat.OLI9,
        expected.clear,
        expected.datetime,
    )
    (folder / f"{landsat.OLI9}_sr_b4.tif".lower()).unlink()
    with pytest.raises(
        InputError, match=rf"{landsat.OLI9} has no band red; it has .*blue \(SR_B2\)"
    ):
        landsat.read_one(folder, ("red",))
    (folder / "MTL.txt").write_text('GROUP = A\n  X = "1"\nEND_GROUP = A\nEND\n')
    with pytest.raises(InputError, match=r"MTL\.txt is not the MTL of a Landsat product"):
        landsat.read_one(folder, ("red",))


def test_products_of_two_kinds_are_not_taken_for_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    safe = tmp_path / "S2A_MSIL2A_20190628T073621_N0213_R092_T33UVP_20191121T145522.SAFE"
    safe.mkdir()
    (safe / "MTD_MSIL2A.xml").write_text("<P/>")
    stac.raster(safe / "GRANULE" / "x" / "IMG_DATA" / "x_B02_10m.tif")
    stac.raster(tmp_path / "labels" / "labels.tif")
    assert registry.source_of(Archive(str(tmp_path))).name == "sentinel2"
    with caplog.at_level("INFO", "lulc"):
        registry.source_of(Archive(str(tmp_path)))
    assert f"1 files of archive {tmp_path}" in caplog.text and "labels/labels.tif" in caplog.text
    for name in ("renamed.zip", "old.tar.bz2", f"{safe.stem}.zip.part", f"{safe.stem}.zip"):
        (tmp_path / name).write_bytes(b"")
    caplog.clear()
    with caplog.at_level("INFO", "lulc"):
        registry.source_of(Archive(str(tmp_path)))
    assert f"4 files of archive {tmp_path}" in caplog.text and "and 1 more" in caplog.text
    (tmp_path / "LC81920282016100LGN00_MTL.txt").write_text("")
    with pytest.raises(InputError, match=r"products of sentinel2, landsat: give scenes an entry"):
        registry.source_of(Archive(str(tmp_path)))
    assert registry.source_of(Archive(str(tmp_path), source="landsat")).name == "landsat"


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (("my scene.zip",), r"unzip -q -n 'my scene\.zip'"),
        (("scene.tar.gz",), r"tar -xf scene\.tar\.gz"),
        (("a.tar", "b.tar.gz"), r"tar -xf a\.tar .*&& tar -xf b\.tar\.gz"),
        (("scene.zip.001", "scene.zip.002"), r"cat scene\.zip\.001 scene\.zip\.002 > scene\.zip"),
        (("scene.z01", "scene.zip"), r"zip -q -s 0 scene\.zip --out"),
        (("scene.7z",), r"7z x scene\.7z"),
    ],
)
def test_an_archive_of_downloads_says_how_to_unpack_them(
    tmp_path: Path, names: tuple[str, ...], command: str
) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=rf"holds no scenes: .*unpack them: cd .*{command}"):
        registry.source_of(Archive(str(tmp_path)))


def test_a_zip_of_plain_files_says_how_to_unpack_it(tmp_path: Path) -> None:
    stac.raster(tmp_path / "a" / "red_20240608.tif")
    packed = shutil.make_archive(str(tmp_path / "scene"), "zip", tmp_path / "a")
    with pytest.raises(InputError, match=r"found 1 \.zip, 1 \.tif; .*unzip -q -n scene\.zip"):
        registry.source_of(Archive(packed))


def test_safe_products_that_are_not_read_are_no_geotiff_scenes(tmp_path: Path) -> None:
    slc = tmp_path / "S1A_IW_SLC__1SDV_20240608T052000_20240608T052027_054230_069890_1234.SAFE"
    stac.raster(slc / "measurement" / "s1a-iw1-slc-vv.tiff")
    (slc / "manifest.safe").write_text("<xfdu/>")
    archive = Archive(str(tmp_path))
    with pytest.raises(InputError, match=r"SAFE/manifest\.safe, the metadata of a product.*GRD"):
        list(registry.source_of(archive).items(archive))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("LC81920282016100LGN00_B2.TIF", "LC81920282016100LGN00_B3.TIF"), True),
        (("a/T33UVP_20190628T073621_B02_10m.tif", "a/T33UVP_20190628T073621_B8A_20m.tif"), True),
        (("HLS.L30.T33UVP.2020154T101010.v2.0.B04.tif",) * 2, False),
        (("x_band4.tif", "x_band5.tif"), True),
        (("tile_1.tif", "tile_2.tif", "a_b1.tif", "c_b2.tif"), False),
    ],
)
def test_bands_that_are_taken_for_scenes_are_told(
    tmp_path: Path, names: tuple[str, ...], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for name in names:
        stac.raster(tmp_path / name)
    archive = Archive(str(tmp_path))
    with caplog.at_level("INFO", "lulc"):
        items = list(registry.source_of(archive).items(archive))
    assert len(items) == len(set(names))
    assert ("give scenes.pattern, such as {scene}_{band}.tif" in caplog.text) == told


def test_bands_kept_as_geotiff_are_read(tmp_path: Path) -> None:
    root = sentinel2.make_product(tmp_path / "jp2", "2A", "05.11", ("B02", "B04"))
    original = sentinel2.read_one(tmp_path / "jp2", ("blue", "B04"))
    copy = tmp_path / "tif" / root.name
    shutil.copytree(root, copy)
    for n, path in enumerate(sorted(copy.rglob("IMG_DATA/**/*.jp2"))):
        with rasterio.open(path) as data:
            pixels, side = data.read(), round(data.res[0])
        path.unlink()
        write_raster(
            path.with_suffix((".tif", ".TIF", ".tiff")[n % 3]), pixels, sentinel2.grid(side)
        )
    scene = sentinel2.read_one(tmp_path / "tif", ("blue", "B04"))
    assert {Path(band.href).suffix.lower() for band in scene.bands} <= {".tif", ".tiff"}
    for band, expected in zip(scene.bands, original.bands, strict=True):
        # Bands in a TIFF are open_raster's: all but their addresses are those of the JPEG 2000.
        assert replace(band, href="") == replace(expected, href="")
    assert (scene.clear, scene.properties) == (original.clear, original.properties)
    # Of a band in both forms the original is read.
    shutil.copytree(root, copy, dirs_exist_ok=True)
    assert sentinel2.read_one(tmp_path / "tif", ("blue",)).bands[0].href.endswith("B02_10m.jp2")


def test_a_product_without_bands_or_without_one_of_them_is_named(tmp_path: Path) -> None:
    root = sentinel2.make_product(tmp_path, "2A", "05.11", ("B02", "B04"))
    with pytest.raises(InputError, match=r"no band nir, swir16; it has blue \(B02\), red \(B04\)"):
        sentinel2.read_one(tmp_path, ("red", "nir", "swir16"))
    for path in root.rglob("*_B0?_*"):
        path.unlink()
    with pytest.raises(InputError, match=r"no band red; it has no other: download"):
        sentinel2.read_one(tmp_path, ("red",))
    with pytest.raises(InputError, match=r"S2B_MSIL2A\S+ has no band that can be read: download"):
        sentinel2.read_one(tmp_path)


def test_folders_around_a_product_are_none(tmp_path: Path) -> None:
    root = sentinel2.make_product(tmp_path / "one", "2A", "05.11", ("B02",))
    expected = sentinel2.read_one(tmp_path / "one", ("blue",))
    # Unpacked into a folder of its own name, by macOS, and renamed by the user.
    nested = tmp_path / "two" / root.name
    shutil.copytree(root, nested / root.name)
    (nested / "readme.txt").write_text("unpacked")
    waste = nested / "__MACOSX" / root.name
    shutil.copytree(root / "GRANULE", waste / "GRANULE")
    (waste / "MTD_MSIL2A.xml").write_text("")
    (nested / root.name / "._MTD_MSIL2A.xml").write_text("")
    renamed = tmp_path / "three" / "my scene"
    shutil.copytree(root, renamed)
    for folder in ("two", "three"):
        scene = sentinel2.read_one(tmp_path / folder, ("blue",))
        assert (scene.scene_id, scene.clear) == (expected.scene_id, expected.clear)


@pytest.mark.parametrize("suffix", ["zip", "tar", "gztar"])
def test_a_landsat_archive_under_any_name_is_read_from_any_depth(
    tmp_path: Path, suffix: str
) -> None:
    product = landsat.OLI9
    root = tmp_path / "a"
    folder = landsat.make(root / "a" / product, product, "OLI_TIRS", landsat.OLI_KEYS)
    expected = landsat.read_one(folder, ("red",))
    waste = root / "__MACOSX" / product
    waste.mkdir(parents=True)
    for place in (waste, folder):
        (place / f"._{product}_MTL.txt").write_text("macOS")
        (place / f"._{product}_SR_B4.TIF").write_text("macOS")
    packed = shutil.make_archive(str(tmp_path / "my scene"), suffix, root)
    for place in (root, Path(packed)):
        scene = landsat.read_one(place, ("red",))
        assert (scene.scene_id, scene.clear) == (product, expected.clear)
        assert [band.name for band in scene.bands] == ["red", "quality", "saturation"]


def test_an_hdf_file_of_any_name_is_modis_but_among_geotiff_files(tmp_path: Path) -> None:
    (tmp_path / "renamed.HDF").write_bytes(b"")
    assert registry.source_of(Archive(str(tmp_path))).name == "modis"
    stac.raster(tmp_path / "scene.tif")
    assert registry.source_of(Archive(str(tmp_path))).name == "geotiff"
    (tmp_path / "MOD13Q1.A2022017.h12v11.061.2022034232400.hdf").write_bytes(b"")
    assert registry.source_of(Archive(str(tmp_path))).name == "modis"


@pytest.mark.parametrize("content", [b"{", b'{"type": "Feature", "assets"', b"\xff\xfe\xfd"])
def test_json_that_is_damaged_is_named_where_nothing_else_is(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "item.json").write_bytes(content)
    for place in (tmp_path, tmp_path / "item.json"):
        with pytest.raises(InputError, match=r"item\.json is not sound JSON .*: fetch it anew"):
            registry.source_of(Archive(str(place)))


def test_a_table_of_items_that_is_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "items.parquet").write_bytes(b"PAR1" + bytes(100))
    for place in (tmp_path, tmp_path / "items.parquet"):
        with pytest.raises(
            InputError, match=r"items\.parquet is not a sound table .*fetch it anew"
        ):
            registry.source_of(Archive(str(place)))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("b_20230502.tar.gz", True),
        ("b_20230502.tif.part", True),
        ("b_20230502.jp2", True),
        ("deep/b.NC", True),
        ("readme.txt", False),
        ("b_20230502.csv", False),
    ],
)
def test_files_beside_geotiff_scenes_that_may_be_scenes_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, other: str, told: bool
) -> None:
    write_raster(tmp_path / "a_20230501.tif", texture(landsat.GRID, 1, 9, "uint16"), landsat.GRID)
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).write_bytes(b"")
    with caplog.at_level("INFO", "lulc"):
        assert registry.source_of(Archive(str(tmp_path))).name == "geotiff"
    assert (f"are not read: {other}; unpack archives" in caplog.text) == told

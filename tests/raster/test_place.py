"""Where a raster file lies: by its own definition, or nowhere; files beside it are not unseen."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from lulc.errors import InputError
from lulc.geo.grid import Grid, crs_text, same_crs, transformer
from lulc.raster import reader
from lulc.raster.access import ReadError, open_raster
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5.3e6), 20, 30)
PIXELS = np.arange(600, dtype="uint16").reshape(20, 30)
HAYFORD = (
    'PROJCS["unnamed",GEOGCS["unnamed",DATUM["{datum}",'
    'SPHEROID["International 1909 (Hayford)",6378388,297]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",15],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
    'PARAMETER["false_northing",0],UNIT["metre",1]]'
)
BANDS = {"count": 1, "dtype": "uint16", "height": 20, "width": 30, "driver": "GTiff"}


def write(path: Path, **profile: Any) -> str:
    with rasterio.open(path, "w", **BANDS | profile) as file:
        file.write(PIXELS, 1)
    return str(path)


def write_pam(path: Path, content: str) -> None:
    Path(f"{path}.aux.xml").write_text(f"<PAMDataset>{content}</PAMDataset>")


@pytest.mark.parametrize("datum", ["unknown", "Unknown", "D_Unknown", "not_specified"])
def test_an_unknown_datum_stays_unknown(tmp_path: Path, datum: str) -> None:
    crs = HAYFORD.format(datum=datum)
    grid = reader.grid_of(write(tmp_path / "a.tif", crs=crs, transform=GRID.affine))
    assert "EPSG:23033" not in grid.crs
    assert not same_crs(grid.crs, "EPSG:23033")
    # ED50 and WGS 84 are 115 m apart there, an unknown datum is not moved.
    x, y = transformer(grid.crs, "EPSG:4326").transform(5e5, 5.3e6)
    ellipsoid_lon, _ = pyproj.Proj(grid.crs)(5e5, 5.3e6, inverse=True)
    assert x == pytest.approx(ellipsoid_lon, abs=1e-9)
    assert y == pytest.approx(pyproj.Proj(grid.crs)(5e5, 5.3e6, inverse=True)[1], abs=1e-9)


@pytest.mark.parametrize(
    ("crs", "expected"),
    [
        ("EPSG:32633", "EPSG:32633"),
        ("ESRI:102008", "ESRI:102008"),
        ("+proj=utm +zone=33 +datum=WGS84", "EPSG:32633"),
        ("EPSG:32633+5773", "EPSG:32633"),
        ("EPSG:27700+5701", "EPSG:27700"),
        ("EPSG:4979", "EPSG:4326"),
    ],
)
def test_a_code_stands_for_its_own_definition(crs: str, expected: str) -> None:
    assert crs_text(rasterio.CRS.from_user_input(crs).to_wkt()) == expected


@pytest.mark.parametrize("code", [3035, 31287, 2193, 32633, 3857, 4326, 28992, 27700])
def test_a_code_and_another_software_s_wkt_of_it_are_one_crs(code: int) -> None:
    # ESRI's WKT has other names of datums, and the axes of maps in the order of a map.
    crs = rasterio.CRS.from_epsg(code)
    assert crs_text(crs.to_wkt(version="WKT1_ESRI")) == f"EPSG:{code}"


@pytest.mark.parametrize(
    "crs",
    [
        "+proj=utm +zone=33 +ellps=WGS84",
        "+proj=utm +zone=33 +ellps=intl +towgs84=-87,-98,-121",
        "+proj=lcc +lat_1=49.5 +lat_2=44 +lat_0=46.6 +lon_0=3 +datum=WGS84",
        "+proj=sinu +R=6371007.181 +units=m",
    ],
)
def test_a_crs_that_is_merely_like_a_code_keeps_its_own_definition(crs: str) -> None:
    text = crs_text(rasterio.CRS.from_user_input(crs).to_wkt())
    assert text.startswith(("PROJCS", "PROJCRS", "BOUNDCRS"))
    assert same_crs(text, rasterio.CRS.from_user_input(crs).to_wkt())


def test_a_crs_without_transform_is_no_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", crs="EPSG:32633")
    for read in (reader.grid_of, reader.read_whole):
        with pytest.raises(InputError, match=r"a\.tif has a CRS but no transform.*-a_ullr"):
            read(path)
    with pytest.raises(InputError, match=r"a\.tif has no CRS"):
        reader.grid_of(write(tmp_path / "a.tif"))
    assert reader.read_whole(write(tmp_path / "a.tif"))[2] is None
    local = 'LOCAL_CS["hall",UNIT["metre",1]]'
    path = write(tmp_path / "local.tif", crs=local, transform=GRID.affine)
    with pytest.raises(InputError, match=r"local\.tif has a local CRS"):
        reader.grid_of(path)


def test_points_and_polynomials_alone_are_no_grid(tmp_path: Path) -> None:
    points = [GroundControlPoint(r, c, c, -r, 0) for r, c in ((0, 0), (0, 9), (9, 0), (9, 9))]
    path = write(tmp_path / "points.tif", gcps=points, crs="EPSG:4326")
    with pytest.raises(InputError, match=r"points\.tif is placed by ground control points"):
        reader.grid_of(path)
    ones = [1.0] + [0.0] * 19
    rpcs = RPC(0, 1, 0, 1, ones, ones, 0, 1, 0, 1, ones, ones, 0, 1)
    path = write(tmp_path / "rpc.tif", rpcs=rpcs)
    with pytest.raises(InputError, match=r"rpc\.tif is placed by rational polynomials"):
        reader.grid_of(path)


def test_the_place_of_a_pixel_may_be_its_centre(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", crs=GRID.crs, transform=GRID.affine)
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    assert reader.grid_of(path) == GRID


# What lies beside a file.


@pytest.mark.parametrize("name", ["a.tif", "a b#1?.tif", "a.png"])
def test_a_mask_beside_a_file_is_refused(tmp_path: Path, name: str) -> None:
    driver = "PNG" if name.endswith("png") else "GTiff"
    path = write(tmp_path / name, driver=driver)
    write(tmp_path / "other.tif")
    Path(f"{path}.msk").write_bytes((tmp_path / "other.tif").read_bytes())
    with pytest.raises(ReadError) as caught, open_raster(path):
        pass
    assert f"{path}.msk masks it. Write both into one file (gdal_translate" in str(caught.value)


def test_a_mask_beside_a_file_in_a_zip_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a.tif", "a.tif.msk", "b.tif", "c.tif"):
            archive.write(tmp_path / "a.tif", name)
        archive.writestr("c.tif.aux.xml", "<PAMDataset><SRS>EPSG:4326</SRS></PAMDataset>")
    for name, what in (("a.tif", "msk"), ("c.tif", "CRS")):
        with pytest.raises(ReadError, match=what):
            reader.read_whole(f"{tmp_path}/x.zip!/{name}")
    assert reader.read_whole(f"{tmp_path}/x.zip!/b.tif")[1].all()


HARMLESS = [
    "<Histograms/><Metadata><MDI key='AREA_OR_POINT'>Area</MDI></Metadata>",
    "<PAMRasterBand band='1'><Metadata><MDI key='STATISTICS_MEAN'>3</MDI></Metadata>"
    "<Minimum>1</Minimum><Description>Band_1</Description></PAMRasterBand>",
    f"<SRS>{rasterio.CRS.from_epsg(32633).to_wkt()}</SRS>",
    "<GeoTransform> 5.0e+05, 1.0e+01, 0, 5.3e+06, 0, -1.0e+01</GeoTransform>",
    "<PAMRasterBand band='1'><NoDataValue>7</NoDataValue><Scale>1</Scale></PAMRasterBand>",
    "<PAMRasterBand band='1'><ColorInterp>Gray</ColorInterp></PAMRasterBand>",
]
CHANGES = {
    "nodata value": "<PAMRasterBand band='1'><NoDataValue>0</NoDataValue></PAMRasterBand>",
    "scale": "<PAMRasterBand band='1'><Scale>0.1</Scale></PAMRasterBand>",
    "offset": "<PAMRasterBand band='1'><Offset>-1000</Offset></PAMRasterBand>",
    "colour interpretation": "<PAMRasterBand band='1'><ColorInterp>Alpha</ColorInterp>"
    "</PAMRasterBand>",
    "colour table": "<PAMRasterBand band='1'><ColorTable><Entry c1='1'/></ColorTable>"
    "</PAMRasterBand>",
    "class names": "<Metadata><MDI key='CLASS_1'>water</MDI></Metadata>",
    "nodata values": "<Metadata><MDI key='NODATA_VALUES'>0</MDI></Metadata>",
    "CRS": "<SRS>EPSG:32632</SRS>",
    "transform": "<GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>",
}


@pytest.mark.parametrize("content", HARMLESS)
def test_a_file_of_statistics_changes_nothing(tmp_path: Path, content: str) -> None:
    path = write_raster(tmp_path / "a.tif", PIXELS, GRID, nodata=7)
    write_pam(path, content)
    Path(f"{path}.ovr").write_bytes(b"anything")
    found, valid = reader.read_band(str(path), 1, GRID, "nearest", None)
    np.testing.assert_array_equal(found[valid], PIXELS[PIXELS != 7])


@pytest.mark.parametrize("what", CHANGES)
def test_metadata_beside_a_file_that_say_otherwise_are_refused(tmp_path: Path, what: str) -> None:
    path = write_raster(tmp_path / "a.tif", PIXELS, GRID, nodata=7)
    write_pam(path, CHANGES[what])
    with pytest.raises(ReadError, match=rf"a\.tif\.aux\.xml gives its {what}\. Write both"):
        reader.grid_of(str(path))


@pytest.mark.parametrize(
    "content",
    ["", "<PAM", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "<a><GeoTransform>1</GeoTransform>"],
)
def test_damaged_metadata_beside_a_file_are_refused(tmp_path: Path, content: str) -> None:
    path = write_raster(tmp_path / "a.tif", PIXELS, GRID)
    Path(f"{path}.aux.xml").write_text(content)
    with pytest.raises(ReadError, match=r"a\.tif\.aux\.xml cannot be read"):
        reader.grid_of(str(path))


def test_names_of_bands_beside_a_file_are_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.stack([PIXELS, PIXELS]), GRID)
    write_pam(path, "<PAMRasterBand band='1'><Description>nir</Description></PAMRasterBand>")
    with pytest.raises(ReadError, match="gives its names of bands"):
        reader.grid_of(str(path))


@pytest.mark.parametrize(("name", "driver"), [("a.png", "PNG"), ("a.jp2", "JP2OpenJPEG")])
def test_a_place_beside_a_picture_is_its_place(tmp_path: Path, name: str, driver: str) -> None:
    path = tmp_path / name
    write(path, driver=driver)
    write_pam(
        path,
        f"<SRS>EPSG:32633</SRS><GeoTransform>{', '.join(map(str, GRID.affine.to_gdal()))}"
        "</GeoTransform>",
    )
    assert reader.grid_of(str(path)) == GRID
    assert reader.read_whole(str(path))[2] == GRID


@pytest.mark.parametrize("ending", [".tfw", ".TFW", ".tifw", ".wld"])
def test_a_world_file_is_the_transform_that_a_file_lacks(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / "a.tif", crs="EPSG:32633")
    (tmp_path / f"a{ending}").write_text("10\n0\n0\n-10\n500005\n5299995\n")
    assert reader.grid_of(path) == GRID
    # One that a file does not need is not looked at.
    path = write(tmp_path / "a.tif", crs="EPSG:32633", transform=Affine(5, 0, 1e5, 0, -5, 1e6))
    assert reader.grid_of(path).transform == (5, 0, 1e5, 0, -5, 1e6)
    path = write(tmp_path / "a.tif", crs="EPSG:32633")
    (tmp_path / f"a{ending}").write_text("10 0\n")
    with pytest.raises(InputError, match=rf"a{ending} cannot be read"):
        reader.grid_of(path)


def test_a_file_s_own_place_and_one_beside_it_are_the_same(tmp_path: Path) -> None:
    own = write(tmp_path / "own.tif", crs=GRID.crs, transform=GRID.affine)
    beside = write(tmp_path / "beside.tif")
    write_pam(Path(beside), f"<SRS>{GRID.crs}</SRS>")
    (tmp_path / "beside.tfw").write_text("10\n0\n0\n-10\n500005\n5299995\n")
    grid = Grid("EPSG:3035", (12.0, 0.0, 4.53e6, 0.0, -12.0, 2.77e6), 9, 9)
    for path in (own, beside):
        assert reader.grid_of(path) == GRID
    one, other = (reader.read_band(path, 1, grid, "bilinear", None) for path in (own, beside))
    np.testing.assert_array_equal(one, other)

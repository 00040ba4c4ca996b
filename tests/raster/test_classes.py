"""Classes of a raster and where it has any, however a file says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from lulc.errors import InputError
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.legend import NODATA, join_names
from lulc.raster import classes
from lulc.raster.access import ReadError
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 40, 60)
IDS = np.random.default_rng(0).choice(np.array([0, 1, 7, 254, NODATA], np.uint8), GRID.shape)
SEEN = IDS != NODATA
WHOLE = np.s_[0:40, 0:60]


def write(path: Path, stack: np.ndarray, mask: np.ndarray | None = None, **profile: Any) -> str:
    write_raster(path, stack, GRID, **profile)
    if mask is not None:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "r+") as file,
        ):
            file.write_mask(mask)
    return str(path)


def with_alpha(path: Path, stack: np.ndarray, alpha: int, names: dict[int, str]) -> str:
    write(path, stack)
    with rasterio.open(path, "r+") as file:
        colours = [ColorInterp.gray, *[ColorInterp.undefined] * (len(stack) - 1)]
        colours[alpha - 1] = ColorInterp.alpha
        file.colorinterp = colours
        for band, name in names.items():
            file.set_band_description(band, name)
    return str(path)


def forms(folder: Path) -> dict[str, str]:
    """One map as files that say by other means where it has no class."""
    hidden = np.where(SEEN, IDS, 3).astype("uint8")
    alpha = np.where(SEEN, 255, 0).astype("uint8")
    confidence = np.full(IDS.shape, 90, "uint8")
    return {
        "undeclared": write(folder / "plain.tif", IDS),
        "255": write(folder / "n255.tif", IDS, nodata=255),
        "200": write(folder / "n200.tif", np.where(SEEN, IDS, 200).astype("uint8"), nodata=200),
        "minus": write(
            folder / "i16.tif", np.where(SEEN, IDS.astype(int), -9999).astype("int16"), nodata=-9999
        ),
        "nan": write(
            folder / "f.tif", np.where(SEEN, IDS, np.nan).astype("float32"), nodata=np.nan
        ),
        "wide": write(
            folder / "u32.tif",
            np.where(SEEN, IDS.astype(int), 2**31).astype("uint32"),
            nodata=2**31,
        ),
        "mask": write(folder / "mask.tif", hidden, mask=SEEN),
        "mask and value": write(folder / "both.tif", hidden, mask=SEEN, nodata=99),
        "alpha": with_alpha(folder / "alpha.tif", np.stack([hidden, alpha]), 2, {}),
        "alpha first": with_alpha(folder / "first.tif", np.stack([alpha, hidden]), 1, {}),
        "confidence first": with_alpha(
            folder / "c.tif", np.stack([confidence, hidden, alpha]), 3, {1: "class probability"}
        ),
        "confidence": with_alpha(
            folder / "conf.tif", np.stack([hidden, confidence, alpha]), 3, {2: "Confidence (%)"}
        ),
    }


def test_every_way_of_saying_no_class_gives_the_same_ids(tmp_path: Path) -> None:
    for name, path in forms(tmp_path).items():
        raster = classes.scan_raster(path)
        np.testing.assert_array_equal(classes.read_ids(raster, WHOLE), IDS, err_msg=name)
        assert raster.plain == (name in ("undeclared", "255")), name
        ids, covered = classes.read_ids_onto(raster, GRID.pad(2))
        np.testing.assert_array_equal(ids[2:-2, 2:-2], IDS, err_msg=name)
        assert covered.sum() == IDS.size
        assert (ids[~covered] == NODATA).all()


def test_a_value_that_the_type_cannot_hold_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", IDS, nodata=255)
    for value in (b"-9999", b"nan", b"256"):
        # GDAL lets no one write such a value, other programs do.
        damaged = Path(path).read_bytes().replace(b"255\x00", value[:3] + b"\x00", 1)
        other = tmp_path / f"{value.decode()}.tif"
        other.write_bytes(damaged)
        np.testing.assert_array_equal(classes.read_ids(classes.scan_raster(str(other)), WHOLE), IDS)


def test_points_and_pictures_have_the_class_of_their_pixel_in_any_orientation(
    tmp_path: Path,
) -> None:
    a, _, c, _, e, f = GRID.transform
    turned = {
        "north": (IDS, GRID),
        "south": (IDS[::-1], Grid(GRID.crs, (a, 0, c, 0, -e, f + 40 * e), 40, 60)),
        "west": (IDS[:, ::-1], Grid(GRID.crs, (-a, 0, c + 60 * a, 0, e, f), 40, 60)),
        "turned": (IDS.T, Grid(GRID.crs, (0, a, c, e, 0, f), 60, 40)),
    }
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(0, 40, 50), rng.integers(0, 60, 50)
    lon, lat = transformer(GRID.crs, WGS84).transform(*(GRID.affine @ (cols + 0.4, rows + 0.6)))
    for name, (ids, grid) in turned.items():
        write_raster(tmp_path / f"{name}.tif", np.ascontiguousarray(ids), grid, nodata=255)
        raster = classes.scan_raster(str(tmp_path / f"{name}.tif"))
        np.testing.assert_array_equal(classes.ids_at(raster, lon, lat), IDS[rows, cols], name)
        np.testing.assert_array_equal(classes.read_ids_onto(raster, GRID)[0], IDS, name)
        np.testing.assert_array_equal(classes.read_mode_onto(raster, GRID), IDS, name)
    assert (classes.ids_at(raster, np.array([0.0, 15.0]), np.array([0.0, -47.0])) == NODATA).all()


def test_a_coarse_grid_takes_the_pixel_at_its_centres(tmp_path: Path) -> None:
    raster = classes.scan_raster(write(tmp_path / "a.tif", IDS))
    ids, _ = classes.read_ids_onto(raster, GRID.coarsen(5))
    np.testing.assert_array_equal(ids, IDS[2::5, 2::5])


def test_bands_that_are_no_classes_are_named(tmp_path: Path) -> None:
    years = write(tmp_path / "years.tif", np.stack([IDS.astype("uint16")] * 2))
    with pytest.raises(
        InputError, match=r"years\.tif is no class raster: it has bands 1 \(gray\), 2 \("
    ):
        classes.scan_raster(years)
    picture = write(tmp_path / "rgb.tif", np.stack([IDS] * 3), photometric="RGB")
    with pytest.raises(InputError, match=r"rgb\.tif .*red, green and blue, a picture of classes"):
        classes.scan_raster(picture)
    shares = write(tmp_path / "shares.tif", np.full(IDS.shape, 0.25, "float32"))
    with pytest.raises(InputError, match=r"shares\.tif holds 0\.25: class ids from 0 to 254"):
        classes.read_ids(classes.scan_raster(shares), WHOLE)
    both = write(tmp_path / "both.tif", IDS, nodata=0)
    with pytest.raises(InputError, match=r"both\.tif holds 255"):
        classes.read_ids(classes.scan_raster(both), WHOLE)


def test_ids_and_names_are_one_to_one() -> None:
    a, b = ("a.tif", {1: "water", 2: "forest"}), ("b.tif", {2: "Forest ", 5: "town"})
    assert join_names([a, b]) == {1: "water", 2: "forest", 5: "town"}
    assert join_names([("d.json", {1: "1"}), a]) == {1: "water", 2: "forest"}
    assert join_names([("only.tif", {7: "ice"})]) == {7: "ice"}
    for names, text in (
        ({1: "crops"}, "class 1 is 'water' in a.tif and 'crops' in c.tif"),
        ({3: "Water"}, "'Water' is class 1 in a.tif and class 3 in c.tif"),
        ({3: "1"}, "c.tif names class 3 '1', which reads as another id"),
        ({9: "class 2"}, "c.tif names class 9 'class 2', which reads as another id"),
        ({9: "Class_2"}, "c.tif names class 9 'Class_2', which reads as another id"),
        ({9: "#2"}, "c.tif names class 9 '#2', which reads as another id"),
        ({7: "ice", 8: "ICE"}, "'ICE' is class 7 in c.tif and class 8 in c.tif"),
    ):
        with pytest.raises(InputError, match=text):
            join_names([a, ("c.tif", names)])


def test_classes_of_signed_bytes(tmp_path: Path) -> None:
    ids = np.where(SEEN, IDS.astype(int).clip(0, 100), -1).astype("int8")
    expected = np.where(SEEN, ids.astype(int), NODATA)
    raster = classes.scan_raster(write(tmp_path / "a.tif", ids, nodata=-1))
    np.testing.assert_array_equal(classes.read_ids(raster, WHOLE), expected)
    np.testing.assert_array_equal(classes.read_mode_onto(raster, GRID), expected)
    whole = write(tmp_path / "b.tif", np.ones(GRID.shape, "int8"))
    assert (classes.read_ids(classes.scan_raster(whole), WHOLE) == 1).all()


CATEGORIES = "<CategoryNames><Category/><Category>water</Category></CategoryNames>"
TABLE = (
    "<GDALRasterAttributeTable>"
    "<FieldDefn><Name>Value</Name><Usage>{value}</Usage></FieldDefn>"
    "<FieldDefn><Name>Count</Name><Usage>{count}</Usage></FieldDefn>"
    "<FieldDefn><Name>Class_Name</Name><Usage>{name}</Usage></FieldDefn>"
    "<Row><F>1</F><F>9</F><F>water</F></Row><Row><F>2</F><F>0</F><F>water</F></Row>"
    "<Row><F>7</F><F>3</F><F></F></Row></GDALRasterAttributeTable>"
)


@pytest.mark.parametrize(
    "beside",
    [CATEGORIES, TABLE.format(value=5, count=1, name=2), TABLE.format(value=0, count=0, name=0)],
    ids=["categories", "table", "table of plain columns"],
)
def test_names_of_classes_beside_a_raster_are_its_names(tmp_path: Path, beside: str) -> None:
    path = write(tmp_path / "a.tif", IDS)
    Path(f"{path}.aux.xml").write_text(
        f"<PAMDataset><PAMRasterBand band='1'>{beside}</PAMRasterBand></PAMDataset>"
    )
    assert classes.scan_raster(path).names == ((1, "water"),)
    with rasterio.open(path, "r+") as file:
        file.update_tags(CLASS_1="crops")
    with pytest.raises(ReadError, match=r"a\.tif\.aux\.xml gives its class names"):
        classes.scan_raster(path)


def test_a_table_of_counts_alone_names_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", IDS)
    table = TABLE.format(value=5, count=1, name=0).replace("Class_Name", "Remark")
    Path(f"{path}.aux.xml").write_text(
        f"<PAMDataset><PAMRasterBand band='1'>{table}</PAMRasterBand></PAMDataset>"
    )
    assert classes.scan_raster(path).names == ()


def test_names_in_a_damaged_table_are_an_error_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", IDS)
    table = TABLE.format(value=5, count=1, name=2).replace("<F>1</F>", "<F>inf</F>")
    Path(f"{path}.aux.xml").write_text(
        f"<PAMDataset><PAMRasterBand band='1'>{table}</PAMRasterBand></PAMDataset>"
    )
    with pytest.raises(InputError, match=r"a\.tif\.aux\.xml cannot be read"):
        classes.scan_raster(path)


def test_names_in_the_tags_of_a_band_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", IDS)
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, CLASS_1="water")
        file.update_tags(class_7="town", **{"CLASS_²": "none"})
    assert classes.scan_raster(path).names == ((1, "water"), (7, "town"))

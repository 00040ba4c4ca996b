"""Labels on a grid: equal to GDAL's nearest, mode and rasterise; undeclared codes."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject

from lulc.config import LabelConf
from lulc.errors import InputError, UsageError
from lulc.geo.grid import WGS84, Grid, parse_crs, transformer
from lulc.legend import NODATA, LandClass, Legend
from lulc.samples.labels import read_labels, read_labels_counting

LEGEND = Legend(
    "three",
    (
        LandClass(1, "Water", "#0000ff"),
        LandClass(2, "forest", "#00ff00"),
        LandClass(5, "bare ground", "#aaaaaa"),
    ),
)
GRID = Grid("EPSG:32612", (30.0, 0.0, 320_000.0, 0.0, -30.0, 4_140_000.0), 96, 112)


def write_raster(
    path: Path,
    codes: np.ndarray,
    crs: str,
    pixel: float,
    corner: tuple[float, float],
    **profile: object,
) -> str:
    transform = from_origin(*corner, pixel, pixel)
    shape = {"height": codes.shape[0], "width": codes.shape[1], "count": 1, "dtype": codes.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", crs=crs, transform=transform, **shape, **profile
    ) as file:
        file.write(codes, 1)
    return str(path)


def blobs(shape: tuple[int, int], ids: tuple[int, ...], seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).choice(
        np.array(ids, np.uint8), (shape[0] // 8 + 1, shape[1] // 8 + 1)
    )
    return np.kron(coarse, np.ones((8, 8), np.uint8))[: shape[0], : shape[1]]


def write_polygons(
    path: Path,
    shapes: list[shapely.Geometry],
    column: str,
    values: list[object],
    crs: str = GRID.crs,
) -> str:
    geopandas.GeoDataFrame({column: values}, geometry=shapes, crs=crs).to_file(path)
    return str(path)


@pytest.mark.parametrize("crs", ["EPSG:26912", "EPSG:5070", "EPSG:4269"])
def test_a_raster_on_another_datum_is_read_as_gdal_would(tmp_path: Path, crs: str) -> None:
    x, y = GRID.affine @ (GRID.width / 2, GRID.height / 2)
    x, y = transformer(GRID.crs, crs).transform(x, y)
    pixel = 31.53 / (111_000 if parse_crs(crs).is_geographic else 1)
    codes = blobs((160, 160), (1, 2, 5, 0))
    path = write_raster(
        tmp_path / "codes.tif", codes, crs, pixel, (x - 80 * pixel, y + 80 * pixel), nodata=0
    )
    expected = np.zeros(GRID.shape, np.uint8)
    with rasterio.open(path) as file:
        place = {
            "src_transform": file.transform,
            "src_crs": crs,
            "dst_transform": GRID.affine,
            "dst_crs": GRID.crs,
        }
        reproject(codes, expected, **place, resampling=Resampling.nearest, tolerance=0)
    found = read_labels(LabelConf(path), LEGEND, GRID)
    same = found == np.where(expected == 0, NODATA, expected)
    # A pixel centre within rounding of an edge between two label pixels may fall either way.
    assert same.mean() > 0.999
    assert len(np.unique(found)) == 4


def test_a_finer_raster_gives_the_majority_of_its_classes_after_the_crosswalk(
    tmp_path: Path,
) -> None:
    cell = np.array([41] * 5 + [42] * 4 + [11] * 7, np.uint8).reshape(
        4, 4
    )  # 11 is the commonest code, 41 and 42 are forest
    codes = np.tile(cell, GRID.shape)
    codes[:4, 4:8] = 0
    codes[1, 5] = 11  # the one labelled pixel of sixteen
    path = write_raster(tmp_path / "fine.tif", codes, GRID.crs, 7.5, (320_000, 4_140_000), nodata=0)
    found = read_labels(LabelConf(path, crosswalk={11: 1, 41: 2, 42: 2}), LEGEND, GRID)
    expected = np.full(GRID.shape, 2)
    expected[0, 1] = 1
    np.testing.assert_array_equal(found, expected)


def test_codes_are_crossed_ignored_or_refused_with_their_number(tmp_path: Path) -> None:
    codes = blobs(GRID.shape, (11, 2, 81, 7))
    path = write_raster(tmp_path / "codes.tif", codes, GRID.crs, 30, (320_000, 4_140_000))
    found = read_labels(LabelConf(path, crosswalk={11: 1, 81: 5}, ignore=(7,)), LEGEND, GRID)
    np.testing.assert_array_equal(
        found, np.select([codes == 11, codes == 2, codes == 81], [1, 2, 5], NODATA)
    )
    with pytest.raises(InputError, match=r"codes\.tif.*\[7, 81\].*labels\.ignore"):
        read_labels(LabelConf(path, crosswalk={11: 1}), LEGEND, GRID)
    with pytest.raises(UsageError, match=r"\{11: 9\}.*\[1, 2, 5\]"):
        read_labels(LabelConf(path, crosswalk={11: 9}), LEGEND, GRID)
    hidden = read_labels(LabelConf(path, nodata=7, crosswalk={11: 1, 81: 5}), LEGEND, GRID)
    np.testing.assert_array_equal(hidden, found)


def test_outside_the_raster_there_is_no_label(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "small.tif", np.full((10, 10), 2, np.uint8), GRID.crs, 30, (320_300, 4_139_700)
    )
    found = read_labels(LabelConf(path), LEGEND, GRID)
    assert (found == 2).sum() == 100
    assert (found[10:20, 10:20] == 2).all()


def test_a_raster_whose_names_are_those_of_other_classes_is_refused(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "l.tif", np.full((96, 112), 1, np.uint8), GRID.crs, 30, (320_000, 4_140_000)
    )
    with rasterio.open(path, "r+") as file:
        file.update_tags(CLASS_1="Forest", CLASS_2="lawn", CLASS_9="water")
    with pytest.raises(InputError, match=r"code 1 'Forest', which is class 2 .* 1 is 'Water': say"):
        read_labels(LabelConf(path), LEGEND, GRID)
    assert (read_labels(LabelConf(path, crosswalk={1: 2}), LEGEND, GRID) == 2).all()
    assert (read_labels(LabelConf(path, ignore=(1,)), LEGEND, GRID) == NODATA).all()
    picture = str(tmp_path / "picture.tif")
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "photometric": "RGB"}
    place = {"crs": GRID.crs, "transform": GRID.affine, "height": 96, "width": 112}
    with rasterio.open(picture, "w", **profile, **place) as file:
        file.write(np.zeros((3, 96, 112), np.uint8))
    with pytest.raises(InputError, match=r"picture\.tif is no class raster: its bands are red"):
        read_labels(LabelConf(picture), LEGEND, GRID)


def test_fractions_in_a_class_raster_are_refused(tmp_path: Path) -> None:
    codes = np.full(GRID.shape, 1.5, np.float32)
    path = write_raster(tmp_path / "float.tif", codes, GRID.crs, 30, (320_000, 4_140_000))
    with pytest.raises(InputError, match=r"1\.5.*whole numbers"):
        read_labels(LabelConf(path), LEGEND, GRID)
    path = write_raster(
        tmp_path / "whole.tif",
        np.full(GRID.shape, 2, np.float32),
        GRID.crs,
        30,
        (320_000, 4_140_000),
    )
    assert (read_labels(LabelConf(path), LEGEND, GRID) == 2).all()


def test_polygons_own_the_pixels_whose_centres_they_cover(tmp_path: Path) -> None:
    star = shapely.Polygon(
        [(320_500, 4_139_500), (321_900, 4_139_100), (321_050, 4_138_033), (320_201, 4_137_777)]
    )
    holed = (
        shapely.Point(322_600, 4_138_500)
        .buffer(450)
        .difference(shapely.Point(322_600, 4_138_500).buffer(200))
    )
    path = write_polygons(
        tmp_path / "polygons.gpkg", [star, holed], "class", ["water", "Bare Ground"]
    )
    expected = rasterize(
        [(star, 1), (holed, 5)], GRID.shape, fill=NODATA, transform=GRID.affine, dtype="uint8"
    )
    found, conflicts = read_labels_counting(LabelConf(path, column="class"), LEGEND, GRID)
    np.testing.assert_array_equal(found, expected)
    assert conflicts == 0


def test_polygons_in_degrees_follow_the_bend_of_their_sides(tmp_path: Path) -> None:
    # 3 degrees wide: its straight northern side bows by kilometres in
    # UTM, and the file covers the grid on all sides.
    lon, lat = transformer(GRID.crs, WGS84).transform(
        *(GRID.affine @ (GRID.width / 2, GRID.height / 2))
    )
    wide = shapely.box(lon - 1.5, lat - 1, lon + 1.5, lat)
    path = write_polygons(tmp_path / "wide.geojson", [wide], "code", [2], WGS84)
    x, y = GRID.affine @ tuple(
        np.meshgrid(np.arange(GRID.width) + 0.5, np.arange(GRID.height) + 0.5)
    )
    inside = np.asarray(transformer(GRID.crs, WGS84).transform(x, y)[1]) <= lat
    found = read_labels(LabelConf(path, column="code"), LEGEND, GRID)
    assert ((found == 2) != inside).sum() <= 2


def test_where_polygons_contradict_there_is_no_label(tmp_path: Path) -> None:
    a, b, again = (
        shapely.box(x, 4_138_800, x + 900, 4_139_700) for x in (320_300, 320_900, 320_300)
    )
    path = write_polygons(tmp_path / "overlap.gpkg", [a, b, again], "code", [1, 2, 1])
    found, conflicts = read_labels_counting(LabelConf(path, column="code"), LEGEND, GRID)
    assert conflicts == 10 * 30
    assert (found[10:40, 30:40] == NODATA).all()
    assert ((found == 1).sum(), (found == 2).sum()) == (600, 600)


def test_a_polygon_that_crosses_itself_is_mended(tmp_path: Path) -> None:
    bow = shapely.Polygon(
        [(320_300, 4_139_700), (321_300, 4_138_700), (321_300, 4_139_700), (320_300, 4_138_700)]
    )
    path = write_polygons(tmp_path / "bow.gpkg", [bow], "code", [1])
    found = read_labels(LabelConf(path, column="code"), LEGEND, GRID)
    assert abs((found == 1).sum() * 900 - shapely.make_valid(bow).area) < 0.03 * 500_000


def test_values_of_the_column_are_crossed_ignored_or_refused(tmp_path: Path) -> None:
    boxes = [
        shapely.box(320_000 + 300 * i, 4_139_700, 320_300 + 300 * i, 4_140_000) for i in range(5)
    ]
    path = write_polygons(
        tmp_path / "values.gpkg", boxes, "kind", ["lake", "FOREST", None, "road", "5"]
    )
    found = read_labels(
        LabelConf(path, column="kind", crosswalk={"lake": 1}, ignore=("road",)), LEGEND, GRID
    )
    assert found[5, 5:50:10].tolist() == [1, 2, NODATA, NODATA, 5]
    with pytest.raises(InputError, match=r"\['lake', 'road'\].*'kind'.*2 forest"):
        read_labels(LabelConf(path, column="kind"), LEGEND, GRID)
    with pytest.raises(InputError, match=r"'nokind'.*: kind"):
        read_labels(LabelConf(path, column="nokind"), LEGEND, GRID)


def test_polygons_without_a_crs_or_a_file_are_refused(tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"code": [1]}, geometry=[shapely.box(0, 0, 1, 1)]).to_file(
        tmp_path / "nowhere.gpkg"
    )
    with pytest.raises(InputError, match="no CRS"):
        read_labels(LabelConf(str(tmp_path / "nowhere.gpkg"), column="code"), LEGEND, GRID)
    (tmp_path / "broken.gpkg").write_bytes(b"not a vector file")
    with pytest.raises(InputError, match=r"broken\.gpkg"):
        read_labels(LabelConf(str(tmp_path / "broken.gpkg"), column="code"), LEGEND, GRID)


@pytest.mark.parametrize(
    "shape",
    [
        shapely.Point(320_300, 4_139_700),
        shapely.MultiPoint([(320_300, 4_139_700)]),
        shapely.LineString([(320_300, 4_139_700), (320_900, 4_139_700)]),
    ],
)
def test_points_and_lines_are_no_labels(tmp_path: Path, shape: shapely.Geometry) -> None:
    path = write_polygons(tmp_path / "points.gpkg", [shape], "code", [1])
    with pytest.raises(InputError, match=r"points\.gpkg hold no polygon"):
        read_labels(LabelConf(path, column="code"), LEGEND, GRID)


def test_texts_of_the_column_are_read_as_they_are(tmp_path: Path) -> None:
    boxes = [
        shapely.box(320_000 + 300 * i, 4_139_700, 320_300 + 300 * i, 4_140_000) for i in range(5)
    ]
    texts = ["NA", "None", "007", " Caf\u00e9 ", "nan"]
    path = write_polygons(tmp_path / "texts.geojson", boxes, "kind", texts)
    crosswalk = {"NA": 1, "none": 2, "007": 5, "cafe\u0301": 1, "NaN": 2}
    found = read_labels(LabelConf(path, column="kind", crosswalk=crosswalk), LEGEND, GRID)
    assert found[5, 5:50:10].tolist() == [1, 2, 5, 1, 2]
    crosswalk["7"] = crosswalk.pop("007")
    with pytest.raises(InputError, match=r"texts\.geojson: values \['007'\]"):
        read_labels(LabelConf(path, column="kind", crosswalk=crosswalk), LEGEND, GRID)


def test_of_two_layers_the_one_with_the_column_labels(tmp_path: Path) -> None:
    box = shapely.box(320_000, 4_139_700, 320_300, 4_140_000)
    frame = geopandas.GeoDataFrame({"kind": ["water"]}, geometry=[box], crs=GRID.crs)
    path = tmp_path / "two.gpkg"
    frame.to_file(path, layer="a")
    frame.rename(columns={"kind": "use"}).to_file(path, layer="b")
    assert (read_labels(LabelConf(str(path), column="use"), LEGEND, GRID) == 1).sum() == 100
    frame.to_file(path, layer="c")
    with pytest.raises(InputError, match=r"two\.gpkg has 2 layers .*: a, c"):
        read_labels(LabelConf(str(path), column="kind"), LEGEND, GRID)


@pytest.mark.parametrize("name", ["a.parquet", "a.geojsonl", "a.fgb"])
def test_labels_come_from_any_vector_file(tmp_path: Path, name: str) -> None:
    box = shapely.box(320_000, 4_139_700, 320_300, 4_140_000)
    frame = geopandas.GeoDataFrame({"kind": ["water"]}, geometry=[box], crs=GRID.crs)
    if name.endswith(".parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        frame = frame.to_crs(4326) if name.endswith("l") else frame
        frame.to_file(tmp_path / name)
    labels = LabelConf(str(tmp_path / name), column="kind")
    assert (read_labels(labels, LEGEND, GRID) == 1).sum() == 100


def test_nlcd_lies_on_the_landsat_scene(shared: Path) -> None:
    names = [
        "water",
        "developed",
        "barren",
        "forest",
        "shrubland",
        "herbaceous",
        "cultivated",
        "wetlands",
    ]
    legend = Legend("nlcd", tuple(LandClass(i, name, "#000000") for i, name in enumerate(names, 1)))
    path = shared / "zion" / "nlcd_train.tif"
    with rasterio.open(path) as file:
        x, y = file.transform @ (file.width / 2, file.height / 2)
        codes, place = file.read(1), {"src_transform": file.transform, "src_crs": file.crs}
    grid = Grid("EPSG:32612", (30.0, 0.0, round(x), 0.0, -30.0, round(y)), 128, 128)
    expected = np.full(grid.shape, NODATA, np.uint8)
    target = {"dst_transform": grid.affine, "dst_crs": grid.crs, "init_dest_nodata": False}
    reproject(codes, expected, **place, **target, resampling=Resampling.nearest, tolerance=0)
    assert (read_labels(LabelConf(str(path)), legend, grid) == expected).mean() > 0.999

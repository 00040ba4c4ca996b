"""Vector files: the layer that is meant, whole geometries, texts as they are; or a refusal."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from lulc.errors import InputError
from lulc.geo.grid import same_crs
from lulc.tables.vector_files import find_layer, polygons_of, read_features, texts_of

BOX, NEXT = shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)


def frame(**columns: list[Any]) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(columns, geometry=[BOX, NEXT], crs=4326)


def geojson(path: Path, *geometries: Any, **members: Any) -> Path:
    features = [
        {"type": "Feature", "properties": {"id": str(number)}, "geometry": geometry}
        for number, geometry in enumerate(geometries)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **members}))
    return path


def read(path: Path, *columns: str, **options: Any) -> tuple[np.ndarray, list[list[str]]]:
    features = read_features(find_layer(path, "regions", columns=columns, **options), columns)
    return polygons_of(features.geometries), [texts_of(v) for v in features.columns.values()]


@pytest.mark.parametrize(
    "name", ["a.gpkg", "a.geojson", "a.geojsonl", "a.shp", "a.fgb", "a.parquet", "a.gml"]
)
def test_a_file_of_any_form_gives_the_same(tmp_path: Path, name: str) -> None:
    table = frame(code=["007", "NA"], kind=["None", "ü"])
    if name.endswith(".parquet"):
        table.to_parquet(tmp_path / name)
    else:
        options = {"encoding": "utf-8"} if name.endswith(".shp") else {}
        table.to_file(tmp_path / name, **options)
    layer = find_layer(tmp_path / name, "regions", columns=["kind", "code"])
    assert same_crs(layer.crs, "EPSG:4326")
    polygons, texts = read(tmp_path / name, "kind", "code")
    # FlatGeobuf orders features by place.
    rows = {tuple(row): polygon for *row, polygon in zip(*texts, polygons, strict=True)}
    assert rows[("None", "007")].equals(BOX)
    assert rows[("ü", "NA")].equals(NEXT)
    near = read_features(layer, ["code"], (1.5, 0.2, 1.6, 0.3))
    assert texts_of(near.columns["code"]) == ["NA"]


def test_of_several_layers_the_one_that_is_meant_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    frame(id=["c", "d"]).to_file(path, layer="country")
    frame(id=["p", "q"], district=["x", "y"]).to_file(path, layer="provinces")
    pyogrio.write_dataframe(pd.DataFrame({"id": ["style"]}), path, layer="layer_styles")
    with pytest.raises(InputError, match=r"a\.gpkg has 2 layers.*country, provinces"):
        read(path, "id")
    assert read(path, "id", layer="provinces")[1] == [["p", "q"]]
    assert read(path, "district")[1] == [["x", "y"]]
    with pytest.raises(InputError, match=r"no layer 'towns'.*country, provinces"):
        read(path, "id", layer="towns")
    with pytest.raises(InputError, match=r"column 'town'.*country: id; provinces: id, district"):
        read(path, "town")


def test_polygons_are_found_in_collections_within_collections() -> None:
    line = shapely.LineString([(0, 0), (5, 5)])
    nested = shapely.GeometryCollection(
        [line, shapely.GeometryCollection([shapely.MultiPolygon([BOX]), shapely.Point(3, 3)])]
    )
    deep = shapely.GeometryCollection([shapely.GeometryCollection([nested])])
    both = shapely.GeometryCollection([BOX, shapely.box(3, 3, 4, 4)])
    found = polygons_of(np.array([nested, deep, both, line, None, shapely.Polygon()], object))
    assert [None if p is None else p.area for p in found] == [1, 1, 2, None, None, None]


PARTS = st.recursive(
    st.one_of(
        st.integers(0, 99).map(lambda n: shapely.box(n, 0, n + 1, 1)),
        st.integers(0, 99).map(lambda n: shapely.Point(n, 0)),
        st.integers(0, 99).map(lambda n: shapely.LineString([(n, 0), (n, 9)])),
    ),
    lambda parts: st.lists(parts, max_size=4).map(shapely.GeometryCollection),
    max_leaves=12,
)


@given(st.lists(PARTS, max_size=6))
def test_no_polygon_is_lost_however_deep_it_lies(geometries: list[shapely.Geometry]) -> None:
    found = polygons_of(np.array([*geometries, None], object))[:-1]
    areas = [0.0 if polygon is None else polygon.area for polygon in found]
    assert areas == [geometry.area for geometry in geometries]


def test_geojson_is_read_as_a_geometry_a_feature_and_lines(tmp_path: Path) -> None:
    geometry = shapely.geometry.mapping(BOX)
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    for number, text in enumerate(
        [
            json.dumps(geometry),
            json.dumps(feature),
            "\ufeff" + json.dumps(feature),
            json.dumps(feature) + "\n" + json.dumps(feature),
            json.dumps({"type": "GeometryCollection", "geometries": [geometry]}),
        ]
    ):
        path = tmp_path / f"{number}.geojson"
        path.write_text(text)
        polygons, _ = read(path)
        assert len(polygons) == (2 if number == 3 else 1)
        assert polygons[0].equals(BOX)


def test_heights_are_dropped_and_what_is_no_geometry_is_none(tmp_path: Path) -> None:
    high = {"type": "Polygon", "coordinates": [[[0, 0, 9], [1, 0, 9], [1, 1, 9], [0, 0, 9]]]}
    unclosed = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}
    unknown = {"type": "Polygin", "coordinates": []}
    empty = {"type": "Polygon", "coordinates": []}
    polygons, (ids,) = read(
        geojson(tmp_path / "a.geojson", high, unclosed, unknown, empty, None), "id"
    )
    assert ids == ["0", "1", "2", "3", "4"]
    assert [None if p is None else (p.area, p.has_z) for p in polygons] == [
        (0.5, False),
        (0.5, False),
        None,
        None,
        None,
    ]


def test_coordinates_that_are_not_degrees_are_refused(tmp_path: Path) -> None:
    metres = shapely.geometry.mapping(shapely.box(500_050, 5_299_800, 500_200, 5_299_950))
    with pytest.raises(InputError, match=r"a\.geojson has coordinates from 500050.*not degrees"):
        read(geojson(tmp_path / "a.geojson", metres))
    line = {"type": "Feature", "properties": {}, "geometry": metres}
    (tmp_path / "b.geojsonl").write_text(json.dumps(line))
    with pytest.raises(InputError, match="not degrees"):
        read(tmp_path / "b.geojsonl")
    crs = {"type": "name", "properties": {"name": "EPSG:32632"}}
    assert len(read(geojson(tmp_path / "c.geojson", metres, crs=crs))[0]) == 1


@pytest.mark.parametrize("crs", [None, {"type": "name", "properties": {"name": "EPSG:999999"}}])
def test_a_crs_that_is_said_to_be_unknown_is_not_taken_for_degrees(
    tmp_path: Path, crs: dict[str, Any] | None
) -> None:
    with pytest.raises(InputError, match=r"a\.geojson has the crs"):
        read(geojson(tmp_path / "a.geojson", shapely.geometry.mapping(BOX), crs=crs))


def test_files_without_a_crs_on_the_earth_are_refused(tmp_path: Path) -> None:
    table = frame(id=["a", "b"])
    table.set_crs(None, allow_override=True).to_file(tmp_path / "a.gpkg")
    with pytest.raises(InputError, match=r"a\.gpkg has no CRS"):
        read(tmp_path / "a.gpkg")
    site = (
        'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],UNIT["m",1]]'
    )
    table.set_crs(site, allow_override=True).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"CRS 'site', which is none on the Earth"):
        read(tmp_path / "a.parquet")


def test_parquet_that_is_not_geoparquet_is_told_apart(tmp_path: Path) -> None:
    frame(id=["a", "b"]).drop(columns="geometry").to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet .* without the metadata of GeoParquet"):
        read(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match=r"b\.parquet cannot be read"):
        read(tmp_path / "b.parquet")


def test_a_shapefile_is_whole_and_says_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.shp"
    frame(id=["Zürich", "b"]).to_file(path, encoding="ISO-8859-1")
    assert read(path, "id")[1] == [["Zürich", "b"]]
    (tmp_path / "a.cpg").unlink()
    with pytest.raises(InputError, match=r"a\.shp has letters beyond ASCII.*a\.cpg"):
        read(path, "id")
    (tmp_path / "a.cpg").write_text("UTF-8")
    with pytest.raises(InputError, match=r"a\.shp has texts in another encoding"):
        read(path, "id")
    (tmp_path / "a.prj").unlink()
    with pytest.raises(InputError, match=r"a\.shp has no CRS"):
        read(path)
    (tmp_path / "a.shx").unlink()
    (tmp_path / "a.dbf").unlink()
    with pytest.raises(InputError, match=r"a\.shp lacks its \.shx and \.dbf"):
        read(path)


def test_a_zipped_shapefile_is_read_wherever_it_lies_in_the_archive(tmp_path: Path) -> None:
    frame(id=["ü", "b"]).to_file(tmp_path / "a.shp", encoding="utf-8")
    for folder in ("", "data/2020/"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for part in tmp_path.glob("a.[!z]*"):
                archive.write(part, folder + part.name)
            archive.writestr("readme.txt", "read me")
        assert read(tmp_path / "a.zip", "id")[1] == [["ü", "b"]]
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("b.geojson", "{}")
    with pytest.raises(InputError, match=r"a\.zip holds 2 vector files \(b\.geojson, data/2020/a"):
        read(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"b\.zip cannot be read"):
        read(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "id,x,y\n1,2,3\n", "no layer with geometries; accepted are GeoPackage"),
        ("a.csv", 'WKT,id\n"POINT (1 2)",3\n', "is read as CSV; accepted are GeoPackage"),
        ("a.geojson", '{"type": "FeatureCollection", "features": [', "cannot be read"),
        ("a.geojson", "[1]", "not recognized"),
        ("a.gpkg", "", "not recognized"),
    ],
)
def test_other_files_are_refused_with_what_is_accepted(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"regions .*{name}.*{message}"):
        read(tmp_path / name)


def test_names_that_libraries_take_for_addresses_are_names(tmp_path: Path) -> None:
    folder = tmp_path / "what! {a} #1?;b"
    folder.mkdir()
    for suffix in (".shp", ".gpkg"):
        frame(id=["a", "b"]).to_file(tmp_path / f"f{suffix}")
    for file in tmp_path.glob("f.*"):
        file.rename(folder / f"{'50%!' if file.suffix == '.gpkg' else 'c!d;e'}{file.suffix}")
    for name in ("c!d;e.shp", "50%!.gpkg"):
        assert read(folder / name, "id")[1] == [["a", "b"]]


@pytest.mark.parametrize("crs", [{}, 32633, "EPSG:32633", {"type": "link", "properties": {}}])
def test_a_crs_that_names_none_is_not_taken_for_degrees(tmp_path: Path, crs: Any) -> None:
    with pytest.raises(InputError, match=r"a\.geojson has the crs null, or without a name"):
        read(geojson(tmp_path / "a.geojson", shapely.geometry.mapping(BOX), crs=crs))


def test_a_property_called_crs_is_no_crs(tmp_path: Path) -> None:
    feature = {
        "type": "Feature",
        "properties": {"crs": "unknown"},
        "geometry": shapely.geometry.mapping(BOX),
    }
    (tmp_path / "a.geojson").write_text(json.dumps(feature))
    assert len(read(tmp_path / "a.geojson")[0]) == 1
    (tmp_path / "b.geojson").write_text(json.dumps(feature | {"crs": None}))
    with pytest.raises(InputError, match=r"b\.geojson has the crs null"):
        read(tmp_path / "b.geojson")


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:6933", "EPSG:32633", "EPSG:3031"])
@pytest.mark.parametrize("far", [1e10, 1e30, 1e300])
def test_coordinates_that_are_nowhere_on_the_earth_are_refused(
    tmp_path: Path, crs: str, far: float
) -> None:
    spike = shapely.Polygon([(5e5, 5e6), (far, 5e6), (5e5, 5.1e6)])
    geopandas.GeoDataFrame(geometry=[spike], crs=crs).to_file(tmp_path / "a.gpkg")
    with pytest.raises(InputError, match=r"a\.gpkg has coordinates .* nowhere on the Earth"):
        read(tmp_path / "a.gpkg")


def test_latitudes_in_grads_reach_to_a_hundred(tmp_path: Path) -> None:
    north = geopandas.GeoDataFrame(geometry=[shapely.box(1, 94, 2, 95)], crs="EPSG:4807")
    north.to_file(tmp_path / "a.gpkg")
    assert len(read(tmp_path / "a.gpkg")[0]) == 1

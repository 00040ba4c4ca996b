"""What SQL gives becomes a file that other programs read, shapes among them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from lulc.cli import main
from lulc.errors import UsageError
from lulc.location import StorePath
from lulc.tables import export, vector_files
from tests.helpers import small_world as world

TABLE = pa.table(
    {
        "name": ["a", "b"],
        "km2": [1.5, 2.0],
        "shape": [shapely.to_wkb(shapely.box(i, 0, i + 1, 2)) for i in (0, 5)],
    }
)


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "csv"])
def test_shapes_and_numbers_come_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{suffix}"
    export.save(TABLE, path, "shape")
    if suffix == "csv":
        found = pd.read_csv(path)
        shapes = shapely.from_wkt(found["shape"])
    else:
        found = geopandas.read_parquet(path) if suffix == "parquet" else geopandas.read_file(path)
        assert found.crs in ("EPSG:4326", "OGC:CRS84")
        shapes = found.geometry.to_numpy()
    assert found["name"].tolist() == ["a", "b"]
    np.testing.assert_allclose(found["km2"], [1.5, 2.0])
    assert shapely.equals(shapes, shapely.from_wkb(TABLE["shape"].to_pylist())).all()


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "csv", "xlsx"])
def test_integers_beside_null_stay_integers(suffix: str, tmp_path: Path) -> None:
    path, geometry = tmp_path / f"t.{suffix}", None if suffix == "xlsx" else "shape"
    table = pa.table({"count": [2**40, None], "is_new": [True, None]})
    export.save(table.append_column("shape", TABLE["shape"]) if geometry else table, path, geometry)
    if suffix == "csv":
        assert [line.split(",")[:2] for line in path.read_text().splitlines()[1:]] == [
            [str(2**40), "True"], ["", ""]
        ]  # fmt: skip
        return
    found = pq.read_table(path) if suffix == "parquet" else pyogrio.read_arrow(path)[1]
    assert pa.types.is_integer(found.schema.field("count").type)
    assert found["count"].to_pylist() == [2**40, None]
    assert found["is_new"].to_pylist() == [True, None]


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet"])
def test_what_is_saved_is_read_as_a_vector_file(suffix: str, tmp_path: Path) -> None:
    table = TABLE.set_column(0, "name", pa.array(["007", "NA"]))
    path = tmp_path / f"t.{suffix}"
    export.save(table, path, "shape")
    features = vector_files.read_features(vector_files.find_layer(path, "regions"), ["name"])
    assert vector_files.texts_of(features.columns["name"]) == ["007", "NA"]
    assert shapely.equals(features.geometries, shapely.from_wkb(TABLE["shape"].to_pylist())).all()


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv, \.xlsx, \.parquet"):
        export.save(TABLE, tmp_path / "t.xls", "shape")
    with pytest.raises(UsageError, match="the table has none"):
        export.save(TABLE.drop_columns(["shape"]), tmp_path / "t.gpkg", None)
    export.save(TABLE.drop_columns(["shape"]), tmp_path / "t.csv", None)
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == '"name","km2"'


def test_a_sheet_holds_what_the_query_gave(tmp_path: Path) -> None:
    names = ["São Tomé", "=1+1", None]
    table = pa.table(
        {
            "name": names,
            "km2": [1.5, None, 1e-9],
            "id": [1, 2, 2**40],
            "periods": [["a", "b"], [], None],
        }
    )
    export.save(table, tmp_path / "t.xlsx", None)
    found = pyogrio.read_dataframe(tmp_path / "t.xlsx")
    assert found["name"].tolist() == names  # a text that looks like a formula stays a text
    assert found["km2"].tolist() == [1.5, pytest.approx(np.nan, nan_ok=True), 1e-9]
    assert found["id"].tolist() == [1, 2, 2**40]
    assert found["periods"].tolist() == ['["a", "b"]', "[]", None]
    with zipfile.ZipFile(tmp_path / "t.xlsx") as sheet:
        assert b"<f>" not in sheet.read("xl/worksheets/sheet1.xml")
    with pytest.raises(UsageError, match="no geometries"):
        export.save(TABLE, tmp_path / "t.xlsx", "shape")


@pytest.mark.parametrize("geometry", [None, "shape"])
def test_lists_and_mappings_are_json_in_csv(geometry: str | None, tmp_path: Path) -> None:
    table = pa.table(
        {
            "bands": pa.array([["red", "né"], None], pa.list_(pa.string())),
            "scales": [[0.1, None], []],
            "clear": [[{"bits": [1, 2]}], []],
            "tags": pa.array([[("a", "b")], []], pa.map_(pa.string(), pa.string())),
        }
    )
    if geometry:
        table = table.append_column("shape", TABLE["shape"])
    export.save(table, tmp_path / "t.csv", geometry)
    found = pd.read_csv(tmp_path / "t.csv")
    assert [json.loads(found[name][0]) for name in table.schema.names[:4]] == [
        ["red", "né"],
        [0.1, None],
        [{"bits": [1, 2]}],
        [["a", "b"]],
    ]
    assert pd.isna(found["bands"][1]) and found["scales"][1] == "[]"


@pytest.mark.parametrize(
    "place", ["tables/class_areas/part-0.parquet", "x/../tables/new.csv", "link/new.csv"]
)
def test_no_result_is_saved_among_the_tables(place: str, tmp_path: Path) -> None:
    (tmp_path / "tables/class_areas").mkdir(parents=True)
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "tables/class_areas")
    arguments = ["sql", str(tmp_path), "SELECT 1", "--save", str(tmp_path / place)]
    assert main.main(arguments) == UsageError.exit_code
    export.check_place(tmp_path / "tables.csv", tmp_path)


def test_no_result_is_saved_among_the_tables_in_a_store() -> None:
    out = StorePath("s3://bucket", "out")
    with pytest.raises(UsageError, match="only the run writes"):
        export.check_place(out / "tables/class_areas/part-0.parquet", out)
    export.check_place(out / "areas.parquet", out)
    export.check_place(Path("areas.parquet"), out)


def test_a_query_is_saved(done: Path, tmp_path: Path) -> None:
    query = """SELECT r.name, r.geometry, sum(a.area_m2) AS m2
               FROM regions r JOIN class_areas a USING (region_id)
               GROUP BY r.name, r.geometry ORDER BY r.name"""
    ran = world.lulc("sql", done, query, "--save", tmp_path / "areas.gpkg")
    assert ran.returncode == 0, ran.stderr
    found = geopandas.read_file(tmp_path / "areas.gpkg")
    assert found["name"].tolist() == ["east", "west"]
    assert (found.to_crs("EPSG:6933").area / found["m2"]).between(0.999, 1.001).all()

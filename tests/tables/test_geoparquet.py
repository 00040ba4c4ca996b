"""Every table with geometries is GeoParquet, and other readers find what it says in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import geopandas
import geoparquet_validator
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyspark.sql import SparkSession

import lulc
from lulc.spark.queries import sql
from lulc.tables import files, geoparquet, schemas, store
from lulc.tables.columns import view_metadata

BOXES = [shapely.box(lon, 1, lon + 1, 2) for lon in (10, 20, 30)]
REGIONS = pa.Table.from_pylist(
    [{"region_id": str(n), "geometry": shape.wkb} for n, shape in enumerate(BOXES)],
    schemas.REGIONS,
)


def failures(path: Path) -> list[dict[str, str]]:
    """Return what the validator has against a file."""
    report = geoparquet_validator.check(str(path))
    assert report["version"] == "1.1.0"
    checks = {check["id"]: check for check in report["outcomes"]}
    assert checks["/conf/covering/bbox-paths"]["status"] == "pass"
    # Where no row has a place there are no statistics of it.
    has_place = checks["/conf/core/bbox-extent"]["status"] == "pass"
    return [
        check
        for name, check in checks.items()
        if check["status"] == "fail" and (has_place or "geospatial-statistics" not in name)
    ]


def with_geometries(out: Path) -> Iterator[Path]:
    """Yield some files of each of a run's tables that have geometries."""
    for name, schema in schemas.ALL.items():
        if geoparquet.geometry_column(schema):
            yield from files.list_tables(store.table_folder(out, name))[:2]


def test_tables_of_a_run_are_valid_and_geopandas_and_duckdb_read_them(done: Path) -> None:
    paths = list(with_geometries(done))
    tables = {path.relative_to(done / "tables").parts[0] for path in paths}
    assert tables == {"scenes", "chips", "samples", "predictions", "regions"}
    for path in paths:
        assert failures(path) == []
        features = geopandas.read_parquet(path)
        assert features.crs == "OGC:CRS84"
        west, south, east, north = features.geometry.iloc[0].bounds
        # Without DuckDB's spatial extension, too, a box is asked for by the covering.
        inside = duckdb.execute(
            "SELECT count(*), any_value(typeof(columns(*))) FROM read_parquet($path) "
            "WHERE bbox.xmin <= $east AND bbox.xmax >= $west "
            "AND bbox.ymin <= $north AND bbox.ymax >= $south",
            {"path": str(path), "west": west, "south": south, "east": east, "north": north},
        ).fetchone()
        bounds = features.bounds
        meet = (bounds.minx <= east) & (bounds.maxx >= west)
        meet &= (bounds.miny <= north) & (bounds.maxy >= south)
        assert inside is not None
        assert inside[0] == meet.sum() > 0
        found = geopandas.read_parquet(path, bbox=(west, south, east, north))
        assert len(found) == meet.sum()


def test_geopandas_reads_the_folder_of_a_table(done: Path) -> None:
    chips = geopandas.read_parquet(done / "tables" / "chips")
    run = lulc.open_run(done)
    assert sorted(chips.tile_id) == sorted(run.table("chips", ["tile_id"])["tile_id"].to_pylist())


def test_every_reader_gets_every_table_of_a_run(done: Path) -> None:
    run = lulc.open_run(done)
    for name in run.tables:
        if name == "ledger":  # which of its rows count is told by their numbers
            continue
        table = run.table(name)
        folder = str(store.table_folder(done, name))
        assert pq.read_table(folder).num_rows == table.num_rows
        described = duckdb.execute(f"DESCRIBE FROM '{folder}/**/*.parquet'").fetchall()
        assert {column[0] for column in described} >= set(table.column_names)
        found = duckdb.execute(f"SELECT count(*) FROM '{folder}/**/*.parquet'").fetchone()
        assert found == (table.num_rows,)
        for field in table.schema:
            assert view_metadata(field)["comment"], (name, field.name)


def test_a_column_says_its_meaning_and_unit_in_the_file_and_in_sql(
    done: Path, spark: SparkSession
) -> None:
    (path,) = files.list_tables(store.table_folder(done, "regions"))
    area = pq.read_schema(path).field("area_m2")
    assert area.metadata == {b"description": b"true area on the ellipsoid", b"unit": "m²".encode()}
    sql.make_views(spark, done)
    comments = {row["col_name"]: row["comment"] for row in spark.sql("DESCRIBE regions").collect()}
    assert comments["area_m2"] == "true area on the ellipsoid (m²)"
    assert comments["geometry"] == "outline of the region, EPSG:4326"


def test_rows_without_a_geometry_have_no_bounds(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    rows = REGIONS.set_column(
        REGIONS.column_names.index("geometry"),
        schemas.REGIONS.field("geometry"),
        pa.array([BOXES[0].wkb, None, shapely.MultiPolygon(BOXES[1:]).wkb]),
    )
    geoparquet.write_file(path, rows)
    assert failures(path) == []
    with files.open_parquet(path) as file:
        column = geoparquet.read_geo(file)["columns"]["geometry"]
        assert file.read(["bbox"])["bbox"].is_null().to_pylist() == [False, True, False]
    assert column["bbox"] == [10, 1, 31, 2]
    assert column["geometry_types"] == ["MultiPolygon", "Polygon"]
    geoparquet.write_file(path, rows.slice(1, 1))
    assert failures(path) == []
    geoparquet.write_file(path, rows.slice(0, 0))
    assert failures(path) == []


def test_row_groups_beyond_a_box_are_left_out_by_their_statistics(tmp_path: Path) -> None:
    path = tmp_path / "regions.parquet"
    geoparquet.write_file(path, REGIONS, row_group_size=1)
    with files.open_parquet(path) as file:
        wests = [
            {
                group.column(leaf).path_in_schema: group.column(leaf).statistics
                for leaf in range(group.num_columns)
            }["bbox.xmin"].min
            for group in map(file.metadata.row_group, range(file.num_row_groups))
        ]
    assert wests == [10, 20, 30]


def test_outlines_in_pixels_are_in_no_crs(tmp_path: Path) -> None:
    path = tmp_path / "pixels.parquet"
    geoparquet.write_file(path, REGIONS, crs=None)
    assert failures(path) == []
    assert geopandas.read_parquet(path).crs is None


def test_tables_of_earlier_releases_are_read_beside_new_ones(done: Path, tmp_path: Path) -> None:
    # They had neither metadata nor bounds.
    folder = tmp_path / "tables" / "predictions"
    shutil.copytree(done / "tables" / "predictions", folder)
    paths = files.list_tables(folder)
    assert len(paths) > 1
    before = store.read_table(tmp_path, "predictions")
    for path in paths[::2]:
        table = pq.read_table(path, schema=schemas.PREDICTIONS, partitioning=None)
        plain = pa.table(dict(zip(table.column_names, table.columns, strict=True)))
        pq.write_table(plain, path)
    for order in (before, before):
        assert store.read_table(tmp_path, "predictions").equals(order)


@pytest.mark.parametrize("name", ["region_id", "bbox"])
def test_a_saved_result_with_a_column_of_that_name_is_kept(name: str, tmp_path: Path) -> None:
    table = pa.table({name: ["a"], "shape": [BOXES[0].wkb]})
    path = tmp_path / "result.parquet"
    geoparquet.write_file(path, table, geometry="shape")
    features = geopandas.read_parquet(path)
    assert features[name].tolist() == ["a"]
    np.testing.assert_array_equal(features.total_bounds, BOXES[0].bounds)

"""Functions of models, areas and classes in SQL; a run's tables as a format of Spark."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

import lulc
from lulc.errors import InputError, UsageError, explain
from lulc.geo.areas import degrees_area
from lulc.inference.tiles import TileMapper, find_model
from lulc.legend import NODATA
from lulc.spark.queries import features, functions, rules, sql
from lulc.stats.histogram import degrees_polygon
from lulc.tables import arrays, store
from tests.helpers.small_world import copy_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def restricted(spark: Any, done: Path) -> Any:
    """A session that has the small run's views and the rules."""
    sql.make_views(spark, done)
    features.make_view(spark, done)
    rules.enforce(spark)
    return spark.newSession()


def _maps(out: Path) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    tiles = store.read_table(out, "predictions").to_pylist()
    return {
        (tile["tile_id"], tile["period"]): {
            name: arrays.array_from(tile, name) for name in ("classes", "confidence")
        }
        for tile in tiles
    }


def _filled(numbers: list[int | None]) -> list[int]:
    return [NODATA if number is None else number for number in numbers]


def test_a_tile_is_classified_as_the_run_did(restricted: Any, done: Path) -> None:
    maps = _maps(done)
    query = "SELECT tile_id, period, lulc_classify('models:/world/1', tile_id, period) AS map"
    rows = restricted.sql(f"{query} FROM chips").collect()
    assert {(row.tile_id, row.period) for row in rows} == set(maps)
    for row in rows:
        of_run = maps[row.tile_id, row.period]
        assert _filled(row.map.classes) == of_run["classes"].ravel().tolist()
        assert _filled(row.map.confidence) == of_run["confidence"].ravel().tolist()
    assert any(NODATA in of_run["classes"] for of_run in maps.values())
    (tile_id, period), of_run = next(
        tile for tile in maps.items() if (tile[1]["classes"] != NODATA).all()
    )
    (percents,) = restricted.sql(
        f"SELECT lulc_probabilities(NULL, '{tile_id}', '{period}')"
    ).first()
    likeliest = np.max([percents[number] for number in (1, 2, 3)], axis=0)
    assert (likeliest == of_run["confidence"].ravel()).all()


def test_areas_and_histograms_are_those_of_the_tables(restricted: Any, done: Path) -> None:
    regions = restricted.sql(
        "SELECT region_id, lulc_area_m2(geometry) AS area, lulc_area_m2(ST_AsText(geometry)) AS"
        " of_text, lulc_area_m2(NULL) AS none, lulc_class_histogram('2024', geometry) AS classes,"
        " ST_AsBinary(geometry) AS wkb FROM regions"
    ).collect()
    table = store.read_table(done, "class_areas").to_pylist()
    assert len(regions) == 2
    for region in regions:
        of_region = [row for row in table if row["region_id"] == region.region_id]
        of_classes = {r["class_id"]: r["area_m2"] for r in of_region if r["class_id"] is not None}
        assert region.classes == pytest.approx(of_classes, rel=1e-7)
        assert region.area == pytest.approx(sum(row["area_m2"] for row in of_region), rel=1e-6)
        assert (
            region.area == degrees_area(shapely.from_wkb(bytes(region.wkb))) and region.none is None
        )
        assert region.of_text == pytest.approx(region.area, rel=1e-6)
    named = restricted.sql("SELECT class_name, lulc_legend(class_id) AS name FROM class_areas")
    for class_name, name in named.collect():
        assert class_name == (name or "unobserved")
    assert restricted.sql("SELECT lulc_legend(99)").first()[0] is None
    called = "lulc_legend(class_id), cosine(array(1.0D), array(2.0D))"
    shown = restricted.sql(f"SELECT {called} FROM class_areas").columns
    assert ", ".join(shown) == called.replace("D)", ")")
    (measured,) = restricted.sql("SELECT lulc_area_m2(ST_Buffer(geometry, 1)) FROM regions").columns
    assert measured == "lulc_area_m2(st_buffer(geometry, 1))"


@pytest.fixture(scope="module")
def other(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with chips, and a model of other bands and one of another task beside its own."""
    out = tmp_path_factory.mktemp("functions") / "out"
    copy_model(done, out)
    for name in ("tables/chips", "tables/ledger"):
        shutil.copytree(done / name, out / name)
    shutil.copy(done / "config.yaml", out / "config.yaml")
    own = next((out / "models").iterdir())
    for name, change in (
        ("bluish", {"bands": ["blue", "nir", "swir16"]}),
        ("tagger", {"task": "multilabel"}),
    ):
        folder = out / "models" / f"{name}-local"
        shutil.copytree(own, folder)
        contract = json.loads((folder / "contract.json").read_text())
        (folder / "contract.json").write_text(json.dumps(contract | {"name": name} | change))
    return out


def test_models_that_cannot_map_the_run_are_refused_by_name(other: Path) -> None:
    config = lulc.load_config(other / "config.yaml")
    for name, error, text in (
        ("nowhere", InputError, "no model 'nowhere' is registered"),
        ("bluish", InputError, r"model 'bluish' takes \['blue', 'nir', 'swir16'\]"),
        ("tagger", InputError, "tagger version local is for task multilabel"),
        ("s3://bucket/model", UsageError, "address"),
    ):
        with pytest.raises(error, match=text):
            find_model(other, config, name)
    mapper = TileMapper(other, config)
    with pytest.raises(UsageError, match="'x'"):
        mapper.map_tile("world", "x", "2024")
    with pytest.raises(InputError, match="no chip of tile '3035-10m-64/0_0' in period '1999'"):
        mapper.map_tile("world", "3035-10m-64/0_0", "1999")


def test_a_model_is_refused_before_anything_is_read(restricted: Any, done: Path) -> None:
    session = sql.QuerySession(restricted, (), done)
    with pytest.raises(InputError, match="no model 'nowhere'"):
        session.answer("SELECT lulc_classify('nowhere', tile_id, period) FROM chips", {})
    with pytest.raises(UsageError, match="2 arguments are given where 1 are taken"):
        session.answer("SELECT lulc_area_m2(geometry, 2) FROM regions", {})


def test_files_that_are_no_map_of_the_run_are_not_read(restricted: Any) -> None:
    query = "SELECT lulc_class_histogram('/etc/passwd', geometry) FROM regions"
    with pytest.raises(Exception, match="no period of which") as raised:
        restricted.sql(query).collect()
    assert "it has 2024" in explain(raised.value)[1]


def test_only_polygons_in_degrees_have_areas() -> None:
    for geometry, text in (
        ("here", "neither WKB nor WKT"),
        (b"here", "neither WKB nor WKT"),
        ("POLYGON ((0 0, 9 0, 9 5000, 0 0))", "not in degrees"),
        ("POLYGON ((500000 0, 500010 0, 500010 10, 500000 0))", "not in degrees"),
        ("POLYGON ((0 0, inf 0, 1 1, 0 0))", "not in degrees"),
        ("POLYGON ((179 0, -179 0, -179 1, 179 1, 179 0))", "which way round the Earth"),
        ("CURVEPOLYGON (CIRCULARSTRING (0 0, 1 1, 2 0, 1 -1, 0 0))", "has curves"),
        (
            shapely.to_wkb(shapely.set_srid(shapely.box(0, 1, 2, 3), 32633), include_srid=True),
            "not",
        ),
    ):
        with pytest.raises(InputError, match=text):
            degrees_polygon(geometry)
    bow_tie = "POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))"
    halves = "MULTIPOLYGON (((0 0, 0.5 0.5, 0 1, 0 0)), ((1 0, 1 1, 0.5 0.5, 1 0)))"
    assert shapely.equals(degrees_polygon(bow_tie), shapely.from_wkt(halves))
    assert degrees_polygon("LINESTRING (0 0, 1 1)").is_empty
    beyond = degrees_polygon("POLYGON ((179 0, 181 0, 181 1, 179 1, 179 0))")
    assert beyond.bounds == (-180, 0, 180, 1) and beyond.area == 2


def test_a_session_of_ones_own_reads_tables_and_any_map(spark: Any, done: Path) -> None:
    lulc.register(spark, done)
    sql.make_views(spark, done)
    features.make_view(spark, done)
    lulc.register(spark, done)
    for table in ("samples", "features"):
        read = spark.read.format("lulc").option("table", table).load(str(done))
        view = spark.table(table)
        assert read.columns == view.columns
        names = ["sample_id", "split", "period", "datetimes" if table == "samples" else "red"]
        rows, of_view = (sorted(map(str, frame.select(*names).collect())) for frame in (read, view))
        assert rows == of_view, table
    (rasters,) = {str(path.parent) for path in (done / "rasters").rglob("*.tif")}
    histograms = spark.sql(
        f"SELECT lulc_class_histogram('2024', geometry), lulc_class_histogram('{rasters}/*.tif',"
        " geometry) FROM regions"
    ).collect()
    assert histograms and all(own == by_path for own, by_path in histograms)
    with pytest.raises(Exception, match=r"(?s)'nothing' is none of .*chips.*class_areas"):
        spark.read.format("lulc").option("table", "nothing").load(str(done))
    with pytest.raises(InputError, match=r"config\.yaml"):
        lulc.register(spark, done / "tables")
    with pytest.raises(UsageError, match="Connect"):
        lulc.register(object())


def test_functions_are_documented(restricted: Any) -> None:
    page = (ROOT / "docs" / "sql.md").read_text()
    for function in functions.FUNCTIONS:
        shown = restricted.sql(f"DESCRIBE FUNCTION {function.name}").collect()
        assert any(function.usage in row[0] for row in shown)
        assert f"`{function.name}({function.arguments})`" in page
    listed = {row[0] for row in restricted.sql("SHOW FUNCTIONS LIKE 'lulc_*'").collect()}
    assert listed == {f.name for f in functions.FUNCTIONS} - {"cosine"}

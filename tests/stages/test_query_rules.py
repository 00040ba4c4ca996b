"""A query reads the run's tables, and nothing else: what it is refused, by its plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from py4j.protocol import Py4JJavaError

from lulc.config import SessionConf
from lulc.errors import UsageError
from lulc.samples.pixels import pixel_schema, read_pixels
from lulc.samples.sample import list_sample_files
from lulc.spark.queries import rules, sql
from lulc.tables import schemas
from tests.helpers import small_world as world
from tests.helpers import statements
from tests.helpers.labelled_pixels import publish_sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run's tables in `out`, and a file that is no table."""
    made = tmp_path_factory.mktemp("rules")
    statements.make_run(made)
    return made


@pytest.fixture
def restricted(spark: Any, folder: Path) -> Any:
    """A session that has the run's views and the rules."""
    sql.make_views(spark, folder / "out")
    rules.enforce(spark)
    return spark.newSession()


def test_queries_of_the_tables_are_answered(restricted: Any) -> None:
    for statement in statements.ALLOWED:
        restricted.sql(statement).collect()
    restricted.sql("CREATE TEMPORARY VIEW big AS SELECT * FROM class_areas WHERE area_m2 > 5")
    assert restricted.sql("SELECT class_name FROM big").collect() == [("trees",)]
    # All columns but arrays of pixels.
    assert restricted.table("class_areas").columns == schemas.ALL["class_areas"].names


def test_whatever_else_is_refused_and_does_nothing(restricted: Any, folder: Path) -> None:
    for statement in statements.refused(folder):
        with pytest.raises(Py4JJavaError) as raised:
            restricted.sql(statement).collect()
        assert rules.refusal(raised.value), statement
    assert {path.name for path in folder.iterdir()} == {"out", "secret.csv"}
    seen = {row.viewName for row in restricted.sql("SHOW VIEWS").collect()}
    assert seen == {"regions", "class_areas"}


def test_a_text_is_not_filled_with_the_environment(restricted: Any) -> None:
    asked = "${env:HOME} ${system:user.dir} ${spark.app.id}"
    assert restricted.sql(f"SELECT '{asked}'").collect() == [(asked,)]


@pytest.mark.usefixtures("spark")
def test_labelled_pixels_are_a_view_of_their_own(tmp_path: Path) -> None:
    for split in ("train", "test"):
        publish_sample(tmp_path, split)
    query = (
        "SELECT split, class_name, count(*) AS pixels, min(`ndvi:p10`) AS least FROM Features "
        "GROUP BY ALL ORDER BY ALL"
    )
    rows = sql.query_views(tmp_path, query, {}, SessionConf()).to_pylist()
    files = list_sample_files(tmp_path)
    schema = pixel_schema(files)
    assert schema is not None
    pixels = pa.Table.from_batches(b for split, f in files for b in read_pixels(split, f, schema))
    groups = pixels.to_pandas().groupby(["split", "class_name"])["ndvi:p10"]
    assert [tuple(row.values()) for row in rows] == [
        (*group, len(values), pytest.approx(values.min())) for group, values in groups
    ]
    described = sql.query_views(tmp_path, "DESCRIBE features", {}, SessionConf()).to_pylist()
    comments = {row["col_name"]: row["comment"] for row in described}
    assert comments["pixel_row"] == "row in the sample, from its top (pixels)"
    assert comments["ndvi:p10"] == "physical value of band ndvi:p10"
    listed = sql.query_views(tmp_path, "SHOW VIEWS", {}, SessionConf())
    assert set(listed["viewName"].to_pylist()) == {"samples", "features"}
    # Another run's view is gone.
    (tmp_path / "other" / "tables").mkdir(parents=True)
    with pytest.raises(UsageError, match="TABLE_OR_VIEW_NOT_FOUND"):
        sql.query_views(tmp_path / "other", "SELECT * FROM features", {}, SessionConf())


@pytest.mark.usefixtures("spark")
def test_a_mistake_is_explained_by_spark(folder: Path) -> None:
    for query, text in (
        ("SELECT summ(1)", "UNRESOLVED_ROUTINE.*did you mean sum,"),
        ("SELECT st_aera(geometry) FROM regions", "did you mean st_area,"),
        ("SELECT areas FROM class_areas", r"\(line 1, position 8\).*`area_m2`"),
        ("SELECT * FROM region", r"TABLE_OR_VIEW_NOT_FOUND.*did you mean regions\?"),
        ("SELECT * FROM nowhere", "there are .*class_areas"),
        ("SELEC 1", "PARSE_SYNTAX_ERROR.*'SELEC'"),
    ):
        with pytest.raises(UsageError, match=text) as raised:
            sql.query_views(folder / "out", query, {}, SessionConf())
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 300


@pytest.mark.usefixtures("spark")
def test_values_that_a_query_fails_on_are_told_in_one_line(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for query, text in (
        ("SELECT 1 / 0", "DIVIDE_BY_ZERO"),
        ("SELECT 1 / (class_id - 1) FROM class_areas", "DIVIDE_BY_ZERO"),
        ("SELECT CAST(class_name AS INT) FROM class_areas", "'water' of the type \"STRING\""),
        ("SELECT (SELECT class_name FROM class_areas)", "More than one row"),
        ("SELECT ST_GeomFromText(class_name) FROM class_areas", "ST_GeomFromText.*water"),
        ("SELECT ST_Transform(geometry, 'EPSG:4326', 'EPSG:9') FROM regions", 'No code "EPSG:9"'),
        ("SET spark.sql.shuffle.partitions = many", "should be int"),
        ("SELECT * FROM range(0, 1, 1, 0)", "Positive number of partitions"),
        ("SELECT size(sequence(1, 2000000000))", "more memory than there is"),
        ("SELECT array_repeat(class_name, 2000000000) FROM class_areas", "more memory than there"),
        ("SELECT repeat('a', 2000000000)", "more memory than there is"),
        ("SELECT INTERVAL 1 MONTH", "cast it to another type"),
    ):
        with pytest.raises(UsageError, match=text) as raised:
            sql.query_views(folder / "out", query, {}, SessionConf())
        assert "\n" not in str(raised.value) and "Exception:" not in str(raised.value)
    assert "SQLSTATE" not in capfd.readouterr().err


@pytest.mark.usefixtures("spark")
def test_recursion_and_too_many_partitions_are_refused_by_name(folder: Path) -> None:
    for query, text in (
        ("SELECT * FROM range(0, 10, 1, 2000000000)", "2000000000 partitions, more than 10000"),
        ("SET spark.sql.shuffle.partitions = 10001", "10001 partitions"),
        (
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
            "recursion",
        ),
    ):
        with pytest.raises(UsageError, match=rf"not allowed.*{text}"):
            sql.query_views(folder / "out", query, {}, SessionConf())


@pytest.mark.usefixtures("spark")
def test_a_refusal_names_what_and_the_way_round(folder: Path) -> None:
    query = f"SELECT * FROM csv.`{folder}/secret.csv`"
    with pytest.raises(UsageError, match=r"(?s)not allowed.*one word.*--unsafe"):
        sql.query_views(folder / "out", query, {}, SessionConf())


def test_only_tables_that_statements_name_get_views(spark: Any, folder: Path) -> None:
    for text, named in (
        ("SELECT 1", set()),
        ("SELECT name FROM `Regions`; SELECT 1", {"regions"}),
        ("show views", {"regions", "class_areas"}),
        (None, {"regions", "class_areas"}),
    ):
        tables = sql.make_views(spark, folder / "out", statements=text)
        assert set(tables) == {"regions", "class_areas"}
        views = {row.viewName for row in spark.sql("SHOW VIEWS").collect()}
        assert views & {"regions", "class_areas"} == named


@pytest.mark.usefixtures("spark")
def test_views_of_another_run_are_gone(folder: Path, tmp_path: Path) -> None:
    assert sql.query_views(folder / "out", "TABLE regions", {}, SessionConf()).num_rows == 1
    other = statements.make_run(tmp_path)
    for file in (other / "tables" / "regions").iterdir():
        file.unlink()
    with pytest.raises(UsageError, match="TABLE_OR_VIEW_NOT_FOUND"):
        sql.query_views(other, "TABLE regions", {}, SessionConf())


def test_the_command_prints_a_part_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    query = "SELECT id, count(*) FROM range(2500) JOIN regions GROUP BY id ORDER BY id"
    ran = world.lulc("sql", folder / "out", query, "--limit", "2", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "the first 2 of 2,500 rows" in ran.stderr and ran.stdout.count('"id"') == 2
    assert not list(tmp_path.iterdir())


def test_the_command_runs_anything_when_told_to(folder: Path, tmp_path: Path) -> None:
    query = "SELECT reflect('java.lang.System', 'getProperty', 'file.separator') AS mark"
    ran = world.lulc("sql", folder / "out", query, "--unsafe", cwd=tmp_path)
    assert ran.returncode == 0 and ran.stdout.split() == ["mark", "/"], ran.stderr

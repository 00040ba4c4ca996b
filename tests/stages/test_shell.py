"""`lulc sql` at a terminal, in pipes and with files: statements in, rows out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers import statements
from tests.helpers.small_world import SCRIPTS
from tests.helpers.terminal import at_terminal


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run with areas and regions."""
    return statements.make_run(tmp_path_factory.mktemp("shell"))


def test_a_shell_completes_answers_cancels_and_pages(out: Path, tmp_path: Path) -> None:
    settings = {"XDG_STATE_HOME": str(tmp_path), "PAGER": "less -S"}
    with at_terminal([SCRIPTS / "lulc", "sql", out], settings) as (terminal, process):
        terminal.wait_for("lulc>")
        terminal.type("SELECT class_name FROM class_\t ORDER BY 1;\r")
        assert "class_areas" in terminal.wait_for(r"2 rows, \d+\.\d\d s")
        terminal.wait_for("lulc>")
        terminal.type("SELECT a.area_\t FROM class_areas a\r;\r")
        assert "area_m2" in terminal.wait_for("2 rows")
        terminal.wait_for("lulc>")
        terminal.type("SELECT count(*) FROM range(100000000000) a JOIN range(1000) b;\r")
        terminal.wait_for("range\\(1000")
        with pytest.raises(TimeoutError):
            terminal.wait_for("rows", 3)
        terminal.type("\x03")
        terminal.wait_for("cancelled")
        terminal.wait_for("lulc>")
        terminal.type("SELECT nothing FROM regions;\r")
        terminal.wait_for("UNRESOLVED_COLUMN")
        terminal.wait_for("lulc>")
        terminal.type("SELECT id, 'a' FROM range(100);\r")
        terminal.wait_for("20 a")
        terminal.type("q")
        terminal.wait_for("100 rows")
        terminal.wait_for("lulc>")
        terminal.type("CREATE TEMPORARY VIEW mine AS SELECT 7 AS seventh;\r")
        terminal.wait_for("0 rows")
        terminal.wait_for("lulc>")
        terminal.type("SELECT seven\t FROM mine;\r")
        terminal.wait_for("1 row,")
        terminal.wait_for("lulc>")
        terminal.type("\\df\r")
        terminal.wait_for("lulc_area_m2")
        terminal.wait_for("lulc>")
        terminal.type("\\format csv\r")
        terminal.wait_for("lulc>")
        terminal.type("\\d regions\r")
        terminal.wait_for('"geometry","geometry"')
        terminal.wait_for("lulc>")
        terminal.type("\\format table\r")
        terminal.wait_for("lulc>")
        terminal.type("\\d\r")
        terminal.wait_for("class_areas +table of stats +pixels, m²")
        terminal.wait_for("mine +yours")
        terminal.wait_for("lulc>")
        terminal.type("\\d class_areas\r")
        terminal.wait_for("area_m2 +double +m²")
        terminal.wait_for("lulc>")
        terminal.type("quit\r")
        assert process.wait(60) == 0
    assert (
        "+SELECT class_name FROM class_areas ORDER BY 1;"
        in (tmp_path / "lulc/sql_history").read_text().splitlines()
    )


def _ask(out: Path, *arguments: str, text: str = "") -> bytes:
    command = [SCRIPTS / "lulc", "sql", out, *arguments]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout


def test_several_statements_are_answered_in_one_session(out: Path, tmp_path: Path) -> None:
    file = tmp_path / "file.sql"
    file.write_text("SELECT n * 2 AS twice FROM mine; -- as above\n")
    made = "CREATE TEMPORARY VIEW mine AS SELECT 21 AS n; SELECT n FROM mine;"
    shown = _ask(out, made, "-f", str(file), "--format", "csv").decode()
    assert shown.split() == ['"n"', "21", '"twice"', "42"]


def test_standard_input_is_read_and_rows_are_json_or_parquet(out: Path, tmp_path: Path) -> None:
    query = "SELECT region_id, geometry FROM regions"
    (row,) = json.loads(_ask(out, "--format", "json", text=query))
    assert row["geometry"].startswith("POLYGON")
    file = tmp_path / "rows.parquet"
    file.write_bytes(_ask(out, query, "--format", "parquet"))
    assert b"geo" in pq.read_schema(file).metadata
    assert pq.read_table(file, columns=["region_id"]).to_pylist() == [
        {"region_id": row["region_id"]}
    ]

"""The tables of a run answer a BI tool's question over JDBC."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lulc.cli import main
from tests.helpers import jdbc
from tests.helpers import small_world as world

_PATIENCE_S = 180


@pytest.fixture
def port(done: Path) -> Any:
    """The port at which the finished run answers."""
    number = jdbc.free_port()
    server = subprocess.Popen(
        [str(world.SCRIPTS / "lulc"), "serve", str(done), "--port", str(number)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    end, line = time.monotonic() + _PATIENCE_S, ""
    while "can be queried at" not in line and server.poll() is None and time.monotonic() < end:
        line = server.stderr.readline()
    assert "can be queried at" in line, f"the server ended with {server.poll()}: {line}"
    try:
        yield number
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def test_a_question_over_jdbc_is_answered(port: int, spark: Any) -> None:
    with jdbc.connect(spark, port) as connection:
        tables = connection.getMetaData().getTables(None, None, "%", None)
        names = set()
        while tables.next():
            names.add(tables.getString("TABLE_NAME"))
        assert {"class_areas", "scenes", "ledger", "regions"} <= names
        asked = """
            SELECT a.class_name, sum(a.area_m2) / 1e6 AS km2,
                   max(ST_AreaSpheroid(r.geometry)) AS region_m2
            FROM class_areas a JOIN regions r USING (region_id)
            WHERE a.class_id IS NOT NULL GROUP BY a.class_name ORDER BY km2 DESC
        """
        rows = jdbc.run_query(connection, asked)
        assert {"water", "trees", "crops"} >= {name for name, _, _ in rows}
        assert sum(km2 for _, km2, _ in rows) > 1 and all(m2 > 0 for _, _, m2 in rows)


def test_a_port_that_is_taken_is_named(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        assert main.main(["serve", str(done), "--port", number]) == 5
        assert f"port {number} cannot be listened on" in capsys.readouterr().err
    assert main.main(["serve", str(done / "tables" / "ledger"), "--port", number]) == 2

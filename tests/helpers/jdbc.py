"""SQL queries over JDBC with the driver that Spark brings, and free ports for servers."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PATIENCE_S = 180


def free_port() -> int:
    """Return a TCP port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def await_port(port: int, server: subprocess.Popen[Any]) -> None:
    """Wait until the port is listened on; fail when the server ends before or takes too long."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        assert server.poll() is None, f"the server ended with {server.poll()}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.3)
    raise AssertionError(f"nothing listens on port {port} after {_PATIENCE_S} s")


@contextmanager
def connect(spark: Any, port: int, password: str = "", options: str = "") -> Iterator[Any]:
    """Open a java.sql.Connection to the server at a port in this Spark session's JVM.

    Args:
        spark: the session.
        port: of this machine.
        password: of the user `tool`.
        options: what follows the database in the address, such as `;ssl=true`.
    """
    jvm = spark.sparkContext._jvm
    jvm.java.lang.Class.forName("org.apache.hive.jdbc.HiveDriver")
    connection = jvm.java.sql.DriverManager.getConnection(
        f"jdbc:hive2://127.0.0.1:{port}/default{options}", "tool", password
    )
    try:
        yield connection
    finally:
        connection.close()


def run_query(connection: Any, query: str) -> list[tuple[Any, ...]]:
    """Run a statement, and return its rows; none where it has no result."""
    statement = connection.createStatement()
    statement.setQueryTimeout(60)
    if not statement.execute(query):
        return []
    found, rows = statement.getResultSet(), []
    count = found.getMetaData().getColumnCount()
    while found.next():
        rows.append(tuple(found.getObject(number + 1) for number in range(count)))
    return rows

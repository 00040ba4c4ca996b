"""A run's tables over JDBC: Spark's Thrift server, for any tool that speaks to Hive."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from lulc import progress
from lulc.config import SessionConf
from lulc.errors import SetupError
from lulc.location import Location
from lulc.spark import session, sql

_HOST = "127.0.0.1"
_TIMEOUT_S = 60.0


def serve(out: Location, port: int, wait: Callable[[], object], debug: bool = False) -> None:
    """Answer queries on a run's views at jdbc:hive2://127.0.0.1:<port> until `wait` returns.

    The server listens on this machine alone.

    Args:
        out: the run's output location.
        port: the port to listen on.
        wait: returns when the server is to stop.
        debug: let Spark log.

    Raises:
        UsageError: there are no tables.
        SetupError: the port is taken, or the server does not start.
    """
    sql.check_has_tables(out)
    _check_port(port)
    spark = session.start_session(SessionConf(conf=_settings(port)), debug)
    try:
        views = sql.make_views(spark, out)
        jvm = spark.sparkContext._jvm
        assert jvm is not None
        thrift_server = jvm.org.apache.spark.sql.hive.thriftserver.HiveThriftServer2
        server = thrift_server.startWithContext(spark._jsparkSession.sqlContext())
        try:
            _await_listener(port)
            address = f"jdbc:hive2://{_HOST}:{port}"
            progress.say(f"{', '.join(views)} can be queried at {address}; Ctrl-C stops the server")
            wait()
        finally:
            server.stop()
    finally:
        spark.stop()


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise SetupError(
                f"port {port} cannot be listened on ({error.strerror}): give another --port"
            ) from error


def _settings(port: int) -> dict[str, str]:
    prefix = "spark.hadoop.hive.server2.thrift"
    return {
        f"{prefix}.bind.host": _HOST,
        f"{prefix}.port": str(port),
        # All clients share this session: temporary views belong to it.
        "spark.sql.hive.thriftServer.singleSession": "true",
        "spark.sql.catalogImplementation": "in-memory",
    }


def _await_listener(port: int) -> None:
    end = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex((_HOST, port)) == 0:
                return
        time.sleep(0.2)
    raise SetupError(
        f"Spark's Thrift server did not listen on port {port} within {_TIMEOUT_S:.0f} s: "
        "--debug shows its log"
    )

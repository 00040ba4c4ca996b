"""A run's tables over JDBC: Spark's Thrift server in the session that holds the views, for any tool that speaks to Hive."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from lulc import progress
from lulc.config import SessionConf
from lulc.errors import SetupError
from lulc.spark import session, sql

_PATIENCE_S = 60.0


def serve(out: Path, port: int, wait: Callable[[], object], debug: bool = False) -> None:
    """Nothing, when `wait` returns: until then the views of the run in `out` answer at jdbc:hive2://127.0.0.1:<port>.

    The server listens on this machine alone. UsageError where there are no tables, SetupError where the port is taken.
    """
    sql.need_tables(out)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SetupError(
                f"port {port} cannot be listened on ({error.strerror}): give another --port"
            ) from error
    hive = {"bind.host": "127.0.0.1", "port": str(port)}
    settings = {f"spark.hadoop.hive.server2.thrift.{name}": value for name, value in hive.items()}
    # All clients share this session: temporary views belong to it.
    settings |= {
        "spark.sql.hive.thriftServer.singleSession": "true",
        "spark.sql.catalogImplementation": "in-memory",
    }
    spark = session.start_session(SessionConf(conf=settings), debug)
    try:
        views = sql.make_views(spark, out)
        jvm = spark.sparkContext._jvm
        assert jvm is not None
        server = jvm.org.apache.spark.sql.hive.thriftserver.HiveThriftServer2.startWithContext(
            spark._jsparkSession.sqlContext()
        )
        try:
            _await(port)
            progress.say(
                f"{', '.join(views)} answer at jdbc:hive2://127.0.0.1:{port}; Ctrl-C ends it"
            )
            wait()
        finally:
            server.stop()
    finally:
        spark.stop()


def _await(port: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise SetupError(
        f"Spark's Thrift server did not listen on port {port} within {_PATIENCE_S:.0f} s: --debug shows its log"
    )

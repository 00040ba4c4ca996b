"""A run's tables over JDBC: Spark's Thrift server, for any tool that speaks to Hive."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lulc import progress
from lulc.config import SessionConf
from lulc.errors import InputError, SetupError, UsageError
from lulc.location import Location
from lulc.spark import session
from lulc.spark.queries import features, rules, sql
from lulc.store_access import scheme_of

# What the server's process is given of the environment: what Java, Spark and Hadoop start by.
_KEPT = {
    "HADOOP_CONF_DIR",
    "HADOOP_HOME",
    "HOME",
    "JAVA_HOME",
    "JDK_JAVA_OPTIONS",
    "LANG",
    "LANGUAGE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "PYSPARK_DRIVER_PYTHON",
    "PYSPARK_GATEWAY_PORT",
    "PYSPARK_GATEWAY_SECRET",
    "PYSPARK_PYTHON",
    "PYTHONPATH",
    "SPARK_CONF_DIR",
    "SPARK_HOME",
    "SPARK_LOCAL_DIRS",
    "SPARK_LOCAL_IP",
    "SPARK_SUBMIT_OPTS",
    "TMPDIR",
    "TZ",
    "USER",
    "YARN_CONF_DIR",
}
# By the scheme of the run's location: what the queries read its tables with.
_KEPT_FOR_STORE = {
    "s3": ("AWS_",),
    "gs": ("GOOGLE_", "STORAGE_EMULATOR_HOST"),
    "abfs": ("AZURE_",),
}


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens, and what it asks of its clients."""

    token: str = field(repr=False)
    """What a client gives as its password; its user name may be any."""
    port: int
    host: str = "127.0.0.1"
    """Name or address of the interface."""
    keystore: Path | None = None
    """PKCS #12 file with the server's key and certificate; without it there is no TLS."""
    keystore_password: str = field(default="", repr=False)


def serve(
    out: Location, endpoint: Endpoint, wait: Callable[[], object], debug: bool = False
) -> None:
    """Answer queries on a run's views over JDBC until `wait` returns.

    Geometries are WKT, since JDBC has no type for them.
    Every client has a session of its own, restricted by `lulc.spark.queries.rules`. The server's
    process has none of this one's environment but what it needs to start and to read the tables.

    Args:
        out: the run's output location.
        endpoint: where to listen.
        wait: returns when the server is to stop.
        debug: let Spark log.

    Raises:
        UsageError: there are no tables, or other machines would be answered without TLS.
        SetupError: the port is taken, the key cannot be read, or Spark does not start.
    """
    sql.check_has_tables(out)
    _check(endpoint)
    with _reduced_environment(out):
        spark = session.start_session(SessionConf(conf=_settings()), debug)
    try:
        views = sql.make_views(spark, out, as_text=True)
        try:
            views += features.make_view(spark, out)
        except InputError as error:
            progress.say(f"WARNING: no view {features.FEATURES}: {error}")
        rules.enforce(spark)
        server = rules.make_java(spark, "QueryServer")
        try:
            server.start(spark._jsparkSession, endpoint.token, _hive_settings(endpoint))
        except Exception as error:
            raise SetupError(f"the server did not start: {_cause(error)}") from error
        try:
            address = f"jdbc:hive2://{endpoint.host}:{endpoint.port}/" + (
                ";ssl=true" if endpoint.keystore else ""
            )
            progress.say(
                f"{', '.join(views)} can be queried at {address} by any user name, with the token "
                "as password; Ctrl-C stops the server"
            )
            wait()
        finally:
            server.stop()
    finally:
        spark.stop()


def _check(endpoint: Endpoint) -> None:
    if endpoint.keystore and not endpoint.keystore.is_file():
        raise UsageError(
            f"{endpoint.keystore} is no file: give a PKCS #12 file with key and certificate"
        )
    try:
        with socket.create_server((endpoint.host, endpoint.port)) as probe:
            address = ipaddress.ip_address(probe.getsockname()[0])
    except OSError as error:
        raise SetupError(
            f"port {endpoint.port} of {endpoint.host} cannot be listened on ({error.strerror}): "
            "give another --port or --host"
        ) from error
    if not (address.is_loopback or endpoint.keystore):
        raise UsageError(
            f"{endpoint.host} is reached from other machines, and without TLS the token would be "
            "read on the way: give --keystore FILE, or keep --host 127.0.0.1 behind a tunnel"
        )


@contextlib.contextmanager
def _reduced_environment(out: Location) -> Iterator[None]:
    scheme = scheme_of(str(out))
    prefixes = ("LC_", *_KEPT_FOR_STORE.get(scheme, ()))
    before = dict(os.environ)
    for name in before:
        if name not in _KEPT and not name.startswith(prefixes):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _settings() -> dict[str, str]:
    settings = {
        "spark.sql.hive.thriftServer.singleSession": "false",
        "spark.sql.catalogImplementation": "in-memory",
        # Of an answer the server holds the rows of one partition at a time.
        "spark.sql.thriftServer.incrementalCollect": "true",
    }
    if not session.submitted():
        # Spark's own ports, open to every user of this machine, ask for a secret.
        settings["spark.authenticate"] = "true"
    return settings


def _hive_settings(endpoint: Endpoint) -> dict[str, str]:
    prefix = "hive.server2"
    settings = {
        f"{prefix}.thrift.bind.host": endpoint.host,
        f"{prefix}.thrift.port": str(endpoint.port),
    }
    if endpoint.keystore:
        settings |= {
            f"{prefix}.keystore.path": str(endpoint.keystore.resolve()),
            f"{prefix}.keystore.password": endpoint.keystore_password,
        }
    return settings


def _cause(error: Exception) -> str:
    # The innermost of Java's exceptions.
    java = getattr(error, "java_exception", None)
    while java is not None and java.getCause() is not None:
        java = java.getCause()
    return str(error if java is None else java.toString()).splitlines()[0]

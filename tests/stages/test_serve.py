"""The tables of a run answer a BI tool's question over JDBC, and nothing else is to be had."""

from __future__ import annotations

import datetime
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import shapely
from py4j.protocol import Py4JJavaError

from lulc.cli import main
from lulc.geo.areas import degrees_area
from tests.helpers import jdbc, statements
from tests.helpers import small_world as world

_PATIENCE_S = 180
_TOKEN = "kd83-Hs72-ahQ1-pw0s"
_SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-pass",
    "DATABASE_URL": "postgres://u:hunter2@db/x",
}


@dataclass(frozen=True)
class Server:
    """A server that runs in a folder, with a run's tables in `out`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def serving(folder: Path, *options: str, **environment: str) -> Iterator[Server]:
    """Serve a small run until the block ends; nothing may be left in the working folder."""
    out, port, working = statements.make_run(folder), jdbc.free_port(), folder / "working"
    working.mkdir()
    log = folder / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [str(world.SCRIPTS / "lulc"), "serve", str(out), "--port", str(port), *options],
            stderr=stderr,
            cwd=working,
            env=world.environment() | environment,
        )
    try:
        end = time.monotonic() + _PATIENCE_S
        while "can be queried at" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield Server(folder, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not list(working.iterdir())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as it is by default, started where secrets are in the environment."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, **_SECRETS, LULC_SERVE_TOKEN=_TOKEN) as started:
        yield started


def test_a_question_over_jdbc_is_answered(server: Server, spark: Any) -> None:
    with jdbc.connect(spark, server.port, _TOKEN) as connection:
        tables = connection.getMetaData().getTables(None, None, "%", None)
        names = set()
        while tables.next():
            names.add(tables.getString("TABLE_NAME"))
        assert names == {"class_areas", "regions"}
        asked = """
            SELECT a.class_name, sum(a.area_m2),
                   max(ST_AreaSpheroid(ST_GeomFromText(r.geometry))) AS region_m2
            FROM class_areas a JOIN regions r USING (region_id)
            GROUP BY a.class_name ORDER BY 2 DESC
        """
        rows = jdbc.run_query(connection, asked)
        assert [row[:2] for row in rows] == [("trees", 9.0), ("water", 4.0)]
        assert all(9e9 < m2 < 1e10 for *_, m2 in rows)


def test_whatever_else_is_refused_and_does_nothing(server: Server, spark: Any) -> None:
    with jdbc.connect(spark, server.port, _TOKEN) as connection:
        for statement in statements.refused(server.folder):
            with pytest.raises(Py4JJavaError) as raised:
                jdbc.run_query(connection, statement)
            assert "not allowed in a query" in str(raised.value), statement
        for statement in statements.ALLOWED:
            # Geometries are texts here.
            jdbc.run_query(
                connection, re.sub(r"\b(\w\.geometry)", r"ST_GeomFromText(\1)", statement)
            )
        asked = "${env:HOME} ${system:user.dir}"
        assert jdbc.run_query(connection, f"SELECT '{asked}'") == [(asked,)]
    assert {path.name for path in server.folder.iterdir()} == {
        "out",
        "secret.csv",
        "working",
        "log",
    }


def test_clients_do_not_touch_each_other(server: Server, spark: Any) -> None:
    with (
        jdbc.connect(spark, server.port, _TOKEN) as one,
        jdbc.connect(spark, server.port, _TOKEN) as other,
    ):
        jdbc.run_query(one, "DROP VIEW class_areas")
        jdbc.run_query(one, "CREATE TEMPORARY VIEW mine AS SELECT 1 AS n")
        jdbc.run_query(one, "CREATE OR REPLACE TEMPORARY VIEW regions AS SELECT 'gone' AS name")
        jdbc.run_query(one, "SET TIME ZONE 'Asia/Tokyo'")
        assert jdbc.run_query(one, "SELECT name FROM regions") == [("gone",)]
        for client in (other, None):
            with jdbc.connect(spark, server.port, _TOKEN) as third:
                seen = client or third
                assert jdbc.run_query(seen, "SELECT count(*) FROM class_areas") == [(2,)]
                assert jdbc.run_query(seen, "SELECT name FROM regions") == [("East",)]
                assert jdbc.run_query(seen, "SELECT current_timezone()") == [("UTC",)]
                with pytest.raises(Py4JJavaError, match="TABLE_OR_VIEW_NOT_FOUND"):
                    jdbc.run_query(seen, "SELECT * FROM mine")


@pytest.mark.parametrize("password", ["", "guess", _TOKEN[:-1], _TOKEN + "x"])
def test_a_client_without_the_token_is_turned_away(
    server: Server, spark: Any, password: str
) -> None:
    with (
        pytest.raises(Py4JJavaError, match="validating the login"),
        jdbc.connect(spark, server.port, password),
    ):
        pass


def test_settings_that_come_with_a_connection_are_dropped(server: Server, spark: Any) -> None:
    options = (
        "?spark.sql.runSQLOnFiles=true;spark.sql.variable.substitute=true"
        ";spark.sql.session.timeZone=Asia/Tokyo#x=1"
    )
    with jdbc.connect(spark, server.port, _TOKEN, options) as connection:
        rows = jdbc.run_query(connection, "SELECT '${env:HOME}', current_timezone()")
        assert rows == [("${env:HOME}", "UTC")]
        assert len(jdbc.run_query(connection, "SHOW TABLES")) == 2


def test_a_failed_statement_leaves_the_server_as_it_was(server: Server, spark: Any) -> None:
    # A thread that served a client serves the next: it must still know whom to let in.
    for _ in range(4):
        with jdbc.connect(spark, server.port, _TOKEN) as connection:
            with pytest.raises(Py4JJavaError, match=r"ST_AsText\("):
                jdbc.run_query(connection, "SELECT ST_Point(1, 2)")
            with pytest.raises(Py4JJavaError, match="UNRESOLVED_COLUMN"):
                jdbc.run_query(connection, "SELECT nothing FROM regions")
            assert jdbc.run_query(connection, "SELECT 1") == [(1,)]


def test_a_query_for_more_memory_than_there_is_fails_and_others_go_on(
    server: Server, spark: Any
) -> None:
    with (
        jdbc.connect(spark, server.port, _TOKEN) as one,
        jdbc.connect(spark, server.port, _TOKEN) as other,
    ):
        for statement, words in (
            # Of the statement's own thread, and of tasks.
            ("SELECT size(sequence(1, 2000000000))", "OutOfMemoryError"),
            ("SELECT array_repeat(area_m2, 2000000000) FROM class_areas", "OutOfMemoryError"),
            # Likewise what fails while its rows are fetched.
            ("SELECT 1 / (class_id - 1) FROM class_areas", "DIVIDE_BY_ZERO"),
        ):
            with pytest.raises(Py4JJavaError, match=words):
                jdbc.run_query(one, statement)
            for client in (one, other):
                assert jdbc.run_query(client, "SELECT count(*) FROM class_areas") == [(2,)]
        assert len(jdbc.run_query(other, "SELECT * FROM range(2500)")) == 2500


def test_geometries_are_texts(server: Server, spark: Any) -> None:
    with jdbc.connect(spark, server.port, _TOKEN) as connection:
        types = {row[0]: row[1] for row in jdbc.run_query(connection, "DESCRIBE regions")}
        assert types["geometry"] == "string"
        ((text,),) = jdbc.run_query(connection, "SELECT geometry FROM regions")
        assert text.startswith("POLYGON ((")
        ((area,),) = jdbc.run_query(connection, "SELECT lulc_area_m2(geometry) FROM regions")
        assert area == pytest.approx(degrees_area(shapely.box(1, 41, 2, 42)), rel=1e-9)


def test_the_process_has_no_secrets(server: Server) -> None:
    (java,) = [
        child
        for child in psutil.Process(server.process.pid).children(recursive=True)
        if child.name() == "java"
    ]
    environment = java.environ()
    print("environment of the server's process:", ", ".join(sorted(environment)))
    assert not _SECRETS.keys() & environment.keys() and "LULC_SERVE_TOKEN" not in environment
    seen = " ".join([*environment.values(), *java.cmdline()])
    assert not [value for value in (*_SECRETS.values(), _TOKEN) if value in seen]
    ports = {c.laddr.ip for c in java.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert {address.removeprefix("::ffff:") for address in ports} == {"127.0.0.1"}


def test_other_machines_are_answered_over_tls(spark: Any, tmp_path: Path) -> None:
    folder, token_file = tmp_path / "served", tmp_path / "token"
    folder.mkdir()
    token_file.write_text(_TOKEN + "\n")
    keystore, truststore = _make_certificate(tmp_path)
    options = ("--host", "0.0.0.0", "--keystore", str(keystore), "--token-file", str(token_file))
    with serving(folder, *options, LULC_KEYSTORE_PASSWORD="of-the-key") as server:
        with jdbc.connect(
            spark,
            server.port,
            _TOKEN,
            f";ssl=true;sslTrustStore={truststore};trustStorePassword=of-the-trust",
        ) as connection:
            assert jdbc.run_query(connection, "SELECT count(*) FROM class_areas") == [(2,)]
        with pytest.raises(Py4JJavaError), jdbc.connect(spark, server.port, _TOKEN):
            pass


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    # A key with its certificate, and a store of Java's in which that is trusted.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import pkcs12

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    keystore, truststore = folder / "server.p12", folder / "trust.p12"
    locked = serialization.BestAvailableEncryption(b"of-the-key")
    keystore.write_bytes(
        pkcs12.serialize_key_and_certificates(b"server", key, certificate, None, locked)
    )
    trusted = pkcs12.PKCS12Certificate(certificate, b"server")
    locked = serialization.BestAvailableEncryption(b"of-the-trust")
    truststore.write_bytes(pkcs12.serialize_java_truststore([trusted], locked))
    return keystore, truststore


def test_what_cannot_be_served_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, short = str(statements.make_run(tmp_path)), tmp_path / "short"
    short.write_text("secret\n")
    monkeypatch.delenv("LULC_SERVE_TOKEN", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        for code, text, token, options in (
            (2, "no terminal shows a new token", None, ()),
            (2, "is short", "1234", ()),
            (2, "is short", None, ("--token-file", str(short))),
            (2, "cannot be read", None, ("--token-file", str(tmp_path / "none"))),
            (5, f"port {number}", _TOKEN, ("--port", number)),
            (2, "without TLS", _TOKEN, ("--host", "0.0.0.0", "--port", str(jdbc.free_port()))),
            (2, "PKCS #12", _TOKEN, ("--keystore", str(tmp_path / "none"))),
        ):
            with monkeypatch.context() as patch:
                if token:
                    patch.setenv("LULC_SERVE_TOKEN", token)
                assert main.main(["serve", out, *options]) == code
            assert text in capsys.readouterr().err
        monkeypatch.setenv("LULC_SERVE_TOKEN", _TOKEN)
        assert main.main(["serve", str(tmp_path / "nothing"), "--port", number]) == 2


def test_a_new_token_is_shown_on_the_terminal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = statements.make_run(tmp_path)
    monkeypatch.delenv("LULC_SERVE_TOKEN", raising=False)
    terminal, end = pty.openpty()
    tokens = set()
    with os.fdopen(end, "w") as stderr, os.fdopen(terminal) as shown:
        monkeypatch.setattr(sys, "stderr", stderr)
        for _ in range(2):
            # Without TLS this host is refused, after the token is shown.
            port = str(jdbc.free_port())
            assert main.main(["serve", str(out), "--host", "0.0.0.0", "--port", port]) == 2
            stderr.flush()
            # A terminal hands on what was written in parts: read until the line is there.
            line = next(line for line in shown if line.startswith("token of this server: "))
            tokens.add(line.strip().rpartition(" ")[2])
    assert len(tokens) == 2 and min(map(len, tokens)) >= 32

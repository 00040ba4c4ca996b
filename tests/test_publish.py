"""Tables are published as Iceberg tables that an engine of its own reads, their past included."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lulc import store
from lulc.conf import parse_run
from lulc.errors import InputError, UsageError
from lulc.spark.publish import publish
from lulc.spark.run import stages_of
from lulc.spark.stage import Choice, Request
from tests import jdbc, world
from tests.lint import ROOT

_READER = """
import json, sys
from lulc.conf import Spark
from lulc.spark import session
kind = "org.apache.iceberg.spark.SparkCatalog"
conf = {"spark.sql.catalog.lake": kind, "spark.sql.catalog.lake.type": "hadoop", "spark.sql.catalog.lake.warehouse": sys.argv[1]}
spark = session.start(Spark(master="local[1]", memory="1g", conf=conf), more=session.ICEBERG)
first = spark.sql("SELECT snapshot_id FROM lake.maps.class_areas.snapshots ORDER BY committed_at").first()[0]
told = {
    "tables": sorted(row.tableName for row in spark.sql("SHOW TABLES IN lake.maps").collect()),
    "now": spark.table("lake.maps.class_areas").count(),
    "before": spark.sql(f"SELECT * FROM lake.maps.class_areas VERSION AS OF {first}").count(),
    "area": spark.sql("SELECT sum(area_m2) FROM lake.maps.class_areas").first()[0],
    "regions": spark.sql("SELECT count(ST_GeomFromWKB(geometry)) FROM lake.maps.regions").first()[0],
    "published": spark.sql("SELECT count(*) FROM lake.maps.ledger WHERE stage = 'publish'").first()[0],
}
print(json.dumps(told))
"""


def test_what_is_published_is_read_back_and_its_past_too(done: Path, small: world.World, spark: Any, tmp_path: Path) -> None:
    out, lake = tmp_path / "out", tmp_path / "lake"
    shutil.copytree(done / "tables", out / "tables")
    asked = ("publish", small.run, "--out", out, "--set", f"publish.warehouse={lake}", "--set", "publish.namespace=maps")
    ran = world.lulc(*asked)
    assert ran.returncode == 0, ran.stderr
    again = world.lulc(*asked)
    assert again.returncode == 0 and "nothing to do" in again.stdout + again.stderr, again.stderr
    rows = store.read_table(out, "class_areas")
    store.write_table(out, "class_areas", rows.slice(0, 3))
    changed = world.lulc(*asked)
    assert "2 done" in changed.stdout + changed.stderr, changed.stderr  # the table and the ledger
    read = subprocess.run([sys.executable, "-c", _READER, str(lake)], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    told = json.loads(read.stdout.splitlines()[-1])
    assert {"class_areas", "regions", "scenes", "accuracy", "ledger"} <= set(told["tables"])
    assert not {"chips", "samples", "predictions"} & set(told["tables"])
    assert (told["now"], told["before"], told["regions"]) == (3, rows.num_rows, 2)
    assert told["area"] == pytest.approx(sum(rows["area_m2"].to_pylist()[:3]))
    assert told["published"] > 4
    with thrift_server(lake) as port, jdbc.connected(spark, port) as connection:
        query = "SELECT count(*) AS n, sum(area_m2) AS m2 FROM lulc.maps.class_areas"
        assert jdbc.ask(connection, query, "n", "m2") == [(3, pytest.approx(told["area"]))]


@contextmanager
def thrift_server(lake: Path) -> Iterator[int]:
    """The port at which Spark's own server answers, started as conf/thrift.properties says."""
    port = jdbc.free_port()
    settings = {
        "spark.sql.catalog.lulc.warehouse": lake,
        "spark.hadoop.hive.server2.thrift.port": port,
        "spark.ui.enabled": "false",
    }
    command = [world.SCRIPTS / "spark-submit", "--master", "local[1]", "--properties-file", ROOT / "conf" / "thrift.properties"]
    command += [f"--conf={name}={value}" for name, value in settings.items()]
    command += ["--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2", "spark-internal"]
    server = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=lake.parent,
        env=world.environment(),
    )
    try:
        jdbc.await_port(port, server)
        yield port
    finally:
        server.terminate()
        server.wait(60)


def test_publication_is_asked_for_and_needs_tables(spark: Any, tmp_path: Path) -> None:
    run = {"name": "m", "maps": [{"period": "1", "path": "a.tif"}], "regions": [{"path": "r.gpkg"}]}
    plain, told = parse_run(run, tmp_path), parse_run(run | {"publish": {"warehouse": "lake"}}, tmp_path)
    assert stages_of(plain) == ("stats",) and stages_of(told) == ("stats", "publish")
    assert told.publish and told.publish.warehouse == str(tmp_path / "lake")
    for asked, error, text in ((plain, UsageError, "where to publish"), (told, InputError, "no tables")):
        with pytest.raises(error, match=text):
            publish(Request(asked, tmp_path / "out", Choice(), lambda: spark))

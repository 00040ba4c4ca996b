"""Tables are published as Iceberg tables that another engine reads, their past too; maps too."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lulc.config import PublishConf
from lulc.errors import InputError, UsageError
from lulc.runfile import parse_run
from lulc.spark.context import StageContext
from lulc.spark.stages.publish import publish
from lulc.stages import Selection, stages_of
from lulc.tables import store
from tests.helpers import jdbc
from tests.helpers import small_world as world
from tests.helpers.explored_run import PERIODS, make_explored_run
from tests.lint import ROOT


def test_what_is_published_is_read_back_and_its_past_too(
    done: Path, small: world.World, spark: Any, tmp_path: Path
) -> None:
    out, lake = tmp_path / "out", tmp_path / "lake"
    shutil.copytree(done / "tables", out / "tables")
    asked = (
        "publish",
        small.run,
        "--out",
        out,
        "--set",
        f"publish.warehouse={lake}",
        "--set",
        "publish.namespace=maps",
    )
    ran = world.lulc(*asked)
    assert ran.returncode == 0, ran.stderr
    again = world.lulc(*asked)
    assert again.returncode == 0 and "nothing to do" in again.stdout + again.stderr, again.stderr
    rows = store.read_table(out, "class_areas")
    store.write_table(out, "class_areas", rows.slice(0, 3))
    changed = world.lulc(*asked)
    assert "2 done" in changed.stdout + changed.stderr, changed.stderr  # the table and the ledger
    with thrift_server(lake) as port, jdbc.connect(spark, port) as connection:

        def ask(query: str) -> list[tuple[Any, ...]]:
            return jdbc.run_query(connection, query)

        found = {name for _, name, *_ in ask("SHOW TABLES IN lulc.maps")}
        assert {"class_areas", "regions", "scenes", "accuracy", "ledger"} <= found
        assert not {"chips", "samples", "predictions"} & found
        area = pytest.approx(sum(rows["area_m2"].to_pylist()[:3]))
        assert ask("SELECT count(*), sum(area_m2) FROM lulc.maps.class_areas") == [(3, area)]
        (first,) = ask(
            "SELECT snapshot_id FROM lulc.maps.class_areas.snapshots ORDER BY committed_at LIMIT 1"
        )
        assert ask(f"SELECT count(*) FROM lulc.maps.class_areas VERSION AS OF {first[0]}") == [
            (rows.num_rows,)
        ]
        assert ask("SELECT count(*) FROM lulc.maps.regions WHERE length(geometry) > 90") == [(2,)]
        ((published,),) = ask("SELECT count(*) FROM lulc.maps.ledger WHERE stage = 'publish'")
        assert published > 4


@contextmanager
def thrift_server(lake: Path) -> Iterator[int]:
    """The port at which Spark's own server answers, started as conf/thrift.properties says."""
    port = jdbc.free_port()
    settings = {
        "spark.sql.catalog.lulc.warehouse": lake,
        "spark.hadoop.hive.server2.thrift.port": port,
        "spark.ui.enabled": "false",
    }
    command = [
        world.SCRIPTS / "spark-submit",
        "--master",
        "local[1]",
        "--properties-file",
        ROOT / "conf" / "thrift.properties",
    ]
    command += [f"--conf={name}={value}" for name, value in settings.items()]
    command += [
        "--class",
        "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2",
        "spark-internal",
    ]
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
    plain, publishing = (
        parse_run(run, tmp_path),
        parse_run(run | {"publish": {"warehouse": "lake"}}, tmp_path),
    )
    assert stages_of(plain) == ("stats",) and stages_of(publishing) == ("stats", "publish")
    assert publishing.publish and publishing.publish.warehouse == str(tmp_path / "lake")
    for asked, error, text in (
        (plain, UsageError, "where to publish"),
        (publishing, InputError, "no tables"),
    ):
        with pytest.raises(error, match=text):
            publish(StageContext(asked, tmp_path / "out", Selection(), lambda: spark))


def test_maps_are_published_as_tiles_and_again_when_they_change(tmp_path: Path) -> None:
    run, web = make_explored_run(tmp_path / "run"), tmp_path / "web"
    config = replace(run.config, publish=PublishConf(tiles=str(web)))
    asked = StageContext(config, run.out, Selection(), lambda: pytest.fail("Spark is not needed"))
    assert publish(asked).done == 6
    names = [f"{kind}-{period}.pmtiles" for kind in ("classes", "confidence") for period in PERIODS]
    # How unsure the map is was written of the last period alone.
    names += [f"{kind}-{PERIODS[-1]}.pmtiles" for kind in ("entropy", "margin")]
    assert sorted(path.name for path in web.iterdir()) == names
    assert publish(asked).skipped == 6
    raster = next((run.out / "rasters" / "2020").rglob("*.tif"))
    os.utime(raster, (0, 0))
    assert publish(asked).done == 1


def test_a_place_to_publish_to_is_named(tmp_path: Path) -> None:
    run = {"name": "m", "maps": [{"period": "1", "path": "a.tif"}], "regions": [{"path": "r.gpkg"}]}
    config = parse_run(run | {"publish": {"tiles": "web"}}, tmp_path)
    assert config.publish and config.publish.tiles == str(tmp_path / "web")
    with pytest.raises(UsageError, match=r"publish\.warehouse for tables, publish\.tiles for maps"):
        parse_run(run | {"publish": {}}, tmp_path)

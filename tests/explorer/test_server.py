"""The server answers browsers of this machine alone; the verb starts it, or writes files."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from lulc.cli.main import main
from lulc.cli.services import end_demo
from lulc.errors import SetupError
from lulc.explorer.server import open_server
from lulc.explorer.site import Site
from tests.helpers.explored_run import ExploredRun
from tests.helpers.small_world import SCRIPTS
from tests.helpers.terminal import at_terminal


@pytest.fixture(scope="module")
def port(site: Site) -> Iterator[int]:
    with open_server(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_what_is_not_of_the_page_is_not_answered(port: int, site: Site) -> None:
    layer = site.layers[0].name
    for path in (
        "/../map.json",
        "/..%2f..%2fconfig.yaml",
        "/regions/99.json",
        "/tiles/other/0/0/0.png",
        f"/tiles/{layer}/2/4/0.png",
        f"/tiles/{layer}/19/0/0.png",
        f"/tiles/{layer}/-1/0/0.png",
    ):
        assert ask(port, path)[0] == 404, path
    assert ask(port, "/map.json", "POST")[0] == 501
    assert ask(port, f"/tiles/{layer}/12/0/0.png")[:2] == (204, b"")


def test_a_page_from_elsewhere_that_resolves_to_this_machine_is_refused(port: int) -> None:
    assert ask(port, "/map.json", Host="evil.example")[0] == 403
    for name in ("localhost", "127.0.0.1"):
        assert ask(port, "/map.json", Host=f"{name}:{port}")[0] == 200


def test_head_is_answered_as_get_without_a_body(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for path, status in (("/map.json", 200), ("/none", 404)):
        connection.request("HEAD", path)  # twice on one connection: a body would break the second
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, b"")
        expected, body, headers = ask(port, path)
        assert expected == status and answer.headers["Content-Length"] == str(len(body))
        assert answer.headers["Content-Type"] == headers["Content-Type"]


def test_parts_of_the_regions_tiles_are_read_by_range(port: int) -> None:
    whole = ask(port, "/regions.pmtiles")[1]
    assert whole.startswith(b"PMTiles\x03")
    status, part, headers = ask(port, "/regions.pmtiles", Range="bytes=5-20")
    assert (status, part) == (206, whole[5:21])
    assert headers["Content-Range"] == f"bytes 5-20/{len(whole)}"
    assert ask(port, "/regions.pmtiles", Range=f"bytes={len(whole)}-{len(whole) + 9}")[0] == 416


def test_very_many_regions_are_outlined_where_they_can_be_told_apart(site: Site) -> None:
    assert site.regions is not None
    side = 0.04  # degrees
    boxes = [shapely.box(lon, 0, lon + side, side) for lon in np.arange(0, 40, side)]
    table = site.regions.table.slice(0, 1).take([0] * len(boxes))
    column = table.schema.get_field_index("geometry")
    many = table.set_column(column, "geometry", pa.array(shapely.to_wkb(boxes), pa.binary()))
    regions = replace(site.regions, table=many)
    width = side / 360 * 512 * 2**regions.min_zoom
    assert 3 <= width < 6 and regions.min_zoom < regions.max_zoom


def test_a_taken_port_is_named(port: int, site: Site) -> None:
    with pytest.raises(SetupError, match=f"port {port} .*--port"), open_server(site, port):
        pass


def test_the_verb_serves_until_it_is_stopped(explored: ExploredRun) -> None:
    command = [SCRIPTS / "lulc", "view", explored.out, "--port", "0", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stderr
        lines = "".join(iter(process.stdout.readline, "}\n")) + "}"
        address = json.loads(lines)["address"]
        port = int(address.rstrip("/").rpartition(":")[2])
        assert json.loads(ask(port, "/map.json")[1])["name"] == "valley"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read() == "lulc: stopped\n"


_RESULTS = [("map", "rasters"), ("explorer", "lulc view out/demo")]
_END_OF_DEMO = """
import json
import sys
from lulc.api.run import open_run
from lulc.cli.main import command
from lulc.cli.services import end_demo
with command() as outcome:
    run = open_run(sys.argv[1])
    end_demo(run.config, run.out, json.loads(sys.argv[2]))
sys.exit(outcome.code)
"""


def test_a_demo_at_a_terminal_ends_with_the_page_and_ctrl_c(explored: ExploredRun) -> None:
    program = [sys.executable, "-c", _END_OF_DEMO, str(explored.out), json.dumps(_RESULTS)]
    with at_terminal(program, {}) as (terminal, process):
        lines = terminal.wait_for(r"explorer +http://127\.0\.0\.1:\d+/ until Ctrl-C; .*\n")
        assert re.search(r"^map +rasters\r$", lines, re.MULTILINE)
        assert "later: lulc view out/demo" in lines
        port = int(lines.partition("127.0.0.1:")[2].partition("/")[0])
        assert json.loads(ask(port, "/map.json")[1])["name"] == "valley"
        terminal.type("\x03")
        assert process.wait(30) == 0


def test_a_demo_in_a_script_ends_with_the_command(
    explored: ExploredRun, capsys: pytest.CaptureFixture[str]
) -> None:
    end_demo(explored.config, explored.out, _RESULTS)
    assert capsys.readouterr().out.splitlines() == [
        "map         rasters",
        "explorer    lulc view out/demo",
    ]


def test_the_verb_keeps_other_files(
    explored: ExploredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["view", str(explored.out), "--export", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert "holds other files" in capsys.readouterr().err


def test_the_verb_writes_all_that_the_page_asks_for(exported: Path) -> None:
    content = json.loads((exported / "map.json").read_text())
    for layer in content["layers"]:
        assert (exported / layer["archive"]).stat().st_size > 1000
    names = {path.name for path in exported.iterdir()}
    assert {"index.html", "explorer.js", "maplibre-gl.js", "regions.pmtiles"} <= names

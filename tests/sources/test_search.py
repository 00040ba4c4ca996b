"""Catalogue searches against a local STAC API: paging, a replayable file, no signatures kept."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pystac_client import Client

from lulc.cli.options.parser import make_parser
from lulc.cli.run_of_arguments import config_from_arguments
from lulc.config import Archive, Config, Period, Search
from lulc.errors import InputError, UsageError
from lulc.geo.grid import footprint
from lulc.raster import signing
from lulc.raster.access import ReadError, open_raster
from lulc.redact import strip_credentials
from lulc.runfile import parse_run, read_run
from lulc.sources import area, registry
from lulc.sources.catalogues import api as stac_api_client
from lulc.sources.catalogues.answers import read_answer
from lulc.sources.catalogues.api import _cloud_filter
from lulc.sources.catalogues.http import connect
from lulc.sources.catalogues.search import _boxes, _clean, find_scenes
from tests.helpers.faulty_proxy import serve
from tests.helpers.synthetic_scenes import UTM33, write_raster

SECRET = "SECRET0123"


def make_item(number: int, cloud: float | None, day: str) -> dict[str, Any]:
    # A degree square each, in a row along the equator.
    outline = shapely.box(number, 0, number + 1, 1)
    href = f"https://user:{SECRET}@data.example.org/{number}.tif?sv=1&sig={SECRET}"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"scene{number:02d}",
        "collection": "squares",
        "geometry": shapely.geometry.mapping(outline),
        "bbox": list(outline.bounds),
        "links": [],
        "properties": {"datetime": f"{day}T10:00:00Z"}
        | ({} if cloud is None else {"eo:cloud_cover": cloud}),
        "assets": {"red": {"href": href, "type": "image/tiff"}},
    }


ITEMS = [
    make_item(n, None if n == 11 else float(n), f"2023-{n % 12 + 1:02d}-15") for n in range(25)
]


@contextmanager
def stac_api(folder: Path, items: list[dict[str, Any]]) -> Iterator[str]:
    """The address of a STAC API of these items."""
    path = folder / "served.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
    command = [
        str(Path(sys.executable).with_name("rustac")),
        "serve",
        "--addr",
        place,
        "--create-collections",
        str(path),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", int(place.rpartition(":")[2]))) == 0:
                        break
                time.sleep(0.1)
            yield f"http://{place}/"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with stac_api(tmp_path_factory.mktemp("api"), ITEMS) as url:
        yield url


def make_run(**rest: Any) -> Config:
    raw = {
        "name": "t",
        "scenes": [{"path": "."}],
        "bands": ["red"],
        "legend": {1: {"name": "a", "colour": "#000000"}},
    }
    return replace(parse_run(raw, Path()), **rest)


def ask(url: str, out: Path, config: Config | None = None, **rest: Any) -> list[str]:
    found = find_scenes(
        Archive(search=Search(url, ("squares",), **rest)), config or make_run(), out
    )
    return sorted(name for name, *_ in read_answer(Path(found.path)))


def names(*numbers: int) -> list[str]:
    return [f"scene{n:02d}" for n in numbers]


def test_all_pages_are_read(api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stac_api_client, "_PAGE", 4)
    assert (
        len(list(Client.open(api).search(collections=["squares"], limit=4).pages_as_dicts())) == 7
    )
    assert ask(api, tmp_path) == names(*range(25))


def test_box_days_and_clouds_narrow_a_search(api: str, tmp_path: Path) -> None:
    assert ask(api, tmp_path, bbox="2.5,0.2,4.5,0.8") == names(2, 3, 4)
    assert ask(api, tmp_path, time="2023-03-01/2023-03-31") == names(2, 14)
    assert ask(api, tmp_path, time="2023-11-30/..") == names(11, 23)
    # This server knows no filter: its items are filtered again here. Scene 11 has no cloud cover.
    assert ask(api, tmp_path, max_cloud=3) == names(0, 1, 2, 3)
    assert ask(api, tmp_path, max_cloud=100) == names(*range(11), *range(12, 25))
    with pytest.raises(InputError, match=r"no scene for.*widen"):
        ask(api, tmp_path, bbox="100,50,101,51")


def test_area_and_periods_are_the_runs_where_the_search_says_none(api: str, tmp_path: Path) -> None:
    run = make_run(
        area="0.5,0.2,20.5,0.8",
        periods=(
            Period(
                "winter",
                datetime(2023, 1, 1, tzinfo=UTC).date(),
                datetime(2023, 1, 31, tzinfo=UTC).date(),
            ),
            Period(
                "july",
                datetime(2023, 7, 1, tzinfo=UTC).date(),
                datetime(2023, 7, 31, tzinfo=UTC).date(),
            ),
        ),
    )
    assert ask(api, tmp_path, run) == names(0, 6, 12, 18)
    assert ask(api, tmp_path, run, time="2023-02-01/2023-02-28", bbox="0,0,30,1") == names(1, 13)


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        # Scenes of 10:00 UTC on the 15th of each month; east of 165° it is the 16th there.
        (date(2023, 3, 16), date(2023, 3, 31), names(2, 14)),
        (date(2023, 3, 1), date(2023, 3, 14), names(2, 14)),
        (date(2023, 3, 17), date(2023, 3, 31), []),
        (date(2023, 11, 17), date.max, names(11, 23)),
        (date.min, date(2023, 1, 31), names(0, 12, 24)),
    ],
)
def test_scenes_of_the_solar_days_at_a_periods_ends_are_found(
    api: str, tmp_path: Path, start: date, end: date, found: list[str]
) -> None:
    run = make_run(periods=(Period("p", start, end),))
    if found:
        assert ask(api, tmp_path, run) == found
    else:
        with pytest.raises(InputError, match="no scene for"):
            ask(api, tmp_path, run)


def test_an_area_across_the_antimeridian_is_two_boxes() -> None:
    assert _boxes(area.parse_box("170,-20,-170,-10")) == [
        (-180, -20, -170, -10),
        (170, -20, 180, -10),
    ]
    assert _boxes(area.parse_box("5,1,6,2")) == [(5, 1, 6, 2)]


def test_an_answer_is_kept_and_replayed_offline(tmp_path: Path) -> None:
    kept = tmp_path / "kept.parquet"
    with stac_api(tmp_path, ITEMS[:3]) as url:
        search = Search(url, ("squares",))
        first = find_scenes(Archive(str(kept), search=search), make_run(), tmp_path)
        default = find_scenes(Archive(search=search), make_run(), tmp_path)
    content = kept.read_bytes()
    assert (first.path, Path(default.path).parent) == (str(kept), tmp_path / "searches")
    assert list(read_answer(Path(default.path))) == list(read_answer(kept))
    assert find_scenes(Archive(str(kept), search=search), make_run(), tmp_path) == first
    with pytest.raises(InputError, match="cannot be searched"):
        find_scenes(Archive(str(kept), search=replace(search, max_cloud=5)), make_run(), tmp_path)
    assert kept.read_bytes() == content
    other = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"id": ["a"]}), other)
    with pytest.raises(InputError, match=r"mine\.parquet holds no search result"):
        find_scenes(Archive(str(other), search=search), make_run(), tmp_path)
    with pytest.raises(UsageError, match=r"k\.json is of a search.*\.parquet"):
        find_scenes(Archive(str(tmp_path / "k.json"), search=search), make_run(), tmp_path)
    with pytest.raises(InputError, match="has not been run yet"):
        registry.source_of(Archive(search=search))


def test_the_answer_is_an_archive_without_secrets(api: str, tmp_path: Path) -> None:
    grid = replace(
        UTM33, crs="EPSG:4326", transform=(0.002, 0.0, 1.0, 0.0, -0.002, 1.0), height=400, width=400
    )
    found = find_scenes(
        Archive(search=Search(api, ("squares",), bbox="1.2,0.2,1.8,0.8")), make_run(), tmp_path
    )
    assert SECRET not in str(list(read_answer(Path(found.path))))
    write_raster(tmp_path / "searches" / "1.tif", np.full(grid.shape, 7, "uint16"), grid)
    source = registry.source_of(found)
    (item,) = source.items(found)
    scene = source.read(item, found, ("red",))
    assert (source.name, scene.scene_id, scene.cloud) == ("stac", "scene01", 1.0)
    assert scene.bands[0].href == str(tmp_path / "searches" / "1.tif")


def test_what_goes_wrong_is_named(tmp_path: Path) -> None:
    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/away"):
                self.send_response(302)
                self.send_header("location", "http://127.0.0.1:9/catalog")
            else:
                self.send_response(200 if "page" in self.path else 404)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    with serve(Broken) as place:
        for path in ("gone?token=" + SECRET, "page"):
            with pytest.raises(InputError, match="cannot be searched") as caught:
                ask(f"http://{place}/{path}", tmp_path)
            assert SECRET not in str(caught.value)
        with pytest.raises(InputError, match="private address"):
            ask(f"http://{place}/away", tmp_path)
        with pytest.raises(Exception, match="private address"):
            connect(f"http://{place}/").read_text("http://10.1.2.3/x.json")
    with pytest.raises(InputError, match=r"'nowhere' is not known.*earth-search"):
        ask("nowhere", tmp_path)


def test_a_servers_own_filter_is_used_where_it_has_one() -> None:
    query = [
        "https://api.stacspec.org/v1.0.0/item-search#query",
        "https://api.stacspec.org/v1.0.0-rc.2/item-search#filter",
    ]
    assert _cloud_filter(query, 20.0) == {"query": {"eo:cloud_cover": {"lte": 20.0}}}
    assert _cloud_filter(query[1:], 20.0) == {
        "filter": {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 20.0]},
        "filter_lang": "cql2-json",
    }
    assert _cloud_filter(query, None) == _cloud_filter([], 20.0) == {}


def test_files_behind_a_login_are_taken_from_their_store() -> None:
    asset = {
        "href": "https://landsatlook.usgs.gov/data/x.TIF",
        "alternate": {"s3": {"href": "s3://usgs-landsat/x.TIF"}},
    }
    plain = _clean(
        {"assets": {"red": asset, "index": {"href": "https://landsatlook.usgs.gov/x"}}}, "s3"
    )
    assert [a["href"] for a in plain["assets"].values()] == [
        "s3://usgs-landsat/x.TIF",
        "https://landsatlook.usgs.gov/x",
    ]


def test_the_command_line_is_a_search(small_file: Path) -> None:
    parser = make_parser()

    def read(*given: str) -> Config:
        return config_from_arguments(
            parser.parse_args(["index", str(small_file), "--out", "out", *given])
        )

    search = [
        "--from",
        "earth-search",
        "--collection",
        "sentinel-2-l2a",
        "--bbox=-1,2,3,4",
        "--time",
        "2023-01-01/2023-12-31",
    ]
    (archive,) = read(*search, "--max-cloud", "20").scenes
    assert archive == Archive(
        search=Search(
            "earth-search", ("sentinel-2-l2a",), "-1,2,3,4", "2023-01-01/2023-12-31", 20.0
        )
    )
    assert read().scenes[0].search is None
    (found,) = read("--from", "items.parquet", "--collection", "x").scenes
    assert found.search == Search(str(Path("items.parquet").absolute()), ("x",))
    for wrong, message in ((["--max-cloud", "120"], "max_cloud"), (["--time", "2023"], "time")):
        with pytest.raises(UsageError, match=message):
            read(*search, *wrong)
    with pytest.raises(UsageError, match="--from"):
        read("--max-cloud", "20")
    with pytest.raises(UsageError, match="collections"):
        read("--from", "linz")


def test_the_run_file_has_a_search_in_a_places_stead(small_file: Path) -> None:
    text = small_file.read_text()
    kept = "{path: k.json, search: {catalogue: usgs, collections: [y]}}"
    small_file.write_text(
        text.replace("{path: a}", "{search: {catalogue: linz, collections: [x]}}, " + kept)
    )
    first, second = read_run(small_file).scenes
    assert (first.path, second.path) == ("", str(small_file.parent / "k.json"))
    assert first.search == Search("linz", ("x",))
    small_file.write_text(text.replace("{path: a}", "{source: stac}"))
    with pytest.raises(UsageError, match="a path, or a search"):
        read_run(small_file)


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(
        'name: t\nscenes: [{path: a}]\nbands: [red]\nlegend: {1: {name: a, colour: "#000000"}}\n'
    )
    return path


SIGNED = [
    f"https://a.blob.core.windows.net/c/x.tif?se=2026-01-01&sp=r&sig={SECRET}",
    f"https://b.s3.amazonaws.com/x?X-Amz-Signature={SECRET}",
    f"https://e.org/x?token={SECRET}",
    f"https://e.org/x?X-Goog-Credential=a&X-Goog-Signature={SECRET}",
    f"https://e.org/x?access_token={SECRET}",
    f"https://e.org/x?Expires=1&Signature={SECRET}",
    f"https://e.org/x?subscription-key=1&api_key={SECRET}",
    f"https://u:{SECRET}@e.org/x",
]


@pytest.mark.parametrize("href", SIGNED)
def test_signatures_come_off(href: str) -> None:
    plain = strip_credentials({"assets": [{"href": href}]})["assets"][0]["href"]
    assert SECRET not in plain and "?" not in plain and "@" not in plain
    assert (
        strip_credentials("https://e.org/x?collection=a&f=tif")
        == "https://e.org/x?collection=a&f=tif"
    )
    assert strip_credentials("what? sig=1") == "what? sig=1"


def test_two_signatures_are_one_scene_and_in_no_record(tmp_path: Path) -> None:
    grid = UTM33
    write_raster(tmp_path / "x.tif", np.ones(grid.shape, "uint16"), grid)
    outline = shapely.geometry.mapping(footprint(grid))
    scenes = []
    for secret in (SECRET, "ANOTHER"):
        item = make_item(1, 1.0, "2023-01-15") | {"geometry": outline}
        item["assets"] = {
            "red": {"href": f"https://e.org/x.tif?sig={secret}", "type": "image/tiff"}
        }
        (tmp_path / "item.json").write_text(json.dumps(item))
        archive = Archive(str(tmp_path / "item.json"))
        source = registry.source_of(archive)
        scenes.append(source.read(next(source.items(archive)), archive, ("red",)))
    assert scenes[0] == scenes[1]
    assert SECRET not in repr(scenes[0])


def test_files_of_the_planetary_computer_are_signed_when_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str | None]] = []
    lives = [0, 3600]
    ahead = timedelta(hours=1)  # the clock of the server, of which the tokens' times are

    class Tokens(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Ocp-Apim-Subscription-Key")))
            until = datetime.now(UTC) + ahead + timedelta(seconds=lives[min(len(asked), 2) - 1])
            answer = {
                "msft:expiry": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "token": f"se=1&sig={SECRET}{len(asked)}",
            }
            self.send_response({"/account/refused": 403, "/other/theirs": 404}.get(self.path, 200))
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
            return super().date_time_string((datetime.now(UTC) + ahead).timestamp())

        def log_message(self, *_: object) -> None:
            pass

    signing._tokens.clear()
    href = "https://account.blob.core.windows.net/container/a/x.tif"
    with serve(Tokens) as place:
        monkeypatch.setenv("PC_SDK_SAS_URL", f"http://{place}")
        monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "mine")
        # The first token has expired when the second is asked for; that one serves until it does.
        assert [signing.sign(href) for _ in range(3)] == [
            f"{href}?se=1&sig={SECRET}{n}" for n in (1, 2, 2)
        ]
        assert asked == [("/account/container", "mine")] * 2
        assert signing.sign(f"{href}?sig=own") == f"{href}?sig=own"
        foreign = "https://other.blob.core.windows.net/theirs/x.tif"
        assert (signing.sign(foreign), signing.sign("s3://b/x.tif")) == (foreign, "s3://b/x.tif")
        with pytest.raises(InputError, match=r"account/refused.*403"):
            signing.sign("https://account.blob.core.windows.net/refused/x.tif")
        with pytest.raises(ReadError) as caught, open_raster(href):
            pass
        assert SECRET not in str(caught.value)
    signing._tokens.clear()
    with pytest.raises(InputError, match="no token for account/container"):
        signing.sign(href)

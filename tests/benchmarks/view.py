"""How the explorer bears a map of 100,000 × 100,000 pixels and 100,000 regions, in a browser."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from lulc.explorer.server import address_of, open_server
from lulc.explorer.site import Site, open_site
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.legend import COMMON
from lulc.maps.mosaic_index import write_mosaic
from lulc.maps.stac import MapPart
from lulc.raster import cog
from lulc.runfile import parse_run
from lulc.tables import layout, schemas, store
from tests.helpers.browser import Page, chromium

_CRS = "EPSG:3035"
_RASTER = 4096  # pixels a side
_FRAMES = """new Promise((done) => {
  const times = [];
  const step = (time) => {
    if (times.push(time) < 90) requestAnimationFrame(step);
    else done(times);
  };
  requestAnimationFrame(step);
})"""


def measure(quick: bool) -> dict[str, float]:
    """Figures of the topic `view` of PERFORMANCE.md.

    view.start: s from opening the run to an answering server. view.first: s until the map is drawn.
    view.requests: tiles of a first map. view.regions: s until the tiles of all regions are made.
    view.click: s until the areas of a region are shown. view.frame: ms of an ordinary frame while
    the map moves.
    """
    side, regions = (3, 32) if quick else (25, 317)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = _make_run(folder / "out", side, regions)
        config = parse_run(_settings(), folder)
        start = time.perf_counter()
        site = open_site(config, out, folder)
        started = time.perf_counter() - start
        with _served(site) as address, chromium(folder / "profile") as page:
            figures = _look(page, address, site)
        return {"view.start": started, "view.parts": float(side**2)} | figures


def _look(page: Page, address: str, site: Site) -> dict[str, float]:
    page.size(1440, 900)
    start = time.perf_counter()
    site.region_tiles()
    regions = time.perf_counter() - start
    start = time.perf_counter()
    page.open(address)
    first = time.perf_counter() - start
    tiles = [a for a in page.addresses if "/tiles/" in a]
    west, south, east, north = site.layers[0].bounds
    place = f"#zoom=9.5&lng={(west + east) / 2}&lat={(south + north) / 2}"
    page.open(address + place)
    page.addresses.clear()
    start = time.perf_counter()
    page.click(800, 450)
    page.wait("!document.getElementById('details').hidden")
    click = time.perf_counter() - start
    page.settle()
    page.run("document.querySelector('#map canvas').focus()")
    for _ in range(4):
        page.press("ArrowDown")
    times = np.diff(page.run(_FRAMES))
    page.settle()
    if page.messages:
        raise AssertionError(page.messages)
    return {
        "view.first": first,
        "view.requests": float(len(tiles)),
        "view.regions": regions,
        "view.click": click,
        "view.frame": float(statistics.median(times)),
    }


@contextmanager
def _served(site: Site) -> Iterator[str]:
    with open_server(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield address_of(server)
        finally:
            server.shutdown()
            thread.join()


def _settings() -> dict[str, object]:
    return {
        "name": "wide",
        "scenes": [{"path": "archive"}],
        "bands": ["red"],
        "legend": {c.id: {"name": c.name, "colour": c.colour} for c in COMMON.classes},
        "periods": [{"name": "2020"}],
    }


def _make_run(out: Path, side: int, regions: int) -> Path:
    # side² rasters of the same pixels.
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 9, (_RASTER // 64, _RASTER // 64), np.uint8)
    levels = cog.pyramid(coarse.repeat(64, 0).repeat(64, 1))
    whole = Grid(_CRS, (10.0, 0.0, 4e6, 0.0, -10.0, 3.2e6), side * _RASTER, side * _RASTER)
    parts = []
    for row in range(side):
        for col in range(side):
            place = layout.raster("2020", "wide", (col, row))
            grid = whole.window(row * _RASTER, col * _RASTER, _RASTER, _RASTER)
            cog.write_cog(out / place, grid, levels, {}, COMMON)
            epoch = np.datetime64("2020-01-01").astype("datetime64[us]").item()
            parts.append(MapPart(place, grid, (0, 0, 0, 0), epoch, epoch))
    write_mosaic(out, "2020", parts, COMMON)
    _write_tables(out, whole, regions)
    return out


def _write_tables(out: Path, whole: Grid, regions: int) -> None:
    # regions² squares over the map, each with an area of every class.
    xmin, ymin, xmax, ymax = whole.bounds
    x, y = np.meshgrid(np.linspace(xmin, xmax, regions + 1), np.linspace(ymin, ymax, regions + 1))
    lon, lat = transformer(whole.crs, WGS84).transform(x, y)
    corners = np.stack([lon, lat], -1)
    rings = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], 2)
    squares = shapely.polygons(rings.reshape(-1, 4, 2))
    count, m2 = len(squares), ((xmax - xmin) / regions) ** 2
    ids = [f"R{number}" for number in range(count)]
    store.write_table(
        out,
        "regions",
        pa.table(
            {
                "region_id": ids,
                "level": ["square"] * count,
                "name": [f"Region {number}" for number in range(count)],
                "geometry": pa.array(shapely.to_wkb(squares), pa.binary()),
                "area_m2": np.full(count, m2),
            },
            schemas.REGIONS,
        ),
    )
    classes = len(COMMON.classes)
    rows = count * classes
    columns = {
        "region_id": np.repeat(ids, classes),
        "level": ["square"] * rows,
        "name": np.repeat(ids, classes),
        "period": ["2020"] * rows,
        "model": ["m/1"] * rows,
        "class_id": np.tile(COMMON.ids, count).astype(np.int32),
        "class_name": np.tile([c.name for c in COMMON.classes], count),
        "pixels": np.full(rows, m2 / classes / 100),
        "area_m2": np.full(rows, m2 / classes),
        "share": np.full(rows, 1 / classes),
        "observed_share": np.ones(rows),
        "mean_confidence": np.full(rows, 0.9),
        "confident_m2": np.full(rows, m2 / classes),
        "mean_entropy": np.full(rows, 0.2),
    }
    store.write_table(out, "class_areas", pa.table(columns, schemas.CLASS_AREAS))

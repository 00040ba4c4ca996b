"""The page in a real browser: its pixels, its tables, its address; served, and as files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from lulc.explorer.layer import WEB_MERCATOR, tile_grid
from lulc.explorer.server import address_of, open_server
from lulc.explorer.site import Site
from lulc.explorer.tiles import percent_palette
from lulc.geo.grid import WGS84, Grid, transformer
from lulc.legend import NODATA
from lulc.tables import store
from tests.explorer.test_tiles import on_map
from tests.helpers.axe import find_violations
from tests.helpers.browser import Page, chromium
from tests.helpers.explored_run import COLOURS, GRID, ExploredRun

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 1000, 700
ZOOM = 11.0
CENTRE = transformer(GRID.crs, WGS84).transform(*(GRID.affine @ (420, 300)))
PLACE = f"#zoom={ZOOM}&lng={CENTRE[0]:.5f}&lat={CENTRE[1]:.5f}"
PLAIN = f"{PLACE}&level="
GROUND = (0xE8, 0xE9, 0xE6)


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def address(site: Site) -> Iterator[str]:
    with open_server(site, 0) as server, serving(server):
        yield address_of(server)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page, address: str) -> Iterator[Page]:
    """The browser, which then must have said nothing and asked nobody else."""
    browser.size(WIDTH, HEIGHT)
    yield browser
    assert browser.messages == []
    outside = [a for a in browser.addresses if not a.startswith((address, "data:", "blob:"))]
    assert outside == []


def screen_grid() -> Grid:
    """The grid of the page's pixels, when it is opened at PLACE."""
    pixel = tile_grid(int(ZOOM), 0, 0).resolution[0]
    x, y = transformer(WGS84, WEB_MERCATOR).transform(*CENTRE)
    transform = (pixel, 0.0, x - pixel * WIDTH / 2, 0.0, -pixel, y + pixel * HEIGHT / 2)
    return Grid(WEB_MERCATOR, transform, HEIGHT, WIDTH)


def sure_classes(classes: np.ndarray) -> np.ndarray:
    """Classes (H, W) on the page, NODATA where others are near or something lies over the map."""
    same = ndimage.minimum_filter(classes, 7) == ndimage.maximum_filter(classes, 7)
    on_screen = on_map(screen_grid(), np.where(same, classes, NODATA))
    on_screen[:, :310] = on_screen[:, -60:] = NODATA
    on_screen[-60:] = on_screen[:60] = NODATA
    return on_screen


def assert_colours(picture: np.ndarray, classes: np.ndarray, **changed: Any) -> None:
    for class_id, (name, colour) in COLOURS.items():
        expected = changed.get(name, tuple(bytes.fromhex(colour[1:])))
        pixels = picture[classes == class_id].astype(int)
        assert len(pixels) > 500
        assert (np.abs(pixels - expected).max(axis=1) <= 2).mean() > 0.999, name


def areas_of(explored: ExploredRun, region: str) -> dict[tuple[int, str], float]:
    rows = store.read_table(explored.out, "class_areas").to_pylist()
    return {
        (row["class_id"], row["period"]): row["area_m2"]
        for row in rows
        if row["region_id"] == region and row["class_id"] is not None
    }


def test_the_map_has_the_classes_colours_at_their_places(
    page: Page, address: str, explored: ExploredRun
) -> None:
    page.open(address + PLAIN)
    assert_colours(page.picture(), sure_classes(explored.classes["2021"]))
    page.run("document.querySelector('#classes input[value=\"2\"]').click()")
    page.settle()
    assert_colours(page.picture(), sure_classes(explored.classes["2021"]), trees=GROUND)
    assert "hidden=2" in page.run("location.hash")


def test_two_periods_are_compared_at_a_line(
    page: Page, address: str, explored: ExploredRun
) -> None:
    page.open(f"{address}{PLAIN}&period=2020&other=2021&divider=60")
    page.wait("!document.getElementById('divider').hidden")
    page.settle()
    before, after = (sure_classes(explored.classes[period]) for period in ("2020", "2021"))
    middle = int(0.6 * WIDTH)
    before[:, middle - 15 :] = after[:, : middle + 15] = NODATA
    picture = page.picture()
    assert_colours(picture, np.minimum(before, after))
    assert (before[before != after] != NODATA).any()


def test_a_click_shows_the_areas_of_the_table(
    page: Page, address: str, explored: ExploredRun
) -> None:
    page.open(address + PLACE)
    page.click(WIDTH * 0.6, HEIGHT * 0.5)
    page.wait("document.querySelector('#details h2')?.textContent === 'Eastland'")
    rows = page.run(
        "[...document.querySelectorAll('.areas tbody tr')].map((row) =>"
        " [row.querySelector('th').textContent.trim(),"
        "  ...[...row.querySelectorAll('data')].map((cell) => Number(cell.value))])"
    )
    areas = areas_of(explored, "Eastland")
    shown = {name: values for name, *values in rows}
    assert set(shown) == {name for name, _ in COLOURS.values()}
    for class_id, (name, _) in COLOURS.items():
        before, after = areas[class_id, "2020"], areas[class_id, "2021"]
        assert shown[name] == [before, after, after - before]
    here = page.run("document.querySelector('.here').textContent")
    col, row = (int(n) for n in ~GRID.affine @ place_of(WIDTH * 0.6, HEIGHT * 0.5))
    names = [COLOURS[int(explored.classes[p][row, col])][0] for p in ("2020", "2021")]
    percent = int(explored.confidence[row, col])
    assert f"2020: {names[0]}, confidence" in here and f"2021: {names[1]}, confidence" in here
    assert any(f"confidence {percent + near} %" in here for near in (-1, 0, 1))


def place_of(x: float, y: float) -> tuple[float, float]:
    """Place on GRID's plane of a pixel of the page."""
    return transformer(WEB_MERCATOR, GRID.crs).transform(*(screen_grid().affine @ (x, y)))


def test_a_region_is_found_by_the_keyboard_and_its_changes_are_a_matrix(
    page: Page, address: str, explored: ExploredRun
) -> None:
    page.open(address)
    page.run("document.getElementById('search-text').focus()")
    page.type("land")
    page.wait("document.querySelectorAll('#search-list li').length === 2")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.press(key)
    page.wait("document.querySelector('#details h2')?.textContent === 'Wéstland'")
    page.settle()
    assert "region=1" in page.run("location.hash")
    changes = store.read_table(explored.out, "transitions").to_pylist()
    expected = sorted(
        r["area_m2"] for r in changes if r["region_id"] == "Wéstland" and r["area_m2"]
    )
    cells = page.run(
        "[...document.querySelectorAll('.matrix data')].map((cell) => Number(cell.value))"
    )
    assert sorted(value for value in cells if value) == expected
    page.run("document.querySelector('#details .close').click()")
    assert page.run("document.getElementById('details').hidden")


def test_an_address_shows_what_it_showed(page: Page, address: str) -> None:
    page.open(f"{address}{PLACE}&period=2020&kind=confidence&opacity=70&region=1")
    page.wait("document.querySelector('#details h2')?.textContent === 'Wéstland'")
    page.settle()
    assert page.run("document.getElementById('period').value") == "2020"
    assert not page.run("document.getElementById('ramp').hidden")
    link, picture = page.run("location.href"), page.picture()
    page.open(link)
    page.wait("!document.getElementById('details').hidden")
    page.settle()
    assert page.run("location.href") == link
    assert (np.abs(page.picture().astype(int) - picture) > 2).mean() < 1e-3


def test_how_sure_the_map_is_has_a_legend_in_numbers(
    page: Page, address: str, explored: ExploredRun
) -> None:
    page.open(f"{address}{PLAIN}&kind=margin")
    assert page.run("document.getElementById('kind').selectedOptions[0].textContent") == "Margin"
    ticks = "[...document.querySelectorAll('#ramp .ends span')].map((tick) => tick.textContent)"
    assert page.run(ticks) == ["0", "25", "50", "75", "100 %"]
    picture, classes = page.picture(), sure_classes(explored.classes["2021"])
    margin = on_map(screen_grid(), explored.margin)
    palette = percent_palette()
    for percent in (20, 30, 40):
        pixels = picture[(margin == percent) & (classes != NODATA)].astype(int)
        assert len(pixels) > 100
        near = [palette[percent + step][:3] for step in (-1, 0, 1)]
        apart = np.abs(pixels[:, None] - np.array(near)).max(-1).min(-1)
        assert (apart <= 2).mean() > 0.99
    # A period without it shows its classes.
    page.open(f"{address}{PLAIN}&kind=margin&period=2020")
    assert_colours(page.picture(), sure_classes(explored.classes["2020"]))


def test_true_colours_are_seen_below_the_map(page: Page, address: str) -> None:
    page.open(address + PLAIN)
    page.run("document.getElementById('colours').click()")
    page.settle()
    assert page.run("document.getElementById('opacity').value") == "50"
    page.open(f"{address}{PLAIN}&opacity=0&background=colours")
    # Of the made chips red grows downwards, green falls to the right, blue grows with both.
    picture = page.picture().astype(float)
    corners = picture[np.ix_([200, 500], [370, 720])]
    red, green, blue = (corners[..., band] for band in range(3))
    assert (red[1] > red[0] + 20).all() and (np.abs(red[:, 0] - red[:, 1]) < 9).all()
    assert (green[:, 0] > green[:, 1] + 20).all() and (np.abs(green[0] - green[1]) < 9).all()
    assert blue[0, 0] + 20 < blue[1, 1]
    page.open(f"{address}{PLAIN}&background=colours&period=2020")
    assert page.run("document.getElementById('colours').checked")


def test_the_page_fits_a_phone_and_the_night(page: Page, address: str) -> None:
    page.size(390, 844, dark=True, touch=True)
    page.open(address)
    assert page.run("document.documentElement.scrollWidth") == 390
    assert page.picture()[-40:, 150:250].mean() < 60
    legend = "document.getElementById('legend').getBoundingClientRect().bottom"
    assert 60 < page.run(legend) < 250
    is_open = "document.getElementById('settings').checkVisibility()"
    button = "document.getElementById('fold')"
    assert not page.run(is_open)
    page.run(f"{button}.focus()")
    page.press("Enter")
    assert page.run(is_open) and page.run(f"{button}.textContent") == "Close"
    # The map is seen above them.
    assert page.run("document.getElementById('settings').getBoundingClientRect().top") > 390
    page.press("Tab")
    assert page.run("document.activeElement.id") == "search-text"
    page.press("Escape")
    assert not page.run(is_open) and page.run(f"{button}.textContent") == "Settings"
    assert page.run("document.activeElement.id") == "fold"


def test_who_finds_a_region_on_a_phone_goes_on_in_its_details(page: Page, address: str) -> None:
    page.size(390, 844, touch=True)
    page.open(address)
    page.run("document.getElementById('fold').click()")
    page.run("document.getElementById('search-text').focus()")
    page.type("east")
    page.wait("document.querySelectorAll('#search-list li').length === 1")
    page.press("Enter")
    page.wait("document.activeElement.className === 'close'")
    assert not page.run("document.getElementById('settings').checkVisibility()")
    page.press("Escape")
    assert page.run("document.getElementById('details').hidden")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_a_region_that_was_clicked_is_seen_beside_its_details(
    page: Page, address: str, width: int, height: int
) -> None:
    page.size(width, height, touch=width < 500)
    page.open(f"{address}#zoom=10&lng={CENTRE[0]:.5f}&lat={CENTRE[1]:.5f}")
    page.click(width * 0.55, height * 0.5)
    page.wait("!document.getElementById('details').hidden")
    number = page.run("new URLSearchParams(location.hash.slice(1)).get('region')")
    bounds = page.run(f"fetch('regions/0.json').then(r => r.json()).then(r => r[{number}].bounds)")

    def corners() -> list[tuple[float, float]]:
        state = dict(pair.split("=") for pair in page.run("location.hash.slice(1)").split("&"))
        to_map = transformer(WGS84, WEB_MERCATOR).transform
        pixel = tile_grid(0, 0, 0).resolution[0] / 2 ** float(state["zoom"])
        x, y = to_map(float(state["lng"]), float(state["lat"]))
        places = [to_map(*bounds[:2]), to_map(*bounds[2:])]
        return [((a - x) / pixel + width / 2, (y - b) / pixel + height / 2) for a, b in places]

    left, top, right, bottom = page.run(
        "[panel.getBoundingClientRect(), details.getBoundingClientRect()].flatMap((box, n) =>"
        f" {width} < 500 ? (n ? [{width}, box.top] : [0, box.bottom])"
        f" : (n ? [box.left, {height}] : [box.right, 0]))"
    )
    page.wait("document.documentElement.dataset.drawn === 'true'")
    page.settle()
    (first_x, last_y), (last_x, first_y) = corners()
    assert left <= first_x < last_x <= right
    assert top <= first_y < last_y <= bottom


def test_lines_and_names_of_regions_are_seen_on_any_colour(page: Page, address: str) -> None:
    for dark in (False, True):
        page.size(WIDTH, HEIGHT, dark)
        page.open(f"{address}{PLACE}&kind=confidence&period=2021")
        names = page.run("[...document.querySelectorAll('#names span')].map((n) => n.textContent)")
        assert sorted(names) == ["Eastland", "Wéstland"]
        lines = page.picture()[100:-100, 320:-100].astype(int)
        plain = f"{address}{PLAIN}&kind=confidence&period=2021"
        page.open(plain)
        assert page.run("document.getElementById('names').children.length") == 0
        change = lines - page.picture()[100:-100, 320:-100]
        # A dark line between lighter ones.
        assert (change.sum(-1) < -60).sum() > 300 and (change.sum(-1) > 60).sum() > 600


def test_a_place_on_a_phone_is_seen_above_its_details(page: Page, address: str) -> None:
    page.size(390, 844, touch=True)
    page.open(f"{address}#zoom=9&lng={CENTRE[0]:.5f}&lat={CENTRE[1]:.5f}")
    page.click(195, 460)
    page.wait("!document.getElementById('details').hidden")
    latitude = "Number(new URLSearchParams(location.hash.slice(1)).get('lat'))"
    page.wait(f"Math.abs({latitude} - {CENTRE[1]:.5f}) > 0.1")  # it was moved
    page.settle()
    picture = page.picture()[80:390].astype(int)
    colours = [tuple(bytes.fromhex(colour[1:])) for _, colour in COLOURS.values()]
    assert sum((np.abs(picture - colour).max(-1) <= 2).sum() for colour in colours) > 3000


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_keeps_people_from_using_the_page(page: Page, address: str, dark: bool) -> None:
    page.size(WIDTH, HEIGHT, dark)
    page.open(f"{address}{PLACE}&region=1&other=2020")
    page.wait("!document.getElementById('details').hidden")
    page.settle()
    assert find_violations(page) == []


def test_areas_are_rounded_as_in_the_report(page: Page, address: str) -> None:
    page.open(address + PLAIN)
    areas = {0: "0", 4e-4: "< 0.001", 6e-4: "0.001", 0.0126: "0.013", 0.9996: "1.00", 9.996: "10.0"}
    areas |= {51.881: "51.9", 99.95: "100", 250.5: "250", 31415.9: "31,416", -51.881: "−51.9"}
    changes = {4e-4: "0", -4e-4: "0", 7.0129: "+7.01", -7.0129: "−7.01"}
    shares = {0: "0.0 %", 1e-4: "< 0.1 %", 0.35: "35.0 %", 1: "100.0 %"}
    shown = page.run(
        "import('./numbers.js').then((m) => ["
        f"{list(areas)}.map((km2) => m.formatArea(1e6 * km2)), "
        f"{list(changes)}.map((km2) => m.formatChange(1e6 * km2)), "
        f"{list(shares)}.map(m.formatShare)])"
    )
    assert shown == [list(texts.values()) for texts in (areas, changes, shares)]


class _Ranges(SimpleHTTPRequestHandler):
    """A static server that knows ranges, as object stores do, and counts the bytes it sent."""

    sent: list[int]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if (span := self.headers.get("Range")) and path.is_file():
            first, last = (int(n) for n in span.removeprefix("bytes=").split("-"))
            part = path.read_bytes()[first : last + 1]
            self.sent.append(len(part))
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None: ...


class _Plain(_Ranges):
    """A static server that knows no ranges."""

    do_GET = SimpleHTTPRequestHandler.do_GET  # noqa: N815


@pytest.mark.parametrize("handler", [_Ranges, _Plain])
def test_an_export_shows_the_same_from_any_static_server(
    browser: Page, explored: ExploredRun, exported: Path, handler: type[_Ranges]
) -> None:
    handler.sent = []
    folder = str(exported.parent)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
    browser.size(WIDTH, HEIGHT)
    with server, serving(server) as root:
        browser.open(f"{root}{exported.name}/{PLAIN}")
        assert_colours(browser.picture(), sure_classes(explored.classes["2021"]))
        browser.run("document.getElementById('search-text').focus()")
        browser.type("east")
        browser.wait("document.querySelectorAll('#search-list li').length === 1")
        browser.press("Enter")
        browser.wait("document.querySelector('#details h2')?.textContent === 'Eastland'")
        browser.settle()
        assert browser.messages == []
        assert all(a.startswith((root, "data:", "blob:")) for a in browser.addresses)
    assert bool(handler.sent) == (handler is _Ranges)

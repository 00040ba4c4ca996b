"""The first part of the report: findings by rule, intervals that points give, other languages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from lulc import yaml12
from lulc.config import AboutConf, Config, MapFiles
from lulc.errors import InputError, UsageError
from lulc.geo.reproject import bounds_in
from lulc.report import html, texts
from lulc.report.map import draw_map
from lulc.tables import layout, store
from tests.helpers.axe import find_violations
from tests.helpers.browser import Page, chromium
from tests.helpers.explored_run import GRID, PERIODS, ExploredRun, make_explored_run
from tests.report.test_html import Page as PlainPage
from tests.report.test_html import make_run, write_rows

A4 = (595, 842)  # points


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> ExploredRun:
    """Maps of two periods in two regions, with confidence in the table of areas."""
    run = make_explored_run(tmp_path_factory.mktemp("explored"))
    areas = store.read_table(run.out, "class_areas").to_pylist()
    for row in areas:
        if row["class_id"] is not None:
            row["mean_confidence"] = 0.9 - 0.04 * row["class_id"]
            row["confident_m2"] = row["area_m2"] / 2
    write_rows(run.out, "class_areas", areas)
    return run


def write_estimates(out: Path, period: str | None, **rows: tuple[float, float | None]) -> None:
    """Write estimates of class areas in m² with their standard errors, and overall accuracy."""
    found: list[dict[str, Any]] = [estimate("overall_accuracy", 0.9, 0.02) | {"points": 321}]
    for name, (m2, error) in rows.items():
        found.append(estimate("area_m2", m2, error) | {"class_id": len(found), "class_name": name})
    write_rows(out, "estimates", [row | {"period": period} for row in found])


def estimate(measure: str, value: float, error: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"measure": measure, "estimate": value, "points": 20}
    if error is None:
        return row
    ends = {"low_95": value - 1.96 * error, "high_95": value + 1.96 * error}
    return row | ends | {"standard_error": error}


def front(config: Config, out: Path) -> str:
    """Text of the report before all figures; lines are one."""
    text = PlainPage(html.write_report(config, out).read_text()).text
    return " ".join(text.split("All figures")[0].split())


def km2(rows: list[dict[str, Any]]) -> str:
    size = sum(row["area_m2"] for row in rows) / 1e6
    return f"{size:,.{1 if size >= 10 else 2}f} km²"


def test_findings_are_the_largest_class_change_and_region(explored: ExploredRun) -> None:
    text = front(explored.config, explored.out)
    areas = store.read_table(explored.out, "class_areas").to_pylist()
    changes = store.read_table(explored.out, "transitions").to_pylist()
    last = [row for row in areas if row["period"] == PERIODS[-1] and row["class_id"] is not None]
    sums = {
        name: sum(row["area_m2"] for row in last if row["class_name"] == name)
        for name in {row["class_name"] for row in last}
    }
    largest = max(sums, key=sums.__getitem__)
    of_class = [row for row in last if row["class_name"] == largest]
    share = 100 * sums[largest] / sum(sums.values())
    assert f"Largest class {km2(of_class)} {largest}: {share:.1f} % of" in text
    lost = [row for row in changes if row["from_class"] == "trees" != row["to_class"]]
    assert f"Largest change {km2(lost)} trees became crops from 2020 to 2021" in text
    most = max(lost, key=lambda row: row["area_m2"])
    assert f"Region with the largest change {km2([most])} {most['name']}: this much" in text
    assert "±" not in text
    assert text.count("How far it is off is not known") >= 3
    assert re.search("[-−]0(\\.0*)? ", text) is None
    assert "This map was not checked against independent observations" in text
    assert "Classes with the least confidence" in text
    assert "share with 80 % or more" in text
    assert "crops62.0 %50.0 %" in text


def test_an_interval_is_told_where_points_give_it(explored: ExploredRun) -> None:
    write_estimates(explored.out, PERIODS[-1], water=(9e6, 1e6), trees=(81.2e6, 2.5e6))
    text = front(explored.config, explored.out)
    assert "Largest class 81.2 km² ± 4.9 km² trees:" in text
    assert "95 % confidence interval, from 321 points that people interpreted" in text
    assert (
        "People interpreted 321 points (2021). By these, 90.0 % ± 3.9 % of the mapped area is right"
        in text
    )
    write_estimates(explored.out, PERIODS[-1], trees=(81.2e6, None))
    text = front(explored.config, explored.out)
    assert "Largest class 81.2 km² trees:" in text
    assert "too few for a confidence interval" in text
    # Of which period they are is not known: they are told, and head no finding.
    write_estimates(explored.out, None, trees=(81.2e6, 2.5e6))
    text = front(explored.config, explored.out)
    assert "81.2 km²" not in text
    assert "321 points (period not recorded)" in text
    store.write_table(explored.out, "estimates", store.read_table(explored.out, "estimates")[:0])


def test_a_run_of_one_period_tells_of_regions_and_further_classes(tmp_path: Path) -> None:
    area = {"level": "county", "period": "2021", "observed_share": 1.0}
    shares = {"north": (0.7, 0.2, 0.1), "south": (0.4, 0.5, 0.1)}
    rows = [
        area
        | {
            "region_id": name,
            "name": name,
            "class_id": number,
            "class_name": class_name,
            "area_m2": share * 1e8,
            "share": share,
        }
        for name, of_region in shares.items()
        for number, (class_name, share) in enumerate(
            zip(("wood", "crops", "water"), of_region, strict=True)
        )
    ]
    boxes = [
        {
            "level": "county",
            "region_id": name,
            "name": name,
            "geometry": shapely.box(i, 0, 1, 1).wkb,
        }
        for i, name in enumerate(shares)
    ]
    write_rows(tmp_path, "class_areas", rows)
    write_rows(tmp_path, "regions", boxes)
    run = Config(name="elsewhere", maps=(MapFiles("/nowhere/*.tif", "2021"),))
    text = front(run, tmp_path)
    assert "Largest class 110 km² wood: 55.0 % of the 200 km² that are mapped (2021)" in text
    assert "Region with the largest share of wood 70.0 % north: this share" in text
    assert "Second largest class 70.0 km² crops" in text
    assert "The map has one period" in text
    assert "hold no confidence" in text
    assert "not stated; the run file states it under about.licence" in text
    # The whole map alone: there is no region to tell of.
    whole = [row | {"region_id": "map", "level": "map", "name": "map"} for row in rows[:3]]
    write_rows(tmp_path, "class_areas", whole)
    text = front(run, tmp_path)
    assert "Third largest class 10.0 km² water" in text
    assert "Region with" not in text


def test_detections_have_findings_of_their_own(tmp_path: Path) -> None:
    thing = {"level": "port", "period": "all", "class_id": 1, "class_name": "ship", "model": "m/1"}
    rows = [
        thing
        | {
            "region_id": name,
            "name": name,
            "detections": count,
            "detections_per_km2": count / 2,
            "mean_score": 0.5,
        }
        for name, count in (("a", 12), ("b", 30))
    ]
    write_rows(tmp_path, "detection_counts", rows)
    text = front(make_run(), tmp_path)
    assert "Most frequent object 42 ship" in text
    assert "Region with most of them 30 b: ship, 15.0 per km²" in text


def test_the_page_is_in_the_language_of_its_texts(explored: ExploredRun, tmp_path: Path) -> None:
    english = yaml12.parse_yaml(texts.ENGLISH.read_bytes(), "texts")
    other = {key: re.sub(r"[A-Za-z](?![^{}]*\})", "ж", text) for key, text in english.items()}
    other |= {"language": "uk", "decimal_mark": ",", "thousands_mark": " "}
    path = tmp_path / "other.yaml"
    path.write_text(yaml12.dump_yaml(other), "utf-8")
    about = AboutConf("Карта", "CC0-1.0", ("Дані",), str(path))
    write_estimates(explored.out, PERIODS[-1], trees=(8123.4e6, 250.5e6))
    config = dataclasses.replace(explored.config, about=about)
    source = html.write_report(config, explored.out).read_text()
    assert '<html lang="uk">' in source
    text = PlainPage(source).text
    for told in ("Карта", "CC0-1.0", "Дані", "8 123 km²"):
        assert told in text
    told = text[: text.index("name: valley")]
    for key, sentence in english.items():
        words = re.sub(r"\{\w+\}", " ", sentence).split()
        if len(words) > 2:
            assert " ".join(words[:3]) not in told, key
    store.write_table(explored.out, "estimates", store.read_table(explored.out, "estimates")[:0])


def test_numbers_have_three_digits_and_no_zero_has_a_sign() -> None:
    english = texts.read_texts()
    pairs = [
        (0.0, "0"), (-0.0, "0"), (0.0004, "< 0.001"), (0.0226, "0.023"), (0.9996, "1.00"),
        (4.037, "4.04"), (9.999, "10.0"), (66.94, "66.9"), (99.96, "100"), (176.51, "177"),
        (1234567.8, "1,234,568"), (-6.564, "−6.56"),
    ]  # fmt: skip
    assert [english.number(number) for number, _ in pairs] == [text for _, text in pairs]
    assert [english.number(n, sign=True) for n in (-1e-9, 1e-9, 6.5)] == ["0", "0", "+6.50"]
    assert english.number(1.96, of=81.2) == "2.0"
    assert english.per_cent(0.0004) == "< 0.1 %"
    assert english.per_cent(-1e-9, sign=True) == "0.0 %"
    assert english.per_cent(-0.1333, sign=True) == "−13.3 %"
    counts = [english.counted("points_counted", number) for number in (0, 1, 1234)]
    assert counts == ["0 points", "1 point", "1,234 points"]


def test_regions_are_outlined_and_named_where_their_names_fit(explored: ExploredRun) -> None:
    rasters = sorted((explored.out / layout.RASTERS / PERIODS[-1]).glob("*/*.tif"))
    legend = explored.config.make_legend()
    west, south, east, north = bounds_in(GRID, "EPSG:4326") or ()

    def draw(name: str, width: float) -> bytes:
        box = shapely.box(west + 0.01, south + 0.01, west + 0.01 + width, north - 0.01)
        return draw_map(rasters, legend, "", regions=[(name, box)])

    large, small = east - west - 0.02, 0.01
    assert draw("a name", large) != draw("", large) != draw("", small)
    assert draw("a name", small) == draw("", small)
    assert draw("", small) != draw_map(rasters, legend, "")


def test_texts_that_are_missing_or_wrong_are_named(tmp_path: Path) -> None:
    english = yaml12.parse_yaml(texts.ENGLISH.read_bytes(), "texts")
    path = tmp_path / "texts.yaml"

    def refused(changes: dict[str, str | None], match: str) -> None:
        kept = {key: text for key, text in (english | changes).items() if text is not None}
        path.write_text(yaml12.dump_yaml(kept), "utf-8")
        with pytest.raises(InputError, match=match):
            texts.read_texts(str(path))

    refused(
        {"largest_change": None}, "lacks the text 'largest_change', in English 'Largest change'"
    )
    refused({"region_share": "{region} {name}"}, "text 'region_share' must have the same words")
    refused({"region_share": english["region_share"] + "{"}, "'region_share'")
    refused({"extra": "more"}, "has the text 'extra', which the report does not")
    with pytest.raises(UsageError, match=r"about.texts .*gone.yaml cannot be read"):
        texts.read_texts(str(tmp_path / "gone.yaml"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_everyone_can_read_the_page(
    explored: ExploredRun, browser: Page, width: int, dark: bool
) -> None:
    path = html.write_report(explored.config, explored.out)
    browser.size(width, 900, dark)
    browser.show(path.as_uri())
    assert browser.run("document.documentElement.scrollWidth") <= width
    ground = browser.picture()[2, 2].mean()
    assert ground < 60 if dark else ground > 200
    assert find_violations(browser) == []
    browser.run("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    assert find_violations(browser) == []
    assert browser.messages == []
    assert [a for a in browser.addresses if not a.startswith(("file:", "data:"))] == []


@pytest.mark.browser
def test_the_page_prints_on_a4_and_what_is_closed_is_left_out(
    explored: ExploredRun, browser: Page
) -> None:
    browser.size(1440, 900, dark=True)
    browser.show(html.write_report(explored.config, explored.out).as_uri())
    closed = browser.print_pdf()
    sizes = [
        tuple(float(number) for number in box.split())
        for box in re.findall(rb"/MediaBox \[([\d. ]+)\]", closed)
    ]
    assert len(sizes) == 2
    np.testing.assert_allclose(np.array(sizes)[:, 2:], [A4] * len(sizes), atol=1)
    browser.run("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    assert browser.print_pdf().count(b"/MediaBox") > len(sizes)

"""When a scene is of: what its name, its pattern, its item or the run file says, and no guess."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from lulc import runfile
from lulc.config import Archive, CompositeConf, Config, Period
from lulc.errors import InputError, UsageError
from lulc.geo.grid import Grid, footprint
from lulc.sources import registry
from lulc.sources.items import describe_unread, make_reading, read_item
from lulc.sources.readers.geotiff import GEOTIFF
from lulc.sources.scene import Scene
from lulc.sources.times import find_date, parse_time, time_of_fields
from tests.helpers.periods import is_in_period
from tests.helpers.synthetic_scenes import write_raster

GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), 32, 32)
YEARS = tuple(Period(str(y), date(y, 1, 1), date(y, 12, 31)) for y in (2019, 2020, 2023, 2024))


def raster(path: Path, value: int = 1, **tags: str) -> Path:
    write_raster(path, np.full(GRID.shape, value, "uint8"), GRID)
    if tags:
        import rasterio

        with rasterio.open(path, "r+") as file:
            file.update_tags(**tags)
    return path


def item(folder: Path, name: str, **properties: Any) -> None:
    raster(folder / f"{name}.tif")
    content = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": shapely.geometry.mapping(footprint(GRID)),
        "properties": properties,
        "assets": {"red": {"href": f"{name}.tif"}},
        "links": [],
    }
    (folder / f"{name}.json").write_text(json.dumps(content))


def read_run(
    archive: Archive, periods: tuple[Period, ...] = YEARS, **keys: Any
) -> dict[str, Scene | str]:
    """Return the scene, or the error, of every item of a run of one archive."""
    config = Config("r", scenes=(archive,), bands=(), periods=periods, **keys)
    source = registry.source_of(archive)
    reading = make_reading(config, [source])
    scenes: dict[str, Scene | str] = {}
    for listed in source.items(archive):
        try:
            scenes[listed.key] = read_item(listed, 0, reading)
        except InputError as error:
            scenes[listed.key] = str(error)
    return scenes


def periods_of(scenes: dict[str, Scene | str]) -> dict[str, list[str]]:
    return {
        key: [p.name for p in YEARS if is_in_period(scene, p, 15.0)]
        for key, scene in scenes.items()
        if isinstance(scene, Scene)
    }


PATHS = [
    ("{}/10N/tile.tif", "{year}/{scene}/tile.tif", "10N_{}"),
    ("mosaic_{}.tif", "{scene}_{year}.tif", "mosaic_{}"),
    ("{}/07/a.tif", "{year}/{month}/{scene}.tif", "a_{}07"),
    ("x/{0}/a_{0}0714.tif", "x/{year}/{scene}_{date}.tif", "a_{}0714"),
    ("a_{}145.tif", "{scene}_{year}{doy}.tif", "a_{}145"),
    ("a_{0}0101_{0}1231.tif", "{scene}_{start}_{end}.tif", "a_{0}0101_{0}1231"),
    ("a_{0}-01_{0}-03.tif", "{scene}_{start}_{end}.tif", "a_{0}-01_{0}-03"),
]


@pytest.mark.parametrize(("path", "pattern", "key"), PATHS)
def test_a_year_in_the_path_is_read_by_a_pattern(
    tmp_path: Path, path: str, pattern: str, key: str
) -> None:
    for year in (2023, 2024):
        raster(tmp_path / path.format(year))
    scenes = read_run(Archive(str(tmp_path), pattern=pattern))
    assert periods_of(scenes) == {key.format(y): [str(y)] for y in (2023, 2024)}


@pytest.mark.parametrize(
    "path",
    ["{}/10N/tile.tif", "mosaic_{}.tif", "tile_{}145.tif", "{}0101/tile.tif", "a_{}1301.tif"],
)
def test_files_without_a_date_are_refused_where_periods_ask_for_one(
    tmp_path: Path, path: str
) -> None:
    for year in (2023, 2024):
        raster(tmp_path / path.format(year), DATETIME="2023:05:01 10:00:00")
    errors = read_run(Archive(str(tmp_path)))
    assert len(errors) == 2
    for error in errors.values():
        assert isinstance(error, str)
        assert "has no date" in error
        for remedy in ("scenes.pattern", "{year}", "scenes.date", "scenes.timeless: true"):
            assert remedy in error


def test_the_run_file_may_say_the_time_or_that_there_is_none(tmp_path: Path) -> None:
    raster(tmp_path / "tile.tif", TIFFTAG_DATETIME="2019:05:01 10:00:00")
    raster(tmp_path / "other_20200101.tif")
    both = ["other_20200101", "tile"]
    for said, expected in (("2023", "2023"), ("2024-07-14", "2024"), ("2019-12/2020-03", "2020")):
        assert periods_of(read_run(Archive(str(tmp_path), date=said))) == {
            key: [expected] for key in both
        }
    timeless = read_run(Archive(str(tmp_path), timeless=True))
    assert periods_of(timeless) == {key: [p.name for p in YEARS] for key in both}
    tagged = read_run(Archive(str(tmp_path), date="tag"))
    assert periods_of(tagged) == {"tile": ["2019"]}
    assert "tag DateTime, which is no time" in str(tagged["other_20200101"])
    # A run without periods and dates asks for none.
    free = (Period("all"),)
    assert all(isinstance(s, Scene) for s in read_run(Archive(str(tmp_path)), free).values())
    for keys in ({"dates": 2}, {"composite": CompositeConf()}):
        assert "has no date" in str(read_run(Archive(str(tmp_path)), free, **keys)["tile"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"date": "2023-5"}, "date"),
        ({"date": "last year"}, "date"),
        ({"date": 2023, "timeless": True}, "one of the two"),
    ],
)
def test_settings_that_say_no_time_are_refused(keys: dict[str, Any], message: str) -> None:
    raw = {
        "name": "r",
        "scenes": [{"path": "."} | keys],
        "bands": ["red"],
        "legend": {1: {"name": "a", "colour": "#000000"}},
    }
    with pytest.raises(UsageError, match=message):
        runfile.parse_run(raw, Path())
    raw["scenes"] = [{"path": ".", "date": date(2023, 5, 1)}, {"path": ".", "date": 2023}]
    assert [a.date for a in runfile.parse_run(raw, Path()).scenes] == ["2023-05-01", "2023"]
    raw |= {"scenes": [{"path": ".", "timeless": True}], "composite": {"interval": 30}}
    with pytest.raises(UsageError, match=r"scenes\.timeless has no place in the intervals"):
        runfile.parse_run(raw, Path())


def test_settings_that_a_source_does_not_heed_are_refused(tmp_path: Path) -> None:
    item(tmp_path, "a", datetime="2020-05-01T10:00:00Z")
    for keys in ({"pattern": "{scene}.tif"}, {"date": "tag"}):
        with pytest.raises(InputError, match="is of stac"):
            registry.source_of(Archive(str(tmp_path), source="stac", **keys))


@pytest.mark.parametrize("said", ["2023-13", "2023-02-30", "2023/2022", "2023-05-01/2023-04-30"])
def test_a_time_of_the_run_file_that_is_none_is_refused(tmp_path: Path, said: str) -> None:
    raster(tmp_path / "a_20230501.tif")
    with pytest.raises(InputError, match=f"scenes.date {said}, which is no time"):
        registry.source_of(Archive(str(tmp_path), date=said))


@pytest.mark.parametrize("pattern", ["{}.tif", "{scene.tif", "{scene}}.tif", "{tile}_{date}.tif"])
def test_patterns_that_are_none_are_refused(tmp_path: Path, pattern: str) -> None:
    raster(tmp_path / "a_20230501.tif")
    with pytest.raises(UsageError, match=r"scenes.pattern .* has field .*known are \{scene\}"):
        list(GEOTIFF.items(Archive(str(tmp_path), pattern=pattern)))


def test_files_that_do_not_match_the_pattern_are_told(tmp_path: Path) -> None:
    for name in ("a_2023.tif", "b_2024.tif", "c.tif", "deep/d_23.tif", "e_1823.tif", "f_x.tif"):
        raster(tmp_path / name)
    (note,) = describe_unread(GEOTIFF, Archive(str(tmp_path), pattern="{scene}_{year}.tif"))
    assert note == (
        "4 files do not match scenes.pattern: c.tif, deep/d_23.tif, e_1823.tif and 1 more"
    )
    assert describe_unread(GEOTIFF, Archive(str(tmp_path))) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"year": "2023"}, "2023-07-02T12:00:00+00:00"),
        ({"year": "2024", "month": "02"}, "2024-02-15T12:00:00+00:00"),
        ({"year": "2024", "month": "02", "day": "29"}, "2024-02-29T00:00:00+00:00"),
        ({"year": "2024", "doy": "366"}, "2024-12-31T00:00:00+00:00"),
        ({"date": "20240229T101112", "year": "2024"}, "2024-02-29T10:11:12+00:00"),
        ({"start": "20230101", "end": "20230103"}, "2023-01-02T12:00:00+00:00"),
        ({"start": "2023", "end": "2024"}, "2024-01-01T12:00:00+00:00"),
        ({"scene": "x"}, None),
    ],
)
def test_fields_of_a_pattern_give_a_time(fields: dict[str, str], expected: str | None) -> None:
    time = time_of_fields(fields, "x")
    assert (time and time.isoformat()) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"year": "2023", "month": "13"},
        {"year": "2023", "month": "02", "day": "30"},
        {"year": "2023", "doy": "366"},
        {"year": "2023", "doy": "000"},
        {"date": "20230230"},
        {"date": "20240101", "year": "2023"},
        {"start": "20240201", "end": "20240131"},
        {"start": "202413", "end": "20240131"},
        {"month": "05"},
        {"year": "2023", "day": "05"},
        {"start": "20230101"},
        {"end": "2023", "year": "2023"},
    ],
)
def test_fields_that_are_no_date_or_contradict_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"x has .*(no date|without a (year|month|start|end))"):
        time_of_fields(fields, "x")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LC08_L1TP_042034_20200101_20200113_01_T1", "2020-01-01T00:00:00+00:00"),
        (
            "S2A_MSIL2A_20190208T111213_N0500_R137_T30SUF_20230208T143221",
            "2019-02-08T11:12:13+00:00",
        ),
        ("MOD13Q1.A2020049.h18v04.061.2020338212311", "2020-02-18T00:00:00+00:00"),
        ("MOD13Q1.061_NDVI_doy2020049_aid0001", "2020-02-18T00:00:00+00:00"),
        ("S1A_20200110T235950_20200111T000015", "2020-01-10T23:59:50+00:00"),
        ("flight 2023-05-14 10:10:31", "2023-05-14T00:00:00+00:00"),
        ("tile_2023", None),
        ("tile_20231301", None),
        ("tile_20230230", None),
        ("A2023400", None),
        ("18991231", None),
    ],
)
def test_dates_of_names(name: str, expected: str | None) -> None:
    time = find_date(name)
    assert (time and time.isoformat()) == expected


@pytest.mark.parametrize("name", ["ndvi_20230101_20230331", "made 2024-02-01 of 2020-05-05"])
def test_two_dates_in_a_name_are_asked_about(name: str) -> None:
    with pytest.raises(InputError, match=r"holds two dates, .*scenes\.pattern"):
        find_date(name)


@given(st.dates(date(1900, 1, 2), date(2099, 12, 30)), st.integers(0, 400))
def test_the_time_of_a_span_lies_within_it(first: date, days: int) -> None:
    last = min(first + timedelta(days=days), date(2099, 12, 31))
    time = parse_time(f"{first}/{last}")
    assert time is not None
    assert first <= time.date() <= last
    by_fields = time_of_fields({"start": f"{first:%Y%m%d}", "end": f"{last:%Y-%m-%d}"}, "x")
    assert by_fields == time
    assert first != last or time == datetime(first.year, first.month, first.day, tzinfo=UTC)


ANNUAL = [
    ("2019-12-31T23:00:00Z", "2020-12-31T22:59:59Z"),
    ("2020-01-01T00:00:00+01:00", "2020-12-31T23:59:59+01:00"),
    ("2020-01-01", "2020-12-31"),
    ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"),
    ("2019-12-31T11:00:00Z", "2020-12-31T10:59:59Z"),
]


@pytest.mark.parametrize(("start", "end"), ANNUAL)
def test_an_item_of_a_span_is_of_its_middle(tmp_path: Path, start: str, end: str) -> None:
    item(tmp_path, "map", datetime=None, start_datetime=start, end_datetime=end)
    # The moment that many catalogues add to a span is its start.
    item(tmp_path, "both", datetime=start, start_datetime=start, end_datetime=end)
    scenes = read_run(Archive(str(tmp_path)))
    assert periods_of(scenes) == {"map.json": ["2020"], "both.json": ["2020"]}


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"datetime": None, "start_datetime": "2020-01-01T00:00:00Z"}, "nor both"),
        ({"datetime": None, "end_datetime": "2020-01-01T00:00:00Z"}, "nor both"),
        ({}, "nor both start_datetime and end_datetime"),
        ({"start_datetime": "2020-05-01", "end_datetime": "2020-04-01"}, "ends before it starts"),
        ({"datetime": "2020-13-01T00:00:00Z"}, "has datetime '2020-13-01"),
        ({"datetime": "0001-01-01T00:00:00Z"}, "has datetime '0001"),
        ({"start_datetime": "soon", "end_datetime": "2020-04-01"}, "has start_datetime 'soon'"),
    ],
)
def test_items_whose_time_is_not_said_are_refused(
    tmp_path: Path, properties: dict[str, Any], message: str
) -> None:
    item(tmp_path, "a", **properties)
    archive = Archive(str(tmp_path))
    assert message in str(read_run(archive, (Period("all"),))["a.json"])
    said = Archive(str(tmp_path), date="2023")
    assert periods_of(read_run(said)) == {"a.json": ["2023"]}
    timeless = Archive(str(tmp_path), timeless=True)
    assert len(periods_of(read_run(timeless))["a.json"]) == len(YEARS)

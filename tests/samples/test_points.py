"""Points as labels: their pixel, period and split; every file form alike; what is left out told."""

from __future__ import annotations

import dataclasses
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lulc.config import LabelConf, Period, PointConf
from lulc.errors import InputError, UsageError
from lulc.geo.grid import WGS84, transformer
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA
from lulc.runfile import parse_run
from lulc.samples import labels as labels_module
from lulc.samples import points as label_points
from lulc.samples import splits
from lulc.samples.labels import read_labels
from lulc.samples.plan import plan_windows
from lulc.samples.points import LabelPoints, draw_points, read_points
from lulc.spark.context import StageContext, StageResult
from lulc.spark.stages.samples import samples as samples_stage
from lulc.stages import Selection
from lulc.tables import arrays, ledger
from tests.samples.labelled_chips import (
    COL,
    HALO,
    LEGEND,
    ROW,
    TILING,
    run_here,
    spec_of,
    write_chips,
    write_labels,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ALWAYS = Period("all")
PERIODS = (
    Period("2017", date(2017, 1, 1), date(2017, 12, 31)),
    Period("2018", date(2018, 1, 1), date(2018, 12, 31)),
)
LEFT, TOP = TILING.grid(COL, ROW).transform[2::3]


def made(x: Any, y: Any, class_id: Any, first: int = -10, last: int = 10) -> LabelPoints:
    order = np.argsort(y)
    x, y, ids = (np.asarray(n)[order] for n in (x, y, class_id))
    days = (np.full(len(x), day, np.int32) for day in (first, last))
    return LabelPoints(x.astype(float), y.astype(float), ids.astype(np.uint8), *days)


def frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return points that lie at column `px` and row `py` of pixels from the first tile on."""
    frame = pd.DataFrame(rows)
    x, y = LEFT + 10 * frame.pop("px").to_numpy(), TOP - 10 * frame.pop("py").to_numpy()
    frame["longitude"], frame["latitude"] = transformer(TILING.crs, WGS84).transform(x, y)
    return frame


def write_csv(path: Path, rows: list[dict[str, Any]], **points: Any) -> LabelConf:
    frame_of(rows).to_csv(path, index=False)
    return LabelConf(str(path), "kind", PointConf(**points))


def read(labels: LabelConf, periods: tuple[Period, ...] = (ALWAYS,)) -> tuple[LabelPoints, str]:
    points, notes = read_points(labels, LEGEND, TILING.crs, periods)
    return points, "; ".join(notes)


def draw(points: LabelPoints, period: Period = ALWAYS, radius: float = 0.0) -> np.ndarray:
    return draw_points(points, period, TILING, (COL, ROW), radius)[0]


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.integers(-40, 40), st.integers(-40, 40), st.sampled_from([0.0, 0.5, 3.7])),
        min_size=1,
        max_size=30,
        unique_by=lambda point: point[:2],
    ),
    st.sampled_from([10.0, 0.1, 1 / 3]),
)
def test_a_point_labels_one_pixel_of_one_tile_also_on_an_edge(
    places: list[tuple[int, int, float]], resolution: float
) -> None:
    tiling = Tiling("t", TILING.crs, resolution, 16, x0=LEFT, y0=TOP)
    col, row, within = np.array(places).T
    points = made(LEFT + (col + within / 10) * resolution, TOP - row * resolution, [1] * len(col))
    cells = {(c, r) for c in range(-3, 4) for r in range(-3, 4)}
    drawn = sum((draw_points(points, ALWAYS, tiling, c, 0.0)[0] == 1).sum() for c in cells)
    pixels = {
        (np.floor((x - LEFT) / resolution), np.floor((TOP - y) / resolution))
        for x, y in zip(points.x, points.y, strict=True)
    }
    assert drawn == len(pixels)
    tiles = np.array([(*cell, 0) for cell in sorted(cells)])
    assert label_points.count_beyond(points, tiling, (ALWAYS,), tiles) == 0


def test_points_across_180_are_in_one_tile_however_they_count() -> None:
    tiling = Tiling("t", "EPSG:4326", 0.1, 16)
    cells = [(c, -1) for c in (-114, -113, -112, 0, 111, 112, 113)]
    for lon in (179.95, -180.05, 180.05, -179.95):
        points = made([lon], [0.75], [2])
        inside = [c for c in cells if (draw_points(points, ALWAYS, tiling, c, 0)[0] == 2).any()]
        turns = {(c * 16 * 0.1 + 1e-9) % 360 for c, _ in inside}
        assert inside
        assert all(abs((lon - turn) % 360) <= 1.6 for turn in turns)


def test_a_radius_labels_the_pixels_whose_centres_are_within() -> None:
    centre = made([LEFT + 305.0], [TOP - 305.0], [5])
    label = draw(centre, radius=31.0)
    y, x = np.indices(label.shape)
    side_x, side_y = TILING.grid(COL, ROW).resolution_m
    within = np.hypot((x - 30) * side_x, (y - 30) * side_y) <= 31
    np.testing.assert_array_equal(label == 5, within)
    # It reaches into the neighbour, and the pixel of the point itself is always labelled.
    edge = made([LEFT - 5.0], [TOP - 305.0], [5])
    assert (draw(edge, radius=31.0) == 5).any(0).tolist()[:4] == [True, True, True, False]
    corner = made([LEFT + 309.9], [TOP - 300.1], [5])
    assert (draw(corner, radius=0.5) == 5).sum() == 1
    with pytest.raises(InputError, match=r"radius 2000 m is over 100 pixels.*tile 32633"):
        draw(corner, radius=2000.0)
    assert (draw(made([LEFT + 90_000.0], [TOP], [5]), radius=2000.0) == NODATA).all()


@settings(max_examples=8)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 25.0]))
def test_where_points_disagree_there_is_no_label(seed: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 640, (2, 300))
    ids = rng.choice(LEGEND.ids, 300)
    points = made(LEFT + x, TOP - y, ids)
    label, conflicts = draw_points(points, ALWAYS, TILING, (COL, ROW), radius)
    alone = [
        draw_points(made(LEFT + x[ids == i], TOP - y[ids == i], ids[ids == i]), *at, radius)[0]
        for i in LEGEND.ids
        for at in [(ALWAYS, TILING, (COL, ROW))]
    ]
    claims = np.sum([drawn != NODATA for drawn in alone], axis=0)
    assert conflicts == (claims > 1).sum() > 0
    assert (label != NODATA).sum() == (claims == 1).sum()
    for drawn, class_id in zip(alone, LEGEND.ids, strict=True):
        assert ((label == class_id) == ((drawn != NODATA) & (claims == 1))).all()


@pytest.mark.parametrize(
    ("text", "periods"),
    [
        ("2017-12-31", [2017]),
        ("2018-01-01", [2018]),
        ("2018-06", [2018]),
        ("2017", [2017]),
        ("2018-03-01T12:30:00Z", [2018]),
        ("", [2017, 2018]),
        ("2016-12-31", []),
        ("2019", []),
    ],
)
def test_a_point_labels_the_periods_of_its_date(
    tmp_path: Path, text: str, periods: list[int]
) -> None:
    rows = [{"px": 5.5, "py": 5.5, "kind": 1, "day": text}]
    rows += [{"px": 9.5, "py": 9.5, "kind": 2, "day": "2017-05-05"}]
    points, notes = read(write_csv(tmp_path / "a.csv", rows, date="day"), PERIODS)
    held = [p.name for p in PERIODS if draw(points, p)[5, 5] == 1]
    assert held == list(map(str, periods))
    assert ("1 points with a date in no period left out" in notes) == (not periods)
    assert ("1 points without a date count for every period" in notes) == (not text)


def test_a_span_labels_every_period_that_it_shares_a_day_with(tmp_path: Path) -> None:
    spans = [("2017-12-31", "2018-01-01"), ("", "2016"), ("2018-12-31", ""), ("2016", "2017")]
    rows = [
        {"px": n + 0.5, "py": 0.5, "kind": 1, "from": first, "to": last}
        for n, (first, last) in enumerate(spans)
    ]
    labels = write_csv(tmp_path / "a.csv", rows, date=("from", "to"))
    points, notes = read(labels, PERIODS)
    found = [(draw(points, p)[0, :4] == 1).tolist() for p in PERIODS]
    assert found == [[True, False, False, True], [True, False, True, False]]
    assert notes == "1 points with a date in no period left out"
    swapped = dataclasses.replace(labels, points=PointConf(date=("to", "from")))
    with pytest.raises(InputError, match="ends before it begins"):
        read(swapped, PERIODS)


def test_points_without_a_date_column_count_for_every_period_and_that_is_told(
    tmp_path: Path,
) -> None:
    labels = write_csv(tmp_path / "a.csv", [{"px": 0.5, "py": 0.5, "kind": 1}])
    assert read(labels)[1] == ""
    points, notes = read(labels, PERIODS)
    assert notes == "1 points without a date count for every period"
    assert all(draw(points, p)[0, 0] == 1 for p in PERIODS)


def test_what_is_no_label_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        {"px": 0.5, "py": 0.5, "kind": "class 1", "trust": 1},
        {"px": 1.5, "py": 0.5, "kind": "", "trust": 1},
        {"px": 2.5, "py": 0.5, "kind": "road", "trust": 1},
        {"px": 3.5, "py": 0.5, "kind": 2, "trust": 0},
        {"px": 4.5, "py": 0.5, "kind": 2, "trust": 0.4},
        {"px": 5.5, "py": 0.5, "kind": 2, "trust": None},
        {"px": np.nan, "py": 0.5, "kind": 2, "trust": 1},
    ]
    labels = write_csv(tmp_path / "a.csv", rows, quality="trust")
    labels = dataclasses.replace(labels, ignore=("road",))
    points, notes = read(labels)
    assert draw(points)[0, :7].tolist() == [1, 255, 255, 255, 2, 255, 255]
    assert notes == (
        "1 points without a place left out; 2 points without a class left out; "
        "2 points of too low quality left out"
    )
    stricter = dataclasses.replace(labels, points=PointConf(quality="trust", min_quality=0.5))
    assert draw(read(stricter)[0])[0, 4] == NODATA
    with pytest.raises(InputError, match=r"\['road'\].*'kind'.*1 class 1"):
        read(dataclasses.replace(labels, ignore=()))


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("day", "31.12.2018", r"'31.12.2018' of column 'day' is no day: write 2018-06-30"),
        ("day", "2018-02-30", "'2018-02-30' .* is no day"),
        ("day", "03/04/2018", "'03/04/2018' .* is no day"),  # of March, or of April
        ("day", "2018 - 2019", "'2018 - 2019' .* is no day"),
        ("trust", "high", "'high' of column 'trust' is no number"),
        ("longitude", "15,2", "'15,2' of column 'longitude' is no number"),
        ("longitude", "500000", "hold no degrees, such as 500000.*a file that says its CRS"),
    ],
)
def test_a_value_that_is_not_what_its_column_says_is_refused(
    tmp_path: Path, column: str, value: str, reason: str
) -> None:
    row = {"longitude": 15, "latitude": 54, "kind": 1, "day": "2018", "trust": 1, column: value}
    pd.DataFrame([row]).to_csv(tmp_path / "a.csv", index=False)
    labels = LabelConf(str(tmp_path / "a.csv"), "kind", PointConf(date="day", quality="trust"))
    with pytest.raises(InputError, match=reason):
        read(labels)


def test_a_missing_column_and_a_file_that_gives_nothing_are_told(tmp_path: Path) -> None:
    rows = [{"px": 0.5, "py": 0.5, "kind": None, "day": "2015"}]
    labels = write_csv(tmp_path / "a.csv", rows, date="day")
    with pytest.raises(InputError, match=r"give no point a class in a period \(1 points without"):
        read(labels)
    with pytest.raises(InputError, match=r"no column 'sort'.*kind, day, longitude"):
        read(dataclasses.replace(labels, column="sort"))
    with pytest.raises(InputError, match=r"no column 'lon'.*longitude, latitude"):
        read(dataclasses.replace(labels, points=PointConf(longitude="lon")))


def raw_run(**labels: Any) -> dict[str, Any]:
    return {
        "name": "made",
        "scenes": [{"path": "."}],
        "bands": ["b", "g", "r"],
        "legend": {c.id: {"name": c.name, "colour": c.colour} for c in LEGEND.classes},
        "tiling": {"crs": TILING.crs, "resolution": 10, "size": 64, "halo": HALO, "block": 2},
        "periods": [{"name": "all"}, {"name": "later", "start": "2018-01-01"}],
        "labels": labels,
        "samples": {"size": 32, "block": 1, "buffer": 150, "validation": 0.2, "test": 0.3},
    }


def test_a_run_file_names_a_layout_or_columns(tmp_path: Path) -> None:
    run = parse_run(raw_run(path="p.csv", points="lucas"), tmp_path)
    assert run.labels is not None
    assert run.labels.points == PointConf(layout="lucas")
    assert run.labels.path == str(tmp_path / "p.csv")
    run = parse_run(raw_run(path="p.csv", column="c", points={"date": "day"}), tmp_path)
    assert run.labels is not None
    assert run.labels.points == PointConf(date="day")
    with pytest.raises(UsageError, match=r"name it in labels\.column"):
        parse_run(raw_run(path="p.csv", points={}), tmp_path)
    with pytest.raises(UsageError, match=r"labels\.points"):
        parse_run(raw_run(path="p.csv", points="corine"), tmp_path)
    for points, reason in (
        ({"min_quality": 0.5}, "min_quality is of a column"),
        ({"longitude": "latitude"}, "are both column 'latitude'"),
        ({"layout": "lucas", "longitude": "gps_long"}, "leave longitude and latitude out"),
    ):
        with pytest.raises(UsageError, match=reason):
            parse_run(raw_run(path="p.csv", column="c", points=points), tmp_path)


@pytest.mark.parametrize(
    ("columns", "day"),
    [
        (("TH_LONG", "TH_LAT", "LC1", "SURVEY_DATE"), "21/09/18"),
        (("th_long", "th_lat", "lc1", "survey_date"), "2018-09-21"),
        (("POINT_LONG", "POINT_LAT", "SURVEY_LC1", "SURVEY_DATE"), "2018-09-21"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "gpkg"])
def test_lucas_is_read_as_published(
    tmp_path: Path, columns: tuple[str, ...], day: str, form: str
) -> None:
    codes = ["A11", "B11 - Common wheat", "B55", "8", "C10"]
    frame = frame_of([{"px": n + 0.5, "py": 0.5} for n in range(5)])
    frame = frame.rename(columns=dict(zip(("longitude", "latitude"), columns[:2], strict=True)))
    frame[columns[2]], frame[columns[3]] = codes, day
    frame["POINT_ID"], frame["GPS_LAT"] = range(5), 88.888888
    frame.loc[4, columns[0]] = 4321000.0  # the published table has places in metres, too
    path = tmp_path / f"lucas.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    else:
        at = shapely.points(np.zeros(5), np.zeros(5))
        geopandas.GeoDataFrame(frame, geometry=at, crs=WGS84).to_file(path)
    crosswalk: dict[int | str, int] = {"A": 1, "B": 2, "B5": 5, "C": 1}
    labels = LabelConf(str(path), None, PointConf("lucas"), crosswalk=crosswalk)
    points, notes = read(labels, PERIODS)
    assert draw(points, PERIODS[1])[0, :5].tolist() == [1, 2, 5, 255, 255]
    assert (draw(points, PERIODS[0]) == NODATA).all()
    assert notes == "1 points without a place left out; 1 points without a class left out"
    with pytest.raises(InputError, match=r"values \['b11 - common wheat', 'b55'\]"):
        read(dataclasses.replace(labels, crosswalk={"A": 1, "C": 1}))


def test_the_sign_of_an_early_longitude_is_told_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "TH_LONG,TH_EW,TH_LAT,LC1,SURVEY_DATE\n8.5,W,40,A11,01/07/2009\n8.5,E,40,A11,01/07/2009\n"
    )
    labels = LabelConf(str(tmp_path / "a.csv"), None, PointConf("lucas"), crosswalk={"A": 1})
    points, _ = read_points(labels, LEGEND, WGS84, (ALWAYS,))
    assert sorted(points.x) == pytest.approx([-8.5, 8.5])
    (tmp_path / "a.csv").write_text(
        "TH_LONG,TH_EW,TH_LAT,LC1,SURVEY_DATE\n8.5,2,40,A11,01/07/2009\n"
    )
    with pytest.raises(InputError, match=r"'2' of column 'TH_EW' is no side of Greenwich"):
        read(labels)
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"not laid out as LUCAS.*th_long.*it has a, b"):
        read(labels)


def random_rows(count: int = 400) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-10, 266, (2, count))
    days = np.datetime64("2017-06-01") + rng.integers(0, 500, count)
    return [
        {
            "px": px,
            "py": py,
            "kind": int(rng.choice(LEGEND.ids)),
            "day": str(day) if n % 10 else None,
            "trust": float(n % 7),
        }
        for n, (px, py, day) in enumerate(zip(x, y, days, strict=True))
    ]


def write_form(path: Path, frame: pd.DataFrame, padding: int = 0) -> None:
    """Write points in the form that the name's ending says; `padding` bytes are added to each."""
    if padding:
        frame = frame.assign(note=["x" * padding] * len(frame))
    places = frame[["longitude", "latitude"]].to_numpy().T
    plain = frame.drop(columns=["longitude", "latitude"])
    in_degrees = geopandas.GeoDataFrame(plain, geometry=shapely.points(*places), crs=WGS84)
    match path.suffixes:
        case [".csv"]:
            frame.to_csv(path, index=False)
        case [".plain", ".parquet"]:
            frame.assign(day=pd.to_datetime(frame["day"])).to_parquet(path)
        case [".parquet"]:
            in_degrees.to_parquet(path)
        case [".multi", ".gpkg"]:
            dissolved = in_degrees.dissolve([*plain.columns], dropna=False, as_index=False)
            dissolved.geometry = [
                shapely.MultiPoint(shapely.get_coordinates(g)) for g in dissolved.geometry
            ]
            dissolved.to_crs(3035).to_file(path)
        case _:
            in_degrees.assign(day=pd.to_datetime(frame["day"])).to_file(path)


FORMS = ("a.csv", "a.plain.parquet", "a.parquet", "a.gpkg", "a.geojson", "a.multi.gpkg")


@pytest.mark.parametrize("name", FORMS[1:])
def test_every_form_of_file_gives_the_same_labels(tmp_path: Path, name: str) -> None:
    frame = frame_of(random_rows())
    found = []
    for form in (FORMS[0], name):
        write_form(tmp_path / form, frame)
        conf = PointConf(date="day", quality="trust")
        points, notes = read(LabelConf(str(tmp_path / form), "kind", conf), PERIODS)
        drawn = [draw(points, period) for period in PERIODS]
        found.append((notes, len(points), [label.tolist() for label in drawn]))
        assert all((label != NODATA).sum() > 5 for label in drawn)
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["a.csv", "a.gpkg", "a.parquet"])
def test_a_large_file_of_points_is_learned_from_as_a_small_one(tmp_path: Path, name: str) -> None:
    frame = frame_of(random_rows(600))
    found = []
    for folder, padding in (("small", 0), ("large", 120_000)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / name
        write_form(path, frame, padding)
        assert not padding or name == "a.parquet" or path.stat().st_size > 64 << 20
        points, _ = read(LabelConf(str(path), "kind", PointConf()))
        found.append(draw(points).tolist())
    assert found[0] == found[1]


def test_geometries_that_are_no_points_are_counted_and_points_ask_how_they_are_read(
    tmp_path: Path,
) -> None:
    x, y = LEFT + 5, TOP - 5
    shapes = [shapely.Point(x, y), shapely.Point(), None, shapely.box(x, y - 90, x + 90, y)]
    frame = geopandas.GeoDataFrame({"kind": [1, 1, 1, 2]}, geometry=shapes, crs=TILING.crs)
    frame.to_file(tmp_path / "a.gpkg")
    labels = LabelConf(str(tmp_path / "a.gpkg"), "kind", PointConf())
    points, notes = read(labels)
    assert (draw(points) != NODATA).sum() == 1
    assert notes == "3 points without a place left out"
    frame["x"] = x
    frame.to_file(tmp_path / "b.gpkg")
    named = PointConf(longitude="x", latitude="kind")
    with pytest.raises(InputError, match=r"have geometries, and labels.points names columns 'x'"):
        read(dataclasses.replace(labels, path=str(tmp_path / "b.gpkg"), points=named))
    frame.iloc[3:].to_file(tmp_path / "b.gpkg")
    with pytest.raises(InputError, match=r"hold no point \(1 records without\)"):
        read(dataclasses.replace(labels, path=str(tmp_path / "b.gpkg")))
    frame.iloc[:1].to_file(tmp_path / "points.gpkg")
    with pytest.raises(
        InputError, match=r"hold no polygon.*type Point; where they are points, add"
    ):
        read_labels(LabelConf(str(tmp_path / "points.gpkg"), "kind"), LEGEND, TILING.grid(COL, ROW))


def test_a_large_file_without_polygons_is_told_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels_module, "_CACHED_BYTES", 0)
    write_labels(tmp_path / "labels.tif", 4, 4)
    block = write_chips(tmp_path, "all", (0, 0), 2, 7)
    point = shapely.Point(LEFT + 100, TOP - 100)
    shapes = [point, shapely.LineString([(LEFT, TOP), (LEFT + 90, TOP - 90)])]
    frame = geopandas.GeoDataFrame({"kind": [1, 2]}, geometry=shapes, crs=TILING.crs)
    for name in ("mixed.gpkg", "mixed.parquet"):
        path = tmp_path / name
        frame.to_parquet(path) if name.endswith("parquet") else frame.to_file(path)
        spec = dataclasses.replace(spec_of(tmp_path), labels=LabelConf(str(path), "kind"))
        reason = r"no polygons, but LineString, Point; where they are points, add"
        with pytest.raises(InputError, match=rf"{name} give no pixel of 4 tiles.*{reason}"):
            plan_windows(spec, [block.path], "f" * 16, run_here)


def test_points_without_a_chip_in_their_period_are_counted_and_swapped_ones_told(
    tmp_path: Path,
) -> None:
    block = write_chips(tmp_path, "2018", (0, 0), 2, 7)
    rows = [
        {"px": px, "py": 20.5, "kind": 1 + n % 2, "day": day}
        for n, px in enumerate(np.arange(17.5, 120, 3))
        for day in ("2017-05-05", "2018-05-05")
    ]
    labels = write_csv(tmp_path / "a.csv", rows, date="day")
    spec = dataclasses.replace(spec_of(tmp_path, buffer=0.0), labels=labels, periods=PERIODS)
    _, note = plan_windows(spec, [block.path], "f" * 16, run_here)
    assert f"{len(rows) // 2} points outside the tiles of their period left out" in note
    swapped = PointConf(date="day", longitude="latitude", latitude="longitude")
    spec = dataclasses.replace(spec, labels=dataclasses.replace(labels, points=swapped))
    with pytest.raises(InputError, match="longitudes and latitudes are swapped: swap the two"):
        plan_windows(spec, [block.path], "e" * 16, run_here)


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, spark: SparkSession
) -> tuple[Path, StageResult, pd.DataFrame]:
    """A folder in which the stage has run on points over 4 x 4 tiles in two periods."""
    out = tmp_path_factory.mktemp("points")
    rows = [
        write_chips(out, period, (col, row), 2, seed)
        for seed, period in enumerate(("all", "later"))
        for col in (0, 2)
        for row in (0, 2)
    ]
    ledger.append_ledger(out, rows)
    frame = frame_of(random_rows())
    frame.to_csv(out / "points.csv", index=False)
    run = parse_run(raw_run(path="points.csv", column="kind", points={"date": "day"}), out)
    result = samples_stage(StageContext(run, out, Selection(), lambda: spark))
    return out, result, frame


def read_samples(out: Path) -> list[dict[str, Any]]:
    return [
        row | {"split": split}
        for split in splits.SPLITS
        for file in sorted((out / f"tables/samples/split={split}").glob("*.parquet"))
        for row in pq.read_table(file, partitioning=None).to_pylist()
    ]


def test_the_stage_gives_each_point_to_one_sample_a_period(
    stage: tuple[Path, StageResult, pd.DataFrame],
) -> None:
    out, result, frame = stage
    x, y = transformer(WGS84, TILING.crs).transform(frame["longitude"], frame["latitude"])
    col, row = (x - LEFT) // 10, (TOP - y) // 10
    inside = (col >= 0) & (col < 256) & (row >= 0) & (row < 256)
    assert f"{(~inside).sum()} points outside the tiles of their period left out" in result.note
    assert f"{frame['day'].isna().sum()} points without a date count for every" in result.note
    undated, later = frame["day"].isna(), frame["day"].fillna("") >= "2018"
    found: dict[tuple[str, int, int], int] = {}
    for sample in read_samples(out):
        label = arrays.array_from(sample, "label")
        grid = arrays.grid_from(sample)
        rows, cols = np.nonzero(label != NODATA)
        for r, c in zip(rows, cols, strict=True):
            at = (
                round((grid.transform[2] - LEFT) / 10) + c,
                round((TOP - grid.transform[5]) / 10) + r,
            )
            assert (sample["period"], *at) not in found
            found[sample["period"], *at] = label[r, c]
    buffered = re.search(r"([\d,]+) pixels within the buffer", result.note)
    unobserved = re.search(r"([\d,]+) pixels without imagery", result.note)
    assert buffered
    assert unobserved
    expected: dict[tuple[str, int, int], set[int]] = {}
    for n in np.flatnonzero(inside):
        for period in ("all", "later"):
            if period == "all" or later[n] or undated[n]:
                key = (period, int(col[n]), int(row[n]))
                expected.setdefault(key, set()).add(int(frame["kind"][n]))
    agreed = {key: ids for key, ids in expected.items() if len(ids) == 1}
    assert set(found) <= set(agreed)
    assert all(found[key] in agreed[key] for key in found)
    lost = sum(int(n[1].replace(",", "")) for n in (buffered, unobserved))
    assert len(found) + lost == len(agreed)
    assert len(found) > 150


def test_points_nearer_than_the_buffer_are_in_one_split(
    stage: tuple[Path, StageResult, pd.DataFrame],
) -> None:
    out, _, _ = stage
    places, names = [], []
    for sample in read_samples(out):
        rows, cols = np.nonzero(arrays.array_from(sample, "label") != NODATA)
        transform = arrays.grid_from(sample).affine
        places += [transform @ (c + 0.5, r + 0.5) for r, c in zip(rows, cols, strict=True)]
        names += [sample["split"]] * len(rows)
    assert set(names) == set(splits.SPLITS)
    xy, split = np.array(places), np.array(names)
    gaps = np.maximum(np.abs(xy[:, None] - xy[None]) - 10, 0)
    near = np.hypot(*np.moveaxis(gaps, 2, 0)) < 149
    assert (near & (split[:, None] == split[None])).sum() > len(split)
    assert not (near & (split[:, None] != split[None])).any()


def test_equal_points_of_another_form_give_equal_samples(
    stage: tuple[Path, StageResult, pd.DataFrame], spark: SparkSession
) -> None:
    out, _, frame = stage
    before = {row["sample_id"]: row for row in read_samples(out)}
    write_form(out / "points.gpkg", frame)
    run = parse_run(raw_run(path="points.gpkg", column="kind", points={"date": "day"}), out)
    result = samples_stage(StageContext(run, out, Selection(), lambda: spark))
    assert result.skipped == 0
    assert {row["sample_id"]: row for row in read_samples(out)} == before

"""The report is one valid file without network or secrets that agrees with the tables; the map."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from lulc import config, runfile
from lulc.errors import InputError
from lulc.geo.grid import Grid, transformer
from lulc.legend import NODATA
from lulc.maps import rasters
from lulc.maps.mosaic_index import write_mosaic
from lulc.maps.stac import MapPart
from lulc.raster import cog
from lulc.report import html
from lulc.report.map import read_map, round_length
from lulc.tables import ledger, schemas, store
from lulc.tables.ledger import LedgerRow

HOSTILE = "<script>alert('x')</script>"
GRID = Grid("EPSG:3035", (10.0, 0.0, 4e6, 0.0, -10.0, 3e6), 300, 400)


def make_run(**changes: Any) -> config.Config:
    raw: dict[str, Any] = {
        "name": "valley",
        "scenes": [{"path": "https://me:pa55@host/archive?X-Amz-Signature=5ecret"}],
        "bands": ["red", "nir"],
        "legend": {
            1: {"name": "water", "colour": "#4080ff"},
            2: {"name": "wood & <b>meadow</b>", "colour": "#208030"},
            9: {"name": "snow", "colour": "#eeeeff"},
        },
        "periods": [{"name": "2023"}, {"name": "2024"}],
        "spark": {"conf": {"spark.hadoop.fs.s3a.secret.key": "5ecret", "spark.ui.port": "4040"}},
        "tracking": {"uri": "http://me:pa55@tracking:5000"},
    }
    return runfile.parse_run(raw | changes, Path("/nowhere"))


def make_classes() -> np.ndarray:
    classes = np.full(GRID.shape, 2, np.uint8)
    classes[:, 100:180] = 1
    classes[:60] = NODATA
    return classes


def write_rasters(out: Path, run: config.Config) -> None:
    """The map of two periods, each in two files side by side."""
    for period in ("2023", "2024"):
        for number, col in enumerate((0, 200)):
            part = np.ascontiguousarray(make_classes()[:, col : col + 200])
            path = out / rasters.raster_path(f"{period}/{number}_0", run.name)
            cog.write_cog(
                path, GRID.window(0, col, 300, 200), cog.pyramid(part), {}, run.make_legend()
            )


def write_rows(out: Path, name: str, found: list[dict[str, Any]]) -> None:
    """The table of these rows, null where they say nothing."""
    table = pa.Table.from_pylist(
        [dict.fromkeys(schemas.ALL[name].names) | r for r in found], schemas.ALL[name]
    )
    store.write_table(out, name, table)


def write_tables(out: Path) -> None:
    rows = partial(write_rows, out)
    day = datetime(2024, 6, 1, 10, tzinfo=UTC)
    rows(
        "scenes",
        [
            {"scene_id": HOSTILE, "source": "stac", "datetime": day, "cloud": 12.5},
            {"scene_id": "dem", "source": "layer"},
        ],
    )
    area = {
        "region_id": "r",
        "level": "park",
        "name": HOSTILE,
        "period": "2024",
        "model": "valley/3",
        "observed_share": 0.75,
    }
    rows(
        "class_areas",
        [
            area
            | {
                "class_id": 1,
                "class_name": "water",
                "area_m2": 1e6,
                "share": 1 / 3,
                "mean_confidence": 0.625,
            },
            area
            | {"class_id": 2, "class_name": "wood & <b>meadow</b>", "area_m2": 2e6, "share": 2 / 3},
            area | {"class_name": "unobserved", "area_m2": 1e6},
        ],
    )
    thing = {
        "region_id": "r",
        "level": "park",
        "name": HOSTILE,
        "period": "2024",
        "model": "m/1",
        "class_id": 1,
        "class_name": HOSTILE,
    }
    rows(
        "raw_class_areas",
        [
            area | {"class_id": 1, "class_name": "water", "area_m2": 1.25e6},
            area | {"class_id": 2, "class_name": "wood & <b>meadow</b>", "area_m2": 1.5e6},
            area | {"class_id": 3, "class_name": "vanished", "area_m2": 0.25e6},
            area | {"class_name": "unobserved", "area_m2": 1e6},
        ],
    )
    rows(
        "detection_counts",
        [thing | {"detections": 4321, "detections_per_km2": 1.75, "mean_score": 0.8125}],
    )
    rows(
        "presence",
        [
            thing
            | {
                "observed_share": 0.9375,
                "present_m2": 7.25e6,
                "share": 0.875,
                "mean_probability": 0.6875,
            }
        ],
    )
    patch = {
        "region_id": "r",
        "level": "park",
        "name": HOSTILE,
        "period": "2024",
        "class_id": 2,
        "patches": 1234,
    }
    rows(
        "landscape",
        [
            patch
            | {
                "mean_patch_m2": 56780.0,
                "largest_patch_m2": 9e4,
                "edge_m": 4e4,
                "edge_m_per_ha": 0.25,
            }
        ],
    )
    change = {
        "region_id": "r",
        "level": "park",
        "name": HOSTILE,
        "period_from": "2020",
        "period_to": HOSTILE,
        "area_m2": 3e6,
    }
    rows(
        "transitions",
        [change | {"from_id": 1, "from_class": HOSTILE, "to_id": 2, "to_class": "<i>grass</i>"}],
    )
    guess = {
        "region_id": HOSTILE,
        "estimate": 0.5,
        "standard_error": 0.1,
        "low_95": 0.3,
        "high_95": 0.7,
        "points": 9,
    }
    rows(
        "estimates",
        [
            guess | {"measure": "overall_accuracy"},
            guess
            | {
                "measure": "area_m2",
                "class_id": 1,
                "class_name": HOSTILE,
                "estimate": 5e6,
                "low_95": 4e6,
                "high_95": 6e6,
            },
            {"region_id": "alone", "measure": "overall_accuracy", "estimate": 1.0, "points": 1},
            {
                "region_id": "alone",
                "measure": "area_m2",
                "class_id": 1,
                "class_name": "water",
                "estimate": 3e6,
                "points": 1,
            },
        ],
    )
    scored = {"period": "2024", "model": "valley/3", "split": "test"}
    rows(
        "accuracy",
        [
            scored | {"pixels": 70, "overall_accuracy": 0.875, "iou": 0.6},
            scored
            | {
                "class_id": 1,
                "class_name": "water",
                "pixels": 70,
                "users_accuracy": 0.9,
                "iou": None,
            },
            scored | {"class_id": 9, "class_name": "snow", "pixels": 7, "iou": 0.05},
        ],
    )
    rows(
        "confusion",
        [
            scored | {"label_id": 1, "map_id": 2, "pixels": 12345},
            scored | {"label_id": 1, "map_id": 255, "pixels": 7},
        ],
    )
    error = f"https://me:pa55@host/{HOSTILE}.tif?sig=5ecret cannot be read: cut short"
    mended = [LedgerRow("tile", "scene:m", "f", status=s, error="was bad") for s in ("bad", "done")]
    ledger.append_ledger(
        out,
        [LedgerRow("tile", f"scene:{HOSTILE}", "f", status="bad", error=error), *mended],
    )
    ledger.append_ledger(out, [LedgerRow("predict", ledger.STAGE_KEY, "f1ngerpr1nt")])


class Page(HTMLParser):
    """A page's text and the addresses it refers to; fails where tags do not close each other."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, run = tmp_path_factory.mktemp("out"), make_run()
    write_rasters(out, run)
    write_tables(out)
    assert html.write_report(run, out) == out / "report.html"
    return out


def test_the_report_is_one_file_that_tells_what_the_tables_hold(written: Path) -> None:
    source = (written / "report.html").read_text()
    page = Page(source)
    assert page.tags <= {
        "html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2",
        "h3", "p", "ul", "li", "dl", "dt", "dd", "figure", "img", "div", "table", "thead", "tbody",
        "caption", "small", "strong", "tr", "th", "td", "span", "details", "summary", "pre",
    }  # fmt: skip
    assert [link.partition(",")[0] for link in page.links] == ["data:image/png;base64"]
    assert base64.b64decode(page.links[0].partition(",")[2]) == (written / "map.png").read_bytes()
    assert "url(" not in source
    assert "@import" not in source
    for text in (
        "overall accuracy 1.000 ± ?, 1 point",
        "−20.0 %",
        "+33.3 %",
        "vanished",
        "−100.0 %",
        "3.00 ± ?",
        "valley",
        HOSTILE,
        "wood & <b>meadow</b>",
        "unobserved",
        "12,345",
        "0.875",
        "75.0 %",
        "66.7 %",
        "cut short",
        "f1ngerpr1nt",
        "62.5 %",
        "1,234",
        "4,321",
        "1.75",
        "0.812",
        "93.8 %",
        "7.25",
        "87.5 %",
        "Labelled and hardly mapped: snow (10.0 % of the labels, IoU 0.050)",
        "0.688",
        "5.68",
        "<i>grass</i>",
        "0.500 ± 0.200",
        f"park, 2020 to {HOSTILE}",
    ):
        assert text in page.text, text
    assert "from 1 satellite image taken 2024-06-01." in page.text
    assert "was bad" not in page.text


def test_the_report_gives_away_no_secret(written: Path) -> None:
    source = (written / "report.html").read_text()
    assert "5ecret" not in source
    assert "pa55" not in source
    assert "4040" in source


def test_the_report_tells_the_precisions_of_training_and_map(tmp_path: Path) -> None:
    path = store.table_folder(tmp_path, "predictions") / "p.0_0.f.parquet"
    store.write_rows(path, [], schemas.PREDICTIONS, {"stage": "predict"})
    older = Page(html.write_report(make_run(), tmp_path).read_text())
    assert "mapped in" not in older.text
    for number, precision in enumerate(("float32", "bfloat16")):
        footer = {"trained_in": "float32", "precision": precision}
        path = path.with_name(f"p.{number}_1.f.parquet")
        store.write_rows(path, [], schemas.PREDICTIONS, footer)
    page = Page(html.write_report(make_run(), tmp_path).read_text())
    assert "trained infloat32" in page.text
    assert "mapped inbfloat16, float32" in page.text


def test_a_run_without_results_has_a_report_too(tmp_path: Path) -> None:
    ledger.append_ledger(tmp_path, [LedgerRow("index", ledger.STAGE_KEY, "f")])
    page = Page(html.write_report(make_run(), tmp_path).read_text())
    assert page.links == []
    assert "every input could be read" in page.text
    assert not (tmp_path / "map.png").exists()


def test_the_picture_shows_the_classes_of_the_latest_period(written: Path) -> None:
    picture = (
        (imread(BytesIO((written / "map.png").read_bytes()))[..., :3] * 255).round().astype(int)
    )
    assert max(picture.shape) < 3000
    shares = [
        (np.abs(picture - np.array(rgb)).max(-1) <= 2).mean()
        for rgb in ((0x40, 0x80, 0xFF), (0x20, 0x80, 0x30))
    ]
    assert shares[0] / shares[1] == pytest.approx(80 / 320, rel=0.1)
    # Snow occurs nowhere, and is not in the legend.
    assert not (np.abs(picture - np.array((0xEE, 0xEE, 0xFF))).max(-1) == 0).any()


def test_the_map_is_read_from_all_files_and_made_small(written: Path, tmp_path: Path) -> None:
    classes, grid = read_map(sorted((written / "rasters" / "2024").rglob("*.tif")))
    assert (classes == make_classes()).all()
    assert (grid.transform, grid.shape) == (GRID.transform, GRID.shape)
    large = np.ascontiguousarray(
        np.kron(np.tile([[1, 2], [2, 255]], (2, 2)), np.ones((800, 1000), int)).astype(np.uint8)
    )
    wide = Grid(GRID.crs, GRID.transform, *large.shape)
    cog.write_cog(tmp_path / "large.tif", wide, cog.pyramid(large), {}, make_run().make_legend())
    classes, grid = read_map([tmp_path / "large.tif"])
    assert max(classes.shape) <= 1400
    assert grid.resolution[0] * classes.shape[1] == pytest.approx(4000 * 10, rel=0.01)
    assert [(classes == i).mean() for i in (1, 2, 255)] == pytest.approx(
        [0.25, 0.5, 0.25], abs=0.01
    )


def test_a_large_map_is_drawn_from_its_overview(tmp_path: Path) -> None:
    run, side, day = make_run(), 1024, datetime(2024, 6, 1, tzinfo=UTC)
    legend, parts = run.make_legend(), []
    for number, class_id in enumerate((1, 2, 2)):
        path = rasters.raster_path(f"2024/{number}_0", run.name)
        west = GRID.transform[2] + 10 * side * number
        grid = Grid(GRID.crs, (10.0, 0.0, west, 0.0, -10.0, 3e6), side, side)
        classes = np.full((side, side), class_id, np.uint8)
        cog.write_cog(tmp_path / path, grid, cog.pyramid(classes), {}, legend)
        parts.append(MapPart(path, grid, (10.0, 48.0, 11.0, 49.0), day, day))
    write_mosaic(tmp_path, "2024", parts, legend)
    for part in parts:
        (tmp_path / part.place).write_bytes(b"not opened")
    write_tables(tmp_path)
    html.write_report(run, tmp_path)
    picture = (imread(BytesIO((tmp_path / "map.png").read_bytes()))[..., :3] * 255).round()
    water, trees = (
        (np.abs(picture - np.array(rgb)).max(-1) <= 2).sum()
        for rgb in ((0x40, 0x80, 0xFF), (0x20, 0x80, 0x30))
    )
    assert water / trees == pytest.approx(1 / 2, rel=0.02)


def test_of_many_scenes_the_newest_are_listed_and_all_counted(tmp_path: Path) -> None:
    write_tables(tmp_path)
    first = datetime(2020, 1, 1, tzinfo=UTC)
    scenes = [
        {"scene_id": f"scene{day:04}", "source": "s", "datetime": first + timedelta(day)}
        for day in range(1200)
    ]
    write_rows(tmp_path, "scenes", scenes)
    text = Page(html.write_report(make_run(), tmp_path).read_text()).text
    assert "from 1,200 satellite images taken 2020-01-01 to 2023-04-14" in text
    assert "Scenes: 1,200, the newest 500 of them" in text
    assert "scene1199" in text
    assert "scene0699" not in text


def test_of_many_regions_the_largest_are_told_and_the_others_counted(tmp_path: Path) -> None:
    area = {
        "level": "parish",
        "period": "2024",
        "observed_share": 1.0,
        "class_id": 1,
        "class_name": "water",
        "share": 1.0,
    }
    change = {
        "level": "parish",
        "period_from": "2023",
        "period_to": "2024",
        "from_id": 1,
        "to_id": 2,
        "area_m2": 1e6,
    }
    names = [f"parish {i:03d}" for i in range(130)]
    places = [
        {"level": "parish", "region_id": n, "geometry": shapely.box(i, 0, i + 1, 1).wkb}
        for i, n in enumerate(names)
    ]
    write_rows(tmp_path, "regions", places)
    write_rows(
        tmp_path,
        "class_areas",
        [area | {"region_id": n, "name": n, "area_m2": 1e6 + i} for i, n in enumerate(names)],
    )
    changes = [
        change | {"region_id": n, "name": n, "from_class": "water", "to_class": "wood"}
        for n in names
    ]
    write_rows(tmp_path, "transitions", changes)
    text = Page(html.write_report(make_run(), tmp_path).read_text()).text
    assert [n for n in names if f"{n}, parish, 2024" in text] == names[30:]
    assert [n for n in names if f"{n}, parish, 2023 to 2024" in text] == names[30:]
    assert "30 smaller ones are in the table" in text


def test_of_many_regions_with_detections_those_with_most_are_told_and_the_others_counted(
    tmp_path: Path,
) -> None:
    names = [f"parish {i:03d}" for i in range(130)]
    thing = {"level": "parish", "class_id": 1, "class_name": "ship", "model": "m/1"}
    found = [
        thing
        | {
            "region_id": n,
            "name": n,
            "period": year,
            "detections": count,
            "detections_per_km2": 1.0,
            "mean_score": 0.5,
        }
        for i, n in enumerate(names)
        for year, count in (("2023", 1000 - i), ("2024", 2 * i))
    ]
    write_rows(tmp_path, "detection_counts", found)
    text = Page(html.write_report(make_run(), tmp_path).read_text()).text
    for year in ("2023", "2024"):
        assert [n for n in names if f"{n}, parish, {year}" in text] == names[30:]
    assert "30 others are in the table detection_counts" in text


def write_elsewhere(
    path: Path, crs: str, transform: Affine, classes: np.ndarray, nodata: int | None = 0
) -> None:
    profile = {
        "driver": "GTiff",
        "dtype": classes.dtype,
        "count": 1,
        "nodata": nodata,
        "crs": crs,
        "transform": transform,
    }
    with rasterio.open(
        path, "w", height=classes.shape[0], width=classes.shape[1], **profile
    ) as file:
        file.write(classes, 1)
        if classes.dtype == np.uint8:
            file.write_colormap(1, {10: (1, 102, 3, 255), 80: (1, 102, 204, 255)})


def test_maps_made_elsewhere_are_drawn_where_regions_lie_in_their_own_colours(
    tmp_path: Path,
) -> None:
    # Two degrees of wood, and two of sea beyond; a region has
    # half a degree of each, another is outside.
    classes = np.repeat(np.uint8([[10, 80]]), 100, 1) * np.ones((100, 1), np.uint8)
    write_elsewhere(tmp_path / "2021.tif", "EPSG:4326", Affine(0.02, 0, 6, 0, -0.02, 2), classes)
    areas = [
        {
            "region_id": i,
            "level": "land",
            "name": f"land {i}",
            "period": "2021",
            "observed_share": share,
        }
        for i, share in (("a", 1.0), ("b", 0.0))
    ]
    lines = [
        areas[0] | {"class_id": 10, "class_name": "wood", "area_m2": 1e6, "share": 0.5},
        areas[0] | {"class_id": 80, "class_name": "sea", "area_m2": 1e6, "share": 0.5},
        areas[1] | {"class_name": "unobserved", "area_m2": 1e6},
    ]
    boxes = {"a": shapely.box(7.5, 0.5, 8.5, 1.5), "b": shapely.box(50, 0, 51, 1)}
    places = [
        {
            "region_id": i,
            "level": "land",
            "name": f"land {i}",
            "geometry": shapely.to_wkb(b),
            "area_m2": 1e6,
        }
        for i, b in boxes.items()
    ]
    write_rows(tmp_path, "class_areas", lines)
    write_rows(tmp_path, "regions", places)
    run = config.Config(name="elsewhere", maps=(config.MapFiles(str(tmp_path / "2*.tif"), "2021"),))
    page = Page(html.write_report(run, tmp_path).read_text())
    assert "Land cover of 2021, from maps made elsewhere" in page.text
    assert "land a, land, 2021" in page.text
    assert "land b, land, 2021" not in page.text
    assert "Regions outside the map, unobserved: 1" in page.text
    assert page.text.count("land b") == 1
    picture = (
        (imread(BytesIO((tmp_path / "map.png").read_bytes()))[..., :3] * 255).round().astype(int)
    )
    wood, sea = (
        (np.abs(picture - np.array(rgb)).max(-1) <= 2).sum() for rgb in ((1, 102, 3), (1, 102, 204))
    )
    assert wood / sea == pytest.approx(1, rel=0.05)
    # What lies on another grid, in another CRS and type, is laid over the first one's.
    there, grid = read_map([tmp_path / "2021.tif"], (7.5, 0.5, 8.5, 1.5))
    assert (there.shape, grid.bounds) == ((50, 50), pytest.approx((7.5, 0.5, 8.5, 1.5)))
    left, top = transformer("EPSG:4326", "EPSG:32632").transform(8.0, 1.0)
    write_elsewhere(
        tmp_path / "utm.tif",
        "EPSG:32632",
        Affine(1000, 0, left, 0, -1000, top),
        np.full((60, 60), 10, np.uint16),
    )
    over, _ = read_map([tmp_path / "2021.tif", tmp_path / "utm.tif"], (7.5, 0.5, 8.5, 1.5))
    assert (over == there).all()  # the first counts
    fine = np.full((100, 100), 10, np.uint16)
    write_elsewhere(tmp_path / "fine.tif", "EPSG:4326", Affine(0.005, 0, 8, 0, -0.005, 1), fine)
    pair = [tmp_path / "2021.tif", tmp_path / "fine.tif"]
    assert read_map(pair)[1].resolution == (0.005, 0.005)
    wood = np.where(classes == 10, classes, 0).astype(np.uint8)
    write_elsewhere(tmp_path / "wood.tif", "EPSG:4326", Affine(0.02, 0, 6, 0, -0.02, 2), wood)
    there, _ = read_map([tmp_path / "wood.tif"], (7.5, 0.5, 8.5, 1.5))
    over, _ = read_map([tmp_path / "wood.tif", tmp_path / "utm.tif"], (7.5, 0.5, 8.5, 1.5))
    assert (over[27:48, 27:48] == 10).all()
    assert (over[:24] == there[:24]).all()
    # A rotated raster without nodata says nothing of the corners
    # beside it: they have no class, not class 0.
    askew = Affine.translation(8, 1.4) @ Affine.rotation(-45) @ Affine.scale(0.02, -0.02)
    write_elsewhere(
        tmp_path / "askew.tif", "EPSG:4326", askew, np.full((20, 20), 10, np.uint16), None
    )
    over, _ = read_map([tmp_path / "wood.tif", tmp_path / "askew.tif"], (7.5, 0.5, 8.5, 1.5))
    assert 100 < (over != there).sum() < 300
    assert (over[over != there] == 10).all()
    # A map of the Earth, which a zone cannot hold, is drawn where it is asked for.
    earth = np.full((180, 360), 80, np.uint8)
    write_elsewhere(tmp_path / "earth.tif", "EPSG:4326", Affine(1, 0, 0, 0, -1, 90), earth)
    within, _ = read_map([tmp_path / "utm.tif", tmp_path / "earth.tif"], (7.8, 0.8, 8.2, 1.2))
    assert {10, 80} == set(np.unique(within).tolist())
    # Degrees that hold none of it leave nothing out.
    assert read_map([tmp_path / "2021.tif"], (50, 0, 51, 1))[0].shape == classes.shape


@given(st.floats(1e-3, 1e7))
def test_scale_bars_have_round_lengths(longest: float) -> None:
    found = round_length(longest)
    assert found <= longest * (1 + 1e-9) < 2.5 * found * (1 + 1e-9)
    assert re.fullmatch(r"[125]e[+-]\d+", f"{found:.0e}")


@pytest.mark.parametrize(
    ("crs", "step", "metres"),
    [("EPSG:3035", 10.0, 10.0), ("EPSG:3857", 10.0, 10 * np.cos(np.radians(47.6)))],
)
def test_the_scale_bar_is_of_the_ground_not_of_the_plane(
    crs: str, step: float, metres: float
) -> None:
    place = {"EPSG:3035": (4321000.0, 3210000.0), "EPSG:3857": (1.5e6, 6.04e6)}[crs]
    grid = Grid(crs, (step, 0.0, place[0], 0.0, -step, place[1]), 100, 100)
    assert grid.resolution_m[0] == pytest.approx(metres, rel=0.01)


def test_a_folder_without_tables_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run to report on"):
        html.write_report(make_run(), tmp_path)
    assert not list(tmp_path.iterdir())

"""`import lulc`: light, true to the files of a run, and safe to show whatever names are in it."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from shapely.geometry import box

import lulc
from lulc.api.config import save_config, saved_config
from lulc.api.pictures import NAMES
from lulc.config import PredictConf
from lulc.errors import InputError, UsageError
from lulc.geo.areas import degrees_area, pixel_areas
from lulc.geo.grid import WGS84, Grid
from lulc.inference.trained_model import TrainedModel
from lulc.legend import COMMON, LandClass, Legend
from lulc.maps.class_map import ClassMap
from lulc.models.contract import Contract
from lulc.models.package import ModelRef
from lulc.raster.show import Picture
from lulc.tables import ledger, schemas, store
from tests.cli.test_runfile import SMALL
from tests.helpers.small_world import GRID as WORLD_GRID
from tests.helpers.small_world import World
from tests.helpers.synthetic_scenes import write_raster
from tests.stats.test_class_rasters import GRID as MAP_GRID
from tests.stats.test_class_rasters import ask, star, write_map

PNG = b"\x89PNG\r\n"
HOSTILE = "<script>alert('&')</script>"
# An equal-area grid, in which areas are products of sides.
PLANE = Grid("EPSG:6933", (100.0, 0.0, 1_000_000.0, 0.0, -100.0, 4_000_000.0), 40, 60)


@pytest.fixture(scope="module")
def run(done: Path, tmp_path_factory: pytest.TempPathFactory) -> lulc.Run:
    """The run of the small world, opened by its folder alone; a copy, as a report is written."""
    out = tmp_path_factory.mktemp("api") / "out"
    shutil.copytree(done, out)
    return lulc.open_run(out)


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """A class raster of PLANE: class 1 in the west, 2 in the east, nothing in the last column."""
    classes = np.ones(PLANE.shape, np.uint8)
    classes[:, 30:], classes[:, -1] = 2, 255
    path = write_raster(tmp_path / "halves.tif", classes, PLANE, nodata=255)
    with rasterio.open(path, "r+") as file:
        file.update_tags(CLASS_1="water", CLASS_2="forest")
    return path


def write_regions(path: Path, shapes: dict[str, shapely.Geometry], crs: str = WGS84) -> Path:
    frame = geopandas.GeoDataFrame({"id": list(shapes)}, geometry=list(shapes.values()), crs=crs)
    frame.to_file(path)
    return path


def areas_of(table: Any, *keys: str) -> dict[tuple[Any, ...], float]:
    return {tuple(row[key] for key in keys): row["area_m2"] for row in table.to_pylist()}


# Names and what they load


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("", "torch pyspark pandas rasterio numpy pyarrow shapely"),
        ("; [getattr(lulc, name) for name in lulc.__all__]", "torch pyspark mlflow matplotlib"),
    ],
)
def test_names_are_imported_when_they_are_used(statement: str, heavy: str) -> None:
    code = f"import lulc, sys{statement}; print(sorted(set({heavy.split()}) & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


# Settings


def test_a_config_is_the_same_from_a_file_a_mapping_and_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    legend = {"legend": {1: {"name": "water", "colour": "#0000ff"}}}
    labels = {"path": Path("labels.tif"), "crosswalk": {11: 1, "lake": 1}, "ignore": [0, "sea"]}
    source = {**SMALL, **legend, "labels": labels}
    before = json.dumps(source, default=str)
    config = lulc.load_config(source, {"train.epochs": 5, "scenes.0.path": tmp_path / "archive"})
    assert json.dumps(source, default=str) == before
    assert (config.train.epochs, config.scenes[0].path) == (5, str(tmp_path / "archive"))
    assert config.labels is not None
    assert config.labels.crosswalk == {11: 1, "lake": 1}
    assert lulc.load_config(config) == config
    assert lulc.load_config(config, {"train.rate": 1e-5}).train.rate == 1e-5
    save_config(config, tmp_path / "out")
    assert saved_config(tmp_path / "out") == config
    assert lulc.load_config(tmp_path / "out" / "config.yaml") == config


def test_secrets_are_not_kept_with_a_run(tmp_path: Path) -> None:
    catalog = {"type": "rest", "uri": "https://me:pw@host/x", "token": "s3cret"}
    legend = {1: {"name": "access_key=water", "colour": "#419bdf"}}
    publish = {"warehouse": "w", "catalog": catalog}
    config = lulc.load_config({**SMALL, "legend": legend, "publish": publish})
    save_config(config, tmp_path)
    assert saved_config(tmp_path).legend == config.legend
    text = (tmp_path / "config.yaml").read_text()
    assert "s3cret" not in text
    assert "pw" not in text
    assert "https://host/x" in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trian.epochs": 1}, r"the run: unknown key 'trian'; did you mean 'train'"),
        ({"train.epochs": "many"}, r"train\.epochs: .*found 'many'"),
        ({"scenes.path": "x"}, r"'scenes\.path' leads nowhere .* datasets\.0\.root"),
        ({"scenes.7.path": "x"}, r"'scenes\.7\.path' leads nowhere"),
        ({"name.first": "x"}, r"'name\.first' leads nowhere"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        lulc.load_config(SMALL, settings)


def test_wrong_names_are_answered_with_the_right_ones(tmp_path: Path, run: lulc.Run) -> None:
    for mistake, error, message in (
        (lambda: lulc.run(SMALL, tmp_path, stages=["tiles"]), UsageError, "none of index, tile"),
        (lambda: lulc.run(SMALL, tmp_path, stages="tiles"), UsageError, "stage tiles is none of"),
        (lambda: lulc.open_run(tmp_path), InputError, "holds no run: `lulc run RUN.yaml --out"),
        (lambda: run.table("areas"), InputError, "table 'areas' is none of scenes, chips"),
        (lambda: run.table("chips", ["pixel"]), InputError, "no column pixel: it has tile_id"),
        (lambda: next(run.chips("2023")), InputError, "period '2023' is none of '2024'"),
        (lambda: run.map("2023"), InputError, "period '2023' is none of '2024'"),
        (lambda: next(run.samples("val")), InputError, "'val' is none of train, validation, test"),
        (lambda: run.picture("maps"), InputError, "picture 'maps' is none of map, chips"),
        (lambda: run.map().polygons("wood"), UsageError, "class 'wood' is none of water, trees"),
        (lambda: run.model("9"), InputError, "world"),
        (lambda: lulc.load_model("moon", run.out), InputError, "moon"),
        (lambda: lulc.class_areas({"1": "none*.tif"}, "r.gpkg"), InputError, "no file matches"),
        (lambda: lulc.open_map(tmp_path / "x.tif"), InputError, r"x\.tif"),
    ):
        with pytest.raises(error, match=message):
            mistake()
    (tmp_path / "tables").mkdir()
    with pytest.raises(InputError, match=r"holds no config\.yaml: give the run file"):
        lulc.open_run(tmp_path)
    assert lulc.open_run(tmp_path, SMALL).name == SMALL["name"]


# A run


def test_a_run_is_what_its_files_are(run: lulc.Run, small: World) -> None:
    config = lulc.load_config(small.run)
    assert run.config == config
    assert run.legend == config.make_legend()
    assert (run.name, run.periods) == ("world", ("2024",))
    assert {"scenes", "chips", "samples", "predictions", "class_areas"} <= set(run.tables)
    for name in schemas.ALL:
        table = run.table(name)
        assert table.schema.names == schemas.ALL[name].names
        assert bool(table.num_rows) == (name in run.tables)
    assert run.ledger.num_rows == ledger.read_ledger(run.out).num_rows
    narrow = run.table("class_areas", ["name", "area_m2"])
    assert narrow.equals(run.table("class_areas").select(["name", "area_m2"]))
    history = run.history().to_pydict()
    assert history["epoch"] == [1, 2, 3, 4]
    assert history["accuracy"][-1] > 0.9


def test_chips_and_samples_are_the_rows_of_their_tables(run: lulc.Run) -> None:
    chips = {chip.tile_id: chip for chip in run.chips("2024")}
    rows = run.table("chips")
    assert sorted(chips) == sorted(rows["tile_id"].to_pylist())
    chip = next(iter(chips.values()))
    assert chip.rgb().shape == (*chip.grid.shape, 3)
    for split in ("train", "validation", "test"):
        folder = run.out / "tables" / "samples" / f"split={split}"
        ids = pq.read_table(folder, partitioning=None)["sample_id"].to_pylist()
        samples = {sample.sample_id: sample for sample in run.samples(split)}
        assert sorted(samples) == sorted(ids)
        for sample in samples.values():
            assert (sample.split, sample.bands) == (split, run.config.bands)
            assert sample.grid is not None
            assert sample.label.shape == sample.grid.shape == sample.valid.shape[1:] == (32, 32)
            assert set(np.unique(sample.label)) <= {1, 2, 3, 255}
            assert all(time.year == 2024 for time in sample.datetimes)
    assert len(list(run.samples())) == run.table("samples").num_rows


def test_a_map_holds_the_pixels_of_its_rasters(run: lulc.Run, small: World) -> None:
    whole = run.map()
    grid = whole.georeference
    assert whole.model == "world/1"
    found = 0
    for kind, layer in (("rasters", whole.classes), ("confidence", whole.confidence)):
        for path in (run.out / kind / "2024").rglob("*.tif"):
            with rasterio.open(path) as raster:
                pixels = raster.read(1)
                col, row = (round(number) for number in ~grid.affine @ raster.transform @ (0, 0))
            height, width = pixels.shape
            np.testing.assert_array_equal(layer[row : row + height, col : col + width], pixels)
            found += kind == "rasters"
            assert kind != "rasters" or (lulc.open_map(path).classes == pixels).all()
    assert found == 4
    # It is the truth that the world was made of, but for the network's mistakes.
    truth = write_raster(run.out.parent / "truth.tif", small.truth, WORLD_GRID)
    expected, valid, _ = lulc.read(truth, grid)
    seen = valid & (whole.classes != 255)
    assert (expected[0] == whole.classes)[seen].mean() > 0.9
    areas = whole.areas_m2()
    assert list(areas) == ["water", "trees", "crops"]
    assert sum(areas.values()) == pytest.approx(100.0 * (whole.classes != 255).sum())
    assert set(run.map().rgba()[whole.classes == 1].ravel().tolist()) == {0x41, 0x9B, 0xDF, 255}


def test_a_model_maps_as_its_predictor_does(run: lulc.Run) -> None:
    model = run.model()
    assert (model.reference.name, model.contract.bands) == ("world", run.config.bands)
    sample = next(run.samples("test"))
    settings = PredictConf(flips=model.contract.flips)
    classes, confidence = model.predictor.segment(
        sample.pixels, sample.valid, sample.scales, sample.offsets, settings
    )
    mapped = model.segment(sample)
    np.testing.assert_array_equal(mapped.classes, classes)
    np.testing.assert_array_equal(mapped.confidence, confidence)
    assert (mapped.grid, mapped.legend, mapped.model) == (sample.grid, run.legend, "world/1")
    assert run.model("1").reference == run.model("@champion").reference == model.reference
    by_address = lulc.load_model("models:/world/1", run.out)
    assert (by_address.segment(sample).classes == classes).all()
    with pytest.raises(UsageError, match=r"use segment\(\) in place of detect\(\)"):
        model.detect(sample)
    with pytest.raises(UsageError, match=r"use segment\(\) in place of classify\(\)"):
        model.classify(sample)
    with pytest.raises(InputError, match=r"the image has bands .*'blue'"):
        model.segment(dataclasses.replace(sample, bands=("blue", "nir", "swir16")))
    # The pixel size is that of the training, but for samples, which are compared with labels.
    coarse = sample.grid.coarsen(2)
    assert (model.segment(dataclasses.replace(sample, grid=coarse)).classes == classes).all()
    chip = next(run.chips())
    assert model.segment(chip).grid == chip.grid
    with pytest.raises(InputError, match="the image has pixels of 20 m"):
        model.segment(dataclasses.replace(chip, grid=chip.grid.coarsen(2)))
    nowhere = model.segment(dataclasses.replace(sample, grid=None))
    assert (nowhere.classes == classes).all()
    with pytest.raises(InputError, match="without georeference"):
        nowhere.areas_m2()


def test_a_folder_is_mapped_as_its_samples_are(run: lulc.Run, tmp_path: Path) -> None:
    sample = next(run.samples("test"))
    write_raster(tmp_path / "one.tif", sample.pixels[0], sample.grid, nodata=0)
    (tmp_path / "two.tif").write_bytes(b"no raster")
    rows = {row["image"]: row for row in run.map_folder(tmp_path).to_pylist()}
    assert {name: row["status"] for name, row in rows.items()} == {
        "one.tif": "done",
        "two.tif": "bad",
    }
    assert "two.tif" in rows["two.tif"]["error"]
    mapped = lulc.open_map(rows["one.tif"]["path"])
    assert (mapped.grid, mapped.model) == (sample.grid, "world")
    assert mapped.legend.classes == run.legend.classes
    alone = dataclasses.replace(
        sample, pixels=sample.pixels[:1], valid=(sample.pixels[:1] > 0).all(1)
    )
    assert (mapped.classes == run.model().segment(alone).classes).mean() > 0.99


def test_pictures_and_the_report_are_drawn(run: lulc.Run, tmp_path: Path) -> None:
    for name in NAMES:
        picture = run.picture(name)
        assert picture.png.startswith(PNG)
        assert picture.save(tmp_path / f"{name}.png").read_bytes() == picture._repr_png_()
    assert "east" in run.report().read_text()
    assert run.report() == run.out / "report.html"


@pytest.mark.usefixtures("spark")
def test_queries_see_the_tables(run: lulc.Run) -> None:
    query = "SELECT class_name, area_m2 FROM class_areas WHERE name = :name AND class_id > 0"
    rows = run.sql(query, name="east").to_pylist()
    table = run.table("class_areas").to_pylist()
    expected = {r["class_name"]: r["area_m2"] for r in table if r["name"] == "east"}
    assert len(rows) == 3
    assert all(row["area_m2"] == expected[row["class_name"]] for row in rows)
    outlines = run.sql("SELECT geometry FROM regions")["geometry"].to_pylist()
    assert degrees_area(shapely.from_wkb(outlines[0])) > 1e6
    with pytest.raises(UsageError, match=r"cannot be understood.*`nothing`.*`name`"):
        run.sql("SELECT nothing FROM class_areas")


def test_a_stage_that_is_current_is_left_as_it_is(run: lulc.Run, small: World) -> None:
    before = run.ledger.num_rows
    again = lulc.run(small.run, run.out, stages=["index", "tile"], set={"train.epochs": 2})
    assert again.ledger.num_rows == before
    assert again.config.train.epochs == lulc.open_run(run.out).config.train.epochs == 2
    save_config(run.config, run.out)


# Maps


def test_a_map_has_areas_polygons_and_a_file(tmp_path: Path) -> None:
    grid = Grid("EPSG:4326", (0.01, 0.0, 10.0, 0.0, -0.01, 60.0), 700, 30)
    classes = np.zeros(grid.shape, np.uint8)
    classes[100:650, 10:20], classes[300:310, 12:15], classes[:50] = 6, 1, 255
    confidence = np.full_like(classes, 90)
    class_map = ClassMap(grid, classes, confidence, (), "m/1", legend=COMMON)
    areas = class_map.areas_m2()
    pixels = np.broadcast_to(pixel_areas(grid), grid.shape)
    for land_class in COMMON.classes:
        expected = pixels[classes == land_class.id].sum()
        assert areas[land_class.name] == pytest.approx(expected, rel=1e-12)
    outlines = class_map.polygons()
    assert outlines.crs == grid.crs
    assert Counter(outlines.class_name) == {"water": 1, "built area": 1, "trees": 1}
    for name, shape in zip(outlines.class_name, outlines.geometry, strict=True):
        assert degrees_area(shape) == pytest.approx(areas[name], rel=1e-9)
    (trees,) = class_map.polygons("trees").geometry
    assert trees.equals(box(10.12, 56.9, 10.15, 57.0))
    opened = lulc.open_map(class_map.save(tmp_path / "map.tif"))
    np.testing.assert_array_equal(opened.classes, classes)
    assert (opened.model, opened.legend.classes) == ("m/1", COMMON.classes)
    assert opened.grid == grid
    assert opened.areas_m2() == areas


def test_a_raster_of_another_program_gets_names_and_colours(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "other.tif", np.eye(40, dtype=np.uint8) * 7, PLANE.window(0, 0, 40, 40)
    )
    other = lulc.open_map(path)
    assert other.legend.names == {0: "class 0", 7: "class 7"}
    assert len(set(other.legend.colours.values())) == 2
    assert other.areas_m2() == {"class 0": 1e4 * 1560, "class 7": 1e4 * 40}
    with rasterio.open(path, "r+") as file:
        file.update_tags(CLASS_7="class 0")
    with pytest.raises(InputError, match=r"other\.tif names class 7 'class 0', which reads as"):
        lulc.open_map(path)
    wide = np.full((2, 40, 40), 300, np.uint16)
    write_raster(tmp_path / "wide.tif", wide[0], PLANE.window(0, 0, 40, 40))
    with pytest.raises(InputError, match=r"wide\.tif holds 300: class ids from 0 to 254"):
        lulc.open_map(tmp_path / "wide.tif")
    write_raster(tmp_path / "deep.tif", wide, PLANE.window(0, 0, 40, 40))
    with pytest.raises(InputError, match=r"deep\.tif is no class raster: it has bands 1"):
        lulc.open_map(tmp_path / "deep.tif")


def test_a_raster_is_read_on_its_grid_and_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.arange(3 * 40 * 60, dtype=np.int16).reshape(3, 40, 60)
    write_raster(tmp_path / "bands.tif", pixels, PLANE, nodata=0)
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    whole, valid, grid = lulc.read("../bands.tif")
    np.testing.assert_array_equal(whole, np.where(valid, pixels, 0))
    assert grid == PLANE
    assert np.argwhere(~valid).tolist() == [[0, 0]]  # its first band is nodata
    part, part_valid, _ = lulc.read(
        tmp_path / "bands.tif", PLANE.window(-5, 50, 20, 20), bands=(3, 1)
    )
    np.testing.assert_array_equal(part[:, 5:, :10], pixels[[2, 0], :15, 50:])
    assert part_valid[5:, :10].all()
    assert not part[:, ~part_valid].any()
    assert part_valid.sum() == 150
    from PIL import Image

    Image.fromarray(np.moveaxis(pixels.astype(np.uint8), 0, -1)).save(tmp_path / "photo.png")
    photo, _, nowhere = lulc.read(tmp_path / "photo.png")
    np.testing.assert_array_equal(photo, pixels.astype(np.uint8))
    assert nowhere is None
    with pytest.raises(InputError, match="no band 9"):
        lulc.read(tmp_path / "bands.tif", bands=(9,))
    with pytest.raises(UsageError, match="resampling 'cubic' is none of nearest, bilinear, "):
        lulc.read(tmp_path / "bands.tif", resampling="cubic")  # type: ignore[arg-type]


# Areas and accuracy


def test_areas_are_those_of_the_stage(spark: Any, tmp_path: Path) -> None:
    whole = write_map(tmp_path / "2020" / "whole.tif", 1)
    for number, cols in enumerate((slice(0, 350), slice(350, 700))):
        grid = MAP_GRID.window(0, cols.start, 600, 350)
        classes = np.where(whole[:, cols] == 95, 10, whole[:, cols])
        write_raster(tmp_path / "2021" / f"{number}.tif", classes, grid, nodata=0)
    utm = Grid("EPSG:32632", (100.0, 0.0, 150_000.0, 0.0, -100.0, 240_000.0), 1200, 1200)
    other = np.kron([[10, 20], [20, 40]], np.ones((600, 600))).astype(np.uint8)
    write_raster(tmp_path / "2022" / "utm.tif", other, utm, nodata=0)
    shapes = {
        "across two rasters": star(6.35, 1.7, 0.12),
        "at the rim": box(6.6, 1.9, 7.0, 2.2),
        "two parts": star(6.1, 1.6, 0.05) | star(6.5, 1.55, 0.03),
        "outside": box(20, 1, 21, 2),
    }
    regions = write_regions(tmp_path / "regions.gpkg", shapes)
    patterns = {year: str(tmp_path / year / "*.tif") for year in ("2020", "2021", "2022")}
    by_stage = ask(spark, tmp_path / "out", regions, *patterns.items())
    tables = lulc.measure_areas(patterns, lulc.RegionFile(str(regions), id="id"))
    keys = {
        "class_areas": ("region_id", "level", "name", "period", "class_id", "class_name"),
        "transitions": ("region_id", "period_from", "period_to", "from_id", "to_id", "to_class"),
    }
    for name, columns in keys.items():
        expected = {tuple(row[c] for c in columns): row for row in by_stage[name]}
        rows = {tuple(row[c] for c in columns): row for row in getattr(tables, name).to_pylist()}
        assert rows.keys() == expected.keys()
        for key, row in rows.items():
            for column in ("area_m2", "share", "pixels", "observed_share"):
                value = expected[key].get(column)
                assert row.get(column) == (value and pytest.approx(value, rel=1e-9, abs=1e-9)), key
    assert tables.transitions.schema == schemas.TRANSITIONS
    assert lulc.class_areas(patterns, regions).schema == schemas.CLASS_AREAS
    assert {row["level"] for row in lulc.class_areas(patterns, [regions]).to_pylist()} == {
        "regions"
    }


def test_areas_are_products_of_sides(halves: Path, tmp_path: Path) -> None:
    x, y = PLANE.transform[2], PLANE.transform[5]
    shapes = {
        "inner": box(x + 1234, y - 3333, x + 4321, y - 777),
        "rim": box(x + 5000, y - 1050, x + 7000, y - 50),
        "outside": box(x + 9000, y - 1000, x + 9500, y),
    }
    regions = write_regions(tmp_path / "regions.gpkg", shapes, PLANE.crs)
    areas = areas_of(lulc.class_areas({"a": halves}, regions), "region_id", "class_name")
    assert areas == {
        ("inner", "water"): pytest.approx(1766 * 2556, rel=1e-6),
        ("inner", "forest"): pytest.approx(1321 * 2556, rel=1e-6),
        ("inner", "unobserved"): pytest.approx(0, abs=1),
        ("rim", "forest"): pytest.approx(900 * 1000, rel=1e-6),
        ("rim", "unobserved"): pytest.approx(1100 * 1000, rel=1e-6),
        ("outside", "unobserved"): pytest.approx(500 * 1000, rel=1e-6),
    }
    swapped = lulc.open_map(halves)
    later = np.where(swapped.classes == 1, 2, swapped.classes).astype(np.uint8)
    path = dataclasses.replace(swapped, classes=later).save(tmp_path / "later [1].tif")
    changes = lulc.measure_areas({"a": halves, "b": path}, regions).transitions
    inner = {
        key[1:]: m2
        for key, m2 in areas_of(changes, "region_id", "from_class", "to_class").items()
        if key[0] == "inner"
    }
    assert inner == {
        ("water", "forest"): pytest.approx(1766 * 2556, rel=1e-6),
        ("forest", "forest"): pytest.approx(1321 * 2556, rel=1e-6),
    }
    with pytest.raises(UsageError, match="period '2020/1' is no name: letters, digits"):
        lulc.class_areas({"2020/1": halves}, regions)
    with pytest.raises(InputError, match="given twice for one period"):
        lulc.class_areas({"a": [halves, str(tmp_path / "h*.tif")]}, regions)
    with pytest.raises(UsageError, match=r"give class_areas\({PERIOD: RASTERS}, REGIONS\)"):
        lulc.class_areas({}, regions)
    with pytest.raises(UsageError, match="maps are given by period"):
        lulc.class_areas("maps.tif", regions)  # type: ignore[arg-type]
    points = tmp_path / "points.gpkg"
    geopandas.GeoDataFrame(geometry=[shapely.Point(9, 47)], crs=4326).to_file(points)
    with pytest.raises(InputError, match=r"no region of .*points\.gpkg is a polygon with an area"):
        lulc.class_areas({"a": halves}, points)


def test_areas_of_a_runs_rasters_are_those_of_its_table(run: lulc.Run, small: World) -> None:
    rasters = {"2024": str(run.out / "rasters" / "2024" / "*" / "*.tif")}
    again = lulc.class_areas(rasters, small.run.with_name("regions.gpkg"))
    expected = areas_of(run.table("class_areas"), "region_id", "class_id")
    assert areas_of(again, "region_id", "class_id") == {
        key: pytest.approx(area, rel=1e-6, abs=1) for key, area in expected.items()
    }


def test_two_maps_are_compared(halves: Path, tmp_path: Path) -> None:
    later = lulc.open_map(halves)
    classes = later.classes.copy()
    classes[:10, :30] = 2
    after = dataclasses.replace(later, classes=classes).save(tmp_path / "after.tif")
    rows = lulc.compare_maps(halves, after, tmp_path / "change.tif").to_pylist()
    assert {(r["from_class"], r["to_class"]): (r["pixels"], r["area_m2"]) for r in rows} == {
        ("water", "water"): (900, pytest.approx(9e6)),
        ("water", "forest"): (300, pytest.approx(3e6)),
        ("forest", "forest"): (1160, pytest.approx(11.6e6)),
    }
    (change,), valid, _ = lulc.read(tmp_path / "change.tif")
    assert (change[:10, :30] == 256 + 2).all()
    assert valid.sum() == 40 * 59
    empty = dataclasses.replace(later, classes=np.full_like(classes, 255)).save(tmp_path / "e.tif")
    none = lulc.compare_maps(halves, empty, tmp_path / "none.tif")
    assert (none.num_rows, "area_m2" in none.column_names) == (0, True)


def test_points_that_agree_with_the_map_give_its_areas(halves: Path, tmp_path: Path) -> None:
    points = tmp_path / "points.gpkg"
    design = lulc.draw_sample(str(tmp_path / "h*.tif"), points, count=100, min_points=20, seed=1)
    assert [stratum["name"] for stratum in design["strata"]] == ["water", "forest"]
    frame = geopandas.read_file(points)
    frame.assign(reference=frame.stratum).to_file(points)
    x, y = PLANE.transform[2], PLANE.transform[5]
    regions = write_regions(tmp_path / "r.gpkg", {"west": box(x, y - 4000, x + 3000, y)}, PLANE.crs)
    rows = lulc.estimate_areas(points, regions=regions, out=tmp_path / "out").to_pylist()
    estimates = {(r["region_id"], r["measure"], r["class_name"]): r for r in rows}
    assert estimates[None, "overall_accuracy", None]["estimate"] == 1.0
    assert estimates[None, "area_m2", "water"]["estimate"] == pytest.approx(12e6)
    assert estimates[None, "area_m2", "forest"]["estimate"] == pytest.approx(11.6e6)
    assert estimates["west", "area_m2", "water"]["estimate"] == pytest.approx(12e6, rel=1e-6)
    assert store.read_table(tmp_path / "out", "estimates").num_rows == len(rows)
    for mistake, message in (
        ({}, "say how many points"),
        ({"count": 50, "error": 0.1}, "say how many points"),
        ({"count": 50, "allocation": "fair"}, "'fair' is none of neyman, proportional, equal"),
    ):
        with pytest.raises(UsageError, match=message):
            lulc.draw_sample(halves, tmp_path / "none.gpkg", **mistake)


# Pages


class Page(HTMLParser):
    """HTML whose tags are closed as they were opened; the tags and the text in it."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags[tag] += 1
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_run_and_what_it_holds_show_themselves(run: lulc.Run) -> None:
    page = Page(run._repr_html_())
    assert all(f"{name}" in page.text for name in ("world", "tile", "evaluate"))
    assert page.tags["tr"] == 1 + len(run.ledger["stage"].unique())
    assert "<td>tile</td><td>14</td><td>2</td><td>0</td>" in run._repr_html_()
    chip, sample = next(run.chips()), next(run.samples())
    assert Page(chip._repr_html_()).tags["img"] == len(chip.pixels) == 2
    assert Page(sample._repr_html_()).tags["img"] == len(sample.pixels)
    page = Page(run.map()._repr_html_())
    assert all(name in page.text for name in ("world/1", "EPSG:3035", "water", "trees", "crops"))
    assert "world version 1" in Page(run.model()._repr_html_()).text
    assert repr(run) == f"Run('world', out={str(run.out)!r})"


def test_hostile_names_are_shown_as_text(run: lulc.Run) -> None:
    legend = Legend(HOSTILE, (LandClass(1, HOSTILE, "#00ff00"),))
    grid = dataclasses.replace(PLANE, crs=HOSTILE)
    classes = np.ones(PLANE.shape, np.uint8)
    image = {"bands": (HOSTILE,) * 3, "scales": (1.0,) * 3, "offsets": (0.0,) * 3}
    image |= {"pixels": np.ones((1, 3, 8, 8)), "valid": np.ones((1, 8, 8), bool)}
    image |= {"datetimes": (datetime(2024, 6, 1, tzinfo=UTC),), "grid": None}
    contract = Contract(HOSTILE, HOSTILE, HOSTILE, {}, (HOSTILE,), (0.0,), (1.0,), legend, 10.0)
    predictor: Any = dataclasses.make_dataclass("P", ["contract"])(contract)
    shown = (
        ClassMap(grid, classes, classes, (), HOSTILE, legend=legend),
        lulc.Sample(HOSTILE, "train", HOSTILE, HOSTILE, label=classes, **image),
        lulc.Chip(HOSTILE, HOSTILE, "", (), halo=0, clear=1.0, **image),
        TrainedModel(ModelRef(HOSTILE, "1", run.out, ""), predictor),
        lulc.Run(run.out / HOSTILE.replace("/", ""), run.config),
    )
    for record in shown:
        source = record._repr_html_()
        page = Page(source)
        assert "script" not in page.tags
        assert "alert" in page.text
    assert ClassMap(grid, classes, classes, (), "m/1")._repr_html_() == ""
    assert Picture(PNG)._repr_png_() == PNG


def test_large_arrays_are_shown_small() -> None:
    classes = np.zeros((6000, 3000), np.uint8)
    source = ClassMap(PLANE, classes, classes, (), "m/1", legend=COMMON)._repr_html_()
    assert len(source) < 20_000
    assert "3000 × 6000" in source
    assert math.isclose(PLANE.resolution_m[0] * PLANE.resolution_m[1], 1e4, rel_tol=1e-2)

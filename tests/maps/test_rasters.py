"""Class rasters hold the predictions in place, named and coloured; their folder has a catalogue."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pyproj import CRS
from rio_cogeo import cog_validate

from lulc import bands
from lulc.config import Archive, Period
from lulc.errors import InputError
from lulc.geo.grid import Grid
from lulc.geo.tiling import Tiling
from lulc.legend import NODATA
from lulc.maps import rasters, stac
from lulc.maps.class_map import ClassMap, RasterSpec
from lulc.raster import cog
from lulc.runfile import parse_run
from lulc.sources import registry, scene
from lulc.tables import arrays, layout, ledger, store
from lulc.tables.stac_geoparquet import read_items
from tests.helpers import synthetic_predictions as maps

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TILING = Tiling("t", "EPSG:6933", 10.0, 64, 1000.0, 2000.0)
UTM_WITHOUT_CODE = CRS.from_proj4("+proj=utm +zone=12 +ellps=GRS80 +units=m +no_defs").to_wkt()


def _spec(out: Path, tiling: Tiling = TILING, group: int = 4) -> RasterSpec:
    return RasterSpec(
        out, "run", tiling, maps.LEGEND, group, (Period("p", datetime(2020, 1, 1).date()),)
    )


def _predict(
    out: Path, tiles: list[tuple[int, int]], tiling: Tiling = TILING, seed: int = 0
) -> tuple[Path, dict[tuple[int, int], np.ndarray]]:
    """A predictions file of these tiles, and the classes put in."""
    rng = np.random.default_rng(seed)
    rows = [maps.random_tile(rng, tiling.grid(*t), tiling.tile_id(*t)) for t in tiles]
    name = f"p.{tiles[0][0]}_{tiles[0][1]}.{seed}"
    path = maps.write_block(store.table_folder(out, "predictions"), rows, name)
    shape = (tiling.size, tiling.size)
    return path, {
        t: np.frombuffer(r["classes"], np.uint8).reshape(shape)
        for t, r in zip(tiles, rows, strict=True)
    }


def _key(
    out: Path, paths: list[Path], fingerprint: str = "f1", key: str = "p/0_0"
) -> dict[str, object]:
    return {
        "key": key,
        "fingerprint": fingerprint,
        "path": rasters.raster_path(key, "run"),
        "paths": [str(p.relative_to(out)) for p in paths],
    }


def _scene_table(out: Path) -> None:
    outline = shapely.to_wkb(shapely.box(0, 0, 1, 1))
    band = bands.Band("red", "https://host/s/red.tif?signature=secret")
    store.write_table(
        out,
        "scenes",
        scene.scenes_to_table(
            [scene.Scene("s", "x", datetime(2020, 6, 1, tzinfo=UTC), "EPSG:4326", outline, (band,))]
        ),
    )


@pytest.mark.parametrize("crs", ["EPSG:6933", UTM_WITHOUT_CODE])
def test_a_raster_holds_the_tiles_that_were_predicted(tmp_path: Path, crs: str) -> None:
    tiling = Tiling("t", crs, 10.0, 64, 1000.0, 2000.0)
    first, found = _predict(tmp_path, [(1, 1), (2, 1)], tiling)
    second, more = _predict(tmp_path, [(3, 3)], tiling, 1)
    (row,) = rasters.write_group(_key(tmp_path, [first, second]), _spec(tmp_path, tiling))
    assert row.path == "rasters/p/0_0/run_0_0.tif"
    with rasterio.open(tmp_path / str(row.path)) as made:
        # The box of the tiles there are: from (1, 1) to (3, 3); what no tile covers is nodata.
        assert made.shape == (192, 192)
        assert tuple(made.transform)[:6] == (10.0, 0.0, 1000.0 + 640, 0.0, -10.0, 2000.0 - 640)
        assert CRS.from_wkt(made.crs.to_wkt()).equals(
            CRS.from_user_input(crs), ignore_axis_order=True
        )
        expected = _lay(found | more)
        np.testing.assert_array_equal(made.read(1), expected)
        assert row.valid_pixels == (expected != NODATA).sum()
    kept = [tile for path in (first, second) for tile in pq.read_table(path).to_pylist()]
    confidence = {
        tiling.parse(tile["tile_id"]): arrays.array_from(tile, "confidence") for tile in kept
    }
    with rasterio.open(tmp_path / layout.confidence_raster(str(row.path))) as made:
        np.testing.assert_array_equal(made.read(1), _lay(confidence))


def _lay(tiles: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    # Of the tiles from (1, 1) to (3, 3), each by its column and row.
    out = np.full((192, 192), NODATA, np.uint8)
    for (col, row), values in tiles.items():
        out[(row - 1) * 64 : row * 64, (col - 1) * 64 : col * 64] = values
    return out


def test_a_tiling_with_an_extent_gives_the_scenes_own_grid(tmp_path: Path) -> None:
    tiling = Tiling("t", "EPSG:32612", 30.0, 64, 0.0, 0.0, None, (100, 150))
    path, found = _predict(tmp_path, [(c, r) for r in range(2) for c in range(3)], tiling)
    made = rasters.mosaic_predictions([path], tiling)
    assert made.grid == Grid("EPSG:32612", (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), 100, 150)
    np.testing.assert_array_equal(made.classes[64:, 128:], found[2, 1][:36, :22])


@pytest.mark.parametrize("listed", ["FALSE", "EMPTY_DIR"])
def test_a_raster_is_a_strict_cog_with_colours_names_and_mode_overviews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    # In a session GDAL lists no folder of a file that it opens.
    monkeypatch.setenv("GDAL_DISABLE_READDIR_ON_OPEN", listed)
    rng = np.random.default_rng(0)
    classes = np.kron(rng.integers(0, 3, (60, 80)).astype(np.uint8), np.ones((25, 17), np.uint8))
    classes[:100] = NODATA
    grid = Grid("EPSG:6933", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), *classes.shape)
    levels = cog.pyramid(classes)
    for name in ("a.tif", "b.tif"):
        cog.write_cog(tmp_path / name, grid, levels, {"CLASS_1": "one"}, maps.LEGEND)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a.tif", "b.tif"]
    valid, errors, warnings = cog_validate(tmp_path / "a.tif", strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(tmp_path / "a.tif") as made:
        assert (made.nodata, made.dtypes, made.block_shapes) == (NODATA, ("uint8",), [(512, 512)])
        assert made.colormap(1)[1] == (128, 128, 128, 255)
        assert made.colormap(1)[NODATA][3] == 0
        assert made.tags()["CLASS_1"] == "one"
        assert len(made.overviews(1)) == len(levels) - 1 == 2
    for number, level in enumerate(levels[1:]):
        with rasterio.open(tmp_path / "a.tif", overview_level=number) as made:
            np.testing.assert_array_equal(made.read(1), level)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.sampled_from([0, 1, 2, NODATA]),
    )
)
def test_an_overview_pixel_is_the_majority_of_its_four(array: np.ndarray) -> None:
    made = cog.majority(array, np.uint8(NODATA))
    for (i, j), value in np.ndenumerate(made):
        counts = Counter(
            v for v in array[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel().tolist() if v != NODATA
        )
        expected = min(counts, key=lambda v: (-counts[v], v)) if counts else NODATA
        assert value == expected


def test_overviews_of_a_constant_area_are_constant() -> None:
    assert all((level == 7).all() for level in cog.pyramid(np.full((1400, 700), 7, np.uint8)))
    assert cog.pyramid(np.zeros((1400, 700), np.uint8))[-1].shape == (350, 175)


def test_a_raster_is_written_again_only_when_its_fingerprint_or_a_file_is_not_there(
    tmp_path: Path,
) -> None:
    path, _ = _predict(tmp_path, [(0, 0)])
    spec = _spec(tmp_path)
    (row,) = rasters.write_group(_key(tmp_path, [path]), spec)
    target = tmp_path / str(row.path)
    item = tmp_path / layout.raster_item(str(row.path))
    written = target.stat().st_mtime_ns
    (again,) = rasters.write_group(_key(tmp_path, [path]), spec)
    assert target.stat().st_mtime_ns == written
    assert replace(again, finished=row.finished) == row
    item.unlink()
    (mended,) = rasters.write_group(_key(tmp_path, [path]), spec)
    assert item.exists()
    assert mended.checksum == row.checksum
    assert rasters.write_group(_key(tmp_path, [path], "f2"), spec)[0].checksum != row.checksum
    target.write_bytes(target.read_bytes()[:100])
    assert rasters.write_group(_key(tmp_path, [path]), spec)[0].checksum == row.checksum


def test_predictions_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [maps.random_tile(rng, TILING.grid(c, 0), TILING.tile_id(c, 0)) for c in range(2)]
    rows[1]["model"] = "m/2"
    with pytest.raises(InputError, match=r"m/1.*m/2"):
        rasters.mosaic_predictions([maps.write_block(tmp_path, rows)], TILING)


def test_the_item_says_where_when_what_and_from_which_scenes(tmp_path: Path) -> None:
    _scene_table(tmp_path)
    path, _ = _predict(tmp_path, [(0, 0)])
    (row,) = rasters.write_group(_key(tmp_path, [path]), _spec(tmp_path))
    content = json.loads((tmp_path / str(row.path)).with_suffix(".json").read_text())
    item = pystac.Item.from_dict(content)
    assert item.ext.proj.code == "EPSG:6933"
    assert item.ext.proj.shape == [64, 64]
    assert item.ext.proj.transform == [10.0, 0.0, 1000.0, 0.0, -10.0, 2000.0]
    assert item.datetime is None
    assert item.common_metadata.start_datetime == datetime(2020, 1, 1, tzinfo=UTC)
    assert item.common_metadata.end_datetime == datetime(2020, 6, 1, tzinfo=UTC)
    assert item.properties["lulc:scenes"] == ["s"]
    assert item.properties["lulc:model"] == maps.MODEL
    assert item.properties["lulc:fingerprint"] == "f1"
    classes = item.assets["classes"].extra_fields["classification:classes"]
    assert [(c["value"], c["title"]) for c in classes] == [
        (0, "zero"),
        (1, "one"),
        (2, "two"),
        (255, "no class"),
    ]
    assert classes[0]["color_hint"] == "808080"
    derived = [link for link in item.links if link.rel == "derived_from"]
    assert [link.target for link in derived] == ["https://host/s/red.tif"]
    folder = (tmp_path / str(row.path)).parent
    assert all((folder / asset.href).exists() for asset in item.assets.values())
    assert shapely.geometry.shape(item.geometry).bounds == pytest.approx(item.bbox)


def test_scenes_without_a_date_give_an_open_span(tmp_path: Path) -> None:
    path, _ = _predict(tmp_path, [(0, 0)])
    spec = RasterSpec(tmp_path, "run", TILING, maps.LEGEND, 4, (Period("p"),))
    (row,) = rasters.write_group(_key(tmp_path, [path]), spec)
    item = (tmp_path / str(row.path)).with_suffix(".json")
    assert stac.read_json(item)["properties"]["start_datetime"].startswith("0001")
    stac.write_collection(tmp_path, "run", [str(row.path)])
    collection = pystac.Collection.from_file(tmp_path / "rasters/collection.json")
    assert collection.extent.temporal.intervals == [[None, None]]


def test_the_items_are_one_table_beside_the_collection(tmp_path: Path) -> None:
    spec = _spec(tmp_path)
    items = []
    for number, tile in enumerate([(0, 0), (2, 0)]):
        path, _ = _predict(tmp_path, [tile], seed=number)
        key = _key(tmp_path, [path], key=rasters.group_key("p", *tile, 2))
        (row,) = rasters.write_group(key, spec)
        items.append((tmp_path / str(row.path)).with_suffix(".json"))
    places = [item.with_suffix(".tif").relative_to(tmp_path).as_posix() for item in items]
    parts = stac.write_collection(tmp_path, "run", reversed(places))
    assert [part.place for part in parts] == places
    folder = tmp_path / "rasters"
    collection = pystac.Collection.from_file(folder / "collection.json")
    mirror = collection.assets["items"]
    assert mirror.roles == ["collection-mirror"]
    found = [item for _, item in read_items(folder / mirror.href)]
    assert [item["id"] for item in found] == [item.id for item in collection.get_items()]
    for written, item in zip(items, found, strict=True):
        properties = stac.read_json(written)["properties"]
        assert {key: item["properties"][key] for key in properties} == properties
        assert all((folder / asset["href"]).exists() for asset in item["assets"].values())
        assert (folder / item["links"][0]["href"]).samefile(folder / "collection.json")
    # The class rasters are an archive.
    archive = Archive(str(folder / mirror.href), mask=(), timeless=True)
    source = registry.source_of(archive)
    scenes = [source.read(item, archive, ("classes",)) for item in source.items(archive)]
    assert [scene.bands[0].href for scene in scenes] == [
        str(item.with_suffix(".tif")) for item in sorted(items)
    ]


def test_a_grid_across_the_antimeridian_has_its_west_east_of_its_east(tmp_path: Path) -> None:
    grid = Grid("EPSG:32660", (1000.0, 0.0, 600000.0, 0.0, -1000.0, 100000.0), 100, 300)
    made = ClassMap(grid, np.zeros((100, 300), np.uint8), np.zeros((100, 300), np.uint8), (), "m/1")
    west, _, east, _ = stac.make_item(_spec(tmp_path), "rasters/p/0_0/run_0_0.tif", made, "f")[
        "bbox"
    ]
    assert 177 < west < 180
    assert -180 < east < -179


def test_the_stage_redoes_only_what_is_missing_or_changed(
    tmp_path: Path, spark: SparkSession
) -> None:
    from lulc.spark.context import StageContext
    from lulc.spark.stages.rasters import rasters as stage
    from lulc.stages import Selection

    legend = {c.id: {"name": c.name, "colour": c.colour} for c in maps.LEGEND.classes}
    tiling = {"crs": "EPSG:6933", "resolution": 10, "size": 64, "block": 2}
    raw = {
        "name": "run",
        "scenes": [{"path": "x"}],
        "bands": ["red"],
        "legend": legend,
        "tiling": tiling,
        "periods": [{"name": "p"}],
        "samples": {"size": 64},
    }
    config = parse_run(raw | {"rasters": {"group": 3}}, tmp_path)
    grid = Tiling("6933-10m-64", "EPSG:6933", 10.0, 64)

    def predict(col: int, line: int, fingerprint: str) -> None:
        path, _ = _predict(tmp_path, [(col, line), (col + 1, line)], grid, 10 + col + line)
        key = f"p/{grid.tile_id(col, line)}"
        ledger.append_ledger(
            tmp_path,
            [ledger.LedgerRow("predict", key, fingerprint, path=str(path.relative_to(tmp_path)))],
        )

    for col, line in ((0, 0), (2, 0), (-2, 0), (4, 4)):
        predict(col, line, "a")
    context = StageContext(config, tmp_path, Selection(), lambda: spark)
    result = stage(context)
    assert (result.skipped, result.done) == (0, 3)
    folder = tmp_path / "rasters/p"
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    names = ("-1_0/run_-1_0", "0_0/run_0_0", "0_0/run_1_1")
    assert files == {
        "mosaic.vrt",
        "mosaic.qml",
        "mosaic.gti.gpkg",
        "mosaic.gti.gpkg.ovr",
        *(f"{name}.{kind}" for name in names for kind in ("tif", "json")),
    }
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("rasters/**/*") if p.is_file()}

    def no_spark() -> SparkSession:
        raise AssertionError("nothing to do must not start Spark")

    idle = stage(StageContext(config, tmp_path, Selection(), no_spark))
    assert (idle.skipped, idle.done) == (3, 0)
    assert before == {p: p.stat().st_mtime_ns for p in before}

    (tmp_path / "rasters/p/0_0/run_1_1.tif").unlink()
    assert (stage(context).skipped, stage(context).skipped) == (2, 3)
    predict(0, 0, "b")
    result = stage(context)
    assert (result.skipped, result.done) == (2, 1)

    (store.table_folder(tmp_path, "predictions") / "p.4_4.18.parquet").unlink()
    result = stage(context)
    assert (result.skipped, result.done) == (2, 0)
    assert not (tmp_path / "rasters/p/0_0/run_1_1.tif").exists()
    assert (
        len(list(pystac.Collection.from_file(tmp_path / "rasters/collection.json").get_items()))
        == 2
    )

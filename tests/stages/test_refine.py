"""The refine stage on Spark: what follows takes its map; the predictions keep their areas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pytest
import rasterio
import shapely
from geopandas import GeoSeries

from lulc.api.run import Run
from lulc.chips.tiling import make_tiling
from lulc.config import (
    ClassConf,
    Config,
    MapFiles,
    Period,
    RefineConf,
    RegionFile,
    TilingConf,
    TransitionConf,
)
from lulc.errors import UsageError
from lulc.legend import NODATA
from lulc.spark.context import StageContext
from lulc.spark.stages.rasters import are_current, rasters
from lulc.spark.stages.refine import refine
from lulc.spark.stages.stats import stats
from lulc.stages import Selection, stages_of
from lulc.tables import arrays, ledger, store
from tests.helpers.synthetic_predictions import LEGEND
from tests.helpers.synthetic_scenes import write_raster
from tests.maps.test_refine import IDS, merged_of, random_map
from tests.maps.test_refine_maps import CUTS, GRID, write_parts
from tests.stages.test_stats import map_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TILINGS = TilingConf(crs="EPSG:6933", resolution=30.0, size=64, block=2, halo=16)


def run_of(unit: int | None) -> Config:
    return Config(
        name="r",
        scenes=(),
        bands=("red",),
        legend={c.id: ClassConf(c.name, c.colour) for c in LEGEND.classes},
        tiling=TILINGS,
        periods=(Period("a"),),
        refine=RefineConf(minimum_mapping_unit=unit) if unit else None,
    )


def pixels_of(out: Path, table: str, period: str = "a") -> np.ndarray:
    whole = np.full((256, 256), NODATA, np.uint8)
    for tile in store.read_table(out, table).to_pylist():
        col, row = (int(n) for n in tile["tile_id"].rpartition("/")[2].split("_"))
        at = np.s_[row * 64 : row * 64 + 64, col * 64 : col * 64 + 64]
        if tile["period"] == period:
            whole[at] = arrays.array_from(tile, "classes")
    return whole


def test_what_follows_takes_the_refined_map_and_both_balance(
    spark: SparkSession, tmp_path: Path
) -> None:
    config = run_of(20)
    map_of(tmp_path, make_tiling(config), periods=("a",))
    context = StageContext(config, tmp_path, Selection(), lambda: spark)
    result = refine(context)
    assert (result.done, result.skipped, result.note) == (
        4, 0, "114 pixels around each are looked at",
    )  # fmt: skip
    raw, refined = pixels_of(tmp_path, "predictions"), pixels_of(tmp_path, "refined")
    assert (refined == merged_of(raw, 20)).all()
    assert (refined != raw).any()
    assert refine(context).skipped == 4

    rasters(context)
    (path,) = (tmp_path / "rasters").rglob("*.tif")
    with rasterio.open(path) as file:
        assert (file.read(1) == refined).all()
    stats(context)
    areas = {}
    for table, pixels in (("class_areas", refined), ("raw_class_areas", raw)):
        rows = store.read_table(tmp_path, table).to_pylist()
        found = {row["class_id"]: row["pixels"] for row in rows if row["class_id"] is not None}
        assert found == {i: (pixels == i).sum() for i in np.unique(pixels) if i != NODATA}
        areas[table] = sum(row["area_m2"] for row in rows)
    assert areas["class_areas"] == pytest.approx(areas["raw_class_areas"], rel=1e-12)

    # A block is done again when one that its steps look into has changed, and only then.
    changed = ledger.read_latest(tmp_path, "predict")["a/" + store_key(config)]
    ledger.append_ledger(tmp_path, [replace(changed, fingerprint="other")])
    assert refine(context).done == 4
    near = replace(config, refine=RefineConf(majority=3))
    assert refine(replace(context, config=near)).done == 4

    without = replace(context, config=run_of(None))
    assert not are_current(without)
    rasters(without)
    with rasterio.open(path) as file:
        assert (file.read(1) == raw).all()
    stats(without)
    assert not store.read_table(tmp_path, "raw_class_areas").num_rows


def test_periods_are_made_consistent_where_blocks_meet_in_time(
    spark: SparkSession, tmp_path: Path
) -> None:
    config = replace(
        run_of(None),
        periods=(Period("a"), Period("b")),
        refine=RefineConf(transitions=TransitionConf((("zero", "one"),))),
    )
    map_of(tmp_path, make_tiling(config), periods=("a", "b"))
    context = StageContext(config, tmp_path, Selection(), lambda: spark)
    assert refine(context).done == 8
    before = [pixels_of(tmp_path, "predictions", period=period) for period in "ab"]
    after = [pixels_of(tmp_path, "refined", period=period) for period in "ab"]
    is_forbidden = (before[0] == 0) & (before[1] == 1)
    assert is_forbidden.any()
    assert not ((after[0] == 0) & (after[1] == 1)).any()
    for period in (0, 1):
        assert (after[period] == before[period])[~is_forbidden].all()
    assert refine(context).skipped == 8
    # Both periods of a place are done again when one of them has changed.
    changed = ledger.read_latest(tmp_path, "predict")[f"b/{store_key(config)}"]
    ledger.append_ledger(tmp_path, [replace(changed, fingerprint="other")])
    assert (refine(context).done, refine(context).skipped) == (2, 8)


def store_key(config: Config) -> str:
    return make_tiling(config).tile_id(0, 0)


def test_class_maps_alone_are_refined(tmp_path: Path) -> None:
    detect = replace(run_of(5), task="detect")
    with pytest.raises(UsageError, match="class maps, not for task detect"):
        stages_of(detect)
    context = StageContext(run_of(None), tmp_path, Selection(), lambda: None)  # type: ignore
    with pytest.raises(UsageError, match="does not say how to refine"):
        refine(context)


def test_maps_made_elsewhere_are_refined_and_both_balance(
    spark: SparkSession, tmp_path: Path
) -> None:
    maps = {period: random_map(seed, *GRID.shape, 1.0) for seed, period in enumerate("ab")}
    for period, classes in maps.items():
        write_parts(tmp_path, classes, period)
    west, south, east, north = GRID.bounds
    region = shapely.Polygon(
        [(west + 33, south + 77), (east + 200, south + 5), (west + 300, north)]
    )
    GeoSeries([region], crs=GRID.crs).to_file(tmp_path / "region.gpkg")
    settings = TransitionConf((("c0", "c1"), ("c2", "c1")))
    config = Config(
        name="r",
        legend={i: ClassConf(f"c{i}", "#808080") for i in IDS},
        tiling=TilingConf(size=32, block=2),
        periods=(Period("a"), Period("b")),
        maps=tuple(MapFiles(str(tmp_path / f"{period}*.tif"), period) for period in "ab"),
        refine=RefineConf(minimum_mapping_unit=3, transitions=settings),
        regions=(RegionFile(str(tmp_path / "region.gpkg")),),
    )
    out = tmp_path / "out"
    context = StageContext(config, out, Selection(), lambda: spark)
    for stage in (refine, rasters, stats):
        assert stage(context).done
        assert not stage(context).done
    run = Run(out, config)
    for period in "ab":
        found = run.map(period).classes[: GRID.height, : GRID.width]
        assert ((found == NODATA) == (maps[period] == NODATA)).all()
        assert (found != maps[period]).any()
    changes = store.read_table(out, "transitions").to_pylist()
    pairs = {(row["from_class"], row["to_class"]) for row in changes}
    assert len(pairs) > 10
    assert not pairs & {("c0", "c1"), ("c2", "c1")}
    true_area = store.read_table(out, "regions")["area_m2"][0].as_py()
    tables = {name: store.read_table(out, name) for name in ("class_areas", "raw_class_areas")}
    for table in tables.values():
        for period in "ab":
            of_period = table.filter(pc.field("period") == period)
            assert pc.sum(of_period["area_m2"]).as_py() == pytest.approx(true_area, rel=1e-6)
            assert set(of_period["mean_confidence"].to_pylist()) == {None}
    as_given = tmp_path / "as_given"
    stats(StageContext(replace(config, refine=None), as_given, Selection(), lambda: spark))
    assert store.read_table(as_given, "class_areas").equals(tables["raw_class_areas"])
    # One file of one period is replaced: the blocks that look into it are refined anew.
    write_raster(
        tmp_path / "a0.tif", np.zeros(CUTS[0][2:], np.uint8), GRID.window(*CUTS[0]), nodata=NODATA
    )
    again = refine(context)
    assert (again.done, again.skipped) == (4, 8)

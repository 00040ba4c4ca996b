"""The stats stage on Spark: equal to the pure functions, balanced, idle when nothing changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely

from lulc.config import ClassConf, Config, Period, RegionFile, StatsConf, TilingConf
from lulc.errors import InputError
from lulc.geo import reproject
from lulc.geo.coverage import fractions
from lulc.geo.grid import Grid, outline
from lulc.geo.tiling import Tiling
from lulc.spark.context import StageContext, StageResult
from lulc.spark.stages.rasters import rasters
from lulc.spark.stages.stats import stats
from lulc.stages import Selection
from lulc.stats import regions, zonal
from lulc.stats.cells import parse_cells
from lulc.tables import arrays, ledger, store
from tests.helpers.synthetic_predictions import LEGEND, random_tile, write_block
from tests.stats.test_regions import write

TILING = Tiling("t", "EPSG:6933", 30.0, 64, 0.0, 5_000_000.0)
NAMES = {c.name: c.id for c in LEGEND.classes}
BLOCKS = ((0, 0), (2, 0), (0, 2), (2, 2))


def map_of(out: Path, tiling: Tiling = TILING, periods: tuple[str, ...] = ("a", "b")) -> list[Path]:
    """Files of 4 x 4 random tiles in blocks of 2 x 2, and their ledger rows."""
    rng, files, rows = np.random.default_rng(1), [], []
    for period in periods:
        for col, row in BLOCKS:
            cells = [(col + i, row + j) for j in range(2) for i in range(2)]
            tiles = [
                random_tile(rng, tiling.grid(*cell), tiling.tile_id(*cell), period)
                for cell in cells
            ]
            files.append(
                write_block(
                    store.table_folder(out, "predictions"), tiles, f"{period}.{col}_{row}.f"
                )
            )
            path = str(files[-1].relative_to(out))
            rows.append(
                ledger.LedgerRow(
                    "predict",
                    f"{period}/{tiling.name}/{col}_{row}",
                    f"{period}{col}{row}",
                    path=path,
                )
            )
    ledger.append_ledger(out, rows)
    return files


def ask(spark: Any, out: Path, *files: RegionFile, grid: str | None = None) -> StageResult:
    legend = {c.id: ClassConf(c.name, c.colour) for c in LEGEND.classes}
    run = Config(
        name="r",
        scenes=(),
        bands=("red",),
        legend=legend,
        regions=files,
        stats=StatsConf(grid=grid),
    )
    return stats(StageContext(run, out, Selection(), lambda: spark))


def park(x: float = 3800.0, y: float = 4_996_200.0, size: float = 3200.0) -> shapely.Geometry:
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    radius = size * (0.8 + 0.2 * np.sin(7 * angle))
    return shapely.Polygon(
        np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])
    )


def test_spark_equals_the_pure_functions_and_every_region_balances(spark, tmp_path):
    files = map_of(tmp_path)
    far = shapely.box(5_000_000, 0, 5_001_000, 1000)
    shapes = [
        park(),
        park() & shapely.box(0, 0, 3800, 1e7),
        park() & shapely.box(3800, 0, 1e4, 1e7),
        park(0, 5_000_000),
        far,
        shapely.Polygon(),
    ]
    file = write(
        tmp_path / "parks.gpkg",
        shapes,
        "EPSG:6933",
        id=["whole", "west", "east", "edge", "far", "none"],
    )
    result = ask(spark, tmp_path, file)
    assert (result.done, result.bad) == (1, 1)
    assert "1 of 5 regions lie outside the map" in result.note
    assert ledger.read_latest(tmp_path, "stats")["region:none"].status == "bad"
    found = store.read_table(tmp_path, "class_areas")

    table = regions.read_regions([file]).table
    placed = shapely.from_wkb(table["geometry"].to_pylist())
    pairs = [(t, p) for t in range(4) for p in range(5)]
    sums: dict[tuple, np.ndarray] = {}
    for path in files:
        for row in zonal.count_block(
            path, pairs, lambda p: regions.Region(p, "region", placed[p]), 0.8
        ):
            key = (
                table["region_id"][row["position"]].as_py(),
                row["period"],
                None if row["class_id"] == 255 else row["class_id"],
            )
            sums[key] = sums.get(key, 0) + np.array([row["pixels"], row["area_m2"]])
    grids = [arrays.grid_from(r) for path in files[:4] for r in pq.read_table(path).to_pylist()]
    for region_id, shape in zip(table["region_id"].to_pylist(), placed, strict=True):
        for period in "ab":
            key = (region_id, period, None)
            outside = np.array([0, zonal.measure_outside(shape, grids)[0]])
            # No count of pixels holds for what may lie outside the map.
            sums[key] = (sums.get(key, 0) + outside) * [np.nan, 1]
    assert {(r["region_id"], r["period"], r["class_id"]) for r in found.to_pylist()} == set(sums)
    for row in found.to_pylist():
        pixels = np.nan if row["pixels"] is None else row["pixels"]
        assert [pixels, row["area_m2"]] == pytest.approx(
            sums[row["region_id"], row["period"], row["class_id"]], rel=1e-12, nan_ok=True
        )

    totals = found.to_pandas().groupby(["region_id", "period"])["area_m2"].sum()
    for region_id, true in zip(
        table["region_id"].to_pylist(), table["area_m2"].to_pylist(), strict=True
    ):
        assert totals[region_id].tolist() == pytest.approx([true, true], rel=1e-8)
    by_class = found.to_pandas().set_index(["region_id", "period", "class_name"])["area_m2"]
    assert (by_class["west"] + by_class["east"]).to_dict() == pytest.approx(
        by_class["whole"].to_dict(), rel=1e-8
    )


def test_no_regions_means_the_whole_map_and_a_rerun_does_nothing(spark, tmp_path):
    files = map_of(tmp_path, periods=("a",))
    assert "whole map" in ask(spark, tmp_path).note
    rows = store.read_table(tmp_path, "class_areas").to_pylist()
    assert {(r["region_id"], r["level"]) for r in rows} == {("map", "map")}
    tiles = [t for path in files for t in pq.read_table(path).to_pylist()]
    classes = np.concatenate([arrays.array_from(t, "classes").ravel() for t in tiles])
    for row in rows:
        count = (classes == (255 if row["class_id"] is None else row["class_id"])).sum()
        assert row["pixels"] == (None if row["class_id"] is None else count)
        assert row["area_m2"] == pytest.approx(900 * count, rel=1e-6)
    before = (store.table_folder(tmp_path, "class_areas") / "part-0.parquet").stat().st_mtime_ns

    def no_session() -> Any:
        raise AssertionError("Spark was started")

    run = Config(
        name="r",
        scenes=(),
        bands=("red",),
        legend={c.id: ClassConf(c.name, c.colour) for c in LEGEND.classes},
    )
    again = stats(StageContext(run, tmp_path, Selection(), no_session))
    assert (again.skipped, again.done) == (1, 0)
    assert (
        store.table_folder(tmp_path, "class_areas") / "part-0.parquet"
    ).stat().st_mtime_ns == before


def test_pixels_of_an_inner_tile_are_not_read(spark, tmp_path):
    files = map_of(tmp_path, periods=("a",))
    file = write(
        tmp_path / "parks.gpkg",
        [outline(TILING.grid(0, 0)).buffer(300)],
        "EPSG:6933",
        id=["a"],
    )
    ask(spark, tmp_path, file)
    whole = store.read_table(tmp_path, "class_areas")
    column = next(
        c
        for c in map(pq.ParquetFile(files[0]).metadata.row_group(0).column, range(60))
        if c.path_in_schema == "classes"
    )
    with open(files[0], "r+b") as damaged:
        damaged.seek(column.dictionary_page_offset or column.data_page_offset)
        damaged.write(b"\xff" * column.total_compressed_size)
    with pytest.raises(OSError, match=r"."):
        pq.ParquetFile(files[0]).read_row_group(0, ["classes"])
    (store.table_folder(tmp_path, "class_areas") / "part-0.parquet").unlink()
    ask(spark, tmp_path, file)
    assert store.read_table(tmp_path, "class_areas").equals(whole)


def test_a_tile_that_is_there_twice_fails_the_stage(spark, tmp_path):
    map_of(tmp_path, periods=("a",))
    tile = random_tile(np.random.default_rng(2), TILING.grid(1, 1), "other/1_1", "a")
    path = write_block(store.table_folder(tmp_path, "predictions"), [tile], "a.1_1.f")
    ledger.append_ledger(
        tmp_path,
        [ledger.LedgerRow("predict", "a/other/1_1", "x", path=str(path.relative_to(tmp_path)))],
    )
    file = write(tmp_path / "parks.gpkg", [park()], "EPSG:6933", id=["twice"])
    with pytest.raises(InputError, match=r"do not add up[\s\S]*'twice', period a"):
        ask(spark, tmp_path, file)
    assert store.read_table(tmp_path, "class_areas").num_rows == 0
    with pytest.raises(InputError, match="do not add up"):
        ask(spark, tmp_path)


def test_areas_of_cells_are_those_of_the_map_and_of_a_region_that_is_cells(spark, tmp_path):
    files = map_of(tmp_path)
    cells = parse_cells("h3:8").meeting(
        reproject.to_degrees(park(size=1000.0), "EPSG:6933", "park")
    )
    region = shapely.union_all(list(cells.values()))
    file = write(tmp_path / "cells.gpkg", [region], "EPSG:4326", id=["cells"])
    assert ask(spark, tmp_path, file, grid="h3:8").done == 1
    by_cell = store.read_table(tmp_path, "cell_areas").to_pandas()
    assert by_cell.cell_id.is_monotonic_increasing

    expected: Counter = Counter()
    for path in files:
        for tile in pq.read_table(path).to_pylist():
            classes = arrays.array_from(tile, "classes")
            for name, class_id in {**NAMES, "unobserved": 255}.items():
                expected[tile["period"], name] += (classes == class_id).sum() * 900.0
    sums = by_cell.groupby(["period", "class_name"]).area_m2.sum().to_dict()
    assert sums == pytest.approx(expected, rel=1e-9)

    of_region = store.read_table(tmp_path, "class_areas").to_pandas()
    assert (of_region.observed_share > 0.8).all()
    keys = ["period", "class_id"]
    found = by_cell[by_cell.cell_id.isin(cells)].groupby(keys).area_m2.sum().to_dict()
    assert found == pytest.approx(of_region.groupby(keys).area_m2.sum().to_dict(), rel=1e-9)

    assert ask(spark, tmp_path, file).done == 1
    assert store.read_table(tmp_path, "cell_areas").num_rows == 0


def test_no_predictions(spark, tmp_path):
    with pytest.raises(InputError, match="lulc predict"):
        ask(spark, tmp_path)


def test_transitions_are_of_rasters_of_the_present_predictions(spark, tmp_path):
    tiling = Tiling("6933-30m-64", "EPSG:6933", 30.0, 64)
    map_of(tmp_path, tiling)
    grid = Grid(tiling.crs, tiling.grid(0, 0).transform, 256, 256)
    ground = park(y=-3800.0)
    region = write(tmp_path / "park.gpkg", [ground], "EPSG:6933")
    legend = {c.id: ClassConf(c.name, c.colour) for c in LEGEND.classes}
    run = Config(
        name="r",
        scenes=(),
        bands=("red",),
        legend=legend,
        regions=(region,),
        periods=(Period("a"), Period("b")),
        tiling=TilingConf("EPSG:6933", 30.0, 64, block=2),
    )
    context = StageContext(run, tmp_path, Selection(), lambda: spark)

    def transitions() -> list[dict[str, Any]]:
        stats(context)
        return store.read_table(tmp_path, "transitions").to_pylist()

    ledger.append_ledger(tmp_path, [ledger.LedgerRow("predict", ledger.STAGE_KEY, "p1")])
    assert transitions() == []  # there are no rasters
    assert rasters(context).done == 2
    made = transitions()
    # Sealed again, as after a run of some tiles: the predictions are the same.
    ledger.append_ledger(tmp_path, [ledger.LedgerRow("predict", ledger.STAGE_KEY, "p1")])
    assert rasters(context).done == 0
    (store.table_folder(tmp_path, "class_areas") / "part-0.parquet").unlink()
    assert transitions() == made
    # A map with a hole would have fewer changes, and nothing would say so.
    lost = tmp_path / "rasters/b/0_0/r_0_0.tif"
    moved = lost.rename(tmp_path / "moved.tif")
    with pytest.raises(InputError, match=r"gone, such as rasters/b/0_0/r_0_0.tif: run `lulc ras"):
        transitions()
    moved.rename(lost)
    changed = next(iter(ledger.read_done(tmp_path, "predict").values()))
    ledger.append_ledger(tmp_path, [replace(changed, fingerprint="changed")])
    assert transitions() == []  # the rasters are older than what was predicted
    rasters(context)
    layers = {}
    for period in "ab":
        with rasterio.open(tmp_path / f"rasters/{period}/0_0/r_0_0.tif") as raster:
            layers[period] = raster.read(1)
    found = {(r["from_id"], r["to_id"]): r["area_m2"] for r in transitions()}
    assert {(r["period_from"], r["period_to"]) for r in transitions()} == {("a", "b")}
    shares = fractions(ground, grid)
    for i in LEGEND.ids:
        for j in LEGEND.ids:
            expected = shares[(layers["a"] == i) & (layers["b"] == j)].sum() * 900
            assert found[i, j] == pytest.approx(expected, rel=1e-6)

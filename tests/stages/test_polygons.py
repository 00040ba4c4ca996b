"""The polygons stage on Spark: a coverage of the map whose sums are the areas of classes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely

from lulc.chips.tiling import make_tiling
from lulc.config import ClassConf, Config, Period, PublishConf, RasterConf, TilingConf
from lulc.errors import InputError, UsageError
from lulc.legend import NODATA
from lulc.runfile import parse_run
from lulc.spark.context import StageContext
from lulc.spark.polygons import write_polygons
from lulc.spark.queries import sql
from lulc.spark.stages.polygons import polygons
from lulc.spark.stages.publish import publish
from lulc.spark.stages.rasters import own_maps, rasters
from lulc.spark.stages.stats import stats
from lulc.stages import Selection, stages_of
from lulc.stats.class_rasters import scan_rasters
from lulc.stats.polygons import make_lattices
from lulc.tables import store
from tests.helpers.synthetic_predictions import LEGEND
from tests.stages.test_stats import map_of
from tests.stats.test_polygons import write_raster
from tests.tables.test_geoparquet import failures

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUN = Config(
    name="r",
    scenes=(),
    bands=("red",),
    legend={c.id: ClassConf(c.name, c.colour) for c in LEGEND.classes},
    tiling=TilingConf(crs="EPSG:6933", resolution=30.0, size=64, block=2),
    periods=(Period("a"), Period("b")),
    rasters=RasterConf(group=2, polygons=True),
)


def test_polygons_are_the_map_of_a_run(spark: SparkSession, tmp_path: Path) -> None:
    out, web = tmp_path / "out", tmp_path / "web"
    config = replace(RUN, publish=PublishConf(tiles=str(web)))
    context = StageContext(config, out, Selection(), lambda: spark)
    with pytest.raises(InputError, match="lulc rasters"):
        polygons(context)
    map_of(out, make_tiling(config))
    rasters(context)
    result = polygons(context)
    assert result.done == 1
    assert polygons(context).skipped == 1

    # Its sums are the areas of classes, and it is the map.
    stats(context)
    of_map = store.read_table(out, "class_areas").to_pandas().dropna(subset="class_id")
    (path,) = (out / "tables" / "polygons").iterdir()
    assert failures(path) == []
    features = geopandas.read_parquet(path)
    assert features.crs == "EPSG:6933"
    assert result.note == f"{len(features):,} polygons"
    keys = ["period", "class_id", "class_name"]
    sums, expected = (
        rows.groupby(keys)[["pixels", "area_m2"]].sum() for rows in (features, of_map)
    )
    np.testing.assert_allclose(sums, expected, rtol=1e-9)
    weighted = features.assign(confidence=features.area_m2 * features.mean_confidence)
    means = weighted.groupby(keys).confidence.sum() / sums.area_m2
    np.testing.assert_allclose(means, of_map.groupby(keys).mean_confidence.sum(), rtol=1e-9)
    for period, of_period in features.groupby("period"):
        shapes = of_period.geometry.to_numpy()
        assert shapely.is_valid(shapes).all()
        assert shapely.coverage_is_valid(shapes)
        area = shapely.union_all(shapes).area
        assert area == pytest.approx(expected.loc[period].area_m2.sum(), rel=1e-9)
        for file_path in (out / "rasters" / period).rglob("*.tif"):
            with rasterio.open(file_path) as file:
                burnt = rasterio.features.rasterize(
                    zip(shapes, of_period.class_id, strict=True),
                    file.shape,
                    fill=NODATA,
                    transform=file.transform,
                    dtype="uint8",
                )
                assert (burnt == file.read(1)).all()

    check_readers(spark, out, path, features)

    # Cut into other blocks they are the same.
    maps = scan_rasters(own_maps(context, 1), legend={c.id: c.name for c in LEGEND.classes})
    before = store.read_table(out, "polygons").drop_columns(["mean_confidence"])
    write = partial(write_polygons, context, make_lattices(maps), dict(maps.names), "f", 50)
    assert write() == len(features)
    after = store.read_table(out, "polygons")
    assert after["mean_confidence"].null_count == len(features)
    assert after.drop_columns(["mean_confidence", "area_m2"]).equals(before.drop_columns("area_m2"))
    np.testing.assert_allclose(after["area_m2"], before["area_m2"], rtol=1e-9)

    check_resumed(out, path, write)

    # They are published as vector tiles beside the maps.
    publish(context)
    tiles = pyogrio.read_dataframe(web / "polygons-a.pmtiles")
    assert set(tiles.class_name) == {"zero", "one", "two"}
    assert publish(context).done == 0


def check_resumed(out: Path, path: Path, write: Callable[[], int]) -> None:
    """What blocks of a killed run kept is taken, and what it left half written is removed."""
    before = store.read_table(out, "polygons")
    kept = sorted((out / "unfinished" / "polygons").rglob("*.parquet"))
    assert len(kept) > 2
    stamps = {file: file.stat().st_mtime_ns for file in kept}
    for file in kept[::2]:
        file.unlink()
    left = [path.with_name(f"part-{number}.parquet") for number in (1, 17)]
    left.append(path.with_name(f".{'0f' * 16}.parquet"))
    for file in left:
        shutil.copy(path, file)
    assert write() == len(before)
    assert store.read_table(out, "polygons").equals(before)
    assert not any(file.exists() for file in left)
    assert [file for file in kept if file.stat().st_mtime_ns == stamps[file]] == kept[1::2]


def check_readers(
    spark: SparkSession, out: Path, path: Path, features: geopandas.GeoDataFrame
) -> None:
    package = {
        period: geopandas.read_file(out / "polygons.gpkg", layer=period) for period in ("a", "b")
    }
    for period, layer in package.items():
        of_period = features[features.period == period].drop(
            columns=["period", "bbox"], errors="ignore"
        )
        assert layer.crs == "EPSG:6933"
        assert layer.geometry.geom_equals_exact(of_period.geometry.reset_index(drop=True), 0).all()
        assert layer.area_m2.tolist() == of_period.area_m2.tolist()
    found = duckdb.execute(f"SELECT count(*), sum(area_m2) FROM '{path}'").fetchone()
    assert found == (len(features), pytest.approx(features.area_m2.sum()))
    sql.make_views(spark, out)
    query = "SELECT period, sum(ST_Area(geometry)) AS m2 FROM polygons GROUP BY 1 ORDER BY 1"
    by_period = [row.m2 for row in spark.sql(query).collect()]
    assert by_period == pytest.approx(features.groupby("period").area_m2.sum().tolist())


def test_polygons_of_maps_made_elsewhere(spark: SparkSession, tmp_path: Path) -> None:
    ids = np.full((40, 30), 10, np.uint8)
    ids[5:20, 5:20], ids[30:, 20:] = 80, NODATA
    write_raster(tmp_path / "a.tif", ids)
    write_raster(tmp_path / "b.tif", np.full((3, 3), NODATA, np.uint8))
    run = {
        "name": "m",
        "maps": [{"period": name, "path": f"{name}.tif"} for name in ("a", "b")],
        "regions": [{"path": "r.gpkg"}],
        "rasters": {"polygons": True},
    }
    config = parse_run(run, tmp_path)
    assert stages_of(config) == ("polygons", "stats")
    polygons(StageContext(config, tmp_path / "out", Selection(), lambda: spark))
    table = store.read_table(tmp_path / "out", "polygons")
    assert table["class_id"].to_pylist() == [10, 80]
    assert table["pixels"].to_pylist() == [40 * 30 - 225 - 100, 225]
    assert table["mean_confidence"].null_count == 2
    layers = pyogrio.list_layers(tmp_path / "out" / "polygons.gpkg")
    assert layers.tolist() == [["a", "Polygon"], ["b", "Polygon"]]
    write_raster(tmp_path / "a.tif", np.full((3, 3), NODATA, np.uint8))
    polygons(StageContext(config, tmp_path / "out", Selection(), lambda: spark))
    assert store.read_table(tmp_path / "out", "polygons").num_rows == 0


def test_polygons_are_asked_for_and_of_class_maps(tmp_path: Path) -> None:
    context = StageContext(
        replace(RUN, rasters=RasterConf()),
        tmp_path,
        Selection(),
        lambda: pytest.fail("Spark is not needed"),
    )
    with pytest.raises(UsageError, match=r"polygons: true"):
        polygons(context)
    with pytest.raises(UsageError, match="not for task detect"):
        stages_of(replace(RUN, task="detect"))

"""zonal: areas by class of zones of a COG, against exactextract, rasterstats and Sedona."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from pyspark.sql.functions import expr
from rasterio.shutil import copy
from rasterio.windows import Window

from lulc.config import MapFiles, SessionConf
from lulc.geo.coverage import count_runs, find_runs
from lulc.geo.grid import Grid
from lulc.geo.reproject import to_degrees
from lulc.spark import session
from lulc.stats import class_rasters
from lulc.stats.regions import Region
from lulc.tables import arrays

WINDOW = 2048


def measure(quick: bool) -> dict[str, float]:
    """Ratios by name.

    zonal: our pixels a CPU-second ÷ exactextract's (its unique and frac), one thread each, equal to
    1e-4 pixels per zone and class; zonal.many: the same with 20,000 zones.
    zonal.rasterstats: ÷ rasterstats' counts by class of whole pixels.
    zonal.sedona: ÷ RS_ZonalStats' count of all classes together, on one core and by the clock, both
    of a smaller map; zonal.sedona.lost: the share of the map's pixels that it leaves out.
    zonal.next: CPU time of a second year's map with cached intersections ÷ that of the first; both
    include reading.
    """
    size, zones, many, rounds = (2048, 100, 1000, 2) if quick else (10240, 500, 20_000, 3)
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "classes.tif", Path(folder) / "small.tif"
        _write(path, size)
        _write(small, 2048, "EPSG:32633")  # Sedona's reader refuses EPSG:6933
        shapes, few = _partition(size, zones), _partition(2048, 100)
        _count(path, shapes[:1])  # compiles
        figures = {
            "zonal": _against(path, shapes, rounds),
            "zonal.many": _against(path, _partition(size, many), 1),
        }
        figures["zonal.next"] = _next_year(path, shapes, rounds)
        own = statistics.median(_spent(partial(_count, small, few))[0] for _ in range(3))
        figures["zonal.rasterstats"] = _spent(partial(_count_rasterstats, small, few))[0] / own
        seconds, lost = _time_sedona(small, few)
        figures |= {"zonal.sedona": seconds / own, "zonal.sedona.lost": lost}
    return figures


def _against(path: Path, shapes: np.ndarray, rounds: int) -> float:
    ours, theirs = [], []
    for _ in range(rounds):
        seconds, found = _spent(partial(_count, path, shapes))
        ours.append(seconds)
        seconds, expected = _spent(partial(_count_bare, path, shapes))
        theirs.append(seconds)
    off = np.abs(found - expected).max()
    assert off <= 1e-4, f"{off} pixels off"
    with rasterio.open(path) as file:
        assert abs(found.sum() - file.width * file.height) < 1e-3
    return statistics.median(theirs) / statistics.median(ours)


def _spent(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def _write(path: Path, size: int, crs: str = "EPSG:6933") -> None:
    # Nine classes in patches of some pixels, as maps have them.
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 9, (size // 8, size // 8), np.uint8)
    classes = np.kron(coarse, np.ones((8, 8), np.uint8))
    classes = np.where(rng.random((size, size)) < 0.05, np.roll(classes, (3, 5), (0, 1)), classes)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": size,
        "width": size,
        "tiled": True,
        "crs": crs,
    }
    plain = path.with_name("plain.tif")
    with rasterio.open(
        plain, "w", transform=(10.0, 0.0, 0.0, 0.0, -10.0, 10.0 * size), **profile
    ) as file:
        file.write(classes, 1)
    copy(plain, path, driver="COG", compress="DEFLATE", blocksize=512, overviews="NONE")


def _partition(size: int, count: int) -> np.ndarray:
    # Voronoi cells whose sides wind, so that they have the vertices that borders have.
    rng = np.random.default_rng(1)
    whole = shapely.box(0, 0, 10 * size, 10 * size)
    seeds = shapely.MultiPoint(rng.uniform(0, 10 * size, (count, 2)))
    cells = shapely.segmentize(
        shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=whole)), 100
    )

    def wind(xy: np.ndarray) -> np.ndarray:
        return xy + 150 * np.sin(xy[:, ::-1] / 400)

    return np.array([shapely.intersection(shapely.transform(c, wind), whole) for c in cells])


def _count(path: Path, shapes: np.ndarray) -> np.ndarray:
    found, tree, areas = np.zeros((len(shapes), 256)), shapely.STRtree(shapes), np.ones((1, 1))
    with rasterio.open(path) as file:
        whole = Grid(file.crs.to_string(), tuple(file.transform[:6]), *file.shape)
        for row in range(0, file.height, WINDOW):
            for col in range(0, file.width, WINDOW):
                classes = file.read(
                    1,
                    window=Window(
                        col, row, min(WINDOW, file.width - col), min(WINDOW, file.height - row)
                    ),
                )
                grid = whole.window(row, col, *classes.shape)
                for zone in tree.query(shapely.box(*grid.bounds)):
                    found[zone] += count_runs(find_runs(shapes[zone], grid), classes, areas)[0]
    return found


def _next_year(path: Path, shapes: np.ndarray, rounds: int) -> float:
    carried = [to_degrees(shape, "EPSG:6933", "a zone") for shape in shapes]
    tree = shapely.STRtree(shapes)

    def count(kept: Path) -> None:
        sources = class_rasters.scan_rasters([MapFiles(str(path), "year")])
        for block in class_rasters.blocks(sources):
            positions = tree.query(shapely.box(*arrays.grid_from(block).bounds)).tolist()
            region_at = lambda p: Region(p, "zone", carried[p])  # noqa: E731
            class_rasters.count_map_block(block["file_name"], positions, sources, region_at, kept)

    years = [partial(count, path.with_name(f"kept{number}")) for number in range(rounds + 1)]
    spent = [(_spent(year)[0], _spent(year)[0]) for year in years][1:]  # the first warms up
    first, following = (statistics.median(times) for times in zip(*spent, strict=True))
    return following / first


def _count_bare(path: Path, shapes: np.ndarray) -> np.ndarray:
    from exactextract import exact_extract
    from exactextract.feature import JSONFeatureSource
    from exactextract.raster import RasterioRasterSource

    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(s)}
        for s in shapes
    ]
    counted = np.zeros((len(shapes), 256))
    with rasterio.open(path) as file:
        rows = exact_extract(
            RasterioRasterSource(file), JSONFeatureSource(features), ["unique", "frac", "count"]
        )
        for counts, row in zip(counted, rows, strict=True):
            found = row["properties"]
            counts[np.asarray(found["unique"], int)] = np.asarray(found["frac"]) * found["count"]
    return counted


def _count_rasterstats(path: Path, shapes: np.ndarray) -> None:
    from rasterstats import zonal_stats

    counts = zonal_stats(list(shapes), str(path), categorical=True, nodata=255)
    assert sum(sum(found.values()) for found in counts) == pytest.approx(2048 * 2048, rel=0.01)


def _time_sedona(path: Path, shapes: np.ndarray) -> tuple[float, float]:
    # Seconds, and the share of the map's pixels that no zone counted though the zones partition it.
    spark = session.start_session(SessionConf(master="local[1]", memory="4g"))
    try:
        tiles = (
            spark.read.format("binaryFile")
            .load(str(path))
            .selectExpr("RS_TileExplode(RS_FromGeoTiff(content), 512, 512)")
        )
        tiles = tiles.toDF("x", "y", "tile").repartition(4).persist()
        rows = [(number, shapely.to_wkb(shape)) for number, shape in enumerate(shapes)]
        zones = spark.createDataFrame(rows, "zone int, shape binary")
        zones = zones.selectExpr(
            "zone", "ST_SetSRID(ST_GeomFromWKB(shape), 32633) AS shape"
        ).persist()
        pairs = tiles.join(zones, expr("RS_Intersects(tile, shape)"))
        counted = pairs.selectExpr(
            "zone", "RS_ZonalStats(tile, shape, 1, 'count', false, false, true) AS pixels"
        )
        for _ in range(2):  # the first warms up
            start = time.perf_counter()
            found = counted.groupBy("zone").agg({"pixels": "sum"}).toPandas()
            spent = time.perf_counter() - start
        return spent, 1 - found["sum(pixels)"].sum() / 2048**2
    finally:
        spark.stop()


if __name__ == "__main__":
    print(measure(quick=True))

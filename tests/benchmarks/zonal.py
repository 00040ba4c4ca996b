"""zonal: areas by class of zones that partition a COG, reading included, against exactextract's unique and frac."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import shapely
from rasterio.shutil import copy
from rasterio.windows import Window

from lulc import classmaps, pixels
from lulc.conf import MapFiles
from lulc.coverage import count_runs, find_runs
from lulc.geo import Grid
from lulc.regions import to_degrees

WINDOW = 2048


def measure(quick: bool) -> dict[str, float]:
    """Ratios by name.

    zonal: our pixels a CPU-second ÷ exactextract's, one thread each, equal to 1e-4 pixels per zone and class. zonal.next: CPU
    time of a second year's map, the zones' intersections being kept, ÷ that of the first; zones carried and maps read.
    """
    size, zones, rounds = (2048, 100, 2) if quick else (10240, 500, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classes.tif"
        _write(path, size)
        shapes = _partition(size, zones)
        _count(path, shapes[:1])  # compiles
        ours, theirs = [], []
        for _ in range(rounds):
            start = time.process_time()
            found = _count(path, shapes)
            ours.append(time.process_time() - start)
            start = time.process_time()
            expected = _count_bare(path, shapes)
            theirs.append(time.process_time() - start)
        following = _next_year(path, shapes)
    off = np.abs(found - expected).max()
    assert off <= 1e-4, f"{off} pixels off"
    assert abs(found.sum() - size * size) < 1e-3
    return {"zonal": statistics.median(theirs) / statistics.median(ours), "zonal.next": following}


def _write(path: Path, size: int) -> None:
    # Nine classes in patches of some pixels, as maps have them.
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 9, (size // 8, size // 8), np.uint8)
    classes = np.kron(coarse, np.ones((8, 8), np.uint8))
    classes = np.where(rng.random((size, size)) < 0.05, np.roll(classes, (3, 5), (0, 1)), classes)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": size, "width": size, "tiled": True, "crs": "EPSG:6933"}
    plain = path.with_name("plain.tif")
    with rasterio.open(plain, "w", transform=(10.0, 0.0, 0.0, 0.0, -10.0, 10.0 * size), **profile) as file:
        file.write(classes, 1)
    copy(plain, path, driver="COG", compress="DEFLATE", blocksize=512, overviews="NONE")


def _partition(size: int, count: int) -> np.ndarray:
    # Voronoi cells whose sides wind, so that they have the vertices that borders have.
    rng = np.random.default_rng(1)
    whole = shapely.box(0, 0, 10 * size, 10 * size)
    seeds = shapely.MultiPoint(rng.uniform(0, 10 * size, (count, 2)))
    cells = shapely.segmentize(shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=whole)), 100)

    def wind(xy: np.ndarray) -> np.ndarray:
        return xy + 150 * np.sin(xy[:, ::-1] / 400)

    return np.array([shapely.intersection(shapely.transform(c, wind), whole) for c in cells])


def _count(path: Path, shapes: np.ndarray) -> np.ndarray:
    found, tree, areas = np.zeros((len(shapes), 256)), shapely.STRtree(shapes), np.ones((1, 1))
    with rasterio.open(path) as file:
        whole = Grid(file.crs.to_string(), tuple(file.transform[:6]), *file.shape)
        for row in range(0, file.height, WINDOW):
            for col in range(0, file.width, WINDOW):
                classes = file.read(1, window=Window(col, row, min(WINDOW, file.width - col), min(WINDOW, file.height - row)))
                grid = whole.window(row, col, *classes.shape)
                for zone in tree.query(shapely.box(*grid.bounds)):
                    found[zone] += count_runs(find_runs(shapes[zone], grid), classes, areas)[0]
    return found


def _next_year(path: Path, shapes: np.ndarray) -> float:
    carried = [to_degrees(shape, "EPSG:6933", "a zone") for shape in shapes]
    tree, spent = shapely.STRtree(shapes), []
    for folder in ("warm", "warm", "kept", "kept"):
        sources = classmaps.survey([MapFiles(str(path), "year")])
        start = time.process_time()
        for block in classmaps.blocks(sources):
            positions = tree.query(shapely.box(*pixels.grid_from(block).bounds)).tolist()
            regions = lambda p: ("zone", carried[p])  # noqa: E731
            classmaps.count_block(block["file_name"], positions, sources, regions, path.with_name(folder))
        spent.append(time.process_time() - start)
    return spent[3] / spent[2]


def _count_bare(path: Path, shapes: np.ndarray) -> np.ndarray:
    from exactextract import exact_extract
    from exactextract.feature import JSONFeatureSource
    from exactextract.raster import RasterioRasterSource

    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(s)} for s in shapes]
    counted = np.zeros((len(shapes), 256))
    with rasterio.open(path) as file:
        rows = exact_extract(RasterioRasterSource(file), JSONFeatureSource(features), ["unique", "frac", "count"])
        for counts, row in zip(counted, rows, strict=True):
            found = row["properties"]
            counts[np.asarray(found["unique"], int)] = np.asarray(found["frac"]) * found["count"]
    return counted


if __name__ == "__main__":
    print(measure(quick=True))

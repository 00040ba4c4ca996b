"""How fast a class raster is written, against GDAL's COG driver with DEFLATE, one thread each."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile

from lulc.geo.grid import Grid
from lulc.legend import COMMON, NODATA
from lulc.raster import cog


def measure(quick: bool) -> dict[str, float]:
    """cog.write of PERFORMANCE.md, and our size ÷ the reference's; the pixels are checked equal."""
    side = 4096 if quick else 10980
    classes = _scene(side)
    grid = Grid("EPSG:6933", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), side, side)
    cog.majority(classes[:4, :4], np.uint8(NODATA))  # compiled outside the measurement
    with tempfile.TemporaryDirectory() as name:
        ours, reference = Path(name) / "ours.tif", Path(name) / "reference.tif"
        times = [
            (_ours(ours, classes, grid), _reference(reference, classes, grid))
            for _ in range(3 if quick else 5)
        ]
        for path in (ours, reference):
            with rasterio.open(path) as made:
                if not np.array_equal(made.read(1), classes):
                    raise AssertionError(f"{path.name} does not hold the pixels put in")
        size = ours.stat().st_size / reference.stat().st_size
    return {
        "cog.write": statistics.median(b for _, b in times)
        / statistics.median(a for a, _ in times),
        "cog.size": size,
    }


def _scene(side: int) -> np.ndarray:
    """Nine classes in fields of many sizes, with pixel-wise speckle and an empty corner."""
    rng = np.random.default_rng(0)
    score = np.zeros((9, side // 4 + 1, side // 4 + 1), np.float32)
    for step in (64, 16, 4):
        coarse = rng.normal(0, step, (9, side // 4 // step + 2, side // 4 // step + 2)).astype(
            np.float32
        )
        score += coarse.repeat(step, 1).repeat(step, 2)[:, : score.shape[1], : score.shape[2]]
    classes = np.ascontiguousarray(
        score.argmax(0).astype(np.uint8).repeat(4, 0).repeat(4, 1)[:side, :side]
    )
    speckle = rng.random(classes.shape) < 0.02
    classes[speckle] = rng.integers(0, 9, np.count_nonzero(speckle))
    classes[: side // 8, : side // 3] = NODATA
    return classes


def _ours(path: Path, classes: np.ndarray, grid: Grid) -> float:
    start = time.perf_counter()
    cog.write_cog(path, grid, cog.pyramid(classes), {}, COMMON)
    return time.perf_counter() - start


def _reference(path: Path, classes: np.ndarray, grid: Grid) -> float:
    start = time.perf_counter()
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "nodata": NODATA,
        "crs": grid.crs,
        "transform": grid.affine,
    }
    with rasterio.Env(GDAL_NUM_THREADS="1"), MemoryFile() as file:
        with file.open(
            **profile,
            height=grid.height,
            width=grid.width,
            tiled=True,
            blockxsize=512,
            blockysize=512,
        ) as target:
            target.write(classes, 1)
            target.write_colormap(1, COMMON.palette())
        rasterio.shutil.copy(
            file.name,
            path,
            driver="COG",
            COMPRESS="DEFLATE",
            BLOCKSIZE=512,
            OVERVIEW_RESAMPLING="MODE",
        )
    return time.perf_counter() - start

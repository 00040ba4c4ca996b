"""tile.*: the tiling job against bare GDAL loops; exactness of the warp; size of the chips."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject
from rasterio.windows import Window

from lulc import config, runfile
from lulc.bands import Band
from lulc.chips import chip
from lulc.chips.chip import choose_encoding
from lulc.chips.cut import cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.chips.tiling import make_tiling
from lulc.geo.grid import Grid, footprint, project, transformer
from lulc.raster import reader
from lulc.sources.scene import Scene, scenes_to_table
from lulc.tables import ledger, store

BANDS = ("blue", "green", "red", "nir")
CRS = "EPSG:3035"
ZION = Path(__file__).resolve().parents[3] / "shared" / "data" / "zion"


def measure(quick: bool) -> dict[str, float]:
    """The four figures of PERFORMANCE.md, and MB/s of raw pixels that one core writes as chips."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = make_scene(folder, 5120 if quick else 10980)
        naive, best = _rates(folder, scene, quick)
        ratio, speed = _bytes(folder, scene)
        return {
            "tile.naive": naive,
            "tile.best": best,
            "tile.exact": _exact(scene),
            "tile.bytes": ratio,
            "tile.bytes.MB/s": speed,
        }


def make_scene(folder: Path, size: int) -> Scene:
    """Write a scene of texture that compresses as real imagery does: one COG of four bands.

    There is no data along a slanting edge.
    """
    grid = Grid("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5300000.0), size, size)
    rng = np.random.default_rng(0)
    coarse = rng.normal(0, 400, (len(BANDS), size // 32 + 1, size // 32 + 1))
    plain, path = folder / "plain.tif", folder / "scene.tif"
    profile = {
        "driver": "GTiff",
        "count": len(BANDS),
        "dtype": "uint16",
        "height": size,
        "width": size,
        "nodata": 0,
        "tiled": True,
    }
    with rasterio.open(
        plain, "w", **profile, crs=grid.crs, transform=grid.affine, interleave="pixel"
    ) as file:
        for row in range(0, size, 512):
            rows = min(512, size - row)
            y, x = np.arange(row, row + rows)[:, None], np.arange(size)[None]
            for band in range(len(BANDS)):
                block = 1500 + coarse[band, y // 32, x // 32] + rng.normal(0, 25, (rows, size))
                block[x < size // 20 - y // 20] = 0
                file.write(
                    np.clip(block, 0, 9000).astype(np.uint16),
                    band + 1,
                    window=Window(0, row, size, rows),
                )
    copy(
        plain,
        path,
        driver="COG",
        compress="DEFLATE",
        blocksize=512,
        overviews="NONE",
        num_threads="2",
    )
    plain.unlink()
    bands = tuple(Band(name, str(path), i, nodata=0.0) for i, name in enumerate(BANDS, 1))
    return Scene(
        "s",
        "geotiff",
        datetime(2024, 6, 1, tzinfo=UTC),
        grid.crs,
        shapely.to_wkb(footprint(grid)),
        bands,
        gsd_m=10.0,
    )


def _run(folder: Path, periods: int) -> config.Config:
    months = [
        {"name": f"m{n}", "start": f"2024-{n:02}-01", "end": f"2024-{n:02}-28"}
        for n in range(1, periods + 1)
    ]
    raw = {
        "name": "b",
        "scenes": [{"path": "x"}],
        "bands": BANDS,
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "periods": months,
    }
    return runfile.parse_run(
        raw | {"tiling": {"crs": CRS, "resolution": 10, "size": 512, "halo": 0, "block": 4}}, folder
    )


def _rates(folder: Path, scene: Scene, quick: bool) -> tuple[float, float]:
    # The job's MPix/s over those of two bare processes, each on
    # the same COG and grid, interleaved; medians.
    from lulc.spark import session
    from lulc.spark.context import StageContext
    from lulc.spark.stages.tile import tile
    from lulc.stages import Selection

    periods, rounds = (1, 1) if quick else (4, 3)
    out, run = folder / "out", _run(folder, periods)
    found = [
        replace(scene, scene_id=f"s{n}", datetime=datetime(2024, n, 1, tzinfo=UTC))
        for n in range(1, periods + 1)
    ]
    store.write_table(out, "scenes", scenes_to_table(found))
    spark = session.start_session(config.SessionConf(master="local[2]", memory="1g"))
    context = StageContext(run, out, Selection(), lambda: spark)
    tile(replace(context, config=replace(run, periods=run.periods[:1])))
    windows = inner_windows(scene)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {"naive": [], "best": []}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for round_ in range(rounds):
            for n, one in enumerate(found):
                found[n] = replace(one, fingerprint=str(round_))
            store.write_table(out, "scenes", scenes_to_table(found))
            start = time.perf_counter()
            assert tile(context).done
            seconds = time.perf_counter() - start
            rows = [r for r in ledger.read_latest(out, "tile").values() if r.path]
            ours.append(
                sum(pq.ParquetFile(out / str(r.path)).num_row_groups for r in rows)
                * 512**2
                / seconds
                / 1e6
            )
            for name, step in (("naive", 256), ("best", 2048)):
                share = windows[: 1 if quick or name == "naive" else None]
                asked = [
                    (
                        scene.bands[0].href,
                        share[i::2] or share,
                        step,
                        str(folder / f"{name}{i}.parquet"),
                    )
                    for i in range(2)
                ]
                list(pool.map(warp_bare, [(*a[:1], a[1][:1], *a[2:]) for a in asked]))  # warm
                start = time.perf_counter()
                done = sum(pool.map(warp_bare, asked))
                theirs[name].append(done / (time.perf_counter() - start) / 1e6)
    spark.stop()
    ratios = (
        statistics.median(ours) / statistics.median(theirs[name]) for name in ("naive", "best")
    )
    print(json.dumps({"ours MPix/s": ours, **{f"{n} MPix/s": v for n, v in theirs.items()}}))
    naive, best = ratios
    return naive, best


def inner_windows(scene: Scene, side: int = 2048) -> list[tuple[int, int]]:
    """Return the blocks of the tiling that lie wholly within a scene.

    Args:
        scene: of 10 m.
        side: of a block, in pixels.

    Returns:
        (col, row) of each in pixels from the tiling's corner.
    """
    grid = reader.grid_of(scene.bands[0].href)
    inner = project(shapely.box(*grid.pad(-64).bounds), grid.crs, CRS)
    xmin, ymin, xmax, ymax = (int(n // (10 * side)) for n in inner.bounds)
    cells = [
        (c, -r - 1, shapely.box(c, r, c + 1, r + 1))
        for c in range(xmin, xmax + 1)
        for r in range(ymin, ymax + 1)
    ]
    scaled = shapely.transform(inner, lambda xy: xy / (10 * side))
    return [(c * side, r * side) for c, r, box in cells if scaled.contains(box)]


def warp_bare(asked: tuple[str, list[tuple[int, int]], int, str]) -> int:
    """Pixels warped by one bare process with WarpedVRT, each 256-pixel chip a Parquet row group.

    Windows of `step` pixels with nodata: step 256 opens the file for every chip, as obvious code
    does; otherwise one VRT stays open.
    """
    href, windows, step, out = asked
    schema = pa.schema([("pixels", pa.binary())])
    chips_ = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:

        def vrt(col: int, row: int, side: int) -> Any:
            place = {
                "transform": rasterio.Affine(10, 0, col * 10, 0, -10, -row * 10),
                "height": side,
                "width": side,
            }
            return WarpedVRT(
                rasterio.open(href), crs=CRS, resampling=Resampling.bilinear, nodata=0, **place
            )

        top, left = min(r for _, r in windows), min(c for c, _ in windows)
        side = 2048 + max(max(c - left, r - top) for c, r in windows)
        whole = vrt(left, top, side)
        for col, row in windows:
            for y in range(0, 2048, step):
                for x in range(0, 2048, step):
                    if step == 256:
                        with vrt(col + x, row + y, 256) as opened:
                            block = opened.read()
                    else:
                        block = whole.read(window=Window(col + x - left, row + y - top, step, step))
                    for i in range(0, step, 256):
                        for j in range(0, step, 256):
                            data = np.ascontiguousarray(
                                block[:, i : i + 256, j : j + 256]
                            ).tobytes()
                            writer.write_table(pa.table({"pixels": [data]}, schema))
                            chips_ += 1
    return chips_ * 256**2


def _exact(scene: Scene) -> float:
    # On a real band where there is one; the scene's own texture otherwise.
    real = ZION / "landsat_b5.tif"
    href, crs, side = (
        (str(real), "EPSG:5070", 30.0) if real.exists() else (scene.bands[0].href, CRS, 10.0)
    )
    source = reader.grid_of(href)
    xmin, ymin, xmax, ymax = source.bounds
    x, y = transformer(source.crs, crs).transform((xmin + xmax) / 2, (ymin + ymax) / 2)
    grid = Grid(crs, (side, 0.0, x - side * 512, 0.0, -side, y + side * 512), 1024, 1024)
    with rasterio.open(href) as file:
        whole, nodata = file.read(1), file.nodata
    found, valid = reader.read_band(href, 1, grid, "bilinear", nodata)
    expected = np.zeros(grid.shape, whole.dtype)
    place = {
        "src_transform": source.affine,
        "src_crs": source.crs,
        "dst_transform": grid.affine,
        "dst_crs": crs,
        "tolerance": 0,
    }
    # XSCALE 1: on grids turned against each other GDAL takes pixels to shrink, and smooths.
    reproject(
        whole,
        expected,
        **place,
        XSCALE=1,
        YSCALE=1,
        resampling=Resampling.bilinear,
        src_nodata=nodata,
        dst_nodata=nodata,
    )
    both = valid & (expected != nodata)
    assert both.mean() > 0.5
    return float(np.abs(found.astype(float) - expected.astype(float))[both].max())


def _bytes(folder: Path, scene: Scene) -> tuple[float, float]:
    # The chips of one block: their raw size over the file's, and
    # MB/s of CPU time from arrays to the published file.
    run = _run(folder, 1)
    tiling = make_tiling(run)
    spec = ChipSpec(tiling, choose_encoding([scene], BANDS), 1, 0, 4)
    col, row = (n // 512 for n in inner_windows(scene)[0])
    made = cut_block([scene], spec, col, row, "m1").chips
    raw = sum(c.pixels.nbytes for c in made)
    path, seconds = folder / "bytes.parquet", []
    for _ in range(3):
        start = time.process_time()
        chip.write_chips(path, made, {})
        seconds.append(time.process_time() - start)
    return raw / path.stat().st_size, raw / statistics.median(seconds) / 1e6

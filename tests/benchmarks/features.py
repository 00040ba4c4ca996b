"""features.*: equal to numpy on every pixel of real dates and the demo's; time; memory by dates."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
import shapely

from lulc.api.config import load_config
from lulc.bands import Band
from lulc.chips import composites
from lulc.chips.blocks import make_chip_spec
from lulc.chips.cut import cut_block
from lulc.chips.features import Dates, add_features, compute_over_dates
from lulc.chips.tiling import make_tiling
from lulc.cli.demo.archive import make_archive
from lulc.config import CompositeConf, Config
from lulc.geo.grid import WGS84, footprint, project
from lulc.runfile import parse_run
from lulc.sources.registry import source_of
from lulc.sources.scene import Scene
from lulc.tables.encoding import Encoding
from tests.benchmarks._numpy_features import ENTRIES, numpy_features

BOADELLA = Path(__file__).resolve().parents[3] / "shared" / "data" / "boadella"
BANDS = ("blue", "green", "red", "nir")
RED_NIR = ("red", "nir")
ALL = [entry for group in ENTRIES.values() for entry in group]
_MANY = 100


def measure(quick: bool) -> dict[str, float]:
    """How far features are from numpy's on every pixel, and what they take.

    features.exact: of Boadella's ten dates, in steps of the whole numbers that chips keep; rounding
        is half a step. features.exact.demo: of chips of the demo archive, its clouds left out.
    features.value, features.value.demo: of chips of float32, the difference ÷ the value, or ÷ 1
        where that is less.
    features.NAME.DATES.ns: time a pixel and date, and features.NAME.DATES that ÷ the median's.
    features.memory: peak of a block of 100 dates ÷ of 10.
    """
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        images = {".demo": list(tiles_of_demo(Path(folder), quick))}
    if BOADELLA.exists():
        images[""] = [dates_of_boadella()]
    for name, places in images.items():
        steps, values = zip(*(_off_numpy(*place) for place in places), strict=True)
        figures[f"features.exact{name}"] = max(steps)
        figures[f"features.value{name}"] = max(values)
        figures[f"features.pixels{name}"] = sum(dates.valid[0].size for dates, _ in places)
    for name, ns in _times(128 if quick else 512).items():
        figures[f"features.{name}"] = ns
    few, many = (_memory(count) for count in (10, _MANY))
    return figures | {"features.memory": many / few, "features.memory.MB": many}


def config_of(entries: list[str], crs: str, bands: tuple[str, ...] = BANDS) -> Config:
    """Return a run that computes features."""
    raw = {
        "name": "b",
        "scenes": [{"path": "x"}],
        "bands": bands,
        "legend": {1: {"name": "a", "colour": "#000000"}},
        "composite": {"method": "median"},
        "periods": [{"name": "all", "start": "2020-01-01", "end": "2022-12-31"}],
        "tiling": {"crs": crs, "resolution": 10, "size": 512, "block": 2, "features": entries},
    }
    return parse_run(raw, Path("/"))


def dates_of_boadella() -> tuple[Dates, np.ndarray]:
    """Return red and nir of the ten dates, and the features (F, H, W) that chips keep of them.

    The files have no mask of clouds: what is brighter in blue than 0.2 is left out, and a tenth of
    all pixels by chance.
    """
    pixels, valid, days = [], [], []
    for path in sorted(BOADELLA.glob("*.tif")):
        with rasterio.open(path) as file:
            blue, red, nir = file.read([2, 4, 8])
        pixels.append(np.stack([red, nir]))
        valid.append((blue > 0) & (blue < 2000))
        days.append(date.fromisoformat(path.stem.split("_")[1]))
    seen = np.array(valid) & (np.random.default_rng(0).random(np.shape(valid)) < 0.9)
    bands = [Band(name, "", dtype="int16", scale=1e-4) for name in RED_NIR]
    spec = make_chip_spec(config_of(ALL, "EPSG:32631", RED_NIR), bands)
    dates = Dates(np.array(pixels), seen, RED_NIR, spec.encoding, days, 2020)
    return dates, compute_over_dates(spec.features, dates)


def tiles_of_demo(folder: Path, quick: bool) -> Iterator[tuple[Dates, np.ndarray]]:
    """Yield red and nir of the demo archive's four dates, and the features in its chips, by tile.

    Its quality band tells clouds and shadows; the dates are those of chips of single dates.
    """
    demo = make_archive(folder, shape=(512, 512)) if quick else make_archive(folder)
    single = load_config(demo.run_file, {"bands": list(RED_NIR)})
    composite = {"composite.method": "median", "tiling.features": ALL}
    config = load_config(demo.run_file, {"bands": list(RED_NIR), **composite})
    (archive,) = config.scenes
    source = source_of(archive)
    scenes = [source.read(item, archive, RED_NIR) for item in source.items(archive)]
    bands = [band for scene in scenes for band in scene.bands]
    tiling = make_tiling(config)
    outlines = [project(shapely.from_wkb(s.footprint), WGS84, tiling.crs) for s in scenes]
    for cell in tiling.cells(shapely.union_all(outlines).bounds, config.tiling.block):
        of_dates, of_features = (
            {chip.tile_id: chip for chip in cut_block(scenes, spec, *cell, "2024", (), 2024).chips}
            for spec in (make_chip_spec(single, bands), make_chip_spec(config, bands))
        )
        assert of_dates.keys() == of_features.keys()
        for tile_id, chip in of_features.items():
            dated = of_dates[tile_id]
            days = [moment.date() for moment in dated.datetimes]
            images = dated.pixels[: len(days)], dated.valid[: len(days)]
            dates = Dates(*images, RED_NIR, chip.encoding, days, 2024)
            yield dates, chip.pixels[0, len(RED_NIR) :]


def _off_numpy(dates: Dates, stored: np.ndarray) -> tuple[float, float]:
    # The worst of all pixels: in steps of what is stored, and of float32 in relation to the value.
    red, nir = (dates.values(band).reshape(len(dates.valid), -1) for band in RED_NIR)
    seen = dates.valid.reshape(red.shape)
    expected = numpy_features(red, nir, seen, dates.days, dates.first_year or 0)
    bands, any_seen = dates.encoding.bands[len(RED_NIR) :], seen.any(0)
    scales, offsets = (
        np.array(n)[len(RED_NIR) :, None] for n in (dates.encoding.scales, dates.encoding.offsets)
    )
    limits = np.iinfo(dates.encoding.dtype)
    steps = ((expected - offsets) / scales).clip(limits.min, limits.max)
    off_steps = np.abs(stored.reshape(steps.shape) - steps)[:, any_seen]
    assert not stored.reshape(steps.shape)[:, ~any_seen].any()
    scaling = dates.encoding.scales[: len(RED_NIR)], dates.encoding.offsets[: len(RED_NIR)]
    features = config_of(ALL, "EPSG:32631", RED_NIR).features
    floats = add_features(Encoding(RED_NIR, "float32", *scaling), features, (*RED_NIR, *bands))
    values = compute_over_dates(
        features, replace(dates, pixels=dates.pixels.astype(np.float32), encoding=floats)
    )
    off_values = np.abs(values.reshape(expected.shape) - expected) / np.abs(expected).clip(1)
    return float(off_steps.max(initial=0)), float(off_values.max())


def _times(side: int) -> dict[str, float]:
    # ns a pixel and date, best of three; and of the median of one band.
    rng = np.random.default_rng(0)
    encoding = Encoding(RED_NIR, "uint16", (1e-4, 1e-4), (0.0, 0.0))
    figures = {}
    for count in (10, _MANY):
        height = side * 10 // count
        pixels = rng.integers(1, 6000, (count, 2, height, side), np.uint16)
        valid = rng.random((count, height, side)) < 0.7
        days = [date(2020, 1, 1) + timedelta(10 * n) for n in range(count)]
        one = pixels[:, :1]
        conf = CompositeConf("median")
        compose = partial(composites.compose, one, valid, ("red",), encoding, conf)
        median = _ns(compose, valid.size)
        figures[f"median.{count}.ns"] = median
        for name, entries in ENTRIES.items():
            spec = make_chip_spec(
                config_of(entries, "EPSG:32631", RED_NIR),
                [Band(band, "", scale=1e-4) for band in RED_NIR],
            )
            dates = Dates(pixels, valid, RED_NIR, spec.encoding, days, 2020)
            ns = _ns(partial(compute_over_dates, spec.features, dates), valid.size)
            figures[f"{name}.{count}.ns"] = ns
            figures[f"{name}.{count}"] = ns / median
    return figures


def _ns(work: Callable[[], object], count: int) -> float:
    work()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds) / count * 1e9


def _memory(count: int) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.features", str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak_of_block(count: int) -> float:
    # MiB of a process that cuts a block with every feature from so many dates.
    config = config_of(ALL, "EPSG:32631")
    col, row = 94, -918
    grid = make_tiling(config).grid(col, row, 32, 2)
    side = grid.width
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        profile = {"driver": "GTiff", "tiled": True, "dtype": "uint16", "nodata": 0}
        with rasterio.open(
            path, "w", **profile, count=len(BANDS), height=side, width=side, crs=grid.crs,
            transform=grid.affine,
        ) as file:  # fmt: skip
            rng = np.random.default_rng(0)
            file.write(rng.integers(0, 6000, (len(BANDS), side, side), np.uint16))
        bands = tuple(
            Band(name, str(path), number, scale=1e-4, nodata=0.0)
            for number, name in enumerate(BANDS, 1)
        )
        outline = shapely.to_wkb(footprint(grid))
        scenes = [
            Scene(f"s{n}", "geotiff", datetime(2020, 1, 1, 10, tzinfo=UTC) + timedelta(7 * n),
                  grid.crs, outline, bands, gsd_m=10.0)
            for n in range(count)
        ]  # fmt: skip
        spec = make_chip_spec(config, bands)
        assert cut_block(scenes, spec, col, row, "all", (), 2020).chips
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(_peak_of_block(int(sys.argv[1])))

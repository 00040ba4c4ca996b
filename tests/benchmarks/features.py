"""features.*: equal to numpy on Boadella's ten dates; time beside the median's; memory by dates."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
import shapely

from lulc.bands import Band
from lulc.chips import composites
from lulc.chips.blocks import make_chip_spec
from lulc.chips.cut import cut_block
from lulc.chips.features import compute_over_dates
from lulc.chips.tiling import make_tiling
from lulc.config import CompositeConf, Config
from lulc.features.over_time import DETERMINED, days_of
from lulc.geo.grid import footprint
from lulc.runfile import parse_run
from lulc.sources.scene import Scene
from lulc.tables.encoding import Encoding

BOADELLA = Path(__file__).resolve().parents[3] / "shared" / "data" / "boadella"
BANDS = ("blue", "green", "red", "nir")
ENTRIES = {
    "percentiles": ["ndvi:p10", "ndvi:p50", "ndvi:p90"],
    "mad": ["ndvi:mad"],
    "harmonic": ["ndvi:harmonic:2"],
    "phenology": ["ndvi:phenology"],
}
_MANY = 100


def measure(quick: bool) -> dict[str, float]:
    """Steps off numpy; time a pixel and date over the median's of a band; memory of 100 dates."""
    figures = {}
    if BOADELLA.exists():
        figures["features.exact"] = exactness(dates_of_boadella())
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


def dates_of_boadella() -> tuple[np.ndarray, np.ndarray, list[date]]:
    """Return red and nir (10, 2, H, W) of the ten dates, which of them are valid, and the days.

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
    return np.array(pixels), seen, days


def exactness(dates: tuple[np.ndarray, np.ndarray, list[date]]) -> float:
    """Return how far stored features are from numpy's, in steps; rounding is half a step."""
    pixels, valid, days = dates
    entries = [entry for group in ENTRIES.values() for entry in group]
    config = config_of(entries, "EPSG:32631", ("red", "nir"))
    bands = [Band(name, "", dtype="int16", scale=1e-4) for name in ("red", "nir")]
    spec = make_chip_spec(config, bands)
    stored = compute_over_dates(
        spec.features, pixels, valid, ("red", "nir"), spec.encoding, days, 2020
    )
    red, nir = np.moveaxis(pixels, 1, 0) * 1e-4
    with np.errstate(all="ignore"):
        ndvi = (nir - red) / (nir + red)
    worst = 0.0
    for row in range(valid.shape[1]):
        expected = np.array([
            numpy_of(ndvi[:, row, col], valid[:, row, col], days)
            for col in range(valid.shape[2])
        ]).T  # fmt: skip
        for number, feature in enumerate(spec.features):
            at = spec.encoding.bands.index(feature.name)
            scale, offset = spec.encoding.scales[at], spec.encoding.offsets[at]
            limits = np.iinfo(spec.encoding.dtype)
            steps = ((expected[number] - offset) / scale).clip(limits.min, limits.max)
            off = np.abs(stored[number, row] - steps)[valid[:, row].any(0)]
            worst = max(worst, float(off.max(initial=0)))
    return worst


def numpy_of(series: np.ndarray, valid: np.ndarray, dates: list[date]) -> list[float]:
    """Return the features of ENTRIES of one pixel, by numpy."""
    seen = valid & np.isfinite(series)
    x = series[seen]
    if not len(x):
        return [0.0] * 13
    of_year = np.array([day.timetuple().tm_yday for day in dates])[seen]
    phase = 2 * np.pi * of_year / 365.25
    waves = [np.ones_like(x), *(f(k * phase) for k in (1, 2) for f in (np.cos, np.sin))]
    for terms in (5, 3, 1):
        some = np.stack(waves[:terms], 1)
        lengths = np.linalg.norm(some, axis=0)
        if (
            terms <= len(x)
            and (np.abs(np.diag(np.linalg.qr(some)[1])) > DETERMINED * lengths).all()
        ):
            break
    fit = np.append(np.linalg.lstsq(some, x, rcond=None)[0], np.zeros(5 - terms))
    days, peak = days_of(dates, 2020)[seen], int(x.argmax())
    sides = [(x[: peak + 1][::-1], days[: peak + 1][::-1]), (x[peak:], days[peak:])]
    start, end = (_crossing(*side) for side in sides)
    amplitude = x[peak] - (sides[0][0].min() + sides[1][0].min()) / 2
    mad = np.median(np.abs(x - np.median(x)))
    return [*np.percentile(x, [10, 50, 90]), mad, *fit, start, days[peak], end, amplitude]


def _crossing(values: np.ndarray, days: np.ndarray) -> float:
    level = values.min() + 0.2 * (values[0] - values.min())
    below = np.flatnonzero(values[1:] <= level)
    if not len(below):
        return float(days[0])
    at = [below[0] + 1, below[0]]
    return float(np.interp(level, values[at], days[at]))


def _times(side: int) -> dict[str, float]:
    # ns a pixel and date, best of three; and of the median of one band.
    rng = np.random.default_rng(0)
    encoding = Encoding(("red", "nir"), "uint16", (1e-4, 1e-4), (0.0, 0.0))
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
                config_of(entries, "EPSG:32631", ("red", "nir")),
                [Band(band, "", scale=1e-4) for band in ("red", "nir")],
            )
            given = (spec.features, pixels, valid, ("red", "nir"), spec.encoding, days, 2020)
            ns = _ns(partial(compute_over_dates, *given), valid.size)
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
    entries = [entry for group in ENTRIES.values() for entry in group]
    config = config_of(entries, "EPSG:32631")
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

"""The rates of this machine, measured in under a minute on made-up scenes.

The very functions that stages call are timed, by CPU time, so that other work on the machine
disturbs little. What takes a session or a cluster to measure keeps its shipped rate.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import shapely

from lulc import progress
from lulc.bands import Band
from lulc.chips import composites, features
from lulc.chips.chip import choose_encoding, write_chips
from lulc.chips.cut import GROUND_SQUARE, cut_block
from lulc.chips.mosaic import ChipSpec
from lulc.config import CompositeConf, Config, MapFiles
from lulc.cost.network import network_of
from lulc.cost.rates import RAW, Rates, keep_rates
from lulc.cost.work import rate_name
from lulc.features.feature import parse_features
from lulc.geo.grid import Grid, footprint, project
from lulc.geo.ground import ground_steps
from lulc.geo.tiling import Tiling
from lulc.legend import COMMON
from lulc.raster.cog import pyramid, write_cog
from lulc.raster.formats import FORMATS, JP2, write_sample
from lulc.raster.reader import read_band
from lulc.sources.scene import Scene
from lulc.stats.class_rasters import scan_rasters
from lulc.stats.polygon_files import write_geopackage
from lulc.stats.polygons import (
    find_parts,
    list_blocks,
    make_lattices,
    polygon_table,
    whole_patches,
)
from lulc.tables import layout, schemas
from lulc.tables.encoding import Encoding
from lulc.tables.geoparquet import open_writer
from lulc.tables.store import read_rows

_SIDE = 2048
_SCENE = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_300_000.0), _SIDE, _SIDE)
_MAP_CRS = "EPSG:3035"
_DATES = 8
_JP2_OF_PRODUCTS = 3.4
"""Time of a pixel of a Sentinel-2 product's JP2 over that of one that GDAL's own writer wrote."""
_BANDS = ("red", "nir")
_FEATURES = (
    "ndvi:p10", "ndvi:p50", "ndvi:p90", "ndvi:mad", "ndvi:mean", "ndvi:sd", "ndvi:first",
    "ndvi:last", "red:medoid", "nir:medoid", "ndvi:harmonic:2", "ndvi:phenology", "ndvi",
    "red:mean7", "red:sd7", "elevation:slope", "elevation:aspect",
)  # fmt: skip
"""Those that are measured: of each statistic what is mostly asked for together."""


def calibrate(config: Config) -> Rates:
    """Measure this machine and keep the rates in the user's cache; return all of them.

    Args:
        config: the run, whose network is measured.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured = _measure_pixels(folder)
        progress.say("rates: reading, compositing and writing measured")
        measured |= _measure_network(config)
    return keep_rates(measured)


def _measure_pixels(folder: Path) -> dict[str, Any]:
    pixels = _make_pixels()
    files = {form: folder / f"{n}.{_suffix(form)}" for n, form in enumerate(FORMATS)}
    for form, path in files.items():
        write_sample(path, form, pixels[:1], _SCENE)
    read = {
        form: _ns(lambda p=path: read_band(str(p), 1, _SCENE, "nearest", 0.0), _SIDE**2)  # type: ignore[misc]
        for form, path in files.items()
    }
    read[JP2] *= _JP2_OF_PRODUCTS
    tiling = Tiling("calibration", _MAP_CRS, 10.0, 512)
    col, row = _block_within(tiling)
    grid = tiling.grid(col, row, 0, 2)
    plain = str(files[RAW])
    again = folder / "again.tif"
    write_sample(again, RAW, pixels[1:], _SCENE)
    warped = _ns(lambda: read_band(plain, 1, grid, "bilinear", 0.0), grid.height * grid.width)
    scenes = [_scene((plain, str(again)), day) for day in range(1, 4)]
    spec = ChipSpec(tiling, choose_encoding(scenes, _BANDS), 1, 0, 2)

    def cut(number: int) -> float:
        count = grid.height * grid.width * len(_BANDS)
        return _ns(lambda: cut_block(scenes[:number], spec, col, row, "p"), count)

    # What another scene adds, whose pixels are read and warped, then mosaicked.
    placed = (cut(3) - cut(1)) / 2 - warped
    chips = cut_block(scenes[:1], spec, col, row, "p").chips
    stored = sum(chip.pixels.size for chip in chips)
    chip_ns = _ns(lambda: write_chips(folder / "chips.parquet", chips, {}), stored)
    load_ns = _ns(lambda: list(read_rows(folder / "chips.parquet")), stored)
    return {
        "read_ns": read,
        "warp_ns": max(0.0, warped - read[RAW]),
        "place_ns": max(0.0, placed),
        "compose_ns": _measure_composites(pixels),
        "features_ns": measure_features(pixels),
        "chip_ns": chip_ns,
        "map_ns": 2 * load_ns,
        "raster_ns": _measure_rasters(folder),
        **measure_polygons(folder, _make_fields()),
    }


def _dates_of(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # (T, C, H, W), and valid (T, H, W).
    dates = np.stack([np.roll(pixels, n, 1)[:, :512, :512] for n in range(_DATES)])
    return dates, np.random.default_rng(0).random(dates[:, 0].shape) < 0.7


def measure_features(pixels: np.ndarray) -> dict[str, float]:
    """Return `Rates.features_ns` of this machine.

    Args:
        pixels: (2, H, W) uint16, a scene's; 512 x 512 of them are taken.
    """
    bands = (*_BANDS, "elevation")
    base = Encoding(bands, "uint16", (1e-4, 1e-4, 1.0), (0.0, 0.0, 0.0))
    images, valid = _dates_of(pixels)
    days = [date(2024, 1, 1) + timedelta(40 * n) for n in range(_DATES)]
    ground = ground_steps(_SCENE.window(0, 0, *valid.shape[1:]), GROUND_SQUARE)
    parsed = parse_features(_FEATURES, {}, bands, ("elevation",))
    rates = {}
    for name in dict.fromkeys(map(rate_name, parsed)):
        made = [feature for feature in parsed if rate_name(feature) == name]
        names = [feature.name for feature in made]
        encoding = features.add_features(base, made, (*bands, *names))
        count = valid[0].size * len(made)
        if made[0].scope == "dates":
            dates = features.Dates(images, valid, _BANDS, encoding, days, 2024)
            work: Callable[[], object] = partial(features.compute_over_dates, made, dates)
            count *= _DATES
        elif made[0].scope == "terrain":
            layers = {"elevation": (images[0, 0], valid[0])}
            work = partial(features.compute_of_layers, made, layers, encoding, ground)
        else:
            image = np.zeros((len(encoding.bands), *valid.shape[1:]), encoding.dtype)
            image[: len(_BANDS)] = images[0]
            work = partial(features.compute_of_image, made, image, valid[0], encoding)
        rates[name] = _ns(work, count)
    return rates


def _measure_composites(pixels: np.ndarray) -> dict[str, float]:
    dates, valid = _dates_of(pixels)
    encoding = choose_encoding([_scene(("", ""), 1)], _BANDS)
    rates = {}
    for method in ("median", "medoid", "geomedian", "best"):
        conf = CompositeConf(method, ("nir", "red") if method == "best" else None)
        rates[method] = _ns(
            lambda c=conf: composites.compose(dates, valid, _BANDS, encoding, c),  # type: ignore[misc]
            dates.size,
        )
    return rates


def _make_fields() -> np.ndarray:
    # (H, W) uint8 classes in squares of 16 pixels.
    fields = np.random.default_rng(0).integers(1, 9, (_SIDE // 16, _SIDE // 16), np.uint8)
    return fields.repeat(16, 0).repeat(16, 1)


def _measure_rasters(folder: Path) -> float:
    classes = _make_fields()
    noise = np.random.default_rng(1).random(classes.shape)
    confidence = (100 * noise**0.1).astype(np.uint8)

    def write() -> None:
        write_cog(folder / "confidence.tif", _SCENE, [confidence], {})
        write_cog(folder / "classes.tif", _SCENE, pyramid(classes), {}, COMMON)

    return _ns(write, classes.size)


def measure_polygons(folder: Path, classes: np.ndarray) -> dict[str, float]:
    """Return `Rates.polygons_ns` and `polygon_ns` of this machine.

    Args:
        folder: for files.
        classes: (H, W) uint8 of a map of many polygons; it is compared with one of one class.
    """

    def make(map_classes: np.ndarray) -> tuple[Callable[[], object], int]:
        path = folder / "polygons.tif"
        grid = _SCENE.window(0, 0, *map_classes.shape)
        write_cog(path, grid, pyramid(map_classes), {}, COMMON)
        lattices = make_lattices(scan_rasters([MapFiles(str(path), "map")]))
        (block,) = list_blocks(lattices)
        place = folder / layout.table_file("polygons", 0)
        place.parent.mkdir(parents=True, exist_ok=True)

        def work() -> None:
            parts = find_parts(block, lattices)
            pq.write_table(parts, folder / "parts.parquet")
            with open_writer(place, schemas.POLYGONS, crs=grid.crs) as write:
                write(polygon_table(whole_patches(parts), lattices, {}))
            write_geopackage(folder, ["map"], grid.crs)

        return work, len(find_parts(block, lattices))

    plain, _ = make(np.ones_like(classes))
    without = _ns(plain, 1)
    scattered, count = make(classes)
    return {
        "polygons_ns": without / classes.size,
        "polygon_ns": max(0.0, _ns(scattered, 1) - without) / count,
    }


def _measure_network(config: Config) -> dict[str, float]:
    shape = network_of(config)
    if shape is None or find_spec("torch") is None:
        return {}
    from lulc.inference.speed import predict_ns
    from lulc.models.work import count_multiply_adds
    from lulc.training.setup import TrainJob
    from lulc.training.speed import train_ns

    rates = {"flops": count_multiply_adds(shape), "predict_ns": predict_ns(shape)}
    progress.say("rates: mapping by the run's network measured")
    nowhere = Path()
    legend = config.make_legend()
    job = TrainJob(config.train, legend, nowhere, nowhere, shape.task, bands=config.bands)
    if job.task.kind != "boxes":
        side = config.samples.size
        rates["train_ns"] = train_ns(job, shape.bands, shape.dates, side)
        progress.say("rates: training measured")
    return rates


def _make_pixels() -> np.ndarray:
    # Texture that compresses as real imagery does.
    rng = np.random.default_rng(0)
    coarse = rng.normal(0, 400, (len(_BANDS), _SIDE // 32, _SIDE // 32))
    fine = rng.normal(0, 250, (len(_BANDS), _SIDE, _SIDE))
    return np.clip(1500 + coarse.repeat(32, 1).repeat(32, 2) + fine, 1, 9000).astype(np.uint16)


def _scene(hrefs: tuple[str, str], day: int) -> Scene:
    bands = tuple(
        Band(name, href, 1, dtype="uint16", nodata=0.0)
        for name, href in zip(_BANDS, hrefs, strict=True)
    )
    moment = datetime(2024, 6, day, 10, tzinfo=UTC)
    outline = shapely.to_wkb(footprint(_SCENE))
    return Scene(f"s{day}", "geotiff", moment, _SCENE.crs, outline, bands, gsd_m=10.0)


def _block_within(tiling: Tiling) -> tuple[int, int]:
    # A block of 2 x 2 tiles in the scene's middle.
    middle = project(shapely.box(*_SCENE.bounds), _SCENE.crs, tiling.crs).centroid
    side = tiling.size * tiling.resolution
    return int(middle.x // side), int(-middle.y // side)


def _suffix(form: str) -> str:
    return "jp2" if form == JP2 else "tif"


def _ns(work: Callable[[], object], count: int, rounds: int = 2) -> float:
    # Nanoseconds of CPU time for each of `count`, the best round; compiled and warm before.
    work()
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds) / count * 1e9

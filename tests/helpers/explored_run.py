"""A small run with maps of two periods, how sure they are, chips and regions; nothing is trained.

Uncertainty and chips are of the second period alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import geopandas
import numpy as np
from scipy import ndimage
from shapely.geometry import box

from lulc.api.areas import measure_areas
from lulc.api.config import save_config
from lulc.chips.chip import Chip, write_chips
from lulc.config import Config, RegionFile
from lulc.geo.grid import Grid
from lulc.legend import NODATA
from lulc.raster import cog
from lulc.runfile import parse_run
from lulc.stats.regions import read_regions
from lulc.tables import layout, store

GRID = Grid("EPSG:32633", (20.0, 0.0, 500000.0, 0.0, -20.0, 5300000.0), 600, 800)
PERIODS = ("2020", "2021")
COLOURS = {1: ("water", "#419bdf"), 2: ("trees", "#397d49"), 7: ("crops", "#e49635")}
LEVEL = "county"
CHIP = 200  # pixels a side


@dataclass(frozen=True)
class ExploredRun:
    """The run and what its maps hold."""

    out: Path
    config: Config
    classes: dict[str, np.ndarray]
    """Period → (H, W) class ids on GRID."""
    confidence: np.ndarray
    """(H, W) percent on GRID, of both periods."""
    margin: np.ndarray
    """(H, W) percent on GRID."""
    colours: np.ndarray
    """(3, H, W) red, green and blue reflectance on GRID, NaN where no date is valid."""


def make_explored_run(folder: Path) -> ExploredRun:
    """Write the run below a folder: two rasters a period side by side, three regions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    noise = ndimage.gaussian_filter(rng.normal(size=(2, *GRID.shape)), (0, 15, 15))
    first = np.where(noise[0] > 0.01, 2, np.where(noise[1] > 0, 7, 1)).astype(np.uint8)
    first[:40] = NODATA
    second = first.copy()
    second[200:400, 300:600][first[200:400, 300:600] == 2] = 7
    classes = dict(zip(PERIODS, (first, second), strict=True))
    confidence = np.broadcast_to(np.linspace(20, 99, GRID.width).astype(np.uint8), GRID.shape)
    confidence = np.where(first == NODATA, NODATA, confidence).astype(np.uint8)
    margin = np.where(first == NODATA, NODATA, confidence // 2).astype(np.uint8)
    regions = _write_regions(folder / "regions.gpkg")
    config = _make_config(folder)
    out, half = folder / "out", GRID.width // 2
    for period, ids in classes.items():
        for number in (0, 1):
            place = layout.raster(period, config.name, (number, 0))
            grid = GRID.window(0, number * half, GRID.height, half)
            part = np.s_[:, number * half : (number + 1) * half]
            levels = cog.pyramid(np.ascontiguousarray(ids[part]))
            tags = {f"CLASS_{i}": name for i, (name, _) in COLOURS.items()}
            cog.write_cog(out / place, grid, levels, tags, config.make_legend())
            beside = out / layout.confidence_raster(place)
            cog.write_cog(beside, grid, [np.ascontiguousarray(confidence[part])], {})
            if period == PERIODS[-1]:
                beside = out / layout.uncertainty_raster(place)
                bands = np.stack([confidence[part], margin[part]])
                cog.write_cog(beside, grid, [bands], {}, names=("entropy", "margin"))
    colours = _write_chips(out, PERIODS[-1])
    files = {period: str(out / layout.RASTERS / period / "*" / "*.tif") for period in PERIODS}
    areas = measure_areas(files, regions)
    store.write_table(out, "regions", read_regions([regions]).table)
    store.write_table(out, "class_areas", areas.class_areas)
    store.write_table(out, "transitions", areas.transitions)
    save_config(config, out)
    return ExploredRun(out, config, classes, confidence, margin, colours)


def _write_chips(out: Path, period: str) -> np.ndarray:
    # Colours that change evenly: what is resampled is what was. The first date has clouds.
    rows, cols = np.mgrid[: GRID.height, : GRID.width]
    values = np.stack([1000 + rows, 3000 - cols, 500 + rows + cols, np.full(GRID.shape, 9)])
    dates = np.stack([values, values]).astype(np.uint16)
    valid = np.ones((2, *GRID.shape), bool)
    valid[0, 100:300] = False
    valid[:, :20] = False
    chips = []
    for row in range(0, GRID.height, CHIP):
        for col in range(0, GRID.width, CHIP):
            part = np.s_[..., row : row + CHIP, col : col + CHIP]
            chip = Chip(
                f"t/{col // CHIP}_{row // CHIP}",
                period,
                "made",
                ("a", "b"),
                (datetime(2021, 5, 1, tzinfo=UTC), datetime(2021, 6, 1, tzinfo=UTC)),
                GRID.window(row, col, CHIP, CHIP),
                0,
                ("red", "green", "blue", "nir"),
                (1e-4,) * 4,
                (-0.1,) * 4,
                np.ascontiguousarray(dates[part]),
                np.ascontiguousarray(valid[part]),
                1.0,
            )
            chips.append(chip)
    place = layout.block_file("chips", layout.BlockKey(period, "t", 0, 0), "0")
    write_chips(out / place, chips, {})
    return np.where(valid.any(0), values[:3] * 1e-4 - 0.1, np.nan)


def _write_regions(path: Path) -> RegionFile:
    xmin, ymin, xmax, ymax = GRID.bounds
    middle = xmin + 0.4 * (xmax - xmin)
    shapes = [
        box(xmin + 300, ymin + 300, middle, ymax - 1500),
        box(middle, ymin + 300, xmax - 300, ymax - 1500),
        box(xmin - 90000, ymin, xmin - 60000, ymin + 9000),  # no map covers it
    ]
    names = ["Wéstland", "Eastland", "Farland"]
    geopandas.GeoDataFrame({"id": names}, geometry=shapes, crs=GRID.crs).to_file(path)
    return RegionFile(str(path), level=LEVEL, id="id", name="id")


def _make_config(folder: Path) -> Config:
    legend = {i: {"name": name, "colour": colour} for i, (name, colour) in COLOURS.items()}
    content = {
        "name": "valley",
        "scenes": [{"path": "archive"}],
        "bands": ["red"],
        "legend": legend,
        "periods": [{"name": name} for name in PERIODS],
        "tiling": {"crs": GRID.crs, "resolution": 20},
    }
    return parse_run(content, folder)
